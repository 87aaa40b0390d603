from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from search_bench.engines import BY_NAME, EngineFailedError, EngineMissingError, Own, Peer, start
from search_bench.peer_engine import BoTorch, Column, serve
from search_bench.problem import Outcome

from autotune.objective import Value
from autotune.problem.space import Dimension, Space

SPACE = Space(
    (
        Dimension("shift", low=-2.0, high=3.0, differentiable=True),
        Dimension("rate", low=1e-3, high=1.0, log=True),
        Dimension("count", type="int", low=2, high=5),
        Dimension("kind", type="categorical", choices=("one", "two", "three")),
    )
)


def inside(values: dict[str, Value]) -> bool:
    return (
        isinstance(values["shift"], float)
        and -2 <= values["shift"] <= 3
        and 1e-3 <= float(values["rate"]) <= 1 + 1e-12
        and values["count"] in (2, 3, 4, 5)
        and values["kind"] in ("one", "two", "three")
    )


def outcome(values: dict[str, Value]) -> Outcome:
    off = float(values["shift"]) - 1.0
    return Outcome(-(off**2) - 0.1 * (values["kind"] != "two"), {"shift": -2 * off})


def searched(engine: Any, trials: int) -> list[dict[str, Value]]:
    asked = []
    for _ in range(trials):
        values = engine.ask()
        engine.tell(outcome(values))
        asked.append(values)
    return asked


@pytest.fixture
def peer() -> Iterator[Peer]:
    engine = Peer(sys.executable, "optuna-tpe", SPACE, seed=3)
    yield engine
    engine.close()


def test_a_peer_searches_the_space_it_is_given(peer: Peer) -> None:
    asked = searched(peer, 14)
    assert all(inside(values) for values in asked)
    assert len({str(values) for values in asked}) == 14
    assert peer.version.startswith("optuna ")
    assert len(peer.seconds) == 14
    assert all(second >= 0 for second in peer.seconds)
    again = Peer(sys.executable, "optuna-tpe", SPACE, seed=3)
    try:
        assert searched(again, 14) == asked
    finally:
        again.close()


def test_a_peer_whose_process_ended_says_so(peer: Peer) -> None:
    peer.ask()
    peer._process.kill()
    with pytest.raises(EngineFailedError):
        searched(peer, 2)


def test_what_a_peer_said_last_is_why_it_failed() -> None:
    with pytest.raises(EngineFailedError, match="KeyError: 'nobody'"):
        Peer(sys.executable, "nobody", SPACE, seed=0)


@pytest.mark.skipif(find_spec("ax") is not None, reason="Ax is installed here")
def test_an_engine_that_is_not_installed_is_missing() -> None:
    with pytest.raises(EngineMissingError, match="ax"):
        start(BY_NAME["ax"], SPACE, 0, sys.executable)


def test_an_engine_whose_environment_is_not_named_is_missing() -> None:
    with pytest.raises(EngineMissingError, match="--peers-python"):
        start(BY_NAME["skopt"], SPACE, 0, None)


def test_ours_is_told_gradients_only_where_it_takes_them() -> None:
    told = {}
    for kind in (BY_NAME["gp"], BY_NAME["gp-gradients"]):
        engine = start(kind, SPACE, 0, None)
        assert isinstance(engine, Own)
        asked = searched(engine, 2)
        assert all(inside(values) for values in asked)
        trials = engine._tuner.store.trials()
        assert [trial.metrics["value"] for trial in trials] == [outcome(values).value for values in asked]
        told[kind.name] = [dict(trial.gradient) for trial in trials]
    assert told == {"gp": [{}, {}], "gp-gradients": [dict(outcome(values).gradient) for values in asked]}


def test_a_column_gives_back_what_it_was_given() -> None:
    shift, rate, count, kind = (Column(d) for d in SPACE.as_dict())
    assert shift.decode(shift.encode(-1.25)) == pytest.approx(-1.25)
    assert rate.encode(1e-3**0.5) == pytest.approx(0.5)
    assert rate.decode(0.5) == pytest.approx(1e-3**0.5)
    assert count.levels == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [count.decode(level) for level in count.levels] == [2, 3, 4, 5]
    assert [kind.decode(kind.encode(choice)) for choice in ("one", "two", "three")] == ["one", "two", "three"]
    assert (shift.levels, kind.levels, kind.top) == ([], [0, 1, 2], 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # BoTorch's own
def test_the_plain_botorch_loop_proposes_from_a_model_after_its_first_points() -> None:
    engine = BoTorch(SPACE.as_dict(), seed=0)
    asked = searched(_Plain(engine), 2 * (len(SPACE.dimensions) + 1) + 3)
    assert all(inside(values) for values in asked)
    assert max(outcome(values).value for values in asked[-3:]) > max(outcome(values).value for values in asked[:-3])


class _Plain:
    """An engine of the other process, in this one."""

    def __init__(self, engine: BoTorch) -> None:
        self.ask = engine.ask
        self._engine = engine

    def tell(self, told: Outcome) -> None:
        self._engine.tell(told.value)


def test_requests_are_answered_one_line_each() -> None:
    class Fixed:
        version = "0"
        told: list[float] = []  # noqa: RUF012

        def ask(self) -> dict[str, Any]:
            return {"shift": 0.5}

        def tell(self, value: float) -> None:
            self.told.append(value)

    replies = io.StringIO()
    serve(Fixed(), io.StringIO('{"ask": true}\n{"tell": -2}\n'), replies)
    first, second = (json.loads(line) for line in replies.getvalue().splitlines())
    assert first["values"] == {"shift": 0.5}
    assert set(second) == {"seconds"}
    assert Fixed.told == [-2.0]
