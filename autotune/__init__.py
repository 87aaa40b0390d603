"""autotune: automatic tuning of scientific reconstructions.

Importing the package costs nothing: each public name is imported from its room when it is first used, and torch,
optuna and mlflow are imported by the modules that need them.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_ROOMS = {
    "Dimension": "autotune.problem.space",
    "Evaluation": "autotune.objective",
    "Home": "autotune.home",
    "Metric": "autotune.objective",
    "Parameter": "autotune.objective",
    "Quiet": "autotune.session",
    "Result": "autotune.embedding.result",
    "Search": "autotune.search.tuner",
    "Space": "autotune.problem.space",
    "Status": "autotune.objective",
    "TrialStore": "autotune.store.trials",
    "Tuner": "autotune.search.tuner",
    "calibration": "autotune.tracking.registry",
    "confirm_study": "autotune.rerun.confirm",
    "load_study": "autotune.study",
    "run_study": "autotune.runs.run",
    "tune": "autotune.embedding.tune",
}
"""Public name -> the module that defines it. ``__init__.pyi`` says the same to type checkers."""

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> object:
    """Import a public name from its room (PEP 562)."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
