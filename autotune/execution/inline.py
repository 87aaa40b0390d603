"""Run trials in this process, one after the other."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.objective import AutotuneError, Evaluation, Objective, Progress, Status, Value
from autotune.tuner import Trial


@dataclass(frozen=True)
class InlineExecutor:
    """Evaluates trials where it is called. An error in the objective fails the trial, not the study.

    An evaluation that does not say what it cost gets the time that was measured here.

    Attributes:
        objective: what is evaluated.
        held: level of a trial -> parameters held fixed in it.
        metric: the tuned metric's name.
    """

    objective: Objective
    held: Callable[[int], Mapping[str, Value]]
    metric: str

    def run(self, trial: Trial, progress: Progress) -> Evaluation:
        """Evaluate ``trial``; an exception becomes an evaluation that failed, with its reason."""
        started = time.perf_counter()
        values = {**self.held(trial.level), **trial.values}
        try:
            evaluation = self.objective.evaluate(values, metric=self.metric, seed=trial.seed, progress=progress)
            if not isinstance(evaluation, Evaluation):
                raise TypeError(f"evaluate returned {type(evaluation).__name__}, not an Evaluation")
        except (Exception, SystemExit) as error:  # a backend that calls sys.exit must not end the study unseen
            evaluation = Evaluation(Status.FAILED, reason=_reason(error))
        return evaluation if evaluation.seconds else replace(evaluation, seconds=time.perf_counter() - started)


def _reason(error: BaseException) -> str:
    """What was raised, and where: one line that is enough to look for it."""
    text = " ".join(str(error).split())
    if isinstance(error, AutotuneError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
