"""The door between the tuner and the physics: the only module of ``autotune`` that an objective imports.

An objective is a reconstruction problem bound to one measurement. It offers two things: the list of parameters it
understands, and :meth:`Objective.evaluate`, which runs one reconstruction with given values and says how well the
model explains the measurement. Everything else (search, storage, MLflow, reports) is the tuner's work.

A package announces an objective through the entry-point group ``autotune.objectives``; a study may also name one
by a dotted path ``module:attribute``. Either way the thing named is an :class:`ObjectiveType`.

Nothing here imports torch, optuna or mlflow.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel

from autotune.errors import AutotuneError, InputError, Problem, near_miss

__all__ = [
    "ENTRY_POINT_GROUP",
    "ArrayAxis",
    "ArrayDescription",
    "AutotuneError",
    "CountsWork",
    "DescribesArrays",
    "Draft",
    "DraftLine",
    "DraftsStudies",
    "DrawsPictures",
    "Evaluation",
    "Examines",
    "ExplainsAbsence",
    "InputError",
    "Kind",
    "KnowsTruth",
    "MeasuresAgain",
    "Metric",
    "Objective",
    "ObjectiveType",
    "Parameter",
    "Problem",
    "Progress",
    "ShowsFits",
    "ShowsReconstructions",
    "Simulates",
    "Status",
    "Value",
    "View",
    "complete_values",
    "find_objective_type",
    "near_miss",
    "never_stop",
    "objective_names",
]

ENTRY_POINT_GROUP = "autotune.objectives"

Value = float | int | str
"""A parameter's value: float, int, or one of a categorical parameter's choices."""

Kind = Literal["mismatch", "solver", "fidelity"]
"""What a parameter is about: the instrument, the reconstruction, or how thoroughly an evaluation is done."""


@dataclass(frozen=True)
class Parameter:
    """One quantity an objective understands and a study may tune.

    Attributes:
        name: the name in study.yaml.
        unit: its unit as printed (``angstrom``, ``degree``, ``%``); ``1`` where it has none.
        kind: ``mismatch`` (what the instrument really did), ``solver`` (how the reconstruction runs), or ``fidelity``
            (how much of the data is used: never tuned, since the metric of less data is another metric).
        type: ``float``, ``int`` or ``categorical``.
        default: the value used where the study neither tunes nor fixes the parameter; ``None`` where it must do
            one or the other.
        low, high: the default range, in ``unit``; ``None`` where the study must state one.
        log: whether the default scale of the range is logarithmic.
        minimum, maximum: hard limits outside which the model has no meaning (inclusive); ``None`` for none.
        choices: the allowed values of a categorical parameter.
        differentiable: whether an evaluation may return a gradient for it.
        idle_while: pairs of another parameter's name and values: this one has no effect while that one is held at any
            of these, so a study that states this one then is refused. Empty where it always acts.
        cheaper: which values make an evaluation cheaper and its metric an approximation, so that a study may name such
            a value for its cheap evaluations (``search.fidelity``); None where neither does.
        made_up_by: an unknown of the reconstruction that makes up for a change of this parameter however good the data,
            so that nothing can be known of it ("the curvature of the probe"); empty where none does.
        made_up_while: as ``idle_while``: it does so only while each of these others has one of the values.
        description: one sentence for people, with the sign convention where there is one.
    """

    name: str
    unit: str
    kind: Kind
    default: Value | None
    type: Literal["float", "int", "categorical"] = "float"
    low: float | None = None
    high: float | None = None
    log: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    differentiable: bool = False
    idle_while: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    cheaper: Literal["lower", "higher"] | None = None
    made_up_by: str = ""
    made_up_while: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        if self.type == "categorical" and not self.choices:
            raise ValueError(f"parameter {self.name}: a categorical parameter needs choices")
        if self.type != "float" and self.differentiable:
            raise ValueError(f"parameter {self.name}: only a float parameter can be differentiable")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"parameter {self.name}: low {self.low} is not below high {self.high}")

    def idle(self, held: Mapping[str, Value | None]) -> bool:
        """Whether this parameter has no effect where others are held so; those not in ``held`` may be anything."""
        return self.idle_because(held) is not None

    def idle_because(self, held: Mapping[str, Value | None]) -> str | None:
        """The parameter whose value takes away this one's effect; None where it has one."""
        return next((name for name, values in self.idle_while if held.get(name) in values), None)


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation reports.

    Attributes:
        name: the key in :attr:`Evaluation.metrics`.
        goal: which way is better.
        unit: its unit; ``1`` where it has none.
        noise_ceiling: the value the true model would reach on this measurement, from its counting statistics;
            ``None`` where the measurement does not say (not counted, or the metric has no such bound).
        held_out_of: name of the metric whose held-out version this is, with the same goal: the same number on data that
            are withheld from the solver; ``None`` for one on the data that the solver sees (in-sample).
        description: formula and source in one line.
    """

    name: str
    goal: Literal["maximize", "minimize"]
    unit: str = "1"
    noise_ceiling: float | None = None
    held_out_of: str | None = None
    description: str = ""


class Status(StrEnum):
    """How an evaluation ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"  # the caller asked for an early end; the metrics are those of the state reached
    DIVERGED = "diverged"  # the reconstruction produced NaN, infinity or a residual beyond reason
    FAILED = "failed"  # it raised an error; set by the executor, so an objective may simply raise


@dataclass(frozen=True)
class Evaluation:
    """What one reconstruction yields.

    Attributes:
        status: how it ended.
        metrics: metric name -> value, computed on the frozen final state. Empty when diverged.
        gradient: parameter name -> derivative of the tuned metric, per unit of the parameter itself, for those
            differentiable parameters the objective could differentiate. By the envelope theorem this is the
            partial derivative at the fixed, converged reconstruction.
        curve: metric name -> its value after each iteration of the solver (index 0 = after the first).
        arrays: name -> array worth keeping (object, probe, ...).
        attributes: scalar facts about ``arrays`` that a reader needs (pixel sizes with units in the key).
        seconds: wall-clock cost of the evaluation.
        reason: one sentence where ``status`` is not complete.
        resources: what the evaluation took of its machine, such as ``cpu_seconds``; measured where it is left empty.
    """

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    gradient: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    attributes: Mapping[str, float | int | str] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status is Status.COMPLETE:
            bad = [name for name, value in self.metrics.items() if not math.isfinite(value)]
            if bad or not self.metrics:
                raise ValueError(
                    f"a complete evaluation needs finite metrics; not finite: {', '.join(bad) or 'none given'}"
                )
        elif not self.reason:
            raise ValueError(f"an evaluation that ended as {self.status} must give a reason")


class Progress(Protocol):
    """How an objective tells its caller where it is, and learns whether to go on."""

    def __call__(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Report after an iteration.

        Args:
            iteration: iterations done so far (1 after the first).
            iterations: iterations planned.
            metrics: what is cheap to know now; may be empty.

        Returns:
            True to go on; False to stop: finish with :attr:`Status.STOPPED` as soon as convenient.
        """


def never_stop(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
    """Progress callback of a caller that only wants the result."""
    return True


class Objective(Protocol):
    """A reconstruction problem bound to one measurement."""

    def parameters(self) -> Sequence[Parameter]:
        """Every parameter understood for this measurement, with defaults drawn from its metadata."""

    def metrics(self) -> Sequence[Metric]:
        """Every metric that can be asked for; the first is the one tuned unless the study says otherwise, in-sample.

        An evaluation reports the in-sample ones, and the held-out one that it is asked for.
        """

    def summary(self) -> Mapping[str, str]:
        """Facts for ``autotune check``: what was read, sizes with units, the backend.

        Under the key ``content hash``, a hash of the measurement: a study is not continued on another one.
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


@dataclass(frozen=True)
class DraftLine:
    """One key of a drafted study file.

    Attributes:
        key: dotted, from the top of the study file: ``objective.data.file``, ``parameters.defocus``.
        value: what to write there: text, number, list or map of these. An example where ``status`` is ``missing``.
        comment: what the file says about it, its unit, or what it is for; one line, shown beside the key.
        status: ``set``: written as it is. ``missing``: the study cannot run until the user states it; written as a
            comment, marked. ``optional``: written as a comment, for the user to take up.
    """

    key: str
    value: Any
    comment: str = ""
    status: Literal["set", "missing", "optional"] = "set"


@dataclass(frozen=True)
class Draft:
    """What an objective type proposes for a measurement file: the lines of a study that depend on it.

    Attributes:
        lines: keys below ``objective`` (less its ``name``) and ``parameters``, in the order to write them.
        facts: name -> text: what was found in the file, for people.
    """

    lines: Sequence[DraftLine]
    facts: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class DraftsStudies(Protocol):
    """An objective type that can propose a study for a measurement file (``autotune init``)."""

    @property
    def file_formats(self) -> Sequence[str]:
        """The file formats it knows, in words for people."""

    def draft(self, file: Path, *, folder: Path) -> Draft | None:
        """Propose a study for ``file``, from its metadata and a few of its values; never reads all of a large file.

        Args:
            file: an existing file or folder.
            folder: the folder of the study file to be, which paths in the draft should be relative to.

        Returns:
            the draft; None where the file is of no format that this type knows.

        Raises:
            InputError: the file is of a known format, but damaged.
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


@dataclass(frozen=True)
class ArrayAxis:
    """One axis of an array that an evaluation keeps: index i is at ``i * step``, in ``unit``; ``1`` where it counts."""

    name: str
    unit: str = "1"
    step: float = 1.0


@dataclass(frozen=True)
class ArrayDescription:
    """What an array holds, in ``unit``, and its axes."""

    unit: str
    axes: tuple[ArrayAxis, ...]


@runtime_checkable
class DescribesArrays(Protocol):
    """An objective that knows the units and axes of what its evaluations keep."""

    def describe_arrays(self, evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
        """Name of an array -> what it is."""


@runtime_checkable
class DrawsPictures(Protocol):
    """An objective that can show its evaluations."""

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        """Name -> PNG picture of the reconstruction, with axes, units and scale bars."""


@dataclass(frozen=True)
class View:
    """A picture of a reconstruction as data, so that those of several trials can be drawn on the same scales.

    Attributes:
        name: what it shows, such as ``object phase``; the same for every trial.
        image: (rows, columns), real.
        unit: of the values; ``1`` where they have none.
        pixel_y, pixel_x: size of a pixel, in ``length_unit``.
        length_unit: unit of lengths in the picture.
        colours: a colour map of matplotlib's in which equal steps look equal to everyone.
        limits: of the colours; None for those that hold all but the outliers.
    """

    name: str
    image: np.ndarray[Any, Any]
    unit: str
    pixel_y: float
    pixel_x: float
    length_unit: str
    colours: str = "cividis"
    limits: tuple[float, float] | None = None


@runtime_checkable
class ShowsReconstructions(Protocol):
    """An objective type that can show what its trials have kept, without their measurement (``autotune report``)."""

    def views(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """What people look at first, the most telling first; none where the arrays hold nothing to show.

        Args:
            arrays, attributes: those of an :class:`Evaluation`.
        """


@runtime_checkable
class ShowsFits(Protocol):
    """An objective type that can show how the trials it kept fit the measurement, without it (``autotune report``)."""

    def fits(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """What was measured, what the model says and what is left, then the probe; none where it was not kept.

        Each has limits: equal ones where images are compared, symmetric ones about zero for a difference.

        Args:
            arrays, attributes: those of an :class:`Evaluation`.
        """


def complete_values(parameters: Sequence[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter's value: the given one, checked, or the default; one without either is left out while idle.

    Raises:
        InputError: unknown name, wrong type, value outside the hard limits, or a value that has no default.
    """
    known = {parameter.name: parameter for parameter in parameters}
    problems = [
        Problem(f"parameters.{name}", "this measurement has no such parameter", near_miss(name, known))
        for name in values
        if name not in known
    ]
    complete: dict[str, Value] = {}
    chosen = {name: values.get(name, parameter.default) for name, parameter in known.items()}
    for name, parameter in known.items():
        value = chosen[name]
        if value is None and parameter.idle(chosen):
            continue
        if value is None:
            problems.append(Problem(f"parameters.{name}", "has no value", "tune it or state one"))
            continue
        trouble = _trouble_with(parameter, value)
        if trouble:
            problems.append(Problem(f"parameters.{name}", *trouble))
        complete[name] = value
    if problems:
        raise InputError(problems)
    return complete


def _trouble_with(parameter: Parameter, value: Value) -> tuple[str, str] | None:
    """What is wrong with ``value`` and what would be right; None where nothing is."""
    if parameter.type == "categorical":
        if value not in parameter.choices:
            return f"'{value}' is not a choice", f"one of: {', '.join(parameter.choices)}"
        return None
    if isinstance(value, str | bool) or not math.isfinite(value):
        return f"{value!r} is not a number", f"give a value in {parameter.unit}"
    if parameter.type == "int" and value != int(value):
        return f"{value} is not a whole number", "give an int"
    if parameter.minimum is not None and value < parameter.minimum:
        return (
            f"{value} is below the least possible value",
            f"at least {parameter.minimum:g} {parameter.unit}",
        )
    if parameter.maximum is not None and value > parameter.maximum:
        return (
            f"{value} is above the greatest possible value",
            f"at most {parameter.maximum:g} {parameter.unit}",
        )
    return None


def objective_names() -> list[str]:
    """Names registered under the entry-point group, sorted."""
    return sorted({entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)})


def find_objective_type(name: str) -> ObjectiveType:
    """Look up an objective type by its registered name or by a dotted path ``module:attribute``.

    Raises:
        InputError: the name is not registered, the module cannot be imported, or the attribute is not an
            objective type.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(
                Problem(
                    "objective.name",
                    f"'{name}' cannot be loaded: {error}",
                    "give an importable module:attribute",
                )
            ) from error
    else:
        entries = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
        if name not in entries:
            raise InputError(Problem("objective.name", f"no objective is called '{name}'", near_miss(name, entries)))
        found = entries[name].load()
    if not (hasattr(found, "settings") and callable(getattr(found, "open", None))):
        raise InputError(
            Problem("objective.name", f"'{name}' is not an objective type", "it needs .settings and .open()")
        )
    return found  # type: ignore[no-any-return]
