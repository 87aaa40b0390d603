"""Values that nobody chooses, such as a temperature: the other parameters are proposed for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.search.samplers import make_sampler
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore
from autotune.surrogate.propose.proposer import Proposer

pytestmark = pytest.mark.usefixtures("in_memory")

METRIC = Metric("error", "minimize")
SPACE = Space(
    (
        Dimension("x", low=-1.0, high=1.0),
        Dimension("n", type="int", low=1, high=4),
        Dimension("temperature", low=10.0, high=30.0),
    )
)


def error(values: Any) -> float:
    """The best x follows the temperature from -0.8 to 0.8."""
    return float((values["x"] - 0.08 * (values["temperature"] - 20)) ** 2) + 0.1 * abs(values["n"] - 2)


def tuner(tmp_path: Path, sampler: str = "gp") -> Tuner:
    store = TrialStore.create(f"sqlite:///{tmp_path / 'trials.db'}", "s", METRIC, {})
    return Tuner(store, SPACE, METRIC, Search(sampler))


def test_every_trial_has_the_value_that_is_held_and_the_others_are_the_best_for_it(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    for number in range(18):
        temperature = (12.0, 28.0, 17.0, 23.0)[number % 4]
        trial = made.ask(held={"temperature": temperature})
        assert trial.values["temperature"] == pytest.approx(temperature)
        made.tell(trial, Evaluation(Status.COMPLETE, {"error": error(trial.values)}))
    for temperature in (14.0, 26.0):  # none of those seen
        trial = made.ask(held={"temperature": temperature})
        assert float(trial.values["x"]) == pytest.approx(0.08 * (temperature - 20), abs=0.15)
        assert trial.values["n"] == 2
        made.tell(trial, Evaluation(Status.COMPLETE, {"error": error(trial.values)}))


def test_only_a_sampler_with_a_model_takes_held_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'qmc' proposes for no held values; those that do: gp"):
        tuner(tmp_path, "qmc").ask(held={"temperature": 20.0})
    assert make_sampler("qmc", SPACE, seed=0, index=0, held={}) is not None


@pytest.mark.parametrize("name", ["n", "pressure"])
def test_only_a_float_of_the_space_can_be_held(name: str) -> None:
    with pytest.raises(ValueError, match=f"only a float of the space can be held, not {name}"):
        Proposer(SPACE, seed=0, held={name: 2})
