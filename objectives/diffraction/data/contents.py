"""The contents of an open file, as its reader describes them before geometry is resolved and patterns are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from autotune.objective import InputError, Problem
from objectives.diffraction.data.frames import Frames
from objectives.diffraction.data.settings import GeometrySettings

__all__ = ["Contents", "Findings", "Frames", "as_modes", "describe_type", "geometry_in_file", "numeric", "scalar"]


@dataclass(frozen=True)
class Contents:
    """One open file as its reader understands it; valid while the reader's context is open.

    Attributes:
        path: the file.
        frames: (position, det_y, det_x) or (scan_y, scan_x, det_y, det_x), any real numeric type.
        frames_name: the dataset's name, for messages.
        geometry: the geometry stated by the file.
        positions: float64 (position, 2), (y, x) of the probe on the object in the frame of the detector's
            axes, in ``position_unit``, not centred; None where the file lists none (then ``frames`` is a
            raster).
        positions_name: the dataset's name, for messages.
        position_unit: unit of ``positions``.
        scan_shape: (rows, columns) of a raster in row-major order, for three-dimensional ``frames``.
        bad: bool (det_y, det_x), True on pixels to ignore; None where the file has no mask.
        probe: complex64 (det_y, det_x), or several modes (mode, det_y, det_x), centred at (N//2, N//2); None where the
            file has none.
        transposed: whether the file says that its patterns are transposed against the scan.
        corner: whether the unscattered beam is stored at pixel (0, 0).
        counted: whether the values are counted quanta; None to decide from the values.
        source: origin of the data, in words for people.
    """

    path: Path
    frames: Frames
    frames_name: str
    geometry: GeometrySettings
    positions: NDArray[np.float64] | None = None
    positions_name: str = "positions"
    position_unit: Literal["angstrom", "object pixel"] = "angstrom"
    scan_shape: tuple[int, int] | None = None
    bad: NDArray[np.bool_] | None = None
    probe: NDArray[np.complex64] | None = None
    transposed: bool = False
    corner: bool = False
    counted: bool | None = None
    source: str = ""

    def problem(self, dataset: str, what: str, remedy: str = "") -> Problem:
        """Describe a problem with one dataset of this file."""
        return Problem(f"{self.path}: {dataset}", what, remedy)


@dataclass
class Findings:
    """Collects the problems of a file, so that the user sees all of them at once."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem | None) -> None:
        """Keep a problem, if there is one."""
        if problem is not None:
            self.problems.append(problem)

    def raise_any(self) -> None:
        """Raise InputError with every problem kept, if any."""
        if self.problems:
            raise InputError(self.problems)


def numeric(where: str, array: Any, *, kinds: str = "iuf") -> NDArray[Any]:
    """Load ``array`` into memory, if its type is one of ``kinds`` (numpy kind codes).

    Raises:
        InputError: text, objects, complex or other values where numbers are expected.
    """
    values = np.asarray(array)
    if values.dtype.kind not in kinds:
        raise InputError(Problem(where, f"holds {describe_type(values.dtype)}", "numbers are expected"))
    return values


def as_modes(probe: NDArray[Any]) -> NDArray[np.complex64]:
    """A probe (..., y, x) as :class:`Contents` has it: (y, x), or (mode, y, x) where there are several."""
    modes = np.ascontiguousarray(probe, dtype=np.complex64).reshape(-1, *probe.shape[-2:])
    return modes[0] if len(modes) == 1 else modes


def scalar(where: str, array: Any) -> float:
    """Return the only number in ``array``.

    Raises:
        InputError: not a number, or more than one.
    """
    values = numeric(where, array)
    if values.size != 1:
        raise InputError(Problem(where, f"has shape {values.shape}", "one number is expected"))
    return float(values.reshape(-1)[0])


def describe_type(dtype: np.dtype[Any]) -> str:
    """Describe a dtype in words for people."""
    words = {"O": "Python objects", "U": "text", "S": "text", "c": "complex values", "b": "true/false values"}
    return f"{words.get(dtype.kind, 'values')} of type {dtype}"


def geometry_in_file(path: Path, values: Mapping[str, Any], names: Mapping[str, str]) -> GeometrySettings:
    """Build the geometry stated by a file.

    Args:
        path: the file.
        values: field of :class:`GeometrySettings` -> value in the field's unit.
        names: the same fields -> the dataset that each value came from.

    Raises:
        InputError: a value is impossible (zero, negative, not finite).
    """
    try:
        return GeometrySettings(**values)
    except ValidationError as error:
        raise InputError([_impossible(path, fault, names) for fault in error.errors()]) from None


def _impossible(path: Path, fault: ErrorDetails, names: Mapping[str, str]) -> Problem:
    """Express a fault reported by pydantic as a problem of the file's dataset."""
    if not fault["loc"]:
        return Problem(f"{path}: geometry", fault["msg"])
    field_name = str(fault["loc"][0])
    return Problem(
        f"{path}: {names.get(field_name, field_name)}",
        f"{fault['input']!r} is impossible ({fault['msg']})",
        "correct the file",
    )
