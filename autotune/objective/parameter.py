"""Parameters and metrics: the quantities that an objective understands, and the numbers that it reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autotune.errors import InputError, Problem, near_miss
from autotune.text import shown_unit, with_unit

Value = float | int | str
"""A parameter's value: float, int, or one of a categorical parameter's choices."""
Kind = Literal["mismatch", "solver", "fidelity"]
"""Kind of a parameter: the instrument, the reconstruction, or how thorough an evaluation is."""


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
        idle_while: pairs of another parameter's name and values. This parameter has no effect while the other one has
            any of these values, and a study that states it then is refused. Empty where it always has an effect.
        cheaper: whether lower or higher values make an evaluation cheaper and its metric an approximation, so that a
            study may name such a value for its cheap evaluations (``search.fidelity``); None where neither does.
        made_up_by: an unknown of the reconstruction that makes up for a change of this parameter however good the data
            are, so that they cannot determine it ("the curvature of the probe"); empty where there is none.
        made_up_while: pairs as in ``idle_while``: that unknown makes up for this parameter only while each of these
            other parameters has one of the values.
        uncertainty: standard uncertainty of ``default`` in ``unit``, for a quantity of the instrument that is stated
            but not known exactly (a lens's aperture). Where a study does not tune the parameter, intervals of the
            others cover it. None where the value is exact, or a study's own choice.
        in_quadrature: size, in ``unit``, of an unknown that adds to a tuned value in quadrature whatever the data are:
            an effect of the same kind that the model approximates. The parameter's interval covers it. None for none.
        by_square: whether the model depends on the parameter's square alone, as on the width of a blur. Derivatives
            are by the square then: those by the width itself vanish at 0, and say nothing. A search moves in the
            square, too. The minimum is 0.
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
    uncertainty: float | None = None
    in_quadrature: float | None = None
    by_square: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        if self.type == "categorical" and not self.choices:
            raise ValueError(f"parameter {self.name}: a categorical parameter needs choices")
        if self.type != "float" and self.differentiable:
            raise ValueError(f"parameter {self.name}: only a float parameter can be differentiable")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"parameter {self.name}: low {self.low} is not below high {self.high}")
        if self.uncertainty is not None and not (self.type == "float" and self.uncertainty >= 0):
            raise ValueError(f"parameter {self.name}: only a float parameter has an uncertainty, of 0 at least")
        if self.by_square and not (self.type == "float" and self.minimum == 0):
            raise ValueError(f"parameter {self.name}: only a float parameter whose minimum is 0 can act by its square")
        if self.in_quadrature is not None and not (self.by_square and self.in_quadrature > 0):
            raise ValueError(
                f"parameter {self.name}: what adds in quadrature is above 0, and to a parameter that acts by its square"
            )

    def acting(self, value: float) -> float:
        """The quantity that derivatives are by: the value, or its square where it acts by that."""
        return value**2 if self.by_square else value

    def with_unit(self, value: float) -> str:
        """A value of this parameter as text, followed by the unit where it has one."""
        return with_unit(f"{value:g}", self.unit)

    def idle(self, held: Mapping[str, Value | None]) -> bool:
        """Whether this parameter has no effect while others are held at these values; the rest may have any value."""
        return self.idle_because(held) is not None

    def idle_because(self, held: Mapping[str, Value | None]) -> str | None:
        """Name of the held parameter whose value takes away this one's effect; None where it has an effect."""
        return next((name for name, values in self.idle_while if held.get(name) in values), None)


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation reports.

    Attributes:
        name: the key in :attr:`Evaluation.metrics`.
        goal: whether larger or smaller values are better.
        unit: its unit; ``1`` where it has none.
        noise_ceiling: the value the true model would reach on this measurement, from its counting statistics;
            ``None`` where the measurement does not say (not counted, or the metric has no such bound).
        held_out_of: name of the metric whose held-out version this is: the same number, with the same goal, on data
            that are withheld from the solver; ``None`` for a metric of the data that the solver uses (in-sample).
        description: formula and source in one line.
    """

    name: str
    goal: Literal["maximize", "minimize"]
    unit: str = "1"
    noise_ceiling: float | None = None
    held_out_of: str | None = None
    description: str = ""

    @property
    def sign(self) -> float:
        """The factor that makes larger values better: 1 for a maximised metric, -1 for a minimised one."""
        return 1.0 if self.goal == "maximize" else -1.0


def complete_values(parameters: Sequence[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter's value: the given one, checked, else the default. An idle parameter without either is left out.

    Raises:
        InputError: unknown name, wrong type, value outside the hard limits, or a value that has no default.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    problems = [
        Problem(f"parameters.{name}", "this measurement has no such parameter", near_miss(name, by_name))
        for name in values
        if name not in by_name
    ]
    complete: dict[str, Value] = {}
    chosen = {name: values.get(name, parameter.default) for name, parameter in by_name.items()}
    for name, parameter in by_name.items():
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
        return f"{value!r} is not a number", f"give a value in {parameter.unit}" if shown_unit(
            parameter.unit
        ) else "give a number"
    if parameter.type == "int" and value != int(value):
        return f"{value} is not a whole number", "give an int"
    if parameter.minimum is not None and value < parameter.minimum:
        return (
            f"{value} is below the least possible value",
            f"at least {parameter.with_unit(parameter.minimum)}",
        )
    if parameter.maximum is not None and value > parameter.maximum:
        return (
            f"{value} is above the greatest possible value",
            f"at most {parameter.with_unit(parameter.maximum)}",
        )
    return None
