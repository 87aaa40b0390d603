"""The block ``search:``, which says how trials are proposed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from autotune.search.pruners import Pruner
from autotune.search.samplers import SAMPLERS, TAKES_STARTUP, WITH_MODEL, Sampler
from autotune.study.blocks.block import Block, list_as_tuple, one_as_list

_MODELS = " or ".join(WITH_MODEL)

CheapEvaluation = Annotated[dict[str, int | float | str], Field(min_length=1)]


class SearchSpec(Block):
    """How trials are proposed."""

    sampler: Sampler = "gp"
    """Method that proposes trials. gp: this package's Gaussian process, which uses gradients where there are any;
    gradient: gradient descent from the nominal values; the others are Optuna's."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Seed of everything random: equal study files with equal seeds give equal trials."""
    startup_trials: int | None = Field(default=None, ge=1, le=100_000)
    """Number of trials spread over the space before the model proposes any; null for the sampler's default."""

    fidelity: Annotated[
        tuple[CheapEvaluation, ...],
        BeforeValidator(list_as_tuple),
        BeforeValidator(one_as_list, json_schema_input_type=list[CheapEvaluation] | CheapEvaluation),
    ] = ()
    """Cheap evaluations that the search may use too, one or a list: name of a parameter -> its value there, such as
    {iterations: 6, scan_fraction: 0.2}. The answer is always evaluated in full (sampler gp)."""
    warm_start: Annotated[
        tuple[str, ...],
        BeforeValidator(list_as_tuple),
        BeforeValidator(one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Names of finished studies of the same parameters and metric, whose trials the model learns from (sampler gp)."""
    pruner: Pruner = "none"
    """Rule that stops hopeless trials early. curve: when no finished trial ever gained as much as this one needs to
    become the best; none: never; the others are Optuna's."""

    per_second: bool = False
    """Whether the search maximises the expected improvement per second of evaluation (sampler gp)."""

    @field_validator("per_second")
    @classmethod
    def _only_a_model_has_time(cls, given: bool, info: ValidationInfo) -> bool:
        sampler = info.data.get("sampler")
        if given and sampler in SAMPLERS and sampler not in WITH_MODEL:
            raise ValueError(f"true needs the sampler {_MODELS}; '{sampler}' does not model how long a trial takes")
        return given

    @field_validator("fidelity", "warm_start")
    @classmethod
    def _only_a_model_learns_levels(cls, given: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        sampler = info.data.get("sampler")
        if given and sampler in SAMPLERS and sampler not in WITH_MODEL:
            raise ValueError(
                f"{info.field_name} needs the sampler {_MODELS}; '{sampler}' cannot learn from such trials"
            )
        return given

    @field_validator("pruner")
    @classmethod
    def _levels_do_not_compare(cls, pruner: Pruner, info: ValidationInfo) -> Pruner:
        if info.data.get("fidelity") and pruner not in ("none", "curve"):
            raise ValueError(f"{pruner} would compare full trials with cheap ones; with fidelity use curve, or none")
        return pruner

    @field_validator("startup_trials")
    @classmethod
    def _startup_means_something(cls, count: int | None, info: ValidationInfo) -> int | None:
        sampler = info.data.get("sampler")
        if count is not None and sampler in SAMPLERS and sampler not in TAKES_STARTUP:
            raise ValueError(f"{count} has no meaning with sampler '{sampler}', which has no startup; leave it out")
        return count
