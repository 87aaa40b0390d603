"""Inspect a measurement file: its metadata and a few of its patterns, never all of it. No torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from autotune.objective import DraftLine, InputError, Problem
from objectives.diffraction.data.contents import Contents, Frames, describe_type
from objectives.diffraction.data.open.reading import open_contents
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

SAMPLES = 16
"""Number of patterns that are read, spread evenly over the scan."""

DATA = "objective.data."
_CORNER_RATIO = 3.0


@dataclass(frozen=True)
class Inspection:
    """The metadata of a file, and features of a few of its patterns.

    Attributes:
        geometry: the geometry that the file states.
        shape: (position, det_y, det_x) or (scan_y, scan_x, det_y, det_x).
        dtype: type of the stored values.
        positions: float64 (position, 2), (y, x), in ``position_unit``; None where the file lists none.
        position_unit: unit of ``positions``.
        scan_shape: (rows, columns) of a raster; None where the scan is not known to be one.
        masked: pixels that the file's mask excludes; None where it has no mask.
        probe: whether the file holds a probe.
        counted: whether the sampled values are counted quanta; as the file says, where it does.
        samples: float64 (sample, det_y, det_x), the sampled patterns, as stored, masked and unusable values set
            to zero.
        negative: the least of the sampled values, where it is below zero; else 0.
        corner: whether the unscattered beam seems to lie at pixel (0, 0) instead of (N//2, N//2).
    """

    geometry: GeometrySettings
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    positions: NDArray[np.float64] | None
    position_unit: Literal["angstrom", "object pixel"]
    scan_shape: tuple[int, int] | None
    masked: int | None
    probe: bool
    counted: bool
    samples: NDArray[np.float64]
    negative: float
    corner: bool

    @property
    def count(self) -> int:
        """Number of patterns in the file."""
        return math.prod(self.shape[:-2])

    def patterns(self, corner: bool) -> NDArray[np.float64]:
        """:attr:`samples` with the beam moved to (N//2, N//2), from the corner if ``corner``, else from the centre."""
        return np.fft.fftshift(self.samples, axes=(-2, -1)) if corner else self.samples

    def beam_offset(self, corner: bool) -> tuple[float, float]:
        """Centre of mass (y, x) of the mean of :meth:`patterns` minus (N//2, N//2), in pixels; zero if dark."""
        mean = self.patterns(corner).mean(axis=0)
        total = float(mean.sum())
        if total <= 0:
            return 0.0, 0.0
        rows, columns = mean.shape
        y = float(mean.sum(axis=1) @ np.arange(rows)) / total - rows // 2
        x = float(mean.sum(axis=0) @ np.arange(columns)) / total - columns // 2
        return y, x

    def step(self) -> float | None:
        """Median distance from a listed position to its nearest neighbour; None where none can be told."""
        if self.positions is None or self.positions.ndim != 2 or len(self.positions) < 2:
            return None
        if not np.isfinite(self.positions).all():
            return None
        distances, _ = cKDTree(self.positions).query(self.positions, k=2)
        return float(np.median(distances[:, 1]))


def look(file: Path, scan: tuple[int, int] | None = None) -> tuple[Inspection, list[DraftLine]]:
    """Inspect a file.

    Args:
        file: the file.
        scan: (rows, columns) of the raster, where they are known otherwise and the file does not say them.

    Returns:
        What was seen, and a missing line for every setting that the file's reader asks for first: the file is read with
        an example of it.

    Raises:
        InputError: the file is damaged, or its reader asks for a setting of which no example can be made.
    """
    try:
        with open_contents(file, DataSettings(file=file)) as contents:
            return inspect(contents), []
    except InputError as error:
        asked = [_asked_for(problem, scan) for problem in error.problems]
        lines = [line for line in asked if line is not None]
        if len(lines) < len(asked):
            raise
    examples = {line.key.removeprefix(DATA): line.value for line in lines}
    with open_contents(file, DataSettings(file=file, **examples)) as contents:
        return inspect(contents), lines


def _asked_for(problem: Problem, scan: tuple[int, int] | None) -> DraftLine | None:
    """The line of the setting that the reader asks for, with the example from its remedy; None for other problems."""
    text = " ".join(f"{problem.what}; {problem.remedy}".split())
    if problem.where == f"{DATA}shape" and (count := re.search(r"whose product is (\d+)", problem.remedy)):
        if scan is not None and math.prod(scan) == int(count[1]):
            return DraftLine(problem.where, list(scan), "rows and columns of the raster")
        return DraftLine(problem.where, list(_squarest(int(count[1]))), text, "missing")
    if problem.where == f"{DATA}key" and (key := re.search(r"\bkey: (\S+)$", problem.remedy)):
        return DraftLine(problem.where, key[1], text, "missing")
    return None


def _squarest(count: int) -> tuple[int, int]:
    """The factors of ``count`` that lie closest to each other."""
    rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    return rows, count // rows


def inspect(contents: Contents, samples: int = SAMPLES) -> Inspection:
    """Inspect an open file, reading ``samples`` of its patterns.

    Raises:
        InputError: the array of patterns has a wrong number of axes or an empty one, or does not hold numbers.
    """
    frames = contents.frames
    shape = tuple(int(n) for n in frames.shape)
    where = f"{contents.path}: {contents.frames_name}"
    if len(shape) not in (3, 4) or 0 in shape:
        expected = "(position, det_y, det_x) or (scan_y, scan_x, det_y, det_x), with no empty axis, is expected"
        raise InputError(Problem(where, f"has shape {shape}", expected))
    if frames.dtype.kind not in "iuf":
        raise InputError(Problem(where, f"holds {describe_type(frames.dtype)}", "counts or intensities are expected"))
    raw = _read(frames, shape, samples)
    clean = _clean(raw, contents.bad)
    return Inspection(
        geometry=contents.geometry,
        shape=shape,
        dtype=frames.dtype,
        positions=contents.positions,
        position_unit=contents.position_unit,
        scan_shape=(shape[0], shape[1]) if len(shape) == 4 else contents.scan_shape,
        masked=None if contents.bad is None else int(contents.bad.sum()),
        probe=contents.probe is not None,
        counted=bool(np.all(raw == np.floor(raw), where=np.isfinite(raw)))
        if contents.counted is None
        else contents.counted,
        samples=clean,
        negative=float(raw.min(initial=0.0, where=np.isfinite(raw))),
        corner=_looks_cornered(clean),
    )


def _read(frames: Frames, shape: tuple[int, ...], samples: int) -> NDArray[np.float64]:
    """Patterns spread evenly over the scan, float64 (sample, det_y, det_x)."""
    count = math.prod(shape[:-2])
    chosen = np.unique(np.linspace(0, count - 1, min(samples, count)).round().astype(int))
    places = [np.unravel_index(index, shape[:-2]) for index in chosen]
    return np.stack([np.asarray(frames[tuple(int(i) for i in place)], dtype=np.float64) for place in places])


def _clean(raw: NDArray[np.float64], bad: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    usable = np.where(np.isfinite(raw), raw, 0.0).clip(min=0.0)
    if bad is not None and bad.shape == raw.shape[1:]:
        usable[:, bad] = 0.0
    return usable


def _looks_cornered(samples: NDArray[np.float64]) -> bool:
    """Whether the beam lies around pixel (0, 0) and its periodic images, as an FFT leaves it.

    The mean of the central eighth of the axes is compared with the same window around the corner.
    """
    mean = samples.mean(axis=0)
    centre = _window_sum(mean)
    corner = _window_sum(np.fft.fftshift(mean))
    return corner > _CORNER_RATIO * centre


def _window_sum(pattern: NDArray[np.float64]) -> float:
    """Sum over a window of a quarter of each axis (at least 2 pixels) around (N//2, N//2)."""
    y, x = (slice(n // 2 - max(1, n // 8), n // 2 + max(1, n // 8)) for n in pattern.shape)
    return float(pattern[y, x].sum())
