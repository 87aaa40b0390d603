"""Metrics that compare expected with measured counts.

``y`` are measured counts and ``expected`` those that the model predicts, arrays of equal shape. ``valid`` is True (or
1) where a pixel is used; its shape broadcasts to theirs, such as (det_y, det_x) to (position, det_y, det_x).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def consistency(squared_residual: float, squared_norm: float) -> float:
    """``1 - sqrt(squared_residual / squared_norm)``: 1 is perfect; a model that predicts no counts at all reaches 0.

    Raises:
        ValueError: ``squared_norm`` is not above 0, so there is nothing to explain.
    """
    if not squared_norm > 0:
        raise ValueError(f"the data's norm is {squared_norm}: without counts there is nothing to explain")
    return 1.0 - math.sqrt(squared_residual / squared_norm)


def intensity_consistency(y: ArrayLike, expected: ArrayLike, valid: ArrayLike | None = None) -> float:
    """``1 - ||y - Hx|| / ||y||``, of intensities: the metric that is tuned. Shot noise keeps it below 1.

    Pixels are not weighted, so that the bright ones dominate. With the intensity loss, a converged reconstruction
    maximises it.

    Raises:
        ValueError: shapes differ, or no valid pixel has a count.
    """
    measured, modelled = _pair(y, expected, valid)
    return consistency(float(np.sum((measured - modelled) ** 2)), float(np.sum(measured**2)))


def amplitude_consistency(y: ArrayLike, expected: ArrayLike, valid: ArrayLike | None = None) -> float:
    """``1 - ||sqrt y - sqrt Hx|| / ||sqrt y||``: 1 minus ptychography's R-factor (Maiden and Rodenburg 2009).

    The square root makes shot noise uniform, but it is biased where a pixel has few counts. Expected counts that
    rounding made negative are taken as 0.

    Raises:
        ValueError: shapes differ, or no valid pixel has a count.
    """
    measured, modelled = _pair(y, expected, valid)
    difference = np.sqrt(measured) - np.sqrt(np.maximum(modelled, 0))
    return consistency(float(np.sum(difference**2)), float(np.sum(measured)))


def poisson_deviance(y: ArrayLike, expected: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Poisson deviance of counted quanta per pixel, ``2 mean[y log(y / Hx) - (y - Hx)]``; 0 is perfect.

    It is twice the log-likelihood lost against a model that expects exactly the measured counts (McCullagh and Nelder,
    Generalized Linear Models, 1989, section 2.3). The true model has a deviance of about 1 where many counts
    are expected, and less where few are.

    Raises:
        ValueError: shapes differ, no pixel is valid, or counts lie where none are expected: the deviance is
            infinite.
    """
    measured, modelled = _pair(y, expected, valid)
    if not measured.size:
        raise ValueError("no pixel is valid")
    if np.any(modelled < 0) or np.any(measured[modelled == 0] > 0):
        raise ValueError("counts lie in pixels where none are expected: the deviance is infinite")
    seen = measured > 0
    logs = np.sum(measured[seen] * np.log(measured[seen] / modelled[seen]))
    return float(2 * (logs - np.sum(measured - modelled)) / measured.size)


def noise_ceiling(total: float, squares: float) -> float | None:
    """Intensity consistency that the true model would reach on counted quanta, ``1 - sqrt(sum y) / ||y||``.

    For Poisson counts E||y - Hx||^2 = sum(Hx), estimated by sum(y).

    Args:
        total: sum of the counts.
        squares: sum of their squares.

    Returns:
        the ceiling; None where nothing was counted.
    """
    return consistency(total, squares) if squares > 0 else None


def fraction_of_ceiling(value: float, ceiling: float) -> float:
    """Consistency divided by its noise ceiling. Slightly above 1 means over-fitting, or a chance of the noise.

    Raises:
        ValueError: the ceiling is not above 0: there is less signal than noise, and a fraction has no meaning.
    """
    if not ceiling > 0:
        raise ValueError(f"the noise ceiling is {ceiling}, not above 0: nothing but noise was counted")
    return value / ceiling


def _pair(y: ArrayLike, expected: ArrayLike, valid: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Measured and expected counts in double precision, at valid pixels only."""
    measured, modelled = np.asarray(y, np.float64), np.asarray(expected, np.float64)
    if measured.shape != modelled.shape:
        raise ValueError(f"measured {measured.shape} and expected counts {modelled.shape} are not of one shape")
    if valid is None:
        return measured.ravel(), modelled.ravel()
    kept = np.broadcast_to(np.asarray(valid).astype(bool), measured.shape)
    return measured[kept], modelled[kept]
