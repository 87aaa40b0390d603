"""Repeated measurements: what their noise does to an answer, from evaluations of the answer with noise drawn anew."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotune.execution.executor import Executor, Repetition, Task
from autotune.objective import Status, Value
from autotune.session import Watcher

_WAIT_SECONDS = 1.0
_CHECK = -(10**9)  # numbers of tasks that are no trials are negative
TO_LEARN = 4
"""Full evaluations that an objective may spend on learning what to repeat."""


class Replicates:
    """The tuned metric's derivatives on measurements repeated in simulation.

    Args:
        executor: evaluates; idle.
        watcher: told how far it is.
        held: values of the parameters that are not tuned.
        seed: of the study; the noise of repetition i is drawn from it and i.
        count: repetitions, each of the cost of a full evaluation; :data:`TO_LEARN` come on top.
        metric: the tuned metric's name.
    """

    def __init__(
        self, executor: Executor, watcher: Watcher, held: Mapping[str, Value], *, seed: int, count: int, metric: str
    ) -> None:
        self._executor, self._watcher, self._held, self._metric = executor, watcher, held, metric
        self._seed, self.count = seed, count
        self.evaluated = 0
        """Full evaluations' worth made, at most: :data:`TO_LEARN` included."""

    def check(self, values: Mapping[str, Value]) -> tuple[float, Mapping[str, float]] | None:
        """The metric and its derivatives at tuned ``values``, of the measurement itself; None where that fails."""
        self._watcher.repeated(0, self.count)
        self._executor.submit(Task(_CHECK, {**self._held, **values}, self._seed, None))
        end = None
        while end is None:
            end = self._executor.wait(self, _WAIT_SECONDS)
        self.evaluated += 1
        value = end.evaluation.metrics.get(self._metric, math.nan)
        if end.evaluation.status is not Status.COMPLETE or not math.isfinite(value):
            return None
        return value, end.evaluation.gradient

    def __call__(self, values: Mapping[str, Value]) -> list[Mapping[str, float]]:
        """Derivatives at tuned ``values``, by parameter name; a repetition that fails gives none."""
        complete = {**self._held, **values}
        waiting = [
            Task(-1 - i, complete, self._seed, None, Repetition(complete, 1000 * self._seed + i + 1))
            for i in range(self.count)
        ]
        found: dict[int, Mapping[str, float]] = {}
        ended = running = 0
        self._watcher.repeated(0, self.count)
        while ended < self.count:
            while waiting and running < self._executor.workers:
                self._executor.submit(waiting.pop(0))
                running += 1
            end = self._executor.wait(self, _WAIT_SECONDS)
            if end is None:
                continue
            running, ended = running - 1, ended + 1
            self._watcher.repeated(ended, self.count)
            if end.evaluation.status is Status.COMPLETE and end.evaluation.gradient:
                found[end.number] = end.evaluation.gradient
        self.evaluated += self.count + TO_LEARN
        return [found[number] for number in sorted(found, reverse=True)]

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Nobody watches single iterations; none is stopped."""
        return True

    def paused(self, reason: str) -> None:
        """An evaluation waits for something that passes."""
        self._watcher.paused(reason)

    def resumed(self) -> None:
        """It goes on."""
        self._watcher.resumed()
