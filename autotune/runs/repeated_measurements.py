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
_CHECK = -(10**9)  # numbers of tasks that are no trials are negative
_IN_PARTS = -2 * 10**9
_MISFIT = "misfit"
"""See :class:`autotune.objective.DividesGradient`."""


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
        value = math.nan if at is None else at.metrics.get(self._metric, math.nan)
        return None if at is None or not math.isfinite(value) else (value, at.gradient)

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
        self.evaluated += len(moved) + (0 if divided is None else len(divided.gradient_again))
        if divided is None or not (divided.gradient_parts or _MISFIT in divided.metrics):
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
            return None if at is None else {n: s - base[n] for n, s in at.gradient.items() if n in base}

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

    def _once(self, task: Task) -> Evaluation | None:
        """Evaluate; None where that fails."""
        self._pool.begin(task, 0)
        _, ended = self._next()
        self.evaluated += 1
        if ended.infrastructure:
            raise _lost("the best guess", ended)
        return ended.evaluation if ended.evaluation.status is Status.COMPLETE else None

    def __call__(self, values: Mapping[str, Value], steps: Mapping[str, float]) -> list[Mapping[str, float]]:
        """Derivatives at tuned ``values``, by parameter name; a repetition that fails gives none.

        Where parameters are moved, each repetition costs as many evaluations more; there are fewer of them then, so
        that all cost :data:`_MOST` times as much as without, and two at least. Where the evaluations of moved
        parameters fail in more than half of the repetitions, these parameters are left out; else the repetitions are.

        Args:
            values: the tuned values.
            steps: tuned parameter without a derivative -> step by which it is moved for a difference instead, or its
                square where it acts by that.

        Raises:
            MeasurementLost: so many evaluations lost their workers that fewer than two are left.
        """
        complete = {**self._held, **values}
        moved = [(n, {**complete, n: self._moved(n, float(values[n]), by)}) for n, by in steps.items()]
        count = min(self.count, max(2, _MOST * self.count // (1 + len(steps))))
        asked = [(i, name, there) for i in range(count) for name, there in [("", complete), *moved]]
        tasks = [
            Task(-1 - number, there, self._seed, None, Repetition(complete, 1000 * self._seed + i + 1))
            for number, (i, _, there) in enumerate(asked)
        ]
        done, lost = self._complete(tasks, count)
        self.evaluated += len(tasks) + TO_LEARN
        at: list[dict[str, Evaluation]] = [{} for _ in range(count)]
        for number, evaluation in done.items():
            i, name, _ = asked[number]
            at[i][name] = evaluation
        slopes = [found for each in at if (found := self._slopes(each, steps))]
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
        return complete, lost

    def _slopes(self, at: Mapping[str, Evaluation], steps: Mapping[str, float]) -> Mapping[str, float]:
        """Derivatives of one repetition: its own, and the differences over ``steps`` that there are.

        Args:
            at: name of the parameter that was moved, empty for none -> evaluation.
            steps: as for a call.
        """
        if "" not in at:
            return {}
        values = {name: each.metrics.get(self._metric, math.nan) for name, each in at.items()}
        differences = {n: (values[n] - values[""]) / by for n, by in steps.items() if n in values}
        return {n: slope for n, slope in {**differences, **at[""].gradient}.items() if math.isfinite(slope)}

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
