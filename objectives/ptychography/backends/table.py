"""The backends that there are: those of this project, and those of packages that offer one.

Another package offers one by an entry point of the group ``autotune.backends`` that names a
:class:`objectives.ptychography.backends.backend.Backend`.
"""

from __future__ import annotations

import warnings
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
        try:
            backend = point.load()
        except Exception as error:
            backend = error
        if isinstance(backend, Backend):
            found.setdefault(backend.name, backend)
        else:  # another distribution's fault stops no study that does without it
            whose = point.dist.name if point.dist is not None else "a distribution"
            warnings.warn(f"{whose} offers {point.value} as a backend: {backend!r} is none", stacklevel=2)
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
