"""No search for garbage while a short command runs, and as before after it."""

from __future__ import annotations

import gc

import pytest

from autotune.cli.collection import without_collection


def test_it_is_off_within_and_on_again_after() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="fails"), without_collection():
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("fails")
    assert gc.isenabled()


def test_who_has_turned_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
