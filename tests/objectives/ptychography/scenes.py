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
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.forward import ForwardModel, Layout, spectrum_of
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.kernels.protocol import Kernels
from objectives.ptychography.model.misfit import Data, Misfit
from objectives.ptychography.model.scene import Scene, build_scene
from objectives.ptychography.model.window import window_shape
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.parameters.instrument import parameters_of
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns

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
    """Mismatch parameters that have a value as float64 scalar tensors, defaults where ``values`` says nothing."""
    complete = all_values(measurement, values)
    names = [p.name for p in parameters_of(measurement) if p.kind == "mismatch" and p.name in complete]
    return {name: torch.tensor(float(complete[name]), dtype=torch.float64) for name in names}


def scene_of(measurement: Measurement, values: Mapping[str, Value], slices: int = 1) -> Scene:
    """The scene at ``values``."""
    return build_scene(measurement, scalars(measurement, values), slices, window_of(measurement, values))


def window_of(measurement: Measurement, values: Mapping[str, Value]) -> tuple[int, int]:
    """The window that a reconstruction at ``values`` has."""
    return window_shape(measurement.valid.shape, float(all_values(measurement, values).get("window_padding", 1.0)))


def model_of(
    measurement: Measurement,
    values: Mapping[str, Value],
    slices: int = 1,
    kernels: Kernels | None = None,
    margin: int = 2,
) -> ForwardModel:
    """The forward model at ``values``, with the processor's kernels where none are given."""
    scene = scene_of(measurement, values, slices)
    layout = Layout.of(scene.positions, measurement.valid.shape, margin, window_of(measurement, values))
    return ForwardModel(scene, layout, kernels or kernels_for(torch.device("cpu")))


def misfit_of(model: ForwardModel, patterns: Tensor, valid: Tensor, machine: Machine = CPU) -> Misfit:
    """The model beside ``patterns``."""
    return Misfit(model, Data(patterns, valid[None], machine))


def smooth(shape: tuple[int, int], width: float, random: np.random.Generator) -> NDArray[np.float64]:
    """A random field of unit variance, correlated over ``width`` pixels."""
    k2 = sum(np.meshgrid(*[np.fft.fftfreq(n) ** 2 for n in shape], indexing="ij"))
    field = np.fft.ifft2(np.fft.fft2(random.normal(size=shape)) * np.exp(-2 * (np.pi * width) ** 2 * k2)).real
    return field / field.std()


def specimen(shape: tuple[int, int], random: np.random.Generator, slices: int = 1, phase: float = 0.6) -> Tensor:
    """Random transmission functions (slice, rows, columns), complex128."""
    parts = [
        (1 - 0.1 * (smooth(shape, 2.0, random) > 0)) * np.exp(1j * phase * smooth(shape, 1.5, random))
        for _ in range(slices)
    ]
    return torch.as_tensor(np.stack(parts))


def random_modes(shape: tuple[int, int], random: np.random.Generator, modes: int = 1) -> Tensor:
    """Spectra (mode, det_y, det_x) of random smooth probes, complex128."""
    return spectrum_of(
        torch.as_tensor(np.stack([smooth(shape, 1.5, random) + 1j * smooth(shape, 1.5, random) for _ in range(modes)]))
    )


@cache
def lens() -> Measurement:
    """4D-STEM with a probe-forming lens, 25 patterns of 24 x 24, true mismatch :data:`TRUTH`."""
    return simulate_patterns(LENS)[0]


@cache
def blurred() -> Measurement:
    """As :func:`lens`, seen by a detector with a blur."""
    truth = {**TRUTH, "detector_blur": 0.5}
    return simulate_patterns(LENS.model_copy(update={"mismatch": truth}))[0]


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


THICK_TRUTH = {"defocus": 120.0, "thickness": 90.0, "tilt_y": 4.0, "tilt_x": -3.0, "scan_rotation": 2.0}


@cache
def thick() -> Measurement:
    """4D-STEM of a random object of three slices with a lens of 24 mrad at 80 kV; true mismatch THICK_TRUTH."""
    return expose_thick(THICK_TRUTH, np.random.default_rng(4), SCAN, 1.1)


def expose_thick(
    values: Mapping[str, Value],
    random: np.random.Generator,
    scan: int,
    step: float,
    clear_at: Mapping[str, Value] | None = None,
) -> Measurement:
    """Patterns of 24 x 24 of a random object of three slices, at mismatch ``values``, scan step in angstrom.

    Where the reconstruction is done at ``clear_at``, no position is within 0.05 pixels of being rounded differently.
    """
    n = 24
    geometry = FarField(0.0418, (2.6, 2.6), 24.0, scan_rotation_degree=0.0)
    blank = _blank(n, geometry, _positions(step, random, scan), "angstrom", None, np.ones((n, n), bool))
    while clear_at is not None:
        there = scene_of(blank, clear_at).positions.numpy()
        near_half = np.abs(there - np.rint(there)).max(axis=1) > 0.45
        if not near_half.any():
            break
        moved = random.uniform(-0.1, 0.1, blank.positions.shape) * near_half[:, None]
        blank = replace(blank, positions=blank.positions + moved)
    return _expose(blank, values, None, 1e6, random, slices=3)


@cache
def mixed() -> Measurement:
    """Far field of a lens whose source is broad: modes of 70 and 30 % of the counts; the file holds the first."""
    random, n = np.random.default_rng(7), 24
    start = _focused(_disc(n, 6.0, 0.05))
    rows = np.mgrid[:n, :n][0] - n // 2
    second = start * rows
    second *= np.sqrt(0.3 / 0.7) * np.linalg.norm(start) / np.linalg.norm(second)
    blank = _blank(
        n, FarField(), _positions(1.2, random), "object pixel", start.astype(np.complex64), np.ones((n, n), bool)
    )
    return _expose(blank, {}, np.stack([start, second]), 1e6, random)


@cache
def jittered() -> tuple[Measurement, NDArray[np.float64]]:
    """Far field whose stated positions are wrong by 0.3 pixels rms, and the displacements that would mend them."""
    random, n = np.random.default_rng(8), 24
    probe = _focused(_disc(n, 6.0, 0.05))
    blank = _blank(
        n, FarField(), _positions(1.6, random, 7), "object pixel", probe.astype(np.complex64), np.ones((n, n), bool)
    )
    exact = _expose(blank, {}, probe, 1e6, random)
    stated = exact.positions + random.normal(scale=0.3, size=exact.positions.shape)
    return replace(exact, positions=stated - stated.mean(axis=0)), exact.positions - stated


def _disc(n: int, radius: float, curvature: float) -> NDArray[np.complex128]:
    rows, columns = np.mgrid[:n, :n] - n // 2
    q = np.hypot(rows, columns)
    return np.clip(radius + 0.5 - q, 0, 1) * np.exp(1j * curvature * q**2)


def _focused(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """A centred spectrum -> the centred probe."""
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum), norm="ortho"))


def _positions(step: float, random: np.random.Generator, scan: int = SCAN) -> NDArray[np.float64]:
    points = (np.arange(scan) - (scan - 1) / 2) * step
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid + random.uniform(-0.3, 0.3, grid.shape) * step
    return grid - grid.mean(axis=0)


def _blank(n, geometry, positions, unit, probe, valid) -> Measurement:  # type: ignore[no-untyped-def]
    patterns = np.ones((len(positions), n, n), np.float32)
    return Measurement(patterns, positions, geometry, valid, True, "synthetic", unit, probe)


def _expose(
    blank: Measurement,
    values: Mapping[str, Value],
    probe: NDArray[np.complex128] | None,
    counts: float,
    random: np.random.Generator,
    slices: int = 1,
) -> Measurement:
    """Patterns of a random object with ``counts`` expected in each, Poisson noise; by default the lens's probe."""
    model = model_of(blank, values, slices)
    spectra = model.scene.spectrum if probe is None else spectrum_of(torch.as_tensor(probe))
    assert spectra is not None
    spectra = spectra if spectra.ndim == 3 else spectra[None]
    transmission = specimen(model.layout.object_shape, random, slices, 0.6 / np.sqrt(slices))
    expected = model.intensity(
        transmission, spectra.contiguous(), model.batch(torch.arange(len(blank.patterns)))
    ).numpy()
    expected = expected * (counts * len(expected) / expected.sum()) * blank.valid
    return replace(blank, patterns=random.poisson(expected).astype(np.float32))
