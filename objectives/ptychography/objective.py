"""The ptychography objective: one measurement, and one reconstruction for each evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import (
    ArrayDescription,
    Diverged,
    Evaluation,
    InputError,
    Metric,
    Parameter,
    Problem,
    Progress,
    Twin,
    Value,
    complete_values,
    near_miss,
    never_stop,
)
from objectives.diffraction.data.measurement import Measurement
from objectives.metrics.counts import noise_ceiling
from objectives.ptychography.backends.exposed import why_not_offered
from objectives.ptychography.backends.reconstruct import DIFFERENCE, LOSS, Bound
from objectives.ptychography.evaluation.cost import evaluation_cost
from objectives.ptychography.evaluation.data_share import Fidelity, Level, Levels
from objectives.ptychography.evaluation.division import divided
from objectives.ptychography.evaluation.examination import Examiner, examinations
from objectives.ptychography.evaluation.noise import explained_by_counting, measured_again
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.evaluation.twin import METRIC as TWIN_METRIC
from objectives.ptychography.evaluation.twin import twin_of
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.forward import Layout
from objectives.ptychography.output.arrays import describe_arrays
from objectives.ptychography.output.measurement_facts import facts_of
from objectives.ptychography.output.measurement_file import write_measurement
from objectives.ptychography.output.pictures import draw_reconstruction
from objectives.ptychography.parameters.instrument import parameters_of, why_absent
from objectives.ptychography.settings import HeldOutSettings
from objectives.ptychography.simulation.direct import Specimen
from objectives.ptychography.solvers.state import State, to_the_end

HELD_OUT = "held_out_consistency"
_OF_BACKENDS = (
    Metric(LOSS, "minimize", description="the package's own loss after its last iteration"),
    Metric(DIFFERENCE, "minimize", description="||its own model - ours|| / ||ours|| for patterns of its final state"),
)
_OTHER_GRIDS = ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5))
"""By how many pixels the object's grid is moved, (y, x), to see what the rounding of positions to it does."""


@dataclass(frozen=True)
class _Repeatable:
    """A reconstruction from which the measurement is repeated; whether counting explains its residuals."""

    reconstruction: Reconstruction
    state: State
    explained: bool


class PtychographyObjective:
    """Ptychography of one measurement. See :class:`autotune.objective.Objective`."""

    def __init__(
        self,
        measurement: Measurement,
        machine: Machine,
        truth: Mapping[str, float] | None = None,
        held_out: HeldOutSettings | None = None,
        specimen: Specimen | None = None,
        true_positions: NDArray[np.float64] | None = None,
        bound: Bound | None = None,
    ) -> None:
        """Bind to ``measurement``; ``truth``, ``specimen`` and ``true_positions`` are known where it was simulated.

        ``true_positions`` are (position, 2), (y, x) in angstrom. ``bound`` is the package that reconstructs; None for
        the built-in solvers.
        """
        self._measurement = measurement
        self._machine = machine
        self._truth = dict(truth or {})
        self._bound = bound
        self._parameters = parameters_of(measurement) if bound is None else bound.exposed.offered
        self._held_out = held_out or HeldOutSettings()
        self._specimen, self._true_positions = specimen, true_positions
        self._levels = Levels(measurement, machine, self._held_out)
        self._last: tuple[tuple[tuple[str, Value], ...], _Repeatable] | None = None

    def parameters(self) -> Sequence[Parameter]:
        """See :meth:`autotune.objective.Objective.parameters`."""
        return self._parameters

    @property
    def content_hash(self) -> str:
        """See :class:`autotune.objective.IdentifiesMeasurement`."""
        whole = self._measurement.content_hash
        return whole if self._bound is None else sha256(f"{whole}{self._bound.hash}".encode()).hexdigest()

    def why_absent(self, name: str) -> str:
        """See :class:`autotune.objective.ExplainsAbsence`."""
        if self._bound is not None and name in {parameter.name for parameter in self._bound.exposed.ours}:
            return why_not_offered(name, self._bound.backend)
        return why_absent(self._measurement, name)

    def metrics(self) -> Sequence[Metric]:
        """Intensity consistency (tuned by default), amplitude consistency, and intensity consistency held out."""
        withheld = self._levels.whole.withheld
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
            Metric(
                HELD_OUT,
                "maximize",
                noise_ceiling=noise_ceiling(withheld.total, withheld.norm) if self._measurement.counted else None,
                held_out_of="consistency",
                description="intensity consistency of counts that the solver does not see (objective.held_out)",
            ),
            *(() if self._bound is None else _OF_BACKENDS),
        )

    @property
    def twin_metric(self) -> str:
        """See :class:`autotune.objective.HasTwin`."""
        return TWIN_METRIC

    def twin(self, held: Mapping[str, Value | None]) -> Twin | None:
        """See :class:`autotune.objective.HasTwin`."""
        return twin_of(self._measurement, self._parameters, held)

    def truth(self) -> Mapping[str, float]:
        """The true mismatch of a simulated measurement; empty for a real one."""
        return self._truth

    def summary(self) -> Mapping[str, str]:
        """See :meth:`autotune.objective.Objective.summary`."""
        facts = facts_of(self._measurement, self._parameters, self._levels.whole.data.mean)
        if self._bound is None:
            facts["backend"] = f"autotune, {self._machine.device}, {str(self._machine.real).removeprefix('torch.')}"
        else:
            facts["backend"] = f"{self._bound.backend.name}, {self._bound.process.python}"
            if self._bound.options:
                facts["its options"] = ", ".join(f"{name}: {value}" for name, value in self._bound.options.items())
        facts["content hash"] = self.content_hash
        return facts

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Reconstruct at ``values``; ``seed`` orders the batches of the stepwise solvers.

        Where ``metric`` is ``held_out_consistency``, the solver sees neither the withheld counts nor anything derived
        from them, and the gradient is that of the consistency of the seen counts. The envelope theorem holds for this
        consistency alone; the derivative of the held-out one at the fixed object is no nearer to finite differences of
        it, and noisier. The two differ by the effect of over-fitting: little where there are many more counts than
        unknowns, half of the gradient for a free object and a few small patterns of low dose.
        """
        with self._machine.threads_set():
            return self._evaluate(values, metric, seed, progress, files=self._bound is not None and self._bound.files)

    def _evaluate(
        self, values: Mapping[str, Value], metric: str, seed: int, progress: Progress, *, files: bool = False
    ) -> Evaluation:
        started = time.perf_counter()
        reconstruction, in_sample = self._reconstruction(values, metric)
        planned, misfit = reconstruction.options.iterations, reconstruction.misfit

        def report(iteration: int, squared_residual: float) -> bool:
            return progress(iteration, planned, {"consistency": misfit.consistency(squared_residual)})

        state = reconstruction.run(report, seed, files=files)
        curve = {"consistency": [misfit.consistency(squared) for squared in state.squared_residuals]}
        evaluation = reconstruction.evaluation(state, in_sample or metric)
        return replace(evaluation, curve=curve, seconds=time.perf_counter() - started)

    def _reconstruction(
        self, values: Mapping[str, Value], metric: str, layout: Layout | None = None
    ) -> tuple[Reconstruction, str | None]:
        """The reconstruction to be made, and the in-sample metric that stands for a held-out one."""
        metrics = {reported.name: reported for reported in self.metrics()}
        if metric not in metrics:
            raise InputError(Problem("metric.name", f"'{metric}' is not reported", near_miss(metric, metrics)))
        in_sample = metrics[metric].held_out_of
        complete = self._complete(values)
        level = self._levels.at(Fidelity.from_values(complete))
        if in_sample is not None:
            _require_counts(level)
        held_out = in_sample is not None
        return self._made(level, complete, in_sample or metric, held_out=held_out, layout=layout), in_sample

    def _made(self, level: Level, complete: Mapping[str, Value], metric: str, **rest: Any) -> Reconstruction:
        """The reconstruction of a level; ``rest`` are keyword arguments of it."""
        if self._bound is None:
            return Reconstruction(level, self._machine, self._parameters, complete, **rest)
        foreign = self._bound.at(level.measurement, complete)
        parameters = self._bound.parameters(complete, metric)
        return Reconstruction(level, self._machine, parameters, complete, foreign=foreign, **rest)

    def _complete(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The value of every parameter that is not idle; with a backend, of those that it does not know, too."""
        held = {} if self._bound is None else self._bound.exposed.held
        return {**held, **complete_values(self._parameters, values)}

    def evaluate_in_parts(
        self, values: Mapping[str, Value], *, metric: str, seed: int, moved: Mapping[str, float]
    ) -> Evaluation:
        """See :class:`autotune.objective.DividesGradient`: the parts are regions of the detector.

        The part of a held-out metric's gradient is that of the consistency of the seen counts, as in :meth:`evaluate`.
        """
        with self._machine.threads_set():
            started = time.perf_counter()
            reconstruction, in_sample = self._reconstruction(values, metric)
            start = complete_values(self._parameters, values)
            model = reconstruction.misfit.model
            layout = model.layout
            grids = [layout.on_another_grid(model.scene.positions, by) for by in _OTHER_GRIDS]
            evaluation = divided(
                reconstruction,
                lambda at: self._reconstruction({**start, **at}, metric, layout)[0],
                in_sample or metric,
                {name: (value, self._distance(name, float(start[name]), value)) for name, value in moved.items()},
                [partial(self._reconstruction_on, grid, values, metric) for grid in grids],
                seed,
                counted=self._measurement.counted,
            )
            return replace(evaluation, seconds=time.perf_counter() - started)

    def _distance(self, name: str, here: float, there: float) -> float:
        parameter = next(p for p in self._parameters if p.name == name)
        return parameter.acting(there) - parameter.acting(here)

    def _reconstruction_on(self, layout: Layout, values: Mapping[str, Value], metric: str) -> Reconstruction:
        return self._reconstruction(values, metric, layout)[0]

    def examinations(self) -> Sequence[Metric]:
        """See :class:`autotune.objective.Examines`."""
        return examinations(
            self.metrics(),
            self._measurement,
            truth=self._specimen is not None,
            positions=self._true_positions is not None,
        )

    def examine(self, values: Mapping[str, Value], *, seed: int) -> Mapping[str, float]:
        """See :class:`autotune.objective.Examines`: four reconstructions.

        Raises:
            InputError: as :meth:`evaluate` does.
            Diverged: the reconstruction of everything diverges.
        """
        complete, bound = self._complete(values), self._bound
        with self._machine.threads_set():
            level = self._levels.at(Fidelity.from_values(complete))
            examiner = Examiner(
                level,
                self._machine,
                self._parameters if bound is None else bound.parameters(complete, ""),
                complete,
                seed,
                self._specimen,
                self._true_positions,
                None if bound is None else bound.at(level.measurement, complete),
            )
            return examiner.examine()

    def work(self, values: Mapping[str, Value]) -> float:
        """See :class:`autotune.objective.CountsWork`; the unit is one pixel of a pattern through a slice and back.

        Raises:
            InputError: as :meth:`evaluate` does.
        """
        return evaluation_cost(self._measurement, self._complete(values))

    @property
    def noise(self) -> str:
        """See :class:`autotune.objective.MeasuresAgain`."""
        if self._measurement.counted:
            return "Poisson noise of counted quanta; where residuals exceed it, their scatter from pattern to pattern"
        return "estimated from the residuals from pattern to pattern, since the values are not counted quanta"

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> PtychographyObjective:
        """See :class:`autotune.objective.MeasuresAgain`; data that a study leaves out are measured again, too.

        Raises:
            InputError: as :meth:`evaluate` does.
            Diverged: the reconstruction from which the measurement would be repeated diverges.
        """
        partial = {parameter.name for parameter in self._parameters if parameter.kind == "fidelity"}
        whole = {name: value for name, value in values.items() if name not in partial}
        with self._machine.threads_set():
            source = self._to_repeat(complete_values(self._parameters, whole))
            misfit = source.reconstruction.misfit
            drawn = measured_again(self._measurement, misfit, source.state, seed, explained=source.explained)
        return PtychographyObjective(drawn, self._machine, self._truth, self._held_out, bound=self._bound)

    def _to_repeat(self, complete: Mapping[str, Value]) -> _Repeatable:
        """A reconstruction of everything; the last one is kept, since a measurement is repeated more than once.

        Where counting explains the measurement, the expected counts must not contain its noise: an object that fits the
        noise scatters more, and repetitions would be noisier than the measurement. So the number of iterations is the
        one with the best consistency of withheld counts.
        """
        key = tuple(sorted(complete.items()))
        if self._last is None or self._last[0] != key:
            source = self._reconstructed(complete)
            if source.explained:
                source = replace(self._reconstructed(self._before_over_fitting(complete)), explained=True)
            self._last = (key, source)
        return self._last[1]

    def _reconstructed(self, complete: Mapping[str, Value]) -> _Repeatable:
        reconstruction = self._made(self._levels.whole, self._complete(complete), "")
        state = reconstruction.run(to_the_end, seed=0)
        if reason := reconstruction.divergence(state):
            raise _not_repeatable(reason)
        return _Repeatable(
            reconstruction, state, explained_by_counting(self._measurement, reconstruction.misfit, state)
        )

    def _before_over_fitting(self, complete: Mapping[str, Value]) -> dict[str, Value]:
        """The values, with iterations halved for as long as that explains withheld counts better.

        Raises:
            Diverged: the reconstruction without the withheld counts diverges, whatever the number of iterations.
        """
        best = dict(complete)
        if not self._levels.whole.withheld.total > 0:
            return best
        consistency, reason = self._held_out_consistency(best)
        while int(best["iterations"]) > 1:
            fewer: dict[str, Value] = {**best, "iterations": int(best["iterations"]) // 2}
            of_fewer, _ = self._held_out_consistency(fewer)
            if math.isfinite(consistency) and of_fewer <= consistency:
                break
            best, consistency = fewer, of_fewer
        if not math.isfinite(consistency):
            raise _not_repeatable(f"without the withheld counts {reason}")
        return best

    def _held_out_consistency(self, complete: Mapping[str, Value]) -> tuple[float, str]:
        """Held-out consistency at ``complete``; minus infinity where the reconstruction diverges, with the reason."""
        evaluation = self._evaluate(complete, HELD_OUT, 0, never_stop)
        return evaluation.metrics.get(HELD_OUT, -math.inf), evaluation.reason

    def describe_arrays(self, evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
        """See :class:`autotune.objective.DescribesArrays`."""
        return describe_arrays(evaluation)

    def export_measurement(self, values: Mapping[str, Value], *, metric: str, path: Path) -> Mapping[str, str]:
        """See :class:`autotune.objective.ExportsMeasurement`."""
        reconstruction, _ = self._reconstruction(values, metric)
        values = self._complete(values)
        return write_measurement(path, self._measurement, reconstruction.misfit, reconstruction.start(), values)

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """Draw the reconstruction: phase, amplitude, probe, and one pattern measured and modelled."""
        if "object" not in evaluation.arrays:
            return {}
        return {"reconstruction": draw_reconstruction(evaluation)}


def _not_repeatable(reason: str) -> Diverged:
    return Diverged(Problem("", f"the measurement cannot be repeated from this reconstruction: {reason}"))


def _require_counts(level: Level) -> None:
    """Raise InputError where the withheld part holds no counts, so that it cannot judge a reconstruction."""
    if not level.withheld.total > 0:
        wrong = f"{level.held_out.fraction:g} of the {level.held_out.of} hold no counts at all"
        raise InputError(Problem("objective.held_out.fraction", wrong, "withhold more of them"))
