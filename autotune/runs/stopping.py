"""When a search ends, and when it must spend an evaluation on its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotune.store.records import TrialRecord
from autotune.study.blocks.budget import BudgetSpec

IN_A_ROW = 4
"""Trials in a row after which a small expected improvement is believed: one may come from a model that is wrong."""


FEWEST = 4
"""Fewest trials after which a model can propose an answer."""


@dataclass(frozen=True)
class Next:
    """The next step of a search.

    Attributes:
        reason: why the search ends, in a sentence; empty where it goes on.
        finish: whether the next trial must be a full evaluation of the answer so far.
    """

    reason: str = ""
    finish: bool = False


@dataclass(frozen=True)
class Ending:
    """Decides after every trial whether the search goes on.

    A search by a model ends with a full evaluation of its answer. The cost of that evaluation is kept back, so that
    neither the trials nor the reconstructions ever exceed the budget.

    Attributes:
        budget: the study's limits.
        metric: name of the tuned metric, for the reason.
        cheap: cost of the dearest cheap evaluation as a fraction of a full one; None where every evaluation is full.
        by_model: whether the sampler has a model that proposes an answer.
        wrong: whether a trial's values are the wrong one of two twins, so that the other one is to be evaluated.
    """

    budget: BudgetSpec
    metric: str
    cheap: float | None = None
    by_model: bool = False
    wrong: Callable[[TrialRecord], bool] = lambda trial: False

    def after(self, trials: Sequence[TrialRecord], seconds: float, expects: Callable[[], float | None]) -> Next:
        """The next step.

        Args:
            trials: the trials that count, in the order of their numbers.
            seconds: time that the study has taken.
            expects: returns the expected improvement of the metric by the next trial, None where that is not known.
                Called only where it decides.
        """
        reason = self._used(trials, seconds)
        if not reason and self._settled(trials):
            expected = expects()
            if expected is not None and expected < (self.budget.converged or 0.0):
                reason = f"converged: no trial is expected to improve {self.metric} by {self.budget.converged:g}"
        if reason and len(trials) < self.budget.trials and self._affords(1.0, trials) and self._answer_is_due(trials):
            return Next(finish=True)
        last = len(trials) == self.budget.trials - 1 or (self.cheap is None and not self._affords(2.0, trials))
        return Next(reason, not reason and last and self._answer_is_due(trials, more=1))

    def _used(self, trials: Sequence[TrialRecord], seconds: float) -> str:
        budget = self.budget
        if len(trials) >= budget.trials:
            return f"the budget of {budget.trials} trials is used"
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"the time budget of {budget.seconds:g} s is used"
        # The next trial may be a cheap one, after which the answer is due; a full one may be the answer itself.
        cheap_one = 0.0 if self.cheap is None else self.cheap * self._answer_is_due(trials, more=1)
        if not self._affords(1.0 + cheap_one, trials):
            return f"the budget of {budget.reconstructions:g} reconstructions is used"
        return ""

    def _affords(self, cost: float, trials: Sequence[TrialRecord]) -> bool:
        """Whether the budget allows for ``cost`` more reconstructions."""
        limit = self.budget.reconstructions
        return limit is None or sum(trial.equivalents for trial in trials) + cost <= limit + 1e-9

    def _settled(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether :data:`IN_A_ROW` successive trials were each expected to improve the metric by less than matters."""
        if self.budget.converged is None:
            return False
        row = 0
        for trial in trials:
            expected = trial.expected_improvement
            row = row + 1 if expected is not None and expected < self.budget.converged else 0
            if row == IN_A_ROW:
                return True
        return False

    def _answer_is_due(self, trials: Sequence[TrialRecord], more: int = 0) -> bool:
        """Whether a full evaluation of the answer is still missing, now or after ``more`` further trials.

        In a search with cheap evaluations it is missing where none of the latest trials, ``more`` cheap ones included,
        is full. In any other search it is missing where the latest trial is not of the answer, and there are enough
        trials for an answer.
        """
        if self.cheap is None:
            return self.by_model and len(trials) >= FEWEST and (more > 0 or not trials[-1].finish)
        latest = trials[-(IN_A_ROW - more) :]
        return not any(t.level == 0 and (t.finish or not self.wrong(t)) for t in latest)
