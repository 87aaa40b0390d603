"""The Gaussian-process sampler: Optuna's view of the surrogate.

    symbol    shape   meaning
    k                 dimensions of the space (tuned parameters)
    D                 unit-cube coordinates: one per float or int dimension, one per choice of a categorical
    n                 trials with a finite value
    m                 trials without one: running, failed, pruned
    X         (n, D)  evaluated points of the unit cube; ints at the middle of their cell, choices one-hot
    y         (n,)    values, larger is better (the sign is turned for a study that minimises)
    pending   (m, D)  points without a value
    position          trials that count before the one asked; decides startup or model, and seeds the proposal

A proposal depends on the seed and on the trials in the storage, on nothing that the sampler keeps. A new process, or a
new sampler for every trial, therefore proposes what the old one would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.exceptions.warnings import InputDataWarning, NumericsWarning, OptimizationWarning
from linear_operator.utils.warnings import NumericalWarning
from optuna.samplers import BaseSampler

from autotune.space import Floats, Space
from autotune.surrogate.acquisition import propose
from autotune.surrogate.history import History, read_history
from autotune.surrogate.model import fit_history
from autotune.surrogate.startup import default_startup_trials, startup_point

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# Fewer values than this say nothing about how the metric varies.
FEWEST_VALUES = 2
# Share of the standard deviation of the values; see _probes.
PROBE_BELOW = 0.03


class GaussianProcessSampler(BaseSampler):
    """Optuna sampler that fits a Gaussian process to the trials so far and maximises an expected improvement.

    The first ``startup_trials`` trials follow a scrambled Sobol sequence. A trial that was enqueued with the
    user's stated values counts as one of them; parameters it leaves open take the values of its place in the
    sequence.

    Args:
        space: the search space; every trial gets a value for each of its dimensions.
        seed: equal seeds and equal trials give equal proposals on one machine.
        startup_trials: trials before the first model; None for one more than half the dimensions, at least 4, or 2
            as soon as trials carry gradients: each of those tells as much as one more than the dimensions without.

    Raises:
        ValueError: ``startup_trials`` is negative.
    """

    def __init__(self, space: Space, *, seed: int, startup_trials: int | None = None) -> None:
        if startup_trials is not None and startup_trials < 0:
            raise ValueError(f"startup_trials is {startup_trials}; it must be 0 or more")
        self._space = space
        self._seed = seed
        self._startup_trials = startup_trials
        self._expected_improvement: float | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: all parameters are proposed together."""
        return self._space.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for every dimension of the space.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        point = self.next_point(read_history(study, trial, self._space))
        return dict(self._space.from_unit(point))

    @property
    def expected_improvement(self) -> float | None:
        """Of the latest proposal, in the unit of the values; None where it came from the starting sequence."""
        return self._expected_improvement

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never a sensible question: every parameter of the space is proposed jointly.

        Raises:
            ValueError: always; it names the parameter that is not in the space.
        """
        raise ValueError(f"'{param_name}' is not in the search space of this sampler: {self._space.names}")

    def _startup(self, history: History) -> int:
        """Trials before the first model: what the user states, or the default; fewer where trials carry gradients."""
        if self._startup_trials is not None:
            return self._startup_trials
        return FEWEST_VALUES if history.has_gradient else default_startup_trials(self._space)

    def next_point(self, history: History) -> Floats:
        """The point of the unit cube to try after ``history``, shape (D,)."""
        words = np.random.SeedSequence([self._seed, history.position]).generate_state(2)
        # The sequence is the study's, so its seed must not change with the position.
        start_seed = int(np.random.SeedSequence(self._seed).generate_state(1)[0])
        if history.position < self._startup(history) or len(history.y) < FEWEST_VALUES:
            self._expected_improvement = None
            return startup_point(self._space, seed=start_seed, position=history.position)
        with _own_generator(int(words[0])), _one_thread(), _expected_warnings_ignored():
            proposal = propose(fit_history(history, self._space), history, self._space, seed=int(words[1]))
        self._expected_improvement = proposal.expected_improvement
        if self._probes(history, proposal.expected_improvement):
            return startup_point(self._space, seed=start_seed, position=history.position)
        return proposal.point

    def _probes(self, history: History, expected_improvement: float) -> bool:
        """Whether to look elsewhere in the starting sequence: every other trial once the model expects little.

        Gradients make a model sure of the basin that it is in, and too sure of what it has never seen. Where the model
        is right, such a trial costs little; where it is wrong, nothing else tells. Measured on the demo's measurement:
        2 of 6 seeds stayed in a wrong basin for 30 trials, with probes none beyond 24.
        """
        little = PROBE_BELOW * float(history.y.std())
        return history.has_gradient and expected_improvement < little and history.position % 2 == 0


@contextmanager
def _own_generator(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator inside the block, and leave it as it was found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread inside the block: the matrices are small, and threads that wait for a busy core cost seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _expected_warnings_ignored() -> Iterator[None]:
    """Ignore what BoTorch and GPyTorch say about few or clustered points: no one need act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)  # jitter added to a kernel matrix
        warnings.simplefilter("ignore", NumericsWarning)  # few points: interpolation may be numerically hard
        warnings.simplefilter("ignore", OptimizationWarning)  # L-BFGS stopped early; the best point is kept
        warnings.simplefilter("ignore", InputDataWarning)  # equal values cannot be standardised
        yield
