"""Every sampler on a space with conditions: only active parameters have values, resumed or interrupted or not."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.search.samplers import KINDS, TAKES_STARTUP, make_sampler
from autotune.search.tuner import Search, Trial, Tuner
from autotune.store.trials import TrialStore
from tests.autotune.conditional import SPACE, gradient, value

pytestmark = pytest.mark.usefixtures("in_memory")

METRIC = Metric("consistency", "maximize")
WITHOUT_GRADIENTS = [name for name, kind in KINDS.items() if not kind.needs_gradients]  # which has tests of its own
STARTUP = {name: 4 for name in TAKES_STARTUP}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def tuner(url: str, sampler: str, seed: int = 1, space: Space = SPACE) -> Tuner:
    """A tuner as a new process has it."""
    store = TrialStore.open(url, "s") or TrialStore.create(url, "s", METRIC, {})
    made = Tuner(store, space, METRIC, Search(sampler, seed, STARTUP.get(sampler)))
    made.start()
    return made


def evaluation(trial: Trial, slopes: bool = False) -> Evaluation:
    metrics = {"consistency": value(trial.values)}
    return Evaluation(Status.COMPLETE, metrics, gradient=gradient(trial.values) if slopes else {})


def run(url: str, sampler: str, trials: int, *, slopes: bool = False, **options: Any) -> list[dict[str, Any]]:
    made = tuner(url, sampler, **options)
    while len(made.counted()) < trials:
        trial = made.ask()
        made.tell(trial, evaluation(trial, slopes))
    return [dict(record.values) for record in made.counted()]


@pytest.mark.parametrize("sampler", WITHOUT_GRADIENTS)
def test_trials_have_what_is_active_and_no_more(sampler: str, url: str) -> None:
    proposals = run(url, sampler, 14)
    for values in proposals:
        assert set(values) == SPACE.active(values)
        for dimension in SPACE.dimensions:
            if dimension.name in values:
                point = dimension.to_unit(values[dimension.name])
                assert all(0 <= u <= 1 for u in point)
    assert len({frozenset(values) for values in proposals}) > 1
    assert len({tuple(sorted(values.items())) for values in proposals}) == 14


@pytest.mark.parametrize("sampler", WITHOUT_GRADIENTS)
def test_resumed_and_interrupted_the_trials_are_the_same(sampler: str, tmp_path: Path) -> None:
    expected = run(f"sqlite:///{tmp_path / 'undisturbed.db'}", sampler, 8)
    url = f"sqlite:///{tmp_path / 'disturbed.db'}"
    run(url, sampler, 3)
    run(url, sampler, 5)
    lost = tuner(url, sampler).ask()  # the process ends here
    assert run(url, sampler, 8) == expected
    assert lost.values == expected[5]
    assert run(f"sqlite:///{tmp_path / 'other.db'}", sampler, 5, seed=2) != expected[:5]


def test_a_trial_cut_short_between_two_parameters_is_released(url: str) -> None:
    expected = run(url, "gp", 5)
    store = TrialStore.open(url, "s")
    assert store is not None
    store.study.sampler = optuna.samplers.RandomSampler(seed=0)
    cut = store.study.ask()
    SPACE.dimensions[2].suggest(cut)  # the solver is stored; then the process ended
    assert run(url, "gp", 7)[:5] == expected
    assert [t.state for t in store.trials()] == 5 * ["finished"] + ["interrupted"] + 2 * ["finished"]


@pytest.mark.parametrize(
    ("sampler", "trials", "together"),
    [
        ("tpe", 10, set(SPACE.names)),
        ("cmaes", 10, {"shift"}),
        ("cmaes", 1, {"shift"}),  # though the only trial has more
        ("optuna-gp", 10, {"shift", "solver"}),
    ],
)
def test_what_optunas_samplers_propose_together(sampler: str, trials: int, together: set[str], url: str) -> None:
    run(url, sampler, trials)
    made = tuner(url, sampler)
    study = made.store.study
    fresh = make_sampler(sampler, SPACE, seed=1, index=trials, startup_trials=4)
    trial = study.get_trials(deepcopy=False)[-1]
    assert set(fresh.infer_relative_search_space(study, trial)) == together


def test_tpe_settles_on_the_settings_of_the_best_solver(url: str) -> None:
    """At random, log10 of step has a spread of 0.87."""
    late = [values for values in run(url, "tpe", 60)[30:] if "step" in values]
    assert len(late) > 15 and np.std([np.log10(float(values["step"])) for values in late]) < 0.6


def test_cmaes_settles_on_what_all_trials_have(url: str) -> None:
    shifts = np.array([values["shift"] for values in run(url, "cmaes", 60)])
    assert np.abs(shifts[-20:] - 0.7).mean() < 0.5 * np.abs(shifts[:20] - 0.7).mean()


@pytest.mark.parametrize("solver", [None, "momentum", "exact"])
@pytest.mark.parametrize("sampler", WITHOUT_GRADIENTS)
def test_stated_values_are_tried_where_they_are_active(sampler: str, solver: str | None, url: str) -> None:
    choice = Dimension("solver", type="categorical", choices=("exact", "sgd", "momentum"), initial=solver)
    decay = Dimension("decay", initial=0.25, when=(("solver", ("momentum",)),))
    other = Dimension("other", type="int", low=1, high=9, when=(("solver", ("momentum",)),))
    space = Space((decay, choice, other))
    first = tuner(url, sampler, space=space).ask().values
    assert set(first) == space.active(first)
    assert solver is None or first["solver"] == solver
    assert first.get("decay", 0.25) == 0.25
    assert first.get("other", 5) in range(1, 10)


def test_what_a_stated_value_makes_active_follows_the_starting_sequence(tmp_path: Path) -> None:
    """It is drawn anew for every seed, and the same again for the same one."""
    choice = Dimension("solver", type="categorical", choices=("exact", "momentum"), initial="momentum")
    space = Space((choice, Dimension("decay", when=(("solver", ("momentum",)),))))
    decays = [
        tuner(f"sqlite:///{tmp_path / f'{i}.db'}", "gp", seed, space).ask().values["decay"]
        for i, seed in enumerate([*range(6), 0])
    ]
    assert len(set(decays)) == 6 and decays[6] == decays[0]


def best_values(folder: Path, sampler: str, trials: int, seeds: int, slopes: bool = False) -> list[float]:
    """The best value of one search per seed."""
    bests = []
    for seed in range(seeds):
        url = f"sqlite:///{folder / f'{sampler}{seed}.db'}"
        run(url, sampler, trials, slopes=slopes, seed=seed)
        best = tuner(url, sampler, seed).best
        assert best is not None
        bests.append(best.metrics["consistency"])
    return bests


@pytest.mark.slow
def test_with_gradients_the_optimum_is_found_where_random_is_far(tmp_path: Path) -> None:
    assert min(best_values(tmp_path, "gp", 18, seeds=2, slopes=True)) > -2e-3
    assert max(best_values(tmp_path, "random", 60, seeds=2)) < -2e-2


@pytest.mark.slow
def test_from_values_alone_the_gaussian_process_is_ahead_of_random(tmp_path: Path) -> None:
    guided, random = best_values(tmp_path, "gp", 20, seeds=5), best_values(tmp_path, "random", 24, seeds=10)
    assert median(guided) > max(random)
    assert min(guided) > median(random)
