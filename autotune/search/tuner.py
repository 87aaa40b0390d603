"""The tuner: ask for a trial, tell its evaluation. This is the whole engine for a program that embeds it.

    store = TrialStore.create(url, name, metric, facts)
    tuner = Tuner(store, space, metric, search)
    while len(tuner.counted()) < budget:
        trial = tuner.ask()
        tuner.tell(trial, evaluate(trial.values))
    print(tuner.best)

The tuner keeps no state of its own: everything is in the store, so a new process continues exactly where the last one
ended, however it ended. Nor does it change the store's study object: every proposal and every watch has its own view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autotune.errors import InputError, Problem, near_miss
from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.goals import Aims
from autotune.problem.levels import Levels
from autotune.problem.space import Space
from autotune.search.learning_curves import Curves
from autotune.search.pruners import Pruner, optuna_pruner
from autotune.search.samplers import WITH_MODEL, make_sampler
from autotune.store.records import TrialRecord, best_of, free_index
from autotune.store.trials import TrialStore

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study


MOST_DEATHS = 3
"""Deaths of the evaluating process after which the trial's values count as failed."""


@dataclass(frozen=True)
class Search:
    """How trials are proposed: ``search:`` in the study file."""

    sampler: str = "gp"
    seed: int = 0
    startup_trials: int | None = None
    pruner: Pruner = "none"
    costs: tuple[float, ...] = (1.0,)
    """Cost of a trial by level, as a fraction of a full evaluation: 1 for that, then one for each cheap level."""
    tolerance: float | None = None
    """An improvement of the metric below which it does not matter; None where every improvement matters."""
    sources: tuple[TrialStore, ...] = ()
    """Finished studies of the same parameters, whose trials the model is fitted to as well (sampler ``gp``)."""
    aims: Aims = field(default_factory=Aims)
    """Limits that the best trial must keep (any sampler); other metrics and time to weigh (sampler ``gp``)."""


@dataclass(frozen=True)
class Trial:
    """One set of values to evaluate.

    Attributes:
        number: its number in the store.
        values: name -> value of the tuned parameters that are active.
        seed: seed for everything random in the evaluation. The same for all trials of a study: with common random
            numbers a difference between two trials is a difference between their parameters.
        level: which of the study's cheap evaluations, from 1; 0 for a full one.
    """

    number: int
    values: Mapping[str, Value]
    seed: int
    level: int = 0


class Tuner:
    """Ask / tell over one study in the store."""

    def __init__(self, store: TrialStore, space: Space, metric: Metric, search: Search) -> None:
        self.store, self.space, self.metric, self.search = store, space, metric, search
        store.tuned = metric.name

    def start(self, alive: Collection[str] = ()) -> list[TrialRecord]:
        """Begin or resume the study: queue the user's stated values if no trial exists, release abandoned trials.

        Args:
            alive: the runs that are alive and keep their trials; without any, the caller must be the only process that
                works on the study.

        Returns:
            The trials released, as they were before.
        """
        if not self.store.trials() and self.space.stated() and not self._queued():
            self.store.study.enqueue_trial(self.space.stated())
        return self.release_abandoned(alive)

    def release_abandoned(self, alive: Collection[str]) -> list[TrialRecord]:
        """Release the running trials of all runs that are not alive.

        Values with which :data:`MOST_DEATHS` processes have died count as failed instead.
        """
        trials = self.store.trials()
        left = [trial for trial in trials if trial.state == "running" and trial.owner not in alive]
        for trial in left:
            deaths = [t for t in trials if t.state == "interrupted" and t.index == trial.index and not t.cancelled]
            if trial.index is not None and len(deaths) + 1 >= MOST_DEATHS:
                reason = f"its process died {MOST_DEATHS} times with these values"
                failed = Evaluation(Status.FAILED, reason=reason)
                self.store.tell(trial.number, failed, None, self.search.costs[trial.level])
            else:
                self.store.release(trial)
        return left

    def ask(self, *, finish: bool = False, owner: str = "", held: Mapping[str, Value] | None = None) -> Trial:
        """Propose the next trial and record it as running.

        Args:
            finish: ask for a full evaluation at the highest posterior mean, to check the answer (sampler ``gp``).
            owner: the run that will evaluate it.
            held: name -> value of the float dimensions whose value in this trial nobody chooses, such as a temperature:
                the others are proposed for it (sampler ``gp``).
        """
        from optuna.pruners import NopPruner

        index = self._next_index()
        sampler = self._sampler(index, finish=finish, held=held)
        # Hyperband would show the sampler only the trials of one bracket.
        trial = self._view(sampler, NopPruner()).ask()
        self.store.claim(trial.number, index, owner)  # before it has values: these depend on the index
        values = self.space.suggest(trial)
        asked = getattr(sampler, "asked", None)
        return Trial(trial.number, values, self.search.seed, 0 if asked is None else asked.level)

    def expects(self) -> float | None:
        """Expected improvement of the metric by the next trial; None where the sampler computes none."""
        sampler = self._sampler(self._next_index(), finish=False)
        expected: float | None = sampler.expects(self.store.study) if hasattr(sampler, "expects") else None
        return expected

    def _next_index(self) -> int:
        """Place of the next trial in the search: that of an interrupted one, else one after the last."""
        return free_index(trial.index for trial in self.counted())

    def _view(self, sampler: BaseSampler, pruner: BasePruner) -> Study:
        """The same study in the same storage, as an object with its own sampler and pruner."""
        import optuna

        study = self.store.study
        return optuna.load_study(study_name=study.study_name, storage=study._storage, sampler=sampler, pruner=pruner)

    def _sampler(self, index: int, *, finish: bool, held: Mapping[str, Value] | None = None) -> BaseSampler:
        levels = None
        sources: tuple[Study, ...] = ()
        if self.search.sampler in WITH_MODEL:
            sources = tuple(source.study for source in self.search.sources)
            levels = Levels(self.search.costs, len(sources), finish, self.search.tolerance)
        return make_sampler(
            self.search.sampler if self.space.dimensions else "random",  # nothing tuned: any proposes nothing
            self.space,
            seed=self.search.seed,
            index=index,
            startup_trials=self.search.startup_trials,
            levels=levels,
            sources=sources,
            aims=self.search.aims,
            held=held,
        )

    def watch(self, trial: Trial) -> Callable[[int, float], bool]:
        """A function that follows the learning curve of a trial: (iteration, metric) -> whether to go on.

        It goes on doing so while other trials are asked for and watched.

        Raises:
            ValueError: no pruner has the name that the search states.
        """
        pruner = optuna_pruner(self.search.pruner)
        if pruner is not None:
            return self._optuna_watch(trial, pruner)
        if self.search.pruner == "curve":
            curves, sign = self._curves(trial.level), self.metric.sign
            return lambda iteration, value: not curves.hopeless(iteration, sign * value)
        return lambda iteration, value: True

    def _optuna_watch(self, trial: Trial, pruner: BasePruner) -> Callable[[int, float], bool]:
        from optuna.samplers import RandomSampler
        from optuna.trial import Trial as OptunaTrial

        # Any sampler will do, for it is not asked; Optuna's default would be made anew each time, which is slower.
        study = self._view(RandomSampler(), pruner)
        watched = OptunaTrial(study, self.store.trial_id(trial.number))

        def goes_on(iteration: int, value: float) -> bool:
            watched.report(value, iteration)
            return not watched.should_prune()

        return goes_on

    def _curves(self, level: int) -> Curves:
        return Curves.of(self.store.trials(), self.metric, level)

    def _heading_for(self, trial: Trial, evaluation: Evaluation) -> float | None:
        """Predicted final value of a stopped trial's metric; None where it cannot be predicted."""
        curve = evaluation.curve.get(self.metric.name, ())
        if evaluation.status is not Status.STOPPED or not curve:
            return None
        prediction = self._curves(trial.level).heading_for(len(curve), self.metric.sign * curve[-1])
        return None if prediction is None else self.metric.sign * prediction

    def tell(self, trial: Trial, evaluation: Evaluation, *, done: float = 1.0, kept: bool = False) -> TrialRecord:
        """Store the evaluation of a trial. A complete evaluation without a finite tuned metric counts as failed.

        Args:
            trial: the trial, as :meth:`ask` returned it.
            evaluation: the result of evaluating it.
            done: share of the evaluation that was done before it was stopped.
            kept: whether it left files in its folder.
        """
        evaluation, value = self._judged(evaluation)
        cost = self.search.costs[trial.level] * done
        heading_for = self._heading_for(trial, evaluation)
        return self.store.tell(trial.number, evaluation, value, cost, heading_for, kept=kept)

    def tell_known(
        self, values: Mapping[str, Value], evaluation: Evaluation, *, replaces: TrialRecord | None = None
    ) -> TrialRecord:
        """Store an evaluation that was made elsewhere: it costs nothing, and takes a place in the search like others.

        Args:
            values: name -> value of every tuned parameter that is active at these values, within its range.
            evaluation: what it yielded, in full (not at one of the cheap levels) and to its end.
            replaces: the trial whose evaluation this is, at other values than were asked for (what was set is not what
                was read) or after its release. It is released where it still runs, and this one takes its place.

        Raises:
            InputError: a value is missing, unknown or outside its range.
            ValueError: the evaluation was stopped.
        """
        if evaluation.status is Status.STOPPED:
            raise ValueError("an evaluation that was stopped says nothing that can be told")
        active = self.space.active(values)
        problems = [
            Problem(f"values.{name}", *trouble)
            for name in [*self.space.names, *(name for name in values if name not in self.space.names)]
            if (trouble := self._trouble_with(name, values, active))
        ]
        if problems:
            raise InputError(problems)
        evaluation, value = self._judged(evaluation)
        known = {name: values[name] for name in self.space.names if name in active}
        distributions = {name: found for name, found in self.space.distributions().items() if name in active}
        if replaces is not None and replaces.state == "running":
            self.store.release(replaces, cancelled=True, again=False)
        number = None if replaces is None else replaces.number
        return self.store.add(known, distributions, evaluation, value, self._next_index(), number)

    def _trouble_with(self, name: str, values: Mapping[str, Value], active: Collection[str]) -> tuple[str, str] | None:
        """What is wrong with a value that is told, and what would be right; None where nothing is."""
        dimension = next((d for d in self.space.dimensions if d.name == name), None)
        if dimension is None:
            return "the study tunes no such parameter", near_miss(name, self.space.names)
        if name not in values:
            return ("has no value", "give it") if name in active else None
        if name not in active:
            return "has no effect beside the other values", "leave it out"
        if dimension.contains(values[name]):
            return None
        if dimension.type == "categorical":
            return f"'{values[name]}' is not a choice", f"one of: {', '.join(dimension.choices)}"
        return f"{values[name]} is outside the range", f"from {dimension.low:g} to {dimension.high:g}"

    def _judged(self, evaluation: Evaluation) -> tuple[Evaluation, float | None]:
        """The evaluation and its tuned metric; one that is complete without a finite metric has failed."""
        value = evaluation.metrics.get(self.metric.name) if evaluation.status is Status.COMPLETE else None
        if evaluation.status is Status.COMPLETE and (value is None or not math.isfinite(value)):
            reason = f"the evaluation reported {self.metric.name} = {value}"
            return replace(evaluation, status=Status.FAILED, reason=reason), None
        return evaluation, value

    def counted(self) -> list[TrialRecord]:
        """The trials that count against the budget: all that were started, without the interrupted ones."""
        return [trial for trial in self.store.trials() if trial.state != "interrupted"]

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the best tuned metric that keeps the limits; None where there is none."""
        return best_of(self.store.trials(), self.metric, self.search.aims.of_answers)

    def _queued(self) -> bool:
        from optuna.trial import TrialState

        return bool(self.store.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
