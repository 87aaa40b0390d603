"""Guess the scan's rotation from the patterns' centres of mass, before anything is reconstructed.

The centre of mass of a pattern is the gradient of the specimen's phase, averaged over the probe: a field without curl
along the true scan axes, whatever the defocus. So the rotation is the one with the least curl, up to half a turn, which
turns the field's sign (Hachtel et al., Adv. Struct. Chem. Imaging 4, 10 (2018); Lazic et al., Ultramicroscopy 160, 265
(2016)). Which of the two is right the divergence may tell: phases of electrons peak at atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 5
"""Blocks of the scan along each axis that are drawn at random for the standard error."""
_DRAWS = 200
_FEWEST = 8
"""Scan points along each axis."""
_SURE = 3.0
_AT_ONCE = 256

Array = NDArray[Any]


@dataclass(frozen=True)
class Rotation:
    """The guess.

    Attributes:
        value: degree, with the sign of the parameter ``scan_rotation``, -180..180.
        deviation: its standard error by a bootstrap over blocks of the scan, degree.
        curl: curl at the guess over curl at the worst rotation, mean squares: 0 for a perfect field, 1 for noise.
        half_turn: whether the value turned by half a turn fits as well.
    """

    value: float
    deviation: float
    curl: float
    half_turn: bool


def guess_rotation(
    patterns: Array, valid: NDArray[np.bool_], scan_shape: tuple[int, int], steps: tuple[float, float]
) -> Rotation | None:
    """Guess the rotation of a raster.

    Args:
        patterns: (position, y, x) counts, in row-major order of the scan.
        valid: (y, x), pixels that count.
        scan_shape: (rows, columns).
        steps: distance of neighbours along the slow and the fast axis, in one unit.

    Returns:
        The guess; None for a scan that is too small.
    """
    if min(scan_shape) < _FEWEST:
        return None
    along_y, along_x = _derivatives(_centres(patterns, valid).reshape(*scan_shape, 2), steps)
    value, curl = _least_curl(along_y, along_x)
    divergence = _divergence(along_y, along_x, value)
    skewness = float(np.mean((divergence - divergence.mean()) ** 3) / max(divergence.std(), 1e-300) ** 3)
    sure = abs(skewness) > _SURE * (6 / divergence.size) ** 0.5
    if sure and skewness > 0:
        value -= np.copysign(180.0, value)
    rows, columns = (np.array_split(np.arange(n), _BLOCKS) for n in along_y.shape[:2])
    blocks = [tuple(part[np.ix_(r, c)].reshape(-1, 2) for part in (along_y, along_x)) for r in rows for c in columns]
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(_DRAWS):
        chosen = random.integers(0, len(blocks), len(blocks))
        again, _ = _least_curl(*(np.concatenate([blocks[i][axis] for i in chosen]) for axis in (0, 1)))
        drawn.append((again - value + 90) % 180 - 90)
    return Rotation(float(value), float(np.std(drawn)), curl, not sure)


def _centres(patterns: Array, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(position, 2) centres of mass (y, x) in pixels; of dark patterns, the mean of the others."""
    y, x = (np.arange(n) - n // 2 for n in valid.shape)
    found = np.full((len(patterns), 2), np.nan)
    for start in range(0, len(patterns), _AT_ONCE):
        part = patterns[start : start + _AT_ONCE] * valid
        total = part.sum((1, 2), dtype=np.float64)
        moments = np.stack([part.sum(2, dtype=np.float64) @ y, part.sum(1, dtype=np.float64) @ x], axis=1)
        found[start : start + len(part)] = moments / np.where(total > 0, total, np.nan)[:, None]
    return np.where(np.isnan(found), np.nanmean(found, axis=0), found)


def _derivatives(centres: NDArray[np.float64], steps: tuple[float, float]) -> tuple[Array, Array]:
    """Derivatives (row, column, 2) of the field along the slow and the fast axis, without a plane: the beam's drift."""
    rows, columns = np.indices(centres.shape[:2])
    plane = np.stack([np.ones(rows.size), rows.ravel(), columns.ravel()], axis=1)
    flat = centres.reshape(-1, 2)
    field = (flat - plane @ np.linalg.lstsq(plane, flat, rcond=None)[0]).reshape(centres.shape)
    first, second = field[:, :-1] + field[:, 1:], field[:-1] + field[1:]
    return (first[1:] - first[:-1]) / (2 * steps[0]), (second[:, 1:] - second[:, :-1]) / (2 * steps[1])


def _least_curl(along_y: Array, along_x: Array) -> tuple[float, float]:
    """The rotation in degrees, in -90..90, with the least mean square of the curl, and its ratio to the largest.

    The curl along axes that are turned by v is a cos v + b sin v.
    """
    a = (along_y[..., 1] - along_x[..., 0]).ravel()
    b = -(along_x[..., 1] + along_y[..., 0]).ravel()
    middle, half, mixed = (a @ a + b @ b) / 2, (a @ a - b @ b) / 2, a @ b
    value = np.rad2deg((np.arctan2(mixed, half) + np.pi) / 2)
    spread = float(np.hypot(half, mixed))
    return float((value + 90) % 180 - 90), float((middle - spread) / max(middle + spread, 1e-300))


def _divergence(along_y: Array, along_x: Array, rotation: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    straight, crossed = along_y[..., 0] + along_x[..., 1], along_y[..., 1] - along_x[..., 0]
    found: NDArray[np.float64] = cosine * straight + sine * crossed
    return found
