"""Maximise an acquisition function over the points that can really be evaluated.

Floats are moved by L-BFGS with ints and choices held; ints and choices by the best neighbour; in turn. So the
acquisition is always that of a point which survives rounding unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.optim.optimize import optimize_acqf

from autotune.problem.space import Floats, Space
from autotune.surrogate.model.coordinates import ENUMERABLE, Coordinates
from autotune.surrogate.model.history import History
from autotune.surrogate.model.inactive import HoldingInactive
from autotune.surrogate.propose.acquisition_factors import LogFactor, Weighted
from autotune.surrogate.propose.first_points import sobol
from autotune.surrogate.propose.known_points import are_new, distances

RAW_SAMPLES = 256  # points spread over the cube, from which starts are taken
LOCAL_SAMPLES = 64  # points around each of the best trials, at each of LOCAL_SPREADS
LOCAL_SPREADS = (0.1, 0.02)
RESTARTS = 6
MAXITER = 60
ROUNDS = 3  # turns of floats, then ints and choices


@dataclass(frozen=True)
class Proposal:
    """Where to evaluate next, and the improvement that is expected of it.

    Attributes:
        point: point of the unit cube, shape (D,); it survives rounding to parameter values.
        expected_improvement: expected improvement over the best value, in the values' unit.
    """

    point: Floats
    expected_improvement: float


def maximise(
    improvement: AcquisitionFunction,
    history: History,
    space: Space,
    *,
    seed: int,
    factors: Sequence[LogFactor] = (),
    held: Mapping[int, float] | None = None,
) -> Proposal:
    """Find the point to evaluate next: the maximum of the acquisition function among new points.

    It is none of ``history.known()``, except where every point of a fully discrete space has been evaluated.

    Args:
        improvement: the logarithm of the expected improvement, over points (b, 1, D).
        history: this study's trials that the model was fitted on, and those pending.
        space: the search space.
        seed: fixes the starts. Also draws from torch's global generator.
        factors: logarithms of factors by which the expected improvement is multiplied: probabilities, one over a cost.
        held: column of a float dimension -> the coordinate that the point has there; None where all are free.
    """
    coordinates, held = Coordinates(space), held or {}
    acquisition = Weighted(improvement, factors) if factors else improvement
    raw = with_held(_raw_points(coordinates, history, seed=seed), held)
    raw_values = evaluate(acquisition, raw)
    starts = _starts(raw, raw_values)
    points, values = climb(acquisition, coordinates, raw[starts], raw_values[starts], held)
    points, values = np.concatenate([points, raw]), np.concatenate([values, raw_values])
    order = np.argsort(-values, kind="stable")
    new = are_new(points[order], history)
    point = points[order[int(np.argmax(new))]]  # argmax of all False is 0: the best point, if none is new
    return Proposal(point, float(np.exp(evaluate(improvement, point[None])[0])))


def with_held(points: Floats, held: Mapping[int, float]) -> Floats:
    """The points, shape (r, D), with the coordinate that each held column has."""
    points = points.copy()
    for column, coordinate in held.items():
        points[:, column] = coordinate
    return points


def _raw_points(coordinates: Coordinates, history: History, *, seed: int) -> Floats:
    """Points that can be evaluated, spread over the cube and around the best trials, shape (r, D)."""
    if coordinates.size is not None and coordinates.size <= ENUMERABLE:
        return coordinates.enumerate()
    spread = coordinates.from_uniform(sobol(RAW_SAMPLES, len(coordinates.space.dimensions), seed=seed))
    rng = np.random.default_rng(seed)
    best = history.X[np.argsort(-history.y, kind="stable")[:2]]
    local = [
        np.clip(centre + rng.normal(0.0, width, (LOCAL_SAMPLES, len(centre))), 0.0, 1.0)
        for centre in best
        for width in LOCAL_SPREADS
    ]
    return np.concatenate([spread, coordinates.snap(np.concatenate(local))])


def _starts(raw: Floats, values: Floats) -> list[int]:
    """Indices of the best raw points that are not all in one place: half by value alone, half spread out."""
    order = np.argsort(-values, kind="stable")
    chosen = [int(order[0])]
    for index in order[1:]:
        apart = distances(raw[index : index + 1], raw[chosen])[0]
        if apart > (0.01 if len(chosen) < RESTARTS // 2 else 0.1):
            chosen.append(int(index))
        if len(chosen) == RESTARTS:
            break
    return chosen


def climb(
    acquisition: AcquisitionFunction,
    coordinates: Coordinates,
    points: Floats,
    values: Floats,
    held: Collection[int] = (),
) -> tuple[Floats, Floats]:
    """Move ``points``, shape (s, D), uphill until none improves: floats, then ints and choices, in turns.

    The columns ``held``, which are those of floats, are not moved.

    Returns:
        The points, (s, D), and their acquisition, (s,).
    """
    for _ in range(ROUNDS if coordinates.discrete else 1):
        before = values.copy()
        if len(coordinates.discrete) + len(held) < coordinates.space.width:
            points, values = _climb_floats(acquisition, coordinates, points, values, held)
        if coordinates.discrete:
            points, values = _climb_neighbours(acquisition, coordinates, points, values)
        if not np.any(values > before + 1e-6):
            break
    return points, values


def _climb_floats(
    acquisition: AcquisitionFunction,
    coordinates: Coordinates,
    points: Floats,
    values: Floats,
    held: Collection[int],
) -> tuple[Floats, Floats]:
    """L-BFGS over the free float columns from every point, the others held; never worse than before."""
    tensor = torch.as_tensor(points, dtype=torch.float64)
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, points.shape[1]).contiguous()
    candidates, _ = optimize_acqf(
        HoldingInactive(acquisition, coordinates) if coordinates.space.conditional else acquisition,
        bounds=bounds,
        q=1,
        num_restarts=len(points),
        batch_initial_conditions=tensor.unsqueeze(1),
        fixed_features={column: tensor[:, column] for column in [*coordinates.discrete, *held]} or None,
        options={"maxiter": MAXITER},
        return_best_only=False,
        retry_on_optimization_warning=False,
    )
    moved = coordinates.snap(candidates.detach().squeeze(1).numpy())
    moved_values = evaluate(acquisition, moved)
    better = moved_values > values
    return np.where(better[:, None], moved, points), np.where(better, moved_values, values)


def _climb_neighbours(
    acquisition: AcquisitionFunction, coordinates: Coordinates, points: Floats, values: Floats
) -> tuple[Floats, Floats]:
    """Move every point to the best of its discrete neighbours where that is better."""
    neighbours = [coordinates.neighbours(point) for point in points]
    scores = evaluate(acquisition, np.concatenate(neighbours))
    points, values = points.copy(), values.copy()
    start = 0
    for i, around in enumerate(neighbours):
        block = scores[start : start + len(around)]
        start += len(around)
        if len(block) and block.max() > values[i]:
            points[i], values[i] = around[int(block.argmax())], block.max()
    return points, values


def evaluate(acquisition: AcquisitionFunction, points: Floats) -> Floats:
    """Values of the acquisition function at ``points``, shape (r, D) -> (r,)."""
    with torch.no_grad():
        values = acquisition(torch.as_tensor(points, dtype=torch.float64).unsqueeze(1))
    return np.asarray(values.numpy(), dtype=np.float64)
