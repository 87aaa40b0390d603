from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from objectives.ptychography.model.forward import field_of
from objectives.ptychography.model.probe import Optics
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


def test_aperture_passes_half_of_the_intensity_at_its_edge() -> None:
    edge = 0.020 / WAVELENGTH
    radii = torch.tensor([0.0, edge - PIXEL, edge - 0.5 * PIXEL, edge, edge + 0.5 * PIXEL, edge + PIXEL])
    k = torch.stack([torch.zeros(1, 6, dtype=torch.float64), radii.to(torch.float64)[None]])
    passed = optics().aperture(k, PIXEL).square()[0].tolist()
    assert passed == pytest.approx([1, 1, 1, 0.5, 0, 0], abs=1e-6)


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
    """Wherever the edge falls between the pixels: within 0.04 pixels for each disk, 0.01 on average.

    The reference counts areas exactly. How far the radius is off follows from the least squares of the edge.
    """
    random, off = np.random.default_rng(0), []
    for _ in range(12):
        radius, centre = random.uniform(7, 15), random.uniform(-0.5, 0.5, 2)
        k = frequencies() - PIXEL * torch.as_tensor(centre)[:, None, None]
        lens = optics(convergence_angle=radius * PIXEL * WAVELENGTH * 1e3)
        taps = response_taps(torch.tensor(blur, dtype=torch.float64), 1.0)
        disk = respond(lens.aperture(k, PIXEL).square(), taps).numpy()
        wider, narrower = (counted_disk(radius + side * 0.02, centre, blur) for side in (1, -1))
        slope = (wider - narrower) / 0.04
        off.append(((disk - counted_disk(radius, centre, blur)) * slope).sum() / (slope**2).sum())
        assert disk.sum() == pytest.approx(math.pi * radius**2, rel=0.007)
    assert max(map(abs, off)) < 0.04 and abs(np.mean(off)) < 0.01


def test_probe_has_finite_derivatives_everywhere() -> None:
    values = torch.tensor([WAVELENGTH, 20.0, 80.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    probe = probe_of(Optics(*values), frequencies())
    (slope,) = torch.autograd.grad(probe.abs().square()[N // 2 :].square().sum(), values)
    assert torch.isfinite(slope).all()
    assert slope[2] != 0
