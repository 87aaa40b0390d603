"""A problem for a search engine: a space, a value to maximise, and the regret at which the problem counts as solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from autotune.objective import Value
from autotune.problem.space import Space

Values = Mapping[str, Value]

_ORDINARY = 0.4


@dataclass(frozen=True)
class Outcome:
    """The result of one trial.

    Attributes:
        value: larger is better; finite.
        gradient: parameter name -> derivative of ``value`` per unit of the parameter; only some engines take it.
    """

    value: float
    gradient: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """A problem as one benchmark seed poses it.

    Attributes:
        evaluate: evaluates one trial; equal values give equal outcomes.
        scale: number by which regrets are divided: 1, or the noise ceiling of a measurement.
        truth: a point near the best one, known from the simulation; parameters without a true value are left out.
    """

    evaluate: Callable[[Values], Outcome]
    scale: float = 1.0
    truth: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A problem; its instances share space and target.

    Attributes:
        name: name on the command line.
        title: description for the table.
        space: the searched space.
        target: regret (over the instance's scale) at which the problem counts as solved.
        instance: benchmark seed -> the problem as that seed poses it.
        optimum: the best value possible; None where it differs between instances and has to be searched for.
    """

    name: str
    title: str
    space: Space
    target: float
    instance: Callable[[int], Instance]
    optimum: float | None = None

    @property
    def resolution(self) -> float:
        """Regrets below this count as equal: a hundredth of the target."""
        return self.target / 100

    def sample(self, instance: Instance) -> float:
        """Value of ``instance`` at one ordinary point; it differs if the code that computes it has changed."""
        return instance.evaluate(self.space.from_unit(np.full(self.space.width, _ORDINARY))).value

    def same(self, sample: float, other: float, instance: Instance) -> bool:
        """Whether two samples are of the same problem, within the resolution of regrets."""
        return abs(sample - other) <= self.resolution * instance.scale
