"""Cells of the comparison: one engine on one problem with one seed; and the file that keeps the finished ones.

The file has one JSON object per line and only ever grows; of several lines on the same thing the last one holds.
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
        engine, problem, seed: which.
        version: of the engine.
        scale: the instance's; regrets are stated over it.
        outcomes: value of every trial, in order.
        points: parameter values of every trial.
        seconds: processor seconds of the engine for every trial.
        sample: of the problem (:meth:`search_bench.problem.Problem.sample`).
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
    """The best value found by a search near the truth that knows where to look.

    Attributes:
        problem, seed: of which instance.
        value: the best value.
        point: where.
        evaluations: made to find it.
        sample: as of a cell.
    """

    problem: str
    seed: int
    value: float
    point: dict[str, Value]
    evaluations: int
    sample: float


@dataclass(frozen=True)
class Results:
    """What a results file holds."""

    cells: Mapping[Key, Cell]
    references: Mapping[tuple[str, int], Reference]

    def samples(self, problem: str, seed: int) -> list[float]:
        """What the cells of an instance, and its reference, say that the problem was."""
        cells = [cell.sample for cell in self.cells.values() if (cell.problem, cell.seed) == (problem, seed)]
        reference = self.references.get((problem, seed))
        return [*cells, *([reference.sample] if reference else [])]

    def best_known(self, problem: str, seed: int) -> float:
        """The highest value that anyone found on the instance; minus infinity where nobody looked."""
        found = [max(cell.outcomes) for cell in self.cells.values() if (cell.problem, cell.seed) == (problem, seed)]
        reference = self.references.get((problem, seed))
        return max([*found, *([reference.value] if reference else [])], default=-math.inf)


def run_cell(name: str, problem: Problem, seed: int, engine: Engine, instance: Instance, trials: int) -> Cell:
    """Search ``instance`` with ``engine`` for so many trials."""
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
    """Add one line to the file, in one write: several processes may."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "cell" if isinstance(entry, Cell) else "reference"
    line = json.dumps({"kind": kind, **asdict(entry)}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> Results:
    """What ``path`` holds; nothing where there is no such file. A line cut short is passed over."""
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
