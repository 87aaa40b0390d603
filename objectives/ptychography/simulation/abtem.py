"""The engine ``abtem``: multislice through atoms by abTEM (Madsen and Susi, Open Res. Europe 1 (2021) 24).

abTEM makes the potential of the whole scanned area, the probe and the exit waves, each in a window of the potential
around its scan position; :mod:`objectives.ptychography.simulation.instrument` applies the detector's mismatch to the
fine patterns.

Signs. abTEM's arrays are [x, y]; they are transposed here. Its C10 is -defocus, and phi12 turns from +x towards +y. Its
tilt is that of the beam, in the propagator alone, where a beam tilted by -t passes as through a specimen tilted by t.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from objectives.ptychography.simulation.crystals import Block, cut_block, library, specimen_name
from objectives.ptychography.simulation.instrument import (
    Detector,
    Experiment,
    Floats,
    actual_positions,
    draw_truth,
    stated_positions,
)
from objectives.ptychography.simulation.settings import SimulationSettings

_OVERSAMPLING = 2
_BAND_LIMIT = 2 / 3
"""abTEM keeps the waves below this fraction of the grid's highest frequency."""
_BEYOND_DETECTOR = 2.0
"""Band limit over the frequency of the detector's corner: thick crystals scatter much beyond the corner and back.

Against 3, patterns of SrTiO3 with its atoms at rest (80 keV, corner at 48 mrad) differ by 3 % in relative L2 at 60
angstrom and by 2 % at 20, those of a WS2 layer by 0.3 %; with 1.5 it would be 10, 5 and 0.6 %, at half the time.
"""
_FINER_POTENTIAL = 2
"""abTEM puts atoms between grid points by linear interpolation, which blurs high frequencies: done on a finer grid."""
_WAVES_AT_ONCE = 16
_BLOCKS_PER_WINDOW = 16
"""A window has so many blocks along a side: scan positions in one block share a cut-out of the potential, off its
middle by half a block at most."""


def expected_patterns(settings: SimulationSettings, random: np.random.Generator) -> Experiment:
    """Draw a truth and a specimen, and compute the patterns expected without noise."""
    abtem = library("abtem")
    specimen = settings.specimen
    if specimen is None:
        raise ValueError("the engine abtem needs a specimen")  # the settings require one
    truth = draw_truth(settings, random)
    stated = stated_positions(settings)
    positions = actual_positions(settings, truth)
    detector = Detector.of(settings, truth, _OVERSAMPLING)
    gpts = _window_points(detector)
    pixel = detector.window / gpts
    # Every window lies inside the block, with one block of positions to spare.
    reach = 2 * float(np.abs(positions).max()) + detector.window * (1 + 2 / _BLOCKS_PER_WINDOW)
    block = cut_block(specimen, truth.get("thickness"), fft.next_fast_len(int(np.ceil(reach / pixel))) * pixel)
    truth["thickness"] = block.height
    block = block.without(specimen.vacancies, random)
    expected = np.zeros((len(positions), detector.pixels, detector.pixels))
    configurations = max(1, specimen.frozen_phonons)
    with abtem.config.set(
        {
            "device": "cpu",
            "precision": "float32",
            "fft": "fftw",
            # By default FFTW chooses its plans by timing, so that the last digits would vary.
            "fftw.planning_effort": "FFTW_ESTIMATE",
            "fftw.threads": 1,
            "dask.lazy": False,
            "diagnostics.progress_bar": False,
        }
    ):
        probe = _probe(settings, truth, detector.window, gpts)
        for _ in range(configurations):
            atoms = block.vibrating(specimen.vibration_angstrom, random) if specimen.frozen_phonons else block
            potential = _potential(atoms, pixel, specimen.slice_thickness_angstrom)
            for batch, fine in _fine_patterns(probe, potential, positions + block.width / 2, pixel):
                expected[batch] += [detector.record(pattern) / configurations for pattern in fine]
    source = f"4D-STEM of {specimen_name(specimen)}, simulated by abTEM {abtem.__version__}"
    return Experiment(expected, stated, truth, source)


def _window_points(detector: Detector) -> int:
    """Number of points along the window, for which abTEM's band reaches beyond all that the detector sees."""
    highest = float(np.hypot(*detector.looks).max()) * detector.frequency * _BEYOND_DETECTOR
    return int(fft.next_fast_len(int(np.ceil(detector.window * 2 * highest / _BAND_LIMIT))))


def _probe(settings: SimulationSettings, truth: dict[str, float], window: float, gpts: int) -> Any:
    """abTEM's probe with the true aberrations; lengths in angstrom, angles in rad but for abTEM's mrad of angles."""
    sampling = settings.angular_sampling_mrad / _OVERSAMPLING
    return library("abtem").Probe(
        # abTEM lets the amplitude fall linearly over one pixel, so the open disk is 1/6 pixel smaller than stated.
        semiangle_cutoff=truth["convergence_angle"] + sampling / 6,
        extent=window,
        gpts=gpts,
        energy=1e3 * settings.energy_kev,
        tilt=(-truth["tilt_x"], -truth["tilt_y"]),
        aberrations={
            "C10": -truth["defocus"],
            "C12": truth["astigmatism"],
            "phi12": np.deg2rad(truth["astigmatism_angle"]),
            "C30": 1e4 * truth["spherical_aberration"],
        },
    )


def _potential(block: Block, pixel: float, slice_thickness: float) -> Any:
    """abTEM's potential of the block, (slice, x, y), in equal slices; every atom is projected into its slice."""
    slices = max(1, round(block.height / slice_thickness))
    atoms = library("ase").Atoms(
        block.numbers, positions=block.positions, cell=[block.width, block.width, block.height], pbc=True
    )
    gpts, thicknesses = round(block.width / pixel), (block.height / slices,) * slices
    fine = library("abtem").Potential(atoms, gpts=gpts * _FINER_POTENTIAL, slice_thickness=thicknesses)
    array = np.stack([_coarser(layer.array[0], gpts) for layer in fine.generate_slices()])
    return library("abtem").PotentialArray(array, thicknesses, extent=block.width)


def _coarser(fine: NDArray[np.float32], gpts: int) -> NDArray[np.float32]:
    """The frequencies of a square periodic array that a grid of ``gpts`` points holds, on that grid."""
    kept = np.r_[0 : (gpts + 1) // 2, len(fine) - gpts // 2 : len(fine)]
    spectrum = fft.fft2(fine)[kept[:, None], kept]
    coarse: NDArray[np.float32] = fft.ifft2(spectrum).real * np.float32((gpts / len(fine)) ** 2)
    return coarse


def _fine_patterns(
    probe: Any, potential: Any, positions: Floats, pixel: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Indices of scan positions, and their fine intensities (batch, y, x) of unit total behind ``potential``.

    Args:
        probe: abTEM's probe in its window.
        potential: abTEM's potential of the whole scanned area.
        positions: (position, 2) as (y, x) in angstrom from the potential's corner.
        pixel: angstrom.
    """
    abtem, gpts = library("abtem"), probe.gpts[0]
    height = probe.extent[0] / _BLOCKS_PER_WINDOW
    cells, members = np.unique(np.floor(positions / height).astype(int), axis=0, return_inverse=True)
    for cell, middle in enumerate((cells + 0.5) * height):
        corner = np.round(middle / pixel).astype(int) - gpts // 2
        rows, columns = (slice(first, first + gpts) for first in corner)
        window = abtem.PotentialArray(
            np.ascontiguousarray(potential.array[:, columns, rows]), potential.slice_thickness, extent=probe.extent
        )
        batch = np.flatnonzero(members.ravel() == cell)
        for part in np.array_split(batch, -(-len(batch) // _WAVES_AT_ONCE)):
            scan = abtem.CustomScan((positions[part] - corner * pixel)[:, ::-1])
            waves = probe.multislice(window, scan=scan, lazy=False).array
            intensity = np.abs(np.fft.fftshift(np.fft.fft2(waves), axes=(1, 2))) ** 2
            yield part, intensity.swapaxes(1, 2)
