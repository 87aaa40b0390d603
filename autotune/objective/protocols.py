"""The protocols of an objective and its type: what they must offer, and one protocol for each further capability."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from autotune.errors import Problem
from autotune.objective.evaluation import Evaluation, Progress, never_stop
from autotune.objective.parameter import Metric, Parameter, Value


class Objective(Protocol):
    """A reconstruction problem bound to one measurement."""

    def parameters(self) -> Sequence[Parameter]:
        """Every parameter understood for this measurement, with defaults drawn from its metadata."""

    def metrics(self) -> Sequence[Metric]:
        """Every metric that a study may tune. The first, an in-sample one, is tuned unless the study names another.

        An evaluation reports all in-sample metrics, and a held-out one only where it is the tuned one.
        """

    def summary(self) -> Mapping[str, str]:
        """Facts to show people (``autotune check``): what was read, sizes with units, the backend.

        An objective whose data may change also tells its measurement from another (:class:`IdentifiesMeasurement`).
        """

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Run one reconstruction.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            metric: the tuned metric, whose gradient is wanted. A held-out metric (:attr:`Metric.held_out_of`) is
                reported only where it is this one. Its data are then withheld from everything that makes the
                reconstruction, and the in-sample metrics are of the remaining data. Its gradient may be left out or
                approximate, and ``progress`` need not be given it, since it is known only at the end.
            seed: fixes everything random; equal arguments give equal results on one machine.
            progress: called after every iteration; a False from it stops the evaluation.

        Raises:
            InputError: a name is unknown or a value outside the parameter's hard limits.
        """


class ObjectiveType(Protocol):
    """A kind of problem, not yet bound to data; what an entry point of the group ``autotune.objectives`` names."""

    @property
    def settings(self) -> type[BaseModel]:
        """Pydantic model (``extra="forbid"``) of the study file's ``objective:`` block, less its ``name``."""

    def open(self, settings: BaseModel, *, folder: Path) -> Objective:
        """Read the measurement and return the objective bound to it.

        Args:
            settings: an instance of :attr:`settings`.
            folder: the folder that relative paths in the settings start from (that of the study file).

        Raises:
            InputError: data missing, unreadable, malformed, or lacking geometry that the problem needs.
        """


@runtime_checkable
class Simulates(Protocol):
    """An objective type that can make a measurement from a study's settings (``autotune simulate``)."""

    def simulate(self, settings: BaseModel, *, folder: Path, output: Path | None) -> Mapping[str, str]:
        """Write the simulated measurement that ``settings`` describe, and its truth in a file beside it.

        Args:
            settings: an instance of the type's settings.
            folder: the folder that relative paths in the settings start from.
            output: the file to write; ``None`` for the path at which :meth:`ObjectiveType.open` expects it.

        Returns:
            Facts to print, name -> text: the files written and their content, without the hidden truth.
        """


@runtime_checkable
class NarrowsForService(Protocol):
    """An objective type with settings that only the operator of a service may state, such as programs to run."""

    def not_from_outside(self, settings: BaseModel, backends: Collection[str]) -> Sequence[Problem]:
        """What a study that was sent to a service states and must not.

        That files are named below declared folders is seen to elsewhere, for every setting that is a path, and for a
        text whose field has ``json_schema_extra={"format": "path"}``, up to the first ``::``.

        Args:
            settings: an instance of the type's settings.
            backends: names of the packages that the operator allows to reconstruct.

        Returns:
            The problems, each at its dotted place in the study; empty where there is none.
        """


@runtime_checkable
class IdentifiesMeasurement(Protocol):
    """An objective that tells its measurement from any other, so that a study is not continued on changed data."""

    @property
    def content_hash(self) -> str:
        """Hash of all measured data and metadata that decide an evaluation, such as a SHA-256 in hexadecimal.

        Equal for equal content, wherever the files are and whenever they are read.
        """


@runtime_checkable
class ExplainsAbsence(Protocol):
    """An objective that can say why a parameter does not exist for its measurement."""

    def why_absent(self, name: str) -> str:
        """What the measurement lacks for parameter ``name`` to exist, as a remedy; empty where there is no remedy."""


@runtime_checkable
class ExportsMeasurement(Protocol):
    """An objective that can write its measurement for other programs (``autotune export``)."""

    def export_measurement(self, values: Mapping[str, Value], *, metric: str, path: Path) -> Mapping[str, str]:
        """Write an HDF5 file of the measurement as :meth:`Objective.evaluate` sees it with the same arguments.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            metric: the tuned metric's name; what a held-out one withholds is left out.
            path: the file; it is not there.

        Returns:
            Facts to print, name -> text.
        """


@runtime_checkable
class KnowsTruth(Protocol):
    """An objective whose measurement was simulated, so that the answer can be revealed after the search."""

    def truth(self) -> Mapping[str, float]:
        """Parameter name -> true value in the parameter's unit; empty where it is not known."""


@runtime_checkable
class MeasuresAgain(Protocol):
    """An objective that can repeat its measurement in simulation, which shows the effect of noise on an answer."""

    @property
    def noise(self) -> str:
        """Source of the noise level, for people: ``counted quanta`` or ``residuals``, perhaps with a remark."""

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Objective:
        """The same objective bound to a repeated measurement: the model's expectation at ``values``, with new noise.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            seed: seed of the noise; equal arguments give equal measurements.

        Raises:
            Diverged: the reconstruction from which the measurement would be repeated diverges.
        """


@runtime_checkable
class DividesGradient(Protocol):
    """An objective whose metric is a sum over parts of the data, which shows the effect of errors of the model.

    Where a model is right, the parts of the gradient at the optimum differ by noise alone. Where it is wrong, each part
    pulls the parameters its own way, and the scatter of the parts tells how far the answer can be trusted.
    """

    def evaluate_in_parts(
        self, values: Mapping[str, Value], *, metric: str, seed: int, moved: Mapping[str, float]
    ) -> Evaluation:
        """Reconstruct at ``values``, as :meth:`Objective.evaluate` does, and divide the gradient.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            metric: the tuned metric.
            seed: fixes everything random; equal arguments give equal results on one machine.
            moved: name of a parameter that is a number -> another value of it, at which the objective reconstructs
                anew, all else as before: of those that are tuned, and of those held at a value not known exactly.

        Returns:
            A complete evaluation with :attr:`Evaluation.gradient_parts` of each of ``moved``, without those at which
            the reconstruction fails: of parts in which errors of the model are about independent, such as the regions
            of a detector. With :attr:`Evaluation.gradient_changes`, what is due to the values of the parameters is
            taken off the parts; with :attr:`Evaluation.gradient_noise`, noise is taken off their scatter;
            :attr:`Evaluation.gradient_shifts` tells what held values do to the answer; of
            :attr:`Evaluation.gradient_again` the mean is taken, and their scatter counts as noise;
            :attr:`Evaluation.confounded` widens the intervals of what no data of this kind tell. Its metrics may hold
            ``misfit``: by how many standard deviations of the noise the residual exceeds it.
        """


@runtime_checkable
class Examines(Protocol):
    """An objective with further metrics that are too expensive for every trial (``autotune confirm``)."""

    def examinations(self) -> Sequence[Metric]:
        """The metrics that :meth:`examine` may report.

        One may have the name of one of :meth:`Objective.metrics` only if it has the same values.
        """

    def examine(self, values: Mapping[str, Value], *, seed: int) -> Mapping[str, float]:
        """Reconstruct at ``values``, perhaps more than once, and compute the further metrics.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            seed: fixes everything random; equal arguments give equal results on one machine.

        Returns:
            Name of a metric -> finite value; one without meaning for this reconstruction is left out.

        Raises:
            Diverged: the reconstruction diverges.
        """


@runtime_checkable
class CountsWork(Protocol):
    """An objective that can state the cost of an evaluation in advance."""

    def work(self, values: Mapping[str, Value]) -> float:
        """Cost of an evaluation at ``values``, positive, in any fixed unit: only ratios are used."""
