"""Make result.json from the trial store: which trial is the best, and what of the answer is still up to date."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Any, TypeVar

from pydantic import ValidationError

from autotune import __version__
from autotune.errors import InputError
from autotune.home import Home
from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import Dimension, describe
from autotune.results.document import (
    SCHEMA,
    Confirmation,
    Cost,
    FrontTrial,
    LimitResult,
    MetricResult,
    MlflowRecord,
    ParameterResult,
    StudyResult,
    TrialCounts,
)
from autotune.results.posterior import Answer, AnswerParameter
from autotune.store.facts import StoredFacts
from autotune.store.records import TrialRecord, best_of, front_of
from autotune.store.trials import TrialStore

_PACKAGES = ("torch", "botorch", "gpytorch", "optuna", "mlflow", "numpy", "h5py")
_log = logging.getLogger(__name__)
_Stored = TypeVar("_Stored", Answer, Confirmation)


def build_result(store: TrialStore, home: Home, *, live: bool) -> StudyResult:
    """The result document of a study.

    Args:
        store: the study.
        home: where its artifacts are.
        live: whether a process is running the study now; a study that says it runs without one was stopped.

    An answer or a confirmation that cannot be read is left out, and a warning is logged.

    Raises:
        InputError: another fact of the study is damaged.
    """
    facts, trials = store.facts, store.trials()
    answer = current_answer(facts, trials)
    metric, limits = facts.metric, facts.limits
    best = best_of(trials, metric, limits)
    status, reason = _status(facts, live)
    name = store.study.study_name
    return StudyResult(
        schema=SCHEMA,
        study=name,
        status=status,
        reason=reason,
        trials=_counts(trials),
        metric=_metric(metric, best, answer),
        limits=tuple(_limit(limit, trials) for limit in limits if not limit.of_twins),
        pareto=_pareto([metric, *facts.against], trials, limits),
        parameters={d.name: _parameter(d, best, answer) for d in facts.space.dimensions},
        correlations=None if answer is None else answer.correlations,
        noise=None if answer is None else answer.noise,
        confirmation=current_confirmation(facts, trials),
        best_trial=None if best is None else best.number,
        remarks=_remarks(trials, best),
        cost=Cost(
            seconds=facts.seconds,
            evaluation_seconds=sum(trial.seconds for trial in trials),
            reconstruction_equivalents=sum(trial.spent for trial in trials),
            interval_equivalents=0.0 if answer is None or answer.noise is None else answer.noise.equivalents,
        ),
        mlflow=_record(facts),
        artifacts=str(home.study(name)),
        software=software(),
        seed=facts.seed,
    )


def current_answer(facts: StoredFacts, trials: Sequence[TrialRecord]) -> Answer | None:
    """The answer of the study's last end; None where there is none to be read, or trials have finished since."""
    return _current(Answer, lambda: facts.answer, facts, trials)


def current_confirmation(facts: StoredFacts, trials: Sequence[TrialRecord]) -> Confirmation | None:
    """The confirmation of ``autotune confirm``; None where there is none to be read, or trials have finished since."""
    return _current(Confirmation, lambda: facts.confirmation, facts, trials)


def _current(
    model: type[_Stored], stored: Callable[[], Mapping[str, Any]], facts: StoredFacts, trials: Sequence[TrialRecord]
) -> _Stored | None:
    """A stored document, where it was made of as many finished trials as there are now and can be read.

    A newer version may have written it, in words that this one does not know; the trials are worth showing without it.
    """
    try:
        kept = stored()
        if kept.get("trials") != sum(trial.state == "finished" for trial in trials):
            return None
        return model.model_validate(kept)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _log.warning(
            "study %s: its stored %s is left out: it cannot be read (%s: %s)",
            facts.study,
            model.__name__.lower(),
            where,
            first["msg"],
        )
    except InputError as error:
        _log.warning("%s", error)
    return None


def _status(facts: StoredFacts, live: bool) -> tuple[str, str]:
    """Status and reason; a study that says it runs, without a process that runs it, was stopped."""
    if facts.status == "running" and not live:
        return "stopped", "the process ended before the study did"
    return facts.status, facts.reason


def _counts(trials: Sequence[TrialRecord]) -> TrialCounts:
    states = [trial.state for trial in trials]
    return TrialCounts(finished=states.count("finished"), failed=states.count("failed"), pruned=states.count("pruned"))


def _remarks(trials: Sequence[TrialRecord], best: TrialRecord | None) -> tuple[str, ...]:
    """Those of the best trial, and that trials were made by other versions of software of the objective's."""
    said = [] if best is None else list(best.remarks)
    versions: dict[str, list[str]] = {}
    for trial in trials:
        for name, version in trial.software.items():
            if version not in (seen := versions.setdefault(name, [])):
                seen.append(version)
    mixed = [f"{name} {', '.join(seen)}" for name, seen in versions.items() if len(seen) > 1]
    if mixed:
        said.append(
            f"Trials were made by more than one version of a package, and may differ by it: {'; '.join(mixed)}."
        )
    return tuple(said)


def _metric(metric: Metric, best: TrialRecord | None, answer: Answer | None) -> MetricResult:
    value = None if best is None else best.metrics[metric.name]
    ceiling = metric.noise_ceiling
    return MetricResult(
        name=metric.name,
        best=value,
        noise_ceiling=ceiling,
        fraction_of_ceiling=None if value is None or not ceiling else value / ceiling,
        estimate=None if answer is None else answer.metric.estimate,
        deviation=None if answer is None else answer.metric.deviation,
    )


def _limit(limit: Limit, trials: Sequence[TrialRecord]) -> LimitResult:
    """A limit, and how many finished full trials keep it."""
    full = [trial for trial in trials if trial.answers()]
    kept = sum(limit.kept_by(trial.reported) for trial in full)
    return LimitResult(
        metric=limit.metric, below=limit.below, above=limit.above, kept_by=kept, broken_by=len(full) - kept
    )


def _pareto(
    metrics: Sequence[Metric], trials: Sequence[TrialRecord], limits: Sequence[Limit]
) -> tuple[FrontTrial, ...] | None:
    """The trials that no other trial beats in one metric without losing in another; None for a single metric."""
    if len(metrics) == 1:
        return None
    return tuple(
        FrontTrial(trial=t.number, metrics={m.name: t.reported[m.name] for m in metrics}, values=dict(t.values))
        for t in front_of(trials, metrics, limits)
    )


def _parameter(dimension: Dimension, best: TrialRecord | None, answer: Answer | None) -> ParameterResult:
    name = dimension.name
    posterior = AnswerParameter() if answer is None else answer.parameters.get(name, AnswerParameter())
    note = posterior.note
    if best is not None and name not in best.values:
        condition = describe(dimension.when)
        note = f"not used by the best trial{': only while ' + condition if condition else ''}"
    return ParameterResult(
        best=None if best is None else best.values.get(name),
        estimate=posterior.estimate,
        interval=posterior.interval,
        interval_of=posterior.interval_of,
        half_widths=posterior.half_widths,
        level=None if answer is None or posterior.interval is None else answer.level,
        unit=dimension.unit,
        kind=dimension.kind,
        verdict=posterior.verdict,
        note=note,
        choices=posterior.choices,
        sensitivity=posterior.sensitivity,
    )


def _record(facts: StoredFacts) -> MlflowRecord:
    place = facts.mlflow
    if place is None:
        return MlflowRecord(tracking_uri=None, experiment=None, run_id=None)
    return MlflowRecord(tracking_uri=place.tracking_uri, experiment=place.experiment, run_id=place.run_id)


def software() -> dict[str, str]:
    """Package -> version of what decides the numbers."""
    versions = {"autotune": __version__, "python": platform.python_version()}
    return versions | {name: version for name in _PACKAGES if (version := _version(name)) is not None}


@cache
def _version(package: str) -> str | None:
    """The version that is installed, None where none is; read once, as that of the running code does not change."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
