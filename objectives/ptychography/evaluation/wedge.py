"""How far a specimen's own wedge may have moved the centre of the patterns.

An object whose phase rises across the field of view deflects the beam at every position alike, as an error of the
centre does: no measurement tells one from the other. A reconstruction that starts from an empty object makes as small a
wedge as it can, so that the best centre is off by the wedge that the specimen has. How large that may be, the rest of
the phase tells. A structure without order over long distances has about as much phase at the lowest spatial frequency,
which makes a wedge, as at those slightly above.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from objectives.metrics.phase_plane import phase_plane
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.state import State

CENTRE = ("center_offset_y", "center_offset_x")
_CYCLES = 2.0
"""Cycles across the field of view of the phase that is measured: as few as a plane that was taken off leaves whole."""
_DIRECTIONS = 6
Floats = NDArray[np.float64]


def wedge_of_specimen(misfit: Misfit, state: State) -> dict[str, float]:
    """Name of a centre's coordinate -> standard deviation, in pixels, of the specimen's wedge.

    Args:
        misfit: the data and the model of the final state, in the far field.
        state: the final state; a wedge of several slices is that of their product.
    """
    model = misfit.model
    received = torch.zeros_like(state.transmission[0].real)
    for batch in misfit.batches(len(state.spectra), state.moved):
        wave = model.enter(state.spectra, batch)
        misfit.kernels.add_illumination(wave, torch.ones_like(batch.ramp_y[:, 0].real), batch.corners, received)
    field = state.transmission.prod(0).cpu().numpy().astype(np.complex128)
    slopes = wedge_deviations(field, received.cpu().numpy().astype(np.float64))
    # A phase of 2 pi across the window is one pixel of its spectrum, which is as large as one of the detector.
    pixels = [slope * n / (2 * math.pi) for slope, n in zip(slopes, model.layout.window, strict=True)]
    return dict(zip(CENTRE, pixels, strict=True))


def wedge_deviations(field: NDArray[np.complex128], weights: Floats) -> tuple[float, float]:
    """Standard deviations of the slopes (y, x) of a plane fitted to the phase of a random image, radians per pixel.

    What the fit gives with the phase moved in spatial frequency, by :data:`_CYCLES` across the field in several
    directions, has the variance that the fit has, where the spectrum of the phase is flat that far.

    Args:
        field: complex (rows, columns), zero nowhere that weights are not.
        weights: not negative, of the same shape: those of the fit.
    """
    phase: Floats = np.angle(field * np.exp(-1j * phase_plane(field, weights).of(field.shape)))
    seen = weights > 0
    where = np.argwhere(seen).astype(np.float64)
    w, of_seen = weights[seen] / weights[seen].sum(), phase[seen]
    where -= w @ where
    moments = where.T @ (w[:, None] * where)
    if np.linalg.matrix_rank(moments, hermitian=True) < 2:
        return 0.0, 0.0
    fit = np.linalg.solve(moments, (w[:, None] * where).T)
    length = math.sqrt(12 * math.sqrt(np.linalg.det(moments)))  # of a square with the same moments
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    turns = 2 * np.pi * _CYCLES / length * np.stack([np.sin(angles), np.cos(angles)])
    moved = fit @ (of_seen[:, None] * np.exp(1j * where @ turns))
    y, x = np.sqrt(np.square(np.abs(moved)).mean(axis=1)).tolist()
    return y, x
