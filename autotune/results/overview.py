"""Studies at a glance: which studies there are, how far each is, which trials failed. Reads the store only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from autotune.errors import InputError
from autotune.home import Home
from autotune.objective import Value
from autotune.results.build import build_result
from autotune.results.document import Document, Part, StudyResult, TrialCounts
from autotune.store.leases import alive
from autotune.store.records import TrialRecord, TrialState
from autotune.store.trials import TrialStore

LATEST = 10
"""How many of a study's latest trials are listed, and how many its rate is computed from."""


UNREADABLE = "unreadable"
"""Status of a study whose facts are damaged."""


class StartedTrials(TrialCounts):
    """How many trials were started, by their state."""

    running: int
    """Trials that are being evaluated."""


class BestMetric(Part):
    """The tuned metric in the best trial."""

    name: str | None
    """The metric's name; None where a study made by hand does not say it."""
    best: float | None
    """Its value in the best trial, in the metric's unit; None where there is none."""
    fraction_of_ceiling: float | None
    """That value over the noise ceiling; None where either is missing."""


class StudySummary(Document):
    """A study in a line: an entry of ``autotune status --json``."""

    study: str
    """The study's name."""
    status: str
    """As in result.json; ``by hand`` for a study made by ask and tell, ``unreadable`` where its facts are damaged."""
    runs: int
    """Runs of the study that are alive now."""
    trials: StartedTrials
    """How many trials there are."""
    metric: BestMetric
    """The tuned metric in the best trial."""
    best_trial: int | None
    """Number of the best trial; None where there is none."""
    equivalents: float
    """Cost of all trials, in full evaluations."""
    seconds: float
    """Wall-clock time of the study over all its runs, in seconds."""
    first_active: str | None
    """Local time at which the first trial began, ISO 8601; None before it."""
    last_active: str | None
    """Local time at which a trial last began or ended, ISO 8601; None before the first one."""
    reason: str
    """Why the study ended, or why it cannot be read; empty while it runs, and for a study made by ask and tell."""


class LatestTrial(Part):
    """One of the latest trials."""

    trial: int
    """The trial's number."""
    state: TrialState
    """Its state."""
    level: int
    """Number of its kind of cheap evaluation, from 1; 0 for a full one."""
    metric: float | None
    """The tuned metric, in its unit; None where it has none."""
    values: dict[str, Value]
    """Tuned parameter -> its value, in the parameter's unit."""
    seconds: float
    """Wall-clock time of the evaluation, in seconds."""
    reason: str
    """Why it failed or was stopped; empty where it was not."""


class Failure(Part):
    """A reason for which trials failed."""

    reason: str
    """The reason."""
    count: int
    """How many trials failed for it."""
    trial: int
    """The latest of them."""


class BestValue(Part):
    """A tuned parameter in the best trial."""

    value: Value | None
    """Its value, in ``unit``; None where there is none."""
    unit: str
    """The parameter's unit; 1 for a plain number."""


class Budget(Part):
    """How much of a limit of the budget is used."""

    used: int | float
    """What is used, in the limit's unit."""
    of: int | float
    """The limit."""


class StudyDetails(StudySummary):
    """A study in a line, and what its trials do: what ``autotune status STUDY --json`` prints."""

    latest: tuple[LatestTrial, ...]
    """The latest trials, in the order of their numbers."""
    failures: tuple[Failure, ...]
    """Why trials failed, the most frequent reason first."""
    incumbent: dict[str, BestValue]
    """Tuned parameter -> its value in the best trial."""
    budget: dict[str, Budget] | None
    """trials, reconstructions (full evaluations), seconds -> how much is used; None where it was not kept."""
    trials_per_hour: float | None
    """Rate of the latest trials of all runs that are alive, of the last run where none is; None where it is unknown."""
    seconds_left: float | None
    """Seconds until the budget is used at that rate, at most; None where no run is alive or the rate is unknown."""


def overview(home: Home) -> list[StudySummary]:
    """A summary of every study of a home, the most recently active first; one that cannot be read says why."""
    summaries = [_readable(store, home) for store in TrialStore.open_all(home.store_url)]
    return sorted(summaries, key=lambda study: study.last_active or "", reverse=True)


def _readable(store: TrialStore, home: Home) -> StudySummary:
    """A study in a line; of one whose facts are damaged, what its trials say."""
    try:
        return summary(store, home)
    except InputError as error:
        return _of_trials(
            store.trials(),
            study=store.study.study_name,
            status=UNREADABLE,
            runs=0,
            metric=BestMetric(name=None, best=None, fraction_of_ceiling=None),
            best_trial=None,
            seconds=0.0,
            reason="; ".join(f"{problem.what}; {problem.remedy}" for problem in error.problems),
        )


def summary(store: TrialStore, home: Home) -> StudySummary:
    """A study in a line.

    Raises:
        InputError: a fact of the study is damaged.
    """
    return _line(store, None if store.facts.by_hand else _result(store, home))


def details(store: TrialStore, home: Home) -> StudyDetails:
    """A study, made from a study file, in a line, and what its trials do."""
    trials, facts = store.trials(), store.facts
    result = _result(store, home)
    counted = [trial for trial in trials if trial.state != "interrupted"]
    live = alive(store)
    rate = _rate(counted, live)
    budget = _budget(facts.budget, counted, facts.seconds)
    return StudyDetails(
        **dict(_line(store, result)),
        latest=tuple(_trial(trial, result.metric.name) for trial in counted[-LATEST:]),
        failures=_failures(counted),
        incumbent={name: BestValue(value=p.best, unit=p.unit) for name, p in result.parameters.items()},
        budget=budget,
        trials_per_hour=None if rate is None else 3600 * rate,
        seconds_left=_left(budget, rate) if live else None,
    )


def _result(store: TrialStore, home: Home) -> StudyResult:
    return build_result(store, home, live=bool(alive(store)))


def _line(store: TrialStore, result: StudyResult | None) -> StudySummary:
    """A study in a line; a study made by hand has no result."""
    facts = store.facts
    metric = BestMetric(name=facts.metric_name, best=None, fraction_of_ceiling=None)
    if result is not None:
        best = result.metric
        metric = BestMetric(name=best.name, best=best.best, fraction_of_ceiling=best.fraction_of_ceiling)
    return _of_trials(
        store.trials(),
        study=store.study.study_name,
        status="by hand" if result is None else result.status,
        runs=len(alive(store)),
        metric=metric,
        best_trial=None if result is None else result.best_trial,
        seconds=facts.seconds,
        reason="" if result is None else result.reason,
    )


def _of_trials(
    trials: Sequence[TrialRecord],
    *,
    study: str,
    status: str,
    runs: int,
    metric: BestMetric,
    best_trial: int | None,
    seconds: float,
    reason: str,
) -> StudySummary:
    """A study in a line: its trials, and what else is known of it."""
    states = Counter(trial.state for trial in trials)
    return StudySummary(
        study=study,
        status=status,
        runs=runs,
        trials=StartedTrials(
            finished=states["finished"], failed=states["failed"], pruned=states["pruned"], running=states["running"]
        ),
        metric=metric,
        best_trial=best_trial,
        equivalents=sum(trial.spent for trial in trials),
        seconds=seconds,
        first_active=_iso(min((t.started for t in trials if t.started), default=None)),
        last_active=_iso(max((t.ended or t.started for t in trials if t.started), default=None)),
        reason=reason,
    )


def _trial(trial: TrialRecord, metric: str) -> LatestTrial:
    return LatestTrial(
        trial=trial.number,
        state=trial.state,
        level=trial.level,
        metric=trial.metrics.get(metric),
        values=dict(trial.values),
        seconds=trial.seconds,
        reason=trial.reason,
    )


def _failures(trials: Sequence[TrialRecord]) -> tuple[Failure, ...]:
    """Why trials failed, the most frequent reason first."""
    failed = [trial for trial in trials if trial.state == "failed"]
    latest = {trial.reason: trial.number for trial in failed}
    counts = Counter(trial.reason for trial in failed).most_common()
    return tuple(Failure(reason=reason, count=count, trial=latest[reason]) for reason, count in counts)


def _budget(
    limits: Mapping[str, Any] | None, trials: Sequence[TrialRecord], seconds: float
) -> dict[str, Budget] | None:
    """How much is used of each limit that the study has."""
    if limits is None:
        return None
    ended = sum(trial.state not in ("running", "interrupted") for trial in trials)
    used = {"trials": ended, "reconstructions": sum(trial.spent for trial in trials), "seconds": seconds}
    return {name: Budget(used=spent, of=limits[name]) for name, spent in used.items() if limits.get(name) is not None}


def _rate(trials: Sequence[TrialRecord], live: Set[str]) -> float | None:
    """Trials per second, from the ends of the latest trials of the runs that are alive; None where too few have ended.

    Where no run is alive, it is the rate of the run that ended a trial last.
    """
    ended = sorted((t for t in trials if t.ended is not None), key=lambda t: t.ended or datetime.min)
    runs = live or {t.owner for t in ended[-1:]}
    latest = [t.ended for t in ended if t.owner in runs and t.ended is not None][-LATEST:]
    if len(latest) < 2 or latest[-1] <= latest[0]:
        return None
    return (len(latest) - 1) / (latest[-1] - latest[0]).total_seconds()


def _left(budget: Mapping[str, Budget] | None, rate: float | None) -> float | None:
    """Seconds until the first limit is reached at this rate."""
    if budget is None or rate is None:
        return None
    trials, seconds, cost = (budget.get(name) for name in ("trials", "seconds", "reconstructions"))
    left = [] if trials is None else [(trials.of - trials.used) / rate]
    left += [] if seconds is None else [seconds.of - seconds.used]
    ended = 0 if trials is None else trials.used
    if cost is not None and ended and cost.used > 0:
        left.append((cost.of - cost.used) / (cost.used / ended) / rate)
    return max(0.0, min(left)) if left else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
