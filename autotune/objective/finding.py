"""Find an objective type by its registered name, or by a dotted path."""

from __future__ import annotations

import importlib
from importlib import metadata

from autotune.errors import InputError, Problem, near_miss
from autotune.objective.protocols import ObjectiveType

ENTRY_POINT_GROUP = "autotune.objectives"


def objective_names() -> list[str]:
    """Names registered under the entry-point group, sorted."""
    return sorted({entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)})


def find_objective_type(name: str) -> ObjectiveType:
    """Look up an objective type by its registered name or by a dotted path ``module:attribute``.

    Raises:
        InputError: the name is not registered, the module cannot be imported, or the attribute is not an
            objective type.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        try:
            objective_type = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(
                Problem(
                    "objective.name",
                    f"'{name}' cannot be loaded: {error}",
                    "give an importable module:attribute",
                )
            ) from error
    else:
        entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
        if name not in entries:
            raise InputError(Problem("objective.name", f"no objective is called '{name}'", near_miss(name, entries)))
        objective_type = entries[name].load()
    if not (hasattr(objective_type, "settings") and callable(getattr(objective_type, "open", None))):
        raise InputError(
            Problem("objective.name", f"'{name}' is not an objective type", "it needs .settings and .open()")
        )
    return objective_type  # type: ignore[no-any-return]
