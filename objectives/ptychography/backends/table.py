"""The backends that there are: those of this project, and those of packages that offer one.

Another package offers one by an entry point of the group ``autotune.backends`` that names a
:class:`objectives.ptychography.backends.backend.Backend`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from autotune.objective import InputError, Problem, near_miss
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.shipped import SHIPPED

GROUP = "autotune.backends"


@cache
def backends() -> dict[str, Backend]:
    """Name -> backend; one of another package replaces none of ours."""
    found = {backend.name: backend for backend in SHIPPED}
    for point in entry_points(group=GROUP):
        backend = point.load()
        if not isinstance(backend, Backend):
            raise InputError(Problem(f"entry point {point.name} of {GROUP}", f"{point.value} is no Backend"))
        found.setdefault(backend.name, backend)
    return found


def find_backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        InputError: there is none.
    """
    known = backends()
    if name not in known:
        raise InputError(Problem("objective.backend.name", f"'{name}' is no backend", near_miss(name, known)))
    return known[name]
