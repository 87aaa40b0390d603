from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.diffraction.data.measurement import Measurement, NearField
from objectives.ptychography.model.cropping import with_unseen
from objectives.ptychography.model.forward import ForwardModel, Layout, field_of, spectrum_of, spectrum_seen_as
from objectives.ptychography.model.kernels.plain import TorchKernels
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.scenes import free, lens, model_of, near, random_modes, scene_of, specimen

LENS_VALUES = {
    "camera_length": 3.0,
    "center_offset_y": -1.3,
    "center_offset_x": 0.7,
    "elliptical_distortion": 0.025,
    "elliptical_angle": 35.0,
    "defocus": 110.0,
    "astigmatism": 40.0,
    "astigmatism_angle": 70.0,
    "spherical_aberration": 5.0,
    "convergence_angle": 23.5,
    "scan_rotation": -17.0,
    "scan_scale": 2.5,
    "scan_shear": 1.5,
    "background": 0.0,
    "detector_blur": 0.3,
}
SCAN_VALUES = {"scan_rotation": 11.0, "scan_scale": -2.0, "scan_shear": 1.0, "background": 0.0, "detector_blur": 0.3}
NEAR_VALUES = {"focus_to_sample": 4.3, **SCAN_VALUES}
UNPADDED = {**LENS_VALUES, "window_padding": 1.0}
CASES: list[tuple[Callable[[], Measurement], dict[str, float]]] = [
    (lens, LENS_VALUES),
    (lens, UNPADDED),
    (free, SCAN_VALUES),
    (near, NEAR_VALUES),
]
both = pytest.mark.parametrize(("measured", "values"), CASES, ids=["lens", "unpadded", "free", "near"])


def some_object(model: ForwardModel, seed: int = 5, slices: int = 1) -> Tensor:
    return specimen(model.layout.object_shape, np.random.default_rng(seed), slices)


def some_spectra(model: ForwardModel, seed: int = 6, modes: int = 1) -> Tensor:
    return random_modes(model.layout.window, np.random.default_rng(seed), modes)


def everything(model: ForwardModel) -> Tensor:
    return torch.arange(len(model.layout.corners))


def patches(model: ForwardModel, transmission: Tensor, positions: np.ndarray) -> list[np.ndarray]:
    """Object windows cut by hand: the centre of window j lies at the rounded position j on the object grid."""
    whole = np.rint(positions).astype(int)
    rows, columns = model.layout.window
    corner = whole - whole.min(axis=0) + 2
    return [transmission.numpy()[..., y : y + rows, x : x + columns] for y, x in corner]


@pytest.mark.parametrize(("values", "n"), [(LENS_VALUES, 36), (UNPADDED, 24)], ids=["padded", "unpadded"])
def test_far_field_with_a_lens_is_the_explicit_sum(values: dict[str, float], n: int) -> None:
    """Summed over the whole window, of which the detector sees the middle."""
    m = lens()
    model, spectrum = model_of(m, values), scene_of(m, values).spectrum
    assert spectrum is not None and model.layout.window == spectrum.shape == (n, n)
    transmission = some_object(model)
    sampling, wavelength = m.geometry.angular_sampling_mrad[0], m.geometry.wavelength_angstrom  # type: ignore[union-attr,index]
    by_hand = reference.lens_spectrum(n, sampling, wavelength, LENS_VALUES)
    true = reference.scan_positions(m.positions, LENS_VALUES)
    positions = reference.affine_pixels(true, n, sampling, wavelength, LENS_VALUES)
    intensity = model.intensity(transmission, spectrum[None], model.batch(everything(model))).numpy()
    for j, patch in enumerate(patches(model, transmission[0], positions)):
        wave = reference.shifted(by_hand, positions[j] - np.rint(positions[j])) * patch
        seen = reference.on_detector(np.abs(reference.far_field(wave)) ** 2, 24)
        expected = reference.responded(seen, values["detector_blur"], reference.INTEGRATED)
        np.testing.assert_allclose(intensity[j], expected, atol=1e-12)


@pytest.mark.parametrize(("measured", "values"), CASES[2:], ids=["free", "near"])
@pytest.mark.parametrize("background", [0.0, 0.7])
def test_free_probe_is_the_explicit_sum(
    measured: Callable[[], Measurement], values: dict[str, float], background: float
) -> None:
    """Two incoherent modes, whose intensities add up, the detector's response, and the background."""
    m = measured()
    model = model_of(m, {**values, "background": background})
    transmission, spectra = some_object(model), some_spectra(model, modes=2)
    positions = reference.scan_positions(m.positions, values)
    if isinstance(m.geometry, NearField):
        positions = positions * 1e-10 / (50e-6 / (1.0 / 4.3e-3))
    intensity = model.intensity(transmission, spectra, model.batch(everything(model))).numpy()
    for j, patch in enumerate(patches(model, transmission[0], positions)):
        fraction = positions[j] - np.rint(positions[j])
        expected = np.full((24, 24), background)
        for spectrum in spectra.numpy():
            wave = reference.shifted(spectrum, fraction) * patch
            if isinstance(m.geometry, NearField):
                expected += np.abs(reference.near_field(wave, fraction, 1e-10, 1.0, 4.3e-3, 50e-6)) ** 2
            else:
                expected += np.abs(reference.far_field(wave)) ** 2
        expected = reference.responded(expected, values["detector_blur"])
        np.testing.assert_allclose(intensity[j], expected, atol=1e-10 * expected.max())


@pytest.mark.parametrize("n", [(6, 6), (7, 7), (5, 8)])
def test_spectrum_and_field_are_the_explicit_sums(n: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    field = random.normal(size=n) + 1j * random.normal(size=n)
    expected = np.zeros(n, complex)
    for p, q in np.ndindex(n):
        phase = sum(
            np.multiply.outer(np.arange(size) - size // 2, 1.0).reshape([-1 if i == axis else 1 for i in (0, 1)])
            * (k - size // 2)
            / size
            for axis, (size, k) in enumerate(zip(n, (p, q), strict=True))
        )
        expected[p, q] = (field * np.exp(-2j * np.pi * phase)).sum() / np.sqrt(n[0] * n[1])
    spectrum = spectrum_of(torch.as_tensor(field))
    np.testing.assert_allclose(spectrum.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(field_of(spectrum).numpy(), field, atol=1e-12)


@both
def test_propagation_is_unitary(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    """And its adjoint is exact: a detector in a larger window sees a part of the wave, and the rest is lost."""
    model = model_of(measured(), values)
    random = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(3, 2, *shape, dtype=torch.complex128, generator=random)
        for shape in (model.layout.window, model.layout.detector_shape)
    )
    batch = model.batch(torch.tensor([0, 7, 11]))
    unit = model.detector_unit
    there, back = unit * model.to_detector(x, batch), unit * model.from_detector(y, batch)
    assert there.shape == y.shape and back.shape == x.shape
    torch.testing.assert_close(
        torch.vdot(y.reshape(-1), there.reshape(-1)), torch.vdot(back.reshape(-1), x.reshape(-1))
    )
    torch.testing.assert_close(unit * model.to_detector(back, batch), y)
    lost = x - unit * model.from_detector(there, batch)
    whole, seen, beyond = (float(wave.abs().square().sum()) for wave in (x, there, lost))
    assert seen + beyond == pytest.approx(whole, rel=1e-12)
    # 24 of 36 pixels along both axes see 4/9 of a white spectrum.
    padded = model.layout.window == (36, 36)
    assert seen / whole == pytest.approx(4 / 9 if padded else 1, rel=0.05 if padded else 1e-12)


@both
def test_illumination_rests_on_the_detector(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    """Without an object, the scan moves nothing: every pattern is the same."""
    points = {"pixel_fill": 0.0, "detector_blur": 0.0}  # A wave can be taken back, a filtered intensity cannot.
    model = model_of(measured(), {**values, **points})
    spectra = some_spectra(model)
    vacuum = torch.ones((1, *model.layout.object_shape), dtype=torch.complex128)
    all_patterns = model.batch(everything(model))
    patterns = model.intensity(vacuum, spectra, all_patterns)
    torch.testing.assert_close(patterns, patterns[:1].expand_as(patterns), rtol=1e-9, atol=1e-9)
    # and it is the pattern whose wave, taken back, is the probe
    wave = torch.exp(1j * torch.rand(24, 24, dtype=torch.float64)) * patterns[0].sqrt()
    taken_back = with_unseen(spectrum_seen_as(wave, model.scene), model.layout.window)
    alone = model.intensity(vacuum, taken_back[None], all_patterns)
    torch.testing.assert_close(alone[3], patterns[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("measured", [free, near], ids=["free", "near"])
def test_nothing_jumps_where_a_position_is_rounded_the_other_way(measured: Callable[[], Measurement]) -> None:
    """Half a pixel more or less, the window on the object moves by a pixel; the pattern must not."""
    scene = scene_of(measured(), {})
    intensities = []
    rows, columns = np.mgrid[:24, :24] - 12
    spectra = spectrum_of(torch.as_tensor(np.exp(-(rows**2 + columns**2) / 10 + 0.1j * rows).astype(complex)))[None]
    for fraction in (0.4999999, 0.5000001):
        positions = torch.tensor([[fraction, 3.0 - fraction], [0.0, 0.0], [6.0, 6.0]], dtype=torch.float64)
        layout = Layout.of(positions, (24, 24))
        assert layout.object_shape == (34, 34)
        model = ForwardModel(replace(scene, positions=positions), layout, TorchKernels())
        intensities.append(model.intensity(some_object(model), spectra, model.batch(torch.tensor([0])))[0])
        corner = layout.corners[0].tolist()
        assert corner == ([2, 5] if fraction < 0.5 else [3, 4])
    torch.testing.assert_close(intensities[0], intensities[1], rtol=0, atol=1e-5 * float(intensities[0].max()))


def displaced(measurement: Measurement, values: dict[str, float]) -> tuple[ForwardModel, Tensor, Tensor, Tensor]:
    """A model, an object, a probe, and displacements of the scan positions (25, 2) by up to 0.2 pixel."""
    model = model_of(measurement, values)
    moved = 0.2 * torch.rand(25, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return model, some_object(model), some_spectra(model), moved


@both
def test_displacements_found_on_the_way_are_positions_stated_differently(
    measured: Callable[[], Measurement], values: dict[str, float]
) -> None:
    model, transmission, spectra, moved = displaced(measured(), values)
    scene = replace(model.scene, positions=model.scene.positions + moved)
    crossed = (scene.positions.round() - model.scene.positions.round()).long()
    assert crossed.any()
    there = ForwardModel(scene, replace(model.layout, corners=model.layout.corners + crossed), model.kernels)
    intensity = model.intensity(transmission, spectra, model.batch(everything(model), moved))
    expected = there.intensity(transmission, spectra, there.batch(everything(model)))
    torch.testing.assert_close(intensity, expected)
    unmoved = model.intensity(transmission, spectra, model.batch(everything(model)))
    assert float((intensity - unmoved).abs().max()) > 1e-3 * float(intensity.max())


@both
def test_a_layout_of_nearby_positions_leaves_the_patches_where_they_are(
    measured: Callable[[], Measurement], values: dict[str, float]
) -> None:
    """The counts are those of the positions themselves, where none is rounded to another pixel."""
    model, transmission, spectra, moved = displaced(measured(), values)
    within = 0.05 * torch.rand(25, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    scene = replace(model.scene, positions=model.scene.positions + moved + within)
    there = Layout.of(scene.positions, model.layout.detector_shape, window=model.layout.window)
    here = Layout.of(model.scene.positions + moved, model.layout.detector_shape, window=model.layout.window)
    same = (there.corners + there.origin == here.corners + here.origin).all(1)
    assert 15 < int(same.sum()) < 25
    wide = torch.zeros((1, *(n + 8 for n in here.object_shape)), dtype=transmission.dtype) + 1
    inner = wide[:, 4 : 4 + transmission.shape[1], 4 : 4 + transmission.shape[2]]
    inner[:] = transmission[:, : inner.shape[1], : inner.shape[2]]
    counts = []
    for layout in (here, there):
        row, column = (4 + layout.origin - here.origin).tolist()
        part = wide[:, row : row + layout.object_shape[0], column : column + layout.object_shape[1]].contiguous()
        of_layout = ForwardModel(scene, layout, model.kernels)
        batch = of_layout.batch(everything(of_layout))
        assert torch.equal(batch.corners, layout.corners)
        counts.append(of_layout.intensity(part, spectra, batch))
    torch.testing.assert_close(counts[0][same], counts[1][same])


@both
def test_entering_waves_keep_the_intensity_of_the_probe(
    measured: Callable[[], Measurement], values: dict[str, float]
) -> None:
    model = model_of(measured(), values)
    spectra = some_spectra(model, modes=2)
    whole = float(spectra.abs().square().sum())
    entering = model.waves(some_object(model), spectra, model.batch(everything(model))).entering
    power = entering[0].abs().square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(power, torch.full_like(power, whole))
    assert float(model.illumination(spectra, 7 * 24 * 24).sum()) == pytest.approx(len(power) * whole)


def test_illumination_is_the_sum_of_the_shifted_probes() -> None:
    model = model_of(lens(), LENS_VALUES)
    spectra = some_spectra(model, modes=2)
    positions = model.scene.positions.numpy()
    total = np.zeros(model.layout.object_shape)
    for (y, x), at in zip(model.layout.corners.tolist(), positions, strict=True):
        for spectrum in spectra.numpy():
            total[y : y + 36, x : x + 36] += np.abs(reference.shifted(spectrum, at - np.rint(at))) ** 2
    np.testing.assert_allclose(model.illumination(spectra, 7 * 24 * 24).numpy(), total, atol=1e-12 * total.max())


@both
@pytest.mark.parametrize("patterns", [1, 7, 1000])
def test_batches_are_all_patterns_in_order(
    measured: Callable[[], Measurement], values: dict[str, float], patterns: int
) -> None:
    model = model_of(measured(), values)
    rows, columns = model.layout.window
    batches = list(model.batches(patterns * rows * columns))
    assert max(len(batch.indices) for batch in batches) == min(patterns, 25)
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(25))
    transmission, spectra = some_object(model), some_spectra(model)
    parts = torch.cat([model.intensity(transmission, spectra, batch) for batch in batches])
    torch.testing.assert_close(parts, model.intensity(transmission, spectra, model.batch(everything(model))))
    for batch in batches:
        covered = torch.zeros(model.layout.object_shape, dtype=torch.bool)
        for y, x in batch.corners.tolist():
            covered[y : y + rows, x : x + columns] = True
        y, x = covered.any(1).nonzero(), covered.any(0).nonzero()
        assert batch.box == (int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1)


def test_positions_a_whole_pixel_apart_see_windows_a_whole_pixel_apart() -> None:
    positions = torch.tensor([[0.2, -1.4], [1.2, 2.6]], dtype=torch.float64)
    layout = Layout.of(positions, (6, 4), margin=3)
    assert (layout.corners[1] - layout.corners[0]).tolist() == [1, 4]
    assert layout.corners.min().item() == 3
    assert layout.object_shape == (6 + 1 + 6, 4 + 4 + 6) and layout.window == layout.detector_shape == (6, 4)
    assert ((layout.corners + torch.tensor([6, 4])).amax(0) <= torch.tensor(layout.object_shape)).all()


@pytest.mark.parametrize("by", [(0.0, 0.0), (0.5, 0.0), (0.25, 0.75)])
def test_another_grid_has_the_same_positions(by: tuple[float, float]) -> None:
    """Each is within half a pixel of the middle of its patch, where the grid is moved by ``by``."""
    random = torch.Generator().manual_seed(5)
    positions = 20 * torch.rand(50, 2, dtype=torch.float64, generator=random)
    layout = Layout.of(positions, (6, 4), margin=3, window=(8, 12))
    other = layout.on_another_grid(positions, by)
    fraction = positions - (other.corners + other.origin)
    assert fraction.abs().max() <= 0.5
    whole = other.corners + other.origin + torch.tensor(by, dtype=torch.float64)
    torch.testing.assert_close(whole, whole.round())
    assert (other.window, other.detector_shape, int(other.corners.min())) == ((8, 12), (6, 4), 3)
    assert ((other.corners + torch.tensor([8, 12])).amax(0) <= torch.tensor(other.object_shape)).all()
    assert torch.equal(other.corners, layout.corners) == (by == (0.0, 0.0))


def test_patches_are_as_large_as_the_window() -> None:
    positions = torch.tensor([[0.2, -1.4], [1.2, 2.6]], dtype=torch.float64)
    layout = Layout.of(positions, (6, 4), margin=3, window=(8, 12))
    assert (layout.window, layout.detector_shape) == ((8, 12), (6, 4))
    assert layout.object_shape == (8 + 1 + 6, 12 + 4 + 6)
    assert torch.equal(layout.corners, Layout.of(positions, (6, 4), margin=3).corners)


def test_spectra_of_another_shape_than_the_window_are_refused() -> None:
    """The fused kernels would read beyond them."""
    model = model_of(lens(), LENS_VALUES)
    with pytest.raises(ValueError, match=r"spectra of 24 x 24 pixels, a window of 36 x 36"):
        model.enter(random_modes((24, 24), np.random.default_rng(0)), model.batch(torch.tensor([0])))
