"""result.json: the answer of a study as data, computed from the trial store alone.

Estimates, intervals (of the surrogate: its own uncertainty, not yet the data's), verdicts and sensitivities are those
of the study's last end, and null before it.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any

from autotune import __version__
from autotune.home import Home
from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import describe
from autotune.store.records import TrialRecord, best_of, front_of
from autotune.store.trials import TrialStore

SCHEMA = 1
CONFIRMATION = "confirmation"
"""Fact of a study: what ``autotune confirm`` has found; of use while no further trial has finished."""
NOISE_AND_SEARCH, SEARCH = "noise and search", "search"
"""What an interval covers: what the noise of the measurement and an unfinished search leave open, or the latter."""
_PACKAGES = ("torch", "botorch", "gpytorch", "optuna", "mlflow", "numpy", "h5py")


def build_result(store: TrialStore, home: Home, *, live: bool) -> dict[str, Any]:
    """The result document of a study.

    Args:
        store: the study.
        home: where its artifacts are.
        live: whether a process is running the study now; a study that says it runs without one was stopped.
    """
    facts, trials = store.facts, store.trials()
    answer = answer_of(facts, trials)
    metric = Metric(**facts["metric"])
    limits = [Limit(**limit) for limit in facts.get("limits", ())]
    best = best_of(trials, metric, limits)
    status, reason = facts.get("status", "running"), facts.get("reason", "")
    if status == "running" and not live:
        status, reason = "stopped", "the process ended before the study did"
    name = store.study.study_name
    return {
        "schema": SCHEMA,
        "study": name,
        "status": status,
        "reason": reason,
        "trials": {state: sum(t.state == state for t in trials) for state in ("finished", "failed", "pruned")},
        "metric": _metric(metric, best) | {"estimate": None, "deviation": None} | answer.get("metric", {}),
        "limits": [_limit(limit, trials) for limit in limits],
        "pareto": _pareto([metric, *(Metric(**other) for other in facts.get("against", ()))], trials, limits),
        "parameters": {d["name"]: _parameter(d, best, answer) for d in facts["space"]},
        "correlations": answer.get("correlations"),
        "noise": answer.get("noise"),
        "confirmation": _current(facts.get(CONFIRMATION, {}), trials) or None,
        "best_trial": None if best is None else best.number,
        "cost": {
            "seconds": facts.get("seconds", 0.0),
            "evaluation_seconds": sum(trial.seconds for trial in trials),
            "reconstruction_equivalents": sum(trial.spent for trial in trials),
            "interval_equivalents": float(answer.get("noise", {}).get("equivalents", 0.0)),
        },
        "mlflow": {key: facts.get("mlflow", {}).get(key) for key in ("tracking_uri", "experiment", "run_id")},
        "artifacts": str(home.study(name)),
        "software": software(),
        "seed": facts["seed"],
    }


def answer_of(facts: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Mapping[str, Any]:
    """What the study's last end found of the optimum; empty where none did, or trials have finished since."""
    return _current(facts.get("answer", {}), trials)


def _current(found: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Mapping[str, Any]:
    """What was found of so many finished trials, where no more of them have finished since; else nothing."""
    return found if found.get("trials") == sum(trial.state == "finished" for trial in trials) else {}


def _metric(metric: Metric, best: TrialRecord | None) -> dict[str, Any]:
    value = None if best is None else best.metrics[metric.name]
    ceiling = metric.noise_ceiling
    return {
        "name": metric.name,
        "best": value,
        "noise_ceiling": ceiling,
        "fraction_of_ceiling": None if value is None or not ceiling else value / ceiling,
    }


def _limit(limit: Limit, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """A limit, and how many finished full trials keep it."""
    full = [trial for trial in trials if trial.answers()]
    kept = sum(limit.kept_by(trial.reported) for trial in full)
    return {
        "metric": limit.metric,
        "below": limit.below,
        "above": limit.above,
        "kept_by": kept,
        "broken_by": len(full) - kept,
    }


def _pareto(
    metrics: Sequence[Metric], trials: Sequence[TrialRecord], limits: Sequence[Limit]
) -> list[dict[str, Any]] | None:
    """The trials that none beats in one metric without losing in another; None where only one is asked for."""
    if len(metrics) == 1:
        return None
    return [
        {"trial": t.number, "metrics": {m.name: t.reported[m.name] for m in metrics}, "values": dict(t.values)}
        for t in front_of(trials, metrics, limits)
    ]


def _parameter(dimension: Mapping[str, Any], best: TrialRecord | None, answer: Mapping[str, Any]) -> dict[str, Any]:
    known = answer.get("parameters", {}).get(dimension["name"], {})
    note = known.get("note")
    if best is not None and dimension["name"] not in best.values:
        condition = describe(dimension.get("when", {}).items())
        note = f"not used by the best trial{': only while ' + condition if condition else ''}"
    return {
        "best": None if best is None else best.values.get(dimension["name"]),
        "estimate": known.get("estimate"),
        "interval": known.get("interval"),
        "interval_of": known.get("interval_of"),
        "level": answer.get("level") if known.get("interval") else None,
        "unit": dimension["unit"],
        "kind": dimension["kind"],
        "verdict": known.get("verdict"),
        "note": note,
        "choices": known.get("choices"),
        "sensitivity": known.get("sensitivity"),
    }


def software() -> dict[str, str]:
    """Versions that decide the numbers."""
    versions = {"autotune": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
