from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.data.measurement import Measurement, NearField
from objectives.ptychography import forward
from objectives.ptychography.forward import ForwardModel, IntensityLoss
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.scenes import free, lens, model_of, near, scene_of, smooth, specimen

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
}
SCAN_VALUES = {"scan_rotation": 11.0, "scan_scale": -2.0, "scan_shear": 1.0}
NEAR_VALUES = {"focus_to_sample": 4.3, **SCAN_VALUES}
CASES: list[tuple[Callable[[], Measurement], dict[str, float]]] = [
    (lens, LENS_VALUES),
    (free, SCAN_VALUES),
    (near, NEAR_VALUES),
]
both = pytest.mark.parametrize(("measured", "values"), CASES, ids=["lens", "free", "near"])


def some_object(model: ForwardModel, seed: int = 5) -> Tensor:
    return specimen(model.layout.object_shape, np.random.default_rng(seed))


def some_probe(model: ForwardModel, seed: int = 6) -> Tensor:
    random = np.random.default_rng(seed)
    shape = model.layout.detector_shape
    return torch.as_tensor(smooth(shape, 1.5, random) + 1j * smooth(shape, 1.5, random))


def everything(model: ForwardModel) -> Tensor:
    return torch.arange(len(model.layout.corners))


def patches(model: ForwardModel, flat_object: Tensor, positions: np.ndarray) -> list[np.ndarray]:
    """Object windows cut by hand: the centre of window j lies at the rounded position j on the object grid."""
    whole = np.rint(positions).astype(int)
    rows, columns = model.layout.detector_shape
    corner = whole - whole.min(axis=0) + 2
    grid = flat_object.numpy().reshape(model.layout.object_shape)
    return [grid[y : y + rows, x : x + columns] for y, x in corner]


def test_far_field_with_a_lens_is_the_explicit_sum() -> None:
    m = lens()
    model, probe = model_of(m, LENS_VALUES), scene_of(m, LENS_VALUES).probe
    assert probe is not None
    flat_object = some_object(model)
    sampling, wavelength, n = m.geometry.angular_sampling_mrad[0], m.geometry.wavelength_angstrom, 24  # type: ignore[union-attr,index]
    spectrum = reference.lens_spectrum(n, sampling, wavelength, LENS_VALUES)
    true = reference.scan_positions(m.positions, LENS_VALUES)
    positions = reference.affine_pixels(true, n, sampling, wavelength, LENS_VALUES)
    found = np.fft.fftshift(model.intensity(flat_object, probe, everything(model)).numpy(), axes=(1, 2))
    for j, patch in enumerate(patches(model, flat_object, positions)):
        wave = reference.shifted(spectrum, positions[j] - np.rint(positions[j])) * patch
        np.testing.assert_allclose(found[j], np.abs(reference.far_field(wave)) ** 2, atol=1e-12)


@pytest.mark.parametrize(("measured", "values"), CASES[1:], ids=["free", "near"])
def test_free_probe_is_the_explicit_sum(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    m = measured()
    model = model_of(m, values)
    flat_object, probe = some_object(model), some_probe(model)
    positions = reference.scan_positions(m.positions, values)
    if isinstance(m.geometry, NearField):
        positions = positions * 1e-10 / (50e-6 / (1.0 / 4.3e-3))
    spectrum = reference.far_field(probe.numpy())
    found = model.intensity(flat_object, probe, everything(model)).numpy()
    for j, patch in enumerate(patches(model, flat_object, positions)):
        fraction = positions[j] - np.rint(positions[j])
        wave = reference.shifted(spectrum, fraction) * patch
        if isinstance(m.geometry, NearField):
            expected = np.abs(reference.near_field(wave, fraction, 1e-10, 1.0, 4.3e-3, 50e-6)) ** 2
        else:
            expected = np.fft.ifftshift(np.abs(reference.far_field(wave)) ** 2)
        np.testing.assert_allclose(found[j], expected, atol=1e-10 * expected.max())


@both
def test_propagation_is_unitary(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    model = model_of(measured(), values)
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 24, 24, dtype=torch.complex128, generator=random) for _ in range(2))
    batch = torch.tensor([0, 7, 11])
    assert float(model.to_detector(x, batch).abs().square().sum()) == pytest.approx(
        float(x.abs().square().sum()), rel=1e-12
    )
    left = torch.vdot(y.reshape(-1), model.to_detector(x, batch).reshape(-1))
    right = torch.vdot(model.from_detector(y, batch).reshape(-1), x.reshape(-1))
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(model.from_detector(model.to_detector(x, batch), batch), x)


@both
def test_illumination_rests_on_the_detector(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    """Without an object, the scan moves nothing: every pattern is the same."""
    model = model_of(measured(), values)
    probe = some_probe(model)
    vacuum = torch.ones(model.layout.object_shape, dtype=torch.complex128).reshape(-1)
    patterns = model.intensity(vacuum, probe, everything(model))
    torch.testing.assert_close(patterns, patterns[:1].expand_as(patterns), rtol=1e-9, atol=1e-9)
    # and it is the pattern whose wave, taken back, is the probe
    wave = torch.exp(1j * torch.rand(24, 24, dtype=torch.float64)) * patterns[0].sqrt()
    alone = model.intensity(vacuum, model.probe_seen_as(wave), everything(model))
    torch.testing.assert_close(alone[3], patterns[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("measured", [free, near], ids=["free", "near"])
def test_nothing_jumps_where_a_position_is_rounded_the_other_way(measured: Callable[[], Measurement]) -> None:
    """Half a pixel more or less, the window on the object moves by a pixel; the pattern must not."""
    m = measured()
    scene = scene_of(m, {})
    patterns = []
    rows, columns = np.mgrid[:24, :24] - 12
    probe = torch.as_tensor(np.exp(-(rows**2 + columns**2) / 10 + 0.1j * rows).astype(complex))
    for fraction in (0.4999999, 0.5000001):
        positions = torch.tensor([[fraction, 3.0 - fraction], [0.0, 0.0], [6.0, 6.0]], dtype=torch.float64)
        layout = forward.Layout.of(positions, (24, 24))
        assert layout.object_shape == (34, 34)
        model = ForwardModel(forward.Scene(positions, scene.pixel, None, scene.propagator), layout)
        patterns.append(model.intensity(some_object(model), probe, torch.tensor([0]))[0])
        corner = layout.corners[0].tolist()
        assert corner == ([2, 5] if fraction < 0.5 else [3, 4])
    torch.testing.assert_close(patterns[0], patterns[1], rtol=0, atol=1e-5 * float(patterns[0].max()))


@both
def test_shifting_the_probe_keeps_its_intensity(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    model = model_of(measured(), values)
    probe = some_probe(model)
    power = model.shifted_probes(probe, everything(model)).abs().square().sum(dim=(1, 2))
    torch.testing.assert_close(power, torch.full_like(power, float(probe.abs().square().sum())))
    total = float(model.illumination(probe).sum())
    assert total == pytest.approx(len(power) * float(probe.abs().square().sum()))


def test_illumination_is_the_sum_of_the_shifted_probes() -> None:
    model = model_of(lens(), LENS_VALUES)
    probe = some_probe(model)
    total = np.zeros(model.layout.object_shape)
    shifted = model.shifted_probes(probe, everything(model)).abs().square().numpy()
    for (y, x), intensity in zip(model.layout.corners.tolist(), shifted, strict=True):
        total[y : y + 24, x : x + 24] += intensity
    np.testing.assert_allclose(model.illumination(probe).numpy().reshape(total.shape), total, atol=1e-12)


def problem(measured: Callable[[], Measurement], values: dict[str, float]):  # type: ignore[no-untyped-def]
    """A model, patterns of another object, a mask, and a state far from the solution."""
    model = model_of(measured(), values)
    flat_object, probe = some_object(model), some_probe(model)
    valid = torch.ones(24, 24, dtype=torch.float64)
    valid[2, 3] = valid[10, 20] = 0.0
    patterns = model.intensity(some_object(model, 8), some_probe(model, 9), everything(model)) * valid
    return model, patterns, valid, flat_object, probe


@both
def test_gradient_of_the_loss_agrees_with_finite_differences(
    measured: Callable[[], Measurement], values: dict[str, float]
) -> None:
    model, patterns, valid, flat_object, probe = problem(measured, values)
    loss = IntensityLoss(model, patterns, valid, None)
    _, object_gradient, probe_gradient = loss(flat_object, probe, refine_probe=True)
    assert probe_gradient is not None
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        object_step = torch.randn(flat_object.shape, dtype=torch.complex128, generator=random)
        probe_step = torch.randn(probe.shape, dtype=torch.complex128, generator=random)
        for step in ((object_step, 0 * probe_step), (0 * object_step, probe_step)):
            slope = torch.vdot(object_gradient, step[0]) + torch.vdot(probe_gradient.reshape(-1), step[1].reshape(-1))

            def along(t: float, step: tuple[Tensor, Tensor] = step) -> float:
                return loss(flat_object + t * step[0], probe + t * step[1], refine_probe=False)[0]

            h = 1e-3
            # The loss is of degree 8 at most along a line: differences of four points leave h^4 terms only.
            difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
            assert float(slope.real) == pytest.approx(difference, rel=1e-6)


@both
def test_loss_is_the_residual_and_vanishes_at_the_truth(
    measured: Callable[[], Measurement], values: dict[str, float]
) -> None:
    model, patterns, valid, flat_object, probe = problem(measured, values)
    loss = IntensityLoss(model, patterns, valid, None)
    expected = model.intensity(flat_object, probe, everything(model)) * valid
    assert loss(flat_object, probe, refine_probe=False)[0] == pytest.approx(float((expected - patterns).square().sum()))
    at_truth, object_gradient, _ = loss(some_object(model, 8), some_probe(model, 9), refine_probe=False)
    assert at_truth < 1e-20 * float(patterns.square().sum())
    assert float(object_gradient.abs().max()) < 1e-10


@both
def test_cached_probes_change_nothing(measured: Callable[[], Measurement], values: dict[str, float]) -> None:
    model, patterns, valid, flat_object, probe = problem(measured, values)
    cached = IntensityLoss(model, patterns, valid, probe)(flat_object, probe, refine_probe=False)
    computed = IntensityLoss(model, patterns, valid, None)(flat_object, probe, refine_probe=False)
    assert cached[0] == computed[0] and torch.equal(cached[1], computed[1])
    assert cached[2] is None and computed[2] is None


def test_cache_is_used_where_it_fits_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, patterns, valid, flat_object, probe = problem(lens, LENS_VALUES)
    fits = IntensityLoss(model, patterns, valid, probe)
    monkeypatch.setattr(forward, "_CACHE_BYTES", 1000)
    too_large = IntensityLoss(model, patterns, valid, probe)
    calls = []
    original = ForwardModel.shifted_probes
    monkeypatch.setattr(model, "shifted_probes", lambda *a: calls.append(1) or original(model, *a))
    first = fits(flat_object, probe, refine_probe=False)
    assert not calls
    assert too_large(flat_object, probe, refine_probe=False)[0] == first[0]


@both
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batching_changes_nothing_but_rounding(
    measured: Callable[[], Measurement], values: dict[str, float], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, patterns, valid, flat_object, probe = problem(measured, values)
    whole = IntensityLoss(model, patterns, valid, None)(flat_object, probe, refine_probe=True)
    illumination = model.illumination(probe)
    monkeypatch.setattr(forward, "_PIXELS_PER_BATCH", batch * 24 * 24)
    sizes = [len(part) for part in model.layout.batches()]
    assert max(sizes) == min(batch, 25) and sum(sizes) == 25
    parts = IntensityLoss(model, patterns, valid, None)(flat_object, probe, refine_probe=True)
    assert parts[0] == pytest.approx(whole[0], rel=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(parts[2], whole[2], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.illumination(probe), illumination)


def test_masked_pixels_have_no_influence() -> None:
    """What the model expects under the mask changes neither loss nor gradient: they equal explicit sums without it."""
    model, patterns, valid, flat_object, probe = problem(lens, LENS_VALUES)
    value, gradient, _ = IntensityLoss(model, patterns, valid, None)(flat_object, probe, refine_probe=False)
    leaf = flat_object.clone().requires_grad_(True)
    kept = valid.bool()
    residual = model.intensity(leaf, probe, everything(model))[:, kept] - patterns[:, kept]
    direct = residual.square().sum()
    (traced,) = torch.autograd.grad(direct, leaf)
    assert value == pytest.approx(float(direct.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, traced, rtol=1e-10, atol=1e-9)
    unmasked, _, _ = IntensityLoss(model, patterns, torch.ones_like(valid), None)(
        flat_object, probe, refine_probe=False
    )
    assert unmasked > value * (1 + 1e-6)  # the masked pixels do expect something


def test_positions_a_whole_pixel_apart_see_windows_a_whole_pixel_apart() -> None:
    positions = torch.tensor([[0.2, -1.4], [1.2, 2.6]], dtype=torch.float64)
    layout = forward.Layout.of(positions, (6, 4), margin=3)
    assert (layout.corners[1] - layout.corners[0]).tolist() == [1, 4]
    assert layout.corners.min().item() == 3
    assert layout.object_shape == (6 + 1 + 6, 4 + 4 + 6)
    assert layout.pixels(torch.tensor([0])).max() < layout.object_shape[0] * layout.object_shape[1]
