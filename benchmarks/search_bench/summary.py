"""Summarise cells into the numbers of the tables: medians over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from autotune.problem.space import Floats
from search_bench.cells import Cell, Results
from search_bench.engines import ENGINES, EngineKind
from search_bench.problem import Problem

MARKS = (10, 20, 40, 60)
"""Trials after which regret is stated."""


@dataclass(frozen=True)
class Row:
    """One engine on one problem.

    Attributes:
        kind: the engine.
        version: version of the engine; several are joined where its cells differ.
        seeds: number of finished cells.
        reached: how many of them reached the target.
        to_target: median number of trials to the target; infinite where most did not reach it.
        regret: median over seeds of the simple regret after 1, 2, ... trials, shape (trials,).
        ranks: mark -> median over seeds of its rank among the engines that take no gradients, 1 = least regret;
            empty for an engine that takes them.
        seconds: median over seeds of the mean processor seconds per proposal.
    """

    kind: EngineKind
    version: str
    seeds: int
    reached: int
    to_target: float
    regret: Floats
    ranks: dict[int, float]
    seconds: float


@dataclass(frozen=True)
class Summary:
    """All engines on one problem, the rows in the order of :data:`search_bench.engines.ENGINES`.

    Attributes:
        problem: the problem.
        rows: engines with finished cells.
        ranked_seeds: seeds that all ranked engines finished; the ranks are medians over these.
        unlike: seeds whose cells are of different problems, because the code that computes the problem has changed.
    """

    problem: Problem
    rows: Sequence[Row]
    ranked_seeds: int
    unlike: int

    @property
    def marks(self) -> tuple[int, ...]:
        """The :data:`MARKS` that every row reaches."""
        return tuple(mark for mark in MARKS if all(mark <= len(row.regret) for row in self.rows))

    def row(self, name: str) -> Row | None:
        """The engine's row; None where it has none."""
        return next((row for row in self.rows if row.kind.name == name), None)

    @property
    def peers(self) -> list[Row]:
        """The rows of other packages."""
        return [row for row in self.rows if not row.kind.ours]


def simple_regret(cell: Cell, optimum: float) -> Floats:
    """Distance of the best value so far from ``optimum``, over the scale, after every trial, shape (trials,)."""
    best = np.maximum.accumulate(np.array(cell.outcomes))
    return np.maximum(optimum - best, 0.0) / cell.scale


def trials_to(regret: Floats, target: float) -> float:
    """The first trial (from 1) whose regret is at most ``target``; infinite where there is none."""
    reached = np.flatnonzero(regret <= target)
    return float(reached[0] + 1) if len(reached) else np.inf


def summarise(problem: Problem, results: Results, seeds: int, trials: int) -> Summary:
    """Summarise the cells of the first ``seeds`` seeds of ``problem``, with the first ``trials`` trials of each."""
    cells = {
        (name, seed): cell
        for (name, of, seed), cell in results.cells.items()
        if of == problem.name and seed < seeds and len(cell.outcomes) >= trials
    }
    optima = {
        seed: results.best_known(problem.name, seed) if problem.optimum is None else problem.optimum
        for seed in range(seeds)
    }
    regrets = {key: simple_regret(cell, optima[key[1]])[:trials] for key, cell in cells.items()}
    kinds = [kind for kind in ENGINES if any(name == kind.name for name, _ in cells)]
    ranks, common = _ranks([kind.name for kind in kinds if not kind.gradients], regrets, problem.resolution, trials)
    rows = [
        _row(kind, problem, {s: c for (n, s), c in cells.items() if n == kind.name}, regrets, ranks) for kind in kinds
    ]
    scales = {seed: cell.scale for (_, seed), cell in cells.items()}
    spreads = {seed: np.ptp(results.samples(problem.name, seed)) for seed in scales}
    unlike = sum(bool(spread > problem.resolution * scales[seed]) for seed, spread in spreads.items())
    return Summary(problem, rows, common, unlike)


def _row(
    kind: EngineKind,
    problem: Problem,
    cells: dict[int, Cell],
    regrets: dict[tuple[str, int], Floats],
    ranks: dict[str, dict[int, float]],
) -> Row:
    curves = np.array([regrets[kind.name, seed] for seed in cells])
    reached = [trials_to(curve, problem.target) for curve in curves]
    return Row(
        kind,
        ", ".join(sorted({cell.version for cell in cells.values()})),
        len(cells),
        int(np.isfinite(reached).sum()),
        float(np.median(reached)),
        np.median(curves, axis=0),
        ranks.get(kind.name, {}),
        float(np.median([np.mean(cell.seconds[: len(curves[0])]) for cell in cells.values()])),
    )


def _ranks(
    names: Sequence[str], regrets: dict[tuple[str, int], Floats], resolution: float, trials: int
) -> tuple[dict[str, dict[int, float]], int]:
    """Engine -> mark -> median rank over the seeds that all of ``names`` finished; and the number of these seeds."""
    seeds = [seed for seed in {seed for _, seed in regrets} if all((name, seed) in regrets for name in names)]
    if not seeds:
        return {}, 0
    ranks: dict[str, dict[int, float]] = {name: {} for name in names}
    for mark in (mark for mark in MARKS if mark <= trials):
        table = [[max(float(regrets[name, seed][mark - 1]), resolution) for name in names] for seed in seeds]
        for name, rank in zip(names, np.median(rankdata(table, axis=1), axis=0), strict=True):
            ranks[name][mark] = float(rank)
    return ranks, len(seeds)
