"""Studies at a glance: what is there, how far it is, what failed. Reads the store, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from autotune.home import Home
from autotune.results.document import build_result
from autotune.store.leases import alive
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore, study_names

LATEST = 10
"""Trials shown of a study, and trials that its rate is that of."""


def overview(home: Home) -> list[dict[str, Any]]:
    """All studies of a home, those where something happened last first, as :func:`summary` says each."""
    stores = [TrialStore.open(home.store_url, name) for name in study_names(home.store_url)]
    found = [summary(store, home) for store in stores if store is not None]
    return sorted(found, key=lambda one: one["last_active"] or "", reverse=True)


def summary(store: TrialStore, home: Home) -> dict[str, Any]:
    """One study in a line.

    Keys: ``study``, ``status`` (with ``by hand`` for one that was made by ask and tell), ``runs`` that are alive now,
    ``trials`` (state -> count, those that run included), ``metric`` (``name``, ``best``, ``fraction_of_ceiling``),
    ``best_trial``, ``equivalents`` (cost in full evaluations), ``seconds``, ``first_active`` and ``last_active``
    (local times; None before the first trial).
    """
    live, trials, facts = alive(store), store.trials(), store.facts
    states = Counter(trial.state for trial in trials)
    line = {
        "study": store.study.study_name,
        "status": "by hand",
        "runs": len(live),
        "trials": {state: states[state] for state in ("finished", "failed", "pruned", "running")},
        "metric": {"name": facts.metric_name, "best": None, "fraction_of_ceiling": None},
        "best_trial": None,
        "equivalents": sum(trial.spent for trial in trials),
        "seconds": facts.seconds,
        "first_active": _iso(min((t.started for t in trials if t.started), default=None)),
        "last_active": _iso(max((t.ended or t.started for t in trials if t.started), default=None)),
    }
    if facts.by_hand:
        return line
    result = build_result(store, home, live=bool(live))
    metric = {key: result["metric"][key] for key in ("name", "best", "fraction_of_ceiling")}
    return line | {"status": result["status"], "metric": metric, "best_trial": result["best_trial"]}


def details(store: TrialStore, home: Home) -> dict[str, Any]:
    """A study's :func:`summary`, and what its trials do.

    Further keys: ``reason`` of its end; ``latest`` trials (``trial``, ``state``, ``level``, ``metric``, ``values``,
    ``seconds``, ``reason``); ``failures`` (``reason``, ``count``, the latest such ``trial``); ``incumbent`` (parameter
    -> ``value``, ``unit``); ``budget`` (what of it -> ``used`` and ``of``; None where it was not kept);
    ``trials_per_hour`` of the latest ones of all runs that are alive (of the last one where none is), and
    ``seconds_left`` at most at that rate (None where none runs, or that is not known).
    """
    live, trials, facts = alive(store), store.trials(), store.facts
    result = build_result(store, home, live=bool(live))
    counted = [trial for trial in trials if trial.state != "interrupted"]
    rate = _rate(counted, live)
    budget = _budget(facts.budget, counted, facts.seconds)
    found = summary(store, home)
    return found | {
        "reason": result["reason"],
        "latest": [_trial(trial, result["metric"]["name"]) for trial in counted[-LATEST:]],
        "failures": _failures(counted),
        "incumbent": {name: {"value": p["best"], "unit": p["unit"]} for name, p in result["parameters"].items()},
        "budget": budget,
        "trials_per_hour": None if rate is None else 3600 * rate,
        "seconds_left": _left(budget, rate) if found["runs"] else None,
    }


def _trial(trial: TrialRecord, metric: str) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "level": trial.level,
        "metric": trial.metrics.get(metric),
        "values": dict(trial.values),
        "seconds": trial.seconds,
        "reason": trial.reason,
    }


def _failures(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Why trials failed, the most frequent reason first."""
    failed = [trial for trial in trials if trial.state == "failed"]
    latest = {trial.reason: trial.number for trial in failed}
    counts = Counter(trial.reason for trial in failed).most_common()
    return [{"reason": reason, "count": count, "trial": latest[reason]} for reason, count in counts]


def _budget(
    limits: Mapping[str, Any] | None, trials: Sequence[TrialRecord], seconds: float
) -> dict[str, dict[str, float]] | None:
    """What is used of each limit that the study has."""
    if limits is None:
        return None
    ended = sum(trial.state not in ("running", "interrupted") for trial in trials)
    used = {"trials": ended, "reconstructions": sum(trial.spent for trial in trials), "seconds": seconds}
    return {name: {"used": spent, "of": limits[name]} for name, spent in used.items() if limits.get(name) is not None}


def _rate(trials: Sequence[TrialRecord], live: Set[str]) -> float | None:
    """Trials per second, by the ends of the latest ones of the runs that are alive; None where too few have ended.

    Where no run is alive, it is that of the one that ended a trial last.
    """
    ended = sorted((t for t in trials if t.ended is not None), key=lambda t: t.ended or datetime.min)
    runs = live or {t.owner for t in ended[-1:]}
    latest = [t.ended for t in ended if t.owner in runs and t.ended is not None][-LATEST:]
    if len(latest) < 2 or latest[-1] <= latest[0]:
        return None
    return (len(latest) - 1) / (latest[-1] - latest[0]).total_seconds()


def _left(budget: Mapping[str, Mapping[str, float]] | None, rate: float | None) -> float | None:
    """Seconds until the first limit is reached at this rate."""
    if budget is None or rate is None:
        return None
    left = [(budget["trials"]["of"] - budget["trials"]["used"]) / rate] if "trials" in budget else []
    left += [budget["seconds"]["of"] - budget["seconds"]["used"]] if "seconds" in budget else []
    cost = budget.get("reconstructions")
    done = budget.get("trials", {}).get("used", 0)
    if cost is not None and done and cost["used"] > 0:
        left.append((cost["of"] - cost["used"]) / (cost["used"] / done) / rate)
    return max(0.0, min(left)) if left else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
