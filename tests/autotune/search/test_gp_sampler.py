from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from autotune.problem.space import Dimension, Space
from autotune.search.gp_sampler import GaussianProcessSampler
from autotune.search.trial_history import read_history
from autotune.store.records import INTERRUPTED
from autotune.surrogate.propose.first_points import default_startup_trials

PLANE = Space((Dimension("x", low=-1.0, high=3.0), Dimension("y", low=0.01, high=100.0, log=True)))
MIXED = Space(
    (
        *PLANE.dimensions,
        Dimension("n", type="int", low=1, high=30),
        Dimension("m", type="categorical", choices=("a", "b", "c", "d")),
    )
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def new_study(direction: str = "maximize", space: Space = PLANE, seed: int = 0, **options: Any) -> optuna.Study:
    return optuna.create_study(direction=direction, sampler=GaussianProcessSampler(space, seed=seed, **options))


def bowl(params: dict[str, Any]) -> float:
    return float((params["x"] - 0.6) ** 2 + math.log10(params["y"] / 2.0) ** 2)


def run(study: optuna.Study, trials: int, value: Callable[[dict[str, Any]], float], space: Space = PLANE) -> None:
    for _ in range(trials):
        trial = study.ask(space.distributions())
        study.tell(trial, value(trial.params))


@pytest.mark.parametrize(("direction", "sign"), [("maximize", -1.0), ("minimize", 1.0)])
def test_finds_the_optimum_in_either_direction(direction: str, sign: float) -> None:
    study = new_study(direction)
    run(study, 16, lambda params: sign * bowl(params))
    assert bowl(study.best_params) < 1e-3


@pytest.mark.slow
def test_finds_the_optimum_of_a_mixed_space() -> None:
    def value(params: dict[str, Any]) -> float:
        return bowl(params) + ((params["n"] - 17) / 10) ** 2 + 0.5 * (params["m"] != "c")

    study = new_study("minimize", MIXED)
    run(study, 30, value, MIXED)
    assert study.best_params["m"] == "c" and abs(study.best_params["n"] - 17) <= 1
    assert study.best_value < 0.02


@pytest.mark.slow
def test_a_plateau_of_bad_values_far_away_is_survived() -> None:
    # Consistency: 0.85 at the optimum, 0.70 nearly everywhere.
    study = new_study(seed=1)
    run(study, 25, lambda params: 0.70 + 0.15 * math.exp(-8 * bowl(params)))
    assert study.best_value > 0.845


def test_equal_values_are_no_obstacle() -> None:
    study = new_study()
    run(study, 8, lambda params: 0.7)
    assert len({tuple(t.params.values()) for t in study.trials}) == 8


def test_trials_asked_together_are_apart() -> None:
    study = new_study()
    run(study, 6, lambda params: -bowl(params))
    together = [study.ask(PLANE.distributions()) for _ in range(4)]
    points = np.array([PLANE.to_unit(t.params) for t in together])
    gaps = np.abs(points[:, None] - points[None]).max(axis=-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.01


def test_trials_asked_together_at_the_start_are_the_sequence() -> None:
    one, other = new_study(), new_study()
    together = [one.ask(PLANE.distributions()) for _ in range(4)]
    run(other, 4, lambda params: -bowl(params))
    assert [t.params for t in together] == [t.params for t in other.trials]


@pytest.mark.slow
def test_a_failing_region_is_left() -> None:
    # The optimum's neighbourhood fails: the best that can be had is on its edge, at 0.05.
    study = new_study()
    for _ in range(20):
        trial = study.ask(PLANE.distributions())
        if bowl(trial.params) < 0.05:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, -bowl(trial.params))
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert 0.05 <= -study.best_value < 0.06
    assert len(failed) < 12


def test_values_that_are_not_finite_give_no_observation() -> None:
    study = new_study()
    run(study, 5, lambda params: -bowl(params))
    run(study, 1, lambda params: -math.inf)
    trial = study.ask(PLANE.distributions())
    history = read_history(study, study.trials[trial.number], PLANE)
    assert history.y.shape == (5,) and history.position == 6
    assert history.failed is not None and history.failed.shape == (1, 2) and history.pending.shape == (0, 2)
    assert np.all(np.isfinite(PLANE.to_unit(trial.params)))


def test_all_failed_goes_on_with_the_sequence() -> None:
    failed, finished = new_study(startup_trials=3), new_study(startup_trials=8)
    for _ in range(6):
        failed.tell(failed.ask(PLANE.distributions()), state=TrialState.FAIL)
    run(finished, 6, lambda params: -bowl(params))
    assert [t.params for t in failed.trials] == [t.params for t in finished.trials]


def test_history_of_a_study() -> None:
    study = new_study("minimize")
    study.enqueue_trial({"x": 0.0, "y": 1.0})
    run(study, 2, bowl)
    study.tell(study.ask(PLANE.distributions()), state=TrialState.FAIL)
    study.tell(study.ask(PLANE.distributions()), state=TrialState.PRUNED)
    lost = study.ask(PLANE.distributions())
    lost.set_user_attr(INTERRUPTED, True)
    study.tell(lost, state=TrialState.FAIL)
    study.ask(PLANE.distributions())  # runs
    study.ask()  # runs, and has no parameters yet
    study.enqueue_trial({"x": 1.0, "y": 1.0})  # waits: not asked before this one
    asked = study.ask(PLANE.distributions())  # takes the waiting one
    study.enqueue_trial({"x": 2.0, "y": 1.0})
    history = read_history(study, study.trials[asked.number], PLANE)
    np.testing.assert_allclose(history.X[0], [0.25, 0.5])
    np.testing.assert_allclose(history.y, [-t.value for t in study.trials[:2]])
    assert history.pending.shape == (1, 2) and history.known().shape == (5, 2)
    assert history.failed is not None and history.failed.shape == (2, 2)
    assert history.position == 6


def test_a_partly_stated_first_trial_takes_the_rest_from_the_sequence() -> None:
    study, free = new_study(), new_study()
    study.enqueue_trial({"x": 0.0})
    first, other = study.ask(PLANE.distributions()), free.ask(PLANE.distributions())
    assert first.params == {"x": 0.0, "y": other.params["y"]}


def test_a_stated_first_trial_counts_as_startup() -> None:
    stated, free = new_study(), new_study()
    stated.enqueue_trial({"x": 0.0, "y": 1.0})
    run(stated, 4, lambda params: -bowl(params))
    run(free, 4, lambda params: -bowl(params))
    assert [t.params for t in stated.trials[1:]] == [t.params for t in free.trials[1:]]


def test_the_model_begins_after_the_startup_trials() -> None:
    start = default_startup_trials(PLANE)
    up, down = new_study(), new_study()
    run(up, start + 1, lambda params: bowl(params))
    run(down, start + 1, lambda params: -bowl(params))
    assert [t.params for t in up.trials[:start]] == [t.params for t in down.trials[:start]]
    assert up.trials[start].params != down.trials[start].params


def test_global_state_is_left_alone() -> None:
    study = new_study()
    run(study, 4, lambda params: -bowl(params))
    before = torch.get_default_dtype(), torch.get_num_threads(), list(warnings.filters)
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first = study.ask(PLANE.distributions()).params
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (torch.get_default_dtype(), torch.get_num_threads(), list(warnings.filters)) == before
    other = new_study()
    run(other, 4, lambda params: -bowl(params))
    torch.manual_seed(4)
    assert other.ask(PLANE.distributions()).params == first


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="startup_trials is -1; it must be 0 or more"):
        GaussianProcessSampler(PLANE, seed=0, startup_trials=-1)
    with pytest.raises(ValueError, match=r"'z' is not in the search space of this sampler: \['x', 'y'\]"):
        new_study().ask(PLANE.distributions()).suggest_float("z", 0, 1)
    several = optuna.create_study(directions=["minimize", "maximize"], sampler=GaussianProcessSampler(PLANE, seed=0))
    with pytest.raises(ValueError, match="multi-objective"):
        several.ask(PLANE.distributions())
