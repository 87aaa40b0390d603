"""Hold the columns of inactive dimensions of points in the unit cube, differentiably for all other columns."""

from __future__ import annotations

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from torch import Tensor

from autotune.problem.space import Dimension
from autotune.surrogate.model.coordinates import Coordinates

# Int columns hold exact middles of cells; a cell of a thousand values is a thousand times wider than this.
_SAME = 1e-6


def hold_inactive(X: Tensor, coordinates: Coordinates) -> Tensor:
    """The points, (..., D), with the coordinates of inactive dimensions where :meth:`Space.to_unit` puts them.

    Args:
        X: points whose int and categorical columns hold coordinates that can be evaluated.
        coordinates: the coordinates of the space.
    """
    starts = {dimension.name: (dimension, start) for dimension, start in coordinates.columns}
    active: dict[str, Tensor] = {}
    held = list(X.unbind(-1))
    for dimension in coordinates.space.asking_order:
        _, start = starts[dimension.name]
        here = torch.ones(X.shape[:-1], dtype=torch.bool)
        for other, allowed in dimension.when:
            parent, first = starts[other]
            columns = X[..., first : first + parent.width].detach()
            here = here & active[other] & _has_one_of(columns, parent, allowed)
        active[dimension.name] = here
        if dimension.when:
            for column, value in enumerate(dimension.inactive, start=start):
                held[column] = torch.where(here, held[column], torch.full_like(held[column], value))
    return torch.stack(held, dim=-1)


class HoldingInactive(AcquisitionFunction):
    """An acquisition function without a slope along coordinates of inactive dimensions, whose values mean nothing."""

    def __init__(self, acquisition: AcquisitionFunction, coordinates: Coordinates) -> None:
        super().__init__(acquisition.model)
        self._acquisition, self._coordinates = acquisition, coordinates

    def forward(self, X: Tensor) -> Tensor:
        """Over points (b, 1, D): (b,)."""
        value: Tensor = self._acquisition(hold_inactive(X, self._coordinates))
        return value


def _has_one_of(columns: Tensor, parent: Dimension, allowed: tuple[float | int | str, ...]) -> Tensor:
    """Whether a dimension's coordinates, (..., width), are those of one of the values; shape (...)."""
    codes = torch.tensor([parent.to_unit(value) for value in allowed], dtype=columns.dtype)
    distances = (columns.unsqueeze(-2) - codes).abs().amax(-1)
    return distances.amin(-1) < _SAME
