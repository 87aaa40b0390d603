"""The request for a sampler: everything that a sampler for one trial is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from autotune.objective import Value
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Space

if TYPE_CHECKING:
    from optuna.study import Study


@dataclass(frozen=True)
class Request:
    """Everything that a sampler for one trial is made from; see :func:`autotune.search.samplers.make_sampler`.

    Attributes:
        space: the search space.
        seed: the study's seed, 0 or more.
        index: the trial's place in the search: the number of trials before it that count.
        startup_trials: trials before the sampler's own method begins; None for its default.
        levels: cheap evaluations and earlier studies; None where every evaluation is full.
        sources: the earlier studies that ``levels`` counts.
        aims: limits and metrics beside the tuned one that steer the search; None for the tuned metric alone.
        held: name -> value of the dimensions whose values in this trial nobody chooses.
    """

    space: Space
    seed: int
    index: int
    startup_trials: int | None = None
    levels: Levels | None = None
    sources: Sequence[Study] = ()
    aims: Aims | None = None
    held: Mapping[str, Value] = field(default_factory=dict)

    def startup(self, default: int) -> int:
        """The stated number of startup trials, or else the default."""
        return default if self.startup_trials is None else self.startup_trials

    @property
    def study_seed(self) -> int:
        """A 32-bit seed that all trials of the study share."""
        return _derived(self.seed)

    @property
    def trial_seed(self) -> int:
        """A 32-bit seed of this trial alone; neighbouring trials have unrelated seeds."""
        return _derived(self.seed, self.index)


def _derived(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
