"""Fixtures of the tests that run the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.studies import Place, make_place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty working folder, with a home that does not exist yet."""
    return make_place(tmp_path / "user", monkeypatch)
