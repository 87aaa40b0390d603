"""The best value of a calibration: CMA-ES from the simulation's truth, for every combination of choices.

This is not an engine: it is told where to look. What it finds is only a lower bound of the best value, so the tables
take the highest value that it or any engine found.
"""

from __future__ import annotations

import itertools

import numpy as np
from cmaes import CMA

from autotune.objective import Value
from autotune.problem.space import Floats, Space
from search_bench.cells import Reference
from search_bench.problem import Instance, Problem

_NEAR = 0.02
_ANYWHERE = 0.25
"""Initial standard deviations, in units of the range, of parameters with and without a true value."""


def find_reference(problem: Problem, seed: int, evaluations: int) -> Reference:
    """Search one instance near its truth, ``evaluations`` for every combination of its categorical parameters."""
    instance = problem.instance(seed)
    named = [d for d in problem.space.dimensions if d.type == "categorical"]
    numbers = Space(tuple(d for d in problem.space.dimensions if d.type != "categorical"))
    results = []
    for choices in itertools.product(*(d.choices for d in named)):
        chosen: dict[str, Value] = {d.name: choice for d, choice in zip(named, choices, strict=True)}
        results.append(_search(instance, numbers, chosen, seed, evaluations))
    value, point = max(results, key=lambda pair: pair[0])
    return Reference(problem.name, seed, value, point, evaluations * len(results), problem.sample(instance))


def _search(
    instance: Instance, numbers: Space, chosen: dict[str, Value], seed: int, evaluations: int
) -> tuple[float, dict[str, Value]]:
    start = np.array(
        [d.to_unit(instance.truth[d.name])[0] if d.name in instance.truth else 0.5 for d in numbers.dimensions]
    )
    spread = np.array([_NEAR if d.name in instance.truth else _ANYWHERE for d in numbers.dimensions])
    width = len(start)
    search = CMA(start, 1.0, bounds=np.array([[0.0, 1.0]] * width), cov=np.diag(spread**2), seed=seed)
    best: tuple[float, dict[str, Value]] = (-np.inf, {})
    told: list[tuple[Floats, float]] = []
    for index in range(evaluations):
        point = start if index == 0 else search.ask()
        values = {**numbers.from_unit(point), **chosen}
        value = instance.evaluate(values).value
        best = max(best, (value, values), key=lambda pair: pair[0])
        if index > 0:
            told.append((point, -value))
        if len(told) == search.population_size:
            search.tell(told)
            told = []
    return best
