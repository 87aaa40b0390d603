"""Repetitions of the measurement: what is asked of the executor, how many at once, and what becomes of failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from autotune.execution.executor import Ended, Listener, Task
from autotune.execution.inline import InlineExecutor
from autotune.objective import Evaluation, Status, Value
from autotune.runs.repeated_measurements import TO_LEARN, MeasurementLost, RepeatedMeasurements
from tests.autotune.toy import Toy, ToySettings

AT: dict[str, Value] = {"shift": 0.5}
HELD: dict[str, Value] = {"tilt": 4.0}


@dataclass
class Watching:
    """Remembers how far it is told to be."""

    done: list[tuple[int, int]] = field(default_factory=list)
    pauses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def repeated(self, done: int, count: int) -> None:
        self.done.append((done, count))

    def warned(self, warning: str) -> None:
        self.warnings.append(warning)

    def paused(self, reason: str) -> None:
        self.pauses.append(reason)

    def resumed(self) -> None:
        self.pauses.append("")

    def unexpected(self, *told: object) -> None:
        raise AssertionError(f"a repetition is no trial: {told}")

    started = proposed = progressed = ended = enough = unexpected


@dataclass
class Crowd:
    """An executor of several workers; ends the latest task first, now and then nothing."""

    workers: int
    evaluate: Callable[[Task], Evaluation]
    tasks: list[Task] = field(default_factory=list)
    running: list[Task] = field(default_factory=list)
    most: int = 0
    waits: int = 0

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self.running.append(task)
        self.most = max(self.most, len(self.running))
        assert len(self.running) <= self.workers

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        self.waits += 1
        if self.waits % 3 == 0:
            return None
        task = self.running.pop()
        assert listener.progressed(task.number, 1, 2, {"consistency": 0.5})
        return Ended(task.number, self.evaluate(task))

    def close(self) -> None:
        raise AssertionError("the executor is the run's")


def by_seed(task: Task) -> Evaluation:
    assert task.repetition is not None
    return Evaluation(Status.COMPLETE, {"consistency": 0.5}, gradient={"shift": float(task.repetition.seed)})


def replicates(executor: Crowd, count: int = 5, seed: int = 4) -> tuple[RepeatedMeasurements, Watching]:
    watching = Watching()
    return RepeatedMeasurements(
        executor, watching, HELD, seed=seed, count=count, metric="consistency", retries=1
    ), watching


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_what_is_asked_and_what_comes_back_in_order(workers: int) -> None:
    """Whatever ends first: noise by the repetition's number, so that equal studies get equal answers."""
    crowd = Crowd(workers, by_seed)
    made, watching = replicates(crowd)
    assert made.evaluated == 0
    assert made(AT, {}) == [{"shift": 4001.0 + i} for i in range(5)]
    assert crowd.most == min(workers, 5)
    assert made.evaluated == 5 + TO_LEARN
    assert watching.done == [(i, 5) for i in range(6)]
    complete = {"shift": 0.5, "tilt": 4.0}
    for task in crowd.tasks:
        assert task.number < 0 and task.repetition is not None
        assert (task.values, task.repetition.at, task.seed, task.folder, task.examine) == (
            complete, complete, 4, None, False,
        )  # fmt: skip
    assert len({task.number for task in crowd.tasks}) == 5


def test_tuned_values_come_before_held_ones() -> None:
    crowd = Crowd(1, by_seed)
    made, _ = replicates(crowd, count=2)
    made({"tilt": 1.0}, {})
    assert crowd.tasks[0].values == {"tilt": 1.0}


def heights(task: Task) -> Evaluation:
    """A value without derivatives but one, whose slope along tilt is the repetition's; tilt 1.02 of the third fails."""
    assert task.repetition is not None and task.repetition.at["tilt"] == 1.0
    seed, tilt = task.repetition.seed - 4000, float(task.values["tilt"])
    if seed == 3 and tilt != 1.0:
        return Evaluation(Status.FAILED, reason="no memory")
    metrics = {"consistency": 0.1 * seed * tilt - 40 * (tilt - 1) ** 2 - float(task.values["blur"]) ** 2}
    return Evaluation(Status.COMPLETE, metrics, gradient={"shift": 7.0})


def test_what_has_no_derivative_is_moved_for_a_difference() -> None:
    crowd = Crowd(2, heights)
    watching = Watching()
    made = RepeatedMeasurements(
        crowd, watching, {}, seed=4, count=4, metric="consistency", retries=1, by_square=("blur",)
    )  # fmt: skip
    found = made({"tilt": 1.0, "shift": 0.0, "blur": 0.3}, {"tilt": 0.02, "blur": -0.04})
    assert found == [
        {"tilt": pytest.approx(0.1 * seed), "blur": pytest.approx(-1.0), "shift": 7.0} for seed in (1, 2, 4)
    ]
    assert len({task.number for task in crowd.tasks}) == 16 and watching.done[-1] == (4, 4)
    assert made.evaluated == 16 + TO_LEARN
    moved = {task.values["tilt"] for task in crowd.tasks}
    assert moved == {0.98, 1.0, 1.02}


@pytest.mark.parametrize(("limits", "by_square", "second"), [({"x": (0.0, 1.0)}, (), 0.15), ({"x": (0.18,)}, (), 0.3),
                                                             ({}, ("x",), 0.3), ({}, (), 0.15)])  # fmt: skip
def test_the_second_move_is_the_other_way_where_there_is_one(
    limits: dict[str, tuple[float, ...]], by_square: tuple[str, ...], second: float
) -> None:
    """A value that bends by -x^2 (or -x^4, by its square) has the derivative of its noise alone."""

    def bent(task: Task) -> Evaluation:
        x = float(task.values["x"])
        by = x * x if by_square else x
        return Evaluation(Status.COMPLETE, {"consistency": 0.7 * by - by**2})

    crowd = Crowd(1, bent)
    made = RepeatedMeasurements(
        crowd, Watching(), {}, seed=0, count=3, metric="consistency", retries=0, limits=limits, by_square=by_square
    )
    at = 0.2
    slope = 0.7 - 2 * (at**2 if by_square else at)
    assert made({"x": at}, {"x": 0.05}) == [{"x": pytest.approx(slope)}] * 3
    moved = {float(task.values["x"]) ** (2 if by_square else 1) for task in crowd.tasks}
    expected = {0.2, 0.25, second} if not by_square else {0.04, 0.09, 0.14}
    assert sorted(moved) == pytest.approx(sorted(expected))


@pytest.mark.parametrize(("moved", "repetitions"), [(0, 6), (1, 6), (2, 6), (3, 4), (5, 3), (8, 2), (20, 2)])
def test_the_more_is_moved_the_fewer_repetitions(moved: int, repetitions: int) -> None:
    crowd = Crowd(1, lambda task: Evaluation(Status.COMPLETE, {"consistency": 0.5}, gradient={"shift": 7.0}))
    made = RepeatedMeasurements(crowd, Watching(), {}, seed=4, count=6, metric="consistency", retries=1)
    names = [f"p{i}" for i in range(moved)]
    assert len(made(dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.1))) == repetitions
    assert len(crowd.tasks) == repetitions * (1 + moved) + 2 * moved  # these show how the value bends


def test_what_fails_wherever_it_is_moved_is_left_out_alone() -> None:
    def fails(task: Task) -> Evaluation:
        if task.values["tilt"] != 1.0:
            return Evaluation(Status.DIVERGED, reason="tilted too far")
        return Evaluation(Status.COMPLETE, {"consistency": 0.5}, gradient={"shift": 7.0})

    watching = Watching()
    made = RepeatedMeasurements(Crowd(1, fails), watching, {}, seed=4, count=3, metric="consistency", retries=1)
    assert made({"tilt": 1.0, "shift": 0.0}, {"tilt": 0.02}) == [{"shift": 7.0}] * 3
    assert [done for done, _ in watching.done] == [0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_other_studies_have_other_noise() -> None:
    seeds = []
    for seed in (0, 1, 2):
        crowd = Crowd(2, by_seed)
        replicates(crowd, count=20, seed=seed)[0](AT, {})
        seeds += [task.repetition.seed for task in crowd.tasks if task.repetition]
    assert len(set(seeds)) == 60


def test_one_that_fails_gives_nothing_and_is_not_waited_for_again() -> None:
    def some(task: Task) -> Evaluation:
        match task.number:
            case -2:
                return Evaluation(Status.FAILED, reason="no memory")
            case -3:
                return Evaluation(Status.DIVERGED, reason="infinite")
            case -4:
                return Evaluation(Status.COMPLETE, {"consistency": 0.4})  # knows no derivative
        return by_seed(task)

    made, watching = replicates(Crowd(2, some))
    assert made(AT, {}) == [{"shift": 4001.0}, {"shift": 4005.0}]
    assert watching.done[-1] == (5, 5) and made.evaluated == 5 + TO_LEARN


@dataclass
class Losing(Crowd):
    """Evaluations whose workers are killed from outside: as many of each task as stated."""

    losses: int = 1
    lost: dict[int, int] = field(default_factory=dict)

    def wait(self, listener: Listener, timeout: float) -> Ended | None:
        ended = super().wait(listener, timeout)
        if ended is None or self.lost.get(ended.number, 0) >= self.losses:
            return ended
        self.lost[ended.number] = self.lost.get(ended.number, 0) + 1
        killed = Evaluation(Status.FAILED, reason="its worker process was killed by signal 9 (killed)")
        return Ended(ended.number, killed, infrastructure=True)


def at_the_answer(task: Task) -> Evaluation:
    return Evaluation(Status.COMPLETE, {"consistency": 0.5}, gradient={"shift": 2.0})


def test_a_worker_that_is_killed_from_outside_changes_nothing() -> None:
    """In particular, the best guess does not count as one that fell short."""
    undisturbed, _ = replicates(Crowd(2, at_the_answer))
    disturbed, watching = replicates(Losing(2, at_the_answer))
    assert disturbed.check(AT) == undisturbed.check(AT) == (0.5, {"shift": 2.0})
    undisturbed, _ = replicates(Crowd(2, by_seed))
    disturbed, watching = replicates(Losing(2, by_seed))
    assert disturbed(AT, {}) == undisturbed(AT, {})
    assert watching.done == [(i, 5) for i in range(6)]


def test_what_stays_lost_is_no_statement_about_the_answer() -> None:
    never = 100
    made, _ = replicates(Losing(2, at_the_answer, losses=never))
    with pytest.raises(MeasurementLost, match=r"the best guess: cannot be evaluated: .*\(killed\); tried 2 times"):
        made.check(AT)
    with pytest.raises(MeasurementLost, match=r"the repeated measurements: cannot be evaluated: .*tried 2 times"):
        replicates(Losing(2, by_seed, losses=never))[0](AT, {})
    some = Losing(2, by_seed, losses=never, lost={-1: never, -2: never, -5: never})
    assert replicates(some)[0](AT, {}) == [{"shift": 4001.0}, {"shift": 4002.0}, {"shift": 4005.0}]


def test_pauses_are_passed_on() -> None:
    made, watching = replicates(Crowd(1, by_seed))
    made.paused("the disk is full")
    made.resumed()
    assert watching.pauses == ["the disk is full", ""]


class Repeatable(Toy):
    """A toy whose optimum noise moves by the seed."""

    noise = "counted quanta"

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Toy:
        moved = self.settings.optimum.model_copy(update={"shift": float(values["shift"]) + 0.01 * seed})
        return Toy(self.settings.model_copy(update={"optimum": moved}))


def test_with_an_executor_of_trials() -> None:
    """Derivatives of exp(-error) at the values, on each measurement."""
    executor = InlineExecutor(Repeatable(ToySettings()), "error")
    full: dict[str, Value] = {"shift": 0.5, "rate": 0.05, "passes": 5, "method": "fast"}
    found = RepeatedMeasurements(executor, Watching(), HELD, seed=0, count=3, metric="consistency", retries=1)(full, {})
    assert [each["shift"] for each in found] == pytest.approx([-0.01 / 2 * seed for seed in (1, 2, 3)])
    assert [each["tilt"] for each in found] == [0.0, 0.0, 0.0]


def test_an_objective_that_cannot_be_measured_again_gives_nothing_and_that_is_said() -> None:
    executor, watching = InlineExecutor(Toy(ToySettings()), "error"), Watching()
    made = RepeatedMeasurements(executor, watching, HELD, seed=0, count=2, metric="consistency", retries=1)
    assert made(AT, {}) == []
    [warning] = watching.warnings
    assert "every repeated measurement failed" in warning and "Toy" in warning


def in_parts(task: Task) -> Evaluation:
    """The derivative is that of -(shift - 0.5 gap)^2, where gap is a held value; two parts of it pull apart."""
    slope = -2 * (float(task.values["shift"]) - 0.5 * float(task.values.get("gap", 0.0)))
    assert task.in_parts is not None
    parts = {"shift": [slope / 2 + 3.0, slope / 2 - 3.0], "gap": [0.0, 0.0]}
    metrics = {"consistency": 0.5, "misfit": 4.5}
    shifts = {"gap": {"shift": task.in_parts["gap"] - float(task.values["gap"])}} if "gap" in task.in_parts else {}
    return Evaluation(Status.COMPLETE, metrics, gradient={"shift": slope}, gradient_parts=parts, gradient_shifts=shifts)


def divided(
    evaluate: Callable[[Task], Evaluation],
    losses: int = 0,
    limits: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
    by_square: tuple[str, ...] = (),
) -> tuple[RepeatedMeasurements, Crowd]:
    crowd = Losing(1, evaluate, losses=losses)
    held: dict[str, Value] = {"gap": 1.0}
    return RepeatedMeasurements(
        crowd, Watching(), held, seed=4, count=2, metric="consistency", retries=1, uncertain={"gap": (1.0, 1.2)},
        limits=limits, by_square=by_square, divides=True,
    ), crowd  # fmt: skip


def bent(task: Task) -> Evaluation:
    """As :func:`in_parts`, with the derivative -2 tanh(shift - 0.5 gap^2), and its change by the shift."""
    slope = -2 * math.tanh(float(task.values["shift"]) - 0.5 * float(task.values["gap"]) ** 2)
    there = -2 * math.tanh(float(task.values["shift"]) - 0.5 * 1.2**2)
    shifts = {"shift": {"shift": -2 * 0.01}, "gap": {"shift": there - slope}}
    parts = {"shift": [0.1, -0.1], "gap": [0.0, 0.0]} if task.in_parts is not None else {}
    metrics = {"consistency": 0.5}
    return Evaluation(Status.COMPLETE, metrics, gradient={"shift": slope}, gradient_parts=parts, gradient_shifts=shifts)


@pytest.mark.parametrize(
    ("at", "limits", "then"),
    [
        (0.5, {}, 0.72),
        (0.5, {"shift": (0.6, 9.0)}, 0.6),  # not beyond a hard limit
        (0.5, {"shift": (0.5,)}, 0.5),  # at one, it stays
    ],
)
def test_the_best_values_are_followed_when_a_held_one_is_moved(
    at: float, limits: dict[str, tuple[float, ...]], then: float
) -> None:
    """To where a first step leads, and from there as far as the derivative says."""
    made, crowd = divided(bent, limits=limits)
    errors = made.model_errors({**AT, "shift": at}, {"shift": 0.01})
    last = crowd.tasks[-1]
    assert last.in_parts is None and last.values["gap"] == 1.2
    assert float(last.values["shift"]) == pytest.approx(then, abs=0.005)
    assert errors is not None and errors.shifts[0]["shift"] / 2 == pytest.approx(0.22, abs=0.004)
    assert made.evaluated == 4


def by_squares(task: Task) -> Evaluation:
    """The derivative by shift^2 of -(shift^2 - 0.5 gap^2)^2."""
    slope = -2 * (float(task.values["shift"]) ** 2 - 0.5 * float(task.values["gap"]) ** 2)
    shifts = {"shift": {"shift": -2 * 0.04}, "gap": {"shift": 1.2**2 - 1.0}}
    parts = {"shift": [0.1, -0.1], "gap": [0.0, 0.0]} if task.in_parts is not None else {}
    metrics = {"consistency": 0.5}
    return Evaluation(Status.COMPLETE, metrics, gradient={"shift": slope}, gradient_parts=parts, gradient_shifts=shifts)


@pytest.mark.parametrize(("at", "limits", "then"), [(0.5**0.5, (0.0,), 0.72**0.5), (0.0, (0.0,), 0.0), (0.1, (), 0.48)])
def test_what_acts_by_its_square_is_moved_by_it(at: float, limits: tuple[float, ...], then: float) -> None:
    """Steps, curvature, the move of the best value and its limits are all the square's."""
    made, crowd = divided(by_squares, limits={"shift": limits}, by_square=("shift", "gap"))
    errors = made.model_errors({**AT, "shift": at}, {"shift": 0.04})
    assert errors is not None and errors.curvature == {"shift": {"shift": pytest.approx(-2.0)}}
    assert crowd.tasks[0].in_parts == {"shift": pytest.approx((at**2 + 0.04) ** 0.5), "gap": 1.2}
    assert float(crowd.tasks[-1].values["shift"]) == pytest.approx(then, abs=0.005)


@pytest.mark.parametrize("losses", [0, 1])
def test_model_errors_are_the_scatter_of_parts_and_the_shift_by_what_is_held(losses: int) -> None:
    made, crowd = divided(in_parts, losses)
    errors = made.model_errors(AT, {"shift": 0.01})
    assert errors is not None and errors.misfit == 4.5
    assert sum(each["shift"] ** 2 for each in errors.pulls) == pytest.approx(36.0)
    assert errors.shifts == ({"shift": pytest.approx(0.2)},)
    moved = {"shift": pytest.approx(float(AT["shift"]) + 0.01), "gap": 1.2}
    assert all(task.in_parts == moved and task.values["gap"] == 1.0 for task in crowd.tasks)
    assert made.evaluated == 3  # at the values, and at two others


def test_without_parts_errors_of_the_model_are_not_known() -> None:
    made, _ = divided(lambda task: Evaluation(Status.FAILED, reason="no memory"))
    assert made.model_errors(AT, {}) is None
    assert made._watcher.warnings == ["the intervals do not cover errors of the model: they failed (no memory)"]  # type: ignore[attr-defined]
    with pytest.raises(MeasurementLost, match="the best guess"):
        divided(in_parts, losses=100)[0].model_errors(AT, {})


def test_an_objective_that_cannot_divide_its_gradient_says_so() -> None:
    executor = InlineExecutor(Toy(ToySettings()), "consistency")
    executor.submit(Task(-1, AT, 0, None, in_parts={"shift": 0.5}))
    ended = executor.wait(Watching(), 1.0)  # type: ignore[arg-type]
    assert ended is not None and "Toy does not divide its gradient" in ended.evaluation.reason
