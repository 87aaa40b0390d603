"""Small measurements of every kind, and the means to compute with them in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autotune.objective import Value
from objectives.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.forward import ForwardModel, Layout
from objectives.ptychography.machine import Machine
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.parameters import parameters_of
from objectives.ptychography.scene import Scene, build_scene
from objectives.ptychography.simulation import simulate_patterns
from objectives.ptychography.simulation_settings import SimulationSettings

CPU = Machine(torch.device("cpu"), torch.float64)
SINGLE = Machine(torch.device("cpu"), torch.float32)
SCAN = 5
TRUTH = {
    "camera_length": 1.0,
    "center_offset_y": 0.4,
    "center_offset_x": -0.3,
    "elliptical_distortion": 0.01,
    "elliptical_angle": 20.0,
    "defocus": 80.0,
    "scan_rotation": 4.0,
}
LENS = SimulationSettings(
    seed=3,
    detector_pixels=24,
    angular_sampling_mrad=2.6,
    scan_points=SCAN,
    electrons_per_pattern=1e6,
    mismatch=dict(TRUTH),
)


def objective(measurement: Measurement) -> PtychographyObjective:
    """The objective on the CPU in double precision."""
    return PtychographyObjective(measurement, CPU)


def all_values(measurement: Measurement, values: Mapping[str, Value]) -> dict[str, Value]:
    """``values`` over the defaults."""
    return {p.name: p.default for p in parameters_of(measurement) if p.default is not None} | dict(values)


def scalars(measurement: Measurement, values: Mapping[str, Value]) -> dict[str, Tensor]:
    """Mismatch parameters as float64 scalar tensors, defaults where ``values`` says nothing."""
    complete = all_values(measurement, values)
    names = [p.name for p in parameters_of(measurement) if p.kind == "mismatch"]
    return {name: torch.tensor(float(complete[name]), dtype=torch.float64) for name in names}


def scene_of(measurement: Measurement, values: Mapping[str, Value]) -> Scene:
    """The scene at ``values``."""
    return build_scene(measurement, scalars(measurement, values))


def model_of(measurement: Measurement, values: Mapping[str, Value]) -> ForwardModel:
    """The forward model at ``values``."""
    scene = scene_of(measurement, values)
    return ForwardModel(scene, Layout.of(scene.positions, measurement.valid.shape))


def smooth(shape: tuple[int, int], width: float, random: np.random.Generator) -> NDArray[np.float64]:
    """A random field of unit variance, correlated over ``width`` pixels."""
    k2 = sum(np.meshgrid(*[np.fft.fftfreq(n) ** 2 for n in shape], indexing="ij"))
    field = np.fft.ifft2(np.fft.fft2(random.normal(size=shape)) * np.exp(-2 * (np.pi * width) ** 2 * k2)).real
    return field / field.std()


def specimen(shape: tuple[int, int], random: np.random.Generator) -> Tensor:
    """A random transmission function, flat, complex128."""
    transmission = (1 - 0.1 * (smooth(shape, 2.0, random) > 0)) * np.exp(0.6j * smooth(shape, 1.5, random))
    return torch.as_tensor(transmission.ravel())


@cache
def lens() -> Measurement:
    """4D-STEM with a probe-forming lens, 25 patterns of 24 x 24, true mismatch :data:`TRUTH`."""
    return simulate_patterns(LENS)[0]


@cache
def free() -> Measurement:
    """Far field, positions in object pixels, a probe in the file that is not quite right; true rotation 3 degrees."""
    random, n = np.random.default_rng(1), 24
    start = _focused(_disc(n, 6.0, 0.04)).astype(np.complex64)
    valid = np.ones((n, n), bool)
    valid[3, 5] = False
    blank = _blank(n, FarField(), _positions(1.2, random), "object pixel", start, valid)
    return _expose(blank, {"scan_rotation": 3.0}, _focused(_disc(n, 6.0, 0.05)), 1e5, random)


@cache
def near() -> Measurement:
    """Magnified near field, unknown illumination that fades before the edge; true focus to sample 4 mm."""
    random, n = np.random.default_rng(2), 24
    geometry = NearField(1.0, 1000.0, (50.0, 50.0), 4.0)
    pixel = 50e4 / 250  # angstrom: 50 um, 250 times magnified
    rows, columns = np.mgrid[:n, :n] - n // 2
    probe = np.exp(-((np.hypot(rows, columns) / 7) ** 4)) * np.exp(0.3j * smooth((n, n), 3.0, random))
    blank = _blank(n, geometry, _positions(1.5 * pixel, random), "angstrom", None, np.ones((n, n), bool))
    return _expose(blank, {}, probe, 1e5, random)


def _disc(n: int, radius: float, curvature: float) -> NDArray[np.complex128]:
    rows, columns = np.mgrid[:n, :n] - n // 2
    q = np.hypot(rows, columns)
    return np.clip(radius + 0.5 - q, 0, 1) * np.exp(1j * curvature * q**2)


def _focused(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """A centred spectrum -> the centred probe."""
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum), norm="ortho"))


def _positions(step: float, random: np.random.Generator) -> NDArray[np.float64]:
    points = (np.arange(SCAN) - (SCAN - 1) / 2) * step
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid + random.uniform(-0.3, 0.3, grid.shape) * step
    return grid - grid.mean(axis=0)


def _blank(n, geometry, positions, unit, probe, valid) -> Measurement:  # type: ignore[no-untyped-def]
    patterns = np.ones((len(positions), n, n), np.float32)
    return Measurement(patterns, positions, geometry, valid, True, "synthetic", unit, probe)


def _expose(
    blank: Measurement,
    values: Mapping[str, Value],
    probe: NDArray[np.complex128],
    counts: float,
    random: np.random.Generator,
) -> Measurement:
    """Patterns of a random object with ``counts`` expected in each, Poisson noise."""
    model = model_of(blank, values)
    everything = torch.arange(len(blank.patterns))
    expected = model.intensity(specimen(model.layout.object_shape, random), torch.as_tensor(probe), everything).numpy()
    if isinstance(blank.geometry, FarField):
        expected = np.fft.fftshift(expected, axes=(1, 2))
    expected = expected * (counts * len(expected) / expected.sum()) * blank.valid
    return replace(blank, patterns=random.poisson(expected).astype(np.float32))
