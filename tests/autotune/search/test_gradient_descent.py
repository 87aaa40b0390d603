"""Gradient descent as a sampler: where it begins, that it arrives, and that it keeps nothing between trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import InputError
from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.space import Dimension, Space
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore

pytestmark = pytest.mark.usefixtures("in_memory")

SPACE = Space(
    (
        Dimension("x", low=-1.0, high=3.0),
        Dimension("y", low=0.01, high=100.0, log=True, nominal=0.5),
        Dimension("n", type="int", low=1, high=9),
        Dimension("m", type="categorical", choices=("a", "b", "c"), nominal="b"),
    )
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def tuner(url: str, space: Space = SPACE, goal: str = "minimize", seed: int = 0) -> Tuner:
    """A tuner as a new process has it."""
    metric = Metric("v", goal)  # type: ignore[arg-type]
    store = TrialStore.open(url, "s") or TrialStore.create(url, "s", metric, {})
    made = Tuner(store, space, metric, Search("gradient", seed))
    made.start()
    return made


def bowl(values: Mapping[str, Value], sign: float = 1.0) -> Evaluation:
    """An ill-conditioned, tilted quadratic in x and log10(y), with its optimum at x = 0.6, y = 2."""
    x, y = float(values["x"]) - 0.6, math.log10(float(values["y"]) / 2)
    slope = {"x": 8 * x + y, "y": (2 * y + x) / (float(values["y"]) * math.log(10))}
    value = 4 * x**2 + y**2 + x * y
    return Evaluation(Status.COMPLETE, {"v": sign * value}, {name: sign * s for name, s in slope.items()})


def run(made: Tuner, trials: int, sign: float = 1.0) -> list[dict[str, Any]]:
    while len(made.counted()) < trials:
        trial = made.ask()
        made.tell(trial, bowl(trial.values, sign))
    return [dict(record.values) for record in made.counted()]


@pytest.mark.parametrize(("goal", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_it_arrives_from_the_nominal_values(goal: str, sign: float, url: str) -> None:
    made = tuner(url, goal=goal)
    values = run(made, 10, sign)
    assert values[0] == {"x": 1.0, "y": pytest.approx(0.5), "n": 5, "m": "b"}
    assert made.best is not None and abs(made.best.metrics["v"]) < 1e-6
    first = [made.space.to_unit(v)[:2] for v in values[:2]]
    assert max(abs(first[1] - first[0])) == pytest.approx(0.1)  # the first step


def test_stated_values_are_where_it_begins(url: str) -> None:
    space = Space((Dimension("x", low=-1.0, high=3.0, initial=2.5), *SPACE.dimensions[1:3], Dimension(
        "m", type="categorical", choices=("a", "b", "c"), initial="c", nominal="b")))  # fmt: skip
    assert run(tuner(url, space), 1)[0] == {"x": 2.5, "y": pytest.approx(0.5), "n": 5, "m": "c"}


def test_after_it_converged_it_begins_elsewhere_and_only_floats_move(url: str) -> None:
    made = tuner(url)
    values = run(made, 30)
    assert len({tuple(v.values()) for v in values}) == 30
    assert {(v["n"], v["m"]) for v in values} == {(5, "b")}
    best = [t.metrics["v"] for t in made.counted()]
    arrived = next(i for i, v in enumerate(best) if v < 1e-6)
    assert max(best[arrived:]) > 1.0  # another start, far away
    assert sum(v < 1e-6 for v in best) >= 2  # from which it arrives again


def test_the_bounds_are_kept(url: str) -> None:
    space = Space((Dimension("x", low=1.0, high=3.0), *SPACE.dimensions[1:]))
    made = tuner(url, space)
    run(made, 12)
    assert made.best is not None and made.best.values["x"] == 1.0


def test_a_new_process_for_every_trial_changes_nothing(tmp_path: Path, url: str) -> None:
    expected = run(tuner(url), 14)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    for trials in range(1, 15):
        got = run(tuner(other), trials)
        if trials == 6:
            tuner(other).ask()  # the process ends here
    assert got == expected


def test_the_seed_decides_the_further_starts_alone(tmp_path: Path, url: str) -> None:
    one, two = run(tuner(url), 25), run(tuner(f"sqlite:///{tmp_path / 'other.db'}", seed=1), 25)
    same = sum(a == b for a, b in zip(one, two, strict=True))
    assert one[:5] == two[:5] and same < 20


def test_a_failed_trial_is_stepped_back_from(url: str) -> None:
    made = tuner(url)
    for number in range(14):
        trial = made.ask()
        failed = number == 1
        made.tell(trial, Evaluation(Status.DIVERGED, reason="diverged") if failed else bowl(trial.values))
    start, wall, back = (made.space.to_unit(t.values)[:2] for t in made.counted()[:3])
    assert max(abs(back - start)) < max(abs(wall - start))
    assert min(t.metrics["v"] for t in made.counted() if t.metrics) < 1e-6


def test_a_start_that_fails_is_followed_by_another(url: str) -> None:
    made = tuner(url)
    made.tell(made.ask(), Evaluation(Status.DIVERGED, reason="diverged"))
    run(made, 14)
    assert made.counted()[1].values != made.counted()[0].values
    assert made.best is not None and made.best.metrics["v"] < 1e-5


def test_trials_asked_together_descend_from_different_starts(url: str) -> None:
    made = tuner(url)
    together = [made.ask() for _ in range(3)]
    assert len({tuple(trial.values.values()) for trial in together}) == 3


def test_while_a_step_is_evaluated_the_next_start_is_asked_for(tmp_path: Path, url: str) -> None:
    made, fresh = tuner(url), tuner(f"sqlite:///{tmp_path / 'other.db'}")
    run(made, 3)
    made.ask()
    fresh.tell(fresh.ask(), Evaluation(Status.DIVERGED, reason="diverged"))
    assert made.ask().values == fresh.ask().values


def test_a_missing_derivative_is_told_after_the_first_trial(url: str) -> None:
    made = tuner(url)
    trial = made.ask()
    made.tell(trial, Evaluation(Status.COMPLETE, {"v": 1.0}, {"x": 1.0}))
    with pytest.raises(InputError, match=r"gradient needs the derivative for y, which trial 0 did not bring; hold it"):
        made.ask()


def test_nothing_to_move_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="gradient has no parameter to move"):
        tuner(url, Space(SPACE.dimensions[2:])).ask()


def test_an_inactive_parameter_stays_out(url: str) -> None:
    space = Space((*SPACE.dimensions, Dimension("z", when=(("m", ("a",)),))))
    assert all("z" not in values for values in run(tuner(url, space), 8))
