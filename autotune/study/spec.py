"""The models of study.yaml: what may be written, of which type, with which defaults.

Validation is pydantic's strict one: text is not a number and ``true`` is not 1. Messages for people are made
in :mod:`autotune.study.messages`; validators here raise ``ValueError`` with a whole sentence.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from autotune.objective import Value
from autotune.search.pruners import Pruner
from autotune.search.samplers import SAMPLERS, TAKES_STARTUP, Sampler
from autotune.study.execution import ExecutionSpec
from autotune.text import without_password

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, strict=True
    )


def show(value: object) -> str:
    """A value as it would be written in YAML, shortened to one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = repr(value)
        return text.removesuffix(".0") if "e" not in text else text
    if isinstance(value, dict):
        return "a map" if value else "{}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[0]}"


def kind_of(value: object) -> str:
    """What a value is, for messages: ``a list``, ``a map``, or the value itself."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a map"
    return show(value)


class ObjectiveSpec(BaseModel):
    """Which reconstruction problem is tuned; the other keys are validated by the objective's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """A registered objective, or module:attribute."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but ``name``, as written."""
        return dict(self.model_extra or {})


def _list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _values_as_tuples(value: object) -> object:
    """A condition's single value as a list of one; validation says what else is wrong."""
    if not isinstance(value, dict):
        return value
    return {name: tuple(v) if isinstance(v, list) else (v,) for name, v in value.items()}


ConditionValue = int | float | str


class ParameterSpec(_Model):
    """A tuned parameter: its range or choices. What is left out comes from the objective's defaults."""

    # The order matters: each validator below sees only the fields declared before its own.
    high: float | None = None
    """Upper end of the range, inclusive, in the parameter's unit."""
    log: bool | None = None
    """Whether the scale between low and high is logarithmic."""
    low: float | None = None
    """Lower end of the range, inclusive, in the parameter's unit."""
    choices: Annotated[tuple[str, ...] | None, BeforeValidator(_list_as_tuple)] = None
    """The values tried of a categorical parameter, at least two of the objective's choices."""
    initial: int | float | str | None = None
    """A value tried first, inside the range."""
    when: Annotated[
        dict[str, tuple[ConditionValue, ...]] | None,
        BeforeValidator(
            _values_as_tuples, json_schema_input_type=dict[str, ConditionValue | list[ConditionValue]] | None
        ),
    ] = None
    """Name of another tuned parameter (choices or whole numbers) -> its value or values for which this one is tuned;
    elsewhere this one is left at its default. Several names: all must hold."""

    @field_validator("low")
    @classmethod
    def _low_fits(cls, low: float | None, info: ValidationInfo) -> float | None:
        high = info.data.get("high")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"{show(low)} is not below high ({show(high)})")
        if low is not None and low <= 0 and info.data.get("log"):
            raise ValueError(f"{show(low)} is not above 0; a logarithmic scale needs low above 0")
        return low

    @field_validator("choices")
    @classmethod
    def _choices_differ(cls, choices: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if choices is not None and (len(choices) < 2 or len(set(choices)) < len(choices)):
            raise ValueError(f"{show(list(choices))} is too few; give at least two different choices")
        return choices

    @field_validator("initial")
    @classmethod
    def _initial_inside(cls, initial: Value | None, info: ValidationInfo) -> Value | None:
        low, high, choices = (info.data.get(key) for key in ("low", "high", "choices"))
        if isinstance(initial, (int, float)):
            if (low is not None and initial < low) or (high is not None and initial > high):
                ends = [f"low {show(low)}"] * (low is not None) + [f"high {show(high)}"] * (high is not None)
                raise ValueError(f"{show(initial)} is outside the range ({', '.join(ends)})")
        elif initial is not None and choices is not None and initial not in choices:
            raise ValueError(f"{show(initial)} is not one of the choices: {', '.join(choices)}")
        return initial


def _usable_entry(value: object) -> object:
    if not isinstance(value, (int, float, str, dict, ParameterSpec)) or isinstance(value, bool):
        raise ValueError(
            f"{show(value)} says neither; give a number or text to hold it fixed, or a map such as "
            "{low: 0, high: 1} to tune it ({} for its default range)"
        )
    return value


def _fixed_or_tuned(value: object) -> str:
    return "tuned" if isinstance(value, (dict, ParameterSpec)) else "fixed"


ParameterEntry = Annotated[
    Annotated[ParameterSpec, Tag("tuned")] | Annotated[int | float | str, Tag("fixed")],
    Discriminator(_fixed_or_tuned),
    BeforeValidator(_usable_entry),
]


def _one_as_list(value: object) -> object:
    return [value] if isinstance(value, (dict, str)) else value


class LimitSpec(_Model):
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


class MetricSpec(_Model):
    """The metric that is tuned, what it is weighed against, and what an answer must keep."""

    name: str | None = Field(default=None, min_length=1)
    """One of the objective's metrics; null for its first."""
    split: Literal["held_out", "in_sample"] | None = None
    """Whether it is of data withheld from the solver, or of those it sees; null for held_out where solver parameters
    are tuned and the objective can, else in_sample."""
    against: Annotated[
        tuple[str, ...],
        BeforeValidator(_list_as_tuple),
        BeforeValidator(_one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Other metrics, or seconds, that it is weighed against (sampler gp): the search looks for the whole front."""
    limits: dict[str, LimitSpec] = {}
    """Metric, or seconds -> what a trial must keep to be an answer, such as {above: 0.8}."""


CheapEvaluation = Annotated[dict[str, int | float | str], Field(min_length=1)]


class SearchSpec(_Model):
    """How trials are proposed."""

    sampler: Sampler = "gp"
    """gp is this package's Gaussian process; gradient descends from the nominal values; the others are Optuna's."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Fixes everything random: equal study files with equal seeds give equal trials."""
    startup_trials: int | None = Field(default=None, ge=1, le=100_000)
    """Trials spread over the space before the model proposes any; null for the sampler's default."""

    fidelity: Annotated[
        tuple[CheapEvaluation, ...],
        BeforeValidator(_list_as_tuple),
        BeforeValidator(_one_as_list, json_schema_input_type=list[CheapEvaluation] | CheapEvaluation),
    ] = ()
    """Cheap evaluations the search may use first: parameter -> its value there, such as {iterations: 6, scan_fraction:
    0.2}; several as a list. The answer is always evaluated in full."""
    warm_start: Annotated[
        tuple[str, ...],
        BeforeValidator(_list_as_tuple),
        BeforeValidator(_one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Names of finished studies of the same parameters and metric, whose trials teach the model how these look."""
    pruner: Pruner = "none"
    """Stops trials early: curve, where no finished one ever gained as much as this would need; or one of Optuna's."""

    per_second: bool = False
    """Whether an improvement counts per second that the trial is expected to take (sampler gp)."""

    @field_validator("per_second")
    @classmethod
    def _only_the_gp_models_time(cls, given: bool, info: ValidationInfo) -> bool:
        sampler = info.data.get("sampler")
        if given and sampler in SAMPLERS and sampler != "gp":
            raise ValueError(f"true needs the sampler gp; '{sampler}' does not model how long a trial takes")
        return given

    @field_validator("fidelity", "warm_start")
    @classmethod
    def _only_the_gp_learns_levels(cls, given: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        sampler = info.data.get("sampler")
        if given and sampler in SAMPLERS and sampler != "gp":
            raise ValueError(f"{info.field_name} needs the sampler gp; '{sampler}' cannot learn from such trials")
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


class BudgetSpec(_Model):
    """When the search ends: at whichever limit comes first."""

    trials: int = Field(default=40, ge=1, le=1_000_000)
    """Trials finished, failed or pruned."""
    reconstructions: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Cost of all trials in units of one full evaluation, at least 1; null for no limit."""
    seconds: float | None = Field(default=None, gt=0)
    """Wall-clock time of the study, over all its runs, after which no trial is started; null for no limit."""
    converged: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Stop once four trials in a row were expected to improve the metric by less, and the next is; null for never."""


class IntervalsSpec(_Model):
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


class TrackingSpec(_Model):
    """Where the search is recorded in MLflow."""

    enabled: bool = True
    """Whether trials are recorded in MLflow."""
    uri: str | None = Field(default=None, min_length=1)
    """MLflow tracking URI; null for MLFLOW_TRACKING_URI or the database in .autotune/."""
    experiment: str | None = Field(default=None, min_length=1)
    """MLflow experiment; null for the default one."""

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and without_password(uri) != uri:
            raise ValueError(
                "holds a password, but a study file is passed on and recorded; leave it out here, and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI to the whole address"
            )
        return uri


def _metric_shorthand(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class StudySpec(_Model):
    """A study: which problem, which parameters, how to search, for how long."""

    name: str
    """Name of the study: letters, digits, '.', '_' and '-', at most 100, the first a letter or digit."""
    description: str = ""
    """Free text for people."""
    objective: ObjectiveSpec
    """The reconstruction problem."""
    parameters: dict[str, ParameterEntry] = Field(min_length=1)
    """Name -> a map (tuned over its range), or a number or text (held fixed at it)."""
    metric: Annotated[
        MetricSpec | None,
        BeforeValidator(_metric_shorthand, json_schema_input_type=MetricSpec | str | None),
    ] = None
    """The metric tuned; the objective's first where left out."""
    search: SearchSpec = SearchSpec()
    """Which sampler proposes the trials, with which seed."""
    budget: BudgetSpec = BudgetSpec()
    """When the search ends."""
    execution: ExecutionSpec = ExecutionSpec()
    """Where trials run, and what each may use."""
    intervals: IntervalsSpec = IntervalsSpec()
    """Whether intervals cover the measurement's noise, and at what cost."""
    tracking: TrackingSpec = TrackingSpec()
    """Where the search is recorded."""
    report: bool = True
    """Whether a report is written when the study ends; `autotune report` writes one at any time."""

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
        if budget.converged is not None and search is not None and search.sampler != "gp":
            raise ValueError(f"converged needs the sampler gp: {search.sampler} expects nothing of a trial")
        return budget
