"""Where to try next: maximise the expected improvement over the points that can really be evaluated.

log-EI where one trial is asked and the values are almost free of noise; qLogNEI where trials are pending or
the values are noisy. Trials that are pending and will bring derivatives are believed to bring what the model expects
(log-EI again): a pending value alone, which qLogNEI knows, hides little of a place that derivatives will settle.
Source: S. Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023.

Floats are moved by L-BFGS with ints and choices held; ints and choices by the best neighbour; in turn. So the
acquisition is always that of a point which survives rounding unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import LogExpectedImprovement, PosteriorMean, _log_ei_helper
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models.gpytorch import GPyTorchModel
from botorch.optim.optimize import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from autotune.problem.space import Floats, Space
from autotune.surrogate.model.coordinates import ENUMERABLE, Coordinates
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.history import History
from autotune.surrogate.model.inactive import HoldingInactive
from autotune.surrogate.model.value_model import FittedModel
from autotune.surrogate.propose.first_points import sobol

if TYPE_CHECKING:
    from botorch.posteriors.gpytorch import GPyTorchPosterior

RAW_SAMPLES = 256  # points spread over the cube, from which starts are taken
LOCAL_SAMPLES = 64  # points around the best trials, at each of LOCAL_SPREADS
LOCAL_SPREADS = (0.1, 0.02)
RESTARTS = 6
MAXITER = 60
ROUNDS = 3  # turns of floats, then ints and choices
MONTE_CARLO_SAMPLES = 128
NOISE_FREE = 1e-2  # noise variance, as a fraction of the variance of the values, up to which log-EI is used
PRICE_OF_RISK = 0.1  # standard deviations of the values, per factor e in the chance that limits are kept
REPEAT_TOLERANCE = 1e-5  # points closer than this in every coordinate are one point


LogFactor = Callable[[Tensor], Tensor]
"""Points (b, 1, D) -> (b,) the logarithm of what an improvement there is multiplied by."""


@dataclass(frozen=True)
class Proposal:
    """Where to try next, and what for.

    Attributes:
        point: of the unit cube, shape (D,); it survives rounding to parameter values.
        expected_improvement: by how much the trial is expected to beat the best value, in the values' unit.
    """

    point: Floats
    expected_improvement: float


def propose(
    fitted: FittedModel,
    history: History,
    space: Space,
    *,
    seed: int,
    factors: Sequence[LogFactor] = (),
    improvement: AcquisitionFunction | None = None,
) -> Proposal:
    """The point to evaluate next.

    It is none of ``history.known()``, except where a fully discrete space has been tried out.

    Args:
        fitted: the value model.
        history: this study's trials that it was fitted on, and those pending.
        space: the search space.
        seed: fixes the starts and the Monte Carlo samples. Also draws from torch's global generator.
        factors: logarithms of what the expected improvement is multiplied by: a probability, or one over a cost.
        improvement: the logarithm of the expected improvement; None for that of the value over the best trial's.
    """
    coordinates = Coordinates(space)
    improvement = improvement or acquisition_function(fitted, history, seed=seed)
    acquisition = Weighted(improvement, factors) if factors else improvement
    raw = _raw_points(coordinates, history, seed=seed)
    raw_values = _evaluate(acquisition, raw)
    starts = _starts(raw, raw_values)
    points, values = _climb(acquisition, coordinates, raw[starts], raw_values[starts])
    points, values = np.concatenate([points, raw]), np.concatenate([values, raw_values])
    order = np.argsort(-values, kind="stable")
    new = _distance(points[order], history.known()) > REPEAT_TOLERANCE
    point = points[order[int(np.argmax(new))]]  # argmax of all False is 0: the best point, if none is new
    return Proposal(point, float(np.exp(_evaluate(improvement, point[None])[0])))


def _best(model: GradientGP, X: Tensor) -> Tensor:
    """That of the points (n, D) where the model's mean is highest, (D,)."""
    with torch.no_grad():
        return X[model.posterior(X.unsqueeze(1)).mean[:, 0, 0].argmax()]


def most_telling(model: GradientGP, point: Floats, history: History, costs: Sequence[float]) -> int:
    """The level of a trial at a point, (D,), that tells most per unit of cost about the improvement there."""
    with torch.no_grad():
        over = _best(model, torch.as_tensor(history.X))
        learned = model.learned_from(torch.as_tensor(point), over)[: len(costs)].numpy()
    new = [not is_known(point, history, level) for level in range(len(costs))]
    return int(np.argmax(np.where(new, learned / np.array(costs), -1.0)))


def incumbent(fitted: FittedModel, history: History, space: Space, chances: Sequence[LogFactor] = ()) -> Floats:
    """Where the model's mean is highest, (D,): climbed to from the best of the points that were evaluated.

    Args:
        fitted: the value model.
        history: the trials it was fitted on.
        space: the search space.
        chances: logarithms of the probabilities that limits are kept; a mean that is higher by a tenth of the values'
            standard deviation makes good for a chance smaller by a factor e.
    """
    coordinates = Coordinates(space)
    mean: AcquisitionFunction = PosteriorMean(fitted.model)
    if chances:
        mean = Weighted(mean, chances, PRICE_OF_RISK * float(history.y.std()))
    values = _evaluate(mean, history.X)
    best = np.argsort(-values, kind="stable")[:RESTARTS]
    points, values = _climb(mean, coordinates, coordinates.snap(history.X[best]), values[best])
    highest: Floats = points[int(np.argmax(values))]
    return highest


def is_known(point: Floats, history: History, level: int) -> bool:
    """Whether a point, (D,), has been or is being evaluated at that level."""
    return bool(_distance(point[None], history.known(level))[0] <= REPEAT_TOLERANCE)


def acquisition_function(
    fitted: FittedModel, history: History, *, seed: int, over: Floats | None = None
) -> AcquisitionFunction:
    """log-EI or qLogNEI over points (b, 1, D); see the module's first lines for which.

    Args:
        fitted: the value model.
        history: the trials it was fitted on, and those pending.
        seed: of the Monte Carlo samples.
        over: points, shape (k, D), the best of which is to be improved on; None for all of the history's.
    """
    X = torch.as_tensor(history.X if over is None else over, dtype=torch.float64)
    model = fitted.model
    pending = torch.as_tensor(history.pending, dtype=torch.float64)
    if isinstance(model, GradientGP):
        model = model.believing(pending) if len(pending) else model
        return LogImprovement(model, _best(model, X))
    if len(pending) == 0 and fitted.noise <= NOISE_FREE:
        with torch.no_grad():
            best = cast("GPyTorchPosterior", model.posterior(X.unsqueeze(1))).mean.max()
        return LogExpectedImprovement(model, best_f=best)
    return qLogNoisyExpectedImprovement(
        model,
        X_baseline=X,
        X_pending=pending if len(pending) else None,
        sampler=SobolQMCNormalSampler(torch.Size([MONTE_CARLO_SAMPLES]), seed=seed),
        prune_baseline=True,
        cache_root=isinstance(model, GPyTorchModel),
    )


class LogImprovement(AcquisitionFunction):
    """log of the expected improvement over the value at one point, which need not be known exactly.

    Closed form of the expectation of max(f(x) - f(x0), 0): with a cheap level's deviation, or noise, both values are
    uncertain, but what they share cancels. The same as log-EI where the value at x0 is known.

    Args:
        model: of the values.
        over: x0, shape (D,).
    """

    def __init__(self, model: GradientGP, over: Tensor) -> None:
        super().__init__(model)
        self._improvement_over = model.improvement(over)

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,)."""
        mean, variance = self._improvement_over(X[:, 0])
        deviation = variance.sqrt()
        value: Tensor = _log_ei_helper(mean / deviation) + deviation.log()
        return value


class Weighted(AcquisitionFunction):
    """The logarithm of an improvement times other things: probabilities, or one over a cost.

    Args:
        improvement: over points (b, 1, D).
        factors: to be added to it.
        weight: of the factors.
    """

    def __init__(self, improvement: AcquisitionFunction, factors: Sequence[LogFactor], weight: float = 1.0) -> None:
        super().__init__(improvement.model)
        self._improvement, self._factors, self._weight = improvement, tuple(factors), weight

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,)."""
        value: Tensor = self._improvement(X)
        for factor in self._factors:
            value = value + self._weight * factor(X)
        return value


def _raw_points(coordinates: Coordinates, history: History, *, seed: int) -> Floats:
    """Points that can be evaluated, over the cube and around the best trials, shape (r, D)."""
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
        apart = _distance(raw[index : index + 1], raw[chosen])[0]
        if apart > (0.01 if len(chosen) < RESTARTS // 2 else 0.1):
            chosen.append(int(index))
        if len(chosen) == RESTARTS:
            break
    return chosen


def _climb(
    acquisition: AcquisitionFunction, coordinates: Coordinates, points: Floats, values: Floats
) -> tuple[Floats, Floats]:
    """Improve ``points``, shape (s, D), in turns until none improves; points and their acquisition."""
    for _ in range(ROUNDS if coordinates.discrete else 1):
        before = values.copy()
        if not coordinates.all_discrete:
            points, values = _climb_floats(acquisition, coordinates, points, values)
        if coordinates.discrete:
            points, values = _climb_neighbours(acquisition, coordinates, points, values)
        if not np.any(values > before + 1e-6):
            break
    return points, values


def _climb_floats(
    acquisition: AcquisitionFunction, coordinates: Coordinates, points: Floats, values: Floats
) -> tuple[Floats, Floats]:
    """L-BFGS over the float columns from every point, ints and choices held; never worse than before."""
    tensor = torch.as_tensor(points, dtype=torch.float64)
    bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, points.shape[1]).contiguous()
    found, _ = optimize_acqf(
        HoldingInactive(acquisition, coordinates) if coordinates.space.conditional else acquisition,
        bounds=bounds,
        q=1,
        num_restarts=len(points),
        batch_initial_conditions=tensor.unsqueeze(1),
        fixed_features={column: tensor[:, column] for column in coordinates.discrete} or None,
        options={"maxiter": MAXITER},
        return_best_only=False,
        retry_on_optimization_warning=False,
    )
    moved = coordinates.snap(found.detach().squeeze(1).numpy())
    moved_values = _evaluate(acquisition, moved)
    better = moved_values > values
    return np.where(better[:, None], moved, points), np.where(better, moved_values, values)


def _climb_neighbours(
    acquisition: AcquisitionFunction, coordinates: Coordinates, points: Floats, values: Floats
) -> tuple[Floats, Floats]:
    """Move every point to the best of its discrete neighbours where that is better."""
    neighbours = [coordinates.neighbours(point) for point in points]
    scores = _evaluate(acquisition, np.concatenate(neighbours))
    points, values = points.copy(), values.copy()
    start = 0
    for i, around in enumerate(neighbours):
        block = scores[start : start + len(around)]
        start += len(around)
        if len(block) and block.max() > values[i]:
            points[i], values[i] = around[int(block.argmax())], block.max()
    return points, values


def _evaluate(acquisition: AcquisitionFunction, points: Floats) -> Floats:
    """Acquisition at ``points``, shape (r, D) -> (r,)."""
    with torch.no_grad():
        values = acquisition(torch.as_tensor(points, dtype=torch.float64).unsqueeze(1))
    return np.asarray(values.numpy(), dtype=np.float64)


def _distance(points: Floats, known: Floats) -> Floats:
    """Largest coordinate difference of ``points``, shape (r, D), to the nearest of ``known``; (r,)."""
    if len(known) == 0:
        return np.full(len(points), np.inf)
    nearest: Floats = np.abs(points[:, None, :] - known[None, :, :]).max(axis=-1).min(axis=1)
    return nearest
