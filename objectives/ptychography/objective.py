"""The ptychography objective: one measurement, one reconstruction per evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autotune.objective import (
    Evaluation,
    InputError,
    Metric,
    Parameter,
    Problem,
    Progress,
    Value,
    complete_values,
    near_miss,
    never_stop,
)
from objectives.data.measurement import Measurement, NearField
from objectives.ptychography.fidelity import Fidelity, Levels
from objectives.ptychography.machine import Machine
from objectives.ptychography.parameters import parameters_of, why_absent
from objectives.ptychography.pictures import draw_reconstruction
from objectives.ptychography.reconstruction import Reconstruction
from objectives.ptychography.work import work_of


class PtychographyObjective:
    """Ptychography of one measurement. See :class:`autotune.objective.Objective`."""

    def __init__(self, measurement: Measurement, machine: Machine, truth: Mapping[str, float] | None = None) -> None:
        self._measurement = measurement
        self._machine = machine
        self._truth = dict(truth or {})
        self._parameters = parameters_of(measurement)
        self._levels = Levels(measurement, machine)

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
            "patterns": f"{n} of {rows} x {columns} pixels, {self._levels.whole.data.mean:.4g} counts per pixel"
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
        level = self._levels.at(Fidelity.from_values(complete))
        reconstruction = Reconstruction(level, self._machine, self._parameters, complete)
        planned, misfit = reconstruction.options.iterations, reconstruction.misfit

        def report(iteration: int, squared_residual: float) -> bool:
            return progress(iteration, planned, {"consistency": misfit.consistency(squared_residual)})

        state = reconstruction.run(report, seed)
        curve = {"consistency": [misfit.consistency(squared) for squared in state.squared_residuals]}
        evaluation = reconstruction.evaluation(state, metric)
        return replace(evaluation, curve=curve, seconds=time.perf_counter() - started)

    def work(self, values: Mapping[str, Value]) -> float:
        """See :class:`autotune.objective.CountsWork`; in pixels of patterns that go through a slice and back.

        Raises:
            InputError: as :meth:`evaluate` does.
        """
        return work_of(self._measurement, complete_values(self._parameters, values))

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """The reconstruction: phase, amplitude, probe, and one pattern measured and modelled."""
        if "object" not in evaluation.arrays:
            return {}
        return {"reconstruction": draw_reconstruction(evaluation)}
