from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from truth import Region, Truth

from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation.direct import specimen_of
from objectives.ptychography.simulation.settings import SimulationSettings

SETTINGS = SimulationSettings(detector_pixels=32, angular_sampling_mrad=2.4, scan_points=10, scan_step_angstrom=1.5)
PIXEL = wavelength_angstrom("electron", SETTINGS.energy_kev) / (32 * SETTINGS.angular_sampling_mrad * 1e-3)
FIRST = (-12.0, -11.5)


def true_object(shift: float = 0.0) -> NDArray[np.complex64]:
    """The specimen on 25 x 24 pixels, moved by ``shift`` angstrom."""
    y, x = ((start + np.arange(n)) * PIXEL + shift for start, n in zip(FIRST, (25, 24), strict=True))
    phase = specimen_of(SETTINGS).phase(*np.meshgrid(y, x, indexing="ij"))
    return np.exp(1j * phase).astype(np.complex64)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.25])
def test_the_specimen_agrees_with_itself_at_any_shift(shift: float) -> None:
    assert Truth(SETTINGS).correlation(Region(true_object(shift), FIRST)) > 0.999


def test_a_phase_plane_makes_no_difference() -> None:
    ramp = np.exp(1j * (0.4 + 0.02 * np.arange(25)[:, None] - 0.03 * np.arange(24)))
    field = (true_object() * ramp).astype(np.complex64)
    assert Truth(SETTINGS).correlation(Region(field, FIRST)) > 0.999


def test_noise_lowers_the_correlation_as_its_share_of_the_variance_says() -> None:
    field = true_object()
    phase = np.angle(field)
    noise = np.random.default_rng(0).normal(0, phase.std(), phase.shape)
    noisy = np.exp(1j * (phase + noise)).astype(np.complex64)
    assert Truth(SETTINGS).correlation(Region(noisy, FIRST)) == pytest.approx(0.5**0.5, abs=0.05)
    assert Truth(SETTINGS).correlation(Region(field[::-1], FIRST)) < 0.9
