from __future__ import annotations

import numpy as np
import pytest
import torch

from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.model.kernels.plain import TorchKernels
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.model.test_forward import (
    LENS_VALUES,
    everything,
    patches,
    some_object,
    some_spectra,
)
from tests.objectives.ptychography.scenes import model_of, near, scene_of, thick

SAMPLING, WAVELENGTH, N, WINDOW = 2.6, 0.0418, 24, 36
VALUES = {**LENS_VALUES, "thickness": 120.0, "tilt_y": 8.0, "tilt_x": -5.0}


@pytest.mark.parametrize(
    ("slices", "padding", "n"), [(1, 1.5, WINDOW), (2, 1.5, WINDOW), (4, 1.5, WINDOW), (4, 1.0, N)]
)
def test_expected_counts_are_the_explicit_multislice(slices: int, padding: float, n: int) -> None:
    m = thick()
    model = model_of(m, {**VALUES, "window_padding": padding}, slices)
    assert model.layout.window == (n, n)
    transmission, spectra = some_object(model, slices=slices), some_spectra(model, modes=2)
    intensity = model.intensity(transmission, spectra, model.batch(everything(model))).numpy()
    true = reference.scan_positions(m.positions, VALUES)
    positions = reference.affine_pixels(true, n, SAMPLING, WAVELENGTH, VALUES)
    ky, kx = reference.frequencies(n, SAMPLING, WAVELENGTH, VALUES)
    for j, patch in enumerate(patches(model, transmission, positions)):
        expected = np.zeros((N, N))
        for spectrum in spectra.numpy():
            wave = reference.shifted(spectrum, positions[j] - np.rint(positions[j]))
            exit_wave = reference.multislice(wave, patch, ky, kx, WAVELENGTH, 120.0 / slices, (8.0, -5.0))
            expected += reference.on_detector(np.abs(reference.far_field(exit_wave)) ** 2, N)
        expected = reference.responded(expected, VALUES["detector_blur"], reference.INTEGRATED)
        np.testing.assert_allclose(intensity[j], expected, atol=1e-10 * expected.max())


def test_slices_with_nothing_between_them_are_their_product() -> None:
    thin, single = model_of(thick(), {**VALUES, "thickness": 0.0}, 4), model_of(thick(), VALUES)
    transmission, spectra = some_object(thin, slices=4), some_spectra(thin)
    intensity = thin.intensity(transmission, spectra, thin.batch(everything(thin)))
    expected = single.intensity(transmission.prod(0, keepdim=True), spectra, single.batch(everything(single)))
    torch.testing.assert_close(intensity, expected)


def test_empty_slices_only_change_the_defocus() -> None:
    """Vacuum of 60 angstrom before the last slice is 60 angstrom less of underfocus at it: C10 = -defocus."""
    upright = {**VALUES, "tilt_y": 0.0, "tilt_x": 0.0}
    deep = model_of(thick(), {**upright, "thickness": 120.0}, 2)
    single = model_of(thick(), {**upright, "defocus": VALUES["defocus"] - 60.0})
    transmission = some_object(deep, slices=2)
    transmission[0] = 1
    of_deep, of_single = deep.scene.spectrum, single.scene.spectrum
    assert of_deep is not None and of_single is not None
    intensity = deep.intensity(transmission, of_deep[None], deep.batch(everything(deep)))
    expected = single.intensity(transmission[1:], of_single[None], single.batch(everything(single)))
    torch.testing.assert_close(intensity, expected, rtol=1e-9, atol=1e-15)


def test_a_leaning_column_stays_in_its_pixel() -> None:
    """A small tilt displaces the second slice by dz tan(tilt) in the laboratory: shift that slice there instead."""
    pixel = WAVELENGTH / (WINDOW * SAMPLING * 1e-3)
    tilt = 1e3 * np.arctan(2 * pixel / 60.0)  # two pixels over the 60 angstrom between the slices
    upright = {**LENS_VALUES, "camera_length": 0.0, "elliptical_distortion": 0.0, "center_offset_y": 0.0}
    upright |= {"center_offset_x": 0.0, "thickness": 120.0}
    straight, leaning = (
        model_of(thick(), upright, 2, margin=6),
        model_of(thick(), {**upright, "tilt_y": tilt}, 2, margin=6),
    )
    rows, columns = straight.layout.object_shape
    # One column of atoms, narrow against the window, so that the borders of the windows see nothing.
    y, x = np.mgrid[:rows, :columns] - np.array([rows // 2, columns // 2])[:, None, None]
    column = torch.as_tensor(np.exp(0.5j * np.exp(-(y**2 + x**2) / 4.0)))
    moved = torch.as_tensor(np.exp(0.5j * np.exp(-((y - 2) ** 2 + x**2) / 4.0)))
    spectra = straight.scene.spectrum
    assert spectra is not None
    some = straight.batch(torch.tensor([12]))
    in_laboratory = straight.intensity(torch.stack([column, moved]), spectra[None], some)
    in_specimen = leaning.intensity(torch.stack([column, column]), spectra[None], leaning.batch(torch.tensor([12])))
    wrong_way = straight.intensity(torch.stack([moved, column]), spectra[None], some)
    assert float((in_laboratory - in_specimen).norm()) < 0.02 * float((wrong_way - in_specimen).norm())


def test_adjoint_of_a_slice_and_the_way_to_it() -> None:
    model = model_of(thick(), VALUES, 2)
    transmission, batch = some_object(model, slices=2), model.batch(torch.tensor([0, 7, 11]))
    random = torch.Generator().manual_seed(0)
    spectra = some_spectra(model, modes=2)
    leaving = torch.randn(3, 2, WINDOW, WINDOW, dtype=torch.complex128, generator=random)
    waves = model.waves(transmission, spectra, batch)
    # <A w, y> = <w, A* y>, A: from the exit of slice 0, through free space and slice 1
    exit_of_first = model.kernels.transmit(waves.entering[0], transmission[0], batch.corners)
    exit_of_second = model.kernels.transmit(waves.entering[1], transmission[1], batch.corners)
    gradient = torch.zeros_like(transmission)
    back = model.pull_back(1, waves, leaving.clone(), transmission, batch, gradient[1])
    left = torch.vdot(leaving.reshape(-1), exit_of_second.reshape(-1))
    torch.testing.assert_close(left, torch.vdot(back.reshape(-1), exit_of_first.reshape(-1)))
    first = model.pull_back(0, waves, leaving.clone(), transmission, batch, gradient[0])
    left = torch.vdot(leaving.reshape(-1), exit_of_first.reshape(-1))
    torch.testing.assert_close(left, torch.vdot(first.reshape(-1), waves.entering[0].reshape(-1)))
    for of_slice, wave in zip(gradient, waves.entering, strict=True):
        expected = torch.zeros_like(of_slice)
        model.kernels.add_product(wave, leaving, batch.corners, expected)
        torch.testing.assert_close(of_slice, expected)


def test_several_slices_need_a_scene_that_was_built_for_them() -> None:
    scene = scene_of(near(), {})
    model = ForwardModel(scene, model_of(near(), {}).layout, TorchKernels())
    with pytest.raises(ValueError, match="several slices"):
        model.intensity(some_object(model, slices=2), some_spectra(model), model.batch(torch.tensor([0])))
