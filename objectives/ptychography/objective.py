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
from objectives.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.forward import ForwardModel, IntensityLoss, Layout
from objectives.ptychography.frozen import frozen_gradient, frozen_metrics
from objectives.ptychography.lbfgs import SolverOptions, State, solve
from objectives.ptychography.machine import Machine
from objectives.ptychography.parameters import parameters_of, why_absent
from objectives.ptychography.pictures import draw_reconstruction
from objectives.ptychography.scene import Scene, build_scene

_LENS = {"center_offset_y", "center_offset_x", "defocus", "astigmatism", "astigmatism_angle"}
_LENS |= {"spherical_aberration", "convergence_angle"}
"""Parameters that act only through the lens's probe: they have no gradient once the probe itself is an unknown."""


class PtychographyObjective:
    """Single-slice ptychography of one measurement. See :class:`autotune.objective.Objective`."""

    def __init__(self, measurement: Measurement, machine: Machine, truth: Mapping[str, float] | None = None) -> None:
        self._measurement = measurement
        self._machine = machine
        self._truth = dict(truth or {})
        self._parameters = parameters_of(measurement)
        counts = torch.as_tensor(measurement.patterns, device=machine.device, dtype=machine.real)
        valid = torch.as_tensor(measurement.valid, device=machine.device)
        self._counts_per_unit = float(counts[:, valid].mean(dtype=torch.float64))
        if not isinstance(measurement.geometry, NearField):
            counts, valid = torch.fft.ifftshift(counts, dim=(1, 2)), torch.fft.ifftshift(valid)
        self._valid = valid.to(machine.real)
        self._patterns = torch.where(valid, counts / self._counts_per_unit, torch.zeros((), dtype=machine.real))

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
            "patterns": f"{n} of {rows} x {columns} pixels, {self._counts_per_unit:.4g} counts per pixel"
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
        facts["backend"] = f"autotune single slice, L-BFGS, {self._machine.device}, {self._machine.real}"
        facts["content hash"] = m.content_hash
        return facts

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Reconstruct at ``values``. Nothing here is random, so ``seed`` changes nothing."""
        with self._machine.threads_set():
            return self._evaluate(values, metric, progress)

    def _evaluate(self, values: Mapping[str, Value], metric: str, progress: Progress) -> Evaluation:
        started = time.perf_counter()
        names = [known.name for known in self.metrics()]
        if metric not in names:
            raise InputError(Problem("metric.name", f"'{metric}' is not reported", near_miss(metric, names)))
        complete = complete_values(self._parameters, values)
        options = SolverOptions(
            int(complete["iterations"]),
            complete["probe"] == "refined",
            int(complete["probe_start"]),
            float(complete["preconditioner_floor"]),
        )
        scene = build_scene(self._measurement, self._scalars(complete))
        rows, columns = self._valid.shape
        layout = Layout.of(scene.positions, (rows, columns))
        model = ForwardModel(scene, layout)
        empty = torch.ones(math.prod(layout.object_shape), dtype=self._machine.complex, device=self._machine.device)
        start = State(empty, self._initial_probe(scene, model))
        norm = float(self._patterns.square().sum(dtype=torch.float64))
        loss = IntensityLoss(model, self._patterns, self._valid, None if options.refine_probe else start.probe)

        def report(iteration: int, value: float) -> bool:
            return progress(iteration, options.iterations, {"consistency": 1 - math.sqrt(value / norm)})

        state = solve(model, loss, start, options, report)
        curve = {"consistency": [1 - math.sqrt(value / norm) for value in state.losses]}
        evaluation = self._finish(complete, scene, model, state, metric, options)
        return replace(evaluation, curve=curve, seconds=time.perf_counter() - started)

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """The reconstruction: phase, amplitude, probe, and one pattern measured and modelled."""
        if "object" not in evaluation.arrays:
            return {}
        return {"reconstruction": draw_reconstruction(evaluation)}

    def _scalars(self, values: Mapping[str, Value]) -> dict[str, Tensor]:
        """The mismatch parameters as scalar tensors."""
        return {
            p.name: torch.tensor(float(values[p.name]), dtype=self._machine.real, device=self._machine.device)
            for p in self._parameters
            if p.kind == "mismatch"
        }

    def _initial_probe(self, scene: Scene, model: ForwardModel) -> Tensor:
        """The probe of the lens, of the file, or of the data, at the mean counts per pattern."""
        counts_per_pattern = float(self._patterns.sum(dtype=torch.float64)) / len(self._patterns)
        if scene.probe is not None:
            probe = scene.probe
        elif self._measurement.probe is not None:
            probe = torch.as_tensor(self._measurement.probe, device=self._machine.device)
        else:
            probe = model.probe_seen_as(self._patterns.mean(0).sqrt().to(self._machine.complex))
        probe = probe.to(self._machine.complex)
        power = (probe.real.square() + probe.imag.square()).sum(dtype=torch.float64)
        return probe * (counts_per_pattern / power).sqrt().to(self._machine.real)

    def _finish(
        self,
        values: Mapping[str, Value],
        scene: Scene,
        model: ForwardModel,
        state: State,
        metric: str,
        options: SolverOptions,
    ) -> Evaluation:
        metrics = frozen_metrics(model, self._patterns, self._valid, state)
        if not all(math.isfinite(value) for value in metrics.values()):
            return Evaluation(Status.DIVERGED, reason="the reconstruction is not finite")
        if state.stopped:
            return Evaluation(
                Status.STOPPED,
                metrics=metrics,
                reason=f"stopped by the caller after {len(state.losses)} of {options.iterations} iterations",
            )
        return Evaluation(
            Status.COMPLETE,
            metrics=metrics,
            gradient=self._gradient(values, model.layout, state, metric, options),
            arrays=self._arrays(model, state),
            attributes=self._attributes(scene, model.layout),
        )

    def _gradient(
        self,
        values: Mapping[str, Value],
        layout: Layout,
        state: State,
        metric: str,
        options: SolverOptions,
    ) -> dict[str, float]:
        free = options.refine_probe
        names = [p.name for p in self._parameters if p.differentiable and not (free and p.name in _LENS)]
        held = self._scalars(values)
        theta = torch.stack([held[name] for name in names])
        slopes = frozen_gradient(
            lambda vector: build_scene(self._measurement, {**held, **dict(zip(names, vector, strict=True))}),
            theta,
            layout,
            self._patterns,
            self._valid,
            state,
            metric,
            probe_at=None if free else lambda scene: self._initial_probe(scene, ForwardModel(scene, layout)),
        )
        return dict(zip(names, slopes, strict=True))

    def _arrays(self, model: ForwardModel, state: State) -> dict[str, np.ndarray[Any, Any]]:
        """Object, probe, and the pattern of the middle position measured and modelled, in counts."""
        middle = torch.tensor([len(self._patterns) // 2], device=self._machine.device)
        expected = model.intensity(state.flat_object, state.probe, middle)[0] * self._valid
        patterns = [self._patterns[middle][0], expected]
        if isinstance(self._measurement.geometry, FarField):
            patterns = [torch.fft.fftshift(pattern) for pattern in patterns]
        measured, modelled = (_counts(pattern, self._counts_per_unit) for pattern in patterns)
        return {
            "object": state.flat_object.reshape(model.layout.object_shape).cpu().numpy().astype(np.complex64),
            "probe": state.probe.cpu().numpy().astype(np.complex64),
            "pattern_measured": measured,
            "pattern_modelled": modelled,
        }

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


def _counts(pattern: Tensor, counts_per_unit: float) -> np.ndarray[Any, Any]:
    return (pattern * counts_per_unit).cpu().numpy().astype(np.float32)
