"""The answer of a study as data: the posterior of the optimum, in the parameters' own units and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric, Value
from autotune.problem.space import Dimension, Space
from autotune.results.document import NOISE_AND_SEARCH, SEARCH
from autotune.store.trials import TrialStore
from autotune.text import with_unit

if TYPE_CHECKING:
    from autotune.surrogate.optimum.optimum import Optimum
    from autotune.surrogate.optimum.verdicts import Verdict

Limits = Mapping[str, tuple[float, ...]]
"""Parameter name -> ends that a range cannot be extended beyond."""
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
    again: Callable[[Mapping[str, Value]], Sequence[Mapping[str, float]]] | None = None,
    ambiguous: Callable[[Mapping[str, Value]], Mapping[str, str]] | None = None,
    check: Callable[[Mapping[str, Value]], tuple[float, Mapping[str, float]] | None] | None = None,
    limits: Limits = MappingProxyType({}),
) -> dict[str, Any] | None:
    """What the surrogate knows of the optimum, as plain data; None where too few trials have finished.

    Args:
        store: the study.
        space: what it searches.
        metric: what it tunes.
        seed: of everything random.
        own_levels: how many levels of evaluations the study has.
        sources: finished studies that it learned from.
        again: from parameter values to derivatives of the metric there (name -> per unit), on measurements repeated
            with other noise; None where that cannot be had, so that intervals are of the search alone.
        ambiguous: from parameter values to those that no data of this kind tell: name -> what makes up for it.
        check: from parameter values to the metric and its derivatives there, of a full evaluation (None: it failed);
            None where the surrogate's word for the optimum must do.
        limits: values beyond which a parameter has no meaning, or none that is new.

    Keys: ``trials`` of the study that had finished; ``metric`` (``estimate``, ``deviation``); ``level`` of the
    intervals; ``parameters`` (name -> ``estimate``, ``interval``, ``interval_of``, ``verdict``, ``note``, ``choices``,
    ``sensitivity`` with ``main`` and ``total``); ``correlations`` (name -> name -> coefficient); ``samples`` of the
    optimum's location.
    """
    from autotune.search.trial_history import read_histories, read_history
    from autotune.surrogate.numerics import quiet_and_seeded
    from autotune.surrogate.optimum.optimum import LEVEL, find_optimum

    if len(read_history(store.study, None, space).y) < FEWEST_TRIALS:
        return None
    history = read_histories(store.study, [source.study for source in sources], space, own_levels)
    sign = metric.sign

    def upwards(values: Mapping[str, Value]) -> list[dict[str, float]]:
        assert again is not None  # noqa: S101
        return [{name: sign * slope for name, slope in gradient.items()} for gradient in again(values)]

    def checked(values: Mapping[str, Value]) -> tuple[float, dict[str, float]] | None:
        assert check is not None  # noqa: S101
        at = check(values)
        return None if at is None else (sign * at[0], {name: sign * slope for name, slope in at[1].items()})

    with quiet_and_seeded(seed):
        found = find_optimum(
            history,
            space,
            own_levels + len(sources),
            own_levels,
            seed=seed,
            again=None if again is None else upwards,
            ambiguous=ambiguous,
            check=None if check is None else checked,
        )
    return {
        "trials": sum(trial.state == "finished" for trial in store.trials()),
        "metric": {"estimate": sign * found.metric, "deviation": found.deviation},
        "level": LEVEL,
        "parameters": {d.name: _parameter(d, found, limits) for d in space.dimensions},
        "correlations": {
            one: {other: round(float(found.correlations[i, j]), 4) for j, other in enumerate(found.names)}
            for i, one in enumerate(found.names)
        },
        "samples": {name: [float(f"{u:.6g}") for u in found.samples[:, i]] for i, name in enumerate(found.names)},
    }


def _parameter(dimension: Dimension, found: Optimum, limits: Limits) -> dict[str, Any]:
    name = dimension.name
    main, total = found.sensitivities[name]
    interval = found.intervals.get(name)
    verdict = found.verdicts.get(name)
    covers = NOISE_AND_SEARCH if name in found.noisy else SEARCH
    return {
        "estimate": found.values.get(name),
        "interval": None if interval is None else list(interval),
        "interval_of": None if interval is None else covers,
        "verdict": None if verdict is None else verdict.kind,
        "note": None if verdict is None else _note(dimension, verdict, found, limits),
        "choices": found.choices.get(name),
        "sensitivity": {"main": main, "total": total},
    }


def _note(dimension: Dimension, verdict: Verdict, found: Optimum, limits: Limits) -> str:
    """One sentence about a verdict."""
    name, unit = dimension.name, with_unit("", dimension.unit)
    low, high = found.intervals[name]
    value = float(found.values[name])
    match verdict.kind:
        case "flat":
            return f"these data hardly depend on {name}: any value from {low:.4g} to {high:.4g}{unit} explains them"
        case "at_bound":
            near_low = value - dimension.low < dimension.high - value
            side, end, way = ("lower", dimension.low, "down") if near_low else ("upper", dimension.high, "up")
            best = f"the best value is at the {side} end of the range ({end:g}{unit})"
            last = end in limits.get(name, ())
            return f"{best}, beyond which there is none" if last else f"{best}: extend the range {way}wards"
        case "correlated" if verdict.coefficient is None:
            return (
                f"{verdict.other} makes up for a change of {name}: the best value says where the solver was fastest, "
                "not what is true; hold it at a value known otherwise"
            )
        case "correlated":
            return (
                f"these data tell a combination of {name} and {verdict.other} (correlation "
                f"{verdict.coefficient:+.2f}), not each by itself: hold one of them at a value known otherwise"
            )
        case "sign_not_identifiable":
            other = f"{-value:.4g}{unit} explains these data as well as {value:.4g}{unit}"
            return f"{other}: its sign has to be known otherwise"
        case "unsettled":
            return "the search has not come to an end: evaluated, its best guess fell short; give it more trials"
        case "identified":
            return f"these data fix it to within {(high - low) / 2:.2g}{unit} (90 %)"
