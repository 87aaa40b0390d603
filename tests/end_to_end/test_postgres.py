"""A study in PostgreSQL, which several machines may share."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError

from autotune.objective import Metric
from autotune.retrying import passing_trouble
from autotune.store.postgres import server_url, session_lock
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from tests.end_to_end.postgres import PASSWORD, Server, postgres_server
from tests.end_to_end.studies import STUDY, Place, autotune

pytestmark = pytest.mark.slow

SLOW = {"name": "tests.end_to_end.studies:quick", "iterations": 4, "seconds_per_iteration": 0.05}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def storage(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUTOTUNE_STORAGE", server.url)
    return server.url


def trials_of(url: str, name: str) -> list[TrialRecord]:
    store = TrialStore.open(url, name)
    return [] if store is None else store.trials()


def files_with_password(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize("how", ["fast", "immediate"])  # told to end; ended in the middle of everything
def test_two_runs_share_a_study_through_a_restart(
    how: str, server: Server, storage: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    name, budget = f"shared-{how}", 40
    execution = {"executor": "process", "workers": 2}
    place.write(STUDY, name=name, objective=SLOW, budget={"trials": budget}, execution=execution)
    processes = [place.start("run", "study.yaml", "--json", f"{i}.json") for i in range(2)]
    while sum(trial.state == "finished" for trial in trials_of(storage, name)) < 10:
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        time.sleep(0.1)
    server.do("restart", "-m", how)
    outputs = [process.communicate(timeout=150) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trials = trials_of(storage, name)
    counted = [trial for trial in trials if trial.state != "interrupted"]
    assert [trial.state for trial in counted] == budget * ["finished"]
    assert sorted(trial.index for trial in counted) == list(range(budget))  # type: ignore[type-var]
    assert len({tuple(trial.values.values()) for trial in counted}) == budget
    told = [re.findall(r"^trial (\d+) ", output, flags=re.MULTILINE) for output, _ in outputs]
    assert sorted(int(number) for numbers in told for number in numbers) == [trial.number for trial in counted]
    assert all(len(numbers) > 5 for numbers in told)
    assert any("Waiting: the trial store does not answer" in output for output, _ in outputs)
    kept = {int(path.name) for path in (place.home.study(name) / "trials").iterdir()}
    assert {trial.number for trial in counted} <= kept
    assert not (place.home.folder / "trials.db").exists()

    capsys.readouterr()
    assert autotune("result", name, "--json") == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["status"] == "finished"
    assert shown["trials"] == {"finished": budget, "failed": 0, "pruned": 0}
    assert shown == json.loads((place.folder / "0.json").read_text())
    assert shown["best_trial"] in {trial.number for trial in counted}


def test_the_password_is_nobodys_business(
    storage: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(STUDY, name="secret", tracking={"enabled": True}, execution={"executor": "process"})
    assert autotune("run", "study.yaml") == 0
    assert autotune("result", "secret") == 0
    assert autotune("--debug", "result", "unknown") == 2
    wrong = storage.replace(PASSWORD, f"{PASSWORD}-at-all")
    monkeypatch.setenv("AUTOTUNE_STORAGE", wrong)
    before = capsys.readouterr()
    assert autotune("run", "study.yaml") == 2
    said = capsys.readouterr()
    assert "Error: AUTOTUNE_STORAGE: PostgreSQL on 127.0.0.1, port " in said.err
    assert "password authentication failed" in said.err and "Traceback" not in said.err
    for text in (before.out, before.err, said.out, said.err):
        assert PASSWORD not in text
    assert files_with_password(place.folder) == []


def test_a_server_that_is_not_there_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOTUNE_STORAGE", f"postgresql://tuner:{PASSWORD}@127.0.0.1:1/postgres")
    for command in (["run", place.write()], ["result", "toy"]):
        assert autotune(*command) == 2
        said = capsys.readouterr().err
        assert "PostgreSQL on 127.0.0.1, port 1, database postgres cannot be opened" in said and PASSWORD not in said


def test_one_holder_at_a_time(server: Server) -> None:
    url = server_url(server.url)
    with session_lock(url, "a"):
        with session_lock(url, "b", timeout=0):
            pass
        with pytest.raises(TimeoutError, match=r"another process holds"), session_lock(url, "a", timeout=0.1):
            pass
    with session_lock(url, "a", timeout=0):
        pass


def test_who_lost_the_lock_gets_nothing_done(server: Server) -> None:
    """After a restart another run may hold the study: this one must not write in the belief that it does."""
    store = TrialStore.create(server.url, "fenced", Metric("consistency", "maximize"), {})
    with pytest.raises(StorageInternalError) as raised, session_lock(server_url(server.url), "x"):
        store.set_fact("before", 1)
        server.do("restart", "-m", "fast")
        # As another thread's lost connection has it: the next one is new, and works.
        store.study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        store.set_fact("after", 1)
    words = "the trial store does not answer: the session that holds the study's lock was ended"
    assert passing_trouble(raised.value) == words
    assert "before" in store.facts and "after" not in store.facts
    with session_lock(server_url(server.url), "x", timeout=1):
        store.set_fact("after", 2)
    assert store.facts["after"] == 2
