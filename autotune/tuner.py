"""The tuner: ask for a trial, tell what it yielded. The whole engine for someone who embeds it.

    store = TrialStore.create(url, name, metric, facts)
    tuner = Tuner(store, space, metric, search)
    while len(tuner.counted()) < budget:
        trial = tuner.ask()
        tuner.tell(trial, evaluate(trial.values))
    print(tuner.best)

The tuner keeps no state of its own: everything is in the store, so a new process continues exactly where the last one
ended, whatever ended it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from autotune.objective import Evaluation, Metric, Status, Value
from autotune.samplers import make_sampler
from autotune.space import Space
from autotune.store import EXPECTED_IMPROVEMENT, TrialRecord, TrialStore, best_of

_IN_A_ROW = 4
"""A small expectation may come from a model that the next trial corrects; every other of these looks elsewhere."""


@dataclass(frozen=True)
class Search:
    """How trials are proposed; see ``search:`` in the study file."""

    sampler: str = "gp"
    seed: int = 0
    startup_trials: int | None = None


@dataclass(frozen=True)
class Trial:
    """One set of values to evaluate.

    Attributes:
        number: its number in the store.
        values: tuned parameter name -> value.
        seed: for everything random in the evaluation. The same for all trials of a study: with common random
            numbers a difference between two trials is a difference between their parameters.
    """

    number: int
    values: Mapping[str, Value]
    seed: int


class Tuner:
    """Ask / tell over one study in the store."""

    def __init__(self, store: TrialStore, space: Space, metric: Metric, search: Search) -> None:
        self.store, self.space, self.metric, self.search = store, space, metric, search

    def start(self) -> int:
        """Take up the study: queue the user's stated values if nothing ran yet, release what a dead process left.

        Only for the one process that runs the study. Returns the number of trials released.
        """
        trials = self.store.trials()
        if not trials and self.space.stated() and not self._queued():
            self.store.study.enqueue_trial(self.space.stated())
        left = [trial for trial in trials if trial.state == "running"]
        for trial in left:
            self.store.release(trial)
        return len(left)

    def ask(self) -> Trial:
        """Propose the next trial and record it as running."""
        study = self.store.study
        study.sampler = sampler = make_sampler(
            self.search.sampler,
            self.space,
            seed=self.search.seed,
            index=len(self.counted()),
            startup_trials=self.search.startup_trials,
        )
        trial = study.ask(self.space.distributions())
        improvement = getattr(sampler, "expected_improvement", None)
        if improvement is not None:
            trial.set_user_attr(EXPECTED_IMPROVEMENT, improvement)
        return Trial(trial.number, dict(trial.params), self.search.seed)

    def tell(self, trial: Trial, evaluation: Evaluation) -> TrialRecord:
        """Store what a trial yielded. A complete evaluation without a finite tuned metric counts as failed."""
        value = evaluation.metrics.get(self.metric.name) if evaluation.status is Status.COMPLETE else None
        if evaluation.status is Status.COMPLETE and (value is None or not math.isfinite(value)):
            reason = f"the evaluation reported {self.metric.name} = {value}"
            evaluation, value = replace(evaluation, status=Status.FAILED, reason=reason), None
        return self.store.tell(trial.number, evaluation, value)

    def counted(self) -> list[TrialRecord]:
        """The trials that count against the budget: all that were started, less the interrupted."""
        return [trial for trial in self.store.trials() if trial.state != "interrupted"]

    def converged(self, tolerance: float) -> bool:
        """Whether none of the four latest trials was expected to beat the best one by ``tolerance`` or more."""
        latest = self.counted()[-_IN_A_ROW:]
        expected = [trial.expected_improvement for trial in latest if trial.expected_improvement is not None]
        return len(expected) == _IN_A_ROW and max(expected) < tolerance

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the best tuned metric; None where none has finished."""
        return best_of(self.store.trials(), self.metric)

    def _queued(self) -> bool:
        from optuna.trial import TrialState

        return bool(self.store.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
