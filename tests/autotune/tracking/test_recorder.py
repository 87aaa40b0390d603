"""The MLflow record equals the trial store, whatever happens to MLflow or to the process in between."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest

from autotune.cli.ui import ui
from autotune.errors import InputError
from autotune.objective import Metric
from autotune.store.records import TrialRecord
from autotune.tracking import Closing, Destination, MeasuredData, Recorder, RecorderReport, StudyFacts, sync
from autotune.tracking.points import Incumbents, trial_table
from autotune.tracking.runs import StudyRuns
from autotune.tracking.trial_runs import TrialRuns
from tests.autotune.mlflow_snapshot import snapshot

# MLflow's own models use a loader strategy that SQLAlchemy 2.1 deprecates.
pytestmark = [
    pytest.mark.usefixtures("in_memory"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

BEGIN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CONSISTENCY = Metric("consistency", "maximize")
FACTS = StudyFacts(
    study_id="f3a9",
    name="nickel grid",
    experiment="beamline 7",
    study_text="name: nickel grid\n",
    metric=CONSISTENCY,
    parameters={"defocus": "100 .. 900", "step_size": "0.001 .. 1 (log)", "solver": "epie, dm"},
    units={"defocus": "angstrom", "step_size": "1", "solver": "1"},
    log_parameters=frozenset({"step_size"}),
    tags={"autotune.objective": "toy"},
    data=MeasuredData("grid.h5", "0123456789abcdef" * 4, {"patterns": "576 of 64 x 64"}),
)
PNG = b"\x89PNG\r\n\x1a\n rest of a picture"


def trial(number: int, consistency: float | None, **changes: Any) -> TrialRecord:
    started = BEGIN + timedelta(seconds=10 * number)
    made = TrialRecord(
        number=number,
        state="finished",
        values={"defocus": 100.5 + number, "step_size": 0.01, "solver": "epie"},
        metrics={} if consistency is None else {"consistency": consistency, "error": 1 - consistency},
        gradient={"defocus": -0.25},
        curve={"consistency": [0.1, 0.2, 0.3]},
        seconds=4.5,
        resources={"cpu_seconds": 4.25, "peak_memory_megabytes": 300.0},
        started=started,
        ended=started + timedelta(seconds=5),
    )
    return replace(made, **changes)


TRIALS = [
    trial(0, 0.5),
    trial(
        1,
        None,
        state="failed",
        reason="residual became NaN",
        gradient={},
        curve={"consistency": [0.1, float("nan")]},
    ),
    trial(2, 0.75),
]


@dataclass(frozen=True)
class Place:
    """An MLflow database with its artifacts and the folders of the trials."""

    folder: Path

    @property
    def destination(self) -> Destination:
        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        return Destination(uri, self.folder / "kept here", lambda number: self.folder / "trials" / str(number))

    def sync(self, trials: list[TrialRecord], *ending: Any) -> RecorderReport:
        return sync(FACTS, trials, self.destination, Closing(*ending) if ending else None)

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.destination.tracking_uri)

    def runs(self) -> list[Any]:
        client = self.client()
        experiment = client.get_experiment_by_name(FACTS.experiment)
        runs = client.search_runs([experiment.experiment_id])
        return sorted(runs, key=lambda run: int(run.data.tags.get("autotune.trial", -1)))

    def snapshot(self) -> list[dict[str, Any]]:
        """All that MLflow holds about the study, less ids and the moment at which the parent began."""
        return snapshot(self.destination.tracking_uri, FACTS.experiment, self.folder)


@pytest.fixture
def place(tmp_path: Path, migrated: Path) -> Place:
    return make_place(tmp_path / "home", migrated)


def make_place(folder: Path, migrated: Path) -> Place:
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    pictures = folder / "trials" / "2" / "pictures"
    pictures.mkdir(parents=True)
    (pictures / "object.png").write_bytes(PNG)
    (pictures.parent / "facts.txt").write_text("pixel 0.2 angstrom")
    return Place(folder)


@pytest.fixture(autouse=True)
def current_folder_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow drops mlruns/ or mlflow.db into the current folder when told nothing else."""
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    assert list(folder.iterdir()) == []


def test_a_study_is_recorded_field_by_field(place: Place, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text("{}")
    recorder = Recorder(FACTS, place.destination)
    recorder.start()
    for each in TRIALS:
        recorder.submit(each)
    report = recorder.finish(Closing("FINISHED", {"fraction_of_ceiling": 0.9}, [result]), TRIALS)

    assert report.error == ""
    assert (report.recorded, report.already_there) == (3, 0)
    assert recorder.run_id == report.parent_run_id == place.runs()[0].info.run_id

    parent, first, failed, last = place.snapshot()
    assert parent["name"] == "nickel grid"
    assert parent["status"] == "FINISHED"
    assert parent["params"] == dict(FACTS.parameters)
    assert parent["tags"]["autotune.study_id"] == "f3a9"
    assert parent["tags"]["autotune.objective"] == "toy"
    first_end, end = milliseconds(TRIALS[0].ended), milliseconds(TRIALS[2].ended)
    assert [point for point in parent["points"] if not point[0].startswith("system/")] == [
        ("best_consistency", 0, 0.5, first_end),
        ("best_consistency", 2, 0.75, end),
        ("fraction_of_ceiling", 2, 0.9, end),
        ("incumbent/error", 0, 0.5, first_end),
        ("incumbent/error", 2, 0.25, end),
        ("trials/consistency", 0, 0.5, first_end),
        ("trials/consistency", 2, 0.75, end),
    ]
    used = [point[1:] for point in parent["points"] if point[0] == "system/cpu_seconds"]
    assert used == [(each.number, 4.25, milliseconds(each.ended)) for each in TRIALS]
    assert parent["end"] == end
    assert parent["data"] == [
        {
            "name": "grid.h5",
            "digest": "0123456789abcdef0123456789abcdef0123",
            "source": {"name": "grid.h5", "content_hash": "0123456789abcdef" * 4},
            "profile": {"patterns": "576 of 64 x 64"},
            "tags": {"mlflow.data.context": "tuning"},
        }
    ]
    assert parent["files"]["study.yaml"] == b"name: nickel grid\n"
    assert parent["files"]["result.json"] == b"{}"

    ended = milliseconds(TRIALS[0].ended)
    assert first == {
        "name": "trial 000",
        "parent": "nickel grid",
        "status": "FINISHED",
        "began": milliseconds(TRIALS[0].started),
        "end": ended,
        "params": {"defocus": "100.5", "step_size": "0.01", "solver": "epie"},
        "tags": {
            "autotune.trial": "0",
            "autotune.state": "finished",
            "mlflow.runName": "trial 000",
            "unit.defocus": "angstrom",
            "unit.step_size": "1",
            "unit.solver": "1",
        },
        "points": [
            ("consistency", 0, 0.5, ended),
            ("curve/consistency", 1, 0.1, ended),
            ("curve/consistency", 2, 0.2, ended),
            ("curve/consistency", 3, 0.3, ended),
            ("error", 0, 0.5, ended),
            ("evaluation_seconds", 0, 4.5, ended),
            ("gradient/defocus", 0, -0.25, ended),
            ("log10_step_size", 0, -2.0, ended),
            ("system/cpu_seconds", 0, 4.25, ended),
            ("system/peak_memory_megabytes", 0, 300.0, ended),
        ],
        "data": [],
        "files": {},
    }
    assert failed["status"] == "FAILED"
    assert failed["tags"]["autotune.reason"] == "residual became NaN"
    assert [point[:3] for point in failed["points"] if "consistency" in point[0]] == [("curve/consistency", 1, 0.1)]
    assert last["files"] == {"pictures/object.png": PNG, "facts.txt": b"pixel 0.2 angstrom"}


def test_the_table_of_trials_reads_as_mlflow_writes_its_own(place: Place) -> None:
    assert place.sync(TRIALS).error == ""
    parent = place.runs()[0]
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [{"path": "trials.json", "type": "table"}]
    table = pandas.read_json(io.BytesIO(place.snapshot()[0]["files"]["trials.json"]), orient="split")
    assert table["trial"].tolist() == [0, 1, 2]
    assert table["defocus (angstrom)"].tolist() == [100.5, 101.5, 102.5]
    assert table["state"].tolist() == ["finished", "failed", "finished"]


def test_recording_again_changes_nothing(place: Place, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>answer</p>")
    closing = ("FINISHED", {"consistency": 0.75}, [report])
    assert place.sync(TRIALS, *closing).recorded == 3
    before = place.snapshot()
    assert before[0]["files"]["report.html"] == b"<p>answer</p>"
    for again in ((), closing):
        assert place.sync(TRIALS, *again) == RecorderReport(place.runs()[0].info.run_id, 0, 3)
        assert place.snapshot() == before


def test_a_resumed_study_goes_on_in_the_same_runs(place: Place, tmp_path: Path, migrated: Path) -> None:
    for earlier, new in ([], TRIALS[:2]), (TRIALS[:2], TRIALS[2:]):
        recorder = Recorder(FACTS, place.destination)
        recorder.start(earlier)
        for each in new:
            recorder.submit(each)
        report = recorder.finish(Closing("FINISHED"), [*earlier, *new])
        assert (report.recorded, report.already_there, report.error) == (len(new), len(earlier), "")
    undisturbed = make_place(tmp_path / "undisturbed", migrated)
    undisturbed.sync(TRIALS, "FINISHED")
    assert place.snapshot() == undisturbed.snapshot()


def test_the_end_does_not_wait_for_further_trials(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from autotune.tracking import recorder as module

    monkeypatch.setattr(module, "_GATHER_SECONDS", 3600.0)
    batches: list[str] = []
    original = StudyRuns.record_progress
    monkeypatch.setattr(
        StudyRuns, "record_progress", lambda runs, trials: (batches.append(runs.parent_id), original(runs, trials))[1]
    )
    recorder = Recorder(FACTS, place.destination)
    recorder.start([])
    while recorder.run_id is None:
        time.sleep(0.01)
    for each in TRIALS:
        recorder.submit(each)
    assert recorder.finish(Closing("FINISHED"), TRIALS).recorded == 3
    assert len(batches) <= 2  # when it began, and at the end


@pytest.mark.parametrize("dies_in", ["create_run", "log_batch", "log_artifact", "set_terminated"])
def test_a_half_written_record_is_completed_not_repeated(
    place: Place, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    from mlflow import MlflowClient
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    owner = LocalArtifactRepository if dies_in == "log_artifact" else MlflowClient
    original = getattr(owner, dies_in)

    def die_at_trial_2(caller: Any, first: Any, *rest: Any, **named: Any) -> Any:
        """The data arrive, the status does not."""
        done = None if dies_in == "set_terminated" else original(caller, first, *rest, **named)
        if dies_in == "log_artifact":
            run = place.client().get_run(Path(caller.artifact_dir).parent.name)
        else:
            run = done if dies_in == "create_run" else caller.get_run(first)
        if run.data.tags.get("autotune.trial") == "2":
            raise OSError("the process died here")
        return original(caller, first, *rest, **named) if dies_in == "set_terminated" else done

    monkeypatch.setattr(owner, dies_in, die_at_trial_2)
    report = place.sync(TRIALS)
    assert "the process died here" in report.error
    assert report.recorded == 2
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "current")

    assert place.sync(TRIALS) == RecorderReport(report.parent_run_id, 1, 2)
    undisturbed = make_place(tmp_path / "undisturbed", migrated)
    undisturbed.sync(TRIALS)
    assert place.snapshot() == undisturbed.snapshot()


def test_a_trial_recorded_twice_by_a_lost_answer_is_kept_once(place: Place) -> None:
    place.sync(TRIALS)
    parent, first, *_ = place.runs()
    tags = {"mlflow.parentRunId": parent.info.run_id, "autotune.trial": "0"}
    place.client().create_run(parent.info.experiment_id, tags=tags)
    assert len(place.runs()) == 5
    assert place.sync(TRIALS).recorded == 0
    assert [run.info.run_id for run in place.runs()][:2] == [parent.info.run_id, first.info.run_id]
    assert len(place.runs()) == 4


def test_mlflow_failing_in_mid_study_leaves_the_same_record(
    place: Place, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = TrialRuns._record_trial

    def fail(runs: TrialRuns, each: TrialRecord) -> None:
        seen.append("failed" if each.number else "recorded")
        if each.number:
            raise ConnectionError("server is down")
        original(runs, each)

    monkeypatch.setattr(TrialRuns, "_record_trial", fail)
    recorder = Recorder(FACTS, place.destination)
    recorder.start()
    for each in TRIALS:
        recorder.submit(each)
    wait_until(lambda: "failed" in seen)
    monkeypatch.setattr(TrialRuns, "_record_trial", original)
    report = recorder.finish(Closing("FINISHED"), TRIALS)
    assert (report.recorded, report.error) == (3, "")
    undisturbed = make_place(tmp_path / "undisturbed", migrated)
    undisturbed.sync(TRIALS, "FINISHED")
    assert place.snapshot() == undisturbed.snapshot()


@pytest.mark.parametrize("behaviour", ["refuses", "says nothing"])
def test_a_server_that_does_not_answer_delays_nothing(
    behaviour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if behaviour == "says nothing":
            server.listen()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        recorder = Recorder(FACTS, Destination(uri, tmp_path / "artifacts", lambda number: tmp_path / str(number)))
        begin = time.perf_counter()
        recorder.start()
        for each in TRIALS:
            recorder.submit(each)
        assert time.perf_counter() - begin < 0.5
        begin = time.perf_counter()
        report = recorder.finish(Closing("FINISHED"), TRIALS, timeout=1.0 if behaviour == "says nothing" else 20.0)
        assert time.perf_counter() - begin < (2.0 if behaviour == "says nothing" else 20.0)
        assert (report.parent_run_id, report.recorded, report.already_there) == (None, 0, 0)
        assert ("no answer within 1 s" if behaviour == "says nothing" else "MlflowException") in report.error
        assert "\n" not in report.error
        recorder._thread.join(20)  # type: ignore[union-attr]
    assert capfd.readouterr() == ("", "")


def test_a_tracking_uri_that_mlflow_does_not_know_is_reported(place: Place) -> None:
    report = sync(FACTS, TRIALS, replace(place.destination, tracking_uri="carrier-pigeon://loft"))
    assert report.parent_run_id is None
    assert "carrier-pigeon" in report.error


def test_a_running_trial_waits_and_a_pruned_one_is_killed(place: Place) -> None:
    report = place.sync(
        [trial(0, 0.5, state="pruned", reason="worse than the median"), trial(1, None, state="running")]
    )
    assert report.recorded == 1
    assert [run.info.status for run in place.runs()] == ["RUNNING", "KILLED"]


def test_long_curves_and_many_parameters_are_split_into_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    values = {f"p{index}": float(index) for index in range(150)}
    long = trial(0, 0.5, values=values, curve={"loss": [float(index) for index in range(2500)]})
    batches = []
    original = SqlAlchemyStore.log_batch

    def log_batch(store: Any, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        batches.append((len(metrics), len(params), len(tags)))
        original(store, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", log_batch)
    assert place.sync([long]).error == ""
    child = place.snapshot()[1]
    assert len(child["params"]) == 150
    assert len([point for point in child["points"] if point[0] == "curve/loss"]) == 2500
    assert max(metrics for metrics, _, _ in batches) <= 1000
    assert max(params for _, params, _ in batches) <= 100 and max(tags for _, _, tags in batches) <= 100
    assert max(map(sum, batches)) <= 1000


def test_a_large_file_stays_in_the_trial_folder_and_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotune.tracking.trial_runs.FILE_LIMIT_BYTES", 20)
    place.sync(TRIALS)
    last = place.snapshot()[3]
    assert list(last["files"]) == ["facts.txt"]
    assert last["tags"]["autotune.not_copied"].endswith("object.png")


def test_the_incumbent_does_not_depend_on_the_order_in_which_parallel_trials_end() -> None:
    def told(incumbents: Incumbents, trials: dict[int, TrialRecord]) -> list[tuple[int, int | None]]:
        return [(each.number, best and best.number) for each, best, _ in incumbents.advance(trials)]

    parallel = {0: trial(0, 0.5), 1: trial(1, None, state="running"), 2: trial(2, 0.75)}
    step_by_step = Incumbents(CONSISTENCY)
    assert told(step_by_step, parallel) == [(0, 0)]
    assert told(step_by_step, parallel) == []
    parallel[1] = trial(1, 0.25)
    assert told(step_by_step, parallel) == [(1, 0), (2, 2)]
    assert told(Incumbents(CONSISTENCY), parallel) == [(0, 0), (1, 0), (2, 2)]
    assert told(Incumbents(Metric("consistency", "minimize")), parallel) == [(0, 0), (1, 1), (2, 1)]
    assert told(Incumbents(CONSISTENCY), {1: parallel[1]}) == []


def test_of_equal_trials_the_earliest_is_the_incumbent() -> None:
    equal = {number: trial(number, 0.5) for number in range(3)}
    assert [best and best.number for _, best, _ in Incumbents(CONSISTENCY).advance(equal)] == [0, 0, 0]


def test_the_table_is_strict_json() -> None:
    table = trial_table(FACTS, [trial(0, float("inf"))])
    assert json.loads(json.dumps(table, allow_nan=False))["data"][0][6] is None


def test_closing_refreshes_the_statistics_of_sqlite(place: Place) -> None:
    place.sync(TRIALS, "FINISHED")
    with sqlite3.connect(place.folder / "mlflow.db") as connection:
        tables = {row[0] for row in connection.execute("SELECT tbl FROM sqlite_stat1")}
    connection.close()
    assert {"runs", "metrics"} <= tables


def test_the_database_is_asked_nothing_while_a_study_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    asked: list[str] = []
    runs = StudyRuns(FACTS, place.destination)
    for name in ("search_runs", "get_metric_history", "get_run", "list_artifacts", "get_experiment_by_name"):
        monkeypatch.setattr(MlflowClient, name, lambda *_, name=name, **__: asked.append(name))
    for count in range(1, 4):
        trials = {each.number: each for each in TRIALS[:count]}
        runs.children.record(trials)
        runs.record_progress(trials)
    monkeypatch.undo()
    monkeypatch.chdir(place.folder.parent / "current")
    assert asked == [] and len(place.runs()) == 4


def test_a_cheap_trial_is_marked(place: Place) -> None:
    place.sync([trial(0, 0.5), trial(1, 0.9, level=2)])
    parent, full, cheap = place.runs()
    assert "autotune.level" not in full.data.tags and cheap.data.tags["autotune.level"] == "2"
    assert parent.data.metrics["best_consistency"] == parent.data.metrics["trials/consistency"] == 0.5
    assert parent.data.metrics["trials/consistency level 2"] == 0.9
    assert full.data.metrics["consistency"] == 0.5
    assert "consistency" not in cheap.data.metrics and cheap.data.metrics["consistency level 2"] == 0.9


def test_files_that_are_elsewhere_are_added_where_they_are(place: Place, tmp_path: Path, migrated: Path) -> None:
    kept = [replace(each, kept=each.number == 2) for each in TRIALS]
    (place.folder / "trials").rename(place.folder / "on the other machine")
    for complete in (0, 3):
        report = place.sync(kept, "FINISHED")
        assert (report.already_there, report.lacking, report.error) == (complete, 1, "")
        lacking = [run.data.tags.get("autotune.files_missing") for run in place.runs()]
        assert lacking == [None, None, None, "true"]
    (place.folder / "on the other machine").rename(place.folder / "trials")
    assert place.sync(kept, "FINISHED").lacking == 0
    undisturbed = make_place(tmp_path / "undisturbed", migrated)
    undisturbed.sync(kept, "FINISHED")
    assert place.snapshot() == undisturbed.snapshot()
    assert place.snapshot()[3]["files"].keys() == {"facts.txt", "pictures/object.png"}


def test_what_a_trial_says_at_length_is_cut_to_what_mlflow_holds(place: Place) -> None:
    place.sync([trial(0, None, state="failed", reason="no\0 end " + 20_000 * "x", values={"solver": 7000 * "y"})])
    child = place.runs()[1]
    reason = child.data.tags["autotune.reason"]
    assert len(reason) == 8000 and reason.startswith("no end xxx") and reason.endswith("x ...")
    assert len(child.data.params["solver"]) == 6000


def test_a_trial_that_mlflow_refuses_holds_up_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    original = MlflowClient.log_batch

    def refuse(client: Any, run_id: str, *rest: Any, **named: Any) -> None:
        if client.get_run(run_id).data.tags.get("autotune.trial") == "1":
            raise MlflowException.invalid_parameter_value("not like this")
        original(client, run_id, *rest, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    recorder = Recorder(FACTS, place.destination)
    recorder.start()
    for each in TRIALS:
        recorder.submit(each)
    report = recorder.finish(Closing("FINISHED"), TRIALS)
    assert report.recorded == 2
    assert "1 trials refused, trial 1: MlflowException: not like this" in report.error
    assert [run.info.status for run in place.runs()] == ["FINISHED", "FINISHED", "RUNNING", "FINISHED"]
    monkeypatch.undo()
    monkeypatch.chdir(place.folder.parent / "current")
    assert place.sync(TRIALS, "FINISHED").recorded == 1


def test_a_parent_that_was_made_twice_is_kept_once(place: Place, tmp_path: Path, migrated: Path) -> None:
    place.sync(TRIALS, "FINISHED")
    first = place.runs()[0]
    tags = {"autotune.study_id": FACTS.study_id}
    again = place.client().create_run(first.info.experiment_id, first.info.start_time + 1, tags).info.run_id
    child = {"mlflow.parentRunId": again, "autotune.trial": "0"}
    place.client().create_run(first.info.experiment_id, 5, child)
    assert len(place.runs()) == 6
    assert place.sync(TRIALS, "FINISHED").recorded == 0
    undisturbed = make_place(tmp_path / "undisturbed", migrated)
    undisturbed.sync(TRIALS, "FINISHED")
    assert place.snapshot() == undisturbed.snapshot()


def test_a_recorder_that_does_not_lead_writes_its_own_trials_alone(place: Place, tmp_path: Path) -> None:
    early = Recorder(FACTS, place.destination, leads=lambda: False)
    early.start()
    assert "the study's run is not in MLflow" in early.finish(Closing(None), []).error
    place.sync([TRIALS[0]])
    before = place.snapshot()
    beside = Recorder(FACTS, place.destination, leads=lambda: False)
    beside.start()
    beside.submit(TRIALS[2])
    closing = Closing(None, {"consistency": 1.0}, [tmp_path / "none"])
    assert beside.finish(closing, [TRIALS[2]], others=[TRIALS[0]]).error == ""
    after = place.snapshot()
    assert after[:2] == before and after[2]["name"] == "trial 002"
    leads = False
    beside = Recorder(FACTS, place.destination, leads=lambda: leads)
    beside.start()
    leads = True
    beside.start([TRIALS[1]], [TRIALS[0]])
    report = beside.finish(Closing("FINISHED"), TRIALS)
    assert (report.recorded, report.error) == (1, "")
    assert [run.info.status for run in place.runs()] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert place.runs()[0].data.metrics["best_consistency"] == 0.75


def test_no_other_run_can_open_the_record_before_it_is_shown_as_running(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run might be the last one, and end the parent first."""
    done: list[str] = []

    @contextmanager
    def opening() -> Iterator[None]:
        done.append("opens")
        yield
        done.append("lets others open")

    monkeypatch.setattr(StudyRuns, "mark_running", lambda runs: done.append("running"))
    recorder = Recorder(FACTS, place.destination, opening=opening)
    recorder.start()
    wait_until(lambda: "lets others open" in done)
    assert recorder.finish(Closing("FINISHED"), []).error == ""
    assert done == ["opens", "running", "lets others open"]


def test_a_password_is_not_in_the_message(place: Place) -> None:
    report = sync(FACTS, TRIALS, replace(place.destination, tracking_uri="carrier-pigeon://ada:secret@loft"))
    assert "carrier-pigeon" in report.error and "secret" not in report.error


def test_a_deleted_experiment_is_named(place: Place) -> None:
    place.sync(TRIALS)
    place.client().delete_experiment(place.runs()[0].info.experiment_id)
    assert "'beamline 7' was deleted" in place.sync(TRIALS).error


def test_a_study_id_that_could_break_the_search_is_refused() -> None:
    with pytest.raises(ValueError, match="study_id"):
        replace(FACTS, study_id="x' OR 'a' = 'a")


@pytest.mark.slow
def test_two_studies_may_create_the_database_at_the_same_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "from tests.autotune.tracking.test_recorder import FACTS, TRIALS, Place;"
        "from autotune.tracking import sync; place = Place(Path(sys.argv[1]));"
        "report = sync(replace(FACTS, study_id=sys.argv[2]), TRIALS, place.destination);"
        "sys.exit(report.error or None)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new"), name], env=environment)
        for name in ("first", "second", "third")
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert len(Place(tmp_path / "new").runs()) == 3 * 4


def test_ui_says_where_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "nowhere"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="nothing is recorded here yet") as caught:
        ui()
    assert caught.value.exit_code == 2
    assert not (tmp_path / "nowhere").exists()


def test_ui_says_that_a_port_is_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_HOME", str(place.folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(InputError, match="cannot listen"):
            ui(port=server.getsockname()[1])


def test_ui_points_to_a_server_that_runs_already(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    ui()
    assert "https://mlflow.example.org" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("way_out", [signal.SIGINT, signal.SIGTERM])
def test_ui_serves_the_record_until_told_to_end(place: Place, way_out: signal.Signals) -> None:
    place.sync(TRIALS, "FINISHED")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: text for name, text in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    server = subprocess.Popen(
        [sys.executable, "-c", f"from autotune.cli.ui import ui; ui(port={port})"],
        env=environment | {"AUTOTUNE_HOME": str(place.folder), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server.stdout:
        try:
            assert f"http://127.0.0.1:{port}" in server.stdout.readline()
            child = place.runs()[3].info.run_id
            url = f"http://127.0.0.1:{port}/get-artifact?path=pictures%2Fobject.png&run_uuid={child}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.read() == PNG
        finally:
            server.send_signal(way_out)
            assert server.wait(30) == 0
        assert server.stdout.read() == ""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def milliseconds(moment: datetime | None) -> int:
    assert moment is not None
    return round(moment.timestamp() * 1000)


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
