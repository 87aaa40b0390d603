"""A study in a store that has everything a result can show, with numbers of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from autotune.home import Home
from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.space import Dimension, Space
from autotune.store.records import LEVEL
from autotune.store.trials import TrialStore

EXAMPLES = Path(__file__).with_name("result_documents.json")
"""Name -> document, as they were written before they were a model (commit c14e5dc): of :func:`example`, of a study
without trials, and of one whose answer an earlier version kept."""

METHOD = Dimension("method", type="categorical", choices=("plain", "fast"), kind="solver")
SPACE = Space(
    (
        Dimension("defocus", "angstrom", low=-9.0, high=9.0),
        Dimension("passes", type="int", low=1, high=8, kind="solver"),
        METHOD,
        Dimension("step", low=1e-3, high=1.0, log=True, kind="solver", when=(("method", ("plain",)),)),
    )
)
METRIC = Metric("consistency", "maximize", noise_ceiling=0.95)
SHARPNESS = Metric("sharpness", "maximize", "1/nm")

ANSWER: dict[str, Any] = {
    "trials": 3,
    "metric": {"estimate": 0.913, "deviation": 0.0021},
    "level": 0.9,
    "parameters": {
        "defocus": {
            "estimate": 2.04, "interval": [1.7, 2.4], "interval_of": "noise and search",
            "verdict": "identified", "half_widths": None,
            "note": "these data fix it to within 0.35 angstrom (90 %)", "choices": None,
            "sensitivity": {"main": 0.71, "total": 0.8},
        },
        "passes": {
            "estimate": 4, "interval": [3.2, 5.1], "interval_of": "search", "verdict": None,
            "half_widths": None, "note": None,
            "choices": None, "sensitivity": {"main": 0.1, "total": 0.2},
        },
        "method": {
            "estimate": "fast", "interval": None, "interval_of": None, "verdict": None,
            "half_widths": None, "note": None,
            "choices": {"plain": 0.25, "fast": 0.75}, "sensitivity": {"main": 0.0, "total": 0.05},
        },
        "step": {
            "estimate": None, "interval": None, "interval_of": None, "verdict": None,
            "half_widths": None, "note": None, "choices": None,
            "sensitivity": {"main": 0.01, "total": 0.02},
        },
    },
    "correlations": {"defocus": {"defocus": 1.0, "passes": -0.25}, "passes": {"defocus": -0.25, "passes": 1.0}},
    "noise": {"known_from": "counting statistics", "replicates": 6, "equivalents": 11},
}  # fmt: skip

CONFIRMATION: dict[str, Any] = {
    "study": "example",
    "trials": 3,
    "metric": "consistency",
    "holds": True,
    "verdict": "the ranking holds",
    "estimate": "the estimate is ahead of trial 1",
    "complete": False,
    "repeats": 2,
    "rounds": 4,
    "level": 0.9,
    "tolerance": 0.0,
    "seed_matters": True,
    "noise": "counting statistics",
    "candidates": [
        {
            "trial": 1, "values": {"defocus": 2.0, "passes": 4, "method": "fast"}, "recorded": 0.9,
            "on_data": [0.9, None], "on_repeated": [0.89, 0.91], "behind": None, "best_in": 3, "failures": ["too dark"],
        },
        {
            "trial": None, "values": {"defocus": 2.04, "passes": 4, "method": "fast"}, "recorded": None,
            "on_data": [0.91], "on_repeated": [], "behind": {"mean": -0.01, "half_width": None}, "best_in": None,
            "failures": [],
        },
    ],
    "metrics": {"sharpness": {"value": 2.5, "unit": "1/nm", "description": "how sharp"}},
    "examination_failed": None,
    "evaluations": 7,
}  # fmt: skip


def documents() -> dict[str, dict[str, Any]]:
    """The content of :data:`EXAMPLES`."""
    stored: dict[str, dict[str, Any]] = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    return stored


def _begin(home: Home, name: str, **facts: Any) -> TrialStore:
    known = {"metric": dataclasses.asdict(METRIC), "space": SPACE.as_dict(), "seed": 4}
    return TrialStore.create(home.store_url, name, METRIC, known | facts)


def _add(store: TrialStore, values: dict[str, Value], value: float | None, level: int = 0) -> None:
    store.study.enqueue_trial(values)
    trial = store.study.ask(Space(tuple(d for d in SPACE.dimensions if d.name in values)).distributions())
    if level:
        trial.set_user_attr(LEVEL, level)
    metrics = {} if value is None else {"consistency": value, "sharpness": 1.5 - value}
    status, reason = (Status.FAILED, "too dark") if value is None else (Status.COMPLETE, "")
    store.tell(trial.number, Evaluation(status, metrics, seconds=2.5, reason=reason), value, 0.25 if level else 1.0)


def example(home: Home) -> TrialStore:
    """A finished and confirmed study of four trials, weighed against a second metric, with limits."""
    store = _begin(
        home,
        "example",
        limits=[{"metric": "sharpness", "below": 0.9, "above": 0.1}, {"metric": "seconds", "below": 60.0}],
        against=[dataclasses.asdict(SHARPNESS)],
        status="finished",
        reason="all 4 trials are used",
        seconds=12.5,
        mlflow={"tracking_uri": "sqlite:///mlflow.db", "experiment": "autotune", "run_id": "c0ffee", "stated": True},
        answer=ANSWER,
        confirmation=CONFIRMATION,
    )
    _add(store, {"defocus": -1.0, "passes": 2, "method": "plain", "step": 0.1}, 0.7)
    _add(store, {"defocus": 2.0, "passes": 4, "method": "fast"}, 0.9)
    _add(store, {"defocus": 0.5, "passes": 8, "method": "plain", "step": 0.02}, None)
    _add(store, {"defocus": 1.5, "passes": 1, "method": "fast"}, 0.97, level=1)
    return store


def untouched(home: Home) -> TrialStore:
    """A study of which no trial has begun."""
    return _begin(home, "untouched")


def earlier(home: Home) -> TrialStore:
    """A study whose answer an earlier version kept, which knew less."""
    parameters = {"defocus": {"estimate": 2.04, "interval": [1.7, 2.4]}}
    store = _begin(home, "earlier", answer={"trials": 1, "parameters": parameters, "level": 0.9}, status="finished")
    _add(store, {"defocus": 2.0, "passes": 4, "method": "fast"}, 0.9)
    return store
