from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from objectives.ptychography.model.forward import field_of
from objectives.ptychography.model.probe import INTEGRATED, Optics
from objectives.ptychography.model.response import respond, response_taps
from tests.objectives.ptychography import reference

WAVELENGTH, N, PIXEL = 0.0418, 48, 0.03  # angstrom, pixels, 1/angstrom
NAMES = ("convergence_angle", "defocus", "astigmatism", "astigmatism_angle", "spherical_aberration")


def optics(**values: float) -> Optics:
    stated = {"convergence_angle": 20.0, **values}
    scalars = [torch.tensor(v, dtype=torch.float64) for v in (WAVELENGTH, *(stated.get(name, 0.0) for name in NAMES))]
    return Optics(*scalars)


def probe_of(of: Optics, k: Tensor) -> Tensor:
    """The centred probe in real space."""
    return field_of(of.spectrum(k, PIXEL))


def frequencies() -> Tensor:
    axis = (torch.arange(N, dtype=torch.float64) - N // 2) * PIXEL
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"))


def propagated(wave: Tensor, distance: float) -> Tensor:
    """Free space over ``distance`` angstrom: the spectrum times exp(-i pi lambda z k^2), after the package."""
    k = torch.fft.ifftshift(frequencies(), dim=(1, 2))
    factor = torch.exp(-1j * math.pi * WAVELENGTH * distance * k.square().sum(0))
    return torch.fft.ifft2(torch.fft.fft2(wave) * factor)


def variance(wave: Tensor) -> tuple[float, float, float]:
    """Second moments (yy, xx, yx) of the intensity in square pixels."""
    weight = wave.abs().square() / wave.abs().square().sum()
    axis = torch.arange(N, dtype=torch.float64) - N // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return float((weight * y * y).sum()), float((weight * x * x).sum()), float((weight * y * x).sum())


def peak(wave: Tensor) -> float:
    return float(wave.abs().square().max())


@pytest.mark.parametrize("seed", range(4))
def test_aberration_phase_is_the_formula(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = dict(zip(NAMES, random.uniform([15, -300, 0, 0, -20], [30, 300, 100, 180, 20]), strict=True))
    k = frequencies()
    expected = reference.aberration_phase(k[0].numpy(), k[1].numpy(), WAVELENGTH, values)
    np.testing.assert_allclose(optics(**values).aberration_phase(k).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_one_micrometre_of_spherical_aberration() -> None:
    # chi = (2 pi / lambda) C3 theta^4 / 4 at theta = 20 mrad, C3 = 1e4 angstrom
    k = torch.tensor([[[0.0]], [[0.02 / WAVELENGTH]]], dtype=torch.float64)
    chi = float(optics(spherical_aberration=1.0).aberration_phase(k))
    assert chi == pytest.approx(2 * math.pi / WAVELENGTH * 1e4 * 0.02**4 / 4)


@pytest.mark.parametrize("defocus", [120.0, -120.0])
def test_underfocused_probe_comes_to_its_focus_further_down(defocus: float) -> None:
    """Positive defocus = underfocus: the crossover lies behind the specimen, by the defocus."""
    probe = probe_of(optics(defocus=defocus), frequencies())
    distances = np.arange(-240, 241, 20.0)
    sharpest = distances[np.argmax([peak(propagated(probe, z)) for z in distances])]
    assert sharpest == defocus
    assert peak(propagated(probe, defocus)) > 3 * peak(probe)
    in_focus = probe_of(optics(), frequencies())
    torch.testing.assert_close(propagated(probe, defocus), in_focus, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("angle", "long_axis"), [(0, "x"), (90, "y"), (45, "yx"), (135, "-yx")])
def test_astigmatism_direction(angle: float, long_axis: str) -> None:
    """C10 = -defocus and C12 add up along phi12: there an overfocused probe (C10 > 0) is widest."""
    yy, xx, yx = variance(probe_of(optics(defocus=-100.0, astigmatism=60.0, astigmatism_angle=angle), frequencies()))
    excess = {"x": xx - yy, "y": yy - xx, "yx": 2 * yx, "-yx": -2 * yx}
    assert excess[long_axis] == max(excess.values())
    assert excess[long_axis] > 0.3 * (yy + xx)


def test_probe_is_centred_has_unit_intensity_and_its_aperture() -> None:
    k = frequencies()
    probe = probe_of(optics(defocus=80.0), k)
    assert float(probe.abs().square().sum()) == pytest.approx(1.0, abs=1e-13)
    assert divmod(int(probe_of(optics(), k).abs().argmax()), N) == (N // 2, N // 2)
    spectrum = optics(defocus=80.0).spectrum(k, PIXEL)
    aperture = optics().aperture(k, PIXEL)
    torch.testing.assert_close(spectrum.abs(), aperture / aperture.square().sum().sqrt(), atol=1e-13, rtol=0)


def test_aperture_of_an_edge_in_the_middle_of_a_pixel() -> None:
    """A little more than half is open; 1/24 of its product with what is closed goes to the neighbour."""
    edge = 0.020 / WAVELENGTH
    radii = edge + PIXEL * torch.arange(-3, 4, dtype=torch.float64)
    passed = optics().aperture(torch.stack([torch.zeros(1, 7, dtype=torch.float64), radii[None]]), PIXEL).square()
    area = 0.5 + 0.09 * PIXEL / edge
    moved = area * (1 - area) / 24
    brighter, cut = (part**2 * 1.01 / (part + 0.01) for part in (1 + moved, area - moved))
    assert passed[0].tolist() == pytest.approx([1, 1, brighter, cut, 0, 0, 0], abs=1e-3)
    # The detector sees that edge as it is: pixels beside the one that it cuts count all and nothing.
    counted = respond(passed.expand(7, 7), response_taps(torch.tensor(0.0, dtype=torch.float64), INTEGRATED))[3]
    assert counted[1:-1].tolist() == pytest.approx([1, 1, 0.5, 0, 0], abs=0.021)
    assert counted[2].item() == pytest.approx(1, abs=0.004)


def displaced(centre: NDArray[np.float64]) -> Tensor:
    """Frequencies of pixels of a detector that the beam hits at ``centre`` (y, x) from its middle, in pixels."""
    return frequencies() - PIXEL * torch.as_tensor(centre)[:, None, None]


def lens_of(radius: float) -> Optics:
    """An aperture of ``radius`` pixels."""
    return optics(convergence_angle=radius * PIXEL * WAVELENGTH * 1e3)


offsets = st.tuples(*2 * [st.floats(-0.5, 0.5)]).map(np.array)
few = settings(max_examples=40, deadline=None, derandomize=True)


@few
@given(st.floats(3, 20), offsets)
def test_aperture_is_the_reference(radius: float, centre: NDArray[np.float64]) -> None:
    """Which clips every pixel's square along the edge; both straighten the edge inside a pixel."""
    k = displaced(centre)
    expected = reference.aperture(*(k / PIXEL).numpy(), radius)
    np.testing.assert_allclose(lens_of(radius).aperture(k, PIXEL).numpy(), expected, rtol=0, atol=1e-9)


@few
@given(st.floats(10, 18), offsets)
def test_size_and_shape_of_the_disk_do_not_depend_on_where_it_falls(radius: float, centre: NDArray[np.float64]) -> None:
    """The radius to 0.01 (it is 0.09 / R larger by design), its ellipticity to 0.0077 pixel at most, of 3000."""
    k = displaced(centre)
    intensity = lens_of(radius).aperture(k, PIXEL).square()
    total = float(intensity.sum())
    assert math.sqrt(total / math.pi) == pytest.approx(radius + 0.09 / radius, abs=0.006)
    y, x = k / PIXEL
    yy, xx, yx = (float((intensity * product).sum()) / total for product in (y * y, x * x, y * x))
    # Second moments of an ellipse: a quarter of its squared radii.
    assert abs(yy - xx) < 0.005 * radius and abs(yx) < 0.001 * radius


@few
@given(st.floats(-math.pi, math.pi), st.floats(-0.5, 0.5))
def test_pixels_that_a_straight_edge_cuts_count_their_open_area(angle: float, offset: float) -> None:
    """After the detector's response, at most 0.058 of a pixel wrong; away from the border of the window.

    Its bounds hold with a margin over 1600 angles and offsets, half of them near the diagonals, where both are largest.
    """
    radius = 2000.0
    centre = (offset - radius) * np.array([math.sin(angle), math.cos(angle)])
    taps = response_taps(torch.tensor(0.0, dtype=torch.float64), INTEGRATED)
    counted = respond(lens_of(radius).aperture(displaced(centre), PIXEL).square(), taps).numpy()
    wrong = (counted - counted_disk(radius, centre, 0.0))[4:-4, 4:-4]
    assert np.abs(wrong).max() < 0.06
    # The edge is 0.005 pixels further in over its length, 0.007 along a diagonal: the amplitude of little open area is
    # less than its root.
    assert abs(wrong.sum()) < 0.009 * (N - 8) * math.sqrt(2)


@pytest.mark.parametrize("radius", [3.0, 9.0, 9.23, 9.5, 30.0])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (1e-9, 0.0), (0.3, 0.0)])
def test_aperture_has_finite_derivatives_in_single_precision(radius: float, centre: tuple[float, float]) -> None:
    """By the aperture and by k: at k = 0, along the axes, in pixels that an edge just touches or that stay dark."""
    weights = torch.randn(N, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes = []
    for real in (torch.float32, torch.float64):
        k = displaced(np.array(centre)).to(real).requires_grad_(True)
        angle = torch.tensor(radius * PIXEL * WAVELENGTH * 1e3, dtype=real, requires_grad=True)
        lens = Optics(torch.tensor(WAVELENGTH, dtype=real), angle, *[torch.zeros((), dtype=real)] * 4)
        total = (weights.to(real) * lens.aperture(k, PIXEL)).sum()
        slopes.append(torch.autograd.grad(total, [k, angle]))
        assert all(torch.isfinite(slope).all() for slope in slopes[-1])
    for single, double in zip(*slopes, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * float(double.abs().max()))


def counted_disk(radius: float, centre: NDArray[np.float64], blur: float) -> NDArray[np.float64]:
    """The share of each pixel that a disk covers and a blur leaves there, from 15 x 15 points of every pixel."""
    parts = 15
    at = (np.arange(N * parts) + 0.5) / parts - 0.5 - N // 2
    away = np.hypot(at[:, None] - centre[0], at[None, :] - centre[1])
    fine = np.clip((radius - away) * parts + 0.5, 0, 1)
    blurred = ndimage.gaussian_filter(fine, blur * parts) if blur > 0 else fine
    return blurred.reshape(N, parts, N, parts).mean(axis=(1, 3))


@pytest.mark.parametrize("blur", [0.0, 0.3, 0.6])
def test_an_empty_disk_ends_where_the_angle_puts_it(blur: float) -> None:
    """Wherever the edge falls between the pixels: within 0.02 pixels for each disk, 0.014 on average.

    The reference counts areas exactly. How far the radius is off follows from the least squares of the edge.
    """
    random, off = np.random.default_rng(0), []
    for _ in range(12):
        radius, centre = random.uniform(7, 15), random.uniform(-0.5, 0.5, 2)
        taps = response_taps(torch.tensor(blur, dtype=torch.float64), INTEGRATED)
        disk = respond(lens_of(radius).aperture(displaced(centre), PIXEL).square(), taps).numpy()
        wider, narrower = (counted_disk(radius + side * 0.02, centre, blur) for side in (1, -1))
        slope = (wider - narrower) / 0.04
        off.append(((disk - counted_disk(radius, centre, blur)) * slope).sum() / (slope**2).sum())
        assert disk.sum() == pytest.approx(math.pi * (radius + 0.09 / radius) ** 2, rel=0.002)
    assert max(map(abs, off)) < 0.02 and abs(np.mean(off)) < 0.014


def test_probe_has_finite_derivatives_everywhere() -> None:
    values = torch.tensor([WAVELENGTH, 20.0, 80.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    probe = probe_of(Optics(*values), frequencies())
    (slope,) = torch.autograd.grad(probe.abs().square()[N // 2 :].square().sum(), values)
    assert torch.isfinite(slope).all()
    assert slope[2] != 0
