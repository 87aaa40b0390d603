"""Rasters stored as a list of patterns: the study states the raster's shape where the file does not."""

from __future__ import annotations

import math
from dataclasses import replace

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.settings import DataSettings


def with_shape(contents: Contents, data: DataSettings) -> Contents:
    """Return the contents, as a raster where ``objective.data.shape`` states its shape.

    Raises:
        InputError: the shape is needed but missing, does not fit, or has no effect.
    """
    where = f"{contents.path}: {contents.frames_name}"
    stored = tuple(int(n) for n in contents.frames.shape)
    if len(stored) != 3:
        return _refuse(contents, data, f"{where} already has shape {stored}")
    if contents.positions is not None:
        return _refuse(contents, data, f"{contents.path} lists its positions in '{contents.positions_name}'")
    if contents.scan_shape is not None:
        return _refuse(contents, data, f"{contents.path} says that its scan has shape {contents.scan_shape}")
    if data.shape is None:
        raise InputError(ask_for_shape(f"{where} is a list of {stored[0]} patterns without positions", stored[0]))
    if math.prod(data.shape) != stored[0]:
        raise InputError(
            Problem(
                "objective.data.shape",
                f"[{data.shape[0]}, {data.shape[1]}] is {math.prod(data.shape)} positions, "
                f"but {where} holds {stored[0]} patterns",
                f"give [rows, columns] whose product is {stored[0]}",
            )
        )
    return replace(contents, scan_shape=data.shape)


def ask_for_shape(why: str, count: int | None) -> Problem:
    """Ask for ``objective.data.shape`` by name, with a square example where ``count`` is a square number."""
    side = math.isqrt(count) if count else 0
    example = f"[{side}, {side}]" if count and side * side == count else "[rows, columns]"
    product = f", whose product is {count}" if count else ""
    return Problem("objective.data.shape", f"is needed: {why}", f"state it in the study: shape: {example}{product}")


def _refuse(contents: Contents, data: DataSettings, why: str) -> Contents:
    if data.shape is not None:
        raise InputError(Problem("objective.data.shape", f"has no effect: {why}", "remove it"))
    return contents
