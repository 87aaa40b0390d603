"""The result document and how it is written."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from autotune.files import write_json
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Status
from autotune.problem.space import Dimension, Space
from autotune.results.build import build_result, software
from autotune.results.overview import summary
from autotune.store.trials import TrialStore

pytestmark = pytest.mark.usefixtures("in_memory")

SPACE = Space(
    (
        Dimension("defocus", "angstrom", low=0.0, high=9.0),
        Dimension("method", type="categorical", choices=("plain", "fast"), kind="solver"),
    )
)


def make_store(home: Home, metric: Metric, values: list[float | None]) -> TrialStore:
    """A study with one trial per value, failed where there is none."""
    facts = {"metric": dataclasses.asdict(metric), "space": SPACE.as_dict(), "seed": 4}
    store = TrialStore.create(home.store_url, "s", metric, facts)
    for i, value in enumerate(values):
        store.study.enqueue_trial({"defocus": float(i), "method": "fast"})
        number = store.study.ask(SPACE.distributions()).number
        if value is None:
            store.tell(number, Evaluation(Status.FAILED, reason="no", seconds=0.5), None)
        else:
            store.tell(number, Evaluation(Status.COMPLETE, {metric.name: value}, seconds=2.0), value)
    return store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_the_best_of_a_metric_with_a_ceiling(home: Home) -> None:
    result = build_result(
        make_store(home, Metric("c", "maximize", noise_ceiling=0.8), [0.2, None, 0.6]), home, live=True
    )
    assert result.as_dict()["metric"] == {
        "name": "c", "best": 0.6, "noise_ceiling": 0.8, "fraction_of_ceiling": pytest.approx(0.75),
        "estimate": None, "deviation": None,
    }  # fmt: skip
    assert result.best_trial == 2
    assert {name: p["best"] for name, p in result.as_dict()["parameters"].items()} == {"defocus": 2.0, "method": "fast"}
    assert result.as_dict()["trials"] == {"finished": 2, "failed": 1, "pruned": 0}
    assert result.cost.evaluation_seconds == 4.5
    assert result.cost.reconstruction_equivalents == 3.0
    assert (result.seed, result.artifacts) == (4, str(home.folder / "studies" / "s"))


def test_null_where_nothing_is_known(home: Home) -> None:
    result = build_result(make_store(home, Metric("c", "maximize", noise_ceiling=0.8), []), home, live=True)
    assert result.as_dict()["metric"] == {
        "name": "c", "best": None, "noise_ceiling": 0.8, "fraction_of_ceiling": None, "estimate": None,
        "deviation": None,
    }  # fmt: skip
    assert result.best_trial is None
    assert result.as_dict()["parameters"]["defocus"] == {
        "best": None, "estimate": None, "interval": None, "interval_of": None,
        "half_widths": None, "level": None, "unit": "angstrom",
        "kind": "mismatch", "verdict": None, "note": None, "choices": None, "sensitivity": None,
    }  # fmt: skip
    assert result.as_dict()["mlflow"] == {"tracking_uri": None, "experiment": None, "run_id": None}
    assert result.as_dict()["cost"] == {
        "seconds": 0.0, "evaluation_seconds": 0, "reconstruction_equivalents": 0, "interval_equivalents": 0,
    }  # fmt: skip
    assert result.correlations is None


@pytest.mark.parametrize(
    ("when", "note"),
    [
        ((("method", ("plain",)),), "not used by the best trial: only while method is plain"),
        ((), "not used by the best trial"),  # a study begun before its objective said when it has no effect
    ],
)
def test_what_the_best_trial_has_not(when: Any, note: str, home: Home) -> None:
    space = Space((dataclasses.replace(SPACE.dimensions[0], when=when), SPACE.dimensions[1]))
    facts = {"metric": dataclasses.asdict(Metric("c", "maximize")), "space": space.as_dict(), "seed": 4}
    store = TrialStore.create(home.store_url, "s", Metric("c", "maximize"), facts)
    assert build_result(store, home, live=True).parameters["defocus"].note is None
    store.study.enqueue_trial({"method": "fast"})
    trial = store.study.ask()
    SPACE.dimensions[1].suggest(trial)
    store.tell(trial.number, Evaluation(Status.COMPLETE, {"c": 0.5}), 0.5)
    parameters = build_result(store, home, live=True).as_dict()["parameters"]
    assert (parameters["defocus"]["best"], parameters["defocus"]["note"]) == (None, note)
    assert (parameters["method"]["best"], parameters["method"]["note"]) == ("fast", None)


def test_a_ceiling_of_zero_gives_no_fraction(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    from autotune.cli.result_tables import print_result

    result = build_result(make_store(home, Metric("e", "minimize", noise_ceiling=0.0), [0.4, 0.3]), home, live=True)
    assert (result.metric.best, result.metric.fraction_of_ceiling) == (0.3, None)
    print_result(result, {"defocus": 1.25})
    out = capsys.readouterr().out
    assert "Best e 0.300000 in trial 1\n" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["defocus", "1", "1.25", "-0.25", "angstrom"] in rows
    assert ["method", "fast"] in rows


@pytest.mark.parametrize(
    ("noted", "live", "expected"),
    [
        ("running", True, ("running", "")),
        ("running", False, ("stopped", "the process ended before the study did")),
        ("finished", False, ("finished", "")),
        ("failed", False, ("failed", "")),
    ],
)
def test_status(noted: str, live: bool, expected: tuple[str, str], home: Home) -> None:
    store = make_store(home, Metric("c", "maximize"), [])
    store.keep(status=noted)
    result = build_result(store, home, live=live)
    assert (result.status, result.reason) == expected


def test_the_document_is_strict_json(home: Home) -> None:
    result = build_result(make_store(home, Metric("c", "maximize"), [0.1, None]), home, live=False)

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    assert json.loads(json.dumps(result.as_dict()), parse_constant=refuse) == result.as_dict()


def test_software_names_what_decides_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    versions = software()
    assert versions["numpy"] == metadata.version("numpy")
    monkeypatch.setattr("autotune.results.build._PACKAGES", ("numpy", "not-installed-here"))
    assert list(software()) == ["autotune", "python", "numpy"]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new folder" / "result.json"
    write_json(path, {"unit": "Å", "best": None})
    assert path.read_text(encoding="utf-8") == '{\n  "unit": "Å",\n  "best": null\n}\n'

    def killed(*arguments: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(OSError, match="killed"):
            write_json(path, {"best": 1})
    assert json.loads(path.read_text(encoding="utf-8"))["best"] is None
    write_json(path, {"best": 2})
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_link_and_a_pipe_are_written_not_replaced(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "pipe"
    target.write_text("a longer text than the new one")
    link.symlink_to(target)
    write_json(link, [1])
    assert link.is_symlink() and json.loads(target.read_text()) == [1]

    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_json(pipe, [2])
    reader.join(timeout=10)
    assert json.loads(received[0]) == [2] and pipe.is_fifo()


def test_an_interrupted_trial_costs_nothing_as_if_it_had_never_been_asked(home: Home) -> None:
    store = make_store(home, Metric("c", "maximize"), [0.5, 0.6])
    before = build_result(store, home, live=False).cost.reconstruction_equivalents
    store.study.ask()
    assert build_result(store, home, live=True).cost.reconstruction_equivalents == before
    store.release(store.trials()[-1])
    assert store.trials()[-1].state == "interrupted"
    assert build_result(store, home, live=False).cost.reconstruction_equivalents == before == 2.0
    assert summary(store, home).equivalents == 2.0


def test_remarks_are_those_of_the_best_trial_and_of_mixed_versions(home: Home) -> None:
    store = make_store(home, Metric("c", "maximize"), [0.1])
    for value, remark, version in ((0.9, "It is best.", "1.0"), (0.5, "It is not.", "2.0")):
        number = store.study.ask(SPACE.distributions()).number
        told = Evaluation(Status.COMPLETE, {"c": value}, remarks=[remark], software={"package": version, "other": "3"})
        store.tell(number, told, value)
    assert store.trials()[1].software == {"package": "1.0", "other": "3"}
    remarks = build_result(store, home, live=False).remarks
    assert remarks[0] == "It is best." and "package 1.0, 2.0." in remarks[1] and len(remarks) == 2
