"""The gradient of the metric at a final state, divided among regions of the detector, and a test of the residual.

Errors of the model that all patterns share, such as the exact form of the aperture's edge, a pixel's response or
scattering beyond the detector, pull the parameters differently in different regions of the detector; the scatter of the
regions' gradients shows how far. What counts is what the reconstruction does not take up. So a derivative is the
difference of the counts expected by whole reconstructions at two values of a parameter: at a fixed object almost all of
it would be something that the object takes up as well (99.8 % of the curvature, for the rotation of a scan of a Siemens
star), and would scatter the regions' gradients without any effect on the answer.

A value that is not exact also pulls differently in different regions. How each region's gradient changes with each
value is given along with it (by Gauss and Newton: what these changes are but for noise), so that such pulls can be told
from errors of the model.

Noise scatters the regions' gradients, too. What every pixel of every pattern contributes on its own is noise, and so is
the sum of the products of such contributions to two parameters' gradients: a model that is right has just this scatter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.state import State

REGIONS = 6
"""Regions along each axis of the detector."""
_FLOOR = 1e-30


@dataclass(frozen=True)
class Parts:
    """The divided gradient.

    Attributes:
        slopes: parameter name -> derivative of the metric in each region, per unit of the parameter.
        changes: parameter name -> parameter name -> change of the first one's derivative in each region, per unit of
            the second.
        noise: parameter name -> parameter name -> covariance of the sums over all regions by independent noise.
        misfit: standard deviations of Poisson noise by which the squared residual exceeds its expectation.
    """

    slopes: Mapping[str, Sequence[float]]
    changes: Mapping[str, Mapping[str, Sequence[float]]]
    noise: Mapping[str, Mapping[str, float]]
    misfit: float


@dataclass(frozen=True)
class Other:
    """A whole reconstruction at another value of one parameter.

    Attributes:
        model: its forward model.
        state: its final state.
        distance: how much larger what derivatives are by is: the value, or its square.
    """

    model: ForwardModel
    state: State
    distance: float

    def intensity(self, indices: Tensor) -> Tensor:
        """Expected counts (b, det_y, det_x)."""
        batch = self.model.batch(indices, self.state.moved)
        return self.model.intensity(self.state.transmission, self.state.spectra, batch)


def gradient_in_parts(misfit: Misfit, state: State, metric: str, moved: Mapping[str, Other]) -> Parts:
    """Divide the gradient of a metric.

    Args:
        misfit: the data and the model of the final state.
        state: the final state.
        metric: ``consistency`` or ``amplitude_consistency``.
        moved: parameter name -> a reconstruction at another value of it.
    """
    names = list(moved)
    of_regions = torch.zeros((REGIONS**2, len(names)), dtype=torch.float64)
    curvatures = torch.zeros((REGIONS**2, len(names), len(names)), dtype=torch.float64)
    products = torch.zeros((len(names), len(names)), dtype=torch.float64)
    squared = _Sums()
    labels = _regions(misfit.model.layout.detector_shape)
    data = misfit.data
    for indices in torch.arange(len(data.patterns), device=data.patterns.device).split(_size(misfit)):
        batch = misfit.model.batch(indices, state.moved)
        expected = misfit.model.intensity(state.transmission, state.spectra, batch)
        measured, valid = data.patterns[indices].to(expected.dtype), data.valid[data.mask_of[indices]]
        squared.add(expected, measured, valid)
        slope = _slope(expected, measured, metric) * valid
        if not names:
            continue
        differences = [(other.intensity(indices) - expected) / other.distance for other in moved.values()]
        stacked = torch.stack([change.double().flatten(1) for change in differences], dim=2).cpu()
        of_pixels = slope.double().cpu().flatten(1)[:, :, None] * stacked
        of_regions.index_add_(0, labels, of_pixels.sum(0))
        products += torch.einsum("bpi,bpj->ij", of_pixels, of_pixels)
        bent = (_curvature(expected, data.mean, metric) * valid).double().cpu().flatten(1)
        for region in range(REGIONS**2):  # all at once would be an array of pixels x parameters x parameters
            seen = labels == region
            changes_there = stacked[:, seen].flatten(0, 1)
            curvatures[region] += changes_there.T @ (bent[:, seen].flatten()[:, None] * changes_there)
    amplitude = metric == "amplitude_consistency"
    loss, norm = (squared.amplitude, data.total) if amplitude else (squared.intensity, data.norm)
    factor = -1.0 / (2 * norm * max(math.sqrt(loss / norm), 1e-12))
    slopes = dict(zip(names, (factor * of_regions).T.tolist(), strict=True))
    noise = [dict(zip(names, row, strict=True)) for row in (factor**2 * products).tolist()]
    changes = [dict(zip(names, row, strict=True)) for row in (factor * curvatures).permute(1, 2, 0).tolist()]
    return Parts(slopes, dict(zip(names, changes, strict=True)), dict(zip(names, noise, strict=True)), squared.misfit)


def _slope(expected: Tensor, measured: Tensor, metric: str) -> Tensor:
    """dL/dI of the metric's summed squares."""
    if metric == "amplitude_consistency":
        return torch.where(expected > _FLOOR, 1 - (measured / expected.clamp(min=_FLOOR)).sqrt(), 0.0)
    return 2 * (expected - measured)


def _curvature(expected: Tensor, mean: float, metric: str) -> Tensor:
    """Expectation of d2L/dI2 of the metric's summed squares, where counting explains the data.

    That of amplitudes is 1/(2 I); below a thousandth of the mean counts of a pixel, where it would run away, it is
    taken to be what it is there.
    """
    if metric == "amplitude_consistency":
        return 0.5 / expected.clamp(min=max(1e-3 * mean, _FLOOR))
    return torch.full_like(expected, 2.0)


class _Sums:
    """Summed squares of the residual, and what Poisson noise would make of them."""

    def __init__(self) -> None:
        self.intensity = self.amplitude = 0.0
        self._expected = self._variance = 0.0

    def add(self, expected: Tensor, measured: Tensor, valid: Tensor) -> None:
        """Add patterns (b, det_y, det_x)."""
        positive = expected.clamp(min=0)
        self.intensity += _total((expected - measured).square() * valid)
        self.amplitude += _total((positive.sqrt() - measured.sqrt()).square() * valid)
        self._expected += _total(positive * valid)
        self._variance += _total((positive + 2 * positive.square()) * valid)

    @property
    def misfit(self) -> float:
        """See :attr:`Parts.misfit`: a Poisson deviate of mean I has E (y - I)^2 = I, with the variance I + 2 I^2."""
        return (self.intensity - self._expected) / math.sqrt(max(self._variance, 1e-300))


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def _size(misfit: Misfit) -> int:
    """Patterns at a time."""
    return max(1, misfit.pixels_per_batch // math.prod(misfit.model.layout.window))


def _regions(shape: tuple[int, int]) -> Tensor:
    """Index (det_y * det_x,) of every pixel's region."""
    rows, columns = (torch.arange(n) * REGIONS // n for n in shape)
    return (rows[:, None] * REGIONS + columns[None, :]).ravel()
