"""Turn patterns after reading (flips, transposition), and locate a window of the turned pattern in the stored one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.diffraction.data.settings import GeometrySettings, Orientation

Size = tuple[int, int]


def oriented_size(size: Size, orientation: Orientation) -> Size:
    """Size (y, x) of a turned pattern."""
    return (size[1], size[0]) if orientation.transpose else size


def orient(patterns: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Turn patterns (..., y, x); the result is a view."""
    if orientation.flip_y:
        patterns = patterns[..., ::-1, :]
    if orientation.flip_x:
        patterns = patterns[..., ::-1]
    return patterns.swapaxes(-2, -1) if orientation.transpose else patterns


def central(size: Size, crop: Size) -> tuple[slice, slice]:
    """The window (y, x) of shape ``crop`` in which pixel N//2 becomes pixel crop//2."""
    starts = [n // 2 - kept // 2 for n, kept in zip(size, crop, strict=True)]
    return slice(starts[0], starts[0] + crop[0]), slice(starts[1], starts[1] + crop[1])


def stored_window(size: Size, crop: Size, orientation: Orientation) -> tuple[slice, slice]:
    """The window of the stored pattern that, once turned, is the central ``crop`` of the turned pattern.

    Args:
        size: (y, x) of the stored pattern.
        crop: (y, x) of the central window of the turned pattern.
        orientation: how the pattern is turned.
    """
    window = central(oriented_size(size, orientation), crop)
    y, x = window[::-1] if orientation.transpose else window
    if orientation.flip_y:
        y = slice(size[0] - y.stop, size[0] - y.start)
    if orientation.flip_x:
        x = slice(size[1] - x.stop, size[1] - x.start)
    return y, x


def orient_probe(probe: NDArray[np.complex64], orientation: Orientation) -> NDArray[np.complex64]:
    """The probe (..., y, x) that belongs to turned patterns, still centred at (N//2, N//2)."""
    turned = orient(probe, orientation)
    flipped = (orientation.flip_y, orientation.flip_x)
    along = flipped[::-1] if orientation.transpose else flipped
    shift = [int(was and n % 2 == 0) for was, n in zip(along, turned.shape[-2:], strict=True)]
    return np.roll(turned, shift, axis=(-2, -1))


def orient_geometry(file: GeometrySettings, orientation: Orientation) -> GeometrySettings:
    """Geometry of the turned patterns, from what the file states for the stored detector axes."""
    if not orientation.transpose:
        return file
    pairs = ("angular_sampling_mrad", "reciprocal_sampling_per_angstrom", "detector_pixel_um")
    return file.model_copy(
        update={name: getattr(file, name)[::-1] for name in pairs if getattr(file, name) is not None}
    )
