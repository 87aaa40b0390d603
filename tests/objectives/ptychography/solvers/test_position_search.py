"""Positions wrong by pixels are found in data that the model did not make (engine ``direct``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from autotune.objective import Value
from objectives.diffraction.data.measurement import Measurement
from objectives.metrics.positions import position_error
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation import direct
from objectives.ptychography.simulation.instrument import actual_positions
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from tests.objectives.ptychography.scenes import SINGLE, model_of

OPTICS: dict[str, Value] = {"defocus": 400.0, "window_padding": 1.0}  # so that pixels are those of the detector
STEPS = {"lbfgs": 1.0, "lsqml": 0.5, "epie": 0.5}


def disordered(half_width: float, random: np.random.Generator) -> direct.Specimen:
    """Atom columns at random places: no lattice after which a position could be taken for another."""
    count = int((2 * half_width) ** 2 * 0.22)
    return direct.Specimen(random.uniform(-half_width, half_width, (count, 2)), random.uniform(0.2, 0.9, count))


@cache
def shaken(rms: float, scan: int = 10) -> tuple[Measurement, NDArray[np.float64]]:
    """A measurement of 32 x 32 pixels, overlap 80 %, position error ``rms``; and the true positions; in pixels."""
    settings = SimulationSettings(
        detector_pixels=32,
        angular_sampling_mrad=2.0,
        semi_convergence_mrad=15.0,
        scan_points=scan,
        scan_step_angstrom=2.4,
        mismatch={"defocus": 400.0},
        position_error_angstrom=rms * 0.6525,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct.Specimen, "monolayer", staticmethod(disordered))
        measurement, truth = simulate_patterns(settings)
    pixel = float(model_of(measurement, OPTICS).scene.pixel[0])
    return measurement, actual_positions(settings, truth) / pixel


def errors(rms: float, values: Mapping[str, Value], scan: int = 10) -> tuple[float, float]:
    """Position error before and after refinement, in pixels."""
    measurement, true = shaken(rms, scan)
    stated = model_of(measurement, OPTICS).scene.positions.numpy()
    problem = PtychographyObjective(measurement, SINGLE)
    evaluation = problem.evaluate({**OPTICS, "iterations": 60, **values}, metric="consistency", seed=0)
    moved = evaluation.arrays["position_displacement"]
    assert np.abs(moved).max() <= float(values["position_range"])
    return position_error(stated, true), position_error(stated + moved, true)


@pytest.mark.slow
@pytest.mark.parametrize("solver", STEPS)
@pytest.mark.parametrize("rms", [1.0, 3.0])
def test_errors_of_pixels_are_mended(solver: str, rms: float) -> None:
    values: dict[str, Value] = {"solver": solver, "position_step": STEPS[solver], "position_range": max(3.0, 2.2 * rms)}
    before, after = errors(rms, values)
    assert before > 0.9 * rms and after < 0.3, (before, after)


def test_a_search_finds_what_gradients_do_not() -> None:
    values: dict[str, Value] = {"position_step": 1.0, "position_range": 4.0, "iterations": 20}
    before, searched = errors(1.5, {**values, "position_search": 16}, 7)
    _, not_searched = errors(1.5, {**values, "position_search": 0}, 7)
    assert before > 1.3
    assert searched < 0.6 * not_searched, (before, searched, not_searched)


def test_the_seed_fixes_the_search() -> None:
    measurement, _ = shaken(1.5, 7)
    values: dict[str, Value] = {
        **OPTICS,
        "position_step": 1.0,
        "position_range": 4.0,
        "position_search": 2,
        "iterations": 2,
    }
    one, same, other = (
        PtychographyObjective(measurement, SINGLE).evaluate(values, metric="consistency", seed=seed).arrays
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one["position_displacement"], same["position_displacement"])
    assert not np.array_equal(one["position_displacement"], other["position_displacement"])
