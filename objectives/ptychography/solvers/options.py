"""The settings of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.solvers.batches import Batches

REACH_OF_GRADIENTS = 2.0
"""Displacement in object pixels up to which refinement by gradients finds positions without a search."""


def searches(position_range: float, position_search: int) -> bool:
    """Whether scan positions that move are searched for first."""
    return position_search > 0 and position_range > REACH_OF_GRADIENTS


@dataclass(frozen=True)
class SolverOptions:
    """The solver's settings; names, ranges and meanings are those of the study's parameters.

    Attributes:
        solver: a key of :data:`objectives.ptychography.solvers.table.SOLVERS`.
        iterations: passes over all patterns; of a solver of all patterns at once, its steps.
        loss: the discrepancy that is minimised, where the solver can minimise more than one; ``auto``: its own choice.
        refine_probe: whether the probe is an unknown too.
        probe_start: iterations with the probe held fixed before it is refined.
        batch_size: patterns per update.
        batches: how the patterns of a batch are chosen.
        object_step, probe_step: share of the best step that is made.
        object_learning_rate, probe_learning_rate: Adam's.
        preconditioner_floor: least illumination assumed, as a fraction of the highest.
        position_step: share of the best move of a scan position that is made; 0 leaves them where they are.
        position_start: iterations before positions start to move.
        position_range: largest displacement of a position along either axis, in object pixels.
        position_search: cycles of the search that precedes refinement where positions may be wrong by pixels.
        patience: iterations without a better likelihood of counts that the solver withholds, before it ends; 0: all.
        smoothness, sparsity, slice_smoothness: weights of the penalties.
    """

    solver: str
    iterations: int
    loss: Loss | Literal["auto"]
    refine_probe: bool
    probe_start: int
    batch_size: int
    batches: Batches
    object_step: float
    probe_step: float
    object_learning_rate: float
    probe_learning_rate: float
    preconditioner_floor: float
    position_step: float
    position_start: int
    position_range: float
    position_search: int
    patience: int
    smoothness: float
    sparsity: float
    slice_smoothness: float

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> SolverOptions:
        """Take the options from parameter values; those that a measurement does not have are switched off."""
        absent = {
            "position_step": 0.0,
            "position_start": 0,
            "position_range": 0.0,
            "position_search": 0,
            "slice_smoothness": 0.0,
        }
        names = {field.name for field in fields(cls)}
        stated = {name: value for name, value in values.items() if name in names}
        return cls(**{**absent, **stated, "refine_probe": values["probe"] == "refined"})  # type: ignore[arg-type]

    def loss_or(self, own: Loss) -> Loss:
        """The loss that is stated, or the solver's ``own``."""
        return own if self.loss == "auto" else self.loss

    def refines_probe(self, iteration: int) -> bool:
        """Whether the probe changes in ``iteration`` (0 is the first)."""
        return self.refine_probe and iteration >= self.probe_start

    def moves_positions(self, iteration: int) -> bool:
        """Whether positions move in ``iteration`` (0 is the first)."""
        return self.position_step > 0 and iteration >= self.position_start

    @property
    def searches_positions(self) -> bool:
        """Whether positions are searched for before they are refined: they may lie beyond the reach of gradients."""
        return self.position_step > 0 and searches(self.position_range, self.position_search)

    def step_of_slice(self, slices: int) -> float:
        """Share of its best step that each slice makes.

        Every slice alone could explain the whole difference; the slices share it, since the sum would overshoot.
        """
        return self.object_step / slices
