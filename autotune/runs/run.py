"""Run a study from its file: open the data, take up or create the study, evaluate trials, record, conclude."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotune.errors import NoneSucceeded, Problem
from autotune.execution.artifacts import discard_unfinished
from autotune.execution.choose import make_executor
from autotune.execution.cluster_start import check_execution
from autotune.execution.executor import Executor
from autotune.home import Home
from autotune.objective import KnowsTruth, MeasuresAgain, Objective
from autotune.provenance.environment import note_environment
from autotune.retrying import Patience
from autotune.runs.finish import keep_report, write_down, write_result
from autotune.runs.loop import Loop
from autotune.runs.repeated_measurements import Replicates
from autotune.runs.resume import make_folder, sources_of, take_up
from autotune.search.tuner import Search, Tuner
from autotune.session import RunningStudy, Watcher
from autotune.store.database import require_reachable
from autotune.store.leases import Lease, alive
from autotune.store.locks import exclusive
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile, plan_study
from autotune.study.kept_file import note_origin
from autotune.tracking.record import Record

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

    result: dict[str, Any]
    truth: Mapping[str, float]
    warning: str


def run_study(file: StudyFile, *, home: Home, watcher: Watcher, fresh: bool = False) -> Outcome:
    """Run the study until its budget is used; a study that was begun is continued, one that is being run is joined.

    Args:
        file: the loaded study file.
        home: where studies live.
        watcher: told what happens.
        fresh: begin anew; an earlier study of that name is kept under another.

    Raises:
        InputError: bad data or parameters, a study of that name that differs, or one to begin anew that is being run.
        NoneSucceeded: every trial failed.
        StudyFailed: too many trials in a row failed, or none can be evaluated.
        KeyboardInterrupt: passed on after the state is safe.
    """
    check_execution(file)
    objective = file.open()
    plan = plan_study(file, objective)
    study = _take_up(file, objective, plan, home, fresh=fresh)
    executor = make_executor(file, objective, plan.metric, home)
    del objective  # the workers read the data for themselves; here, they would only take memory
    try:
        return _to_the_end(study, executor, watcher)
    finally:
        executor.close()
        with contextlib.suppress(Exception):
            study.lease.give_back()


def _take_up(file: StudyFile, objective: Objective, plan: Plan, home: Home, *, fresh: bool) -> RunningStudy:
    """Take up the study in the store, and release what dead runs have left of it."""
    require_reachable(home.store_url)
    sources = sources_of(file, plan, home)
    folder = make_folder(file.spec.name, home)
    with exclusive(home.store_url, file.spec.name):
        store = take_up(file, objective, plan, home, fresh=fresh)
        if not alive(store):
            discard_unfinished(folder / "trials")
        lease = Lease(store)
        lease.take()
        note_origin(store, file, home)
        note_environment(store, lease.owner, file.spec, folder)
        tuner = Tuner(store, plan.space, plan.metric, _search(file, plan, sources))
        tuner.start(alive(store))
        store.keep(status="running", reason="")
    truth = objective.truth() if isinstance(objective, KnowsTruth) else {}
    noise = objective.noise if isinstance(objective, MeasuresAgain) else ""
    earlier = store.facts.seconds
    summary = dict(objective.summary())
    return RunningStudy(file, plan, home, store, tuner, lease, summary, dict(truth), noise, earlier=earlier)


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
    """Evaluate trials until the budget is used, then conclude; say in the store too how a run ended that did not."""
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
        replicates = patience(lambda: _replicates(study, executor, watcher))
        status, reason = patience(lambda: write_down(study, "finished", reason, replicates))
    except KeyboardInterrupt:
        _break_off(study, executor, record, "stopped", stopped)
        raise
    except Exception as error:
        _break_off(study, executor, record, "failed", _in_words(error))
        raise
    try:
        keep_report(study)
    except KeyboardInterrupt:
        record.close(status, hurry=True)
        raise
    warning = record.close(status)
    result = patience(lambda: write_result(study))
    if status == "failed":
        raise NoneSucceeded(Problem(f"study {study.name}", reason))
    return Outcome(result, study.truth, warning)


def _replicates(study: RunningStudy, executor: Executor, watcher: Watcher) -> Replicates | None:
    """Repeated measurements; None where they are not wanted, or the objective has none, or no gradients."""
    count = study.file.spec.intervals.replicates
    if not count or not study.noise or not any(trial.gradient for trial in study.store.trials()):
        return None
    held, seed = study.plan.held(0), study.tuner.search.seed
    return Replicates(executor, watcher, held, seed=seed, count=count, metric=study.plan.metric.name)


def _break_off(study: RunningStudy, executor: Executor, record: Record, status: str, reason: str) -> None:
    """Say in the store why the run ended, as far as the store still works; who called raises what ended it."""
    executor.close()
    with contextlib.suppress(Exception), study.locked(timeout=2.0):
        study.release_own()
    with contextlib.suppress(Exception):
        write_down(study, status, reason)
        record.close(status)
        write_result(study)


def _in_words(error: Exception) -> str:
    problems = getattr(error, "problems", None)
    return "; ".join(problem.what for problem in problems) if problems else f"{type(error).__name__}: {error}"
