"""Cost of a trial besides its evaluation and its proposal, and the speed of a store of many trials.

Run `python -m benchmarks.overhead`. Two tables:

- time per trial of a study whose objective does nothing, with the random sampler: inline and in worker processes, with
  and without arrays to keep. It is the time of the engine, the store (on the disk after every step) and the isolation.
- a store of 10,000 trials: the time to open it, to resume the study and to propose a trial, for several samplers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from pydantic import BaseModel, ConfigDict

from autotune.home import Home
from autotune.objective import Evaluation, Metric, Parameter, Progress, Status, Value, never_stop
from autotune.problem.space import Dimension, Floats, Space
from autotune.runs.run import run_study
from autotune.search.samplers import Sampler
from autotune.search.tuner import Search, Trial, Tuner
from autotune.session import Quiet
from autotune.store.records import ASKED, EVALUATION, TrialRecord, plain_evaluation
from autotune.store.trials import TrialStore
from autotune.study import load_study

NAMES = tuple("abcdef")
METRIC = Metric("value", "maximize")


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    array: int = 0


class Idle:
    """An objective that does nothing and keeps ``array`` numbers."""

    def __init__(self, array: int) -> None:
        self.array = array

    def parameters(self) -> Sequence[Parameter]:
        return [Parameter(name, "1", "mismatch", 0.0, low=0.0, high=1.0) for name in NAMES]

    def metrics(self) -> Sequence[Metric]:
        return [METRIC]

    def summary(self) -> Mapping[str, str]:
        return {}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        arrays = {"object": np.zeros(self.array, dtype=np.float32)} if self.array else {}
        return Evaluation(Status.COMPLETE, {"value": float(values["a"])}, arrays=arrays, seconds=1e-6)


class IdleType:
    settings = Settings

    def open(self, settings: BaseModel, *, folder: Path) -> Idle:
        assert isinstance(settings, Settings)  # noqa: S101
        return Idle(settings.array)


idle = IdleType()


class Clock(Quiet):
    """Records when the study started and when each trial ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        self.ends.append(time.perf_counter())

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        self.ends.append(time.perf_counter())


def seconds_per_trial(folder: Path, executor: str, trials: int, array: int) -> float:
    """Median seconds per trial, without the first, which starts the worker."""
    path = folder / "study.yaml"
    study = {
        "name": f"{executor}-{array}",
        "objective": {"name": "benchmarks.overhead:idle", "array": array},
        "parameters": {name: {} for name in NAMES},
        "search": {"sampler": "random"},
        "budget": {"trials": trials},
        "execution": {"executor": executor},
        "tracking": {"enabled": False},
        "report": False,
    }
    path.write_text(json.dumps(study), encoding="utf-8")
    clock = Clock()
    run_study(load_study(path), home=Home(folder / "home"), watcher=clock)
    return statistics.median(np.diff(clock.ends)[1:])


def random_proposal(folder: Path) -> float:
    """Median seconds of Optuna's own random proposal and its storing, the part that our engine does not add."""
    store = TrialStore.create(f"sqlite:///{folder / 'plain.db'}", "plain", METRIC, {})
    store.study.sampler = optuna.samplers.RandomSampler(seed=0)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        trial = store.study.ask()
        for name in NAMES:
            trial.suggest_float(name, 0, 1)
        times.append(time.perf_counter() - began)
        store.study.tell(trial, 0.0)
    return statistics.median(times)


def finished_trial(index: int, row: Floats, distributions: Any) -> optuna.trial.FrozenTrial:
    """A finished trial as the tuner stores it."""
    value = float(-((row - 0.3) ** 2).sum())
    kept = plain_evaluation(Evaluation(Status.COMPLETE, {"value": value}, seconds=1.0))
    return optuna.trial.create_trial(
        params=dict(zip(NAMES, row.tolist(), strict=True)),
        distributions=distributions,
        value=value,
        user_attrs={ASKED: {"index": index, "owner": ""}, EVALUATION: kept},
    )


def fill(folder: Path, trials: int) -> str:
    """Fill a store with a study of ``trials`` finished trials, without the tuner; return its URL."""
    url = f"sqlite:///{folder / 'large.db'}"
    store = TrialStore.create(url, "large", METRIC, {})
    with store.study._storage._backend.engine.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("PRAGMA synchronous=OFF")  # a setting of the connection that this thread uses
    values = np.random.default_rng(0).uniform(size=(trials, len(NAMES)))
    distributions = {name: optuna.distributions.FloatDistribution(0, 1) for name in NAMES}
    for start in range(0, trials, 1000):
        store.study.add_trials(
            [finished_trial(start + i, row, distributions) for i, row in enumerate(values[start : start + 1000])]
        )
    return url


@contextmanager
def timed(times: dict[str, float], step: str):  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    yield
    times[step] = time.perf_counter() - began


def large_store(url: str, sampler: Sampler) -> dict[str, float]:
    """Seconds to open the store, to resume, to propose and report a trial, and for one more trial."""
    times: dict[str, float] = {}
    with timed(times, "open"):
        store = TrialStore.open(url, "large")
    assert store is not None  # noqa: S101
    space = Space(tuple(Dimension(name) for name in NAMES))
    tuner = Tuner(store, space, METRIC, Search(sampler, seed=0))
    with timed(times, "resume"):
        tuner.start()
        tuner.best  # noqa: B018
    with timed(times, "propose"):
        trial = tuner.ask()
    with timed(times, "tell"):
        tuner.tell(trial, Evaluation(Status.COMPLETE, {"value": 0.0}))
        tuner.best  # noqa: B018
    with timed(times, "next trial"):
        once_more: Trial = tuner.ask()
        tuner.tell(once_more, Evaluation(Status.COMPLETE, {"value": 0.0}))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="of the idle study")
    parser.add_argument("--large", type=int, default=10_000, help="trials of the large store")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe", "gp"])
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| milliseconds per trial | nothing kept | 256 x 256 kept |\n|---|---|---|")
        for executor in ("inline", "process"):
            row = [1000 * seconds_per_trial(folder, executor, given.trials, array) for array in (0, 65536)]
            print(f"| {executor} | {row[0]:.1f} | {row[1]:.1f} |", flush=True)
        print(f"| of which Optuna's random proposal, stored | {1000 * random_proposal(folder):.1f} | |\n")
        url = fill(folder, given.large)
        print(f"| seconds at {given.large} trials | open | resume | propose | tell | next trial |")
        print("|---|---|---|---|---|---|")
        for sampler in given.samplers:
            times = large_store(url, sampler)
            print(f"| {sampler} | " + " | ".join(f"{seconds:.2f}" for seconds in times.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
