"""What MLflow is told: a study's facts, and its trials as points, a curve of the incumbent and a table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autotune.criteria import Limit
from autotune.objective import Metric
from autotune.store import TrialRecord, best_of

if TYPE_CHECKING:
    from mlflow.entities import Metric as Point


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
        return cls(**{**data, "metric": metric, "log_parameters": logs, "limits": limits})


def trial_points(facts: StudyFacts, trial: TrialRecord, moment: int) -> list[Point]:
    """A trial's metrics, gradient for what is tuned, ``log10_NAME`` and curve as MLflow points.

    Curve points have the iteration (from 1) as step, all others step 0. What is not finite is left out:
    MLflow cannot plot it.

    Args:
        facts: names the parameters on a logarithmic scale.
        trial: an ended trial.
        moment: time of every point, ms since 1970.
    """
    from mlflow.entities import Metric as Point

    numbers: dict[str, float] = {"evaluation_seconds": trial.seconds} if trial.seconds else {}
    numbers.update(trial.metrics)
    numbers.update({f"gradient/{name}": slope for name, slope in trial.gradient.items() if name in trial.values})
    for name in facts.log_parameters & trial.values.keys():
        value = trial.values[name]
        if not isinstance(value, str) and value > 0:
            numbers[f"log10_{name}"] = math.log10(value)
    points = [(name, value, 0) for name, value in sorted(numbers.items())]
    for name, curve in trial.curve.items():
        points += [(f"curve/{name}", value, step) for step, value in enumerate(curve, start=1)]
    return [Point(key(name), float(value), moment, step) for name, value, step in points if math.isfinite(value)]


def incumbent_curve(
    metric: Metric, trials: Sequence[TrialRecord], limits: Sequence[Limit] = ()
) -> Iterator[tuple[int, float, int]]:
    """(trial number, best value so far, ms since 1970) for the answers before the first trial missing.

    Args:
        metric: the tuned metric.
        trials: in the order of their numbers; one that still runs counts as missing.
        limits: what an answer must keep.
    """
    better = max if metric.goal == "maximize" else min
    best: float | None = None
    moment = 0
    for expected, trial in enumerate(trials):
        if trial.number != expected or trial.state == "running":
            return
        value = trial.metrics.get(metric.name, math.nan)
        if trial.answers(limits) and math.isfinite(value):
            best = value if best is None else better(best, value)
            moment = max(moment, milliseconds(trial.ended or trial.started))
            yield trial.number, best, moment


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
    headers = [name if units[name] == "1" else f"{name} ({units[name]})" for name in names]
    rows = [
        [trial.number, trial.state, trial.equivalents]
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
