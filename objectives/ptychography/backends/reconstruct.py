"""Reconstruct with a package: from our model and start to its job, and from the arrays that it leaves to our state.

Everything that the mismatch parameters do is in the probe and the positions on our grid of object pixels, which a
centre or an ellipse of the detector makes oblique. So a parameter means the same whatever reconstructs, and what the
package does not know of, it need not know. Between slices it propagates by itself, on square pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autotune.objective import InputError, Parameter, Problem, Value
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.exposed import Exposed
from objectives.ptychography.backends.native import NativeOption
from objectives.ptychography.backends.process import Array, BackendFailed, BackendProcess, Progressed
from objectives.ptychography.model.forward import field_of, positions_in_object, spectrum_of
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import Report, State

LOSS = "backend_loss"
"""Metric: the package's own loss after its last iteration."""
DIFFERENCE = "model_difference"
"""Metric: how far its own forward model is from ours, ||difference|| / ||ours|| for patterns of its final state."""
_SEEN_ALIKE = 1e-3
"""Difference from which the package sees something else than we do."""
_CHECKED = 64
"""Patterns for which its own model is asked for, spread over the scan."""


@dataclass(frozen=True)
class Bound:
    """A package that a study reconstructs with.

    Attributes:
        backend: what is known of it.
        process: its process.
        options: its native options, dotted name -> value.
        exposed: the parameters of the measurement with it.
        native: its native options that are parameters of the study.
        files: whether it makes files of its own for every trial.
    """

    backend: Backend
    process: BackendProcess
    options: Mapping[str, Any]
    exposed: Exposed
    native: Sequence[NativeOption] = ()
    files: bool = True

    @property
    def hash(self) -> str:
        """Of what decides a reconstruction beside measurement and parameters."""
        by_name = {native.parameter.name: native.option for native in self.native}
        return json.dumps([self.backend.name, dict(self.options), *([by_name] if by_name else [])], sort_keys=True)

    def at(self, measurement: Measurement, values: Mapping[str, Value]) -> Foreign:
        """The package at one set of values of all parameters, for a measurement of any fidelity."""
        geometry, slices = measurement.geometry, int(values.get("slices", 1))
        assert isinstance(geometry, FarField)  # noqa: S101 see expose()
        pixel = geometry.object_pixel_angstrom(measurement.valid.shape)
        magnified = 1 + float(values.get("camera_length", 0.0)) / 100
        return Foreign(
            self.process,
            {p.name: values[p.name] for p in self.backend.parameters if p.name in values},
            {**self.options, **self._stated(values)},
            None if pixel is None else (pixel[0] * magnified, pixel[1] * magnified),
            geometry.wavelength_angstrom,
            float(values["thickness"]) / slices if slices > 1 else None,
        )

    def _stated(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The native options that are parameters, by their dotted names."""
        return {
            native.option: native.given(values[native.parameter.name])
            for native in self.native
            if native.parameter.name in values
        }

    def parameters(self, values: Mapping[str, Value], metric: str) -> Sequence[Parameter]:
        """All parameters of our model; differentiable only where the package minimises the metric.

        Elsewhere the derivative at its final state is not that of what is tuned (measured: off by 30 % and more). What
        native options do to its loss is not known here.
        """
        free_of_options = not self.options and not self.native
        if metric and free_of_options and self.backend.minimises(values) == metric:
            return self.exposed.ours
        return [replace(parameter, differentiable=False) for parameter in self.exposed.ours]


@dataclass(frozen=True)
class Foreign:
    """A package at one set of values.

    Attributes:
        process: its process.
        values: its own parameters.
        options: its native options, dotted name -> value.
        pixel: (y, x) of an object's pixel in angstrom; None where lengths are not known.
        wavelength: angstrom; None where it is not known.
        slice_thickness: angstrom; None for one slice.
    """

    process: BackendProcess
    values: Mapping[str, Value]
    options: Mapping[str, Any]
    pixel: tuple[float, float] | None
    wavelength: float | None
    slice_thickness: float | None = None

    @property
    def told(self) -> dict[str, str]:
        """What it is, once it runs: its name, and the versions of its packages."""
        versions = ", ".join(f"{name} {version}" for name, version in self.process.versions.items())
        return {"backend": self.process.name, "backend_versions": versions}

    def solve(
        self, misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int, *, files: bool = False
    ) -> State:
        """Reconstruct; see :class:`objectives.ptychography.solvers.table.Solve`.

        With ``files``, the package makes files of its own of the final state.

        Raises:
            InputError: the package cannot withhold what is withheld.
            BackendFailed: it has failed, or its arrays do not fit.
        """
        rows = misfit.data.seen.cpu().numpy()
        sent = positions_in_object(misfit.model)
        checked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _CHECKED)).astype(np.int64))
        found = state

        def progressed(at: Progressed) -> bool:
            nonlocal found
            squared = found.squared_residuals
            found = _state(misfit, state, at, sent, rows, self.process.name)
            if math.isfinite(at.loss):
                found.more[LOSS] = at.loss
            with torch.no_grad():
                _, residual = misfit.over_all(found.transmission, found.spectra, found.moved, "intensity")
            found.squared_residuals = [*squared, residual]
            found.stopped = not report(at.iteration, residual)
            return not found.stopped

        ended = self.process.reconstruct(
            misfit.data.patterns,
            {
                "rows": rows,
                "valid": _mask(misfit),
                "probe": field_of(state.spectra).cpu().numpy().astype(np.complex64),
                "positions": sent[rows],
            },
            self._job(misfit, state, options, seed, checked),
            progressed,
            files=files,
        )
        if len(found.squared_residuals) < options.iterations and not found.stopped:
            done = len(found.squared_residuals)
            raise BackendFailed(Problem(self.process.name, f"ended after {done} of {options.iterations} iterations"))
        found.files = ended.files
        found.remarks.extend(ended.remarks)
        if ended.lost:
            why = " ".join(ended.lost.split()).rstrip(".")
            found.remarks.append(f"{self.process.name} could not keep files of its own: {why}.")
        if ended.own is not None:
            self._compare(misfit, found, rows[checked], ended.own)
        return found

    def _compare(self, misfit: Misfit, found: State, rows: NDArray[np.int64], own: Array) -> None:
        """Put into the state how far the package's own model is from ours."""
        found.more[DIFFERENCE] = apart = _difference(misfit, found, rows, own, self.process.name)
        if apart > _SEEN_ALIKE:
            found.remarks.append(
                f"The forward model of {self.process.name} differs from this project's by {100 * apart:.2g} % at the "
                f"end ({DIFFERENCE}): it has optimised something else than what the metrics judge."
            )

    def _job(
        self, misfit: Misfit, state: State, options: SolverOptions, seed: int, checked: NDArray[np.int64]
    ) -> dict[str, Any]:
        """What the adapter is told beside arrays."""
        return {
            "object_shape": misfit.model.layout.object_shape,
            "pixel": self.pixel,
            "wavelength": self.wavelength,
            "slices": len(state.transmission),
            "slice_thickness": self.slice_thickness,
            "iterations": options.iterations,
            "refine_probe": options.refine_probe,
            "probe_start": options.probe_start,
            "seed": seed,
            "device": misfit.data.machine.device.type,
            "threads": self.process.threads,
            "values": dict(self.values),
            "options": dict(self.options),
            "checked": checked.tolist(),
        }


def _mask(misfit: Misfit) -> NDArray[np.bool_]:
    """The pixels (y, x) that are compared in every pattern that is seen.

    Raises:
        InputError: other ones in other patterns.
    """
    data = misfit.data
    masks: Tensor = data.valid[data.mask_of[data.seen].unique()]
    if len(masks) != 1:
        what = "withholds other pixels of other patterns, and a backend takes one mask for all"
        raise InputError(Problem("objective.held_out.of", what, "withhold whole patterns: of: patterns"))
    found: NDArray[np.bool_] = (masks[0] > 0).cpu().numpy()
    return found


def _state(misfit: Misfit, start: State, at: Progressed, sent: Array, rows: NDArray[np.int64], name: str) -> State:
    """The package's arrays as a state of our model.

    Raises:
        BackendFailed: they do not fit.
    """
    whole = at.object[None] if at.object.ndim == 2 else at.object
    modes = at.probe[None] if at.probe.ndim == 2 else at.probe
    wrong = [
        f"{name} of shape {array.shape}, not ({', '.join(map(str, shape))})"
        for name, array, shape in (
            ("an object", whole, (len(start.transmission), "rows", "columns")),
            ("a probe", modes, ("modes", *start.spectra.shape[-2:])),
            ("positions", at.positions, (len(rows), 2)),
        )
        if array.ndim != len(shape)
        or any(n != m for n, m in zip(array.shape, shape, strict=True) if isinstance(m, int))
    ]
    if wrong:
        raise BackendFailed(Problem(name, f"has left {', '.join(wrong)}"))
    apart = at.positions.astype(np.float64) - sent[rows]
    if not np.isfinite(apart).all():
        raise BackendFailed(Problem(name, "has left positions that are not finite"))
    shift = np.round(apart.mean(axis=0)).astype(int)
    moved = np.tile(apart.mean(axis=0) - shift, (len(sent), 1))  # its grid may be a fraction of a pixel off ours
    moved[rows] = apart - shift
    transmission = torch.ones_like(start.transmission)
    _paste(transmission, torch.from_numpy(whole.astype(np.complex64)).to(transmission), shift.tolist(), name)
    spectra = spectrum_of(torch.from_numpy(modes.astype(np.complex64)).to(start.spectra)).contiguous()
    return replace(start, transmission=transmission, spectra=spectra, moved=torch.from_numpy(moved).to(start.moved),
                   squared_residuals=[], more={})  # fmt: skip


def _paste(into: Tensor, whole: Tensor, shift: list[int], name: str) -> None:
    """Copy the part of an object that ours covers; pixel p of ours is p + shift of it."""
    ends = [(max(0, -s), min(m, n - s)) for s, m, n in zip(shift, into.shape[1:], whole.shape[1:], strict=True)]
    (top, bottom), (left, right) = ends
    if bottom <= top or right <= left:
        raise BackendFailed(Problem(name, "has left positions outside its object"))
    dy, dx = shift
    into[:, top:bottom, left:right] = whole[:, top + dy : bottom + dy, left + dx : right + dx]


def _difference(misfit: Misfit, state: State, rows: NDArray[np.int64], own: Array, name: str) -> float:
    """How far the package's own model is from ours: ||own - ours|| / ||ours|| on the pixels that are compared."""
    shape = (len(rows), *misfit.model.layout.detector_shape)
    if own.shape != shape:
        raise BackendFailed(Problem(name, f"has left patterns of its own model of shape {own.shape}, not {shape}"))
    with torch.no_grad():
        indices = torch.from_numpy(rows).to(misfit.data.machine.device)
        batch = misfit.model.batch(indices, state.moved)
        ours = misfit.model.intensity(state.transmission, state.spectra, batch)
    valid = misfit.data.valid[misfit.data.mask_of[indices]]
    theirs = torch.from_numpy(own).to(ours)
    apart = float(((theirs - ours) * valid).square().sum(dtype=torch.float64))
    return math.sqrt(apart / float((ours * valid).square().sum(dtype=torch.float64)))
