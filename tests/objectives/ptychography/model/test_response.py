"""The detector's response against the convolution that it stands for, SciPy's filter and finite differences."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.model.kernels.plain import TorchKernels
from objectives.ptychography.model.kernels.protocol import Kernels, Loss
from objectives.ptychography.model.response import Response, respond, respond_slope, response_taps
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.model.test_forward import everything, some_object, some_spectra
from tests.objectives.ptychography.model.test_kernels import FUSED, PLAIN, REACHES, SCORED, case, response_of
from tests.objectives.ptychography.scenes import free, model_of

RESPONSES = [
    (0.0, 1.0),
    (0.0, 0.5),
    (0.3, 0.0),
    (0.3, 1.0),
    (0.42, 1.0),
    (0.7, 0.9),
    (1.0, 1.0),
    (2.3, 1.0),
    (5.0, 1.0),
]
each = pytest.mark.parametrize(("blur", "fill"), RESPONSES)
SHAPES = [(24, 24), (9, 14), (30, 3), (1, 7)]


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def image(shape: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.rand(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@each
def test_taps_have_the_mass_and_the_variance_of_the_convolution(blur: float, fill: float) -> None:
    taps = response_taps(double(blur), fill).numpy()
    distance = np.arange(len(taps))
    assert (taps >= 0).all() and (np.diff(taps) < 0).all()
    assert taps[0] + 2 * taps[1:].sum() == pytest.approx(1, abs=1e-15)
    assert 2 * (distance**2 * taps).sum() == pytest.approx(blur**2 + fill**2 / 12, rel=1e-12)


@each
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_scipys_filter(blur: float, fill: float, shape: tuple[int, int]) -> None:
    """With taps from another root finder; also where pixels share counts further than the detector is wide."""
    pattern = image(shape)
    expected = reference.responded(pattern.numpy(), blur, fill)
    np.testing.assert_allclose(respond(pattern, response_taps(double(blur), fill)).numpy(), expected, rtol=1e-10)


@each
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_are_conserved_and_the_filter_is_its_own_adjoint(
    blur: float, fill: float, shape: tuple[int, int]
) -> None:
    taps, x, y = response_taps(double(blur), fill), image(shape, 1), image(shape, 2)
    assert float(respond(x, taps).sum()) == pytest.approx(float(x.sum()), rel=1e-13)
    assert float((x * respond(y, taps)).sum()) == pytest.approx(float((respond(x, taps) * y).sum()), rel=1e-13)
    flat = torch.full(shape, 3.0, dtype=torch.float64)
    torch.testing.assert_close(respond(flat, taps), flat)


@pytest.mark.parametrize(("period", "tolerance"), [(16, 2e-4), (8, 1.5e-3), (4, 0.02)])
@pytest.mark.parametrize("blur", [0.0, 0.2, 0.4, 0.7])
def test_a_wave_is_damped_as_by_the_pixels_area_and_the_blur(period: int, tolerance: float, blur: float) -> None:
    """The waves of a period of 4 pixels are what a specimen half as wide as its window gives to a pattern."""
    u = 1 / period
    taps = response_taps(double(blur), 1.0)
    wave = torch.cos(2 * np.pi * u * torch.arange(8 * period, dtype=torch.float64))[None]
    middle = slice(3 * period, 5 * period)
    damped = float((respond(wave, taps)[0, middle] * wave[0, middle]).sum() / wave[0, middle].square().sum())
    assert damped == pytest.approx(np.sinc(u) * np.exp(-2 * (np.pi * blur * u) ** 2), abs=tolerance)


@pytest.mark.parametrize(("blur", "fill"), [(0.1, 1.0), (0.3, 1.0), (0.3, 0.0), (0.7, 0.9), (2.3, 1.0)])
def test_slopes_are_those_of_finite_differences(blur: float, fill: float) -> None:
    response, h, pattern = Response.of(double(blur), fill), 1e-4, image((9, 14))
    assert response is not None

    def difference(of: dict[int, Tensor]) -> Tensor:
        return (8 * (of[1] - of[-1]) - (of[2] - of[-2])) / (12 * h)

    taps = {step: response_taps(double(blur + step * h), fill) for step in (-2, -1, 1, 2)}
    torch.testing.assert_close(response.taps, response_taps(double(blur), fill), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(response.slopes, difference(taps), rtol=1e-7, atol=1e-9)
    filtered = {step: respond(pattern, at) for step, at in taps.items()}
    torch.testing.assert_close(respond_slope(pattern, response), difference(filtered), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("fill", [0.5, 1.0])
def test_the_first_blur_changes_nothing(fill: float) -> None:
    """By symmetry: b and -b are one blur."""
    response = Response.of(double(0.0), fill)
    assert response is not None and (response.slopes == 0).all()


def test_taps_hardly_jump_where_one_more_neighbour_counts() -> None:
    """Else the metric would have a step there, which a search over the blur takes for a slope."""
    blurs = np.linspace(0.0, 2.0, 1001)
    taps = np.zeros((len(blurs), 16))
    for index, blur in enumerate(blurs):
        at = response_taps(double(blur), 1.0)
        taps[index, : len(at)] = at
    jumps = np.abs(np.diff(taps, 2, axis=0)).max()
    assert len(set((taps > 0).sum(axis=1))) > 5 and jumps < 1e-4


def test_points_without_blur_are_untouched() -> None:
    assert Response.of(double(0.0), 0.0) is None
    pattern = image((9, 14))
    assert torch.equal(respond(pattern, response_taps(double(0.0), 0.0)), pattern)
    model = model_of(free(), {"pixel_fill": 0.0, "background": 0.0})
    assert model.response is None
    waves = model.waves(some_object(model), some_spectra(model), model.batch(everything(model)))
    intensity = waves.detector.abs().square().sum(1) * model.detector_unit**2
    torch.testing.assert_close(model.expected(waves), intensity, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_taps_have_the_precision_of_the_model(dtype: torch.dtype) -> None:
    response = Response.of(torch.tensor(0.4, dtype=dtype), 1.0)
    assert response is not None and response.taps.dtype == response.slopes.dtype == dtype
    expected = reference.response_taps(0.4)[len(response.taps) - 1 :]
    np.testing.assert_allclose(response.taps.numpy(), expected, rtol=3e-6 if dtype == torch.float32 else 1e-10)


def test_expected_counts_carry_the_graph_of_the_blur() -> None:
    model = model_of(free(), {"detector_blur": 0.3, "background": 0.0})
    blur = model.scene.blur.requires_grad_(True)
    traced = ForwardModel(model.scene, model.layout, TorchKernels())
    some = traced.batch(torch.tensor([4]))
    counts = traced.intensity(some_object(model), some_spectra(model), some)
    weights = image((24, 24))[:1]
    (slope,) = torch.autograd.grad((weights * counts).sum(), blur)
    assert traced.response is not None
    points = model_of(free(), {"pixel_fill": 0.0, "background": 0.0})
    intensity = points.intensity(some_object(model), some_spectra(model), some)
    assert float(slope) == pytest.approx(float((weights * respond_slope(intensity, traced.response)).sum()), rel=1e-10)


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("reach", REACHES)
def test_residual_with_a_response_is_that_of_filtered_intensities(kernels: Kernels, loss: Loss, reach: int) -> None:
    """Loss, squared residual and half the gradient by the waves, by automatic differentiation with SciPy's filter."""
    c, response = case(torch.float64), response_of(reach, torch.float64)
    rows, columns = (filter_matrix(response.taps, n) for n in c.waves.shape[-2:])
    leaf = c.waves.clone().requires_grad_(True)
    expected = 0.3 + 0.7 * rows @ (leaf.real.square() + leaf.imag.square()).sum(1) @ columns.T
    y, valid = c.patterns[c.indices].double(), c.valid[c.mask_of[c.indices]]
    of_pixel = {
        "intensity": (expected - y).square(),
        "amplitude": ((expected + 0.01).sqrt() - y.sqrt()).square(),
        "poisson": expected + 0.01 - y * (expected + 0.01).log(),
    }[loss]
    value, squared = (of_pixel * valid).sum(), ((expected - y).square() * valid).sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    waves = c.waves.clone()
    numbers = (c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01)
    sums = kernels.residual(waves, *numbers, loss, response)
    assert sums == pytest.approx((float(value.detach()), float(squared.detach())), rel=1e-11)
    torch.testing.assert_close(waves, gradient / 2, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("loss", SCORED)
@pytest.mark.parametrize("reach", REACHES)
def test_score_has_the_slope_by_the_blur(kernels: Kernels, loss: Loss, reach: int) -> None:
    c = case(torch.float64)
    # Something is expected everywhere, so that the floor hardly matters.
    numbers = (c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 1e-12)

    def score(blur: float) -> tuple[float, float, float, float]:
        response = Response.of(torch.tensor(blur, dtype=torch.float64), 0.9)
        return kernels.score(c.waves.clone(), *numbers, loss, response)

    at, h, of = REACHES[reach], 1e-4, SCORED.index(loss)
    difference = (8 * (score(at + h)[of] - score(at - h)[of]) - score(at + 2 * h)[of] + score(at - 2 * h)[of]) / (
        12 * h
    )
    assert abs(difference) > 0.1
    assert score(at)[3] == pytest.approx(difference, rel=1e-6)


def filter_matrix(taps: Tensor, n: int) -> Tensor:
    """SciPy's correlation with symmetric ``taps`` c_0, c_1, ... along an axis of ``n`` pixels, as a matrix."""
    both_sides = np.concatenate([taps.numpy()[:0:-1], taps.numpy()])
    return torch.as_tensor(ndimage.correlate1d(np.eye(n), both_sides, axis=0, mode="reflect"))
