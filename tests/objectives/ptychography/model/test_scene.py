from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from objectives.diffraction.data.measurement import FarField
from objectives.ptychography.parameters.instrument import parameters_of
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.model.test_forward import LENS_VALUES, NEAR_VALUES, SCAN_VALUES
from tests.objectives.ptychography.scenes import free, lens, near, scene_of, thick


def test_scan_axes_turn_as_defined() -> None:
    positions = scene_of(free(), {"scan_rotation": 90.0}).positions.numpy()
    stated = free().positions
    np.testing.assert_allclose(positions, np.stack([-stated[:, 1], stated[:, 0]], axis=1), atol=1e-12)


def test_shear_opens_the_angle_between_the_scan_axes() -> None:
    m = replace(
        free(), positions=np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]), patterns=free().patterns[:4]
    )
    y0, y1, x0, x1 = scene_of(m, {"scan_shear": 2.0, "scan_rotation": 33.0}).positions.numpy()
    slow, fast = y1 - y0, x1 - x0
    angle = np.degrees(np.arccos(slow @ fast / np.linalg.norm(slow) / np.linalg.norm(fast)))
    assert angle == pytest.approx(92.0)


def test_scale_multiplies_the_step() -> None:
    positions = scene_of(free(), {"scan_scale": 5.0}).positions.numpy()
    np.testing.assert_allclose(positions, 1.05 * free().positions)


def test_positions_agree_with_numpy() -> None:
    turned = scene_of(free(), SCAN_VALUES).positions.numpy()
    np.testing.assert_allclose(turned, reference.scan_positions(free().positions, SCAN_VALUES))
    m, sampling = lens(), 2.6
    wavelength = m.geometry.wavelength_angstrom
    assert wavelength is not None
    true = reference.scan_positions(m.positions, LENS_VALUES)
    for padding, n in ((1.0, 24), (1.5, 36)):
        values = {**LENS_VALUES, "window_padding": padding}
        expected = reference.affine_pixels(true, n, sampling, wavelength, LENS_VALUES)
        np.testing.assert_allclose(scene_of(m, values).positions.numpy(), expected, atol=1e-12)


def test_near_field_is_magnified_by_the_cone() -> None:
    scene = scene_of(near(), NEAR_VALUES)
    pixel = 50e4 * 4.3 / 1000  # angstrom: pitch over (z1 + z2) / z1
    assert scene.pixel.tolist() == pytest.approx([pixel, pixel])
    expected = reference.scan_positions(near().positions, NEAR_VALUES) / pixel
    np.testing.assert_allclose(scene.positions.numpy(), expected)
    assert scene.propagator is not None and scene.spectrum is None
    # At the k of one detector period per four pixels: exp(-i pi lambda z k^2), z = z1 z2 / (z1 + z2).
    phase = -np.pi * 1.0 * (4.3 * (1000 - 4.3) / 1000 * 1e7) / (4 * pixel) ** 2
    assert scene.propagator[12 + 6, 12].item() == pytest.approx(np.exp(1j * phase))
    assert scene.propagator[12, 12].item() == 1.0


@pytest.mark.parametrize("lacks", ["wavelength_angstrom", "angular_sampling_mrad", "semi_convergence_mrad"])
def test_without_one_of_its_numbers_a_lens_is_unknown(lacks: str) -> None:
    """Detector and lens parameters are offered exactly where they act."""
    known = FarField(0.0418, (2.6, 2.6), 24.0)
    m = replace(lens(), geometry=known)
    names = {p.name for p in parameters_of(m)}
    assert {"camera_length", "defocus"} <= names and scene_of(m, {}).spectrum is not None
    m = replace(lens(), geometry=replace(known, **{lacks: None}))
    names = {p.name for p in parameters_of(m)}
    assert not {"camera_length", "defocus"} & names and "scan_rotation" in names
    depth = {"thickness", "tilt_y", "tilt_x", "slices", "slice_smoothness"}
    assert depth & names == (depth if lacks == "semi_convergence_mrad" else set())
    scene = scene_of(m, {})
    assert scene.spectrum is None
    # Two detectors as one window: pixels of the object half as large.
    finer = scene_of(m, {"window_padding": 2.0})
    np.testing.assert_allclose(finer.positions.numpy(), 2 * scene.positions.numpy())
    np.testing.assert_allclose(finer.pixel.numpy(), scene.pixel.numpy() / 2)
    pixel = 0.0418 / (24 * 2.6e-3) if lacks == "semi_convergence_mrad" else 1.0
    np.testing.assert_allclose(scene.positions.numpy(), m.positions / pixel)


def test_background_is_that_of_the_values() -> None:
    for measured in (lens, free, near):
        assert float(scene_of(measured(), {"background": 0.25}).background) == 0.25


def test_one_slice_has_no_propagator_and_a_near_field_no_slices() -> None:
    assert scene_of(lens(), {}).slice_propagator is None
    assert not {"thickness", "tilt_y", "tilt_x", "slices"} & {p.name for p in parameters_of(near())}


@pytest.mark.parametrize("padding", [1.0, 1.5])
@pytest.mark.parametrize("free_probe", [False, True])
def test_slice_propagator_is_the_formula(free_probe: bool, padding: float) -> None:
    """exp(-i pi lambda dz k^2 + 2 pi i dz k . tan(tilt)), with k where the (distorted) detector's pixels see it.

    A larger window continues the detector's pixels beyond its edge.
    """
    m = thick()
    values = {**LENS_VALUES, "thickness": 90.0, "tilt_y": 4.0, "tilt_x": -3.0}
    if free_probe:
        m = replace(m, geometry=replace(m.geometry, semi_convergence_mrad=None))
        values = {**SCAN_VALUES, "thickness": 90.0, "tilt_y": 4.0, "tilt_x": -3.0}
    values["window_padding"], n = padding, round(24 * padding)
    propagator = scene_of(m, values, slices=3).slice_propagator
    assert propagator is not None
    ky, kx = reference.frequencies(n, 2.6, 0.0418, {} if free_probe else values)
    phase = -np.pi * 0.0418 * 30 * (ky**2 + kx**2) + 2 * np.pi * 30 * (ky * np.tan(4e-3) - kx * np.tan(3e-3))
    np.testing.assert_allclose(propagator.numpy(), np.exp(1j * phase), atol=1e-10)
