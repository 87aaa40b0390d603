"""The pruners a study may name: who decides that a trial is stopped before its reconstruction is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

Pruner = Literal["none", "curve", "median", "percentile", "halving", "hyperband"]
"""``search.pruner`` in study.yaml. ``curve`` is ours (:mod:`autotune.search.learning_curves`), those after it are
Optuna's."""


def optuna_pruner(name: Pruner) -> BasePruner | None:
    """Optuna's pruner of that name, with Optuna's defaults; None for ``none`` and ``curve``."""
    from optuna.pruners import HyperbandPruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner

    if name == "median":
        return MedianPruner()
    if name == "percentile":
        return PercentilePruner(25.0)
    if name == "halving":
        return SuccessiveHalvingPruner()
    if name == "hyperband":
        return HyperbandPruner()
    return None
