"""Cost of recording a study in MLflow, in an empty SQLite database and in one that holds thousands of runs.

Run `python -m benchmarks.recording`. A study is run without a record, with one in an empty database, and with one among
earlier runs, in turns. Its evaluations leave this process idle for `--seconds`, as those on a GPU or in a worker do.
With 0 there is no idle time in which the recorder could work, and the study waits for all of it.

Every trial has four metrics, six slopes, a curve of 100 points and an array. Columns, in ms per trial:

- between trials: median time from the end of one trial to the end of the next;
- whole run: including the opening and the closing of the record, when the recorder catches up;
- processor: processor time of the whole run in all threads, which other work on the machine disturbs less.

The cost of a record is the time that it adds to the whole run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from unittest.mock import patch

import numpy as np
import optuna
from pydantic import BaseModel, ConfigDict

from autotune.home import Home
from autotune.objective import Evaluation, Metric, Parameter, Progress, Status, Value, never_stop
from autotune.runs.run import run_study
from autotune.study import load_study
from benchmarks.overhead import Clock

NAMES = tuple("abcdef")
CURVE, ARRAY = 100, 128
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")
SEED_TRIALS = 20
"""Trials of the study whose runs are copied to make the earlier runs."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    seconds: float = 0.0


class Talkative:
    """An objective that waits, and reports as much as a reconstruction does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def parameters(self) -> Sequence[Parameter]:
        return [Parameter(name, "1", "mismatch", 0.5, low=0.1, high=1.0, log=True) for name in NAMES]

    def metrics(self) -> Sequence[Metric]:
        return [Metric(name, "maximize") for name in ("value", "second", "third", "fourth")]

    def summary(self) -> Mapping[str, str]:
        return {"measurement": "none", "content hash": "0" * 64}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        time.sleep(self.seconds)
        value = float(values["a"])
        return Evaluation(
            Status.COMPLETE,
            {metric.name: value for metric in self.metrics()},
            gradient=dict.fromkeys(NAMES, value),
            curve={"value": [value * (1 - 1 / step) for step in range(1, CURVE + 1)]},
            arrays={"object": np.full((ARRAY, ARRAY), value, dtype=np.float32)},
            seconds=1e-6,
        )


class TalkativeType:
    settings = Settings

    def open(self, settings: BaseModel, *, folder: Path) -> Talkative:
        assert isinstance(settings, Settings)  # noqa: S101
        return Talkative(settings.seconds)


talkative = TalkativeType()


@dataclass(frozen=True)
class Cost:
    """Cost of one run, in ms per trial."""

    between: float
    whole: float
    processor: float


def run(folder: Path, trials: int, database: Path | None, seconds: float = 0.0) -> Cost:
    """Run a study in a new home; where ``database`` is given, record it in a copy of that."""
    home = Home(Path(tempfile.mkdtemp(dir=folder)))
    if database is not None:
        shutil.copy(database, home.folder / "mlflow.db")
    path = home.folder / "study.yaml"
    study = {
        "name": "talkative",
        "objective": {"name": "benchmarks.recording:talkative", "seconds": seconds},
        "parameters": {name: {} for name in NAMES},
        "search": {"sampler": "random"},
        "budget": {"trials": trials},
        "execution": {"executor": "inline"},
        "intervals": {"replicates": 0},
        "report": False,
        "tracking": {"enabled": database is not None},
    }
    path.write_text(json.dumps(study), encoding="utf-8")
    clock = Clock()
    began, processor = time.perf_counter(), time.process_time()
    with patch("autotune.runs.finish.find_answer", return_value=None):  # its time varies by seconds
        outcome = run_study(load_study(path), home=home, watcher=clock)
    whole, processor = time.perf_counter() - began, time.process_time() - processor
    if outcome.warning:
        raise RuntimeError(outcome.warning)
    if database is not None:
        shutil.copy(home.folder / "mlflow.db", folder / "latest.db")
    shutil.rmtree(home.folder)
    return Cost(1000 * statistics.median(np.diff(clock.ends)[1:]), 1000 * whole / trials, 1000 * processor / trials)


def migrated(folder: Path) -> Path:
    """Make an MLflow database without runs."""
    from mlflow import MlflowClient

    path = folder / "migrated.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


def filled(folder: Path, database: Path, runs: int) -> Path:
    """Make a database with ``runs`` earlier runs, copied from a small study's in SQL: MLflow would take long."""
    run(folder, SEED_TRIALS, database)
    path = folder / "filled.db"
    shutil.copy(folder / "latest.db", path)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT run_uuid FROM tags WHERE key = 'autotune.trial'"
        children = [row[0] for row in connection.execute(query)]
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            place = columns.index("run_uuid")
            marks = ", ".join("?" * len(columns))
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            copies = (
                (*row[:place], f"{copy:06x}{row[place][6:]}", *row[place + 1 :])
                for copy in range(-(-runs // len(children)) - 1)
                for row in rows
                if row[place] in children
            )
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", copies)  # noqa: S608
        connection.commit()
    return path


def held(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--earlier", type=int, default=5000, help="runs in the database that is not empty")
    parser.add_argument("--seconds", type=float, default=0.2, help="that an evaluation takes")
    parser.add_argument("--repeats", type=int, default=3, help="of which the quickest counts: other work only adds")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = migrated(folder)
        full = filled(folder, empty, given.earlier)  # also imports everything that a run needs
        kinds = {"no record": None, "empty database": empty, f"{held(full)} earlier runs": full}
        costs: dict[str, list[Cost]] = {kind: [] for kind in kinds}
        for _ in range(given.repeats):
            for kind, database in kinds.items():
                costs[kind].append(run(folder, given.trials, database, given.seconds))
    best = {kind: _quickest(repeats) for kind, repeats in costs.items()}
    without, first, last = best.values()
    print(
        f"| ms per trial, {given.trials} trials of {given.seconds:g} s | between trials | whole run | processor |\n"
        "|---|---|---|---|"
    )
    for kind, cost in best.items():
        print(f"| {kind} | {cost.between:.1f} | {cost.whole:.1f} | {cost.processor:.1f} |")
    for name, cost in (("in an empty database", first), (f"among {given.earlier} runs", last)):
        added, processor = cost.whole - without.whole, cost.processor - without.processor
        print(f"\nRecording {name}: {added:.1f} ms per trial, {processor:.1f} ms of the processor.")
    ratio = (last.processor - without.processor) / (first.processor - without.processor)
    print(f"Ratio: {(last.whole - without.whole) / (first.whole - without.whole):.2f}, of the processor {ratio:.2f}.")


def _quickest(costs: Sequence[Cost]) -> Cost:
    return Cost(*(min(getattr(cost, field.name) for cost in costs) for field in fields(Cost)))


if __name__ == "__main__":
    main()
