"""The end of a run: what the study found is written down."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from autotune.files import write_json
from autotune.problem.goals import Limit
from autotune.results.best_files import keep_best
from autotune.results.document import build_result
from autotune.results.posterior import find_answer
from autotune.retrying import passing_trouble
from autotune.runs.repeated_measurements import Replicates
from autotune.session import RunningStudy
from autotune.store.facts import Conclusion
from autotune.store.records import TrialRecord, best_of

_LOCK_SECONDS = 2.0
"""A run that was told to end waits for the others no longer."""


def write_down(study: RunningStudy, status: str, reason: str, replicates: Replicates | None = None) -> tuple[str, str]:
    """Keep how the study ended, with its answer where it came to one; returns status and reason.

    ``replicates`` tell what the noise of the measurement does to the answer; None where that is not to be known.

    A study of which every trial failed has failed itself. One that other runs go on with has not ended, and of several
    runs that come to the same end, together or later, the first writes it down.
    """
    with study.locked(timeout=-1 if status == "finished" else _LOCK_SECONDS):
        if status != "finished" and study.others():
            return status, reason
        trials, earlier = study.store.trials(), study.store.facts.conclusion
        count = None if replicates is None else replicates.count
        same_end = earlier is not None and (earlier.trials, earlier.replicates) == (len(trials), count)
        if status == "finished" and earlier is not None and same_end:
            study.store.keep(status=earlier.status, reason=earlier.reason)
            return earlier.status, earlier.reason
        ended = status == "finished"
        if status == "finished" and best_of(trials, study.plan.metric, study.plan.aims.limits) is None:
            status, reason = "failed", _why_none_finished(study, reason)
        study.store.keep(status=status, reason=reason)
        study.note_seconds()
        result = write_result(study)  # before what may take time or fail
        if status == "finished":
            _keep_answer(study, replicates)
            result = write_result(study)
        _keep_best(study, result)
        if ended:
            study.store.keep(conclusion=Conclusion(len(trials), count, status, reason))
    return status, reason


def write_result(study: RunningStudy) -> dict[str, Any]:
    """Write result.json; returns its content."""
    result = build_result(study.store, study.home, live=bool(study.others()))
    write_json(study.folder / "result.json", result)
    return result


def keep_report(study: RunningStudy) -> None:
    """Write the report, unless the study says not to; a failure of it is noted, and is no reason to fail."""
    if not study.file.spec.report:
        return
    error = ""
    try:
        from autotune.report import write_report  # imports matplotlib and torch

        write_report(study.store, study.home, live=bool(study.others()))
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    with suppress(Exception):
        study.store.keep(report_error=error or None)


def _keep_answer(study: RunningStudy, replicates: Replicates | None) -> None:
    """Keep what the surrogate knows of the optimum; its samples in a file of their own.

    It knows of no limits: where these exclude the best trial, its optimum is not the answer, and nothing is kept.
    """
    search, trials = study.tuner.search, study.store.trials()
    if best_of(trials, study.plan.metric) != best_of(trials, study.plan.metric, search.aims.limits):
        return
    try:
        answer = find_answer(
            study.store,
            study.plan.space,
            study.plan.metric,
            seed=search.seed,
            own_levels=len(search.costs),
            sources=search.sources,
            again=replicates,
            ambiguous=study.plan.made_up_by,
            limits=study.plan.limits,
            check=None if replicates is None else replicates.check,
        )
    except Exception as error:  # what the study found must not be lost for a number about it
        if passing_trouble(error):
            raise
        study.store.keep(answer_error=f"{type(error).__name__}: {error}")
        return
    if answer is not None:
        if replicates is not None and replicates.evaluated:
            noise = {"known_from": study.noise, "replicates": replicates.count, "equivalents": replicates.evaluated}
            answer |= {"noise": noise}
        write_json(study.folder / "posterior.json", answer)
        study.store.keep(answer={key: part for key, part in answer.items() if key != "samples"})


def _keep_best(study: RunningStudy, result: dict[str, Any]) -> None:
    """Write the answer as files to go on with."""
    try:
        keep_best(study.file, result, study.home)
    except OSError:
        raise  # a full disk, which may pass
    except Exception as error:  # the answer is in the store anyway
        study.store.keep(best_error=f"{type(error).__name__}: {error}")


def _why_none_finished(study: RunningStudy, end: str) -> str:
    trials = study.tuner.counted()
    if not trials:
        return f"no trial was run: {end}"
    if best_of(trials, study.plan.metric) is not None:
        nearest = ", ".join(_nearest(limit, trials) for limit in study.plan.aims.limits)
        return f"none of {len(trials)} trials is a full evaluation that keeps the limits: {nearest}"
    last = next((trial.reason for trial in reversed(trials) if trial.reason), "no reason is known")
    kind = "full evaluations" if study.plan.cheap else "trials"
    count = sum(trial.level == 0 for trial in trials)
    return f"none of {count} {kind} finished; the last one: {last}"


def _nearest(limit: Limit, trials: list[TrialRecord]) -> str:
    """A limit, and what came nearest to keeping it."""
    reported = [trial.reported for trial in trials if trial.answers()]
    nearest = min(reported, key=limit.missed_by).get(limit.metric)
    return f"{limit} ({'not reported' if nearest is None else f'nearest {nearest:.5g}'})"
