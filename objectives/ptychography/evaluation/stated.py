"""Judge a reconstruction that another program made, by the metrics and the forward model that judge our own.

What it says of itself is not used: object, probe and positions go through the forward model of thin or thick specimens
in the far field, without a response of the detector's pixels, which other programs do not model. Programs scale a probe
in many ways, so that its intensity is fitted: one number for all patterns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.evaluation.gradient import frozen_metrics
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.forward import Batch, ForwardModel, Layout, spectrum_of
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.misfit import Data, Misfit
from objectives.ptychography.model.scene import Scene, slice_propagator
from objectives.ptychography.solvers.state import State


@dataclass(frozen=True)
class Stated:
    """A reconstruction from elsewhere.

    Attributes:
        object: (slice, y, x) complex transmission of each slice.
        probe: (mode, y, x) complex, centred at (N//2, N//2), at least as large as a pattern.
        positions: (position, 2), (y, x) of the object's pixel under the probe's middle, not rounded.
        slice_thickness: angstrom, from one slice to the next; None for one slice.
    """

    object: NDArray[np.complex128]
    probe: NDArray[np.complex128]
    positions: NDArray[np.float64]
    slice_thickness: float | None = None


@dataclass(frozen=True)
class Judged:
    """What a reconstruction is worth.

    Attributes:
        metrics: ``consistency`` and ``amplitude_consistency``.
        probe: (mode, y, x), the probe with its fitted scale, in roots of counts.
        measured, modelled: (det_y, det_x) one pattern, in the middle of the scan, in counts.
    """

    metrics: dict[str, float]
    probe: NDArray[np.complex64]
    measured: NDArray[np.float32]
    modelled: NDArray[np.float32]


def judge(measurement: Measurement, machine: Machine, stated: Stated) -> Judged:
    """Compare what a reconstruction predicts with the measured counts.

    Raises:
        ValueError: the arrays do not fit each other or the measurement; the text says what would.
    """
    corners = _checked(measurement, stated)
    stated = _scaled(stated)
    with machine.threads_set(), torch.no_grad():
        misfit, state = _model(measurement, machine, stated, corners)
        product = square = 0.0
        for batch in misfit.batches(len(state.spectra)):
            expected, measured = _compared(misfit, state, batch)
            product += float((expected * measured).sum(dtype=torch.float64))
            square += float(expected.square().sum(dtype=torch.float64))
        if not (math.isfinite(product) and 0 < square < math.inf):
            raise ValueError("they predict no counts, or not finite ones")
        scale = math.sqrt(max(product, 0.0) / square)
        state = replace(state, spectra=state.spectra * scale)
        middle = torch.tensor([len(corners) // 2], device=machine.device)
        modelled, seen = (
            part[0].float().cpu().numpy() for part in _compared(misfit, state, misfit.model.batch(middle))
        )
        return Judged(frozen_metrics(misfit, state), (stated.probe * scale).astype(np.complex64), seen, modelled)


def _scaled(stated: Stated) -> Stated:
    """The same in double precision and this machine's order of bytes, with a probe of unit power: any scale fits."""
    probe = stated.probe.astype(np.complex128)
    largest = float(np.abs(probe).max())
    probe = probe / largest if largest > 0 else probe
    power = float(np.square(np.abs(probe)).sum())
    probe = probe / math.sqrt(power) if power > 0 else probe
    return replace(stated, object=stated.object.astype(np.complex128), probe=probe)


def _compared(misfit: Misfit, state: State, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Expected and measured counts (b, det_y, det_x) of some patterns, 0 where they are not compared."""
    data = misfit.data
    valid = data.valid[data.mask_of[batch.indices]]
    expected = misfit.model.intensity(state.transmission, state.spectra, batch)
    return expected * valid, data.patterns[batch.indices] * valid


def _checked(measurement: Measurement, stated: Stated) -> NDArray[np.int64]:
    """Upper left corner (position, 2) of each patch."""
    count, *detector = measurement.patterns.shape
    if not isinstance(measurement.geometry, FarField):
        raise ValueError("the measurement is one of the near field; reconstructions of the far field are compared")
    shapes: list[tuple[str, Any, str]] = [
        ("object", stated.object, "(slice, y, x)"),
        ("probe", stated.probe, "(mode, y, x)"),
    ]
    for name, array, axes in shapes:
        if array.ndim != 3 or 0 in array.shape or not np.iscomplexobj(array):
            raise ValueError(f"the {name} is {array.dtype} of shape {array.shape}; it must be complex {axes}")
    if stated.positions.shape != (count, 2):
        raise ValueError(f"the positions have shape {stated.positions.shape}; {count} patterns need ({count}, 2)")
    if not all(np.isfinite(array).all() for array in (stated.object, stated.probe, stated.positions)):
        raise ValueError("a value of the object, the probe or the positions is not finite")
    window = np.array(stated.probe.shape[1:])
    if (window < detector).any():
        raise ValueError(f"the probe has {window[0]} x {window[1]} pixels, a pattern {detector[0]} x {detector[1]}")
    if (len(stated.object) > 1) != (stated.slice_thickness is not None):
        raise ValueError(f"the object has {len(stated.object)} slices: state their thickness if there are several only")
    corners: NDArray[np.int64] = np.round(stated.positions).astype(np.int64) - window // 2
    inside = (corners >= 0).all(1) & (corners + window <= stated.object.shape[1:]).all(1)
    if not inside.all():
        worst = int(np.flatnonzero(~inside)[0])
        y, x = stated.positions[worst]
        raise ValueError(
            f"at position {worst}, (y, x) = ({y:.4g}, {x:.4g}), a probe of {window[0]} x {window[1]} pixels leaves the "
            f"object of {stated.object.shape[1]} x {stated.object.shape[2]}: positions are pixels of the object, where "
            "the probe's middle is"
        )
    return corners


def _model(
    measurement: Measurement, machine: Machine, stated: Stated, corners: NDArray[np.int64]
) -> tuple[Misfit, State]:
    """The forward model in which the reconstruction is a state, and the data."""
    window: tuple[int, int] = stated.probe.shape[1:]
    centres = torch.as_tensor(stated.positions, dtype=machine.real, device=machine.device)
    positions = centres - centres.new_tensor([n // 2 for n in window])
    between = None
    if stated.slice_thickness is not None and isinstance(measurement.geometry, FarField):
        between = slice_propagator(measurement.geometry, window, centres.new_tensor(stated.slice_thickness))
    zero = centres.new_zeros(())
    scene = Scene(positions, centres.new_ones(2), zero, zero, 0.0, slice_propagator=between)
    on_grid = torch.as_tensor(corners, device=machine.device)
    shape: tuple[int, int] = stated.object.shape[1:]
    detector: tuple[int, int] = measurement.patterns.shape[1:]
    layout = Layout(on_grid, shape, window, detector, torch.zeros(2, dtype=torch.int64, device=machine.device))
    data = Data(torch.from_numpy(measurement.patterns), torch.from_numpy(measurement.valid)[None], machine)
    transmission = torch.as_tensor(stated.object, dtype=machine.complex, device=machine.device).contiguous()
    probe = torch.as_tensor(stated.probe, dtype=machine.complex, device=machine.device)
    state = State(transmission, spectrum_of(probe).contiguous(), torch.zeros_like(positions))
    return Misfit(ForwardModel(scene, layout, kernels_for(machine.device)), data), state
