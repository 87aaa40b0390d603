"""``autotune run --progress json``: one JSON object per line and event, for workflows (docs/execution.md)."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric
from autotune.search.tuner import Trial
from autotune.store.records import TrialRecord

if TYPE_CHECKING:
    from autotune.results.document import StudyResult

_SECONDS_BETWEEN = 1.0  # two reports of the progress of one trial


class JsonLines:
    """A watcher that prints every event as a line of JSON."""

    def __init__(self) -> None:
        self._metric = ""
        self._reported: dict[int, float] = {}

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """Print the study, its metric, and how many trials had ended before."""
        self._metric = metric.name
        about = {"name": metric.name, "goal": metric.goal, "noise_ceiling": metric.noise_ceiling}
        print_event("started", study=name, metric=about, ended=len(trials), budget=budget)

    def warned(self, warning: str) -> None:
        """Print the warning."""
        print_event("warned", warning=warning)

    def proposed(self, trial: Trial) -> None:
        """Print the trial's values."""
        print_event("proposed", trial=trial.number, values=dict(trial.values), level=trial.level)

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """Print the iteration of a trial, at most once a second for each trial."""
        now = time.monotonic()
        if now - self._reported.get(number, -math.inf) >= _SECONDS_BETWEEN:
            self._reported[number] = now
            print_event("progressed", trial=number, iteration=iteration, iterations=iterations, metrics=dict(metrics))

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Print the trial's metrics or the reason why it has none, and the best trial so far."""
        self._reported.pop(trial.number, None)
        print_event(
            "ended",
            trial=trial.number,
            state=trial.state,
            values=dict(trial.values),
            metrics=dict(trial.metrics),
            seconds=trial.seconds,
            reason=trial.reason,
            level=trial.level,
            best=None if best is None else {"trial": best.number, "value": best.metrics[self._metric]},
        )

    def repeated(self, done: int, count: int) -> None:
        """Print how many repeated measurements are evaluated."""
        print_event("repeated", done=done, count=count)

    def paused(self, reason: str) -> None:
        """Print why the run waits."""
        print_event("paused", reason=reason)

    def enough(self) -> str:
        """Let the search go on."""
        return ""

    def resumed(self) -> None:
        """Print that the run goes on."""
        print_event("resumed")


def print_finished(result: StudyResult, exit_code: int) -> None:
    """Print the last event: the key numbers of result.json."""
    document = result.as_dict()
    parameters = {
        name: {key: parameter[key] for key in ("best", "estimate", "interval", "unit")}
        for name, parameter in document["parameters"].items()
    }
    kept = {key: document[key] for key in ("study", "status", "reason", "trials", "metric", "best_trial", "artifacts")}
    print_event("finished", **kept, parameters=parameters, exit_code=exit_code)


def print_event(event: str, **facts: Any) -> None:
    """Print one line, at once."""
    line = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
    sys.stdout.write(json.dumps(_finite(line), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    """Plain data with null for numbers that JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
