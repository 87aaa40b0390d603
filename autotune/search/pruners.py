"""The pruners a study may name: rules by which a trial is stopped before its reconstruction is done.

A new pruner of Optuna's is a row of :data:`OPTUNA_PRUNERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def _median() -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner()


def _percentile() -> BasePruner:
    from optuna.pruners import PercentilePruner

    return PercentilePruner(25.0)


def _halving() -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner()


def _hyperband() -> BasePruner:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner()


OPTUNA_PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "median": _median,
    "percentile": _percentile,
    "halving": _halving,
    "hyperband": _hyperband,
}
"""Optuna's pruners with Optuna's defaults, by name."""

PRUNERS = ("none", "curve", *OPTUNA_PRUNERS)

if TYPE_CHECKING:
    Pruner = str
else:
    Pruner = Literal[PRUNERS]
"""``search.pruner`` in study.yaml; ``curve`` is :mod:`autotune.search.learning_curves`."""


def optuna_pruner(name: Pruner) -> BasePruner | None:
    """Optuna's pruner of that name; None for ``none`` and ``curve``, which are not Optuna's.

    Raises:
        ValueError: no pruner has that name.
    """
    if name not in PRUNERS:
        raise ValueError(f"no pruner is called '{name}'; pruners: {', '.join(PRUNERS)}")
    return OPTUNA_PRUNERS[name]() if name in OPTUNA_PRUNERS else None
