"""Reconstructions of other programs: judged as an independent computation judges them, and as our own are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.evaluation.stated import Stated, judge
from objectives.ptychography.model.device import Machine
from objectives.ptychography.solvers.state import to_the_end
from tests.objectives.ptychography.scenes import CPU, SINGLE, TRUTH, lens, near, objective

SHAPE = (60, 64)


def made(slices: int = 1, modes: int = 1, window: int = 24) -> Stated:
    """Random smooth arrays; positions whose probe is inside the object."""
    random = np.random.default_rng(2)

    def field(*shape: int) -> NDArray[np.complex128]:
        return random.normal(size=shape) + 1j * random.normal(size=shape)

    y, x = np.mgrid[:window, :window] - window // 2
    probe = field(modes, window, window) * np.exp(-(y**2 + x**2) / 30)
    positions = random.uniform(window // 2, np.array(SHAPE) - window // 2 - 1, (25, 2))
    return Stated(np.exp(0.3j * field(slices, *SHAPE).real), probe, positions, None if slices == 1 else 20.0)


def expected(measurement: Measurement, stated: Stated) -> NDArray[np.float64]:
    """Counts by numpy, one pattern after the other: the probe is moved by a Fourier ramp to its exact place."""
    window = stated.probe.shape[-1]
    frequency = np.fft.fftfreq(window)
    geometry: Any = measurement.geometry
    step = geometry.angular_sampling_mrad[0] * 1e-3 / geometry.wavelength_angstrom
    k2 = np.add.outer(frequency**2, frequency**2) * (window * step) ** 2
    between = np.exp(-1j * np.pi * geometry.wavelength_angstrom * (stated.slice_thickness or 0.0) * k2)
    patterns = []
    for position in stated.positions:
        whole = np.round(position).astype(int)
        fraction = position - whole
        ramp = np.exp(-2j * np.pi * np.add.outer(fraction[0] * frequency, fraction[1] * frequency))
        corner = whole - window // 2
        wave = np.fft.ifft2(np.fft.fft2(stated.probe) * ramp)
        for index, of_slice in enumerate(stated.object):
            wave = np.fft.ifft2(np.fft.fft2(wave) * between) if index else wave
            wave = wave * of_slice[corner[0] : corner[0] + window, corner[1] : corner[1] + window]
        spectra = np.fft.fftshift(np.fft.fft2(wave, norm="ortho"), axes=(1, 2))
        edge = (window - 24) // 2
        patterns.append(np.square(np.abs(spectra)).sum(0)[edge : edge + 24, edge : edge + 24])
    return np.array(patterns)


@pytest.mark.parametrize(("slices", "modes", "window"), [(1, 1, 24), (1, 3, 24), (3, 2, 24), (1, 1, 32), (2, 1, 32)])
def test_agrees_with_numpy(slices: int, modes: int, window: int) -> None:
    measurement, stated = lens(), made(slices, modes, window)
    modelled, valid = expected(measurement, stated), measurement.valid
    measured = measurement.patterns.astype(np.float64)
    modelled *= (modelled * measured * valid).sum() / (np.square(modelled) * valid).sum()
    residual = np.linalg.norm((measured - modelled) * valid) / np.linalg.norm(measured * valid)
    roots = np.linalg.norm((np.sqrt(measured) - np.sqrt(modelled)) * valid) / np.sqrt((measured * valid).sum())
    judged = judge(measurement, CPU, stated)
    assert judged.metrics == pytest.approx({"consistency": 1 - residual, "amplitude_consistency": 1 - roots}, rel=1e-7)
    assert judged.modelled == pytest.approx(modelled[12] * valid, rel=1e-5)
    assert judged.measured == pytest.approx(measured[12] * valid)
    assert judge(measurement, SINGLE, stated).metrics == pytest.approx(judged.metrics, rel=1e-4)


def test_our_own_is_judged_as_it_was() -> None:
    """But for the scale of the probe, which is fitted: so at least as good."""
    values = {**TRUTH, "pixel_fill": 0.0, "window_padding": 1.0, "iterations": 10, "probe": "refined"}
    reconstruction, _ = objective(lens())._reconstruction(values, "consistency")
    state = reconstruction.run(to_the_end, 0)
    own = reconstruction.evaluation(state, "consistency")
    model = reconstruction.misfit.model
    places = model.scene.positions - model.layout.origin + torch.tensor([12, 12]) + state.moved
    stated = Stated(own.arrays["object"], own.arrays["probe"], places.numpy())
    judged = judge(lens(), CPU, stated)
    assert judged.metrics["consistency"] == pytest.approx(own.metrics["consistency"], abs=1e-4)
    assert judged.metrics["consistency"] >= own.metrics["consistency"] - 1e-6
    assert judged.modelled == pytest.approx(own.arrays["pattern_modelled"], rel=0.01, abs=0.1)


@pytest.mark.parametrize(("machine", "scale"), [(CPU, -1e-7j), (SINGLE, 1e12), (SINGLE, 1e-14)])
def test_the_scale_of_the_probe_does_not_count(machine: Machine, scale: complex) -> None:
    """Nor does the order of the bytes."""
    stated = made()
    first = judge(lens(), machine, stated)
    other = judge(lens(), machine, replace(stated, probe=(scale * stated.probe).astype(">c16")))
    assert other.metrics == pytest.approx(first.metrics, rel=1e-9 if machine is CPU else 1e-5)
    assert np.abs(other.probe) == pytest.approx(np.abs(first.probe), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "quoted"),
    [
        ({"object": np.ones((1, 60, 64))}, ["object is float64", "complex (slice, y, x)"]),
        ({"probe": np.ones((24, 24), complex)}, ["probe", "(mode, y, x)"]),
        ({"probe": np.ones((1, 20, 24), complex)}, ["20 x 24", "a pattern 24 x 24"]),
        ({"positions": np.full((24, 2), 20.0)}, ["(24, 2)", "25 patterns need (25, 2)"]),
        ({"positions": np.full((25, 2), 5.0)}, ["position 0", "(5, 5)", "leaves the object of 60 x 64"]),
        ({"positions": np.full((25, 2), np.nan)}, ["not finite"]),
        ({"object": np.ones((2, 60, 64), complex)}, ["2 slices", "thickness"]),
        ({"slice_thickness": 3.0}, ["1 slices"]),
        ({"object": np.zeros((1, 60, 64), complex)}, ["predict no counts"]),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], quoted: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        judge(lens(), CPU, replace(made(), **changes))
    for part in quoted:
        assert part in str(caught.value)


def test_the_near_field_is_refused() -> None:
    with pytest.raises(ValueError, match="near field"):
        judge(near(), CPU, made())
