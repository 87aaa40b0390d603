"""The block ``metric:``, which says by what trials are judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from autotune.study.blocks.block import Block, list_as_tuple, one_as_list
from autotune.study.value_text import show


class LimitSpec(Block):
    """Limits of one metric that a trial must keep to be the answer."""

    # The order matters: the validator below sees only the fields declared before its own.
    below: float | None = None
    """Largest value allowed, in the metric's unit."""
    above: float | None = Field(default=None, validate_default=True)
    """Smallest value allowed, in the metric's unit."""

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
    """The tuned metric, the metrics that it is weighed against, and the limits of the answer."""

    name: str | None = Field(default=None, min_length=1)
    """Name of the tuned metric; null for the objective's first."""
    split: Literal["held_out", "in_sample"] | None = None
    """held_out: the metric is of data withheld from the solver; in_sample: of the data that the solver uses; null:
    held_out where a solver parameter is tuned and the objective has such a metric, else in_sample."""
    against: Annotated[
        tuple[str, ...],
        BeforeValidator(list_as_tuple),
        BeforeValidator(one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Other metrics, or seconds, that the tuned metric is weighed against (sampler gp): the search looks for the whole
    Pareto front."""
    limits: dict[str, LimitSpec] = Field(default={})
    """Name of a metric, or seconds -> limits that a trial must keep to be the answer, such as {above: 0.8}."""
