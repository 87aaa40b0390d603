"""What an objective and its type must offer, and what they may offer: one protocol for each capability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from autotune.objective.evaluation import Evaluation, Progress, never_stop
from autotune.objective.parameter import Metric, Parameter, Value


class Objective(Protocol):
    """A reconstruction problem bound to one measurement."""

    def parameters(self) -> Sequence[Parameter]:
        """Every parameter understood for this measurement, with defaults drawn from its metadata."""

    def metrics(self) -> Sequence[Metric]:
        """Every metric that can be asked for; the first is the one tuned unless the study says otherwise, in-sample.

        An evaluation reports the in-sample ones, and the held-out one that it is asked for.
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
            metric: the metric whose gradient is wanted. A held-out one (:attr:`Metric.held_out_of`) is reported only
                where it is asked for here: then its data are withheld from everything that makes the reconstruction,
                and the in-sample metrics are of the data that are left. Its gradient may be left out, or be near it. It
                is known at the end of an evaluation, so ``progress`` need not hear of it.
            seed: fixes everything random; equal arguments give equal results on one machine.
            progress: called after every iteration; a False from it stops the evaluation.

        Raises:
            InputError: a name is unknown or a value outside the parameter's hard limits.
        """


class ObjectiveType(Protocol):
    """What an entry point of the group ``autotune.objectives`` names: a kind of problem, not yet any data."""

    @property
    def settings(self) -> type[BaseModel]:
        """Pydantic model (``extra="forbid"``) of the study file's ``objective:`` block, less its ``name``."""

    def open(self, settings: BaseModel, *, folder: Path) -> Objective:
        """Read the measurement and return the objective bound to it.

        Args:
            settings: an instance of :attr:`settings`.
            folder: what relative paths in the settings are relative to (the study file's folder).

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
            folder: what relative paths in the settings are relative to.
            output: the file to write; ``None`` for the place where :meth:`ObjectiveType.open` looks for it.

        Returns:
            Facts to print: the files written and what is in them (not the hidden truth).
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
    """An objective that knows parameters which this measurement gives no meaning to."""

    def why_absent(self, name: str) -> str:
        """What would have to be known for parameter ``name`` to exist here; empty where nothing would help."""


@runtime_checkable
class KnowsTruth(Protocol):
    """An objective whose measurement was simulated, so that the answer can be revealed after the search."""

    def truth(self) -> Mapping[str, float]:
        """Parameter name -> true value in the parameter's unit; empty where it is not known."""


@runtime_checkable
class MeasuresAgain(Protocol):
    """An objective that can repeat its measurement in simulation: what noise does to an answer, this tells."""

    @property
    def noise(self) -> str:
        """What the noise is known from, for people: ``counted quanta`` or ``residuals``, perhaps with a remark."""

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Objective:
        """The same objective with another measurement: what its model expects at ``values``, with noise drawn anew.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            seed: of the noise; equal arguments give equal measurements.
        """


@runtime_checkable
class Examines(Protocol):
    """An objective that knows metrics of a reconstruction which are too dear for every trial (``autotune confirm``)."""

    def examinations(self) -> Sequence[Metric]:
        """What :meth:`examine` may report; their names may be those of :meth:`Objective.metrics`, if the values are."""

    def examine(self, values: Mapping[str, Value], *, seed: int) -> Mapping[str, float]:
        """Reconstruct at ``values``, perhaps more than once, and look closely.

        Args:
            values: parameter name -> value; parameters left out take their defaults.
            seed: fixes everything random; equal arguments give equal results on one machine.

        Returns:
            name -> finite value; one that makes no sense for this reconstruction is left out.
        """


@runtime_checkable
class CountsWork(Protocol):
    """An objective that knows what an evaluation costs before it is made."""

    def work(self, values: Mapping[str, Value]) -> float:
        """Cost of an evaluation at ``values``, positive, in any unit that repeats: only ratios are used."""
