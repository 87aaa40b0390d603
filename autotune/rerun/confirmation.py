"""A confirmation in progress: which evaluations of the best trials are made, and which are still needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autotune.execution.executor import Ended, Repetition, Task
from autotune.objective import Metric, Status, Value
from autotune.rerun.ranking import LEVEL, Candidate, Comparison, Kind
from autotune.results.build import current_confirmation
from autotune.results.document import Behind, Confirmation, ConfirmedCandidate, ExaminedMetric
from autotune.store.trials import TrialStore
from autotune.study import Plan

_SEEDS = 2**32
_NOISE_SEEDS = 2**40
"""Noise seeds begin here, beyond those of the repetitions that a study's intervals come from."""


@dataclass(frozen=True)
class Job:
    """One evaluation: of a candidate in a round, or the examination of the first candidate."""

    candidate: int
    kind: Kind | None
    index: int = 0


@dataclass
class Evaluations:
    """The evaluations of a confirmation so far.

    Attributes:
        store, plan: the study.
        seed: its seed.
        repeats: rounds of either kind.
        candidates, tolerance: as in :class:`autotune.rerun.ranking.Comparison`.
        noise: what the noise is known from; empty where the measurement cannot be repeated.
        examinations: the metrics that an examination may report; none where the objective has no examination.
        examined: the metrics that it did report; None before it.
        examination_failed: why the examination failed; empty where it did not.
        evaluations: how many evaluations were made, in all runs of the command.
    """

    store: TrialStore
    plan: Plan
    seed: int
    repeats: int
    candidates: list[Candidate]
    tolerance: float = 0.0
    noise: str = ""
    examinations: tuple[Metric, ...] = ()
    examined: Mapping[str, float] | None = None
    examination_failed: str = ""
    evaluations: int = 0

    def wanted(self) -> Iterator[Job]:
        """Evaluations that are still needed, the most informative first; more seeds once seeds are known to matter."""
        numbered = list(enumerate(self.candidates))
        for index in range(self.repeats):
            for number, candidate in numbered:
                if not candidate.known("data", index) and (index == 0 or candidate.scores["data"]):
                    yield Job(number, "data", index)
        if self.examinations and self.examined is None and not self.examination_failed:
            yield Job(0, None)
        for index in range(self.repeats if self.noise else 0):
            for number, candidate in numbered:
                if not candidate.known("repeated", index):
                    yield Job(number, "repeated", index)

    def task(self, number: int, job: Job) -> Task:
        """The task of an executor that does a job."""
        values = self._complete(job.candidate)
        fresh = (self.seed + 1 + job.index) % _SEEDS
        if job.kind is None:  # with the trial's own seed: its reconstruction is examined
            return Task(number, values, self.seed, None, examine=True)
        if job.kind == "data":
            return Task(number, values, fresh, None)
        noise = _NOISE_SEEDS + 1000 * self.seed + job.index
        return Task(number, values, (self.seed + 1) % _SEEDS, None, Repetition(self._complete(0), noise))

    def _complete(self, candidate: int) -> dict[str, Value]:
        return {**self.plan.held(0), **self.candidates[candidate].values}

    def add(self, job: Job, ended: Ended) -> None:
        """Keep the outcome of an evaluation."""
        evaluation = ended.evaluation
        done = evaluation.status is Status.COMPLETE
        self.evaluations += 1
        if job.kind is None:
            self.examined = evaluation.metrics if done else None
            self.examination_failed = "" if done else evaluation.reason
            return
        value = evaluation.metrics.get(self.plan.metric.name) if done else None
        reason = evaluation.reason or f"the evaluation reported no {self.plan.metric.name}"
        self.candidates[job.candidate].keep(job.kind, job.index, value, reason)

    def document(self) -> Confirmation:
        """The confirmation as a document, with its verdict on the ranking."""
        comparison = Comparison(self.candidates, self.plan.metric.sign, self.tolerance)
        verdict = comparison.verdict()
        return Confirmation(
            study=self.store.study.study_name,
            trials=sum(trial.state == "finished" for trial in self.store.trials()),
            metric=self.plan.metric.name,
            holds=verdict.holds,
            verdict=verdict.sentence,
            estimate=verdict.estimate,
            complete=next(self.wanted(), None) is None,
            repeats=self.repeats,
            rounds=verdict.rounds,
            level=LEVEL,
            tolerance=self.tolerance,
            seed_matters=any(len(c.on_data) > 1 and c.seed_matters for c in self.candidates),
            noise=self.noise or None,
            candidates=tuple(
                self._candidate(c, comparison, wins) for c, wins in zip(self.candidates, verdict.wins, strict=True)
            ),
            metrics={
                metric.name: ExaminedMetric(value=value, unit=metric.unit, description=metric.description)
                for metric, value in self._examined()
            },
            examination_failed=self.examination_failed or None,
            evaluations=self.evaluations,
        )

    def _examined(self) -> list[tuple[Metric, float]]:
        """What the examination reported, in the order in which the objective announced it."""
        reported = self.examined or {}
        return [(metric, reported[metric.name]) for metric in self.examinations if metric.name in reported]

    def _candidate(self, candidate: Candidate, comparison: Comparison, wins: int | None) -> ConfirmedCandidate:
        behind = None if candidate is self.candidates[0] else comparison.behind(candidate)
        return ConfirmedCandidate(
            trial=candidate.trial,
            values=dict(candidate.values),
            recorded=candidate.recorded,
            on_data=_rounds(candidate, "data"),
            on_repeated=_rounds(candidate, "repeated"),
            behind=None if behind is None else Behind(mean=behind.mean, half_width=behind.half_width),
            best_in=wins,
            failures=tuple(dict.fromkeys(candidate.failures)),
        )

    def load(self) -> None:
        """Use what an earlier run of the command has evaluated of the same trials; failures are tried again."""
        before = current_confirmation(self.store.facts, self.store.trials())
        if before is None:
            return
        self.evaluations = before.evaluations
        same_best = before.candidates[0].trial == self.candidates[0].trial
        for candidate in self.candidates:
            for old in before.candidates:
                if same_best and old.trial == candidate.trial and old.values == dict(candidate.values):
                    _recall(candidate, "data", old.on_data[: self.repeats])
                    if before.noise == (self.noise or None):
                        _recall(candidate, "repeated", old.on_repeated[: self.repeats])
        if same_best and before.metrics:
            self.examined = {name: metric.value for name, metric in before.metrics.items()}

    def keep(self) -> None:
        """Keep the document in the store."""
        self.store.keep(confirmation=self.document().as_dict())


def _recall(candidate: Candidate, kind: Kind, values: Sequence[float | None]) -> None:
    for index, value in enumerate(values):
        if value is not None:
            candidate.keep(kind, index, value)


def _rounds(candidate: Candidate, kind: Kind) -> tuple[float | None, ...]:
    """Metric by round; None where the evaluation failed or was not made."""
    scores = candidate.scores[kind]
    return tuple(scores.get(index) for index in range(max(scores, default=-1) + 1))
