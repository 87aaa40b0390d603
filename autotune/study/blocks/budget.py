"""The block ``budget:``, which says when the search ends."""

from __future__ import annotations

from pydantic import Field

from autotune.study.blocks.block import Block


class BudgetSpec(Block):
    """When the search ends: at the first of these limits that it reaches."""

    trials: int = Field(default=40, ge=1, le=1_000_000)
    """Number of trials that finished, failed or were pruned."""
    reconstructions: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Total cost of all trials, in units of one full evaluation, at least 1; null for no limit."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall-clock time of all runs together, in seconds, after which no trial is started; null for no limit."""
    converged: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Stop once the last four trials and the next one were expected to improve the metric by less than this, in its
    unit; null for never."""
