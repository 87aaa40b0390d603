"""The engine ``model``: the forward model itself, with slices, tilt and incoherent probe modes.

A reconstruction with the true parameters can explain these data down to the noise, so they test solvers and the search.
Whether the model is right is tested with the other engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.model.forward import ForwardModel, Layout
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.scene import build_scene, detector_map
from objectives.ptychography.model.window import window_for_lens
from objectives.ptychography.simulation.direct import Specimen
from objectives.ptychography.simulation.instrument import (
    Experiment,
    Floats,
    draw_truth,
    position_errors,
    stated_positions,
)
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.solvers.modes import start_modes

_MARGIN = 4
_PIXELS_PER_BATCH = 1 << 16


def expected_patterns(settings: SimulationSettings, random: np.random.Generator) -> Experiment:
    """Draw a truth and a specimen of ``settings.slices`` monolayers; compute the patterns expected without noise."""
    truth = {"tilt_y": 0.0, "tilt_x": 0.0} | draw_truth(settings, random)
    measurement = _empty(settings)
    held = {name: torch.tensor(value, dtype=torch.float64) for name, value in truth.items()}
    # The patterns are fractions of the beam here; the background is added with the counts.
    held |= {"background": torch.zeros((), dtype=torch.float64), "pixel_fill": torch.ones((), dtype=torch.float64)}
    radius = settings.semi_convergence_mrad / settings.angular_sampling_mrad
    detector_shape = (settings.detector_pixels, settings.detector_pixels)
    window = window_for_lens(detector_shape, (radius, radius))
    scene = build_scene(measurement, held, settings.slices, window)
    errors = torch.as_tensor(position_errors(settings))
    scene = replace(scene, positions=scene.positions + detector_map(held).object_pixels(errors, scene.pixel))
    if scene.spectrum is None:
        raise ValueError("a simulated measurement has a lens")  # _empty gives it one
    layout = Layout.of(scene.positions, detector_shape, _MARGIN, window)
    first = scene.positions.round().amin(0).numpy() - np.array(window) // 2 - _MARGIN
    y, x = _places(first, layout.object_shape, scene.pixel.numpy(), held)
    half_width = float(max(np.abs(y).max(), np.abs(x).max()) + 2)
    slices = [_transmission(Specimen.monolayer(half_width, random), y, x) for _ in range(settings.slices)]
    model = ForwardModel(scene, layout, kernels_for(torch.device("cpu")))
    transmission = torch.as_tensor(np.stack(slices))
    spectra = start_modes(scene.spectrum, settings.probe_modes).contiguous()
    patterns = [model.intensity(transmission, spectra, batch) for batch in model.batches(_PIXELS_PER_BATCH)]
    source = f"simulated 4D-STEM of {settings.slices} slices with vacancies, by the reconstruction's own forward model"
    return Experiment(torch.cat(patterns).numpy(), stated_positions(settings), truth, source)


def _empty(settings: SimulationSettings) -> Measurement:
    """The measurement as stated, without any counts."""
    positions, n = stated_positions(settings), settings.detector_pixels
    sampling = (settings.angular_sampling_mrad, settings.angular_sampling_mrad)
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    geometry = FarField(wavelength, sampling, settings.semi_convergence_mrad)
    patterns = np.broadcast_to(np.zeros((), np.float32), (len(positions), n, n))
    return Measurement(patterns, positions, geometry, np.ones((n, n), bool), True, "empty")


def _places(
    first: Floats, shape: tuple[int, int], pixel: Floats, held: Mapping[str, torch.Tensor]
) -> tuple[Floats, Floats]:
    """Positions (y, x) of the object's pixels in angstrom, (rows, columns) each, on the detector's affine grid."""
    axes = [start + np.arange(size) for start, size in zip(first, shape, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ detector_map(held).matrix.numpy() * pixel
    return grid[..., 0], grid[..., 1]


def _transmission(specimen: Specimen, y: Floats, x: Floats) -> NDArray[np.complex128]:
    """exp(i phase) at any points, y and x of one shape."""
    return np.exp(1j * specimen.phase(y, x))
