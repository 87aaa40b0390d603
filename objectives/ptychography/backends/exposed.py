"""The parameters of a study with a backend: those of ours that it has, what the others are held at, and its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.objective import InputError, Parameter, Problem, Value
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.native import NativeOption
from objectives.ptychography.parameters.instrument import parameters_of
from objectives.ptychography.parameters.window import PADDING

_SHARED = frozenset({"iterations", "probe", "probe_start", "probe_modes"})
"""Solver parameters of ours that every backend has."""
_UNKNOWN: Mapping[str, Value] = {"background": 0.0, "detector_blur": 0.0, "pixel_fill": 0.0, PADDING: 1.0}
"""What packages do not model, and the values at which our model is theirs."""
_OF_TILT = frozenset({"tilt_y", "tilt_x"})
_OF_DEPTH = frozenset({"slices", "thickness"})


@dataclass(frozen=True)
class Exposed:
    """The parameters of a study with a backend.

    Attributes:
        offered: those that the study may name.
        ours: all that our own model has, of which only those that are offered are differentiable.
        held: name -> value of those that are ours and not offered.
    """

    offered: tuple[Parameter, ...]
    ours: tuple[Parameter, ...]
    held: Mapping[str, Value]


def expose(measurement: Measurement, backend: Backend, native: Sequence[NativeOption] = ()) -> Exposed:
    """The parameters of a measurement with a backend.

    Args:
        measurement: the measurement.
        backend: the backend.
        native: options of the package that are parameters, too.

    Raises:
        InputError: no backend reconstructs such a measurement, or a native option has the name of another parameter.
    """
    if not isinstance(measurement.geometry, FarField):
        remedy = "leave objective.backend out: the built-in solvers reconstruct it"
        raise InputError(Problem("objective.backend", "packages reconstruct the far field only", remedy))
    ours = parameters_of(measurement)
    offered = [parameter for parameter in ours if _offered(parameter, backend)]
    known = {parameter.name for parameter in (*offered, *backend.parameters)}
    own = [replace(p, idle_while=_without(p, known)) for p in backend.parameters]
    offered = [replace(p, idle_while=_without(p, known)) for p in offered]
    names = {parameter.name for parameter in offered}
    taken = {p.name for p in (*ours, *own)}
    for option in native:
        if (name := option.parameter.name) in taken:
            raise InputError(Problem(f"objective.backend.parameters.{name}", "is a parameter already", "rename it"))
    held = {
        p.name: value for p in ours if p.name not in names and (value := _UNKNOWN.get(p.name, p.default)) is not None
    }
    return Exposed(
        (*offered, *own, *(option.parameter for option in native)),
        tuple(p if p.name in names else replace(p, differentiable=False) for p in ours),
        held,
    )


def why_not_offered(name: str, backend: Backend) -> str:
    """Say why a parameter of ours does not exist with a backend; empty where that is not the reason."""
    if name in _UNKNOWN or name in _OF_TILT:
        return f"{backend.name} does not model it"
    if name in _OF_DEPTH and not backend.thick:
        return f"{backend.name} reconstructs one slice only"
    return f"{backend.name} has solver parameters of its own: {', '.join(p.name for p in backend.parameters)}"


def _offered(parameter: Parameter, backend: Backend) -> bool:
    if parameter.name in _UNKNOWN or parameter.name in _OF_TILT:
        return False
    if parameter.name in _OF_DEPTH:
        return backend.thick
    if parameter.name == "probe_modes":
        return backend.modes
    return parameter.kind != "solver" or parameter.name in _SHARED


def _without(parameter: Parameter, known: set[str]) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    """The conditions under which it is idle that name what exists here."""
    return tuple(condition for condition in parameter.idle_while if condition[0] in known)
