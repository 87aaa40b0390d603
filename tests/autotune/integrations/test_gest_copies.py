"""Copies of a generator: in memory they share nothing, in a database they work on one study."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("gest_api", reason="gest-api is not installed (extra gest)")

from autotune.integrations.gest import Generator
from tests.autotune.integrations.problems import evaluated, make_vocs, search, states

COPIES = [copy.deepcopy, lambda generator: pickle.loads(pickle.dumps(generator))]  # noqa: S301


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_in_memory_goes_on_with_all_trials_and_shares_nothing(
    duplicate: Callable[[Generator], Generator],
) -> None:
    original = Generator(make_vocs())
    search(original, 5)
    [pending] = original.suggest(1)
    other = duplicate(original)
    other.ingest([evaluated(pending)])
    assert states(original) == ["finished"] * 5 + ["running"]
    assert states(other) == ["finished"] * 6
    original.ingest([evaluated(pending)])
    assert original.suggest(2) == other.suggest(2)  # the same history, the same search
    search(other, 3)
    assert len(states(original)) == 8 and len(states(other)) == 11
    assert original.get_best_points()[0][0] < 8


def test_a_copy_in_memory_releases_the_points_it_was_copied_with() -> None:
    original = Generator(make_vocs())
    original.suggest(2)
    other = copy.deepcopy(original)
    other.finalize()
    assert states(other) == ["interrupted"] * 2
    assert states(original) == ["running"] * 2


@pytest.mark.parametrize("duplicate", COPIES)
def test_copies_on_a_database_work_on_one_study(url: str, duplicate: Callable[[Generator], Generator]) -> None:
    original = Generator(make_vocs(), database=url)
    search(original, 3)
    [pending] = original.suggest(1)
    other = duplicate(original)
    assert states(other) == ["finished"] * 3 + ["running"]
    [own] = other.suggest(1)
    assert own["_id"] != pending["_id"] and own["x"] != pending["x"]
    other.finalize()  # its own points alone
    assert states(original) == ["finished"] * 3 + ["running", "interrupted"]
    other.ingest([evaluated(pending)])
    search(other, 2)
    search(original, 2)
    assert states(original) == states(other)
    assert states(original).count("finished") == 8


def test_a_copy_finds_the_database_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    original = Generator(make_vocs(), database="sqlite:///trials.db")
    search(original, 2)
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "worker")
    assert states(copy.deepcopy(original)) == ["finished"] * 2


def test_a_generator_in_memory_may_be_used_in_another_thread() -> None:
    generator = Generator(make_vocs())
    thread = threading.Thread(target=search, args=(generator, 3))
    thread.start()
    thread.join()
    assert states(generator) == ["finished"] * 3


def test_a_forked_process_opens_the_database_anew(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(make_vocs(), database=url)
    [point] = generator.suggest(1)
    before, own = generator._store, os.getpid()
    monkeypatch.setattr("autotune.integrations.gest.generator.os.getpid", lambda: own + 1)
    generator.ingest([evaluated(point)])
    generator.suggest(1)
    assert generator._store is not before
    generator.finalize()
    assert states(generator) == ["finished", "interrupted"]
    assert states(copy.deepcopy(generator)) == states(generator)
