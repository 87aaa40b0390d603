"""Cells of the comparison (one engine on one problem with one seed), and the file that keeps the finished ones.

The file has one JSON object per line and only ever grows; of several lines with the same key the last one counts.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotune.objective import Value
from search_bench.engines import Engine
from search_bench.problem import Instance, Problem

Key = tuple[str, str, int]
"""Engine, problem, seed."""


@dataclass(frozen=True)
class Cell:
    """A finished search.

    Attributes:
        engine, problem, seed: key of the cell.
        version: version of the engine.
        scale: scale of the instance, by which regrets are divided.
        outcomes: value of every trial, in order.
        points: parameter values of every trial.
        seconds: processor seconds of the engine for every trial.
        sample: sample of the problem (:meth:`search_bench.problem.Problem.sample`).
    """

    engine: str
    problem: str
    seed: int
    version: str
    scale: float
    outcomes: list[float]
    points: list[dict[str, Value]]
    seconds: list[float]
    sample: float

    @property
    def key(self) -> Key:
        """Engine, problem, seed."""
        return self.engine, self.problem, self.seed


@dataclass(frozen=True)
class Reference:
    """The best value of an instance, from a search that starts near its truth.

    Attributes:
        problem, seed: key of the instance.
        value: the best value.
        point: its parameter values.
        evaluations: number of evaluations of the search.
        sample: sample of the problem, as in a cell.
    """

    problem: str
    seed: int
    value: float
    point: dict[str, Value]
    evaluations: int
    sample: float


@dataclass(frozen=True)
class Results:
    """Content of a results file."""

    cells: Mapping[Key, Cell]
    references: Mapping[tuple[str, int], Reference]

    def samples(self, problem: str, seed: int) -> list[float]:
        """Samples of the problem, from the cells of an instance and from its reference."""
        cells = [cell.sample for cell in self.cells.values() if (cell.problem, cell.seed) == (problem, seed)]
        reference = self.references.get((problem, seed))
        return [*cells, *([reference.sample] if reference else [])]

    def best_known(self, problem: str, seed: int) -> float:
        """The highest value that any search reached on the instance; minus infinity where there was none."""
        reached = [max(cell.outcomes) for cell in self.cells.values() if (cell.problem, cell.seed) == (problem, seed)]
        reference = self.references.get((problem, seed))
        return max([*reached, *([reference.value] if reference else [])], default=-math.inf)


def run_cell(name: str, problem: Problem, seed: int, engine: Engine, instance: Instance, trials: int) -> Cell:
    """Search ``instance`` with ``engine`` for ``trials`` trials."""
    outcomes, points = [], []
    for _ in range(trials):
        values = engine.ask()
        outcome = instance.evaluate(values)
        engine.tell(outcome)
        outcomes.append(outcome.value)
        points.append(values)
    sample = problem.sample(instance)
    return Cell(name, problem.name, seed, engine.version, instance.scale, outcomes, points, engine.seconds, sample)


def append(path: Path, entry: Cell | Reference) -> None:
    """Append one line to the file in one write, so that several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "cell" if isinstance(entry, Cell) else "reference"
    line = json.dumps({"kind": kind, **asdict(entry)}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> Results:
    """Read a results file; empty where there is no such file. A line that is cut short is skipped."""
    cells: dict[Key, Cell] = {}
    references: dict[tuple[str, int], Reference] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if entry.pop("kind") == "cell":
            cell = Cell(**entry)
            cells[cell.key] = cell
        else:
            reference = Reference(**entry)
            references[reference.problem, reference.seed] = reference
    return Results(cells, references)
