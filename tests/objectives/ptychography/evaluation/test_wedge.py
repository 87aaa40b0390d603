"""A specimen's own wedge, which moves the centre of the patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from objectives.ptychography.evaluation.wedge import CENTRE, wedge_deviations, wedge_of_specimen
from objectives.ptychography.solvers.state import to_the_end
from tests.objectives.ptychography.scenes import THICK_TRUTH, TRUTH, lens, objective, thick

ROWS, COLUMNS = 72, 48


def weights(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    return np.clip(1.2 - y**4 - x**4, 0, 1)


def fitted(phase: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slopes (y, x) of the plane that fits a phase best, an independent least-squares fit."""
    at = np.argwhere(weights >= 0)
    root = np.sqrt(weights.ravel())
    columns = root[:, None] * np.column_stack([np.ones(len(at)), at])
    return np.linalg.lstsq(columns, root * phase.ravel(), rcond=None)[0][1:]


def test_it_is_the_scatter_of_planes_fitted_to_random_phases() -> None:
    random, seen = np.random.default_rng(0), weights()
    phases = [ndimage.gaussian_filter(random.normal(size=seen.shape), 1.5, mode="wrap") for _ in range(150)]
    slopes = np.array([fitted(phase, seen) for phase in phases])
    said = np.array([wedge_deviations(np.exp(1j * phase), seen) for phase in phases])
    actual = np.sqrt(np.square(slopes).mean(axis=0))
    np.testing.assert_allclose(np.sqrt(np.square(said).mean(axis=0)), actual, rtol=0.2)
    assert actual[1] > 1.3 * actual[0]  # the short side tells a slope less well


@given(slopes=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)), offset=st.floats(-3, 3), scale=st.floats(0.1, 1e6))
def test_a_plane_of_phase_and_the_scale_of_the_weights_do_not_matter(
    slopes: tuple[float, float], offset: float, scale: float
) -> None:
    phase = 0.2 * ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(ROWS, COLUMNS)), 1.5)
    y, x = np.indices(phase.shape)
    plain = wedge_deviations(np.exp(1j * phase), weights())
    with_plane = np.exp(1j * (phase + slopes[0] * y + slopes[1] * x + offset))
    np.testing.assert_allclose(wedge_deviations(with_plane, scale * weights()), plain, rtol=1e-3)


def test_an_empty_object_and_a_scan_along_a_line_have_none() -> None:
    assert wedge_deviations(np.ones((ROWS, COLUMNS), complex), weights()) == pytest.approx((0.0, 0.0), abs=1e-12)
    line = np.zeros((ROWS, COLUMNS))
    line[10] = 1.0
    assert wedge_deviations(np.exp(1j * np.random.default_rng(2).normal(size=line.shape)), line) == (0.0, 0.0)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_wedge_makes_up_for_a_centre(axis: int) -> None:
    """One pixel of the pattern is a phase of 2 pi across the window; a whole pixel is exact in discrete transforms."""
    problem, moved = objective(lens()), 1.0
    here, there = (
        problem._reconstruction({**TRUTH, CENTRE[axis]: TRUTH[CENTRE[axis]] + by, "iterations": 3}, "consistency")[0]
        for by in (0.0, moved)
    )
    state = here.run(to_the_end, 0)
    model = here.misfit.model
    at = torch.arange(state.transmission.shape[1 + axis]) * (2 * np.pi * moved / model.layout.window[axis])
    wedge = torch.exp(1j * at).to(state.transmission.dtype)
    tilted = state.transmission * (wedge[:, None] if axis == 0 else wedge)
    batch = model.batch(torch.arange(20))
    by_wedge = model.intensity(tilted, state.spectra, batch)
    straight = model.intensity(state.transmission, state.spectra, batch)
    by_centre = there.misfit.model.intensity(state.transmission, there.start().spectra, batch)
    assert (by_wedge - by_centre).square().sum() < 1e-9 * (by_centre - straight).square().sum()


def test_a_reconstruction_says_how_much_its_centre_may_be_off() -> None:
    for problem, values in ((objective(lens()), TRUTH), (objective(thick()), {**THICK_TRUTH, "slices": 3})):
        asked = {**values, "iterations": 6}
        reconstruction, _ = problem._reconstruction(asked, "consistency")
        wedge = wedge_of_specimen(reconstruction.misfit, reconstruction.run(to_the_end, 0))
        assert wedge.keys() == set(CENTRE) and all(1e-4 < size < 0.3 for size in wedge.values())
        steps = {name: values.get(name, 0.0) + 0.02 for name in CENTRE}
        divided = problem.evaluate_in_parts(asked, metric="consistency", seed=0, moved=steps)
        assert divided.confounded == wedge
    assert not problem.evaluate_in_parts(asked, metric="consistency", seed=0, moved={"defocus": 1.0}).confounded
