"""The block ``metric:``, which says by what trials are judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from autotune.study.blocks.block import Block, list_as_tuple, one_as_list
from autotune.study.value_text import show


class LimitSpec(Block):
    """What an answer's metric must keep."""

    # The order matters: the validator below sees only the fields declared before its own.
    below: float | None = None
    """The metric must be at most this."""
    above: float | None = Field(default=None, validate_default=True)
    """The metric must be at least this."""

    @field_validator("above")
    @classmethod
    def _something_is_between(cls, above: float | None, info: ValidationInfo) -> float | None:
        if "below" not in info.data:
            return above
        below = info.data["below"]
        if above is None and below is None:
            raise ValueError("neither above nor below is given, so it limits nothing")
        if above is not None and below is not None and not above < below:
            raise ValueError(f"{show(above)} is not smaller than below ({show(below)}): nothing is between them")
        return above


class MetricSpec(Block):
    """The metric that is tuned, what it is weighed against, and what an answer must keep."""

    name: str | None = Field(default=None, min_length=1)
    """One of the objective's metrics; null for its first."""
    split: Literal["held_out", "in_sample"] | None = None
    """Whether it is of data withheld from the solver, or of those it sees; null for held_out where solver parameters
    are tuned and the objective can, else in_sample."""
    against: Annotated[
        tuple[str, ...],
        BeforeValidator(list_as_tuple),
        BeforeValidator(one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Other metrics, or seconds, that it is weighed against (sampler gp): the search looks for the whole front."""
    limits: dict[str, LimitSpec] = Field(default={})
    """Metric, or seconds -> what a trial must keep to be an answer, such as {above: 0.8}."""
