"""What evaluations of a study's best trials, made again, say of their ranking.

Of two trials, the difference of the metric on the measurement itself is known; how far it could have come out otherwise
is what a repeated measurement and another seed do to it. Repeated measurements are the same for all trials and so are
seeds, so that what they have in common drops out of a difference (common random numbers). They are simulated at one
set of values, near which they make every trial look the better: their spread is used, not their mean.

For a difference d on the measurement (its mean over n seeds, where the seed matters), with s_n its standard deviation
over the seeds and s_m that over measurements, the interval is d +- t sqrt(s_m^2 + s_n^2 / n), t of Student's
distribution with the fewer degrees of freedom of the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from autotune.objective import Value

LEVEL = 0.9
"""Of the intervals of differences."""
Kind = Literal["data", "repeated"]


@dataclass
class Candidate:
    """A trial, or the estimate, and its metric where it was evaluated again.

    Attributes:
        trial: its number; None for an estimate that no trial is at.
        estimate: whether it is where the surrogate has the optimum.
        values: of the tuned parameters.
        recorded: metric of the trial.
        on_data: metric on the measurement, by fresh seed; None where it failed or was not evaluated.
        on_repeated: metric on repeated measurements, in the same way.
        failures: why evaluations failed.
    """

    trial: int | None
    estimate: bool
    values: Mapping[str, Value]
    recorded: float | None = None
    on_data: list[float | None] = field(default_factory=list)
    on_repeated: list[float | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """In words."""
        return "the estimate" if self.trial is None else f"trial {self.trial}"

    @property
    def seed_matters(self) -> bool:
        """Whether another seed gives another metric, as far as is known: to the last bit, since equals are equal."""
        known = [value for value in self.on_data if value is not None]
        if self.recorded is not None and known:
            known.append(self.recorded)
        return len(known) < 2 or len(set(known)) > 1

    def values_on(self, kind: Kind, rounds: int) -> list[float | None]:
        """Metric by round; one that no seed changes is the same in all of them."""
        found = self.on_data if kind == "data" else self.on_repeated
        if kind == "data" and not self.seed_matters:
            known = next(value for value in found if value is not None)
            return [known] * rounds
        return [*found[:rounds], *[None] * (rounds - len(found))]

    def keep(self, kind: Kind, index: int, value: float | None, reason: str) -> None:
        """Keep how an evaluation ended."""
        found = self.on_data if kind == "data" else self.on_repeated
        found.extend([None] * (index + 1 - len(found)))
        found[index] = value
        if value is None:
            self.failures.append(reason)


@dataclass(frozen=True)
class Difference:
    """By how much one candidate is better than another, in the metric's unit.

    Attributes:
        mean: on the measurement.
        half_width: of its interval; None where nothing that varies was evaluated often enough.
    """

    mean: float
    half_width: float | None

    @property
    def sign(self) -> int:
        """1 where it is better, -1 where worse, 0 where they cannot be told apart."""
        if self.half_width is None or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1

    def __str__(self) -> str:
        return f"{abs(self.mean):.2g} ± {self.half_width:.1g}" if self.half_width is not None else f"{self.mean:.2g}"


@dataclass(frozen=True)
class Verdict:
    """Whether the ranking holds.

    Attributes:
        holds: whether the best trial is better than the others; False where one of them is better than it, None where
            they cannot be told apart.
        sentence: says so.
        estimate: how the estimate compares with the best trial, one sentence; empty where no trial is apart from it.
        wins: in how many rounds each candidate was the best of the trials; None for an estimate that is none.
        rounds: how many there were.
    """

    holds: bool | None
    sentence: str
    estimate: str
    wins: tuple[int | None, ...]
    rounds: int


class Comparison:
    """Candidates side by side.

    Args:
        candidates: the study's best trial first, then others by their recorded metric, perhaps an estimate.
        sign: 1 where a larger metric is better, -1 where a smaller one is.
    """

    def __init__(self, candidates: Sequence[Candidate], sign: int) -> None:
        self._candidates, self._sign = candidates, sign
        self._trials = [candidate for candidate in candidates if candidate.trial is not None]

    def difference(self, one: Candidate, other: Candidate) -> Difference | None:
        """How much better ``one`` is; None where they were not both evaluated on the measurement."""
        on_data, on_repeated = (self._differences(one, other, kind) for kind in ("data", "repeated"))
        if not len(on_data):
            return None
        parts = [(float(on_repeated.var(ddof=1)), len(on_repeated) - 1)] if len(on_repeated) > 1 else []
        if len(on_data) > 1:
            parts.append((float(on_data.var(ddof=1)) / len(on_data), len(on_data) - 1))
        return Difference(float(on_data.mean()), _half_width(parts))

    def verdict(self) -> Verdict:
        """What all of them say together."""
        best, others = self._trials[0], self._trials[1:]
        wins, rounds = self._wins()
        holds, sentence = self._ranking(best, others, wins.get(id(best), 0), rounds)
        counted = tuple(None if c.trial is None else wins.get(id(c), 0) for c in self._candidates)
        return Verdict(holds, sentence, self._of_estimate(best), counted, rounds)

    def _ranking(self, best: Candidate, others: Sequence[Candidate], won: int, rounds: int) -> tuple[bool | None, str]:
        if not any(value is not None for value in best.on_data):
            if not best.failures:
                return None, f"{best.name} was not evaluated again yet"
            return False, f"the ranking does NOT hold: {best.name} failed when evaluated again: {best.failures[-1]}"
        found = {id(c): self.difference(best, c) for c in others}
        known = sorted(((d, c) for c in others if (d := found[id(c)]) is not None), key=lambda pair: pair[0].mean)
        if not known:
            return None, f"there is no other full trial to compare {best.name} with"
        nearest, nearest_trial = known[0]
        if nearest.sign < 0:
            ahead = f"{nearest_trial.name} is ahead of {best.name} by {nearest} ({LEVEL:.0%})"
            return False, f"the ranking does NOT hold: {ahead}; {best.name} is best in {won} of {rounds}"
        if nearest.half_width is None:
            return None, f"nothing says whether the ranking would hold: {best.name} is best in {won} of {rounds}"
        alike = [(d, c) for d, c in known if d.sign == 0]
        if alike:
            names = _listed([best, *(c for _, c in alike)])
            largest = max(d.half_width or 0.0 for d, _ in alike)
            least = min(abs(d.mean) for d, _ in alike)
            apart = f"they are {least:.1g} apart" if len(alike) == 1 else f"the nearest two are {least:.1g} apart"
            doubt = f"noise and seed may change that by {largest:.1g} ({LEVEL:.0%})"
            return None, f"{names} cannot be told apart: {apart}, {doubt}; {best.name} is best in {won} of {rounds}"
        behind = f"the next, {nearest_trial.name}, is behind by {nearest} ({LEVEL:.0%})"
        return True, f"the ranking holds: {best.name} is best in {won} of {rounds}; {behind}"

    def _of_estimate(self, best: Candidate) -> str:
        estimate = next((c for c in self._candidates if c.trial is None), None)
        difference = None if estimate is None else self.difference(estimate, best)
        if difference is None:
            return ""
        words = {1: "is ahead of", 0: "cannot be told from", -1: "is behind"}[difference.sign]
        amount = "" if difference.half_width is None else f" ({difference.mean:+.2g} ± {difference.half_width:.1g})"
        return f"the estimate {words} {best.name}{amount}"

    def _wins(self) -> tuple[dict[int, int], int]:
        """By identity of the candidate, rounds in which no other trial was better, the first of equals; how many."""
        wins: dict[int, int] = {}
        rounds = 0
        for kind in ("data", "repeated"):
            columns = [c.values_on(kind, self._rounds(kind)) for c in self._trials]
            for values in zip(*columns, strict=True):
                scores = [-math.inf if value is None else self._sign * value for value in values]
                if max(scores) == -math.inf:
                    continue
                winner = id(self._trials[scores.index(max(scores))])
                wins[winner] = wins.get(winner, 0) + 1
                rounds += 1
        return wins, rounds

    def _rounds(self, kind: Kind) -> int:
        """How many rounds there are of a kind: one on the measurement where no seed matters."""
        if kind == "repeated":
            return max((len(c.on_repeated) for c in self._candidates), default=0)
        seeded = [len(c.on_data) for c in self._candidates if c.seed_matters]
        return max(seeded, default=1)

    def _differences(self, one: Candidate, other: Candidate, kind: Kind) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of the rounds in which both have a value; a difference that no seed changes counts once."""
        rounds = self._rounds(kind) if kind == "repeated" or one.seed_matters or other.seed_matters else 1
        pairs = zip(one.values_on(kind, rounds), other.values_on(kind, rounds), strict=True)
        return np.array([self._sign * (a - b) for a, b in pairs if a is not None and b is not None], dtype=np.float64)


def _half_width(parts: Sequence[tuple[float, int]]) -> float | None:
    """Of an interval with these variances, each with its degrees of freedom; None without any."""
    if not parts:
        return None
    from scipy.stats import t

    quantile = float(t.ppf(0.5 + LEVEL / 2, min(freedom for _, freedom in parts)))
    return quantile * math.sqrt(sum(variance for variance, _ in parts))


def _listed(candidates: Sequence[Candidate]) -> str:
    """Trials in words."""
    numbers = [str(candidate.trial) for candidate in candidates]
    return f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"
