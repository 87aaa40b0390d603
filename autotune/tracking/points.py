"""What MLflow is told: a study's facts, and its trials as points, a curve of the incumbent and a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.store.records import TrialRecord, best_of
from autotune.text import unit_label

if TYPE_CHECKING:
    from mlflow.entities import Metric as Point


@dataclass(frozen=True)
class MeasuredData:
    """What a study is about, as MLflow's dataset input.

    Attributes:
        name: for people.
        content_hash: of the measurement; the first 36 characters are MLflow's digest.
        description: further facts.
    """

    name: str
    content_hash: str
    description: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFacts:
    """What MLflow is told about a study.

    Attributes:
        study_id: finds the parent run again; the same for every run of one study, unique among studies.
        name, experiment: names of the parent run and of its experiment.
        study_text: the study file as run, logged as ``study.yaml``.
        metric: the tuned metric.
        parameters: parameter name -> its range or fixed value as text; must not change within one study_id.
        units: parameter name -> unit.
        log_parameters: names on a logarithmic scale; their children get a metric ``log10_NAME`` for plotting.
        tags: further tags of the parent run (objective, study hash, seed, ...).
        limits: what a trial must keep to be the best.
        data: the measurement; None where its content hash is not known.
    """

    study_id: str
    name: str
    experiment: str
    study_text: str
    metric: Metric
    parameters: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    log_parameters: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    data: MeasuredData | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.:-]+", self.study_id):
            raise ValueError(f"study_id {self.study_id!r} must be letters, digits and . : _ - only")

    def as_dict(self) -> dict[str, Any]:
        """Plain data to keep with the study, from which :meth:`from_dict` makes the same facts."""
        return asdict(self) | {"log_parameters": sorted(self.log_parameters)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StudyFacts:
        """The facts that :meth:`as_dict` described."""
        metric, logs = Metric(**data["metric"]), frozenset(data["log_parameters"])
        limits = tuple(Limit(**limit) for limit in data.get("limits", ()))
        measured = MeasuredData(**data["data"]) if data.get("data") else None
        return cls(**{**data, "metric": metric, "log_parameters": logs, "limits": limits, "data": measured})


def trial_points(facts: StudyFacts, trial: TrialRecord, moment: int) -> list[Point]:
    """A trial's metrics, gradient for what is tuned, ``log10_NAME``, resources and curve as MLflow points.

    The metrics of a cheap evaluation are called ``NAME level N``: in a table sorted by NAME the best full one is first.
    Curve points have the iteration (from 1) as step, all others step 0. What is not finite is left out:
    MLflow cannot plot it.

    Args:
        facts: names the parameters on a logarithmic scale.
        trial: an ended trial.
        moment: time of every point, ms since 1970.
    """
    from mlflow.entities import Metric as Point

    numbers: dict[str, float] = {"evaluation_seconds": trial.seconds} if trial.seconds else {}
    numbers.update({f"{name}{_level(trial)}": value for name, value in trial.metrics.items()})
    numbers.update({f"gradient/{name}": slope for name, slope in trial.gradient.items() if name in trial.values})
    for name in facts.log_parameters & trial.values.keys():
        value = trial.values[name]
        if not isinstance(value, str) and value > 0:
            numbers[f"log10_{name}"] = math.log10(value)
    points = [(name, value, 0) for name, value in sorted(numbers.items())]
    for name, curve in trial.curve.items():
        points += [(f"curve/{name}", value, step) for step, value in enumerate(curve, start=1)]
    made = [Point(key(name), float(value), moment, step) for name, value, step in points if math.isfinite(value)]
    return made + resource_points(trial, moment, step=0)


class Incumbents:
    """Goes through the trials in the order of their numbers, once, and knows the best one so far.

    A trial waits until all earlier ones have ended: parallel trials give the same curve in any order.
    """

    def __init__(self, metric: Metric, limits: Sequence[Limit] = ()) -> None:
        """Begin before the first trial.

        Args:
            metric: the tuned metric.
            limits: what an answer must keep.
        """
        self._metric, self._limits = metric, limits
        self._next = 0
        self._best: TrialRecord | None = None
        self._moment = 0

    def advance(self, trials: Mapping[int, TrialRecord]) -> Iterator[tuple[TrialRecord, TrialRecord | None, int]]:
        """Go on to the first trial that is missing or runs: (trial, best so far, ms since 1970) of each.

        The best is None where the trial is no answer; the moment is when the last answer until then ended.

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
        self._best = best_of([trial] if self._best is None else [self._best, trial], self._metric)
        self._moment = max(self._moment, milliseconds(trial.ended or trial.started))
        return True


def incumbent_points(metric: Metric, number: int, best: TrialRecord, moment: int) -> list[Point]:
    """The best trial after trial ``number`` as MLflow points: ``incumbent/NAME`` for each of its other metrics, then
    ``best_METRIC``, which is there only once all are.

    Args:
        metric: the tuned metric.
        number: the step.
        best: the best trial so far.
        moment: time of every point, ms since 1970.
    """
    from mlflow.entities import Metric as Point

    others = {f"incumbent/{name}": value for name, value in sorted(best.metrics.items()) if name != metric.name}
    numbers = others | {best_key(metric): best.metrics[metric.name]}
    return [Point(key(name), float(v), moment, number) for name, v in numbers.items() if math.isfinite(v)]


def resource_points(trial: TrialRecord, moment: int, step: int) -> list[Point]:
    """What a trial took of its machine, under names that the MLflow UI shows as system metrics."""
    from mlflow.entities import Metric as Point

    numbers = sorted(trial.resources.items())
    return [Point(key(f"system/{name}"), float(v), moment, step) for name, v in numbers if math.isfinite(v)]


def trial_value_points(metric: Metric, trial: TrialRecord, moment: int) -> list[Point]:
    """The tuned metric of a trial that finished, for a chart by trial number on the parent: ``trials/METRIC``.

    Cheap evaluations, which do not compare with full ones, have a chart of their own (``trials/METRIC level 1``, ...).
    """
    from mlflow.entities import Metric as Point

    value = trial.metrics.get(metric.name, math.nan)
    if trial.state != "finished" or not math.isfinite(value):
        return []
    return [Point(key(f"trials/{metric.name}{_level(trial)}"), float(value), moment, trial.number)]


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
    units = {name: facts.units.get(name, "1") for name in names}
    headers = [unit_label(name, units[name]) for name in names]
    rows = [
        [trial.number, trial.state, trial.spent]
        + [trial.values.get(name) for name in names]
        + [_finite(trial.metrics.get(name)) for name in metrics]
        + [trial.seconds, trial.reason]
        for trial in trials
    ]
    return {"columns": ["trial", "state", "cost", *headers, *metrics, "seconds", "reason"], "data": rows}


def milliseconds(moment: datetime | None) -> int:
    """Milliseconds since 1970; now where the moment is not known."""
    return round((moment or datetime.now()).timestamp() * 1000)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def key(name: str) -> str:
    """``name`` with what MLflow does not allow in a key replaced."""
    return re.sub(r"[^\w./ :-]", "_", name)[:250]
