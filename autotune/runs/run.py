"""Run a study from its file: open the data, resume or create the study, evaluate trials, record, finish."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from autotune.errors import NoneSucceeded, Problem
from autotune.execution.artifacts import discard_unfinished
from autotune.execution.choose import check_execution, make_executor
from autotune.execution.executor import Executor
from autotune.execution.forked_children import ThisProcessOnly
from autotune.home import Home
from autotune.objective import DividesGradient, KnowsTruth, MeasuresAgain, Objective
from autotune.provenance.environment import keep_environment
from autotune.results.document import StudyResult
from autotune.retrying import Deadline, Patience
from autotune.runs.finish import conclude, keep_report, record_stop, write_result
from autotune.runs.loop import Loop
from autotune.runs.repeated_measurements import RepeatedMeasurements
from autotune.runs.resume import make_folder, resume_or_create, sources_of
from autotune.search.tuner import Search, Tuner
from autotune.session import RunningStudy, Watcher, lock_study
from autotune.store.database import database_of
from autotune.store.leases import Lease, alive
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, plan_study
from autotune.study.kept_file import keep_file
from autotune.tracking.record import Record

_STOP_SECONDS = 1.5
"""Longest time in seconds that a run that ends early waits, for everything together."""
_NO_INTERVALS = (
    "interrupted after the search had ended, before its intervals were computed; the same command computes them"
)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        result: the content of result.json.
        truth: parameter name -> true value, where the measurement was simulated.
        warning: one line where something beside the search went wrong (MLflow); empty otherwise.
    """

    result: StudyResult
    truth: Mapping[str, float]
    warning: str


def run_study(file: StudyFile, *, home: Home, watcher: Watcher, fresh: bool = False) -> Outcome:
    """Run the study until its budget is used; a study that was begun is resumed, one that is being run is joined.

    Args:
        file: the loaded study file.
        home: the folder of the studies.
        watcher: is told what happens.
        fresh: begin anew; an earlier study of that name is kept under another name.

    Raises:
        InputError: bad data or parameters, a study of that name that differs, or ``fresh`` while it is being run.
        NoneSucceeded: every trial failed.
        StudyFailed: too many trials in a row failed, or none can be evaluated.
        KeyboardInterrupt: passed on after the state is safe.
    """
    check_execution(file)
    with ThisProcessOnly():  # an objective that forks here must not have its child run the study, too
        objective = file.open()
        plan = plan_study(file, objective)
    study = _begin(file, objective, plan, home, watcher, fresh=fresh)
    executor = make_executor(file, objective, plan.metric, home)
    del objective  # the workers read the data for themselves; here, they would only take memory
    try:
        return _to_the_end(study, executor, watcher)
    finally:
        executor.close()
        with contextlib.suppress(Exception):
            study.lease.give_back()


def _begin(
    file: StudyFile, objective: Objective, plan: Plan, home: Home, watcher: Watcher, *, fresh: bool
) -> RunningStudy:
    """Resume the study or create it, and release the trials that dead runs have left."""
    database_of(home.store_url).require_reachable()
    sources = sources_of(file, plan, home)
    folder = make_folder(file.spec.name, home)
    with lock_study(home.store_url, file.spec.name, watcher):
        store = resume_or_create(file, objective, plan, home, fresh=fresh)
        if not alive(store):
            discard_unfinished(folder / "trials")
        lease = Lease(store)
        lease.take()
        keep_file(store, file, home)
        keep_environment(store, lease.owner, file.spec, folder)
        tuner = Tuner(store, plan.space, plan.metric, _search(file, plan, sources))
        tuner.start(alive(store))
        store.keep(status="running", reason="")
    truth = objective.truth() if isinstance(objective, KnowsTruth) else {}
    noise = objective.noise if isinstance(objective, MeasuresAgain) else ""
    divides = isinstance(objective, DividesGradient)
    earlier = store.facts.seconds
    summary = dict(objective.summary())
    return RunningStudy(
        file, plan, home, store, tuner, lease, summary, dict(truth), noise, divides, earlier=earlier, watcher=watcher
    )


def _search(file: StudyFile, plan: Plan, sources: tuple[TrialStore, ...]) -> Search:
    search = file.spec.search
    return Search(
        search.sampler,
        search.seed,
        search.startup_trials,
        search.pruner,
        plan.costs,
        file.spec.budget.converged,
        sources,
        plan.aims,
    )


def _to_the_end(study: RunningStudy, executor: Executor, watcher: Watcher) -> Outcome:
    """Evaluate trials until the budget is used, then finish; where the run cannot, the store says why."""
    record, patience = Record(study), Patience(watcher.paused, watcher.resumed)
    stopped = "interrupted by the user"
    try:
        ended = [trial for trial in patience(study.tuner.counted) if trial.state != "running"]
        patience(record.start)
        watcher.started(study.name, study.plan.metric, ended, study.file.spec.budget.trials)
        for warning in study.plan.warnings:
            watcher.warned(warning)
        reason = Loop(study, executor, watcher, record).search()
        stopped = _NO_INTERVALS
        repeated = patience(lambda: _repeated_measurements(study, executor, watcher))
        status, reason = conclude(study, reason, repeated)
    except KeyboardInterrupt:
        _stop(study, executor, record, "stopped", stopped)
        raise
    except Exception as error:
        _stop(study, executor, record, "failed", _in_words(error))
        raise
    try:
        keep_report(study)
    except KeyboardInterrupt:
        record.close(status, Deadline(_STOP_SECONDS))
        raise
    warning = record.close(status)
    result = patience(lambda: write_result(study))
    if status == "failed":
        raise NoneSucceeded(Problem(f"study {study.name}", reason))
    return Outcome(result, study.truth, warning)


def _repeated_measurements(study: RunningStudy, executor: Executor, watcher: Watcher) -> RepeatedMeasurements | None:
    """What is evaluated at the answer; None where nothing shall be. No repetitions where the objective has none."""
    wanted = study.file.spec.intervals.replicates
    if not wanted:
        return None
    count = wanted if study.noise else 0
    held, seed = study.plan.held(0), study.tuner.search.seed
    return RepeatedMeasurements(
        executor,
        watcher,
        held,
        seed=seed,
        count=count,
        metric=study.plan.metric.name,
        retries=study.file.spec.execution.retries,
        uncertain=study.plan.uncertain,
        limits=study.plan.limits,
        by_square=study.plan.by_square,
        divides=study.divides,
    )


def _stop(study: RunningStudy, executor: Executor, record: Record, status: str, reason: str) -> None:
    """Keep why the run ended, as far as the store still works. The caller raises the exception that ended it.

    All that waits shares one deadline: the workers, other runs that hold the study, and MLflow, which comes last, since
    its record can be completed later. A run that failed waits for MLflow as one that has finished.
    """
    deadline = Deadline(_STOP_SECONDS)
    executor.close(deadline.left())
    with contextlib.suppress(Exception), study.locked(timeout=deadline.left()):
        study.release_own()
    with contextlib.suppress(Exception):
        record.close(record_stop(study, status, reason, deadline), deadline if status == "stopped" else None)
        write_result(study)
    with contextlib.suppress(Exception):
        study.lease.give_back(deadline.left())


def _in_words(error: Exception) -> str:
    problems = getattr(error, "problems", None)
    return "; ".join(problem.what for problem in problems) if problems else f"{type(error).__name__}: {error}"
