"""The objective of a Python function, which :func:`autotune.tune` makes a study of."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from autotune.embedding.ranges import Plain, RangeSettings
from autotune.errors import InputError, Problem
from autotune.objective import Evaluation, Metric, Parameter, Progress, Status, Value, never_stop

Function = Callable[..., Any]
NAME = f"{__name__}:plain_function"
"""``objective.name`` of a study of a function."""
_IN_THIS_PROCESS: dict[str, Function] = {}
"""Functions that are being tuned here, by their names: what a notebook or another function defines has no module."""


class MetricSettings(BaseModel):
    """A number that the function returns."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str
    """Its key in what the function returns."""
    goal: Literal["maximize", "minimize"] = "maximize"
    """Whether larger or smaller values are better."""
    unit: str = "1"
    """Its unit, for people."""


class FunctionSettings(BaseModel):
    """What is tuned, and what it returns."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    function: str
    """The function, as ``module:name``."""
    code: str = ""
    """Hash of the function's own code: a study is not continued with another function of the same name."""
    ranges: dict[str, RangeSettings]
    """Name -> range of an argument that is tuned."""
    held: dict[str, Plain] = {}
    """Name -> value of an argument that is held."""
    metrics: list[MetricSettings]
    """What it returns; the first is tuned."""


class FunctionObjective:
    """A function as a reconstruction problem."""

    def __init__(self, function: Function, settings: FunctionSettings) -> None:
        self._function, self._settings = function, settings

    def parameters(self) -> Sequence[Parameter]:
        """The arguments that are tuned."""
        return [stated.parameter(name) for name, stated in self._settings.ranges.items()]

    def metrics(self) -> Sequence[Metric]:
        """What the function was said to return."""
        return [Metric(metric.name, metric.goal, metric.unit) for metric in self._settings.metrics]

    def summary(self) -> Mapping[str, str]:
        """The function and what it is held at."""
        held = ", ".join(f"{name} = {value!r}" for name, value in self._settings.held.items())
        return {"function": self._settings.function} | ({"held": held} if held else {})

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Call the function.

        Raises:
            TypeError: it returned something else than :func:`autotune.tune` says.
        """
        ranges = self._settings.ranges
        arguments = {name: ranges[name].argument(value) for name, value in values.items()}
        return evaluation_of(self._function(**self._settings.held, **arguments), self._settings.metrics[0].name)


class PlainFunction:
    """The objective type of functions; a study names it as :data:`NAME`."""

    settings = FunctionSettings

    def open(self, settings: FunctionSettings, *, folder: Path) -> FunctionObjective:
        """Find the function: one that is being tuned in this process, else one that can be imported.

        Raises:
            InputError: there is none of this name.
        """
        return FunctionObjective(_IN_THIS_PROCESS.get(settings.function) or _imported(settings.function), settings)


plain_function = PlainFunction()


@contextmanager
def known(function: Function) -> Iterator[str]:
    """Have studies of this process find a function while the block lasts; gives its name."""
    name = name_of(function)
    before = _IN_THIS_PROCESS.get(name)
    _IN_THIS_PROCESS[name] = function
    try:
        yield name
    finally:
        _IN_THIS_PROCESS.pop(name)
        if before is not None:
            _IN_THIS_PROCESS[name] = before


def name_of(function: Function) -> str:
    """``module:name`` of a function; for one that is called through an object, that of its class."""
    named = function if hasattr(function, "__qualname__") else getattr(function, "func", type(function))
    return f"{getattr(named, '__module__', '') or 'builtins'}:{getattr(named, '__qualname__', 'function')}"


def is_importable(function: Function) -> bool:
    """Whether another process finds the same function by its name."""
    name = name_of(function)
    if name.startswith("__main__:"):
        return False
    try:
        return _imported(name) is function
    except InputError:
        return False


def code_of(function: Function) -> str:
    """Hash of what a function does: of its own code, not of what it calls; empty for one without code of its own."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else hashlib.sha256(_code(code).encode()).hexdigest()[:16]


def _code(code: CodeType) -> str:
    """Instructions, names and constants, without places in files."""
    constants = [_constant(one) for one in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))


def _constant(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code(constant)
    # The order of a set differs from process to process.
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def check_arguments(function: Function, names: Sequence[str]) -> None:
    """See that a function can be called with these keyword arguments.

    Raises:
        InputError: it cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one of a library in C may not say
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        where, remedy = name_of(function).partition(":")[2], f"it is called with {', '.join(f'{n}=...' for n in names)}"
        raise InputError(Problem(f"{where}{signature}", str(error), remedy)) from error


def evaluation_of(returned: object, metric: str) -> Evaluation:
    """The evaluation that a function's result means.

    Args:
        returned: a number, a map of metrics, either of them in a pair with a map of derivatives, or an evaluation.
        metric: name of the tuned metric, which a plain number is.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(returned, Evaluation):
        return returned
    gradient: Mapping[str, float] = {}
    if isinstance(returned, tuple):
        value, derivatives = returned if len(returned) == 2 else (returned, None)
        if not isinstance(derivatives, Mapping):
            raise TypeError(f"the function returned {_shown(returned)}; a pair is (value, {{name: derivative}})")
        returned, gradient = value, {str(name): _number(slope, returned) for name, slope in derivatives.items()}
    if isinstance(returned, Mapping):
        metrics = {str(name): _number(value, returned) for name, value in returned.items()}
        if metric not in metrics:
            raise TypeError(f"the function returned {', '.join(metrics) or 'nothing'}, without {metric}")
    else:
        metrics = {metric: _number(returned, returned)}
    finite = {name: value for name, value in metrics.items() if value - value == 0}
    if metric not in finite:
        return Evaluation(Status.FAILED, reason=f"the function returned {metric} = {metrics[metric]}")
    return Evaluation(Status.COMPLETE, metrics=finite, gradient=gradient)


def _number(value: Any, returned: object) -> float:
    """A number, also where it is an array's or a tensor's only element."""
    if value is not None and not isinstance(value, str | bytes):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            pass
    raise TypeError(
        f"the function returned {_shown(returned)}; return a number, a map of metrics, or either in a pair with a map "
        "of derivatives"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _imported(name: str) -> Function:
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        what, remedy = f"'{name}' cannot be imported: {error}", "call autotune.tune with the function again"
        raise InputError(Problem("objective.function", what, remedy)) from error
    if not callable(found):
        raise InputError(Problem("objective.function", f"'{name}' is no function", "name one as module:name"))
    return found  # type: ignore[no-any-return]
