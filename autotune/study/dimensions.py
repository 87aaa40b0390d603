"""From an entry of the block ``parameters:`` to a dimension of the search space, or to a fixed value."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.errors import Problem, near_miss
from autotune.objective import Parameter, Value
from autotune.problem.space import Dimension
from autotune.study.blocks.parameters import ParameterSpec
from autotune.study.file import StudyFile
from autotune.study.value_text import show
from autotune.text import shown_unit, unit_label, with_unit


def _inside(default: Value | None, low: float | None, high: float | None) -> Value | None:
    """A parameter's default where it is a number within the range; else None."""
    if default is None or isinstance(default, str) or low is None or high is None:
        return None
    return default if low <= default <= high else None


@dataclass(frozen=True)
class EntryChecker:
    """Checks one entry of the block ``parameters:`` against the objective's parameter of that name.

    Attributes:
        file: the study file.
        dotted: where the entry is in the file: ``parameters.NAME``.
        problems: mistakes are appended; what is unusable comes back as it is, so that the check can go on.
    """

    file: StudyFile
    dotted: str
    problems: list[Problem]

    def wrong(self, key: str, what: str, remedy: str = "") -> None:
        """Add a problem of the entry, or of a key in it; an empty ``key`` means the entry itself."""
        self.problems.append(self.file.problem(f"{self.dotted}.{key}" if key else self.dotted, what, remedy))

    def dimension(self, parameter: Parameter, spec: ParameterSpec) -> Dimension:
        """The dimension of a tuned parameter: what the entry states, else the parameter's defaults."""
        if parameter.type == "categorical":
            return self._categorical(parameter, spec)
        if spec.choices is not None:
            self.wrong("choices", f"{parameter.name} is a number, without choices", "give low and high")
        low = parameter.low if spec.low is None else spec.low
        high = parameter.high if spec.high is None else spec.high
        log = parameter.log if spec.log is None else spec.log
        if low is None or high is None:
            missing = " and ".join(key for key, end in (("low", low), ("high", high)) if end is None)
            self.wrong(
                "", f"{missing} must be given", f"{unit_label(parameter.name, parameter.unit)} has no default range"
            )
        for key, end in (("low", spec.low), ("high", spec.high)):
            if end is not None:
                self.value(key, parameter, end)
        if low is not None and high is not None and not low < high:
            self._reversed(spec, low, high)
        if log and low is not None and low <= 0 and not (spec.low is not None and self._below(parameter, low)):
            key = "log" if spec.low is None else "low"
            self.wrong(
                key,
                f"low {show(low)} is not above 0",
                "a logarithmic scale needs low above 0",
            )
        initial = None if spec.initial is None else self.value("initial", parameter, spec.initial)
        if isinstance(initial, (int, float)) and low is not None and high is not None and low < high:
            self._inside(initial, low, high)
        return Dimension(
            parameter.name,
            parameter.unit,
            parameter.kind,
            parameter.type,
            low=float(low or 0),
            high=float(high or 0),
            log=log,
            initial=initial,
            differentiable=parameter.differentiable,
            nominal=_inside(parameter.default, low, high),
            by_square=parameter.by_square,
        )

    def _reversed(self, spec: ParameterSpec, low: float, high: float) -> None:
        """Add the problem of a range that is empty because of the default of its other end."""
        if spec.low is not None:
            self.wrong("low", f"{show(low)} is not below high ({show(high)}, the default)", "give high as well")
        else:
            self.wrong("high", f"{show(high)} is not above low ({show(low)}, the default)", "give low as well")

    def _inside(self, initial: float, low: float, high: float) -> None:
        if not low <= initial <= high:
            self.wrong("initial", f"{show(initial)} is outside the range {show(low)} to {show(high)}")

    def _categorical(self, parameter: Parameter, spec: ParameterSpec) -> Dimension:
        for key in ("low", "high", "log"):
            if getattr(spec, key) is not None:
                self.wrong(
                    key,
                    f"{parameter.name} is not a number",
                    f"it has choices: {', '.join(parameter.choices)}",
                )
        choices = parameter.choices if spec.choices is None else spec.choices
        for choice in choices:
            self.value("choices", parameter, choice)
        if len(choices) < 2:
            self.wrong("", f"{parameter.name} has only one choice, {choices[0]}", "leave it out")
        initial = None if spec.initial is None else self.value("initial", parameter, spec.initial)
        return Dimension(
            parameter.name,
            parameter.unit,
            parameter.kind,
            "categorical",
            choices=choices,
            initial=initial,
            nominal=parameter.default if parameter.default in choices else None,
        )

    def value(self, key: str, parameter: Parameter, value: Value) -> Value:
        """The value in the parameter's own type; adds a problem where its type is wrong or it passes a hard limit."""
        if parameter.type == "categorical":
            if value not in parameter.choices:
                hint = near_miss(str(value), parameter.choices)
                self.wrong(key, f"{show(value)} is not a choice of {parameter.name}", hint)
            return value
        if isinstance(value, str):
            unit = shown_unit(parameter.unit)
            self.wrong(
                key, f"{show(value)} is not a number", f"{parameter.name} is {f'in {unit}' if unit else 'a number'}"
            )
            return value
        if self._below(parameter, value):
            self.wrong(
                key,
                f"{show(value)} is below the limit",
                f"the least is {with_unit(show(parameter.minimum), parameter.unit)}",
            )
        if parameter.maximum is not None and value > parameter.maximum:
            self.wrong(
                key,
                f"{show(value)} is above the limit",
                f"the most is {with_unit(show(parameter.maximum), parameter.unit)}",
            )
        if parameter.type == "float":
            return float(value)
        if value != int(value):
            self.wrong(key, f"{show(value)} is not a whole number", f"{parameter.name} takes whole numbers")
        return int(value)

    @staticmethod
    def _below(parameter: Parameter, value: float) -> bool:
        return parameter.minimum is not None and value < parameter.minimum
