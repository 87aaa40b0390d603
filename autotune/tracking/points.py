"""Trials as MLflow holds them: points, a curve of the incumbent and a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.store.records import TrialRecord, best_of
from autotune.text import unit_label
from autotune.tracking.limits import key
from autotune.tracking.study_facts import StudyFacts

if TYPE_CHECKING:
    from mlflow.entities import Metric as Point


def points(numbers: Iterable[tuple[str, float, int]], moment: int) -> list[Point]:
    """Numbers (name, value, step) as MLflow points. What is not finite is left out: MLflow cannot plot it.

    Args:
        numbers: the numbers.
        moment: time of every point, ms since 1970.
    """
    from mlflow.entities import Metric as Point

    return [Point(key(name), float(value), moment, step) for name, value, step in numbers if math.isfinite(value)]


def trial_points(facts: StudyFacts, trial: TrialRecord) -> list[Point]:
    """Metrics, gradient for the tuned parameters, ``log10_NAME``, resources and curve of an ended trial.

    The metrics of a cheap evaluation are called ``NAME level N``: in a table sorted by NAME the best full one is first.
    Curve points have the iteration (from 1) as step, all others step 0.
    """
    numbers: dict[str, float] = {"evaluation_seconds": trial.seconds} if trial.seconds else {}
    numbers.update({f"{name}{_level(trial)}": value for name, value in trial.metrics.items()})
    numbers.update({f"gradient/{name}": slope for name, slope in trial.gradient.items() if name in trial.values})
    for name in facts.log_parameters & trial.values.keys():
        value = trial.values[name]
        if not isinstance(value, str) and value > 0:
            numbers[f"log10_{name}"] = math.log10(value)
    curves = [
        (f"curve/{name}", value, step)
        for name, curve in trial.curve.items()
        for step, value in enumerate(curve, start=1)
    ]
    single = [(name, value, 0) for name, value in sorted(numbers.items())]
    return points(single + curves + _resources(trial, step=0), ended_at(trial))


def progress_points(metric: Metric, trial: TrialRecord, best: TrialRecord | None, moment: int) -> list[Point]:
    """The points of the study's run at the number of a trial.

    They are the resources that the trial used; ``trials/METRIC``, the tuned metric of one that finished (cheap
    evaluations, which do not compare with full ones, have ``trials/METRIC level N``); ``incumbent/NAME`` for each
    further metric of the best trial so far; and ``best_METRIC``, which is there only once all others are.

    Args:
        metric: the tuned metric.
        trial: an ended trial.
        best, moment: as from :meth:`Incumbents.advance`.
    """
    own = _resources(trial, trial.number)
    if trial.state == "finished" and metric.name in trial.metrics:
        own.append((f"trials/{metric.name}{_level(trial)}", trial.metrics[metric.name], trial.number))
    incumbent = []
    if best is not None:
        others = [
            (f"incumbent/{name}", v, trial.number) for name, v in sorted(best.metrics.items()) if name != metric.name
        ]
        incumbent = [*others, (best_key(metric), best.metrics[metric.name], trial.number)]
    return points(own, ended_at(trial)) + points(incumbent, moment)


class Incumbents:
    """Goes through the trials in the order of their numbers, once, and knows the best one so far.

    A trial waits until all earlier ones have ended: parallel trials give the same curve in any order.
    """

    def __init__(self, metric: Metric, limits: Sequence[Limit] = ()) -> None:
        """Begin before the first trial.

        Args:
            metric: the tuned metric.
            limits: the limits that an answer must keep.
        """
        self._metric, self._limits = metric, limits
        self._next = 0
        self._best: TrialRecord | None = None
        self._moment = 0

    def advance(self, trials: Mapping[int, TrialRecord]) -> Iterator[tuple[TrialRecord, TrialRecord | None, int]]:
        """Go on to the first trial that is missing or runs, and give (trial, best so far, moment) of each on the way.

        The best is None where the trial is no answer; the moment, in ms since 1970, is when the last answer until then
        ended.

        Args:
            trials: by number; those that were gone through may be left out.
        """
        while (trial := trials.get(self._next)) is not None and trial.state != "running":
            self._next += 1
            yield trial, self._best if self._takes(trial) else None, self._moment

    def _takes(self, trial: TrialRecord) -> bool:
        value = trial.metrics.get(self._metric.name, math.nan)
        if not (trial.answers(self._limits) and math.isfinite(value)):
            return False
        self._best = best_of([trial] if self._best is None else [self._best, trial], self._metric, self._limits)
        self._moment = max(self._moment, ended_at(trial))
        return True


def _resources(trial: TrialRecord, step: int) -> list[tuple[str, float, int]]:
    """The resources that a trial used, under names that the MLflow UI shows as system metrics."""
    return [(f"system/{name}", value, step) for name, value in sorted(trial.resources.items())]


def _level(trial: TrialRecord) -> str:
    return f" level {trial.level}" if trial.level else ""


def best_key(metric: Metric) -> str:
    """Key of the curve of the best value so far."""
    return key(f"best_{metric.name}")


def study_summary(metric: Metric, trials: Sequence[TrialRecord], limits: Sequence[Limit] = ()) -> dict[str, float]:
    """The study's own numbers, logged on the parent when it closes: the incumbent's metric and the noise ceiling."""
    best = best_of(trials, metric, limits)
    summary = {} if best is None else {metric.name: best.metrics[metric.name]}
    return summary if metric.noise_ceiling is None else summary | {"noise_ceiling": metric.noise_ceiling}


def trial_table(facts: StudyFacts, trials: Sequence[TrialRecord]) -> dict[str, list[Any]]:
    """All trials in pandas' ``split`` form (``columns``, rows of ``data``), as MLflow stores a table."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    headers = [unit_label(name, facts.units.get(name, "1")) for name in names]
    rows = [
        [trial.number, trial.state, trial.spent]
        + [trial.values.get(name) for name in names]
        + [_finite(trial.metrics.get(name)) for name in metrics]
        + [trial.seconds, trial.reason]
        for trial in trials
    ]
    return {"columns": ["trial", "state", "cost", *headers, *metrics, "seconds", "reason"], "data": rows}


def ended_at(trial: TrialRecord) -> int:
    """When an ended trial did, in ms since 1970."""
    return milliseconds(trial.ended or trial.started)


def milliseconds(moment: datetime | None) -> int:
    """Milliseconds since 1970; now where the moment is not known."""
    return round((moment or datetime.now()).timestamp() * 1000)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
