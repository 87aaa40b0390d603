"""Sobol indices of functions for which they are known, and as SciPy estimates them."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.problem.space import Floats
from autotune.surrogate.optimum.sensitivities import sobol_indices


def ishigami(uniforms: Floats) -> Floats:
    """The function of three variates on which sensitivity analyses are tried: sin x + 7 sin^2 y + z^4 sin(x) / 10."""
    x, y, z = np.pi * (2 * uniforms.T - 1)
    value: Floats = np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)
    return value


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_the_closed_form(offset: float) -> None:
    """Ishigami and Homma, Proc. ISUMA, 398 (1990): y acts alone, z with x alone."""
    first, total = sobol_indices(lambda uniforms: offset + ishigami(uniforms), 3, seed=0, samples=4096)
    assert first == pytest.approx([0.3139, 0.4424, 0.0], abs=0.02)
    assert total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.02)


def test_scipy_finds_the_same() -> None:
    from scipy.stats import sobol_indices as of_scipy
    from scipy.stats import uniform

    def function(uniforms: Floats) -> Floats:
        value: Floats = np.exp(uniforms[:, 0]) * (1 + 2 * uniforms[:, 1]) + 0.5 * uniforms[:, 3]
        return value

    first, total = sobol_indices(function, 4, seed=1, samples=4096)
    theirs = of_scipy(
        func=lambda x: function(x.T)[None], n=4096, dists=[uniform(0, 1)] * 4, rng=np.random.default_rng(0)
    )
    assert first == pytest.approx(theirs.first_order, abs=0.01)
    assert total == pytest.approx(theirs.total_order, abs=0.01)
    assert (first[2], total[2]) == (0.0, 0.0)


def test_a_constant_depends_on_nothing() -> None:
    first, total = sobol_indices(lambda uniforms: np.full(len(uniforms), 3.0), 2, seed=0)
    assert first.tolist() == total.tolist() == [0.0, 0.0]


def test_the_seed_fixes_the_estimate() -> None:
    one, same, other = (sobol_indices(ishigami, 3, seed=seed, samples=64)[0] for seed in (5, 5, 6))
    assert one.tolist() == same.tolist() != other.tolist()
