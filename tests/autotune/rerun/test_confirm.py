"""``confirm_study``: what is evaluated again, with which seeds, what is kept, and what an interruption leaves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import BaseModel, ConfigDict

from autotune.errors import InputError
from autotune.execution.executor import Task
from autotune.execution.inline import InlineExecutor
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Objective, Parameter, Progress, Status, Value, never_stop
from autotune.rerun.confirm import confirm_study
from autotune.runs.run import run_study
from autotune.session import Quiet
from autotune.store.leases import Lease
from autotune.store.trials import TrialStore
from autotune.study import StudyFile, load_study

pytestmark = pytest.mark.usefixtures("in_memory")

LOG: list[tuple[Any, ...]] = []
"""Every evaluation of :class:`Parabola` in this process: kind, shift, seed, noise seed."""


class Settings(BaseModel):
    """``seeded``: the metric depends on the seed; ``noisy``: the measurement can be repeated; ``fails_for``: a seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeded: bool = False
    noisy: bool = False
    examined: bool = False
    fails_for: int | None = None
    examination_fails: bool = False


class Parabola:
    """1 - shift^2, or 0.9 of that where it is evaluated cheaply."""

    def __init__(self, settings: Settings, noise: int | None = None) -> None:
        self.settings, self.noise_seed = settings, noise

    def parameters(self) -> Sequence[Parameter]:
        effort = Parameter("effort", "1", "fidelity", 1.0, minimum=0.1, maximum=1.0, cheaper="lower")
        return (Parameter("shift", "angstrom", "mismatch", 0.0, low=-1.0, high=1.0), effort)

    def metrics(self) -> Sequence[Metric]:
        return (Metric("consistency", "maximize"), Metric("side", "minimize"))

    def work(self, values: Mapping[str, Value]) -> float:
        return float(values.get("effort", 1.0))

    def summary(self) -> Mapping[str, str]:
        return {"content hash": "parabola"}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        shift = float(values["shift"])
        LOG.append(("repeated" if self.noise_seed is not None else "data", shift, seed, self.noise_seed))
        if seed == self.settings.fails_for:
            raise RuntimeError("the parabola broke")
        value = (1 - shift**2) * (1.0 if values.get("effort", 1.0) == 1.0 else 0.9)
        value += 1e-3 * (seed % 7) * (1 + 0.1 * shift) if self.settings.seeded else 0.0
        value += 1e-3 * (self.noise_seed % 5) * (1 + shift) if self.noise_seed is not None else 0.0
        return Evaluation(Status.COMPLETE, {"consistency": value, "side": abs(shift)})


class Repeatable(Parabola):
    noise = "made up"

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Objective:
        LOG.append(("expected at", float(values["shift"])))
        return Parabola(self.settings, seed)


class Examined(Repeatable):
    def examinations(self) -> Sequence[Metric]:
        return (Metric("sharpness", "maximize", "mm", description="how sharp"), Metric("odd", "minimize"))

    def examine(self, values: Mapping[str, Value], *, seed: int) -> Mapping[str, float]:
        LOG.append(("examined", float(values["shift"]), seed))
        if self.settings.examination_fails:
            raise RuntimeError("too dark")
        return {"sharpness": 2.5}


class ParabolaType:
    settings = Settings

    def open(self, settings: BaseModel, *, folder: Path) -> Parabola:
        assert isinstance(settings, Settings)
        kind = Examined if settings.examined else Repeatable if settings.noisy else Parabola
        return kind(settings)


parabola = ParabolaType()

STUDY: dict[str, Any] = {
    "name": "dish",
    "parameters": {"shift": {}},
    "search": {"sampler": "random", "seed": 3},
    "budget": {"trials": 3},  # too few for an estimate, which takes a second
    "tracking": {"enabled": False},
    "report": False,
    "execution": {"executor": "inline"},
}


class Followed:
    """Remembers how far it was."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def evaluated(self, done: int, count: int) -> None:
        self.heard.append((done, count))

    def paused(self, reason: str) -> None:
        raise AssertionError(reason)

    def resumed(self) -> None:
        raise AssertionError


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def ran(home: Home, changes: Mapping[str, Any] | None = None, **settings: Any) -> StudyFile:
    """A study that was run; the log is empty afterwards."""
    path = home.folder.parent / "study.yaml"
    objective = {"name": "tests.autotune.rerun.test_confirm:parabola", **settings}
    path.write_text(json.dumps(STUDY | {"objective": objective} | (changes or {})))
    file = load_study(path)
    run_study(file, home=home, watcher=Quiet())
    LOG.clear()
    return file


def confirm(file: StudyFile, home: Home, **changes: Any) -> dict[str, Any]:
    return confirm_study(file, home=home, follower=Followed(), **changes).as_dict()


def kept(home: Home) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((home.study("dish") / "result.json").read_text(encoding="utf-8"))
    return document


def best_trials(home: Home) -> list[tuple[int, float]]:
    """Number and shift of the trials, the best first."""
    store = TrialStore.open(home.store_url, "dish")
    assert store is not None
    ranked = sorted(store.trials(), key=lambda trial: -trial.metrics["consistency"])
    return [(trial.number, float(trial.values["shift"])) for trial in ranked]


def test_what_no_seed_changes_is_evaluated_once(home: Home) -> None:
    file = ran(home, {"budget": {"trials": 7}})
    follower = Followed()
    found = confirm_study(file, home=home, follower=follower, candidates=3)
    *trials, estimate = found.as_dict()["candidates"]
    assert [(c["trial"], c["values"]["shift"]) for c in trials] == best_trials(home)[:3]
    assert [c["on_data"] for c in trials] == [[c["recorded"]] for c in trials]
    assert estimate["trial"] is None and estimate["recorded"] is None
    shift = kept(home)["parameters"]["shift"]["estimate"]
    assert estimate["values"] == {"shift": shift} and estimate["on_data"] == [pytest.approx(1 - shift**2)] * 2
    assert found.as_dict()["holds"] is None and found.as_dict()["verdict"].startswith(
        "nothing says whether noise could change the ranking"
    )
    assert (
        found.as_dict()["seed_matters"],
        found.as_dict()["noise"],
        found.as_dict()["complete"],
        found.as_dict()["evaluations"],
    ) == (False, None, True, 5)
    assert [c["best_in"] for c in trials] == [1, 0, 0] and found.as_dict()["rounds"] == 1
    assert len(LOG) == 5 and {seed for _, _, seed, _ in LOG} == {4, 5}  # the trials had the study's, 3
    assert follower.heard[0][0] == 0 and follower.heard[-1] == (5, 5)
    assert kept(home)["confirmation"] == found.as_dict()


def test_fresh_seeds_the_same_for_all(home: Home) -> None:
    found = confirm(ran(home, seeded=True), home, candidates=2, repeats=4)
    assert found["seed_matters"] is True and found["rounds"] == 4 and found["holds"] is True
    seeds: dict[float, list[int]] = {}
    for kind, shift, seed, _ in LOG:
        assert kind == "data"
        seeds.setdefault(shift, []).append(seed)
    assert len(seeds) == 2 and all(used == [4, 5, 6, 7] for used in seeds.values())
    best, second = found["candidates"]
    assert best["behind"] is None and second["behind"]["mean"] == pytest.approx(
        sum(a - b for a, b in zip(best["on_data"], second["on_data"], strict=True)) / 4
    )


def test_repeated_measurements_the_same_for_all(home: Home) -> None:
    found = confirm(ran(home, noisy=True), home, candidates=3, repeats=3)
    best = best_trials(home)[0][1]
    assert {entry[1] for entry in LOG if entry[0] == "expected at"} == {best}
    seeds: dict[float, list[tuple[int, int]]] = {}
    for kind, shift, *rest in LOG:
        if kind == "repeated":
            seeds.setdefault(shift, []).append(tuple(rest))
    assert len(seeds) == 3 and len({tuple(used) for used in seeds.values()}) == 1
    used = next(iter(seeds.values()))
    assert {seed for seed, _ in used} == {4} and len({noise for _, noise in used}) == 3
    assert found["noise"] == "made up" and found["holds"] is True and found["rounds"] == 4
    assert [len(c["on_repeated"]) for c in found["candidates"]] == [3, 3, 3]


def test_the_best_reconstruction_is_examined(home: Home) -> None:
    found = confirm(ran(home, examined=True), home, candidates=2, repeats=2)
    assert [entry for entry in LOG if entry[0] == "examined"] == [("examined", best_trials(home)[0][1], 3)]
    assert found["metrics"] == {"sharpness": {"value": 2.5, "unit": "mm", "description": "how sharp"}}
    assert found["examination_failed"] is None


def test_an_examination_that_fails(home: Home) -> None:
    file = ran(home, examined=True, examination_fails=True)
    found = confirm(file, home, candidates=2, repeats=2)
    assert found["metrics"] == {} and found["examination_failed"].startswith("RuntimeError: too dark")
    assert found["complete"] is True and found["holds"] is True


def test_the_same_command_again_evaluates_nothing(home: Home) -> None:
    file = ran(home, seeded=True, examined=True)
    first = confirm(file, home, candidates=2, repeats=3)
    LOG.clear()
    assert confirm(file, home, candidates=2, repeats=3) == first and LOG == []
    more = confirm(file, home, candidates=3, repeats=3)
    assert [entry[0] for entry in LOG] == ["data"] * 3 + ["expected at", "repeated"] * 3
    assert (first["evaluations"], more["evaluations"]) == (13, 19)
    LOG.clear()
    again = confirm(file, home, candidates=3, repeats=4)
    assert [entry[2] for entry in LOG if entry[0] == "data"] == [7] * 3
    assert again["candidates"][0]["on_data"][:3] == first["candidates"][0]["on_data"]


def test_more_trials_end_what_was_confirmed(home: Home) -> None:
    before = confirm(ran(home, seeded=True), home, repeats=2)
    file = ran(home, {"budget": {"trials": 4}}, seeded=True)
    assert kept(home)["confirmation"] is None
    after = confirm(file, home, repeats=2)
    assert (before["trials"], after["trials"]) == (3, 4) and after["evaluations"] == len(LOG)


@pytest.mark.parametrize("executor_dies_at", [1, 4])
def test_an_interruption_keeps_what_was_done(
    executor_dies_at: int, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ran(home, seeded=True, examined=True)
    ordinary = InlineExecutor.wait

    def dying(self: InlineExecutor, *arguments: Any) -> Any:
        if sum(entry[0] != "expected at" for entry in LOG) == executor_dies_at:
            raise KeyboardInterrupt
        return ordinary(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "wait", dying)
        with pytest.raises(KeyboardInterrupt):
            confirm(file, home, candidates=2, repeats=2)
    part = kept(home)["confirmation"]
    assert (part["complete"], part["evaluations"]) == (False, executor_dies_at)
    assert sum(len(c["on_data"]) for c in part["candidates"]) == executor_dies_at
    before = list(LOG)
    LOG.clear()
    whole = confirm(file, home, candidates=2, repeats=2)
    assert whole["complete"] is True and not set(before) & set(LOG)
    assert whole["evaluations"] == 9  # 2 candidates, 2 seeds and 2 repetitions each, and the examination


def test_failures_are_counted_and_tried_again(home: Home) -> None:
    file = ran(home, seeded=True, fails_for=5)
    found = confirm(file, home, candidates=2, repeats=3)
    best = found["candidates"][0]
    assert best["on_data"][1] is None and None not in (best["on_data"][0], best["on_data"][2])
    assert best["failures"] == [best["failures"][0]] and best["failures"][0].startswith("RuntimeError: the parabola")
    assert (found["holds"], found["rounds"], found["complete"]) == (True, 2, True)
    LOG.clear()
    confirm(file, home, candidates=2, repeats=3)
    assert {entry[2] for entry in LOG} == {5}


def test_a_worker_that_is_lost_is_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ran(home, {"execution": {"executor": "inline", "retries": 1}})
    ordinary, lost = InlineExecutor.wait, []

    def losing(self: InlineExecutor, *arguments: Any) -> Any:
        ended = ordinary(self, *arguments)
        assert ended is not None
        lost.append(ended.number)
        failed = Evaluation(Status.FAILED, reason="lost")
        return ended if len(lost) > 3 else dataclasses.replace(ended, evaluation=failed, infrastructure=True)

    monkeypatch.setattr(InlineExecutor, "wait", losing)
    found = confirm(file, home, candidates=2)
    best, second = found["candidates"]
    assert best["on_data"][0] is None and best["failures"] == ["lost; tried 2 times"]  # given up
    assert second["on_data"] == [second["recorded"]] and second["failures"] == []  # once: made again
    assert lost == [-1, -1, -2, -2, -3]


def test_several_workers_get_different_work(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With four at once nothing is evaluated twice, and it all gets done."""
    file = ran(home, seeded=True, examined=True)

    class Four(InlineExecutor):
        workers = 4

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.queue: list[Task] = []

        def submit(self, task: Task) -> None:
            self.queue.append(task)
            assert len(self.queue) <= 4

        def wait(self, *arguments: Any) -> Any:
            super().submit(self.queue.pop())  # the last one first
            return super().wait(*arguments)

    one = confirm(file, home, candidates=2, repeats=3)
    store = TrialStore.open(home.store_url, "dish")
    assert store is not None
    store.keep(confirmation={})
    LOG.clear()
    monkeypatch.setattr("autotune.execution.inline.InlineExecutor", Four)
    four = confirm(file, home, candidates=2, repeats=3)
    made = [entry for entry in LOG if entry[0] != "expected at"]
    assert len(made) == len(set(made)) == 13
    assert four == one


def test_limits_choose_the_candidates(home: Home) -> None:
    changes = {"budget": {"trials": 7}, "intervals": {"replicates": 0}}
    file = ran(home, changes | {"metric": {"name": "consistency", "limits": {"side": {"above": 0.3}}}})
    shifts = [c["values"]["shift"] for c in confirm(file, home)["candidates"]]
    kept_by = [shift for _, shift in best_trials(home) if abs(shift) > 0.3]
    assert 0 < len(kept_by) < 7 and shifts == kept_by[:5]


def test_equal_trials_are_one_candidate(home: Home) -> None:
    file = ran(home)
    store = TrialStore.open(home.store_url, "dish")
    assert store is not None
    best = best_trials(home)[0]
    store.study.enqueue_trial({"shift": best[1]})
    store.study.ask({"shift": optuna.distributions.FloatDistribution(-1, 1)})
    store.tell(
        3, Evaluation(Status.COMPLETE, {"consistency": 1 - best[1] ** 2, "side": abs(best[1])}), 1 - best[1] ** 2
    )
    assert best_trials(home)[1][0] == 3
    found = confirm(file, home)
    assert [c["trial"] for c in found["candidates"]] == [number for number, _ in best_trials(home) if number != 3]


def test_cheap_trials_follow_where_full_ones_are_few(home: Home) -> None:
    search = {"sampler": "gp", "seed": 3, "fidelity": {"effort": 0.5}}
    found = confirm(ran(home, {"search": search, "budget": {"trials": 6}}), home, candidates=4)
    store = TrialStore.open(home.store_url, "dish")
    assert store is not None
    levels = {trial.number: trial.level for trial in store.trials()}
    trials = [c for c in found["candidates"] if c["trial"] is not None]
    order = [levels[c["trial"]] for c in trials]
    assert order == sorted(order) and order[0] == 0 and order[-1] == 1 and len(order) == 4
    for candidate in trials:
        assert (candidate["recorded"] is None) == (levels[candidate["trial"]] == 1)
        assert candidate["on_data"][0] == pytest.approx(1 - candidate["values"]["shift"] ** 2)  # in full


def test_what_cannot_be_confirmed(home: Home) -> None:
    path = home.folder.parent / "study.yaml"
    path.write_text(json.dumps(STUDY | {"objective": {"name": "tests.autotune.rerun.test_confirm:parabola"}}))
    with pytest.raises(InputError, match=r"study dish: is not in .*; run it first: autotune run .*study.yaml"):
        confirm(load_study(path), home)
    assert not home.folder.exists()
    file = ran(home)
    with pytest.raises(InputError, match="differs from the one of this name"):
        confirm(load_study(path, ["parameters.shift.low=-0.5"]), home)
    store = TrialStore.open(home.store_url, "dish")
    assert store is not None
    lease = Lease(store)
    lease.take()
    with pytest.raises(InputError, match="is being run by another process"):
        confirm(file, home)
    lease.give_back()
    assert confirm(file, home)["complete"] is True


def test_a_study_without_a_full_trial(home: Home) -> None:
    path = home.folder.parent / "study.yaml"
    objective = {"name": "tests.autotune.rerun.test_confirm:parabola"}
    limits = {"name": "consistency", "limits": {"side": {"above": 5}}}
    path.write_text(json.dumps(STUDY | {"objective": objective, "metric": limits}))
    with pytest.raises(Exception, match="keeps the limits"):
        run_study(load_study(path), home=home, watcher=Quiet())
    with pytest.raises(InputError, match="study dish: has no finished full trial that keeps the limits"):
        confirm(load_study(path), home)
