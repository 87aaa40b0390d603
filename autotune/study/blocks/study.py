"""The whole of study.yaml: its blocks, and the keys beside them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from autotune.search.samplers import WITH_MODEL
from autotune.study.blocks.block import Block
from autotune.study.blocks.budget import BudgetSpec
from autotune.study.blocks.execution import ExecutionSpec
from autotune.study.blocks.intervals import IntervalsSpec
from autotune.study.blocks.metric import MetricSpec
from autotune.study.blocks.objective import ObjectiveSpec
from autotune.study.blocks.parameters import ParameterEntry
from autotune.study.blocks.search import SearchSpec
from autotune.study.blocks.tracking import TrackingSpec
from autotune.study.value_text import show

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _metric_shorthand(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class StudySpec(Block):
    """A study: the problem, the parameters, how to search, and for how long."""

    name: str
    """Name of the study: at most 100 letters, digits, '.', '_' and '-', starting with a letter or digit."""
    description: str = ""
    """Free text for people."""
    objective: ObjectiveSpec
    """The reconstruction problem."""
    parameters: dict[str, ParameterEntry] = Field(min_length=1)
    """Name of a parameter -> a map to tune it, such as {low: 0, high: 1}, or a number or text to hold it fixed."""
    metric: Annotated[
        MetricSpec | None,
        BeforeValidator(_metric_shorthand, json_schema_input_type=MetricSpec | str | None),
    ] = None
    """The tuned metric: its name, or a map; left out, the objective's first."""
    search: SearchSpec = SearchSpec()
    """Sampler, seed, cheap evaluations and early stopping of trials."""
    budget: BudgetSpec = BudgetSpec()
    """When the search ends."""
    execution: ExecutionSpec = ExecutionSpec()
    """Where trials run, and what each may use."""
    intervals: IntervalsSpec = IntervalsSpec()
    """What the interval of each parameter covers, and at what cost."""
    tracking: TrackingSpec = TrackingSpec()
    """Whether and where trials are recorded in MLflow."""
    report: bool = True
    """Whether an HTML report is written when the study ends; `autotune report` writes one at any time."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{show(name)} is not a study name; use 1 to 100 letters, digits, '.', '_' or '-', "
                "starting with a letter or digit"
            )
        return name

    @field_validator("budget")
    @classmethod
    def _convergence_is_known(cls, budget: BudgetSpec, info: ValidationInfo) -> BudgetSpec:
        search = info.data.get("search")
        if budget.converged is not None and search is not None and search.sampler not in WITH_MODEL:
            samplers = " or ".join(WITH_MODEL)
            raise ValueError(f"converged needs the sampler {samplers}: {search.sampler} expects nothing of a trial")
        return budget
