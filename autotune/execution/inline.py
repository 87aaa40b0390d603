"""Run trials in this process, one after the other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.objective import AutotuneError, Evaluation, Objective, Progress, Status, Value
from autotune.tuner import Trial


@dataclass(frozen=True)
class InlineExecutor:
    """Evaluates trials where it is called. An error in the objective fails the trial, not the study.

    Attributes:
        objective: what is evaluated.
        fixed: parameters held fixed.
        metric: the tuned metric's name.
    """

    objective: Objective
    fixed: Mapping[str, Value]
    metric: str

    def run(self, trial: Trial, progress: Progress) -> Evaluation:
        """Evaluate ``trial``; an exception becomes an evaluation that failed, with its reason."""
        started = time.perf_counter()
        try:
            return self.objective.evaluate(
                {**self.fixed, **trial.values}, metric=self.metric, seed=trial.seed, progress=progress
            )
        except Exception as error:
            return Evaluation(Status.FAILED, reason=_reason(error), seconds=time.perf_counter() - started)


def _reason(error: Exception) -> str:
    """What was raised, and where: one line that is enough to look for it."""
    if isinstance(error, AutotuneError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
