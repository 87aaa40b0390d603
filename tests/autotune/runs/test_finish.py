"""The end of a study that several runs come to: nobody waits without a word, and the work is done once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autotune.home import Home
from autotune.runs.run import Outcome, run_study
from autotune.session import lock_study
from autotune.store.locks import exclusive
from autotune.store.trials import TrialStore
from tests.autotune.runs.test_run import Listener, study

pytestmark = pytest.mark.usefixtures("in_memory")

WAITS = "paused: another run of this study is computing the answer"


class Slow:
    """Stands for the search for the answer, which finds none; each call waits until it is let go, and may raise."""

    def __init__(self) -> None:
        self.calls: list[threading.Event] = []
        self.raises: list[BaseException] = []

    def __call__(self, *arguments: Any, **named: Any) -> None:
        raises = self.raises.pop() if self.raises else None
        self.calls.append(threading.Event())
        assert self.calls[-1].wait(60)
        if raises is not None:
            raise raises


class Run(threading.Thread):
    """A run of the study."""

    def __init__(self, home: Home, listener: Listener | None = None, **changes: Any) -> None:
        super().__init__(daemon=True)
        self.home, self.file = home, study(home, **changes)
        self.listener = listener or Listener()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = run_study(self.file, home=self.home, watcher=self.listener)
        except BaseException as error:
            self.error = error

    def end(self) -> tuple[str, str]:
        self.join(60)
        assert self.error is None and self.outcome is not None
        return self.outcome.result.status, self.outcome.result.reason


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    monkeypatch.setattr("autotune.runs.finish.find_answer", slow)
    monkeypatch.setattr("autotune.runs.finish._POLL_SECONDS", 0.05)
    monkeypatch.setattr("autotune.runs.finish._SILENT_SECONDS", 0.0)
    yield slow
    for call in slow.calls:
        call.set()


def test_a_run_that_joins_while_the_answer_is_computed_says_so_and_takes_it_over(home: Home, answer: Slow) -> None:
    first = Run(home)
    until(lambda: len(answer.calls) == 1)
    second = Run(home)
    until(lambda: WAITS in second.listener.heard)
    assert second.listener.heard == ["started toy: consistency, 3 of 3", WAITS]
    answer.calls[0].set()
    assert first.end() == second.end() == ("finished", "the budget of 3 trials is used")
    assert second.listener.heard[-1] == "resumed"
    assert len(answer.calls) == 1
    assert not any(text.startswith("paused") for text in first.listener.heard)


def test_a_larger_budget_goes_on_meanwhile_and_has_the_last_word(home: Home, answer: Slow) -> None:
    first = Run(home)
    until(lambda: len(answer.calls) == 1)
    second = Run(home, budget={"trials": 5})
    until(lambda: len(answer.calls) == 2)  # it has searched on to its own end
    assert [text for text in second.listener.heard if text.startswith("ended")][-1].startswith("ended 4 finished")
    answer.calls[1].set()
    assert second.end() == ("finished", "the budget of 5 trials is used")
    answer.calls[0].set()
    assert first.end() == ("finished", "the budget of 5 trials is used")
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None and store.facts.conclusion is not None
    assert (store.facts.conclusion.trials, store.facts.status) == (5, "finished")


def test_a_study_that_is_searched_on_is_not_finished(home: Home, answer: Slow) -> None:
    first = Run(home)
    until(lambda: len(answer.calls) == 1)
    held = threading.Event()

    class Holds(Listener):
        def progressed(self, number: int, *arguments: Any) -> None:
            if number == 4:
                assert held.wait(60)

    second = Run(home, Holds(), budget={"trials": 5})
    until(lambda: "proposed 4" in second.listener.heard)
    answer.calls[0].set()
    assert first.end() == ("running", "")
    held.set()
    until(lambda: len(answer.calls) == 2)
    answer.calls[1].set()
    assert second.end() == ("finished", "the budget of 5 trials is used")


def test_a_run_that_waits_takes_over_from_one_that_is_interrupted(home: Home, answer: Slow) -> None:
    answer.raises.append(KeyboardInterrupt())
    first = Run(home)
    until(lambda: len(answer.calls) == 1)
    second = Run(home)
    until(lambda: WAITS in second.listener.heard)
    answer.calls[0].set()
    until(lambda: len(answer.calls) == 2)
    answer.calls[1].set()
    assert second.end() == ("finished", "the budget of 3 trials is used")
    first.join(60)
    assert isinstance(first.error, KeyboardInterrupt)


def test_a_run_that_is_interrupted_when_the_answer_has_come_leaves_the_study_finished(home: Home, answer: Slow) -> None:
    first = Run(home)
    until(lambda: len(answer.calls) == 1)

    class Interrupted(Listener):
        def resumed(self) -> None:
            first.join(60)  # it has left: nobody else runs the study
            raise KeyboardInterrupt

    second = Run(home, Interrupted())
    until(lambda: WAITS in second.listener.heard)
    answer.calls[0].set()
    second.join(60)
    assert isinstance(second.error, KeyboardInterrupt)
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None
    assert first.end() == (store.facts.status, store.facts.reason) == ("finished", "the budget of 3 trials is used")


def test_a_long_wait_for_the_lock_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.session._SILENT_SECONDS", 0.1)
    home.folder.mkdir()
    listener, inside = Listener(), threading.Event()

    def wait() -> None:
        with lock_study(home.store_url, "toy", listener):
            inside.set()

    with exclusive(home.store_url, "toy"):
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        until(lambda: listener.heard == ["paused: another run of this study is changing it"])
        assert not inside.is_set()
    waiting.join(30)
    assert inside.is_set() and listener.heard[-1] == "resumed"
    with lock_study(home.store_url, "toy", listener):
        pass
    assert len(listener.heard) == 2
