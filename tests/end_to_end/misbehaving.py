"""An objective whose evaluations do what a process can do wrong, each as a file says."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from autotune.objective import Evaluation, Progress, Status, Value, never_stop
from tests.autotune.toy import BareToyType, Toy, ToySettings
from tests.end_to_end.studies import Quick


class Misbehaving(Quick):
    """A quick toy whose N-th evaluation (from 1) does what ``data/do-N`` says, if there is such a file."""

    def __init__(self, settings: ToySettings, folder: Path) -> None:
        super().__init__(settings)
        assert settings.data is not None
        self.folder = folder / settings.data

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        began = self.folder / "began"
        with began.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        what = self.folder / f"do-{len(began.read_text().splitlines())}"
        if what.exists():
            return misbehave(what.read_text())
        return super().evaluate(values, metric=metric, seed=seed, progress=progress)


class Repeatable(Misbehaving):
    """Its measurement can be repeated: the optimum moves with the seed of the noise."""

    noise = "counted quanta"

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Toy:
        optimum = self.settings.optimum
        moved = optimum.model_copy(update={"shift": optimum.shift + 0.01 * (seed % 7 - 3)})
        return Toy(self.settings.model_copy(update={"optimum": moved}))


def misbehave(how: str) -> Evaluation:
    """Do something that ends badly."""
    print(f"about to {how}", flush=True)
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "fork and segfault":
        if os.fork() == 0:  # holds open whatever the worker holds open
            time.sleep(1000)
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    elif how == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "allocate":
        hoard = []
        while True:
            hoard.append(np.ones(4_000_000))
            time.sleep(0.005)
    elif how == "sleep":
        time.sleep(10_000)
    elif how == "raise":
        raise ValueError("no convergence")
    elif how == "NaN":
        return Evaluation(Status.COMPLETE, {"consistency": float("nan")})
    elif how == "NaN behind":
        evaluation = Evaluation(Status.COMPLETE, {"consistency": 0.5})
        object.__setattr__(evaluation, "metrics", {"consistency": float("nan")})
        return evaluation
    elif how == "speak":
        print('{"ended": {"status": "complete"}}', flush=True)  # as if it were the protocol
        os.write(1, b'{"ended": {}}\n')
    return Evaluation(Status.COMPLETE, {"consistency": 0.25})


class MisbehavingType(BareToyType):
    """The misbehaving toy as an objective type; ``data`` is the folder of what to do."""

    def open(self, settings: BaseModel, *, folder: Path) -> Misbehaving:
        assert isinstance(settings, ToySettings)
        return Misbehaving(settings, folder)


class RepeatableType(BareToyType):
    """The same with a measurement that can be repeated."""

    def open(self, settings: BaseModel, *, folder: Path) -> Repeatable:
        assert isinstance(settings, ToySettings)
        return Repeatable(settings, folder)


misbehaving = MisbehavingType()
repeatable = RepeatableType()
