"""The block ``budget:``, which says when the search ends."""

from __future__ import annotations

from pydantic import Field

from autotune.study.blocks.block import Block


class BudgetSpec(Block):
    """When the search ends: at whichever limit comes first."""

    trials: int = Field(default=40, ge=1, le=1_000_000)
    """Trials finished, failed or pruned."""
    reconstructions: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Cost of all trials in units of one full evaluation, at least 1; null for no limit."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall-clock time of the study, over all its runs, after which no trial is started; null for no limit."""
    converged: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Stop once four trials in a row were expected to improve the metric by less, and the next is; null for never."""
