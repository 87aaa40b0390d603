"""Studies of measurements at a service: each is submitted once, and its answer fetched when it has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.client import Client, ServiceError
from autotune.watching import service_runs
from autotune.watching.folder import Folder
from autotune.watching.records import Records
from autotune.watching.service_runs import ServiceRuns
from autotune.watching.template import Template
from autotune.watching.watch import Watch
from tests.autotune.client.acted import ABOUT, Acted, answers, problem
from tests.autotune.client.serving import Served, serving
from tests.autotune.watching.measured import FOR_SERVICE, write_measurement, write_template
from tests.autotune.watching.test_watch import Always

OBJECTIVES = ("tests.autotune.watching.measured:measured",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    write_template(tmp_path, FOR_SERVICE)
    return tmp_path / "in"


@pytest.fixture
def served(tmp_path: Path, folder: Path) -> Iterator[Served]:
    with serving(tmp_path / "service", roots=(folder,), objectives=OBJECTIVES) as service:
        yield service


def watch_of(folder: Path, client: Client, said: list[str]) -> Watch:
    records, template = Records(folder.parent / "home", said.append), Template(folder.parent / "template.yaml")
    watched = Folder(folder, "*.h5", 0.0, records.refused(), folder.parent / "home")
    runs = ServiceRuns("http://service.test", client, records, template, said.append)
    return Watch(watched, records, runs, Always(), template, said.append)


def test_all_are_queued_at_once_and_answered(folder: Path, served: Served) -> None:
    said: list[str] = []
    served.actor.held.clear()
    with Client(served.url, retry_seconds=0) as client:
        for name in ("a", "b"):
            write_measurement(folder / f"{name}.h5")
        assert not watch_of(folder, client, said).step()
        assert len(client.list()) == 2
        again = watch_of(folder, client, said)  # after a kill
        assert not again.step() and len(client.list()) == 2
        served.actor.held.set()
        deadline = time.monotonic() + 20
        while not again.step():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        studies = {study.name.partition("-")[0]: study for study in client.list()}
    for name, study in studies.items():
        answer = json.loads((folder / f"{name}.result.json").read_text())
        assert (answer["status"], answer["id"], answer["service"]) == ("finished", study.id, "http://service.test")
        assert answer["result"]["best_trial"] == 2 and study.data == str(folder / f"{name}.h5")
    assert again.failed == 0


def test_a_study_that_failed_or_was_refused_is_answered_too(folder: Path, served: Served, tmp_path: Path) -> None:
    served.actor.code = 3
    write_measurement(folder / "a.h5")
    outside = tmp_path / "outside.h5"
    write_measurement(outside)
    (folder / "b.h5").symlink_to(outside)
    with Client(served.url, retry_seconds=0) as client:
        watch = watch_of(folder, client, [])
        deadline = time.monotonic() + 20
        while not watch.step():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    answers_of = {name: json.loads((folder / f"{name}.result.json").read_text()) for name in ("a", "b")}
    assert (answers_of["a"]["status"], answers_of["a"]["result"]) == ("failed", None)
    assert answers_of["b"]["status"] == "rejected" and "is not below the folders" in answers_of["b"]["reason"]
    assert watch.failed == 2


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that did not answer is asked again at once."""
    monkeypatch.setattr(service_runs, "_REST", 0.0)


@pytest.mark.usefixtures("steps")
def test_a_service_that_is_away_is_told_once_and_asked_again(folder: Path) -> None:
    import httpx

    said: list[str] = []
    write_measurement(folder / "a.h5")
    away = httpx.ConnectError("connection refused")
    gone = answers(202, ABOUT)
    acted = Acted(away, away, problem(429, "3 of your studies wait"), gone, away, problem(404, "there is no study"))
    watch = watch_of(folder, acted.client(retry_seconds=0), said)
    assert not watch.step() and not watch.step() and not watch.step()
    assert not watch.step()  # it is queued
    assert len([line for line in said if "is asked again every" in line]) == 1 and "answers again" in said[-2]
    assert not watch.step()
    assert watch.step()
    answer = json.loads((folder / "a.result.json").read_text())
    assert answer["reason"] == "the service does not have the study any more"
    keys = {request.headers["idempotency-key"] for request in acted.requests if request.method == "POST"}
    assert len(keys) == 1


def test_a_token_that_does_not_do_ends_the_watch(folder: Path) -> None:
    write_measurement(folder / "a.h5")
    watch = watch_of(folder, Acted(problem(401, "a valid token is needed")).client(retry_seconds=0), [])
    with pytest.raises(ServiceError, match="AUTOTUNE_TOKEN"):
        watch.step()
    acted = Acted(answers(202, ABOUT))  # with the right one, it goes on
    assert not watch_of(folder, acted.client(), []).step() and len(acted.requests) == 1


def test_a_template_that_became_wrong_is_an_answer(folder: Path) -> None:
    write_measurement(folder / "a.h5")
    (folder.parent / "template.yaml").write_text("name: [")
    assert watch_of(folder, Acted().client(), []).step()
    answer = json.loads((folder / "a.result.json").read_text())
    assert answer["status"] == "rejected" and "template.yaml" in answer["reason"]
