"""The engine ``model``: data that the forward model can explain down to the noise."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from autotune.objective import Value
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.simulation.direct import Specimen
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import engine, simulate_patterns
from tests.objectives.ptychography.scenes import SINGLE

SMALL = {"detector_pixels": 24, "angular_sampling_mrad": 2.6, "scan_points": 6, "electrons_per_pattern": 1e5}
MISMATCH = {"camera_length": 2.0, "elliptical_distortion": 0.02, "elliptical_angle": 30.0, "defocus": 60.0}


def settings(**other: object) -> SimulationSettings:
    return SimulationSettings.model_validate({"engine": "model", "mismatch": MISMATCH, **SMALL, **other})


def test_truth_explains_the_data_to_the_noise() -> None:
    thick = {**MISMATCH, "thickness": 45.0, "tilt_y": 5.0, "background": 40.0}
    measurement, truth = simulate_patterns(settings(slices=3, mismatch=thick))
    assert truth["thickness"] == 45.0 and truth["background"] == 40.0
    problem = PtychographyObjective(measurement, SINGLE)
    ceiling = measurement.shot_noise_ceiling
    assert ceiling is not None

    def share(**values: Value) -> float:
        evaluation = problem.evaluate({**thick, "slices": 3, "iterations": 60, **values}, metric="consistency", seed=0)
        return evaluation.metrics["consistency"] / ceiling

    at = share()
    assert at > 0.99
    for wrong in ({"thickness": 20.0}, {"background": 0.0}, {"defocus": 90.0}):
        assert share(**wrong) < at - 0.002, wrong
    # A tilt shifts the slices against each other, which free slices do as well; the window's edges alone tell.
    assert share(tilt_y=-5.0) == pytest.approx(at, abs=5e-4)


def test_patterns_are_those_of_the_independent_engine_where_both_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slice, one mode, one specimen for both: what differs is the area of the detector's pixels, and the window."""
    specimen = Specimen.monolayer(60.0, np.random.default_rng(7))
    monkeypatch.setattr(Specimen, "monolayer", lambda half_width, random: specimen)
    one, other = settings(), settings(engine="direct")
    simulated = engine("model")(one, np.random.default_rng(4)).expected
    expected = engine("direct")(other, np.random.default_rng(4)).expected
    apart = np.linalg.norm(simulated - expected) / np.linalg.norm(expected)
    assert apart < 0.1
    assert np.linalg.norm(simulated - expected[::-1]) > 2 * apart * np.linalg.norm(expected)


def test_modes_and_background_add_up() -> None:
    random = np.random.default_rng
    single, mixed = (engine("model")(settings(probe_modes=n), random(0)).expected for n in (1, 3))
    assert mixed.sum() == pytest.approx(single.sum(), rel=1e-2)
    assert np.abs(mixed - single).max() > 0.01 * single.max()
    bright, _ = simulate_patterns(settings(mismatch={"background": 7.0}))
    dark, _ = simulate_patterns(settings(mismatch={}))
    assert bright.patterns.mean() - dark.patterns.mean() == pytest.approx(7.0, abs=0.4)


def test_phase_at_any_points_is_the_phase_on_a_grid() -> None:
    specimen = Specimen.monolayer(6.0, np.random.default_rng(2))
    y, x = np.linspace(-4, 3, 31), np.linspace(-5, 5, 40)
    anywhere = specimen.phase(*np.meshgrid(y, x, indexing="ij"))
    np.testing.assert_allclose(np.exp(1j * anywhere), specimen.transmission(y, x), atol=1e-3)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"slices": 2}, "state mismatch.thickness"),
        ({"mismatch": {"thickness": 30.0}}, "one slice has no depth"),
        ({"specimen": {"builtin": "MoS2"}}, "has one of its own"),
        ({"engine": "direct", "slices": 2}, "the engine 'direct' has none"),
        ({"engine": "direct", "probe_modes": 2}, "the engine 'direct' has none"),
        ({"mismatch": {"background": -1.0}}, "is outside 0 to"),
        ({"mismatch": {"camera_length": [-100, 0]}}, "-100 is outside -50 to 50"),
        ({"electrons_per_pattern": 1e30}, "electrons_per_pattern"),
    ],
)
def test_what_does_not_fit_is_refused(stated: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**stated)
