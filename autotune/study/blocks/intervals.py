"""The block ``intervals:``, which says what the interval of each parameter covers."""

from __future__ import annotations

from pydantic import Field, field_validator

from autotune.study.blocks.block import Block


class IntervalsSpec(Block):
    """What the interval of each parameter covers: the noise of the measurement, or the search alone."""

    replicates: int = Field(default=6, ge=0, le=1000)
    """Number of repeated measurements, simulated at the answer, from which the effect of noise is estimated; each costs
    one full evaluation. 0: nothing is evaluated for the intervals, and they cover only what the search left open."""

    @field_validator("replicates")
    @classmethod
    def _one_says_nothing(cls, count: int) -> int:
        if count == 1:
            raise ValueError("1 says nothing about a scatter; give 0, or at least 2")
        return count
