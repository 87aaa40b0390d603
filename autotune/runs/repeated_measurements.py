"""Evaluations at the answer: of it, and of the measurement with noise drawn anew, which shows what noise does to it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from autotune.errors import AutotuneError, Problem
from autotune.execution.executor import TO_LEARN, Ended, Executor, Repetition, Task
from autotune.execution.retries import Pool
from autotune.objective import Evaluation, Status, Value
from autotune.session import Watcher

if TYPE_CHECKING:
    from autotune.surrogate.optimum.model_errors import ModelErrors

_WAIT_SECONDS = 1.0
_MOST = 3
_BENT = 2
_UNMOVED = ("", 0.0)
_CHECK = -(10**9)  # numbers of tasks that are no trials are negative
_IN_PARTS = -2 * 10**9
_MISFIT = "misfit"
"""See :class:`autotune.objective.DividesGradient`."""
At = Mapping[tuple[str, float], Evaluation]
"""Parameter that was moved, and by how much -> evaluation of one repetition; :data:`_UNMOVED` for none."""


class MeasurementLost(AutotuneError):
    """Evaluations that the intervals need were lost with their workers, however often they were tried."""


class RepeatedMeasurements:
    """The tuned metric at the answer, and its derivatives on measurements repeated in simulation.

    Args:
        executor: evaluates; idle.
        watcher: is told how many are done.
        held: values of the parameters that are not tuned.
        seed: seed of the study; the noise of repetition i is drawn from it and i.
        count: number of repetitions, each of the cost of a full evaluation; :data:`TO_LEARN` come on top. Where
            parameters are moved, see :meth:`__call__`. 0 where the objective cannot repeat its measurement.
        metric: the tuned metric's name.
        retries: how often an evaluation is tried again whose worker was lost.
        uncertain: name of a held parameter that is not known exactly -> its value, and the one that is a standard
            uncertainty away.
        limits: name of a tuned parameter -> its hard limits, as far as it has any.
        by_square: names of the parameters that act by their square; what they are moved by is in the square's unit.
        divides: whether the objective divides its gradient, so that errors of the model show.
    """

    def __init__(
        self,
        executor: Executor,
        watcher: Watcher,
        held: Mapping[str, Value],
        *,
        seed: int,
        count: int,
        metric: str,
        retries: int,
        uncertain: Mapping[str, tuple[float, float]] = MappingProxyType({}),
        limits: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
        by_square: Collection[str] = (),
        divides: bool = False,
    ) -> None:
        self._watcher, self._held, self._metric = watcher, held, metric
        self._pool: Pool[int] = Pool(executor, retries)
        self._seed, self.count = seed, count
        self._uncertain, self._limits, self._by_square = dict(uncertain), limits, by_square
        self.divides = divides
        """Whether :meth:`model_errors` can be called."""
        self.evaluated = 0
        """Cost of the evaluations made, in full evaluations, at most: :data:`TO_LEARN` is included."""

    def check(self, values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]] | None:
        """The metric and its derivatives at tuned ``values``, of the measurement itself; None where that fails.

        Raises:
            MeasurementLost: the evaluation's workers were lost.
        """
        self._watcher.repeated(0, self.count)
        at = self._once(Task(_CHECK, {**self._held, **values}, self._seed, None))
        value = at.metrics.get(self._metric, math.nan)
        return (value, at.gradient) if at.status is Status.COMPLETE and math.isfinite(value) else None

    def model_errors(self, values: Mapping[str, Value], steps: Mapping[str, float]) -> ModelErrors | None:
        """The effect of errors of the model at tuned ``values``; None where the evaluation in parts fails.

        A held value at which the reconstruction fails when it is moved by its uncertainty is taken as exact.

        Args:
            values: the tuned values.
            steps: tuned parameter -> step by which it is moved for its derivative, or its square where it acts by that.

        Raises:
            MeasurementLost: the evaluation's workers were lost.
        """
        from autotune.surrogate.optimum.model_errors import ModelErrors

        uncertain = {name: moved for name, (_, moved) in self._uncertain.items()}
        moved = {name: self._moved(name, float(values[name]), step) for name, step in steps.items()} | uncertain
        task = Task(_IN_PARTS, {**self._held, **values}, self._seed, None, in_parts=moved)
        divided = self._once(task)
        self.evaluated += len(moved) + len(divided.gradient_again)
        if divided.status is not Status.COMPLETE:
            self._watcher.warned(f"the intervals do not cover errors of the model: they failed ({divided.reason})")
        if divided.status is not Status.COMPLETE or not (divided.gradient_parts or _MISFIT in divided.metrics):
            return None
        uncertainties = {
            name: self._acting(name, there) - self._acting(name, at) for name, (at, there) in self._uncertain.items()
        }
        errors = ModelErrors.of(divided, steps, uncertainties, divided.metrics.get(_MISFIT))
        held, base = [name for name in divided.gradient_shifts if name in uncertain], divided.gradient
        if not set(steps) <= base.keys():  # what is left where a step leads would not be known
            return errors

        def change_at(shift: int, move: Mapping[str, float]) -> Mapping[str, float] | None:
            there = {n: self._moved(n, float(values[n]), by) for n, by in move.items()}
            there[held[shift]] = uncertain[held[shift]]
            at = self._once(Task(_CHECK, {**self._held, **values, **there}, self._seed, None))
            slopes = {n: s - base[n] for n, s in at.gradient.items() if n in base}
            return slopes if at.status is Status.COMPLETE else None

        return errors.followed({name: self._moves(name, float(values[name])) for name in steps}, change_at)

    def _moves(self, name: str, value: float) -> tuple[float, float]:
        """The least and the largest move of a parameter that is not beyond its hard limits: none from a limit."""
        ends = np.array([self._acting(name, end) for end in self._limits.get(name, ())]) - self._acting(name, value)
        if (ends == 0).any():
            return 0.0, 0.0
        return max(ends[ends < 0], default=-math.inf), min(ends[ends > 0], default=math.inf)

    def _acting(self, name: str, value: float) -> float:
        return value**2 if name in self._by_square else value

    def _moved(self, name: str, value: float, by: float) -> float:
        """The value after a move of it, or of its square."""
        return math.sqrt(max(value**2 + by, 0.0)) if name in self._by_square else value + by

    def _once(self, task: Task) -> Evaluation:
        """Evaluate, whatever comes of it."""
        self._pool.begin(task, 0)
        _, ended = self._next()
        self.evaluated += 1
        if ended.infrastructure:
            raise _lost("the best guess", ended)
        return ended.evaluation

    def __call__(self, values: Mapping[str, Value], steps: Mapping[str, float]) -> list[Mapping[str, float]]:
        """Derivatives at tuned ``values``, by parameter name; a repetition that fails gives none.

        Where parameters are moved, each repetition costs as many evaluations more; there are fewer of them then, so
        that all cost :data:`_MOST` times as much as without, and two at least. In the first :data:`_BENT` they are
        moved a second time, which shows how the value bends between: that is no noise, and may differ from how it bends
        on the measurement itself. Where the evaluations of moved parameters fail in more than half of the repetitions,
        these parameters are left out; else the repetitions are.

        Args:
            values: the tuned values.
            steps: tuned parameter without a derivative -> step by which it is moved for a difference instead, or its
                square where it acts by that.

        Raises:
            MeasurementLost: so many evaluations lost their workers that fewer than two are left.
        """
        complete = {**self._held, **values}
        again = {name: self._second_step(name, float(values[name]), by) for name, by in steps.items()}
        count = min(self.count, max(2, _MOST * self.count // (1 + len(steps))))
        asked = [
            (i, (name, by), {**complete, name: self._moved(name, float(values[name]), by)} if name else complete)
            for i in range(count)
            for name, by in (_UNMOVED, *steps.items(), *(again.items() if i < _BENT else ()))
        ]
        tasks = [
            Task(-1 - number, there, self._seed, None, Repetition(complete, 1000 * self._seed + i + 1))
            for number, (i, _, there) in enumerate(asked)
        ]
        done, lost = self._complete(tasks, count)
        self.evaluated += len(tasks) + TO_LEARN
        at: list[dict[tuple[str, float], Evaluation]] = [{} for _ in range(count)]
        for number, evaluation in done.items():
            i, move, _ = asked[number]
            at[i][move] = evaluation
        bends = {name: self._bend(at, (name, by), (name, again[name])) for name, by in steps.items()}
        slopes = [found for each in at if (found := self._slopes(each, steps, bends))]
        if lost is not None and len(slopes) < 2:
            raise _lost("the repeated measurements", lost)
        whole = [each for each in slopes if steps.keys() <= each.keys()]
        if len(whole) >= max(2, count / 2):
            return whole
        return [{name: slope for name, slope in each.items() if name not in steps} for each in slopes]

    def _complete(self, tasks: Sequence[Task], count: int) -> tuple[Mapping[int, Evaluation], Ended | None]:
        """Evaluate the tasks of ``count`` repetitions, as many at once as there are workers.

        Returns:
            Place of a task -> its evaluation, where that is complete; and an evaluation that was lost with its worker.
        """
        waiting = list(enumerate(tasks))
        complete: dict[int, Evaluation] = {}
        lost: Ended | None = None
        reason = ""
        self._watcher.repeated(0, count)
        for done in range(1, len(tasks) + 1):
            while waiting and self._pool.free:
                number, task = waiting.pop(0)
                self._pool.begin(task, number)
            number, ended = self._next()
            self._watcher.repeated(done * count // len(tasks), count)
            if ended.infrastructure:
                lost = ended
            elif ended.evaluation.status is Status.COMPLETE:
                complete[number] = ended.evaluation
            else:
                reason = ended.evaluation.reason
        if not complete and reason:
            self._watcher.warned(f"the intervals do not cover noise: every repeated measurement failed ({reason})")
        return complete, lost

    def _second_step(self, name: str, value: float, by: float) -> float:
        """The other way, as far as hard limits let; else as far again."""
        least, most = self._moves(name, value)
        return -by if least <= -by <= most and (name not in self._by_square or value**2 - by >= 0) else 2 * by

    def _slopes(self, at: At, steps: Mapping[str, float], bends: Mapping[str, float]) -> Mapping[str, float]:
        """Derivatives of one repetition: its own, and those that differences give.

        Args:
            at: its evaluations.
            steps: as for a call.
            bends: name -> what the value's curvature adds to a difference.
        """
        if _UNMOVED not in at:
            return {}
        differences = {n: self._difference(at, (n, by)) - bends[n] for n, by in steps.items() if (n, by) in at}
        return {n: slope for n, slope in {**differences, **at[_UNMOVED].gradient}.items() if math.isfinite(slope)}

    def _bend(self, repetitions: Sequence[At], first: tuple[str, float], second: tuple[str, float]) -> float:
        """What the curvature adds to the difference over the first of two moves; NaN where no repetition tells."""
        found = [
            (self._difference(at, first) - self._difference(at, second)) * first[1] / (first[1] - second[1])
            for at in repetitions
            if {_UNMOVED, first, second} <= at.keys()
        ]
        return float(np.mean(found)) if found else math.nan

    def _difference(self, at: At, move: tuple[str, float]) -> float:
        """The metric's change per move."""
        there, here = (at[m].metrics.get(self._metric, math.nan) for m in (move, _UNMOVED))
        return (there - here) / move[1]

    def _next(self) -> tuple[int, Ended]:
        """Wait for an evaluation to end."""
        while (ended := self._pool.wait(self, _WAIT_SECONDS)) is None:
            pass
        return ended

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Let every evaluation go on."""
        return True

    def paused(self, reason: str) -> None:
        """An evaluation waits for something that passes."""
        self._watcher.paused(reason)

    def resumed(self) -> None:
        """It goes on."""
        self._watcher.resumed()


def _lost(what: str, ended: Ended) -> MeasurementLost:
    return MeasurementLost(Problem(what, f"cannot be evaluated: {ended.evaluation.reason}"))
