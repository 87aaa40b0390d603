"""Test functions, turned so that larger is better, with their gradients by automatic differentiation.

Sources: Branin, Hartmann and Ackley as in D. Bingham and S. Surjanovic, "Virtual Library of Simulation Experiments",
with Ackley's box shifted so that the optimum is not its middle. The curved valley and the mixed function are our own;
they resemble a calibration and the tuning of a solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from autotune.problem.space import Dimension, Space
from search_bench.problem import Instance, Outcome, Problem, Values

Point = Mapping[str, Tensor | int | str]
"""Parameter name -> value; floats as float64 scalars that are differentiated."""

_WEIGHTS = (1.0, 1.2, 3.0, 3.2)
_HARTMANN = {
    3: (
        ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35)),
        ((3689, 1170, 2673), (4699, 4387, 7470), (1091, 8732, 5547), (381, 5743, 8828)),
    ),
    6: (
        ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14)),
        (
            (1312, 1696, 5569, 124, 8283, 5886),
            (2329, 4135, 8307, 3736, 1004, 9991),
            (2348, 1451, 3522, 2883, 3047, 6650),
            (4047, 8828, 8732, 5743, 1091, 381),
        ),
    ),
}
"""Dimensions -> exponents and, in 1e-4, centres of the four peaks."""

_OFFSET_AND_SHIFT = {"epie": (0.30, 0.25), "lsqml": (0.0, 0.0), "dm": (0.15, -0.2)}


def _vector(point: Point) -> Tensor:
    return torch.stack([torch.as_tensor(x, dtype=torch.float64) for x in point.values() if not isinstance(x, str)])


def branin(point: Point) -> Tensor:
    """Three equal peaks in two dimensions."""
    x, y = _vector(point)
    valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return -(valley**2 + 10 * (1 - 1 / (8 * math.pi)) * torch.cos(x) + 10)


def hartmann(point: Point) -> Tensor:
    """Four peaks in three or six dimensions, one of them the highest."""
    x = _vector(point)
    exponents, centres = (torch.tensor(table, dtype=torch.float64) for table in _HARTMANN[len(x)])
    weights = torch.tensor(_WEIGHTS, dtype=torch.float64)
    return weights @ torch.exp(-(exponents * (x - 1e-4 * centres) ** 2).sum(1))


def ackley(point: Point) -> Tensor:
    """A funnel full of ripples."""
    x = _vector(point)
    funnel = 20 * torch.exp(-0.2 * (x**2).mean().sqrt())
    return funnel + torch.exp(torch.cos(2 * math.pi * x).mean()) - 20 - math.e


def valley(point: Point) -> Tensor:
    """A curved, narrow valley in four dimensions that flattens far from its floor."""
    a, b, c, d = _vector(point)
    residuals = torch.stack([(b - 0.8 * a**2 + 0.3) / 0.05, (c - 0.4 * a) / 0.15, (a - 0.35) / 0.5, (d + 0.2) / 0.4])
    return -0.5 * torch.log1p((residuals**2).sum())


def mixed(point: Point) -> Tensor:
    """Two floats, a step size on a log scale that trades against an int, and one of three solvers."""
    offset, shift = _OFFSET_AND_SHIFT[str(point["solver"])]
    a, b, step = (torch.as_tensor(point[name], dtype=torch.float64) for name in ("x0", "x1", "step"))
    exponent = torch.log10(step) + 1.3
    more = int(point["modes"]) - 9
    floats = 1.5 * (a - 0.72 - 0.3 * shift) ** 2 + 0.8 * (b - 0.24 + 0.4 * (a - 0.72)) ** 2
    steps = 0.12 * (exponent - 0.15 * more - shift) ** 2 + 0.05 * (1 - torch.cos(3 * exponent))
    return -(offset + floats + steps + 0.01 * abs(more))


def _evaluator(function: Callable[[Point], Tensor], space: Space) -> Callable[[Values], Outcome]:
    floats = [d.name for d in space.dimensions if d.type == "float"]

    def evaluate(values: Values) -> Outcome:
        scalars = {name: torch.tensor(float(values[name]), dtype=torch.float64, requires_grad=True) for name in floats}
        rest = {name: value for name, value in values.items() if not isinstance(value, float)}
        value = function({d.name: {**rest, **scalars}[d.name] for d in space.dimensions})
        slopes = torch.autograd.grad(value, list(scalars.values()))
        # Ackley's tip has no slope.
        known = {name: float(slope) for name, slope in zip(floats, slopes, strict=True) if torch.isfinite(slope)}
        return Outcome(float(value.detach()), known)

    return evaluate


def _cube(count: int, low: float, high: float) -> Space:
    return Space(tuple(Dimension(f"x{i}", low=low, high=high, differentiable=True) for i in range(count)))


_MIXED = Space(
    (
        Dimension("x0", differentiable=True),
        Dimension("x1", differentiable=True),
        Dimension("step", kind="solver", low=1e-5, high=1.0, log=True, differentiable=True),
        Dimension("modes", kind="solver", type="int", low=1, high=12),
        Dimension("solver", kind="solver", type="categorical", choices=tuple(_OFFSET_AND_SHIFT)),
    )
)
_BRANIN = Space(
    (
        Dimension("x0", low=-5.0, high=10.0, differentiable=True),
        Dimension("x1", low=0.0, high=15.0, differentiable=True),
    )
)


def _problem(
    name: str, title: str, function: Callable[[Point], Tensor], space: Space, optimum: float, target: float
) -> Problem:
    instance = Instance(_evaluator(function, space))
    return Problem(name, title, space, target, lambda seed: instance, optimum)


FUNCTIONS = (
    _problem("branin", "Branin, 2 floats", branin, _BRANIN, -0.39788735772973816, 0.01),
    _problem("hartmann3", "Hartmann, 3 floats", hartmann, _cube(3, 0.0, 1.0), 3.862779787, 0.01),
    _problem("hartmann6", "Hartmann, 6 floats", hartmann, _cube(6, 0.0, 1.0), 3.322368011, 0.05),
    _problem("ackley5", "Ackley, 5 floats from -10 to 25", ackley, _cube(5, -10.0, 25.0), 0.0, 1.0),
    _problem("valley4", "Curved valley, 4 floats", valley, _cube(4, -1.0, 1.0), 0.0, 0.05),
    _problem("mixed5", "Mixed: 2 floats, 1 log, 1 int, 1 of 3", mixed, _MIXED, 0.0, 0.01),
)
