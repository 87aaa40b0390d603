"""A parameter that another unknown makes up for: nothing is known of it, and the others follow its ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autotune.problem.space import Dimension, Floats, Space
from autotune.surrogate.model.history import History
from autotune.surrogate.numerics import quiet_and_seeded
from autotune.surrogate.optimum.locations import find_locations
from autotune.surrogate.optimum.optimum import find_optimum
from autotune.surrogate.propose.first_points import sobol
from tests.autotune.surrogate.optimum.test_locations import INVERSE, TOP, H, located, quadratic, repeated
from tests.autotune.surrogate.optimum.test_verdicts import TOP as TOP_IN_UNITS
from tests.autotune.surrogate.optimum.test_verdicts import kinds, noise
from tests.autotune.surrogate.optimum.test_verdicts import quadratic as function


@pytest.mark.parametrize("scores", [None, repeated()])
def test_it_may_be_anywhere_and_the_other_is_where_it_would_be_best_then(scores: Floats | None) -> None:
    with quiet_and_seeded(0):
        model = quadratic()
        optimum = find_locations(model, TOP, (0, 1), (False, False), (0, 1), scores, 0, (False, True))
    assert (optimum.flat, optimum.moving) == ((False, True), (0,))
    np.testing.assert_allclose(np.quantile(optimum.samples[:, 1], [0.05, 0.5, 0.95]), [0.05, 0.5, 0.95], atol=0.06)
    ridge = optimum.centre[0] - H[0, 1] / H[0, 0] * (optimum.samples[:, 1] - TOP[1])
    off = optimum.samples[:, 0] - ridge
    assert np.std(off) < (0.01 if scores is None else 0.06) < 0.3 * np.std(ridge) * (1 if scores is None else 4)
    assert abs(np.corrcoef(ridge, optimum.samples[:, 0])[0, 1]) > 0.85
    with quiet_and_seeded(0):
        known = located(model, scores)
    assert np.std(optimum.samples[:, 0]) > 1.5 * np.std(known.samples[:, 0])
    assert torch.isfinite(torch.as_tensor(optimum.samples)).all() and INVERSE.shape == H.shape


def test_the_verdict_names_what_makes_up_for_it_wherever_the_maximum_is() -> None:
    space = Space(tuple(Dimension(name, low=-1.0, high=1.0, differentiable=True) for name in "xy"))
    for top in (TOP_IN_UNITS, np.array([0.3, 1.7])):  # y inside its range, and beyond
        value = function(np.diag([4.0, 2.0]), top)
        U = sobol(16, 2, seed=3)
        told = [value(2 * u - 1) for u in U]
        y, slopes = np.array([one for one, _ in told]), 2 * np.array([slope for _, slope in told])
        history = History(U, y, np.zeros((0, 2)), len(U), slopes)
        asked: list[dict[str, object]] = []

        def ambiguous(values: object, asked: list[dict[str, object]] = asked) -> dict[str, str]:
            assert isinstance(values, dict)
            asked.append(values)
            return {"y": "the weather"}

        with quiet_and_seeded(0):
            optimum = find_optimum(
                history, space, 1, 1, seed=0, again=noise(np.diag([1e-4, 1e-4])), ambiguous=ambiguous
            )
        assert set(asked[0]) == {"x", "y"}
        assert kinds(optimum) == {"x": "identified", "y": "correlated"}
        assert (optimum.verdicts["y"].other, optimum.verdicts["y"].coefficient) == ("the weather", None)
        low, high = optimum.intervals["y"]
        assert low < -0.85 and high > 0.85 and optimum.noisy == {"x", "y"}
