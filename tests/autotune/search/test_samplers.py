"""Every sampler proposes the same trials in one process, resumed, and after an interruption."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from autotune.problem.space import Dimension, Space
from autotune.search.samplers import KINDS, SAMPLERS, TAKES_STARTUP, make_sampler
from autotune.store.database import database_of
from autotune.store.records import INTERRUPTED

SPACE = Space(
    (
        Dimension("shift", "angstrom", low=-2.0, high=2.0, initial=0.0),
        Dimension("rate", low=1e-3, high=1.0, log=True, kind="solver"),
        Dimension("passes", type="int", low=1, high=8, kind="solver"),
        Dimension("method", type="categorical", choices=("plain", "fast", "slow"), kind="solver"),
    )
)
WITHOUT_GRADIENTS = [name for name, kind in KINDS.items() if not kind.needs_gradients]  # which has tests of its own
STARTUP = {name: 4 for name in TAKES_STARTUP}


def value(params: dict[str, Any]) -> float:
    other = 0.2 * (params["method"] != "fast")
    rate = math.log10(params["rate"] / 0.05)
    return -((params["shift"] - 0.7) ** 2) - 0.3 * rate**2 - 0.01 * (params["passes"] - 5) ** 2 - other


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def counted(study: optuna.Study) -> int:
    trials = study.get_trials(deepcopy=False)
    return sum(not t.user_attrs.get(INTERRUPTED) for t in trials if t.state.is_finished())


def ask(study: optuna.Study, name: str, seed: int = 1, space: Space = SPACE) -> optuna.Trial:
    index = counted(study)
    study.sampler = make_sampler(name, space, seed=seed, index=index, startup_trials=STARTUP.get(name))
    return study.ask(space.distributions())


def run(study: optuna.Study, name: str, trials: int, seed: int = 1) -> list[dict[str, Any]]:
    proposals = []
    for _ in range(trials):
        trial = ask(study, name, seed)
        proposals.append(dict(trial.params))
        study.tell(trial, value(trial.params))
    return proposals


def new_study(storage: str | None = None) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.enqueue_trial(SPACE.stated())
    return study


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_resuming_gives_the_same_trials(name: str, tmp_path: Path) -> None:
    expected = run(new_study(), name, 7)
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    database_of(url).open()  # by a copy of an empty one, as `once` has it
    new_study(url)
    resumed = []
    for _ in range(7):
        storage = database_of(url).open()
        resumed += run(optuna.load_study(study_name="s", storage=storage), name, 1)
        storage.engine.dispose()
    assert resumed == expected
    assert expected[0]["shift"] == 0.0  # the stated value


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_another_seed_gives_other_trials(name: str) -> None:
    first, second = run(new_study(), name, 5, seed=1), run(new_study(), name, 5, seed=2)
    assert all(one != other for one, other in zip(first[1:], second[1:], strict=True))


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_an_interrupted_trial_changes_nothing(name: str) -> None:
    expected = run(new_study(), name, 7)
    study = new_study()
    got = run(study, name, 5)
    lost = ask(study, name)  # the process ends here; the next one marks the trial
    lost.set_user_attr(INTERRUPTED, True)
    study.tell(lost, state=optuna.trial.TrialState.FAIL)
    assert dict(lost.params) == expected[5]
    assert got + run(study, name, 2) == expected


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_no_proposal_is_made_twice(name: str) -> None:
    study = new_study()
    for i in range(10):
        trial = ask(study, name)
        if i in (0, 1, 5):  # also where nothing has finished yet
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value(trial.params))
    points = [tuple(t.params.values()) for t in study.trials]
    assert len(set(points)) == len(points)


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_proposals_are_inside_the_space(name: str) -> None:
    for params in run(new_study(), name, 8, seed=5):
        assert -2.0 <= params["shift"] <= 2.0
        assert 1e-3 <= params["rate"] <= 1.0
        assert type(params["passes"]) is int and 1 <= params["passes"] <= 8
        assert params["method"] in ("plain", "fast", "slow")


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_one_dimension_is_enough(name: str) -> None:
    space = Space((Dimension("x", low=0.0, high=1.0),))
    study = optuna.create_study()
    for _ in range(7):
        trial = ask(study, name, space=space)
        study.tell(trial, (trial.params["x"] - 0.3) ** 2)
    assert len({t.params["x"] for t in study.trials}) == 7


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_global_random_numbers_are_left_alone(name: str) -> None:
    import random

    import torch

    study = new_study()
    run(study, name, 6)
    before = torch.random.get_rng_state(), random.getstate(), str(np.random.get_state(legacy=False))
    ask(study, name)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state(legacy=False)) == before[2]


def test_qmc_covers_every_eighth_once() -> None:
    space = Space((Dimension("x", low=0.0, high=8.0), Dimension("y", low=0.0, high=8.0)))
    study = optuna.create_study()
    for i in range(8):
        trial = ask(study, "qmc", space=space)
        study.tell(trial, state=optuna.trial.TrialState.FAIL) if i < 3 else study.tell(trial, float(i))
    for name in ("x", "y"):
        assert sorted(int(t.params[name]) for t in study.trials) == list(range(8))


def test_cmaes_learns_across_fresh_samplers() -> None:
    space = Space(tuple(Dimension(f"x{i}") for i in range(3)))
    study = optuna.create_study()
    for _ in range(120):
        trial = ask(study, "cmaes", space=space)
        study.tell(trial, sum((x - 0.8) ** 2 for x in trial.params.values()))
    late = [t.value for t in study.trials[-20:]]
    assert np.median(late) < 1e-2  # uniform draws have a mean of 0.52
    generations = {t.system_attrs.get("cma:generation") for t in study.trials}
    assert len(generations) > 10


def test_random_is_uniform_on_the_scale_of_the_dimension() -> None:
    study = optuna.create_study()
    for _ in range(200):
        study.tell(ask(study, "random"), 0.0)
    u = np.array([SPACE.dimensions[1].to_unit(t.params["rate"])[0] for t in study.trials])
    assert abs(u.mean() - 0.5) < 0.07 and abs(u.std() - 1 / math.sqrt(12)) < 0.03


@pytest.mark.parametrize("name", TAKES_STARTUP)
def test_startup_trials_are_used(name: str) -> None:
    def proposals(startup: int) -> list[dict[str, Any]]:
        study = new_study()
        for index in range(6):
            study.sampler = make_sampler(name, SPACE, seed=1, index=index, startup_trials=startup)
            trial = study.ask(SPACE.distributions())
            study.tell(trial, value(trial.params))
        return [t.params for t in study.trials]

    few, many = proposals(3), proposals(6)
    assert few[:3] == many[:3]
    assert few[3] != many[3]


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - set(TAKES_STARTUP)))
def test_startup_trials_are_refused_where_there_is_no_start(name: str) -> None:
    with pytest.raises(ValueError, match=f"sampler '{name}' takes no startup_trials; those that do: tpe"):
        make_sampler(name, SPACE, seed=0, index=0, startup_trials=3)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match="no sampler is called 'bogus'; samplers: random, qmc, tpe"):
        make_sampler("bogus", SPACE, seed=0, index=0)


def test_importing_the_names_is_cheap() -> None:
    code = (
        "import sys, autotune.search.samplers, autotune.surrogate.model.history;"
        "sys.exit(any(m in sys.modules for m in ('optuna', 'torch', 'botorch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
