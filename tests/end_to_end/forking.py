"""An objective whose evaluations fork child processes, each way as its settings say."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from autotune.objective import Evaluation, Metric, Parameter, Progress, Status, Value, never_stop

How = Literal[
    "returns", "raises", "exits", "outlives", "past Python", "in the middle", "while opened", "pool", "helper"
]


def metric_of(shift: float) -> float:
    return 1 - (shift - 0.3) ** 2


class Settings(BaseModel):
    """``how``: what the child process does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    how: How
    iterations: int = 3


class Forking:
    """Its metric is a function of the one parameter; its children come back from ``evaluate``, or help honestly."""

    def __init__(self, settings: Settings) -> None:
        self.how, self.iterations = settings.how, settings.iterations

    def parameters(self) -> Sequence[Parameter]:
        return (Parameter("shift", "angstrom", "mismatch", 0.0, low=-1.0, high=1.0),)

    def metrics(self) -> Sequence[Metric]:
        return (Metric("consistency", "maximize"),)

    def summary(self) -> Mapping[str, str]:
        return {"content hash": "forking"}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        shift = float(values["shift"])
        self._fork()
        for iteration in range(self.iterations):
            progress(iteration + 1, self.iterations, {"consistency": metric_of(shift)})
            if self.how == "in the middle" and iteration == 0:
                os.fork()
        return Evaluation(Status.COMPLETE, {"consistency": self._value(shift, progress)})

    def _fork(self) -> None:
        match self.how:
            case "returns":
                os.fork()
            case "past Python":
                ctypes.CDLL(None).fork()
            case "raises" if os.fork() == 0:
                raise RuntimeError("the child broke")
            case "exits" if os.fork() == 0:
                sys.exit("the child has finished")
            case "outlives" if os.fork() == 0:
                time.sleep(0.5)

    def _value(self, shift: float, progress: Progress) -> float:
        context = multiprocessing.get_context("fork")
        if self.how == "pool":
            with context.Pool(2) as pool:
                return sum(pool.map(metric_of, [shift, shift])) / 2
        if self.how == "helper":
            answers = context.SimpleQueue()
            helper = context.Process(target=_help, args=(shift, progress, answers))
            helper.start()
            value: float = answers.get()
            helper.join()
            assert helper.exitcode == 0
            return value
        return metric_of(shift)


def _help(shift: float, progress: Progress, answers: multiprocessing.SimpleQueue[float]) -> None:
    """A child that reports iterations, too; nobody hears them, and it may go on."""
    assert progress(1, 3, {"consistency": -1.0})
    answers.put(metric_of(shift))


class ForkingType:
    """The forking objective as an objective type."""

    settings = Settings

    def open(self, settings: BaseModel, *, folder: Path) -> Forking:
        assert isinstance(settings, Settings)
        if settings.how == "while opened":
            os.fork()
        return Forking(settings)


forking = ForkingType()
