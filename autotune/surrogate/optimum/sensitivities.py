"""Which parameters matter: Sobol indices of the posterior mean over the whole space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.quasirandom import SobolEngine

from autotune.problem.space import Floats
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP

SENSITIVITY_SAMPLES = 256


def find_sensitivities(model: GradientGP, coordinates: Coordinates, seed: int) -> dict[str, tuple[float, float]]:
    """Sobol indices of the posterior mean, parameters uniform over their ranges: name -> (main, total)."""
    dimensions = coordinates.space.dimensions

    def mean(uniforms: Floats) -> Floats:
        points = torch.as_tensor(coordinates.from_uniform(uniforms))
        with torch.no_grad():
            means: Floats = model.posterior(points[:, None]).mean[:, 0, 0].numpy()
        return means

    if len(dimensions) == 1:  # everything depends on the only one
        varies = float(np.ptp(mean(np.linspace(0.0, 1.0, 65)[:, None])) > 0.0)
        return {dimensions[0].name: (varies, varies)}
    # Estimates of a number between 0 and 1 may lie outside.
    main, total = (np.clip(index, 0.0, 1.0) for index in sobol_indices(mean, len(dimensions), seed))
    return {d.name: (float(m), float(t)) for d, m, t in zip(dimensions, main, total, strict=True)}


def sobol_indices(
    function: Callable[[Floats], Floats], k: int, seed: int, samples: int = SENSITIVITY_SAMPLES
) -> tuple[Floats, Floats]:
    """First-order and total-order Sobol indices, each (k,), of a function of k variates uniform from 0 to 1.

    Source: A. Saltelli et al., Comput. Phys. Commun. 181, 259 (2010), table 2, formulas (b) and (f).
    ``scipy.stats.sobol_indices`` does the same, but loading ``scipy.stats`` takes a large part of a short run's time.

    Args:
        function: from points (n, k) to values (n,).
        k: how many variates.
        seed: of the scrambled Sobol sequence.
        samples: a power of 2; the function is evaluated at k + 2 times as many points.
    """
    sequence = SobolEngine(2 * k, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    drawn = sequence.draw(samples, dtype=torch.float64).numpy()
    a, b = drawn[:, :k], drawn[:, k:]
    mixed = np.where(np.eye(k, dtype=bool)[:, None], b, a)  # (k, samples, k): row i has variate i of b
    values = function(np.concatenate([a, b, mixed.reshape(-1, k)])).reshape(k + 2, samples)
    values = values - values[:2].mean()  # a large mean would drown the products in noise
    at_a, at_b, at_mixed = values[0], values[1], values[2:]
    variance = values[:2].var()
    if variance == 0.0:
        return np.zeros(k), np.zeros(k)
    first = (at_b * (at_mixed - at_a)).mean(axis=1) / variance
    total = 0.5 * ((at_a - at_mixed) ** 2).mean(axis=1) / variance
    return first, total
