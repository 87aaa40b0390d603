"""One reconstruction: the data of one fidelity, the model at one set of parameter values, and the evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autotune.objective import Evaluation, Parameter, Status, Value
from objectives.diffraction.data.measurement import FarField, NearField
from objectives.metrics.images import phase_skewness
from objectives.ptychography.backends.reconstruct import Foreign
from objectives.ptychography.evaluation.data_share import Level
from objectives.ptychography.evaluation.gradient import Frozen, frozen_gradient, frozen_metrics, frozen_pass
from objectives.ptychography.evaluation.scanned_region import attributes_of_region, scanned_region
from objectives.ptychography.evaluation.twin import METRIC as TWIN_METRIC
from objectives.ptychography.evaluation.twin import of_electrons, thinned
from objectives.ptychography.model.cropping import seen_part, with_unseen
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.forward import ForwardModel, Layout, field_of, spectrum_of, spectrum_seen_as
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.misfit import Data, Misfit
from objectives.ptychography.model.scene import Scene, build_scene
from objectives.ptychography.model.window import window_shape
from objectives.ptychography.parameters.instrument import acts_through_probe_alone
from objectives.ptychography.parameters.window import PADDING
from objectives.ptychography.solvers.modes import start_modes
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.table import SOLVERS, solve

_ALMOST_NONE = 1e-12
"""Added to the square of a value that acts by it, since a root has no slope at 0: a millionth of a pixel's blur."""
_DIVERGED = -1.0
"""Consistency below which a reconstruction has diverged: a model without any counts reaches 0."""


class Reconstruction:
    """A reconstruction to be made.

    Args:
        level: the data.
        machine: device, precision and threads.
        parameters: the parameters of the measurement.
        values: the value of every parameter that is not idle.
        held_out: whether counts are withheld from the solver.
        data: the counts that the solver sees, where these are another part of the level's.
        layout: the patches of a reconstruction at nearby values, where the two are compared: a position that is rounded
            to another pixel changes the counts by more than its movement does. Left alone where it does not fit.
        foreign: the package that reconstructs; None for the built-in solvers.
    """

    def __init__(
        self,
        level: Level,
        machine: Machine,
        parameters: Sequence[Parameter],
        values: Mapping[str, Value],
        *,
        held_out: bool = False,
        data: Data | None = None,
        layout: Layout | None = None,
        foreign: Foreign | None = None,
    ) -> None:
        self._level, self._machine, self._foreign = level, machine, foreign
        self._data = data or (level.seen if held_out else level.data)
        self._layout = layout
        self._withheld = level.withheld if held_out else None
        self._parameters, self._values = parameters, values
        self._slices = int(values.get("slices", 1))
        detector_shape: tuple[int, int] = level.measurement.valid.shape
        self._window = window_shape(detector_shape, float(values.get(PADDING, 1.0)))
        self.options = SolverOptions.from_values(values)
        # A probe whose refinement never starts follows from the parameters, as a fixed one does.
        self._free = self.options.refines_probe(self.options.iterations - 1)
        held = self._scalars()
        self._differentiated = self._with_gradient(held)
        squared = self._squared = {p.name for p in parameters if p.by_square}
        at = [held[name].square() + _ALMOST_NONE if name in squared else held[name] for name in self._differentiated]
        self._theta = (torch.stack(at) if at else torch.zeros(0)).requires_grad_(True)
        moving = {
            name: theta.sqrt() if name in squared else theta
            for name, theta in zip(self._differentiated, self._theta, strict=True)
        }
        self._scene = self._built({**held, **moving})
        self._spectra = self._start_modes(self._scene)
        self.misfit = self._misfit()

    def run(self, report: Report, seed: int, *, files: bool = False) -> State:
        """Reconstruct from an empty object; see :func:`objectives.ptychography.solvers.table.solve`.

        With ``files``, a package makes files of its own of the final state, too.
        """
        if self._foreign is not None:
            return self._foreign.solve(self.misfit, self.start(), self.options, report, seed, files=files)
        return solve(self.misfit, self.start(), self.options, report, seed)

    def evaluation(self, state: State, metric: str) -> Evaluation:
        """Metrics of the final ``state``, with the gradient of ``metric``, which is one of the counts that are seen.

        A metric that a package reports of itself has no gradient.
        """
        judged = metric if metric == "amplitude_consistency" else "consistency"
        frozen = None if state.stopped else frozen_pass(self.misfit, state, judged)
        metrics = {**(frozen_metrics(self.misfit, state) if frozen is None else frozen.metrics), **state.more}
        if self._withheld is not None:
            withheld = frozen_metrics(Misfit(self.misfit.model, self._withheld), state)
            metrics["held_out_consistency"] = withheld["consistency"]
        if divergence := _divergence(metrics):
            return Evaluation(Status.DIVERGED, reason=divergence)
        if frozen is None:
            done, planned = len(state.squared_residuals), self.options.iterations
            reason = f"stopped by the caller after {done} of {planned} iterations"
            return Evaluation(Status.STOPPED, metrics=metrics, reason=reason)
        arrays, attributes = self._arrays(state), self._attributes()
        if self._slices == 1 and of_electrons(self._level.measurement):
            metrics[TWIN_METRIC] = phase_skewness(thinned(arrays["object"][0][scanned_region(attributes)]))
        return Evaluation(
            Status.COMPLETE,
            metrics,
            self._gradient(frozen),
            arrays=arrays,
            attributes=attributes,
            remarks=state.remarks,
            software={} if self._foreign is None else self._foreign.process.versions,
            files=state.files,
        )

    def _built(self, stated: Mapping[str, Tensor]) -> Scene:
        """The scene at mismatch parameters as they are stated, for the unbinned detector."""
        return build_scene(self._level.measurement, self._level.scalars(stated), self._slices, self._window)

    def divergence(self, state: State) -> str:
        """Say why the final ``state`` has diverged; empty where it has not."""
        return _divergence(frozen_metrics(self.misfit, state))

    def _scalars(self) -> dict[str, Tensor]:
        """The values of the mismatch parameters, as scalar tensors."""
        return {
            p.name: torch.tensor(float(self._values[p.name]), dtype=self._machine.real, device=self._machine.device)
            for p in self._parameters
            if p.kind == "mismatch" and p.name in self._values
        }

    def _with_gradient(self, held: Mapping[str, Tensor]) -> list[str]:
        """Names of the parameters that the metric is differentiated with respect to.

        None with several slices and a solver that works on batches. It does not minimise the metric's own misfit, and a
        thick object is far from converged where it ends: then the derivative at the fixed object is not that of the
        metric, and leads a search away (60 angstrom of SrTiO3, 20 iterations of LSQ-ML, at the truth: 7e-4 per
        angstrom of thickness at constant focus of its middle, where differences give 0.2e-4).
        """
        on_batches = self._foreign is not None or SOLVERS[self.options.solver].on_batches
        if self._slices > 1 and on_batches:
            return []
        acting = [p for p in self._parameters if p.differentiable and p.name in held and not p.idle(self._values)]
        return [p.name for p in acting if not (self._free and acts_through_probe_alone(p, self._slices))]

    def _misfit(self) -> Misfit:
        """The forward model and the data."""
        scene = self._scene.detached()
        rows, columns = self._level.measurement.valid.shape
        margin = 2 + (math.ceil(self.options.position_range) if self.options.position_step > 0 else 0)
        layout = self._layout
        if layout is None or not layout.fits(scene.positions, self._window):
            layout = Layout.of(scene.positions, (rows, columns), margin, self._window)
        return Misfit(ForwardModel(scene, layout, kernels_for(self._machine.device)), self._data)

    def start(self) -> State:
        """An empty object under the initial probe."""
        model = self.misfit.model
        shape = (self._slices, *model.layout.object_shape)
        empty = torch.ones(shape, dtype=self._machine.complex, device=self._machine.device)
        return State(empty, self._spectra.detach().contiguous(), torch.zeros_like(model.scene.positions))

    def _start_modes(self, scene: Scene) -> Tensor:
        """The modes of the initial probe; a fixed probe has those of the file, or one."""
        modes = int(self._values["probe_modes"]) if self.options.refine_probe else None
        spectra = self._initial_spectra(scene, modes)
        return start_modes(spectra, modes or len(spectra))

    def _initial_spectra(self, scene: Scene, modes: int | None) -> Tensor:
        """The probe of the lens, of the file, or estimated from the data, scaled to the mean counts of a pattern.

        Shape (mode, y, x) on the window: as many modes as the file holds, at most ``modes``; one from elsewhere.
        """
        stored = self._level.measurement.probe
        if scene.spectrum is not None:
            spectra = scene.spectrum[None]
        elif stored is not None:
            fields = torch.as_tensor(stored, device=self._machine.device)
            spectra = spectrum_of(fields[None] if fields.ndim == 2 else fields[:modes])
        else:
            # The square root of the mean pattern.
            spectra = spectrum_seen_as(self._data.mean_pattern().sqrt().to(self._machine.complex), scene)[None]
        spectra = with_unseen(spectra.to(self._machine.complex), self._window)
        at_detector = seen_part(spectra, self._data.share.shape)  # type: ignore[arg-type]
        intensity = (at_detector.real.square() + at_detector.imag.square()).sum(0)
        # The power of the compared pixels; in the far field the spectrum is what the detector sees without an object.
        share = self._data.share if scene.propagator is None else self._data.share.sum() / self._level.data.share.sum()
        power = (intensity * share).sum(dtype=torch.float64)
        counts = self._data.total / len(self._data.patterns) - scene.background * self._data.share.sum()
        return spectra * (counts.clamp(min=1e-3 * self._data.mean) / power).sqrt().to(self._machine.real)

    def _gradient(self, frozen: Frozen) -> dict[str, float]:
        if not self._differentiated:
            return {}
        slopes = frozen_gradient(self._theta, self._scene, None if self._free else self._spectra, frozen)
        gradient = dict(zip(self._differentiated, slopes, strict=True))
        if self.misfit.model.response is None:  # pixels that see a point: what the least blur would do is not evaluated
            gradient = {name: slope for name, slope in gradient.items() if name not in self._squared}
        return gradient

    def _arrays(self, state: State) -> dict[str, np.ndarray[Any, Any]]:
        """Object (slice, y, x), probe modes (mode, y, x), and the middle pattern measured and modelled, in counts."""
        middle = torch.tensor([len(self._data.patterns) // 2], device=self._machine.device)
        model, valid = self.misfit.model, self._level.data.valid[0]
        expected = model.intensity(state.transmission, state.spectra, model.batch(middle, state.moved))[0]
        arrays = {
            "object": state.transmission.cpu().numpy().astype(np.complex64),
            "probe": field_of(state.spectra).cpu().numpy().astype(np.complex64),
            "pattern_measured": (self._data.patterns[middle][0] * valid).cpu().numpy().astype(np.float32),
            "pattern_modelled": (expected * valid).cpu().numpy().astype(np.float32),
        }
        if state.moved.any():
            arrays["position_displacement"] = state.moved.cpu().numpy().astype(np.float32)
        return arrays

    def _attributes(self) -> dict[str, float | int | str]:
        model = self.misfit.model
        pixel_y, pixel_x = (float(size) for size in model.scene.pixel)
        half = model.layout.corners.new_tensor([n // 2 for n in model.layout.window])
        return {
            "length_unit": self._level.measurement.position_unit,
            "object_pixel_y": pixel_y,
            "object_pixel_x": pixel_x,
            **attributes_of_region((model.layout.corners + half).cpu().numpy()),
            **detector_pixel(self._level.measurement.geometry),
            **({} if self._foreign is None else self._foreign.told),
        }


def _divergence(metrics: Mapping[str, float]) -> str:
    """Say what is beyond reason about the metrics of a final state; empty where nothing is."""
    if not all(math.isfinite(value) for value in metrics.values()):
        return "the reconstruction is not finite"
    if metrics["consistency"] < _DIVERGED:
        return f"the model's residual is {1 - metrics['consistency']:.3g} times the data"
    return ""


def detector_pixel(geometry: FarField | NearField) -> dict[str, float | str]:
    """Attributes of the nominal size of a detector pixel, in the far field an angle; none where it is not known."""
    if isinstance(geometry, FarField):
        size, unit = geometry.angular_sampling_mrad, "mrad"
    else:
        size, unit = geometry.detector_pixel_um, "µm"
    if size is None:
        return {}
    return {"detector_unit": unit, "detector_pixel_y": float(size[0]), "detector_pixel_x": float(size[1])}
