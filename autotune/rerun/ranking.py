"""Whether the ranking of a study's best trials holds when they are evaluated again.

The difference of two trials is that of the metric on the measurement itself; its uncertainty is what another seed and a
repeated measurement do to it. All trials see the same seeds and the same repeated measurements, so that what these have
in common drops out of a difference (common random numbers). Measurements are repeated in simulation at the best trial's
values, which favours that trial: the spread of the differences is used, not their mean.

For a difference d on the measurement (its mean over n seeds, where the seed matters), with s_n its standard deviation
over seeds and s_m that over measurements, the interval is d +- t sqrt(s_m^2 + s_n^2 / n), t of Student's distribution
with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 110 (1946)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from autotune.objective import Value

LEVEL = 0.9
"""Probability of the intervals of differences."""
_PERCENT = f"{100 * LEVEL:.0f} %"

Kind = Literal["data", "repeated"]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Candidate:
    """A trial, or the estimate, and its metric where it was evaluated again.

    Attributes:
        trial: its number; None for an estimate that no trial is at.
        values: of the tuned parameters.
        recorded: metric of the trial; None for the estimate, and for a trial whose evaluation was a cheap one.
        scores: metric by kind and round; None where the evaluation failed.
        failures: why evaluations failed.
    """

    trial: int | None
    values: Mapping[str, Value]
    recorded: float | None = None
    scores: dict[Kind, dict[int, float | None]] = field(default_factory=lambda: {"data": {}, "repeated": {}})
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The candidate in words."""
        return "the estimate" if self.trial is None else f"trial {self.trial}"

    @property
    def on_data(self) -> Floats:
        """Metric on the measurement, for the seeds with which it was evaluated, (n,)."""
        return np.array([value for value in self.scores["data"].values() if value is not None])

    @property
    def seed_matters(self) -> bool:
        """Whether another seed gives another metric, as far as is known; metrics are compared to the last bit."""
        different = set(self.on_data)
        if len(self.on_data) < 2:
            return self.recorded is None or different != {self.recorded}
        return len(different) > 1

    def known(self, kind: Kind, index: int) -> bool:
        """Whether a round has been evaluated, in success or failure."""
        return index in self.scores[kind] or (kind == "data" and not self.seed_matters)

    def score(self, kind: Kind, index: int) -> float | None:
        """Metric in a round that has been evaluated; None where the evaluation failed."""
        return float(self.on_data[0]) if kind == "data" and not self.seed_matters else self.scores[kind][index]

    def keep(self, kind: Kind, index: int, value: float | None, reason: str = "") -> None:
        """Keep the outcome of an evaluation."""
        self.scores[kind][index] = value
        if value is None:
            self.failures.append(reason)


@dataclass(frozen=True)
class Difference:
    """By how much one candidate is better than another, in the metric's unit.

    Attributes:
        mean: the difference on the measurement.
        half_width: half the width of its interval; None where nothing that varies was evaluated often enough.
        tolerance: a difference of no interest.
    """

    mean: float
    half_width: float | None
    tolerance: float = 0.0

    @property
    def sign(self) -> int:
        """1 where it is better, -1 where worse, 0 where they cannot be told apart or are equally good."""
        if abs(self.mean) <= max(self.half_width or 0.0, self.tolerance):
            return 0
        return 1 if self.mean > 0 else -1

    def __str__(self) -> str:
        return f"{abs(self.mean):.2g}" if self.half_width is None else f"{abs(self.mean):.2g} ± {self.half_width:.1g}"


@dataclass(frozen=True)
class Verdict:
    """Whether the ranking holds.

    Attributes:
        holds: whether the best trial is better than the others; False where another trial is better or the best one
            failed; None where they are equally good or cannot be told apart.
        sentence: the same in words.
        estimate: how the estimate compares with the best trial, in words; empty where there is none.
        wins: in how many rounds each candidate was the best of the trials; None for the estimate, which is no trial.
        rounds: how many rounds there were.
    """

    holds: bool | None
    sentence: str
    estimate: str
    wins: tuple[int | None, ...]
    rounds: int


class Comparison:
    """Candidates side by side.

    Args:
        candidates: the study's best trial first, then others, perhaps the estimate.
        sign: 1 where a larger metric is better, -1 where a smaller one is.
        tolerance: a difference of no interest, in the metric's unit; two trials that are no further apart are equally
            good, whatever the noise.
    """

    def __init__(self, candidates: Sequence[Candidate], sign: float, tolerance: float = 0.0) -> None:
        self._candidates, self._sign, self._tolerance = candidates, sign, tolerance
        self._trials = [candidate for candidate in candidates if candidate.trial is not None]

    def behind(self, candidate: Candidate) -> Difference | None:
        """How much better the best trial is; None where not both of them were evaluated on the measurement."""
        best = self._trials[0]
        on_data, on_repeated = (self._differences(best, candidate, kind) for kind in ("data", "repeated"))
        if not len(on_data):
            return None
        parts = [(float(on_repeated.var(ddof=1)), len(on_repeated) - 1)] if len(on_repeated) > 1 else []
        if len(on_data) > 1:
            parts.append((float(on_data.var(ddof=1)) / len(on_data), len(on_data) - 1))
        return Difference(float(on_data.mean()), _half_width(parts), self._tolerance)

    def verdict(self) -> Verdict:
        """Whether the ranking holds, by all evaluations together."""
        winners = self._winners()
        wins = tuple(None if c.trial is None else sum(winner is c for winner in winners) for c in self._candidates)
        holds, sentence = self._ranking(f"best in {sum(w is self._trials[0] for w in winners)} of {len(winners)}")
        return Verdict(holds, sentence, self._of_estimate(), wins, len(winners))

    def _ranking(self, won: str) -> tuple[bool | None, str]:
        best, others = self._trials[0], self._trials[1:]
        if not len(best.on_data):
            if not best.failures:
                return None, f"{best.name} was not evaluated again yet"
            return False, f"the ranking does NOT hold: {best.name} failed when evaluated again: {best.failures[-1]}"
        waiting = [c.name for c in others if not len(c.on_data) and not c.failures]
        if waiting:
            return None, f"{', '.join(waiting)} not evaluated again yet"
        pairs = ((d, c) for c in others if (d := self.behind(c)) is not None)
        behind = sorted(pairs, key=lambda pair: pair[0].mean)
        if not behind:
            return None, f"there is no other trial to compare {best.name} with"
        ahead = next(((d, c) for d, c in behind if d.sign < 0), None)
        if ahead is not None:
            by = f"{ahead[1].name} is ahead of {best.name} by {ahead[0]}{_level(ahead[0])}"
            return False, f"the ranking does NOT hold: {by}; {best.name} is {won}"
        if behind[0][0].half_width is None:
            why = "the seed changes nothing, and the measurement cannot be repeated"
            return None, f"nothing says whether noise could change the ranking: {why}; {best.name} is {won}"
        alike = [(d, c) for d, c in behind if d.sign == 0]
        if not alike:
            nearest, second = behind[0]
            return True, (
                f"the ranking holds: {best.name} is {won}; the next, {second.name}, is behind by "
                f"{nearest}{_level(nearest)}"
            )
        return None, f"{_listed([best, *(c for _, c in alike)])} {self._why_alike(alike)}; {best.name} is {won}"

    def _why_alike(self, alike: Sequence[tuple[Difference, Candidate]]) -> str:
        apart = max(abs(difference.mean) for difference, _ in alike)
        doubt = max(difference.half_width or 0.0 for difference, _ in alike)
        within = f"they lie within {apart:.1g}, and"
        if apart <= self._tolerance:
            return f"are equally good: {within} the study ends for {self._tolerance:g} (budget.converged)"
        return f"cannot be told apart: {within} {self._causes()} may change that by {doubt:.1g} ({_PERCENT})"

    def _causes(self) -> str:
        noise = any(candidate.scores["repeated"] for candidate in self._trials)
        seed = any(len(candidate.on_data) > 1 and candidate.seed_matters for candidate in self._trials)
        return " and ".join(["noise"] * noise + ["another seed"] * seed)

    def _of_estimate(self) -> str:
        estimate = next((c for c in self._candidates if c.trial is None), None)
        difference = None if estimate is None else self.behind(estimate)
        if difference is None:
            return ""
        equal = "is as good as" if abs(difference.mean) <= self._tolerance else "cannot be told from"
        words = {-1: "is ahead of", 0: equal, 1: "is behind"}[difference.sign]
        return f"the estimate {words} {self._trials[0].name} ({difference}{_level(difference, ', ')})"

    def _winners(self) -> list[Candidate]:
        """The best trial of every round that all trials have been through; the first of equals."""
        return [winner for kind in ("data", "repeated") for winner in self._winners_of(kind)]

    def _winners_of(self, kind: Kind) -> list[Candidate]:
        shift = [self._shift(candidate) if kind == "repeated" else 0.0 for candidate in self._trials]
        winners = []
        for index in self._rounds(kind):
            if not all(candidate.known(kind, index) for candidate in self._trials):
                continue
            values = [candidate.score(kind, index) for candidate in self._trials]
            scores = [-math.inf if v is None else self._sign * (v + s) for v, s in zip(values, shift, strict=True)]
            if max(scores) > -math.inf:
                winners.append(self._trials[scores.index(max(scores))])
        return winners

    def _shift(self, candidate: Candidate) -> float:
        """The difference of the metric on the measurement itself and its mean over repeated measurements.

        Measurements are repeated at the values of one trial, where that trial is at its best: added to the repeated
        metrics, the shift leaves only their scatter to count.
        """
        repeated = [value for value in candidate.scores["repeated"].values() if value is not None]
        if not repeated or not len(candidate.on_data):
            return -math.inf * self._sign
        return float(candidate.on_data.mean() - np.mean(repeated))

    def _rounds(self, kind: Kind) -> range:
        """The rounds of a kind: a single one on the measurement where no seed matters."""
        counts = [len(c.scores[kind]) for c in self._trials if kind == "repeated" or c.seed_matters]
        return range(max(counts, default=1))

    def _differences(self, first: Candidate, second: Candidate, kind: Kind) -> Floats:
        """``first`` less ``second`` in the rounds in which both have a value; a single round where no seed matters."""
        varies = kind == "repeated" or first.seed_matters or second.seed_matters
        rounds = sorted(set(first.scores[kind]) | set(second.scores[kind])) if varies else [0]
        pairs = [
            (first.score(kind, i), second.score(kind, i))
            for i in rounds
            if first.known(kind, i) and second.known(kind, i)
        ]
        return np.array([self._sign * (a - b) for a, b in pairs if a is not None and b is not None], dtype=np.float64)


def _half_width(parts: Sequence[tuple[float, int]]) -> float | None:
    """Half the width of the interval whose variance is the sum of ``parts``; None without any.

    Args:
        parts: variances, each with its degrees of freedom.
    """
    total = sum(variance for variance, _ in parts)
    if not total > 0:
        return 0.0 if parts else None
    from scipy.special import stdtrit

    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return float(stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(total)


def _level(difference: Difference, before: str = " (") -> str:
    """The level of a difference's interval, in brackets or after a comma; empty where it has none."""
    if difference.half_width is None:
        return ""
    return f"{before}{_PERCENT}" + (")" if before == " (" else "")


def _listed(candidates: Sequence[Candidate]) -> str:
    """Two or more trials in words."""
    numbers = [str(candidate.trial) for candidate in candidates]
    return f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"
