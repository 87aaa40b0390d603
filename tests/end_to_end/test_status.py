"""``autotune status`` and ``autotune compare``: what they say, and that they change nothing."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autotune.cli.status import _span
from autotune.home import Home
from autotune.objective import Metric
from autotune.results.overview import _budget, _left, _rate
from autotune.results.side_by_side import side_by_side
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore, study_names
from tests.end_to_end.studies import GATED, STUDY, Place, autotune, make_gate, wait_for_evaluation

pytestmark = pytest.mark.usefixtures("in_memory")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert autotune(*arguments) == 0
    return json.loads(capsys.readouterr().out)


def kept(place: Place) -> Any:
    """All files, and what the store holds: SQLite moves that from its log into its file when a reader closes it."""
    files = {name: content for name, content in place.files().items() if not Path(name).name.startswith("trials.db")}
    stores = [TrialStore.open(place.home.store_url, name) for name in study_names(place.home.store_url)]
    return files, [(store.facts, store.trials()) for store in stores if store is not None]


def test_all_studies_and_nothing_changed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("status") == 0
    assert capsys.readouterr().out == f"No studies in {place.home.folder}\n"
    assert not place.home.folder.exists()
    failing = {"name": "tests.end_to_end.studies:quick", "fail_above": 0.2}
    assert autotune("run", place.write(name="some", objective=failing), "--quiet") == 0
    assert autotune("run", place.write(), "--quiet", "--trials", "3") == 0
    TrialStore.create(place.home.store_url, "hand", Metric("c", "maximize"), {"metric": {"name": "c"}})
    before = kept(place)
    found = said(capsys, "status", "--json")
    assert [one["study"] for one in found] == ["toy", "some", "hand"]
    toy, some, hand = found
    assert toy["status"] == "finished" and toy["trials"] == {"finished": 3, "failed": 0, "pruned": 0, "running": 0}
    assert toy["metric"] == {k: place.result()["metric"][k] for k in ("name", "best", "fraction_of_ceiling")}
    assert some["trials"]["failed"] > 0 and toy["equivalents"] == 3
    assert (hand["status"], hand["metric"]["best"], hand["last_active"]) == ("by hand", None, None)
    assert autotune("status") == 0
    out = capsys.readouterr().out
    assert "finished" in out and "by hand" in out and f"{toy['metric']['best']:.6f} consistency" in out

    details = said(capsys, "status", "some", "--json")
    reasons = [one["reason"] for one in details["failures"]]
    assert reasons and all(reason.startswith("the toy diverged at shift") for reason in reasons)
    assert details["budget"] == {"trials": {"used": 4, "of": 4}} and details["seconds_left"] is None
    assert [trial["trial"] for trial in details["latest"]] == [0, 1, 2, 3]
    assert autotune("status", "some") == 0
    out = capsys.readouterr().out
    assert "Budget: 4 of 4 trials" in out and "1 x, last in trial" in out and "shift" in out
    assert kept(place) == before
    assert autotune("status", "som") == 2
    assert "did you mean 'some'?" in capsys.readouterr().err


def test_a_study_that_cannot_be_read_says_why_beside_the_others(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("damaged", "toy"):
        assert autotune("run", place.write(name=name), "--quiet", "--trials", "1") == 0
    store = TrialStore.open(place.home.store_url, "damaged")
    assert store is not None
    store.set_fact("metric", 3)
    lines = {line["study"]: line for line in said(capsys, "status", "--json")}
    assert (lines["toy"]["status"], lines["damaged"]["status"]) == ("finished", "unreadable")
    assert autotune("status") == 0
    out = capsys.readouterr().out
    assert "damaged: its fact 'metric' in the trial store cannot be read" in out and "finished" in out
    assert autotune("status", "damaged") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("on_disk")
def test_a_study_that_runs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    gate = make_gate(place, 4)
    process = place.start("run", place.write(GATED), "--quiet")
    wait_for_evaluation(gate, 4, process)
    (one,) = said(capsys, "status", "--json")
    assert (one["status"], one["runs"], one["trials"]["running"], one["trials"]["finished"]) == ("running", 1, 1, 3)
    found = said(capsys, "status", "toy", "--json")
    assert found["trials_per_hour"] > 0 and found["seconds_left"] > 0
    assert autotune("status", "toy") == 0
    assert "left" in capsys.readouterr().out
    (gate / "hold-4").unlink()
    assert process.wait(60) == 0
    process.communicate()
    assert said(capsys, "status", "--json")[0]["runs"] == 0


def ended(number: int, seconds: float, owner: str = "a") -> TrialRecord:
    moment = datetime(2026, 3, 1) + timedelta(seconds=seconds)
    return TrialRecord(number, "finished", {}, started=moment - timedelta(seconds=1), ended=moment, owner=owner)


def test_the_rate_is_that_of_the_latest_run() -> None:
    trials = [ended(0, 0.0, "before"), *(ended(i, 1000.0 + 10 * i) for i in range(1, 15))]
    assert _rate(trials, frozenset()) == pytest.approx(0.1)
    assert _rate(trials, {"a"}) == pytest.approx(0.1)
    assert _rate(trials[:2], frozenset()) is None and _rate([], frozenset()) is None
    assert _rate(trials, {"new"}) is None  # which has ended no trial yet


def test_the_rate_is_that_of_all_runs_that_are_alive() -> None:
    dead = [ended(i, 1000.0 + i, "dead") for i in range(9)]
    both = [ended(i, 1000.0 + 5 * i, "ab"[i % 2]) for i in range(30)]
    assert _rate([*dead, *both], {"a", "b"}) == pytest.approx(0.2)
    assert _rate([*dead, *both], {"b"}) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"trials": 14}, 100.0),  # 10 more at 0.1 per second
        ({"trials": 14, "seconds": 90}, 50.0),
        ({"trials": 14, "seconds": None, "reconstructions": 5.0}, 60.0),  # at half a reconstruction each
        ({"trials": 3}, 0.0),
    ],
)
def test_what_is_left_is_what_the_nearest_limit_leaves(limits: dict[str, Any], left: float) -> None:
    trials = [dataclasses.replace(ended(i, 10.0 * i), equivalents=0.5) for i in range(4)]
    assert _left(_budget(limits, trials, 40.0), 0.1) == pytest.approx(left)
    assert _left(None, 0.1) is None and _left(_budget(limits, trials, 40.0), None) is None


def test_times_in_the_unit_that_suits_them() -> None:
    assert [_span(s) for s in (5, 119, 120, 7200, 200_000)] == ["5 s", "119 s", "2 min", "2 h", "2 d"]


def store(home: Home, name: str, **facts: Any) -> TrialStore:
    """A finished study of one trial at shift 1, with the answer and identity given."""
    from autotune.objective import Evaluation, Status
    from autotune.problem.space import Dimension, Space

    space = Space((Dimension("shift", facts.pop("unit", "angstrom"), low=-2.0, high=2.0),))
    metric = Metric(facts.pop("metric", "c"), "maximize")
    parameter = {"estimate": facts.pop("estimate", 1.0), "interval": facts.pop("interval", [0.7, 1.3])}
    parameter |= {"interval_of": "noise and search", "verdict": "identified"}
    identity = {"objective": {"name": "o"}, "parameters": {"shift": {}, "passes": facts.pop("passes", 3)}}
    made = TrialStore.create(
        home.store_url,
        name,
        metric,
        {
            "metric": dataclasses.asdict(metric),
            "space": space.as_dict(),
            "seed": 0,
            "identity": identity | {"content_hash": facts.pop("content_hash", "h")},
            "status": facts.pop("status", "finished"),
            "answer": {"trials": 1, "level": 0.9, "parameters": {"shift": parameter}},
        },
    )
    assert not facts
    made.study.enqueue_trial({"shift": 1.0})
    number = made.study.ask(space.distributions()).number
    made.tell(number, Evaluation(Status.COMPLETE, {metric.name: 0.5}), 0.5)
    return made


def pair(found: dict[str, Any]) -> tuple[Any, Any]:
    (one,) = found["parameters"]["shift"]["pairs"]
    return one["in_half_widths"], one["agree"]


@pytest.mark.parametrize(
    ("other", "half_widths", "agree"),
    [
        ({"estimate": 1.495, "interval": [1.1, 1.9]}, 0.99, True),  # 0.495 over hypot(0.3, 0.4)
        ({"estimate": 1.51, "interval": [1.1, 1.9]}, 1.02, False),
        ({"estimate": 1.0, "interval": [1.0, 1.0]}, 0.0, True),
        ({"estimate": 1.5, "interval": None}, None, None),
        ({"unit": "mrad"}, None, None),
    ],
)
def test_parameters_agree_within_their_intervals(
    tmp_path: Path, other: dict[str, Any], half_widths: float | None, agree: bool | None
) -> None:
    home = Home(tmp_path)
    found = side_by_side([store(home, "a"), store(home, "b", **other)], home).as_dict()
    assert pair(found) == (half_widths if half_widths is None else pytest.approx(half_widths), agree)


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({}, "They are of the same measurement: what its noise did"),
        ({"content_hash": "other"}, "They are of different measurements"),
        ({"metric": "d"}, "They tune different metrics, which do not compare: a c, b d."),
        ({"unit": "mrad"}, "shift has different units: angstrom, mrad."),
        ({"status": "stopped"}, "b is stopped: its values are not its answer yet."),
    ],
)
def test_what_does_not_compare_is_said(tmp_path: Path, other: dict[str, Any], warning: str) -> None:
    home = Home(tmp_path)
    compared = side_by_side([store(home, "a"), store(home, "b", **other)], home)
    assert [w for w in compared.warnings if w.startswith(warning)]


def test_compare_prints_and_changes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("run", place.write(), "--quiet") == 0
    held = {"shift": {"low": -1, "high": 1}, "rate": 0.05, "passes": 4}
    for name, parameters in (("b", STUDY["parameters"]), ("c", held)):
        study = place.write(name=name, parameters=parameters, search={"sampler": "random", "seed": 4})
        assert autotune("run", study, "--quiet", "--trials", "2") == 0
    before = kept(place)
    found = said(capsys, "compare", "toy", "b", "c", "--json")
    assert [one["study"] for one in found["studies"]] == ["toy", "b", "c"]
    assert len(found["parameters"]["shift"]["pairs"]) == 3
    assert found["parameters"]["rate"]["values"][2] == {
        "best": 0.05, "estimate": None, "interval": None, "interval_of": None, "verdict": None, "unit": "1",
        "held": True,
    }  # fmt: skip
    assert autotune("compare", "toy", "b", "c") == 0
    out = capsys.readouterr().out
    assert "0.05 (held)" in out and "toy to b" in out and "do not tell which measurement it was" in out
    assert kept(place) == before
    assert autotune("compare", "toy") == 2
    assert "toy is one study; name two or more" in capsys.readouterr().err
    assert autotune("compare", "toy", "toy") == 2
    assert autotune("compare", "toy", "nix") == 2


@pytest.mark.usefixtures("on_disk")
def test_a_home_that_is_none_and_a_store_that_is_damaged_are_bad_input(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = place.write()
    place.home.folder.mkdir()
    store = place.home.folder / "trials.db"
    store.write_text("not a database, but long enough to look like one" * 100)
    for command in (("status",), ("run", study), ("result", "toy")):
        assert autotune(*command) == 2
        assert f"Error: {store}: is no SQLite database, or a damaged one" in capsys.readouterr().err
    assert store.read_text().startswith("not a database")
    monkeypatch.setenv("AUTOTUNE_HOME", str(study))
    for command in (("status",), ("run", study)):
        assert autotune(*command) == 2
        assert capsys.readouterr().err == f"Error: {study}: is a file; name a folder in AUTOTUNE_HOME\n"


def test_times_are_in_utc_with_their_zone(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the machine is; for people they are ages."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert autotune("run", place.write(), "--quiet") == 0
        [study] = said(capsys, "status", "--json")
        for key in ("first_active", "last_active"):
            moment = datetime.fromisoformat(study[key])
            assert study[key].endswith("+00:00") and abs((datetime.now(UTC) - moment).total_seconds()) < 60
        assert autotune("status") == 0
        assert "s ago" in capsys.readouterr().out
        assert all(trial.started.tzinfo is UTC for trial in place.trials() if trial.started)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
