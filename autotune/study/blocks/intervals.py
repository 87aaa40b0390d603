"""The block ``intervals:``, which says what the interval of each parameter covers."""

from __future__ import annotations

from pydantic import Field, field_validator

from autotune.study.blocks.block import Block


class IntervalsSpec(Block):
    """What the interval of each parameter covers."""

    replicates: int = Field(default=6, ge=0, le=1000)
    """Times that the measurement is repeated in simulation at the answer, each with a full evaluation, to learn what
    its noise does; 0 for intervals of the search alone."""

    @field_validator("replicates")
    @classmethod
    def _one_says_nothing(cls, count: int) -> int:
        if count == 1:
            raise ValueError("1 says nothing about a scatter; give 0, or at least 2")
        return count
