"""When to look at the folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autotune.watching.notices import Announced, Polling


def test_polling_is_due_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [50.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    notices = Polling(5)
    assert notices.due() and not notices.due()
    notices.wait(60)
    notices.wait(0.2)
    now[0] += 6
    notices.wait(60)
    assert slept == [5, 0.2, 0] and notices.due()
    notices.close()


def test_a_change_is_announced(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    said: list[str] = []
    notices = Announced(tmp_path, False, said.append)
    try:
        assert notices.due() and not notices.due()
        deadline = time.monotonic() + 20
        while not notices.due():  # it takes a moment until the system listens
            assert time.monotonic() < deadline
            (tmp_path / f"{time.monotonic()}.h5").touch()
            notices.wait(0.3)
    finally:
        notices.close()
    assert said == []


def test_a_system_that_says_nothing_is_told(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    said: list[str] = []
    notices = Announced(tmp_path / "gone", False, said.append)
    notices._thread.join(20)
    assert notices.due() and "looks every 5 s" in said[0]
    notices.close()
