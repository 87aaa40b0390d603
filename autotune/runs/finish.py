"""The end of a run: the study's status, its answer with intervals, and the files that hold them.

Computing the answer takes minutes where measurements are repeated, and the study's lock is not held meanwhile: a run
claims the computation, does it, and keeps the outcome. Other runs that come to the same end wait for it, and say so.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from autotune.files import write_json
from autotune.problem.goals import Limit
from autotune.results.best_files import keep_best
from autotune.results.build import build_result
from autotune.results.document import Noise, StudyResult
from autotune.results.posterior import Answer, find_answer
from autotune.retrying import Deadline, Patience, passing_trouble
from autotune.runs.repeated_measurements import MeasurementLost, RepeatedMeasurements
from autotune.session import RunningStudy
from autotune.store.facts import Concluding, Conclusion
from autotune.store.records import TrialRecord, best_of

_POLL_SECONDS = 1.0
"""Between two looks whether another run has computed the answer."""
_SILENT_SECONDS = 10.0
"""A wait is reported after these; runs that come to the end together seldom wait for longer."""


@dataclass(frozen=True)
class _Computed:
    """An answer, or why there is none.

    Attributes:
        answer: None where too few trials say anything, or where it could not be computed.
        error: why it could not.
        lost: whether workers were lost, so that the same command may succeed.
    """

    answer: Answer | None = None
    error: str = ""
    lost: bool = False


def conclude(study: RunningStudy, reason: str, repeated: RepeatedMeasurements | None = None) -> tuple[str, str]:
    """Finish a study whose search has ended: compute its answer and keep it. Returns status and reason.

    A study of which every trial failed has failed itself. Of several runs that come to the same end, together or later,
    the first computes the answer and the others take over its conclusion.

    Args:
        study: the study.
        reason: why the search ended.
        repeated: evaluates the answer, and repeats its measurement; None for an answer of the trials alone.

    Raises:
        AutotuneError: no evaluation can be made.
    """
    patience = Patience(study.watcher.paused, study.watcher.resumed)
    claim = _claimed(study, reason, repeated, patience)
    if isinstance(claim, Conclusion):
        conclusion, lost = claim, False
    else:
        computed = patience(lambda: _computed(study, repeated))
        lost = computed.lost
        if lost:
            study.watcher.warned(f"no intervals: {computed.error}; the same command computes them")
        conclusion = patience(lambda: _concluded(study, claim, reason, computed))
    facts = patience(lambda: study.store.facts)
    if facts.answer_error is not None and not lost:
        study.watcher.warned(f"no intervals: the answer could not be computed ({facts.answer_error})")
    if facts.best_error is not None:
        study.watcher.warned(f"the best values could not be written as files ({facts.best_error})")
    return conclusion.status, conclusion.reason


def record_stop(study: RunningStudy, status: str, reason: str, deadline: Deadline) -> str:
    """Keep why a run ended before its study did, unless other runs go on with the study.

    A run that is stopped while it waits for an answer that has come meanwhile leaves the study finished.

    Args:
        study: the study.
        status: how the run ended.
        reason: why it ended.
        deadline: how long to wait for other runs of the study.

    Returns:
        How the study ended, as far as this run knows.

    Raises:
        TimeoutError: another run holds the study.
    """
    with study.locked(timeout=deadline.left()):
        if study.others():
            return status
        conclusion = _reached(study) if status == "stopped" else None
        if conclusion is not None:
            status, reason = conclusion.status, conclusion.reason
        study.store.keep(status=status, reason=reason)
        study.keep_seconds()
        _keep_best(study, write_result(study))
        return status


def _reached(study: RunningStudy) -> Conclusion | None:
    """The conclusion that the study has come to from its trials; None where one was still being computed."""
    facts, trials = study.store.facts, len(study.store.trials())
    conclusion, claim = facts.conclusion, facts.concluding
    if conclusion is None or conclusion.trials != trials:
        return None
    anew = claim is not None and claim.trials == trials and not _same_end(claim, conclusion)  # other replicates
    return None if anew else conclusion


def _claimed(
    study: RunningStudy, reason: str, repeated: RepeatedMeasurements | None, patience: Patience
) -> Concluding | Conclusion:
    """This run's claim to compute the answer; else the conclusion that the study has come to, perhaps after a wait."""
    began, waiting = time.monotonic(), False
    while True:
        claim = patience(lambda: _claim(study, reason, repeated))
        if isinstance(claim, Conclusion) or claim.owner == study.lease.owner:
            break
        if not waiting and time.monotonic() - began >= _SILENT_SECONDS:
            waiting = True
            study.watcher.paused("another run of this study is computing the answer")
        time.sleep(_POLL_SECONDS)
    if waiting:
        study.watcher.resumed()
    return claim


def _claim(study: RunningStudy, reason: str, repeated: RepeatedMeasurements | None) -> Concluding | Conclusion:
    """The conclusion from these trials, where there is one, else the claim to compute it of the run that has it."""
    with study.locked():
        study.lease.take()  # the claim is valid only as long as the lease
        trials, facts = study.store.trials(), study.store.facts
        own = Concluding(study.lease.owner, len(trials), None if repeated is None else repeated.count)
        if facts.conclusion is not None and _same_end(facts.conclusion, own):
            study.store.keep(status=facts.conclusion.status, reason=facts.conclusion.reason)
            return facts.conclusion
        other = facts.concluding
        if other is not None and _same_end(other, own) and other.owner in study.others():
            return other
        if best_of(trials, study.plan.metric, study.plan.aims.of_answers) is None:
            return _keep_end(study, Conclusion(own.trials, own.replicates, "failed", _why_none_finished(study, reason)))
        study.store.keep(concluding=own, status="finished", reason=reason)
        study.keep_seconds()
        write_result(study)  # before what may take time or fail
        return own


def _same_end(one: Concluding | Conclusion, other: Concluding | Conclusion) -> bool:
    return (one.trials, one.replicates) == (other.trials, other.replicates)


def _concluded(study: RunningStudy, claim: Concluding, reason: str, computed: _Computed) -> Conclusion:
    """Keep what was computed, unless another run has done so, or has come further."""
    with study.locked():
        trials, earlier = study.store.trials(), study.store.facts.conclusion
        if earlier is not None and (_same_end(earlier, claim) or earlier.trials > claim.trials):
            study.store.keep(status=earlier.status, reason=earlier.reason)
            return earlier
        study.store.keep(answer_error=computed.error or None)
        if computed.answer is not None:
            write_json(study.folder / "posterior.json", computed.answer.as_dict())
            study.store.keep(answer=computed.answer.without_samples().as_dict())
        conclusion = Conclusion(claim.trials, claim.replicates, "finished", reason)
        searched_on = any(trial.state != "interrupted" for trial in trials[claim.trials :]) and bool(study.others())
        return _keep_end(study, conclusion, final=not searched_on and not computed.lost, status=not searched_on)


def _keep_end(study: RunningStudy, conclusion: Conclusion, *, final: bool = True, status: bool = True) -> Conclusion:
    """Keep how the study ended, and write its files. The study's lock must be held.

    Args:
        study: the study.
        conclusion: how it ended.
        final: whether later runs take the conclusion over.
        status: whether the study ends here; else other runs search on with a larger budget.
    """
    if status:
        study.store.keep(status=conclusion.status, reason=conclusion.reason)
    study.keep_seconds()
    _keep_best(study, write_result(study))
    if final:
        study.store.keep(conclusion=conclusion)
    return conclusion


def write_result(study: RunningStudy) -> StudyResult:
    """Write result.json; returns its content."""
    result = build_result(study.store, study.home, live=bool(study.others()))
    write_json(study.folder / "result.json", result.as_dict())
    return result


def keep_report(study: RunningStudy) -> None:
    """Write the report, unless the study says not to; where that fails, the reason is kept and the run goes on."""
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


def _computed(study: RunningStudy, repeated: RepeatedMeasurements | None) -> _Computed:
    """Compute the surrogate's posterior of the optimum.

    The surrogate knows of no limits: where these exclude the best trial, its optimum is not the answer.
    """
    search, trials = study.tuner.search, study.store.trials()
    if best_of(trials, study.plan.metric) != best_of(trials, study.plan.metric, search.aims.limits):
        return _Computed()
    try:
        answer = find_answer(
            study.store,
            study.plan.space,
            study.plan.metric,
            seed=search.seed,
            own_levels=len(search.costs),
            sources=search.sources,
            again=repeated if repeated is not None and repeated.count else None,
            ambiguous=study.plan.made_up_by,
            limits=study.plan.limits,
            in_quadrature=study.plan.in_quadrature,
            twin=search.aims.twin,
            check=None if repeated is None else repeated.check,
            errors=repeated.model_errors if repeated is not None and repeated.divides else None,
        )
    except MeasurementLost as error:
        return _Computed(error=str(error), lost=True)
    except Exception as error:  # the trials must not be lost for a number about them
        if passing_trouble(error):
            raise
        return _Computed(error=f"{type(error).__name__}: {error}")
    if answer is not None and repeated is not None and repeated.evaluated:
        noise = Noise(known_from=study.noise or None, replicates=repeated.count, equivalents=repeated.evaluated)
        answer = answer.model_copy(update={"noise": noise})
    return _Computed(answer)


def _keep_best(study: RunningStudy, result: StudyResult) -> None:
    """Write the best values as files to continue with."""
    try:
        keep_best(study.file, result, study.home)
        error = ""
    except OSError:
        raise  # a full disk, which may pass
    except Exception as failure:  # the answer is in the store anyway
        error = f"{type(failure).__name__}: {failure}"
    study.store.keep(best_error=error or None)


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
    """A limit, and the value that came nearest to keeping it."""
    reported = [trial.reported for trial in trials if trial.answers()]
    nearest = min(reported, key=limit.missed_by).get(limit.metric)
    return f"{limit} ({'not reported' if nearest is None else f'nearest {nearest:.5g}'})"
