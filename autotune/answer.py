"""The answer of a study as data: the posterior of the optimum, in the parameters' own units and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric
from autotune.space import Dimension, Space
from autotune.store import TrialStore

if TYPE_CHECKING:
    from autotune.surrogate.optimum import Optimum

FEWEST_TRIALS = 4
"""Fewer finished trials say too little for an interval."""


def find_answer(
    store: TrialStore,
    space: Space,
    metric: Metric,
    *,
    seed: int,
    own_levels: int = 1,
    sources: Sequence[TrialStore] = (),
) -> dict[str, Any] | None:
    """What the surrogate knows of the optimum, as plain data; None where too few trials have finished.

    Keys: ``trials`` of the study that had finished; ``metric`` (``estimate``, ``deviation``); ``level`` of the
    intervals; ``parameters`` (name -> ``estimate``, ``interval``, ``verdict``, ``note``, ``choices``, ``sensitivity``
    with ``main`` and ``total``); ``correlations`` (name -> name -> coefficient); ``samples`` of the optimum's location.
    """
    from autotune.surrogate.history import read_history
    from autotune.surrogate.optimum import LEVEL, find_optimum
    from autotune.surrogate.sampler import quiet_and_seeded

    history = read_history(store.study, None, space)
    if len(history.y) < FEWEST_TRIALS:
        return None
    for level, source in enumerate(sources, start=own_levels):
        history = history.joined(read_history(source.study, None, space), level)
    with quiet_and_seeded(seed):
        found = find_optimum(history, space, own_levels + len(sources), own_levels, seed=seed)
    sign = 1.0 if metric.goal == "maximize" else -1.0
    return {
        "trials": sum(trial.state == "finished" for trial in store.trials()),
        "metric": {"estimate": sign * found.metric, "deviation": found.deviation},
        "level": LEVEL,
        "parameters": {d.name: _parameter(d, found) for d in space.dimensions},
        "correlations": {
            one: {other: round(float(found.correlations[i, j]), 4) for j, other in enumerate(found.names)}
            for i, one in enumerate(found.names)
        },
        "samples": {name: [float(f"{u:.6g}") for u in found.samples[:, i]] for i, name in enumerate(found.names)},
    }


def _parameter(dimension: Dimension, found: Optimum) -> dict[str, Any]:
    name = dimension.name
    main, total = found.sensitivities[name]
    interval = found.intervals.get(name)
    verdict = found.verdicts.get(name)
    return {
        "estimate": found.values.get(name),
        "interval": None if interval is None else list(interval),
        "verdict": verdict,
        "note": _note(dimension, found) if verdict else None,
        "choices": found.choices.get(name),
        "sensitivity": {"main": main, "total": total},
    }


def _note(dimension: Dimension, found: Optimum) -> str:
    """One sentence about a verdict."""
    if found.verdicts[dimension.name] == "flat":
        return f"the metric hardly depends on {dimension.name} near the answer"
    value = float(found.values[dimension.name])
    low = value - dimension.low < dimension.high - value
    side, end, way = ("lower", dimension.low, "down") if low else ("upper", dimension.high, "up")
    return f"the best value is at the {side} end of the range ({end:g} {dimension.unit}): extend the range {way}wards"
