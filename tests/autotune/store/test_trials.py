"""The trial store: what goes in comes out, in another process too, and looking creates nothing."""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path

import numpy as np
import optuna
import pytest

from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.store.records import INTERRUPTED, evaluation_of, free_index, plain_evaluation
from autotune.store.sqlite import SqliteDatabase, readable_url, sqlite_path
from autotune.store.trials import TrialStore, study_names

METRIC = Metric("consistency", "maximize")
SPACE = Space(
    (
        Dimension("shift", "angstrom", low=-2.0, high=2.0),
        Dimension("rate", low=1e-3, high=1.0, log=True),
        Dimension("passes", type="int", low=1, high=8),
        Dimension("method", type="categorical", choices=("plain", "fast")),
    )
)
VALUES = {"shift": 0.1 + 0.2, "rate": 1 / 300, "passes": 7, "method": "fast"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'my home' / 'trials.db'}"


def reopened(url: str, name: str = "s") -> TrialStore:
    store = TrialStore.open(url, name)
    assert store is not None
    return store


def ask(store: TrialStore, values: dict[str, object] = VALUES) -> int:
    store.study.enqueue_trial(values)
    return store.study.ask(SPACE.distributions()).number


def test_looking_creates_nothing(url: str, tmp_path: Path) -> None:
    assert TrialStore.open(url, "s") is None
    assert study_names(url) == []
    assert list(tmp_path.iterdir()) == []


def test_all_studies_are_read_from_a_store_that_is_opened_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrialStore.open_all(url) == []
    for name in ("s", "t", "u"):
        TrialStore.create(url, name, METRIC, {"study_id": name})
    optuna.create_study(study_name="stub", storage=url)  # its creation was cut short
    opened: list[SqliteDatabase] = []
    real = SqliteDatabase.open
    monkeypatch.setattr(SqliteDatabase, "open", lambda database: (opened.append(database), real(database))[1])
    stores = TrialStore.open_all(url)
    assert [(store.study.study_name, store.facts["study_id"]) for store in stores] == [(n, n) for n in ("s", "t", "u")]
    assert len(opened) == 1


def test_facts_and_names(url: str) -> None:
    TrialStore.create(url, "s", METRIC, {"study_id": "a1", "space": SPACE.as_dict()})
    TrialStore.create(url, "t", METRIC, {})
    store = reopened(url)
    store.keep(seconds=1.5)
    facts = reopened(url).facts
    assert (facts["study_id"], facts["space"], facts["seconds"]) == ("a1", SPACE.as_dict(), 1.5)
    assert sorted(study_names(url)) == ["s", "t"]
    assert TrialStore.open(url, "u") is None
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        TrialStore.create(url, "t", METRIC, {})


def test_an_evaluation_comes_back_as_it_was_told(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {})
    told = Evaluation(
        Status.COMPLETE,
        metrics={"consistency": np.float32(0.75), "error": 0.1},
        gradient={"shift": np.float64(-1 / 3)},
        curve={"consistency": [math.nan, 0.5, np.float32(0.75)]},
        arrays={"object": np.zeros(3)},
        seconds=np.float64(2.5),
    )
    record = store.tell(ask(store), told, 0.75)
    (kept,) = reopened(url).trials()
    assert math.isnan(kept.curve["consistency"][0])
    assert list(kept.curve["consistency"][1:]) == [0.5, 0.75]
    assert (kept.number, kept.state, kept.values) == (0, "finished", VALUES)
    assert [type(kept.values[name]) for name in VALUES] == [float, float, int, str]
    assert (kept.metrics, kept.gradient) == ({"consistency": 0.75, "error": 0.1}, {"shift": -1 / 3})
    assert (kept.seconds, kept.reason) == (2.5, "")
    assert kept.started is not None and kept.ended is not None and kept.started <= kept.ended
    assert (record.values, record.metrics, record.ended) == (kept.values, kept.metrics, kept.ended)


def test_states(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {})
    store.tell(ask(store), Evaluation(Status.FAILED, reason="out of memory"), None)
    store.tell(ask(store), Evaluation(Status.DIVERGED, reason="NaN"), None)
    store.tell(ask(store), Evaluation(Status.STOPPED, {"consistency": 0.1}, reason="stopped"), None)
    ask(store)
    store.study.enqueue_trial(VALUES)  # waiting: nothing was started
    kept = reopened(url).trials()
    assert [trial.state for trial in kept] == ["failed", "failed", "pruned", "running"]
    assert [trial.reason for trial in kept] == ["out of memory", "NaN", "stopped", ""]
    assert kept[2].metrics == {"consistency": 0.1}
    assert kept[3].values == VALUES and kept[3].ended is None


def test_release(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {})
    ask(store, {"shift": 0.25})
    store.study.ask(SPACE.distributions())
    for trial in reopened(url).trials():
        reopened(url).release(trial)
    assert [trial.state for trial in reopened(url).trials()] == ["interrupted", "interrupted"]
    waiting = [trial for trial in reopened(url).study.trials if trial.state == optuna.trial.TrialState.WAITING]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [{"shift": 0.25}]
    assert reopened(url).study.trials[0].user_attrs[INTERRUPTED] is True


def test_archive_frees_the_name_and_keeps_everything(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {"study_id": "a1"})
    store.tell(ask(store), Evaluation(Status.COMPLETE, {"consistency": 0.5}), 0.5)
    ask(store)
    before = store.trials()
    archived = store.archive(url, "old")
    assert archived.trials() == reopened(url, "old").trials() == before
    assert archived.facts["study_id"] == "a1"
    assert TrialStore.open(url, "s") is None
    assert TrialStore.create(url, "s", METRIC, {}).trials() == []


def test_a_creation_cut_short_is_made_up_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(BaseException):
        """As a signal."""

    set_fact = TrialStore.set_fact

    def cut(store: TrialStore, key: str, value: object) -> None:
        if key == "space":
            raise Cut
        set_fact(store, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(TrialStore, "set_fact", cut)
        with pytest.raises(Cut):
            TrialStore.create(url, "s", METRIC, {"study_id": "a1", "space": []})
    assert study_names(url) == ["s"]
    assert TrialStore.open(url, "s") is None
    TrialStore.create(url, "s", METRIC, {"study_id": "b2", "space": []})
    assert reopened(url).facts["study_id"] == "b2"


def test_two_may_create_the_store_at_once(url: str) -> None:
    ready, errors = threading.Barrier(6), []

    def create(name: str) -> None:
        ready.wait()
        try:
            TrialStore.create(url, name, METRIC, {"study_id": name})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(f"s{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {reopened(url, f"s{i}").facts["study_id"] for i in range(6)} == {f"s{i}" for i in range(6)}


def test_the_file_is_written_through_a_log_and_to_the_disk(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {})
    engine = store.study._storage._backend.engine  # type: ignore[attr-defined]
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_who_may_only_read_needs_no_log(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would create files beside a log that has ended; root may do so anywhere, so this looks at the URL."""
    path = sqlite_path(url)
    assert path is not None
    store = TrialStore.create(url, "s", METRIC, {})
    store.tell(ask(store), Evaluation(Status.COMPLETE, {"consistency": 0.5}), 0.5)
    told = store.trials()
    assert readable_url(url, path) == url
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert readable_url(url, path) == url  # someone writes now
    store.study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    assert not path.with_name(f"{path.name}-wal").exists()
    assert "immutable=1" in readable_url(url, path)
    assert reopened(url).trials() == told
    assert not path.with_name(f"{path.name}-wal").exists()


def test_telling_twice_is_telling_once(url: str) -> None:
    store = TrialStore.create(url, "s", METRIC, {})
    number = ask(store)
    first = store.tell(number, Evaluation(Status.COMPLETE, {"consistency": 0.5}), 0.5)
    assert store.tell(number, Evaluation(Status.COMPLETE, {"consistency": 0.7}), 0.7) == first
    assert reopened(url).trials() == [first]


def test_what_was_released_is_not_told(url: str) -> None:
    store, other = TrialStore.create(url, "s", METRIC, {}), reopened(url)
    number = ask(store)
    other.release(other.trials()[0])
    record = store.tell(number, Evaluation(Status.COMPLETE, {"consistency": 0.5}), 0.5)
    assert (record.state, record.metrics) == ("interrupted", {})
    assert [trial.state for trial in reopened(url).trials()] == ["interrupted"]


def test_an_evaluation_survives_being_made_plain() -> None:
    curve = {"consistency": [0.1, float("nan")]}
    for evaluation in (
        Evaluation(
            Status.COMPLETE, {"consistency": 0.5}, {"shift": 1.5}, curve, seconds=2.0, confounded={"shift": 0.5}
        ),
        Evaluation(Status.FAILED, reason="no"),
    ):
        again = evaluation_of(json.loads(json.dumps(plain_evaluation(evaluation))))
        assert repr(again) == repr(evaluation)


@pytest.mark.parametrize(
    ("taken", "index"), [([], 0), ([0, 1], 2), ([1, 2], 0), ([2, 0, 3], 1), ([None, None], 2), ([0, None, 1], 3)]
)
def test_the_free_place(taken: list[int | None], index: int) -> None:
    assert free_index(taken) == index
