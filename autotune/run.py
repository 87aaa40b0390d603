"""Run a study from its file: open the data, take up or create the study, evaluate trials, record, conclude."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.answer import find_answer
from autotune.artifacts import discard_unfinished, keep_evaluation
from autotune.budget import Ending
from autotune.criteria import Limit
from autotune.errors import Problem, StudyFailed
from autotune.execution.inline import InlineExecutor
from autotune.home import Home
from autotune.objective import KnowsTruth, Metric, Objective, Status
from autotune.result import build_result, write_json
from autotune.space import describe
from autotune.store import TrialRecord, TrialStore, best_of
from autotune.study import Plan, StudyFile, plan_study
from autotune.takeup import only_runner, sources_of, take_up
from autotune.tracking import PARENT_STATUS, Recorder, StudyFacts, study_summary, without_password
from autotune.tuner import Search, Trial, Tuner


class Watcher(Protocol):
    """Who wants to know how a run goes; called in the run's own thread, so it should return at once."""

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """The study was taken up; ``trials`` are those that already ended."""

    def proposed(self, trial: Trial) -> None:
        """A trial begins."""

    def progressed(self, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """The trial that runs has done an iteration."""

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial ended."""


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
    """Run the study until its budget is used; a study that was begun is continued.

    Args:
        file: the loaded study file.
        home: where studies live.
        watcher: told what happens.
        fresh: begin anew; an earlier study of that name is kept under another.

    Raises:
        InputError: bad data or parameters, a study of that name that differs, or one that is being run.
        StudyFailed: every trial failed.
        KeyboardInterrupt: passed on after the state is safe.
    """
    objective = file.open()
    plan = plan_study(file, objective)
    sources = sources_of(file, plan, home)
    with only_runner(file.spec.name, home):
        store = take_up(file, objective, plan, home, fresh=fresh)
        folder = home.study(file.spec.name)
        (folder / "study.yaml").write_text(file.text, encoding="utf-8")
        discard_unfinished(folder / "trials")
        return _Run(file, objective, plan, home, store, watcher, sources).to_the_end()


class _Run:
    """One process's run of one study."""

    def __init__(
        self,
        file: StudyFile,
        objective: Objective,
        plan: Plan,
        home: Home,
        store: TrialStore,
        watcher: Watcher,
        sources: tuple[TrialStore, ...],
    ) -> None:
        self.file, self.objective, self.plan = file, objective, plan
        self.home, self.store, self.watcher = home, store, watcher
        search = file.spec.search
        self.tuner = Tuner(
            store,
            plan.space,
            plan.metric,
            Search(
                search.sampler,
                search.seed,
                search.startup_trials,
                search.pruner,
                plan.costs,
                file.spec.budget.converged,
                sources,
                plan.aims,
            ),
        )
        self.ending = Ending(file.spec.budget, plan.metric.name, max(plan.costs[1:], default=None))
        self.executor = InlineExecutor(objective, plan.held, plan.metric.name)
        self.recorder = self._recorder() if file.spec.tracking.enabled else None
        self.begun = time.monotonic()
        self.earlier_seconds = float(store.facts.get("seconds", 0.0))

    def to_the_end(self) -> Outcome:
        """Evaluate trials until the budget is used, then conclude; conclude too if interrupted."""
        spec = self.file.spec
        self.tuner.start()
        self.store.note("status", "running")
        self.store.note("reason", "")
        ended = self.tuner.counted()
        if self.recorder is not None:
            # The interrupted ones too: the curve of the incumbent waits for every trial before.
            self.recorder.start(self.store.trials())
        self.watcher.started(spec.name, self.plan.metric, ended, spec.budget.trials)
        try:
            reason = self._search()
        except KeyboardInterrupt:
            self._release_running()
            self._conclude("stopped", "interrupted by the user")
            raise
        except Exception as error:
            self._give_up(error)
            raise
        return self._conclude("finished", reason)

    def _give_up(self, error: Exception) -> None:
        """Say in the store why the study ended, as far as the store still works; the error itself goes on."""
        with contextlib.suppress(Exception):
            self._release_running()
            self._conclude("failed", f"{type(error).__name__}: {error}")

    def _search(self) -> str:
        """Trial after trial; returns why it ended."""
        while True:
            coming = self.ending.after(self.tuner.counted(), self._seconds(), self.tuner.expects)
            if coming.reason:
                return coming.reason
            self._trial(finish=coming.finish)

    def _trial(self, *, finish: bool) -> None:
        trial = self.tuner.ask(finish=finish)
        self.watcher.proposed(trial)
        goes_on = self.tuner.watch(trial) if not finish else lambda iteration, value: True
        done = 1.0
        broken: list[Exception] = []  # the watcher's own errors are not the objective's: they must not fail the trial

        def progress(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
            nonlocal done
            done = iteration / iterations
            try:
                self.watcher.progressed(iteration, iterations, metrics)
            except Exception as error:
                broken.append(error)
            value = metrics.get(self.plan.metric.name)
            # After the last iteration there is nothing left to save.
            return not broken and (value is None or iteration == iterations or goes_on(iteration, value))

        evaluation = self.executor.run(trial, progress)
        if broken:
            raise broken[0]
        keep_evaluation(self.home.trial(self.file.spec.name, trial.number), evaluation, self.objective)
        stopped = evaluation.status is Status.STOPPED
        record = self.tuner.tell(trial, evaluation, done=done if stopped else 1.0)
        self.store.note("seconds", self._seconds())
        if self.recorder is not None:
            self.recorder.submit(record)
        self.watcher.ended(record, self.tuner.best)

    def _seconds(self) -> float:
        """Wall-clock time of the study so far, earlier runs included."""
        return self.earlier_seconds + time.monotonic() - self.begun

    def _release_running(self) -> None:
        for trial in self.store.trials():
            if trial.state == "running":
                self.store.release(trial)

    def _conclude(self, status: str, reason: str) -> Outcome:
        """Write down how the study ended, bring MLflow up to date, and write result.json."""
        trials = self.store.trials()
        if status == "finished" and best_of(trials, self.plan.metric, self.plan.aims.limits) is None:
            status, reason = "failed", self._why_none_finished(reason)
        self.store.note("status", status)
        self.store.note("reason", reason)
        self.store.note("seconds", self._seconds())
        self._write_result()  # before what may take time or fail
        if status == "finished":
            self._keep_answer()
            self._write_result()
        warning = self._close_record(status, trials)
        result = self._write_result()
        if status == "failed":
            raise StudyFailed(Problem(f"study {self.file.spec.name}", reason))
        truth = self.objective.truth() if isinstance(self.objective, KnowsTruth) else {}
        return Outcome(result, truth, warning)

    def _keep_answer(self) -> None:
        """Keep what the surrogate knows of the optimum; its samples in a file of their own.

        It knows of no limits: where these exclude the best trial, its optimum is not the answer, and nothing is kept.
        """
        search, trials = self.tuner.search, self.store.trials()
        if best_of(trials, self.plan.metric) != best_of(trials, self.plan.metric, search.aims.limits):
            return
        try:
            answer = self._answer()
        except Exception as error:  # what the study found must not be lost for a number about it
            self.store.note("answer_error", f"{type(error).__name__}: {error}")
            return
        if answer is not None:
            write_json(self.home.study(self.file.spec.name) / "posterior.json", answer)
            self.store.note("answer", {key: part for key, part in answer.items() if key != "samples"})

    def _answer(self) -> dict[str, Any] | None:
        search = self.tuner.search
        return find_answer(
            self.store,
            self.plan.space,
            self.plan.metric,
            seed=search.seed,
            own_levels=len(search.costs),
            sources=search.sources,
        )

    def _why_none_finished(self, end: str) -> str:
        trials = self.tuner.counted()
        if not trials:
            return f"no trial was run: {end}"
        if best_of(trials, self.plan.metric) is not None:
            nearest = ", ".join(_nearest(limit, trials) for limit in self.plan.aims.limits)
            return f"none of {len(trials)} trials is a full evaluation that keeps the limits: {nearest}"
        last = next((trial.reason for trial in reversed(trials) if trial.reason), "no reason is known")
        kind = "full evaluations" if self.plan.cheap else "trials"
        count = sum(trial.level == 0 for trial in trials)
        return f"none of {count} {kind} finished; the last one: {last}"

    def _write_result(self) -> dict[str, Any]:
        result = build_result(self.store, self.home, live=False)
        write_json(self.home.study(self.file.spec.name) / "result.json", result)
        return result

    def _recorder(self) -> Recorder:
        """The MLflow recorder of this study."""
        spec, plan = self.file.spec, self.plan
        uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or self.home.tracking_uri
        experiment = spec.tracking.experiment or "autotune"
        facts = self.store.facts
        place = {"tracking_uri": without_password(uri), "experiment": experiment}
        known = facts.get("mlflow", {})
        same_place = all(known.get(key) == value for key, value in place.items())
        self.store.note("mlflow", place | {"run_id": known["run_id"] if same_place else None})
        record = StudyFacts(
            study_id=facts["study_id"],
            name=spec.name,
            experiment=experiment,
            study_text=self.file.text,
            metric=plan.metric,
            limits=plan.aims.limits,
            parameters=_ranges(plan),
            units={d.name: d.unit for d in plan.space.dimensions},
            log_parameters=frozenset(d.name for d in plan.space.dimensions if d.log),
            tags={
                "autotune.objective": spec.objective.name,
                "autotune.sampler": spec.search.sampler,
                "autotune.seed": str(spec.search.seed),
                **{f"autotune.{key.replace(' ', '_')}": value for key, value in self.objective.summary().items()},
            },
        )
        self.store.note("record", record.as_dict())
        return Recorder(
            record,
            tracking_uri=uri,
            artifact_root=self.home.mlflow_artifacts,
            trial_folder=lambda number: self.home.trial(spec.name, number),
        )

    def _close_record(self, status: str, trials: list[TrialRecord]) -> str:
        """Bring MLflow up to date and end the parent run; returns a line for the user where that failed."""
        if self.recorder is None:
            return ""
        summary = study_summary(self.plan.metric, trials, self.plan.aims.limits)
        ended = [trial for trial in trials if trial.state != "running"]
        timeout = 10.0 if status == "stopped" else 60.0  # who pressed Ctrl-C does not want to wait
        report = self.recorder.finish(PARENT_STATUS[status], summary, [], ended, timeout)
        if report.parent_run_id is not None:
            self.store.note("mlflow", self.store.facts["mlflow"] | {"run_id": report.parent_run_id})
        return without_password(report.error)


def _nearest(limit: Limit, trials: list[TrialRecord]) -> str:
    """A limit, and what came nearest to keeping it."""
    reported = [trial.reported for trial in trials if trial.answers()]
    nearest = min(reported, key=limit.missed_by).get(limit.metric)
    return f"{limit} ({'not reported' if nearest is None else f'nearest {nearest:.5g}'})"


def _ranges(plan: Plan) -> dict[str, str]:
    """Every parameter's range or fixed value as text, for MLflow."""
    texts = {}
    for d in plan.space.dimensions:
        scale = " (log)" if d.log else ""
        texts[d.name] = ", ".join(d.choices) if d.type == "categorical" else f"{d.low:g} .. {d.high:g} {d.unit}{scale}"
        texts[d.name] += f", while {describe(d.when)}" if d.when else ""
    return texts | {name: f"{value} (fixed)" for name, value in plan.fixed.items()}
