"""Resume a study: find it in the trial store, and see that it is still the same study."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from autotune.errors import InputError, Problem
from autotune.files import write_json
from autotune.home import Home
from autotune.objective import Objective
from autotune.objective.identity import content_hash_of
from autotune.problem.space import Space
from autotune.results.build import build_result
from autotune.store.facts import plain_facts
from autotune.store.leases import alive
from autotune.store.records import best_of
from autotune.store.trials import TrialStore
from autotune.study import Plan, StudyFile


def make_folder(name: str, home: Home) -> Path:
    """The study's folder, made where there is none.

    Raises:
        InputError: the home cannot be written.
    """
    folder = home.study(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the folder cannot be made: {error.strerror} ({error.filename})"
        raise InputError(Problem(str(folder), what, "set AUTOTUNE_HOME to a folder you may write to")) from error
    return folder


def resume_or_create(file: StudyFile, objective: Objective, plan: Plan, home: Home, *, fresh: bool) -> TrialStore:
    """The study's store: the existing one where it is of the same study, a new one where there is none.

    The study's lock must be held (:func:`autotune.store.locks.exclusive`).

    Args:
        file, objective, plan: the study to run.
        home: the folder of the studies.
        fresh: keep an earlier study of that name under another name, and begin anew.

    Raises:
        InputError: the study of that name differs from the one given, or ``fresh`` while it is being run.
    """
    name = file.spec.name
    store = TrialStore.open(home.store_url, name)
    if store is not None and fresh and alive(store):
        advice = "wait for it, or give this one another name with --set name=NAME"
        raise InputError(Problem(f"study {name}", "is being run by another process", advice))
    if store is not None and fresh:
        _archive(store, name, home)
        store = None
    if store is not None:
        require_same(store, file, objective, plan, "begin anew with --fresh (the old one is kept)")
        if store.facts.limits != plan.aims.of_answers:  # an earlier version knew no twins
            store.keep(limits=plan.aims.of_answers)
        return store
    return TrialStore.create(
        home.store_url,
        name,
        plan.metric,
        plain_facts(
            study_id=uuid.uuid4().hex,
            identity=_identity(file, objective),
            metric=plan.metric,
            limits=plan.aims.of_answers,
            against=plan.aims.against,
            space=plan.space,
            seed=file.spec.search.seed,
        ),
    )


def require_same(store: TrialStore, file: StudyFile, objective: Objective, plan: Plan, way_out: str) -> None:
    """See that a study in the store is the one that the file describes.

    Args:
        store: the study of that name.
        file, objective, plan: the study that is given.
        way_out: the remedy to name where they differ.

    Raises:
        InputError: they differ; its text lists the differences.
    """
    # Which metric is tuned follows from more than the file's block ``metric``.
    stored = store.facts
    before = {**stored.identity, "metric tuned": stored.metric.name}
    after = _identity(file, objective) | {"metric tuned": plan.metric.name}
    _require_same(file.spec.name, before, after, file.identity(stated=True), way_out)
    if other := _acting_otherwise(stored.space, plan.space):
        what = f"was begun by a version whose derivatives of {', '.join(other)} were by another quantity"
        raise InputError(Problem(f"study {file.spec.name}", what, way_out))


def _acting_otherwise(before: Space, now: Space) -> list[str]:
    """Names of the parameters that act by their square in one of two spaces only."""
    acts = {d.name: d.by_square for d in before.dimensions}
    return [d.name for d in now.dimensions if acts.get(d.name, d.by_square) != d.by_square]


def _identity(file: StudyFile, objective: Objective) -> dict[str, Any]:
    return file.identity() | {"content_hash": content_hash_of(objective)}


def sources_of(file: StudyFile, plan: Plan, home: Home) -> tuple[TrialStore, ...]:
    """The finished studies that the study starts from (``search.warm_start``).

    Raises:
        InputError: one is not there, has no finished trial, or tunes other parameters or another metric.
    """
    problems: list[Problem] = []
    stores: list[TrialStore] = []
    for name in file.spec.search.warm_start:
        store = None if name == file.spec.name else TrialStore.open(home.store_url, name)
        what = _unfit(store, plan)
        if what:
            problems.append(
                file.problem("search.warm_start", f"{name} {what}", "name a finished study of the same kind")
            )
        elif store is not None:
            stores.append(store)
    if problems:
        raise InputError(problems)
    return tuple(stores)


def _unfit(store: TrialStore | None, plan: Plan) -> str:
    """Why a study cannot learn from another; empty where it can."""
    if store is None:
        return "is no other study here"
    facts = store.facts
    if (facts.metric.name, facts.metric.goal) != (plan.metric.name, plan.metric.goal):
        return f"tunes {facts.metric.name}, not {plan.metric.name}"
    if best_of(store.trials(), plan.metric) is None:
        return "has no finished trial"
    theirs, ours = ({(d.name, d.type) for d in space.dimensions} for space in (facts.space, plan.space))
    if theirs != ours:
        names = sorted({name for name, _ in theirs ^ ours})
        return f"does not tune the same parameters ({', '.join(names)})"
    if other := _acting_otherwise(facts.space, plan.space):
        return f"has derivatives of {', '.join(other)} by another quantity, since an earlier version made it"
    return ""


def _archive(store: TrialStore, name: str, home: Home) -> None:
    """Keep an earlier study, with its artifacts, under NAME.before-TIME."""
    kept = f"{name}.before-{datetime.now():%Y%m%d-%H%M%S-%f}"
    archived = store.archive(home.store_url, kept)
    home.study(kept).mkdir(parents=True)
    for entry in home.study(name).iterdir():
        shutil.move(entry, home.study(kept) / entry.name)
    # The file that was moved holds the old name and the old paths.
    write_json(home.study(kept) / "result.json", build_result(archived, home, live=False).as_dict())


def _require_same(
    name: str, stored: Mapping[str, Any], given: Mapping[str, Any], stated: Mapping[str, Any], way_out: str
) -> None:
    """Raise InputError with the differences between the stored study and the given one, where there are any.

    A default that the stored study lacks is no difference: an older version had no such key, and did what it says.
    """
    before, after = _leaves(stored), _leaves(json.loads(json.dumps(given)))
    new = after.keys() - before.keys() - {"metric tuned", "content_hash"}
    after = {place: text for place, text in after.items() if place not in new - _leaves(stated).keys()}
    lines = []
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            lines += [f"- {place}: {before[place]}"] if place in before else []
            lines += [f"+ {place}: {after[place]}"] if place in after else []
    if lines:
        raise InputError(
            Problem(
                f"study {name}",
                "differs from the one of this name that was begun",
                f"{way_out}, or give it another name with --set name=NAME. "
                "The difference (- begun, + now):\n  " + "\n  ".join(lines),
            )
        )


def _leaves(data: Any, place: str = "") -> dict[str, str]:
    """Plain data as dotted place -> value in JSON, so that every line of a comparison names its place."""
    if not isinstance(data, Mapping) or not data:
        return {place: json.dumps(data, ensure_ascii=False)}
    return {
        inner: text
        for key, value in data.items()
        for inner, text in _leaves(value, f"{place}.{key}" if place else str(key)).items()
    }
