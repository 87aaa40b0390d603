"""A sampler in a file of its own, which ``test_own_sampler`` adds to the table: the middle of every range."""

from __future__ import annotations

from typing import Any

from optuna.samplers import BaseSampler

from autotune.problem.space import Space
from autotune.search.request import Request


class Middle(BaseSampler):
    """Proposes the middle of every range, and expects to improve the metric by 0.5."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._space.distributions()

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {d.name: d.from_unit([0.5] * d.width) for d in self._space.dimensions}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        raise AssertionError("all parameters are proposed together")

    def expects(self, study: Any) -> float:
        return 0.5


def make_sampler(request: Request) -> BaseSampler:
    """The sampler for one trial. Its row says that it has a model, so the tuner must give it the levels."""
    assert request.levels is not None
    return Middle(request.space)
