"""A confirmation of a finished study: its best trials evaluated again, and the best reconstruction examined.

The best trial, the next best and the surrogate's estimate are evaluated at full fidelity with fresh seeds, and on
measurements repeated in simulation, the same for all of them (:mod:`autotune.rerun.ranking`). Every evaluation is kept
in the store: after an interruption the same command goes on where it was, and one with more repetitions adds to them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from autotune.errors import InputError, Problem
from autotune.execution.choose import make_executor
from autotune.execution.forked_children import ThisProcessOnly
from autotune.execution.retries import Pool
from autotune.files import write_json
from autotune.home import Home
from autotune.objective import Examines, MeasuresAgain
from autotune.rerun.confirmation import Evaluations, Job
from autotune.rerun.ranking import Candidate
from autotune.results.build import build_result, current_answer
from autotune.results.document import Confirmation
from autotune.retrying import Patience
from autotune.runs.resume import require_same
from autotune.store.database import database_of
from autotune.store.leases import alive
from autotune.store.records import best_of
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, plan_study

_WAIT_SECONDS = 1.0


class Follower(Protocol):
    """Is told how far a confirmation is."""

    def evaluated(self, done: int, count: int) -> None:
        """``done`` of ``count`` evaluations are done, as far as their number is known yet."""

    def paused(self, reason: str) -> None:
        """It waits for something that passes by itself; nothing is lost."""

    def resumed(self) -> None:
        """It goes on."""


def confirm_study(
    file: StudyFile, *, home: Home, follower: Follower, candidates: int = 5, repeats: int = 5
) -> Confirmation:
    """Evaluate the best trials of a study again; the document that is kept as ``confirmation`` in result.json.

    Args:
        file: the study, as it was run.
        home: where it lives.
        follower: is told how far it is.
        candidates: how many trials, the best one included.
        repeats: fresh seeds, where the seed matters, and repeated measurements, where the objective has them; 2 at
            least.

    Raises:
        InputError: there is no such study, it differs, it is being run, or no full trial of it has finished.
        StudyFailed: no evaluation can be made.
        KeyboardInterrupt: passed on; what was evaluated is kept.
    """
    database_of(home.store_url).require_reachable()
    store = _finished_study(file, home)
    with ThisProcessOnly():
        objective = file.open()
        plan = plan_study(file, objective)
    require_same(store, file, objective, plan, "confirm it with the file and the options it was run with")
    chosen, tolerance = _candidates(store, plan, candidates), file.spec.budget.converged or 0.0
    evaluations = Evaluations(store, plan, file.spec.search.seed, repeats, chosen, tolerance)
    if isinstance(objective, MeasuresAgain):
        evaluations.noise = objective.noise
    if isinstance(objective, Examines):
        evaluations.examinations = tuple(objective.examinations())
    evaluations.load()
    executor = make_executor(file, objective, plan.metric, home)
    del objective  # the workers read the data for themselves; here, they would only take memory
    try:
        _Confirming(evaluations, Pool(executor, file.spec.execution.retries), follower).run()
    except BaseException:
        executor.close()
        with contextlib.suppress(Exception):
            _write_result(store, home)
        raise
    executor.close()
    Patience(follower.paused, follower.resumed)(lambda: _write_result(store, home))
    return evaluations.document()


def _write_result(store: TrialStore, home: Home) -> None:
    result = build_result(store, home, live=bool(alive(store)))
    write_json(home.study(store.study.study_name) / "result.json", result.as_dict())


def _finished_study(file: StudyFile, home: Home) -> TrialStore:
    name, run_it = file.spec.name, f"run it first: autotune run {file.path}"
    store = TrialStore.open(home.store_url, name)
    if store is None or store.facts.by_hand:
        raise InputError(Problem(f"study {name}", f"is not in {home.folder}", run_it))
    if alive(store):
        raise InputError(Problem(f"study {name}", "is being run by another process", "wait for it"))
    return store


def _candidates(store: TrialStore, plan: Plan, count: int) -> list[Candidate]:
    """The best trial, the next best of other values, and the estimate where it is no trial's.

    Where there are not enough full trials, the best of the cheap ones follow, those of the dearest level first.

    Raises:
        InputError: no full trial has finished, or none keeps the limits.
    """
    trials, metric, limits = store.trials(), plan.metric, plan.aims.of_answers
    best = best_of(trials, metric, limits)
    if best is None:
        what = "has no finished full trial" + (" that keeps the limits" if plan.aims.limits else "")
        raise InputError(Problem(f"study {store.study.study_name}", what, "run it until it has one"))
    others = [trial for trial in trials if trial.answers(limits) or (trial.state == "finished" and trial.level > 0)]
    others.sort(key=lambda trial: (trial.level, -metric.sign * trial.metrics[metric.name]))
    candidates: list[Candidate] = []
    for trial in [best, *others]:
        if len(candidates) < count and trial.values not in [other.values for other in candidates]:
            recorded = None if trial.level else trial.metrics[metric.name]
            candidates.append(Candidate(trial.number, trial.values, recorded))
    answer = current_answer(store.facts, trials)
    parameters = {} if answer is None else answer.parameters
    estimate = {name: part.estimate for name, part in parameters.items() if part.estimate is not None}
    if estimate and estimate not in [other.values for other in candidates]:
        candidates.append(Candidate(None, estimate))
    return candidates


@dataclass
class _Confirming:
    """Makes the evaluations that a confirmation wants."""

    evaluations: Evaluations
    pool: Pool[Job]
    follower: Follower
    _done: int = 0
    _number: int = 0

    def run(self) -> None:
        """Evaluate until nothing more is wanted, and keep the evaluations after every evaluation."""
        patience = Patience(self.follower.paused, self.follower.resumed)
        self._report()
        while self._fill():
            ended = self.pool.wait(self, _WAIT_SECONDS)
            if ended is None:
                continue
            self.evaluations.add(*ended)
            self._done += 1
            self._report()
            patience(self.evaluations.keep)
        patience(self.evaluations.keep)

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        """Let every evaluation go on."""
        return True

    def paused(self, reason: str) -> None:
        """An evaluation waits for something that passes."""
        self.follower.paused(reason)

    def resumed(self) -> None:
        """It goes on."""
        self.follower.resumed()

    def _fill(self) -> bool:
        """Give every free worker a job; returns whether any job runs."""
        for job in self._waiting():
            if not self.pool.free:
                break
            self._number -= 1  # numbers of tasks that are no trials are negative
            self.pool.begin(self.evaluations.task(self._number, job), job)
        return bool(self.pool)

    def _waiting(self) -> list[Job]:
        running = list(self.pool.values())
        return [job for job in self.evaluations.wanted() if job not in running]

    def _report(self) -> None:
        self.follower.evaluated(self._done, self._done + len(self.pool) + len(self._waiting()))
