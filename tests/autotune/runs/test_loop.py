"""The loop of a run, where its store is in trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from autotune.home import Home
from autotune.problem.space import Space
from autotune.runs.run import run_study
from autotune.store.trials import TrialStore
from tests.autotune.runs.test_run import Listener, study, trials, values

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.mark.parametrize("method", ["claim", "suggest"])
def test_a_trial_that_the_store_recorded_without_answering_is_asked_anew(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may be lost between two steps of a proposal; what is left of it must not count as running for ever."""
    undisturbed, home = Home(tmp_path / "undisturbed"), Home(tmp_path / "home")
    bare = {"name": "tests.autotune.toy:bare", "iterations": 2}
    run_study(study(undisturbed, objective=bare), home=undisturbed, watcher=Listener())
    owner = TrialStore if method == "claim" else Space
    working, calls = getattr(owner, method), []

    def lost_once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("INSERT", {}, ConnectionError("the server is being restarted"))
        return working(*arguments, **named)

    monkeypatch.setattr(owner, method, lost_once)
    listener = Listener()
    run_study(study(home, objective=bare), home=home, watcher=listener)
    assert [trial.state for trial in trials(home)] == ["finished", "interrupted", "finished", "finished"]
    assert values(home) == values(undisturbed)
    assert "paused: the trial store does not answer: the server is being restarted" in listener.heard
