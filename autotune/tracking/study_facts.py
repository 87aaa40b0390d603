"""The facts of a study that its record in MLflow holds beside the trials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import describe
from autotune.session import RunningStudy
from autotune.study import Plan
from autotune.text import with_unit
from autotune.tracking.tags import tags_of

_NAME = "measurement"  # key of an objective's summary
_SAID_ELSEWHERE = ("content hash", _NAME, "backend")


@dataclass(frozen=True)
class MeasuredData:
    """The measurement that a study reconstructs, which becomes MLflow's dataset input.

    Attributes:
        name: for people.
        content_hash: hash of the measurement; the first 36 characters are MLflow's digest.
        description: further facts.
    """

    name: str
    content_hash: str
    description: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFacts:
    """The facts of a study that its record in MLflow holds beside the trials.

    Attributes:
        study_id: finds the parent run again; the same for every run of one study, unique among studies.
        name, experiment: names of the parent run and of its experiment.
        study_text: the study file as run, logged as ``study.yaml``.
        metric: the tuned metric.
        parameters: parameter name -> its range or fixed value as text; must not change within one study_id.
        units: parameter name -> unit.
        log_parameters: names on a logarithmic scale; their children get a metric ``log10_NAME`` for plotting.
        tags: further tags of the parent run (objective, study hash, seed, ...).
        limits: the limits that a trial must keep to be the best.
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


def facts_of(study: RunningStudy, experiment: str) -> StudyFacts:
    """The facts of a study that is being run.

    Args:
        study: the study.
        experiment: name of the experiment that it is recorded in.
    """
    plan, stored = study.plan, study.store.facts
    return StudyFacts(
        study_id=stored.study_id,
        name=study.name,
        experiment=experiment,
        study_text=study.file.text,
        metric=plan.metric,
        limits=plan.aims.of_answers,
        parameters=_ranges(plan),
        units={d.name: d.unit for d in plan.space.dimensions},
        log_parameters=frozenset(d.name for d in plan.space.dimensions if d.log),
        tags=tags_of(study),
        data=None if stored.content_hash is None else _measured_data(study, stored.content_hash),
    )


def _measured_data(study: RunningStudy, content_hash: str) -> MeasuredData:
    description = {key: value for key, value in study.summary.items() if key not in _SAID_ELSEWHERE}
    return MeasuredData(study.summary.get(_NAME) or study.name, content_hash, description)


def _ranges(plan: Plan) -> dict[str, str]:
    """Every parameter's range or fixed value as text."""
    texts = {}
    for d in plan.space.dimensions:
        scale = "" if d.scale == "linear" else f" ({d.scale})"
        texts[d.name] = (
            ", ".join(d.choices) if d.type == "categorical" else with_unit(f"{d.low:g} .. {d.high:g}", d.unit) + scale
        )
        texts[d.name] += f", while {describe(d.when)}" if d.when else ""
    return texts | {name: f"{value} (fixed)" for name, value in plan.fixed.items()}
