"""What a framework hands to ``ingest``: one dict per evaluated point, read as an evaluation at a point of the space."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.integrations.gest.problem import ID, GestProblem
from autotune.integrations.gest.variables import is_number, number_of, same
from autotune.objective import Evaluation, Status, Value


@dataclass(frozen=True)
class Result:
    """One evaluated point.

    Attributes:
        number: number of the trial that suggested it; None where the point comes from elsewhere.
        values: name -> value, as in the store, of the variables that the result states.
        context: contextual variable -> observed value.
        evaluation: what it yielded.
    """

    number: int | None
    values: Mapping[str, Value]
    context: Mapping[str, float]
    evaluation: Evaluation


def read_result(result: Mapping[str, Any], problem: GestProblem, gradients: Mapping[str, str]) -> Result:
    """Read one result. Keys that the VOCS does not name are the framework's own, and are left alone.

    Raises:
        ValueError: a value is not possible, a variable of a point from elsewhere is missing, a constant differs, or a
            complete result lacks a contextual variable.
    """
    number = number_in(result)
    values = {v.name: v.encode(result[v.name]) for v in problem.variables if not _missing(result.get(v.name))}
    absent = [v.name for v in problem.variables if v.name not in values]
    if absent and number is None:
        raise ValueError(f"a point without '{ID}' needs a value of every variable; it lacks {', '.join(absent)}")
    for name, value in problem.held.items():
        if not _missing(result.get(name)) and not same(value, result[name]):
            raise ValueError(f"{name} is {result[name]!r}, and this problem holds it at {value!r}")
    evaluation = evaluation_of(result, problem, gradients)
    observed = {c.name: c.value_of(result.get(c.name)) for c in problem.contexts}
    context = {name: value for name, value in observed.items() if value is not None}
    if evaluation.status is Status.COMPLETE and len(context) < len(observed):
        lacking = ", ".join(name for name in observed if name not in context)
        raise ValueError(f"a result lacks the observed value of {lacking}")
    return Result(number, values, context, evaluation)


def number_in(result: Mapping[str, Any]) -> int | None:
    """The identity that a result states, which is the number of a trial.

    None where it has none: frameworks put None or NaN there for points of their own.

    Raises:
        ValueError: it is not a whole number, as every identity of ours.
    """
    stated = result.get(ID)
    if _missing(stated):
        return None
    if not is_number(stated) or not float(stated).is_integer():
        raise ValueError(f"no point with '{ID}' {stated!r} was suggested by this generator")
    return int(stated)


def evaluation_of(result: Mapping[str, Any], problem: GestProblem, gradients: Mapping[str, str]) -> Evaluation:
    """The evaluation in a result. It has failed where an objective is missing, NaN or infinite.

    Raises:
        ValueError: an objective, a constraint or a derivative is not one number.
    """
    objectives = {m.name: number_of(m.name, result.get(m.name)) for m in problem.metrics}
    bad = [
        f"{name} = {value}" if name in result else f"no {name}"
        for name, value in objectives.items()
        if not math.isfinite(value)
    ]
    if bad:
        return Evaluation(Status.FAILED, reason=f"the result has {', '.join(bad)}")
    constrained = {limit.metric for limit in problem.limits}
    reported = {
        name: number_of(name, result.get(name))
        for name in problem.reported
        if name in constrained or name in gradients.values() or is_number(result.get(name))
    }
    metrics = {name: value for name, value in {**reported, **objectives}.items() if math.isfinite(value)}
    gradient = {name: reported[key] for name, key in gradients.items() if math.isfinite(reported[key])}
    return Evaluation(Status.COMPLETE, metrics=metrics, gradient=gradient)


def _missing(value: Any) -> bool:
    """Whether a value stands for none: None, or NaN, as in a table's empty cell."""
    return value is None or (isinstance(value, numbers.Real) and math.isnan(float(value)))
