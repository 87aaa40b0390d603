"""The Gaussian-process sampler: the surrogate as an Optuna sampler.

It reads the history from the study, asks :class:`autotune.surrogate.propose.proposer.Proposer`, and stores with the
trial the attributes that later proposals depend on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

from autotune.objective import Value
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Space
from autotune.search.request import Request
from autotune.search.trial_history import read_histories, read_history
from autotune.store.records import EXPECTED_IMPROVEMENT, FINISH, LEVEL
from autotune.surrogate.model.history import History
from autotune.surrogate.propose.proposer import Asked, Proposer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class GaussianProcessSampler(BaseSampler):
    """Optuna sampler that proposes the points of the surrogate's proposer.

    A trial with stated values takes the values of the parameters left open from the starting sequence, at its place.

    Args:
        space: the search space; every trial gets a value for each dimension that is active.
        seed, startup_trials, levels, aims, held: as for :class:`autotune.surrogate.propose.proposer.Proposer`.
        sources: the earlier studies that ``levels`` counts, whose trials the model is fitted to as well.

    Raises:
        ValueError: ``startup_trials`` is negative, or ``levels`` counts another number of sources.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        startup_trials: int | None = None,
        levels: Levels | None = None,
        sources: Sequence[Study] = (),
        aims: Aims | None = None,
        held: Mapping[str, Value] | None = None,
    ) -> None:
        levels = levels or Levels(sources=len(sources))
        if levels.sources != len(sources):
            raise ValueError(f"levels count {levels.sources} earlier studies, and {len(sources)} are given")
        self._space, self._own_levels, self._sources = space, len(levels.costs), tuple(sources)
        self._proposer = Proposer(space, seed=seed, startup_trials=startup_trials, levels=levels, aims=aims, held=held)
        self.asked: Asked | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: all parameters are proposed together."""
        return self._space.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for every dimension that is active at the proposed point.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        asked = self._proposer.ask(self._history(study, trial))
        # Stored with the trial at once: the next proposal depends on it.
        if asked.level:
            study._storage.set_trial_user_attr(trial._trial_id, LEVEL, asked.level)
        if asked.expected_improvement is not None:
            study._storage.set_trial_user_attr(trial._trial_id, EXPECTED_IMPROVEMENT, asked.expected_improvement)
        if asked.finish:
            study._storage.set_trial_user_attr(trial._trial_id, FINISH, True)
        self.asked = asked
        return dict(self._space.from_unit(asked.point))

    def expects(self, study: Study) -> float | None:
        """Expected improvement of the value by the next trial; None where it comes from the starting sequence."""
        return self._proposer.ask(self._history(study, None)).expected_improvement

    def _history(self, study: Study, trial: FrozenTrial | None) -> History:
        return read_histories(study, self._sources, self._space, self._own_levels, asked=trial)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The starting sequence's value for a parameter that is active only because another one's value was stated.

        All other parameters are proposed jointly.

        Raises:
            ValueError: the parameter is not in the space.
        """
        if param_name not in self._space.names:
            raise ValueError(f"'{param_name}' is not in the search space of this sampler: {self._space.names}")
        position = read_history(study, trial, self._space).position
        return self._proposer.start_value(param_name, position)


def make_sampler(request: Request) -> BaseSampler:
    """The sampler ``gp``, for one trial."""
    return GaussianProcessSampler(
        request.space,
        seed=request.seed,
        startup_trials=request.startup_trials,
        levels=request.levels,
        sources=request.sources,
        aims=request.aims,
        held=request.held,
    )
