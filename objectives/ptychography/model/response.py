"""The detector's response: what a pixel counts of an intensity that varies inside it and between its neighbours.

A pixel integrates the intensity over its area (or over a part of it, of a side f times the pixel's), and a detector
blurs it: electrons scatter in the sensor, X-rays share their charge between pixels. The first is a convolution with the
pixel's box, the second with a Gaussian of standard deviation b pixels. Together their transfer function along an axis
at spatial frequency u (cycles per pixel) is

    T(u) = sinc(f u) exp(-2 pi^2 b^2 u^2),    sinc(u) = sin(pi u) / (pi u)

The model has the intensity at the middle of every pixel. A short symmetric filter with the taps c_0, c_1, ... acts
along both axes instead of that convolution: the masses of a Gaussian in the pixels around, with a width at which the
filter has the variance b^2 + f^2/12 of the convolution. So its transfer function agrees with T to second order in u
(for b = 0 and f = 1 it is 1/24, 22/24, 1/24 and 0.92 for 0.90 at u = 1/4, which is beyond what most probes inside their
window give to a pattern). No tap is negative, so no count expected is; c_0 + 2 (c_1 + ...) = 1, so that counts are
conserved. At the detector's border the intensity is reflected, which makes the filter its own adjoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_BOX = 1 / 12
"""Variance of a pixel's box, in squared pixels."""
_POINT = 1e-9
"""Variance in squared pixels below which nothing is filtered."""
_REACH = 4.5
"""Standard deviations of the Gaussian within which neighbours count: where one more does, taps jump by 4e-5."""
_STEPS = 54
"""Bisections after which a width is exact to rounding."""


@dataclass(frozen=True)
class Response:
    """The filter that takes the intensity at the middle of every pixel to the expected counts.

    Attributes:
        taps: (t,) c_0, c_1, ...: weight of the pixel itself and of the neighbours at distance 1, 2, ... on both sides.
        slopes: (t,) their derivatives with respect to the blur, per pixel.
    """

    taps: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, blur: Tensor, fill: float) -> Response | None:
        """The response at a blur, a scalar of the model's precision and device, without its graph; see
        :func:`response_taps`. None where every pixel sees a point.
        """
        with torch.enable_grad():
            b = blur.detach().double().cpu().requires_grad_(True)
            taps = response_taps(b, fill)
            if len(taps) == 1:
                return None
            slopes = [torch.autograd.grad(tap, b, retain_graph=True)[0] for tap in taps]
        return cls(taps.detach().to(blur), torch.stack(slopes).to(blur))


def response_taps(blur: Tensor, fill: float) -> Tensor:
    """c_0, c_1, ... of the filter, differentiable.

    Args:
        blur: standard deviation of the Gaussian, a scalar in pixels.
        fill: side of the area that a pixel integrates over, in pixels: 0 for a point, 1 for all of the pixel.
    """
    b = blur.double()
    variance = b.square() + fill**2 * _BOX
    if float(variance.detach()) < _POINT:
        return torch.ones_like(blur)[None]
    width = torch.as_tensor(_width(float(variance.detach())), dtype=b.dtype, device=b.device)
    if variance.requires_grad:
        # One step of Newton's method, which changes nothing but brings in the derivative of the width.
        width.requires_grad_(True)
        reached = _variance(_masses(width))
        (slope,) = torch.autograd.grad(reached, width)
        width = width.detach() + (variance - reached.detach()) / slope
    beside = _masses(width)
    return torch.cat([(1 - 2 * beside.sum())[None], beside]).to(blur.dtype)


def respond(intensity: Tensor, taps: Tensor) -> Tensor:
    """Filter intensities (..., rows, columns) along both axes, traceable by autograd."""
    return _along(_along(intensity, taps, -2), taps, -1)


def respond_slope(intensity: Tensor, response: Response) -> Tensor:
    """Derivative of :func:`respond` with respect to the blur, per pixel."""
    taps, slopes = response.taps, response.slopes
    return _along(_along(intensity, slopes, -2), taps, -1) + _along(_along(intensity, taps, -2), slopes, -1)


def _along(values: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Filter along one axis; beyond its ends the values are reflected, the outermost one included."""
    n, reach = values.shape[axis], len(taps) - 1
    at = torch.arange(-reach, n + reach, device=values.device).remainder(2 * n)
    at = torch.where(at < n, at, 2 * n - 1 - at)
    padded = values.index_select(axis, at)
    total = taps[0] * padded.narrow(axis, reach, n)
    for distance in range(1, reach + 1):
        before, after = padded.narrow(axis, reach - distance, n), padded.narrow(axis, reach + distance, n)
        total = total + taps[distance] * (before + after)
    return total


def _masses(width: Tensor) -> Tensor:
    """c_1, c_2, ...: masses of a Gaussian of standard deviation ``width`` in the pixels beside the middle one."""
    reach = max(1, math.ceil(_REACH * float(width.detach()) - 0.5))
    edges = torch.arange(reach + 1, dtype=width.dtype, device=width.device) + 0.5
    return torch.special.ndtr(edges / width).diff()


def _variance(beside: Tensor) -> Tensor:
    """Variance of the filter with the taps c_1, c_2, ... beside the middle one."""
    distance = torch.arange(1, len(beside) + 1, dtype=beside.dtype, device=beside.device)
    return 2 * (distance.square() * beside).sum()


def _variance_at(width: float) -> float:
    """As :func:`_variance` of :func:`_masses`, for one number: fifty of them find a width."""
    reach = max(1, math.ceil(_REACH * width - 0.5))
    ends = [math.erf((distance - 0.5) / (width * math.sqrt(2))) for distance in range(1, reach + 2)]
    # A mass on each side is half of the difference of the error function's values.
    return sum(d * d * (ends[d] - ends[d - 1]) for d in range(1, reach + 1))


@lru_cache(maxsize=64)
def _width(variance: float) -> float:
    """The width of the Gaussian with which the filter has a variance, by bisection."""
    low, high = 0.1, 1 + math.sqrt(variance)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _variance_at(middle) < variance:
            low = middle
        else:
            high = middle
    return (low + high) / 2
