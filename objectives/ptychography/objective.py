"""The ptychography objective: one measurement, one reconstruction per evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autotune.objective import (
    Evaluation,
    InputError,
    Metric,
    Parameter,
    Problem,
    Progress,
    Status,
    Value,
    complete_values,
    near_miss,
    never_stop,
)
from objectives.data.measurement import Measurement, NearField
from objectives.ptychography.forward import ForwardModel, Layout, field_of, spectrum_of, spectrum_seen_as
from objectives.ptychography.frozen import frozen_gradient, frozen_metrics
from objectives.ptychography.kernels import kernels_for
from objectives.ptychography.machine import Machine
from objectives.ptychography.misfit import Data, Misfit
from objectives.ptychography.parameters import parameters_of, why_absent
from objectives.ptychography.pictures import draw_reconstruction
from objectives.ptychography.scene import Scene, build_scene
from objectives.ptychography.solvers import SolverOptions, State, solve
from objectives.ptychography.solvers.modes import start_modes
from objectives.ptychography.solvers.positions import FARTHEST

_LENS = {"center_offset_y", "center_offset_x", "defocus", "astigmatism", "astigmatism_angle"}
_LENS |= {"spherical_aberration", "convergence_angle"}
"""Parameters that act only through the lens's probe: they have no gradient once the probe itself is an unknown."""

_DIVERGED = -1.0
"""Consistency below which a reconstruction has diverged: a model without any counts reaches 0."""


class PtychographyObjective:
    """Ptychography of one measurement. See :class:`autotune.objective.Objective`."""

    def __init__(self, measurement: Measurement, machine: Machine, truth: Mapping[str, float] | None = None) -> None:
        self._measurement = measurement
        self._machine = machine
        self._truth = dict(truth or {})
        self._parameters = parameters_of(measurement)
        patterns, valid = torch.from_numpy(measurement.patterns), torch.from_numpy(measurement.valid)
        self._data = Data(patterns, valid, machine)

    def parameters(self) -> Sequence[Parameter]:
        """See :meth:`autotune.objective.Objective.parameters`."""
        return self._parameters

    def why_absent(self, name: str) -> str:
        """See :class:`autotune.objective.ExplainsAbsence`."""
        return why_absent(self._measurement, name)

    def metrics(self) -> Sequence[Metric]:
        """Intensity consistency (tuned by default) and amplitude consistency."""
        return (
            Metric(
                "consistency",
                "maximize",
                noise_ceiling=self._measurement.shot_noise_ceiling,
                description="intensity consistency 1 - ||y - Hx|| / ||y||",
            ),
            Metric(
                "amplitude_consistency",
                "maximize",
                description="1 - ||sqrt y - sqrt Hx|| / ||sqrt y||; biased at low counts",
            ),
        )

    def truth(self) -> Mapping[str, float]:
        """True mismatch of a simulated measurement; empty for a real one."""
        return self._truth

    def summary(self) -> Mapping[str, str]:
        """See :meth:`autotune.objective.Objective.summary`."""
        m = self._measurement
        n, rows, columns = m.patterns.shape
        geometry = m.geometry
        facts = {
            "measurement": m.source,
            "patterns": f"{n} of {rows} x {columns} pixels, {self._data.mean:.4g} counts per pixel"
            + ("" if m.counted else " (not counted quanta)"),
            "masked pixels": str(int((~m.valid).sum())),
        }
        if isinstance(geometry, NearField):
            facts["geometry"] = (
                f"near field, wavelength {geometry.wavelength_angstrom:.5g} angstrom, "
                f"detector at {geometry.detector_distance_mm:g} mm"
            )
        elif geometry.angular_sampling_mrad is None:
            facts["geometry"] = "far field, positions in object pixels"
        else:
            facts["geometry"] = (
                f"far field, wavelength {geometry.wavelength_angstrom:.5g} angstrom, "
                f"{geometry.angular_sampling_mrad[0]:.4g} x {geometry.angular_sampling_mrad[1]:.4g} mrad per pixel"
            )
        ceiling = m.shot_noise_ceiling
        facts["noise ceiling"] = "unknown (not counted quanta)" if ceiling is None else f"{ceiling:.4f}"
        facts["backend"] = f"autotune, {self._machine.device}, {str(self._machine.real).removeprefix('torch.')}"
        facts["content hash"] = m.content_hash
        return facts

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Reconstruct at ``values``; ``seed`` orders the batches of the stepwise solvers."""
        with self._machine.threads_set():
            return self._evaluate(values, metric, seed, progress)

    def _evaluate(self, values: Mapping[str, Value], metric: str, seed: int, progress: Progress) -> Evaluation:
        started = time.perf_counter()
        names = [known.name for known in self.metrics()]
        if metric not in names:
            raise InputError(Problem("metric.name", f"'{metric}' is not reported", near_miss(metric, names)))
        complete = complete_values(self._parameters, values)
        options = SolverOptions.from_values(complete)
        misfit = self._misfit(complete)

        def report(iteration: int, squared_residual: float) -> bool:
            return progress(iteration, options.iterations, {"consistency": misfit.consistency(squared_residual)})

        state = solve(misfit, self._start(complete, misfit.model), options, report, seed)
        curve = {"consistency": [misfit.consistency(squared) for squared in state.squared_residuals]}
        evaluation = self._finish(complete, misfit, state, metric, options)
        return replace(evaluation, curve=curve, seconds=time.perf_counter() - started)

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """The reconstruction: phase, amplitude, probe, and one pattern measured and modelled."""
        if "object" not in evaluation.arrays:
            return {}
        return {"reconstruction": draw_reconstruction(evaluation)}

    def _scalars(self, values: Mapping[str, Value]) -> dict[str, Tensor]:
        """The mismatch parameters that have a value as scalar tensors."""
        return {
            p.name: torch.tensor(float(values[p.name]), dtype=self._machine.real, device=self._machine.device)
            for p in self._parameters
            if p.kind == "mismatch" and p.name in values
        }

    def _misfit(self, values: Mapping[str, Value]) -> Misfit:
        """The forward model at ``values`` beside the data."""
        scene = self._scene(self._scalars(values), values)
        rows, columns = self._measurement.valid.shape
        margin = 2 + (math.ceil(FARTHEST) if float(values.get("position_step", 0.0)) > 0 else 0)
        layout = Layout.of(scene.positions, (rows, columns), margin)
        return Misfit(ForwardModel(scene, layout, kernels_for(self._machine.device)), self._data)

    def _scene(self, scalars: Mapping[str, Tensor], values: Mapping[str, Value]) -> Scene:
        return build_scene(self._measurement, scalars, int(values.get("slices", 1)))

    def _start(self, values: Mapping[str, Value], model: ForwardModel) -> State:
        """An empty object under the initial probe."""
        shape = (int(values.get("slices", 1)), *model.layout.object_shape)
        empty = torch.ones(shape, dtype=self._machine.complex, device=self._machine.device)
        spectra = start_modes(self._initial_spectrum(model.scene), self._modes(values)).contiguous()
        return State(empty, spectra, torch.zeros_like(model.scene.positions))

    @staticmethod
    def _modes(values: Mapping[str, Value]) -> int:
        """Probe modes: one of a probe that is held."""
        return int(values["probe_modes"]) if values["probe"] == "refined" else 1

    def _initial_spectrum(self, scene: Scene) -> Tensor:
        """The probe of the lens, of the file, or of the data, at the mean counts of a pattern."""
        if scene.spectrum is not None:
            spectrum = scene.spectrum
        elif self._measurement.probe is not None:
            spectrum = spectrum_of(torch.as_tensor(self._measurement.probe, device=self._machine.device))
        else:
            spectrum = spectrum_seen_as(self._mean_amplitude(), scene)
        spectrum = spectrum.to(self._machine.complex)
        intensity = spectrum.real.square() + spectrum.imag.square()
        # Counts are those of valid pixels; in the far field the spectrum is what the detector sees without an object.
        seen = intensity * self._data.valid if scene.propagator is None else intensity
        power = seen.sum(dtype=torch.float64)
        counts = self._data.total / len(self._data.patterns) - scene.background * self._data.valid.sum()
        return spectrum * (counts.clamp(min=1e-3 * self._data.mean) / power).sqrt().to(self._machine.real)

    def _mean_amplitude(self) -> Tensor:
        """Square root of the mean pattern."""
        mean = self._data.patterns.mean(0, dtype=self._machine.real) * self._data.valid
        return mean.sqrt().to(self._machine.complex)

    def _finish(
        self, values: Mapping[str, Value], misfit: Misfit, state: State, metric: str, options: SolverOptions
    ) -> Evaluation:
        metrics = frozen_metrics(misfit, state)
        if not all(math.isfinite(value) for value in metrics.values()):
            return Evaluation(Status.DIVERGED, reason="the reconstruction is not finite")
        if metrics["consistency"] < _DIVERGED:
            reason = f"the model's residual is {1 - metrics['consistency']:.3g} times the data"
            return Evaluation(Status.DIVERGED, reason=reason)
        if state.stopped:
            return Evaluation(
                Status.STOPPED,
                metrics=metrics,
                reason=f"stopped by the caller after {len(state.squared_residuals)} of {options.iterations} iterations",
            )
        return Evaluation(
            Status.COMPLETE,
            metrics=metrics,
            gradient=self._gradient(values, misfit, state, metric, options),
            arrays=self._arrays(misfit, state),
            attributes=self._attributes(misfit.model.scene, misfit.model.layout),
        )

    def _gradient(
        self, values: Mapping[str, Value], misfit: Misfit, state: State, metric: str, options: SolverOptions
    ) -> dict[str, float]:
        # A probe that never came to change follows from the parameters, as a held one does.
        free = options.refines_probe(options.iterations - 1)
        held = self._scalars(values)
        names = [p.name for p in self._parameters if p.differentiable and p.name in held and not p.idle(values)]
        # The centre turns the propagation between slices, too, whatever the probe.
        through_lens = _LENS if int(values.get("slices", 1)) == 1 else _LENS - {"center_offset_y", "center_offset_x"}
        names = [name for name in names if not (free and name in through_lens)]
        slopes = frozen_gradient(
            lambda vector: self._scene({**held, **dict(zip(names, vector, strict=True))}, values),
            torch.stack([held[name] for name in names]),
            misfit,
            state,
            metric,
            spectra_at=None if free else lambda scene: start_modes(self._initial_spectrum(scene), self._modes(values)),
        )
        return dict(zip(names, slopes, strict=True))

    def _arrays(self, misfit: Misfit, state: State) -> dict[str, np.ndarray[Any, Any]]:
        """Object (slice, y, x), probe modes (mode, y, x), and the middle pattern measured and modelled, in counts."""
        middle = torch.tensor([len(self._data.patterns) // 2], device=self._machine.device)
        model = misfit.model
        expected = model.intensity(state.transmission, state.spectra, model.batch(middle, state.moved))[0]
        arrays = {
            "object": state.transmission.cpu().numpy().astype(np.complex64),
            "probe": field_of(state.spectra).cpu().numpy().astype(np.complex64),
            "pattern_measured": (self._data.patterns[middle][0] * self._data.valid).cpu().numpy().astype(np.float32),
            "pattern_modelled": (expected * self._data.valid).cpu().numpy().astype(np.float32),
        }
        if state.moved.any():
            arrays["position_displacement"] = state.moved.cpu().numpy().astype(np.float32)
        return arrays

    def _attributes(self, scene: Scene, layout: Layout) -> dict[str, float | int | str]:
        pixel_y, pixel_x = (float(size) for size in scene.pixel)
        corners = layout.corners
        half = [n // 2 for n in layout.detector_shape]
        return {
            "length_unit": self._measurement.position_unit,
            "object_pixel_y": pixel_y,
            "object_pixel_x": pixel_x,
            "scan_first_row": int(corners[:, 0].min()) + half[0],
            "scan_last_row": int(corners[:, 0].max()) + half[0],
            "scan_first_column": int(corners[:, 1].min()) + half[1],
            "scan_last_column": int(corners[:, 1].max()) + half[1],
        }
