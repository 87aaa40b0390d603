"""The generator: ``suggest`` asks the tuner, ``ingest`` tells it, and all state is in the trial store."""

from __future__ import annotations

import copy
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import gest_api.generator
from gest_api.vocs import VOCS

from autotune.errors import AutotuneError
from autotune.home import STORAGE_VARIABLE
from autotune.integrations.gest.memory import create_in_memory
from autotune.integrations.gest.problem import ID, GestProblem, Options, problem_of
from autotune.integrations.gest.results import Result, number_in, read_result
from autotune.integrations.gest.variables import differ
from autotune.objective import Evaluation, Status, Value
from autotune.problem.space import Space
from autotune.search.tuner import Search, Trial, Tuner
from autotune.store.database import database_file
from autotune.store.records import TrialRecord, front_of
from autotune.store.trials import TrialStore

_PROBLEM = "gest:problem"
"""Fact of a study: the problem that it is about."""


class Generator(gest_api.generator.Generator):  # type: ignore[misc]
    """The tuner as a generator of gest-api 0.2.

    A point's ``_id`` is the number of its trial. A result without an objective, or where one is NaN or infinite, is a
    failed evaluation: the search avoids its surroundings.

    A contextual variable is observed, not set: ``suggest`` leaves it out, every complete result states it, and the next
    points are proposed for the value that was observed last (before that, for its ``default_value``).

    **Copies.** Without ``database``, a deep copy (or a pickle) has a copy of all trials and shares nothing with the
    original: each may go on alone. With ``database``, a copy works on the same study: both know all points and results,
    whoever suggested or ingested them, and ``finalize`` releases the copy's own points.

    Args:
        vocs: the problem. The generator keeps a copy; changes of the VOCS after that have no effect.
        sampler: how points are proposed, as ``search.sampler`` in a study file.
        seed: equal seeds, points and results give equal suggestions. 0 or more.
        startup_trials: points before the first model; None for the sampler's default.
        log: names of the continuous variables whose scale is logarithmic.
        gradients: name of a continuous variable -> name of the observable that is the derivative of the first
            objective by it, per unit of the variable.
        database: SQLAlchemy URL of the database that holds the trials, such as ``sqlite:///trials.db``; None to keep
            them in memory. Points that an earlier process left without a result are released, so one process at a time
            may work on a study; their results are still taken.
        study: name of the study in the database.

    Raises:
        ValueError: the tuner cannot search this VOCS, an option is wrong, or the database has another problem under
            this name, or cannot be opened.
    """

    returns_id = True

    def __init__(
        self,
        vocs: VOCS,
        *,
        sampler: str = "gp",
        seed: int = 0,
        startup_trials: int | None = None,
        log: Sequence[str] = (),
        gradients: Mapping[str, str] | None = None,
        database: str | None = None,
        study: str = "gest",
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed is {seed}; it must be 0 or more")
        if isinstance(log, str):
            raise ValueError(f"log is a list of names, not one text: {log!r}")
        self._options = Options(sampler, seed, startup_trials, tuple(log), dict(gradients or {}))
        super().__init__(vocs)  # validates
        self._vocs = copy.deepcopy(vocs)
        self._study, self._owner = study, uuid.uuid4().hex
        with _as_value_errors():
            self._database = None if database is None else _lasting(database)
            self._take(self._opened())
            self._tuner().start()

    @property
    def vocs(self) -> VOCS:
        """The problem. It cannot be replaced: make another generator, and ``ingest`` what is known."""
        return self._vocs

    def _validate_vocs(self, vocs: VOCS) -> None:
        """Raise ValueError where the tuner cannot search this VOCS, or not with the options."""
        problem_of(vocs, self._options)

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Propose points, and count them as pending until their results are ingested or they are released.

        Args:
            num_points: how many; None for one.

        Returns:
            Exactly that many dicts: ``_id``, every variable that is not contextual, every constant.

        Raises:
            ValueError: ``num_points`` is negative, or the sampler cannot propose a point.
        """
        count = 1 if num_points is None else num_points
        if count < 0:
            raise ValueError(f"num_points is {count}; it must be 0 or more")
        with _as_value_errors():
            return [self._suggested() for _ in range(count)]

    def ingest(self, results: list[dict[str, Any]]) -> None:
        """Store results: all of them, or none where one is wrong.

        Args:
            results: one dict per point, with its objectives, constraints, observables and contextual variables. With
                the ``_id`` of a suggested point, variables may be left out, or have the values at which the point was
                really evaluated. Without ``_id``, or where that is None or NaN, the point comes from elsewhere, and
                states every variable. A result that is ingested again changes nothing.

        Raises:
            ValueError: an ``_id`` is unknown, stands twice, or has another result already; a value is not possible; a
                variable, or the contextual variable of a complete result, is missing.
        """
        read = [read_result(result, self._problem, self._options.gradients) for result in results]
        records = {record.number: record for record in self._store.trials()}
        self._require_new_or_equal(read, records)
        with _as_value_errors():
            tuner = self._tuner([result.context for result in read])
            for result in read:
                self._keep(result, records, tuner)

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Store that the evaluation of suggested points failed; blop calls this. Those with a result keep it.

        Raises:
            ValueError: a point has no ``_id``, or an unknown one.
        """
        numbers = [number_in(suggestion) for suggestion in suggestions]
        records = {record.number: record for record in self._store.trials()}
        found = [self._suggested_trial(number, records) for number in numbers]
        for record in found:
            if record.state == "running":
                self._tell(record, Evaluation(Status.FAILED, reason="its evaluation failed"), self._tuner())

    def get_best_points(self) -> list[tuple[int, dict[str, Any], dict[str, float]]]:
        """The best points found that keep all constraints; empty where there is none.

        Returns:
            For one objective the best point, for several the Pareto front, sorted by the first objective. Each is a
            tuple of ``_id`` (of a point from elsewhere: the number it was given), variables, and outcomes: objectives,
            constraints, and the observables that are numbers.
        """
        problem, best = self._problem, self._tuner().best
        found = [] if best is None else [best]
        if len(problem.metrics) > 1:
            found = front_of(self._store.trials(), problem.metrics, problem.limits)
        return [
            (
                record.number if record.replaces is None else record.replaces,
                self._decoded(record.values),
                {**record.metrics},
            )
            for record in found
        ]

    def finalize(self) -> None:
        """Release the points that this generator suggested and that have no result: nothing is pending any more.

        Their results are still taken, each as a trial of its own. The generator may be used again.
        """
        for record in self._store.trials():
            if record.state == "running" and record.owner == self._owner:
                self._store.release(record, cancelled=True)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_opened_store", "_inherited")}
        return state | {"_storage": self._store.study._storage if self._database is None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import optuna

        storage = state.pop("_storage")
        self.__dict__.update(state)
        if storage is not None:
            self._take(TrialStore(optuna.load_study(study_name=self._study, storage=storage)))
        else:
            self._take(self._opened())
            self._owner = uuid.uuid4().hex

    def _take(self, store: TrialStore) -> None:
        self._opened_store, self._process = store, os.getpid()

    @property
    def _store(self) -> TrialStore:
        """The trial store. A process that was forked with a database opens it anew: connections survive no fork."""
        if self._database is not None and self._process != os.getpid():
            self._inherited = self._opened_store  # kept, since closing its connections would disturb the parent's
            self._take(self._opened())
            self._owner = uuid.uuid4().hex
        return self._opened_store

    @cached_property
    def _problem(self) -> GestProblem:
        return problem_of(self._vocs, self._options)

    def _opened(self) -> TrialStore:
        """The study in the database or in memory, created where there is none."""
        problem = self._problem
        if self._database is None:
            return create_in_memory(self._study, problem.metrics[0])
        store = TrialStore.open(self._database, self._study)
        if store is None:
            facts = {_PROBLEM: problem.as_dict()}
            return TrialStore.create(self._database, self._study, problem.metrics[0], facts)
        if store.facts.get(_PROBLEM) != problem.as_dict():
            raise ValueError(f"the study '{self._study}' in the database is of another VOCS; give study another name")
        return store

    def _tuner(self, observed: Sequence[Mapping[str, float]] = ()) -> Tuner:
        """A tuner of the study as it is; further observed contexts widen their ranges."""
        problem, options = self._problem, self._options
        known: dict[str, list[float]] = {context.name: [] for context in problem.contexts}
        if known:
            contexts = [self._context(), *(record.values for record in self._store.trials()), *observed]
            known = {name: [float(c[name]) for c in contexts if name in c] for name in known}
        search = Search(options.sampler, options.seed, options.startup_trials, aims=problem.aims)
        return Tuner(self._store, problem.space(known), problem.metrics[0], search)

    def _context(self) -> dict[str, Value]:
        """Contextual variable -> its value for the next point: the one observed last, else its default."""
        context: dict[str, Value] = {c.name: c.default for c in self._problem.contexts if c.default is not None}
        names = [c.name for c in self._problem.contexts]
        ended = [record for record in self._store.trials() if names and record.ended is not None]
        for record in sorted(ended, key=lambda record: (record.ended, record.number)):
            context |= {name: record.values[name] for name in names if name in record.values}
        return context

    def _suggested(self) -> dict[str, Any]:
        trial = self._tuner().ask(owner=self._owner, held=self._context())
        values = self._decoded(trial.values) | dict(self._problem.held)
        names = [name for name in [*self._vocs.variables, *self._vocs.constants] if name in values]
        contexts = {c.name for c in self._problem.contexts}
        return {ID: trial.number} | {name: values[name] for name in names if name not in contexts}

    def _decoded(self, stored: Mapping[str, Value]) -> dict[str, Any]:
        """A trial's values as the VOCS has them, observed ones included."""
        problem = self._problem
        values = {v.name: v.decode(stored[v.name]) for v in problem.variables if v.name in stored}
        fixed = {name: value for name, value in problem.held.items() if name in self._vocs.variables}
        return values | fixed | {c.name: stored[c.name] for c in problem.contexts if c.name in stored}

    def _suggested_trial(self, number: int | None, records: Mapping[int, TrialRecord]) -> TrialRecord:
        """The trial that a point was suggested by; points from elsewhere have an empty owner."""
        record = None if number is None else records.get(number)
        if record is None or not record.owner:
            raise ValueError(f"no point with '{ID}' {number!r} was suggested by this generator")
        return record

    def _require_new_or_equal(self, read: Sequence[Result], records: Mapping[int, TrialRecord]) -> None:
        numbers = [result.number for result in read if result.number is not None]
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise ValueError(f"two results have '{ID}' {twice}")
        for result in read:
            if result.number is None:
                continue
            record = _evaluated(self._suggested_trial(result.number, records), records)
            before, now = record.metrics, result.evaluation.metrics
            if record.state == "finished" and any(before[m.name] != now.get(m.name) for m in self._problem.metrics):
                remedy = f"leave '{ID}' out for another measurement at the same point"
                raise ValueError(f"the point with '{ID}' {result.number} has another result already; {remedy}")

    def _keep(self, result: Result, records: Mapping[int, TrialRecord], tuner: Tuner) -> None:
        """Store one result that has been checked."""
        record = None if result.number is None else records[result.number]
        stated: dict[str, Value] = {**result.values, **result.context}
        if record is None:
            self._tell_elsewhere(stated, result.evaluation, tuner)
            return
        ended = _evaluated(record, records).state
        if ended == "finished" or (ended != "running" and result.evaluation.status is not Status.COMPLETE):
            return  # known, or nothing new: it has failed, or nobody waits for it
        if ended == "running" and not self._moved(record, stated, tuner.space):
            self._tell(record, result.evaluation, tuner)
        else:
            self._tell_elsewhere({**record.values, **stated}, result.evaluation, tuner, record)

    def _moved(self, record: TrialRecord, stated: Mapping[str, Value], space: Space) -> bool:
        """Whether a point was evaluated at other values than those suggested, or in another context than assumed."""
        dimensions = {dimension.name: dimension for dimension in space.dimensions}
        return any(
            name not in record.values or differ(dimensions[name], value, record.values[name])
            for name, value in stated.items()
        )

    def _tell(self, record: TrialRecord, evaluation: Evaluation, tuner: Tuner) -> None:
        tuner.tell(Trial(record.number, record.values, self._options.seed), evaluation)

    def _tell_elsewhere(
        self,
        values: Mapping[str, Value],
        evaluation: Evaluation,
        tuner: Tuner,
        replaces: TrialRecord | None = None,
    ) -> None:
        """Store a point that the tuner has not asked for, or not just there, or no longer waits for."""
        space: Space = tuner.space
        unknown = [name for name in space.names if name not in values]
        if not unknown:
            tuner.tell_known(values, evaluation, replaces=replaces)
            return
        # A failure whose context nobody observed: it is known where it happened, but for that.
        without = Space(tuple(d for d in space.dimensions if d.name not in unknown))
        Tuner(tuner.store, without, tuner.metric, tuner.search).tell_known(values, evaluation, replaces=replaces)


def _evaluated(record: TrialRecord, records: Mapping[int, TrialRecord]) -> TrialRecord:
    """The trial that has the result of a suggested one: itself, unless another one replaces it."""
    return next((other for other in records.values() if other.replaces == record.number), record)


def _lasting(database: str) -> str:
    """The URL of a database that copies can open too, wherever their processes work.

    Raises:
        ValueError: it is of a SQLite database in memory, which belongs to one connection.
    """
    file = database_file(database)
    if file is None:
        if database.startswith("sqlite"):
            raise ValueError(f"database: {database} is in memory; leave it out to keep the trials there")
        return database
    from sqlalchemy.engine import make_url

    return make_url(database).set(database=str(file.resolve())).render_as_string(hide_password=False)


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """The errors of autotune as ValueError, as gest-api has them."""
    try:
        yield
    except AutotuneError as error:
        # The store thinks of the variable that names the database of the command line.
        places = [replace(p, where="database") if p.where == STORAGE_VARIABLE else p for p in error.problems]
        raise ValueError("\n".join(map(str, places))) from error
