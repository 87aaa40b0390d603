"""The answer of a study: the posterior of the optimum, in the parameters' own units and in words (posterior.json)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autotune.objective import Metric, Twin, Value
from autotune.problem.space import Dimension, Space
from autotune.results.document import (
    EVERYTHING,
    NOISE_AND_SEARCH,
    SEARCH,
    Covers,
    Document,
    HalfWidths,
    Noise,
    Sensitivity,
    StoredPart,
    StoredVerdict,
)
from autotune.store.records import best_of
from autotune.store.trials import TrialStore
from autotune.text import with_unit

if TYPE_CHECKING:
    from autotune.surrogate.optimum.model_errors import FindModelErrors, ModelErrors
    from autotune.surrogate.optimum.optimum import Again, Optimum
    from autotune.surrogate.optimum.verdicts import Verdict

Limits = Mapping[str, tuple[float, ...]]
"""Parameter name -> ends that a range cannot be extended beyond."""
FEWEST_TRIALS = 4
"""Fewer finished trials say too little for an interval."""


_WHY_NOT_FOUND = {
    "fell_short": "the search has not come to an end: evaluated, its best guess fell short; give it more trials",
    "failed": "the search has not come to an end: evaluations that would confirm its best guess failed",
    "depends": "the search has not found it: far from the best value the metric depends on {name}; give it more trials",
    "not_evaluated": (
        "the search has not seen the metric depend on {name}; whether it does, evaluations far from the best value "
        "would show, and with intervals.replicates: 0 there are none"
    ),
}


class AnswerMetric(StoredPart):
    """The tuned metric at the optimum, in its unit."""

    estimate: float | None = None
    """Posterior mean of the metric."""
    deviation: float | None = None
    """Posterior standard deviation of the metric."""


class AnswerParameter(StoredPart):
    """A parameter at the optimum; the fields mean what they do in result.json."""

    estimate: Value | None = None
    """Where the optimum is; None where the parameter is not used there."""
    interval: tuple[float, float] | None = None
    """Ends of the central credible interval."""
    interval_of: Covers | None = None
    """Sources of uncertainty that the interval covers."""
    verdict: StoredVerdict | None = None
    """How well the data determine the parameter."""
    half_widths: HalfWidths | None = None
    """Half-widths of the interval by its sources."""
    note: str | None = None
    """A sentence about the verdict."""
    choices: dict[str, float] | None = None
    """Choice -> probability that it is the best with all else held."""
    sensitivity: Sensitivity | None = None
    """How much the metric depends on the parameter."""


class Answer(Document, StoredPart):
    """The posterior of the optimum. The store keeps it without samples; earlier versions kept less."""

    trials: int
    """Finished trials that it comes from: with more of them it is out of date."""
    metric: AnswerMetric = AnswerMetric()
    """The tuned metric at the optimum."""
    level: float | None = None
    """Probability of the intervals."""
    parameters: dict[str, AnswerParameter] = Field(default_factory=dict)
    """Name -> a tuned parameter."""
    correlations: dict[str, dict[str, float]] | None = None
    """Parameter -> parameter -> correlation coefficient of the samples."""
    samples: dict[str, tuple[float, ...]] | None = None
    """Parameter that is a number -> its values in samples of the optimum's location, in its unit."""
    noise: Noise | None = None
    """The noise of the measurement; None where the intervals cover the search alone."""

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain JSON data; samples and noise are left out where it has none."""
        left_out = {name for name in ("samples", "noise") if getattr(self, name) is None}
        return {key: part for key, part in super().as_dict().items() if key not in left_out}

    def without_samples(self) -> Answer:
        """The answer as the store keeps it."""
        return self.model_copy(update={"samples": None})


def find_answer(
    store: TrialStore,
    space: Space,
    metric: Metric,
    *,
    seed: int,
    own_levels: int = 1,
    sources: Sequence[TrialStore] = (),
    again: Again | None = None,
    ambiguous: Callable[[Mapping[str, Value]], Mapping[str, str]] | None = None,
    check: Callable[[Mapping[str, Value]], tuple[float, Mapping[str, float]] | None] | None = None,
    errors: FindModelErrors | None = None,
    limits: Limits = MappingProxyType({}),
    in_quadrature: Mapping[str, float] = MappingProxyType({}),
    twin: Twin | None = None,
) -> Answer | None:
    """The surrogate's posterior of the optimum; None where too few trials have finished.

    Args:
        store: the study.
        space: what it searches.
        metric: what it tunes.
        seed: of everything random.
        own_levels: how many levels of evaluations the study has.
        sources: finished studies that it learned from.
        again: from parameter values to derivatives of the metric there (name -> per unit), on measurements repeated
            with other noise, by differences over the given steps where there are none; None where they cannot be
            repeated, so that intervals cover the search alone.
        ambiguous: from parameter values to the parameters that no data of this kind determine: name -> the unknown
            that makes up for a change of it.
        check: from parameter values to the metric and its derivatives there, of a full evaluation (None: it failed);
            None where the surrogate's optimum is not evaluated.
        errors: from parameter values, and steps for derivatives along them, to the effect of errors of the objective's
            model there; None where they are not known, so that intervals do not cover them.
        limits: values beyond which a parameter has no meaning, or no meaning of its own.
        in_quadrature: parameter name -> size of an unknown that adds to its value in quadrature.
        twin: the twin that answers may have; every trial counts on the side of the best one.
    """
    from autotune.search.trial_history import on_side_of, read_histories, read_history

    if len(read_history(store.study, None, space).y) < FEWEST_TRIALS:
        return None
    # torch and Numba, which take seconds to import, not before they are needed.
    from autotune.surrogate.numerics import quiet_and_seeded
    from autotune.surrogate.optimum.intervals import LEVEL
    from autotune.surrogate.optimum.optimum import find_optimum

    # Counted before they are read: where another run adds one meanwhile, the answer is out of date.
    finished = sum(trial.state == "finished" for trial in store.trials())
    history = read_histories(store.study, [source.study for source in sources], space, own_levels)
    best = best_of(store.trials(), metric, store.facts.limits)
    if twin is not None and best is not None:
        history = on_side_of(best.values, history, twin, space)
    sign = metric.sign

    def upwards(values: Mapping[str, Value], steps: Mapping[str, float]) -> list[dict[str, float]]:
        assert again is not None  # noqa: S101
        return [{name: sign * slope for name, slope in gradient.items()} for gradient in again(values, steps)]

    def checked(values: Mapping[str, Value]) -> tuple[float, dict[str, float]] | None:
        assert check is not None  # noqa: S101
        at = check(values)
        return None if at is None else (sign * at[0], {name: sign * slope for name, slope in at[1].items()})

    def errors_upwards(values: Mapping[str, Value], steps: Mapping[str, float]) -> ModelErrors | None:
        assert errors is not None  # noqa: S101
        at = errors(values, steps)
        return None if at is None else at.times(sign)

    with quiet_and_seeded(seed):
        optimum = find_optimum(
            history,
            space,
            own_levels + len(sources),
            own_levels,
            seed=seed,
            again=None if again is None else upwards,
            ambiguous=ambiguous,
            check=None if check is None else checked,
            errors=None if errors is None else errors_upwards,
            in_quadrature=in_quadrature,
        )
    return Answer(
        trials=finished,
        metric=AnswerMetric(estimate=sign * optimum.metric, deviation=optimum.deviation),
        level=LEVEL,
        parameters={d.name: _parameter(d, optimum, limits) for d in space.dimensions},
        correlations={
            name: {other: round(float(optimum.correlations[i, j]), 4) for j, other in enumerate(optimum.names)}
            for i, name in enumerate(optimum.names)
        },
        samples={name: tuple(float(f"{u:.6g}") for u in optimum.samples[:, i]) for i, name in enumerate(optimum.names)},
    )


def _parameter(dimension: Dimension, optimum: Optimum, limits: Limits) -> AnswerParameter:
    name = dimension.name
    main, total = optimum.sensitivities[name]
    interval = optimum.intervals.get(name)
    verdict = optimum.verdicts.get(name)
    parts = optimum.parts.get(name)
    covers = SEARCH if name not in optimum.noisy else NOISE_AND_SEARCH if parts is None else EVERYTHING
    return AnswerParameter(
        estimate=optimum.values.get(name),
        interval=interval,
        interval_of=None if interval is None else covers,
        half_widths=None if parts is None else HalfWidths(noise_and_search=parts[0], model=parts[1]),
        verdict=None if verdict is None else verdict.kind,
        note=None if verdict is None else _note(dimension, verdict, optimum, limits),
        choices=optimum.choices.get(name),
        sensitivity=Sensitivity(main=main, total=total),
    )


def _note(dimension: Dimension, verdict: Verdict, optimum: Optimum, limits: Limits) -> str:
    """One sentence about a verdict."""
    name, unit = dimension.name, with_unit("", dimension.unit)
    low, high = optimum.intervals[name]
    value = float(optimum.values[name])
    match verdict.kind:
        case "flat":
            return f"these data hardly depend on {name}: any value from {low:.4g} to {high:.4g}{unit} explains them"
        case "at_bound":
            near_low = low - dimension.low < dimension.high - high
            side, end, way = ("lower", dimension.low, "down") if near_low else ("upper", dimension.high, "up")
            reaches = "the best value is at" if math.isclose(value, end, abs_tol=1e-9) else "the interval reaches"
            best = f"{reaches} the {side} end of the range ({end:g}{unit})"
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
        case "not_found":
            return _WHY_NOT_FOUND[verdict.because].format(name=name)
        case "model_limited":
            return (
                f"within {(high - low) / 2:.2g}{unit} (90 %), but the model does not explain these data to within "
                "their noise: the interval rests on how differently parts of the data are misfitted"
            )
        case "identified":
            return f"these data fix it to within {(high - low) / 2:.2g}{unit} (90 %)"
