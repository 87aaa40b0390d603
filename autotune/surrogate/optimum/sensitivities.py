"""Which parameters matter: Sobol indices of the posterior mean over the whole space."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import sobol_indices, uniform

from autotune.problem.space import Floats
from autotune.surrogate.model.coordinates import Coordinates
from autotune.surrogate.model.gradient_model import GradientGP

SENSITIVITY_SAMPLES = 256


def find_sensitivities(model: GradientGP, coordinates: Coordinates, seed: int) -> dict[str, tuple[float, float]]:
    """Sobol indices of the posterior mean, parameters uniform over their ranges: name -> (main, total).

    Source: A. Saltelli et al., Comput. Phys. Commun. 181, 259 (2010), as implemented by ``scipy.stats.sobol_indices``.
    """
    dimensions = coordinates.space.dimensions

    def mean(uniforms: Floats) -> Floats:
        points = torch.as_tensor(coordinates.from_uniform(uniforms.T))
        with torch.no_grad():
            means: Floats = model.posterior(points[:, None]).mean[:, 0, 0].numpy()
        return means[None]

    if len(dimensions) == 1:  # SciPy's function takes two or more; here everything depends on the only one
        varies = float(np.ptp(mean(np.linspace(0.0, 1.0, 65)[None])) > 0.0)
        return {dimensions[0].name: (varies, varies)}
    dists = [uniform(0, 1)] * len(dimensions)
    indices = sobol_indices(func=mean, n=SENSITIVITY_SAMPLES, dists=dists, rng=np.random.default_rng(seed))
    # Estimates of a number between 0 and 1 may lie outside.
    main, total = (np.clip(index, 0.0, 1.0) for index in (indices.first_order, indices.total_order))
    return {d.name: (float(m), float(t)) for d, m, t in zip(dimensions, main, total, strict=True)}
