"""When a search ends, and when it must spend an evaluation on its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.store import TrialRecord
from autotune.study.spec import BudgetSpec

IN_A_ROW = 4
"""A small expectation may come from a model that the next trial corrects; some of these look elsewhere."""


@dataclass(frozen=True)
class Next:
    """What is to be done next.

    Attributes:
        reason: why the search ends, in a sentence; empty where it goes on.
        finish: the next trial is to be a full evaluation of the answer so far.
    """

    reason: str = ""
    finish: bool = False


@dataclass(frozen=True)
class Ending:
    """Decides after every trial whether the search goes on.

    A search with cheap evaluations ends with a full one of what it takes for the answer: one evaluation's worth is kept
    back for it.

    Attributes:
        budget: the study's limits.
        metric: name of the tuned metric, for the reason.
        cheap: cost of a cheap evaluation as a fraction of a full one; None where every evaluation is full.
    """

    budget: BudgetSpec
    metric: str
    cheap: float | None = None

    def after(self, trials: Sequence[TrialRecord], seconds: float) -> Next:
        """What to do after ``trials``, those that count, and so many seconds of the study."""
        reason = self._used(trials, seconds)
        if not reason and self._converged(trials):
            reason = f"converged: no trial is expected to improve {self.metric} by {self.budget.converged:g}"
        if reason and self._answer_is_due(trials):
            return Next(finish=True)
        if not reason and self.cheap is not None and len(trials) == self.budget.trials - 1:
            return Next(finish=self._answer_is_due(trials))
        return Next(reason)

    def _used(self, trials: Sequence[TrialRecord], seconds: float) -> str:
        budget = self.budget
        if len(trials) >= budget.trials:
            return f"the budget of {budget.trials} trials is used"
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"the time budget of {budget.seconds:g} s is used"
        if budget.reconstructions is not None:
            used = sum(trial.equivalents for trial in trials)
            reserve = 1.0 if self.cheap is not None and self._answer_is_due(trials) else 0.0
            if used + reserve + (self.cheap or 1.0) > budget.reconstructions + 1e-9:
                return f"the budget of {budget.reconstructions:g} reconstructions is used"
        return ""

    def _converged(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether none of the latest trials was expected to beat the best one by the tolerance or more."""
        if self.budget.converged is None:
            return False
        expected = [t.expected_improvement for t in trials[-IN_A_ROW:] if t.expected_improvement is not None]
        return len(expected) == IN_A_ROW and max(expected) < self.budget.converged

    def _answer_is_due(self, trials: Sequence[TrialRecord]) -> bool:
        """Whether none of the latest trials is a full one, so that the answer rests on cheap ones."""
        latest = trials[-IN_A_ROW:]
        return self.cheap is not None and not any(t.level == 0 for t in latest)
