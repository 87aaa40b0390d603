"""result.json as a model: the best parameters of a study, how sure they are, and at what cost.

The descriptions below are those of the JSON Schema that ``autotune schema --result`` prints.
:func:`autotune.results.build.build_result` makes the document from the trial store.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autotune.objective import Kind, Value

SCHEMA = 1
"""Version of the document; it changes when a key is removed or changes its meaning."""

Covers = Literal["noise, search and model", "noise and search", "search"]
EVERYTHING: Literal["noise, search and model"] = "noise, search and model"
"""An interval covers what the noise, an unfinished search and errors of the model leave open, as far as they show."""
NOISE_AND_SEARCH: Literal["noise and search"] = "noise and search"
"""An interval covers what the noise of the measurement and an unfinished search leave open."""
SEARCH: Literal["search"] = "search"
"""An interval covers what an unfinished search leaves open; what the noise does is not known."""
VerdictKind = Literal[
    "identified", "model_limited", "flat", "at_bound", "correlated", "sign_not_identifiable", "not_found"
]
StoredVerdict = Annotated[VerdictKind, BeforeValidator(lambda kind: "not_found" if kind == "unsettled" else kind)]
"""A verdict as the store keeps it: earlier versions had another name for one."""


class Part(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StoredPart(Part):
    """A part that is read back from the trial store, where a newer version may have kept more than this one knows."""

    model_config = ConfigDict(extra="ignore")


class Document(Part):
    """A document that is written as JSON."""

    def as_dict(self) -> dict[str, Any]:
        """The document as plain JSON data; null for what is not known."""
        return self.model_dump(mode="json", by_alias=True)


class TrialCounts(Part):
    """How many trials have ended, by how they did."""

    finished: int
    """Trials that have their metrics, cheap evaluations included."""
    failed: int
    """Trials that diverged or crashed."""
    pruned: int
    """Trials that were stopped early."""

    @property
    def total(self) -> int:
        """How many trials these are."""
        return sum(count for _, count in self)

    def __str__(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self if count or state == "finished")


class MetricResult(Part):
    """The tuned metric; every number but the fraction is in the metric's unit."""

    name: str
    """The metric's name."""
    best: float | None
    """Its value in the best trial; null where there is none."""
    noise_ceiling: float | None
    """The value that the true model would reach on this measurement, by its counting statistics; null where the
    measurement does not say."""
    fraction_of_ceiling: float | None
    """best over noise_ceiling, a plain number; null where either is missing or the ceiling is 0."""
    estimate: float | None
    """Posterior mean of the surrogate at its optimum; null until the study has ended."""
    deviation: float | None
    """Posterior standard deviation of the estimate; null until the study has ended."""


class LimitResult(Part):
    """A limit that an answer must keep, and how many full evaluations that have finished keep it."""

    metric: str
    """Name of the limited metric, or seconds."""
    below: float | None
    """The metric must be at most this, in its unit; null for no such limit."""
    above: float | None
    """The metric must be at least this, in its unit; null for no such limit."""
    kept_by: int
    """Full evaluations that keep the limit."""
    broken_by: int
    """Full evaluations that break it."""


class FrontTrial(Part):
    """A trial of the Pareto front: no other trial beats it in one metric without losing in another."""

    trial: int
    """The trial's number."""
    metrics: dict[str, float]
    """Name -> value of the tuned metric and of those that it is weighed against, each in its unit."""
    values: dict[str, Value]
    """Tuned parameter -> its value, in the parameter's unit."""


class Sensitivity(StoredPart):
    """Sobol indices of the surrogate's posterior mean over the searched ranges, each from 0 to 1."""

    main: float
    """Share of the metric's variance that the parameter brings about by itself."""
    total: float
    """Share of the metric's variance that it brings about by itself and together with the others."""


class HalfWidths(StoredPart):
    """Half the width of an interval by its sources, in the parameter's unit; they add in quadrature."""

    noise_and_search: float
    """What the noise of the measurement and an unfinished search leave open."""
    model: float
    """What errors of the model leave open: how differently parts of the data are misfitted, and how well the stated
    values of the instrument are known that the study holds."""


class ParameterResult(Part):
    """A tuned parameter; values, estimate and interval are in its unit."""

    best: Value | None
    """Its value in the best trial; null where there is none, or where that trial does not use the parameter."""
    estimate: Value | None
    """Where the surrogate's posterior mean has its optimum, less the bias of noise where that is known; null where it
    is not known."""
    interval: tuple[float, float] | None
    """Ends of the central credible interval around the estimate; null for a choice, or where it is not known."""
    interval_of: Covers | None
    """Sources of uncertainty that the interval covers; null without interval."""
    half_widths: HalfWidths | None
    """Half-widths of the interval by source; null where errors of the model are not known."""
    level: float | None
    """Probability of the interval, such as 0.9; null without an interval."""
    unit: str
    """The parameter's unit; 1 for a plain number."""
    kind: Kind
    """Whether the parameter describes the instrument (mismatch) or the reconstruction (solver)."""
    verdict: VerdictKind | None
    """How well the data determine the parameter; null where that is not known."""
    note: str | None
    """A sentence about the verdict, or why there is no value; null for none."""
    choices: dict[str, float] | None
    """Choice -> probability that it is the best with all else held; null for a parameter that is a number."""
    sensitivity: Sensitivity | None
    """How much the metric depends on the parameter; null where that is not known."""


class Noise(StoredPart):
    """The noise of the measurement that the intervals cover, and what it took to know the answer."""

    known_from: str | None
    """Source from which the noise is known, in words; null where the measurement cannot be repeated."""
    replicates: int
    """Repetitions of the measurement that were simulated and evaluated."""
    equivalents: int
    """Cost of these and of all else that the intervals come from, in full evaluations."""


class Behind(StoredPart):
    """A difference of the metric, in its unit."""

    mean: float
    """The difference on the measurement, the mean over seeds where these matter."""
    half_width: float | None
    """Half the width of its interval; null where nothing that varies was evaluated often enough."""


class ConfirmedCandidate(StoredPart):
    """A trial, or the surrogate's estimate, evaluated again; metrics are in the tuned metric's unit."""

    trial: int | None
    """The trial's number; null for an estimate that no trial is at."""
    values: dict[str, Value]
    """Tuned parameter -> its value, in the parameter's unit."""
    recorded: float | None
    """The metric that the trial had; null for the estimate, and for a cheap evaluation."""
    on_data: tuple[float | None, ...]
    """The metric on the measurement, by round of a fresh seed; null where the evaluation failed or was not made."""
    on_repeated: tuple[float | None, ...]
    """The metric on the measurement repeated in simulation, by round; null as in on_data."""
    behind: Behind | None
    """Difference by which the best trial is better; null for that trial itself, and where it is not known."""
    best_in: int | None
    """Rounds in which this was the best of the trials; null for the estimate."""
    failures: tuple[str, ...]
    """Why evaluations failed, each reason once."""


class ExaminedMetric(StoredPart):
    """A metric that the examination of the best reconstruction reported."""

    value: float
    """The value, in unit."""
    unit: str
    """Its unit; 1 for a plain number."""
    description: str
    """Meaning of the metric, in a sentence."""


class Confirmation(Document, StoredPart):
    """The best trials, evaluated again by ``autotune confirm``, and whether their ranking holds."""

    study: str
    """The study's name."""
    trials: int
    """Finished trials that the study had: with more of them the confirmation is out of date."""
    metric: str
    """Name of the tuned metric."""
    holds: bool | None
    """Whether the best trial is better than the others; null where they cannot be told apart."""
    verdict: str
    """The same in a sentence."""
    estimate: str
    """How the surrogate's estimate compares with the best trial, in words; empty where there is none."""
    complete: bool
    """Whether every evaluation was made; false where the command was interrupted."""
    repeats: int
    """Rounds of either kind that were asked for."""
    rounds: int
    """Rounds that all trials have been through."""
    level: float
    """Probability of the intervals of differences."""
    tolerance: float
    """A difference of no interest, in the metric's unit."""
    seed_matters: bool
    """Whether another seed gives another metric."""
    noise: str | None
    """Source from which the noise is known; null where the measurement cannot be repeated."""
    candidates: tuple[ConfirmedCandidate, ...]
    """The best trial first, then others, perhaps the estimate."""
    metrics: dict[str, ExaminedMetric]
    """Name -> what the examination of the best reconstruction reported; empty where there was none."""
    examination_failed: str | None
    """Why the examination failed; null where it did not."""
    evaluations: int
    """Evaluations that were made, in all runs of the command."""


class Cost(Part):
    """Time and evaluations that a study took."""

    seconds: float
    """Wall-clock time of the study over all its runs, in seconds."""
    evaluation_seconds: float
    """Time spent in trials, in seconds, summed over workers."""
    reconstruction_equivalents: float
    """Cost of all trials, in units of one full evaluation."""
    interval_equivalents: float
    """Cost of all that the intervals come from, in units of one full evaluation."""


class MlflowRecord(Part):
    """Where the study is recorded in MLflow."""

    tracking_uri: str | None
    """The tracking URI without its password; null where the study is not recorded."""
    experiment: str | None
    """The experiment's name; null where the study is not recorded."""
    run_id: str | None
    """The study's own run, parent of its trials' runs; null where there is none yet."""


class StudyResult(Document):
    """The answer of a study as data, computed from the trial store alone.

    Estimates, intervals, verdicts and sensitivities are those of the study's last end, and null before it.
    """

    model_config = ConfigDict(title="result.json")

    schema_version: int = Field(alias="schema")
    """Version of this document's format."""
    study: str
    """The study's name."""
    status: str
    """How far it is: running (a process runs it), finished (its budget is used), stopped or failed; any other word is
    that of a newer version, which ran it."""
    reason: str
    """Why it ended, in words; empty while it runs."""
    trials: TrialCounts
    """How many trials have ended."""
    metric: MetricResult
    """The tuned metric."""
    limits: tuple[LimitResult, ...]
    """Limits that an answer must keep."""
    pareto: tuple[FrontTrial, ...] | None
    """The Pareto front, best of the tuned metric first; null where only one metric is asked for."""
    parameters: dict[str, ParameterResult]
    """Name -> a tuned parameter."""
    correlations: dict[str, dict[str, float]] | None
    """Parameter -> parameter -> correlation coefficient of where the optimum may be; null where it is not known."""
    noise: Noise | None
    """The noise of the measurement; null where the intervals cover the search alone."""
    confirmation: Confirmation | None
    """The best trials evaluated again; null where autotune confirm did not run, or trials have finished since."""
    best_trial: int | None
    """Number of the best trial; null where there is none."""
    remarks: tuple[str, ...]
    """What people should know of the best trial and of how comparable the trials are, in sentences."""
    cost: Cost
    """Time and evaluations that the study took, by kind."""
    mlflow: MlflowRecord
    """Where the study is recorded."""
    artifacts: str
    """The study's folder, an absolute path."""
    software: dict[str, str]
    """Package -> version of what decides the numbers."""
    seed: int
    """The study's seed."""


def result_schema() -> dict[str, Any]:
    """The JSON Schema of result.json, in the dialect of the study file's schema."""
    from autotune.study.schema import DIALECT

    return {"$schema": DIALECT, **StudyResult.model_json_schema(mode="serialization")}
