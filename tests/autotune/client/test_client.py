"""The blocking client against the real service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.client import Client, ServiceError
from autotune.errors import InputError
from autotune.service.tokens import Tokens
from tests.autotune.client.serving import STUDY, TRIALS, Served, free_port, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, retry_seconds=0) as client:
        yield client


def test_a_study_from_submission_to_answer(client: Client, served: Served, tmp_path: Path) -> None:
    study = client.submit(STUDY)
    assert (study.name, study.owner) == ("toy", "local") and study.study == f"toy-{study.id}"
    events = list(client.events(study))
    assert [event.data for event in events] == served.events_of(study.id)
    kinds = [event.event for event in events]
    assert kinds.count("ended") == TRIALS and kinds[-1] == "state" and events[-1].data["state"] == "finished"
    assert "\u2028" in next(event.data["warning"] for event in events if event.event == "warned")

    ended = client.wait(study.id, timeout=10)
    assert ended.has_ended and ended.has_finished and ended.ended is not None
    assert (ended.progress.trials, ended.progress.best) == (TRIALS, pytest.approx(0.9))
    assert f"study {study.id} (toy) is finished, 3 of 3 trials, consistency 0.9" in str(ended)
    result = client.result(study)
    assert (result.study, result.status, result.best_trial) == (study.study, "finished", 2)
    assert "the log's last line" in client.log(study)

    sizes = {artifact.name: artifact.bytes for artifact in client.artifacts(study)}
    assert sizes["trials/large.h5"] == 1_024_000
    assert client.report(study, tmp_path).read_text() == "<html>a report</html>"
    path = client.artifact(study, "trials/large.h5", tmp_path / "own.h5")
    assert path.stat().st_size == 1_024_000 and path.read_bytes()[255:257] == b"\xff\x00"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["own.h5", "report.html"]
    client.delete(study)
    with pytest.raises(ServiceError, match="404 Not Found: there is no study of this id"):
        client.get(study)


def test_events_begin_after_one_of_them(client: Client) -> None:
    study = client.submit(STUDY)
    events = list(client.events(study))
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert list(client.events(study, after=events[2].id)) == events[3:]
    assert list(client.events(study, after=events[-1].id)) == []


def test_each_event_once_although_the_service_is_restarted(tmp_path: Path) -> None:
    port = free_port()
    seen, reached = [], threading.Event()

    def follow() -> None:
        with Client(f"http://127.0.0.1:{port}", retry_seconds=20) as client:
            for event in client.events(identifier):
                seen.append(event)
                if event.event == "warned":
                    reached.set()

    with serving(tmp_path, port) as first:
        first.actor.held.clear()
        with Client(first.url) as client:
            identifier = client.submit(STUDY).id
        thread = threading.Thread(target=follow)
        thread.start()
        assert reached.wait(10)
    with serving(tmp_path, port) as second:
        thread.join(20)
        assert not thread.is_alive()
        assert [event.data for event in seen] == second.events_of(identifier)
        assert seen[-1].data["state"] == "finished"


def test_the_same_key_is_one_study(client: Client, served: Served) -> None:
    before = len(client.list(limit=None))
    first, second = client.submit(STUDY, key="scan-7"), client.submit(STUDY, key="scan-7")
    assert first.id == second.id and len(client.list(limit=None)) == before + 1
    assert client.submit(STUDY).id != client.submit(STUDY).id
    with pytest.raises(ServiceError, match="Idempotency-Key: belongs to a study with another text") as refused:
        client.submit(STUDY | {"name": "other"}, key="scan-7")
    assert refused.value.status == 422 and refused.value.exit_code == 2


def test_a_file_a_text_and_a_dict_are_the_same_study(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("\ufeff" + json.dumps(STUDY, indent=1))
    for study in (path, str(path), json.dumps(STUDY), json.dumps(STUDY, indent=1), STUDY | {"name": path.stem}):
        assert client.submit(study).state in ("queued", "starting", "running", "finished")


def test_a_study_that_cannot_be_run_says_what_is_wrong(client: Client) -> None:
    with pytest.raises(ServiceError) as refused:
        client.submit(STUDY | {"budget": {"trials": 10**6}, "execution": {"workers": 9}})
    [execution, trials] = refused.value.problems
    assert "execution" in execution.where and "operator" in execution.what and "leave it out" in execution.remedy
    assert "budget.trials" in trials.where and trials.remedy == "at most 10000"
    assert refused.value.detail == "this study cannot be run here"


def test_a_failed_study_ends_and_resumes(client: Client, served: Served) -> None:
    served.actor.code = 3
    try:
        failed = client.wait(client.submit(STUDY))
    finally:
        served.actor.code = 0
    assert failed.state == "failed" and failed.reason == "Error: the log's last line" and not failed.has_finished
    with pytest.raises(ServiceError, match="has ended without its result"):
        client.result(failed)
    assert client.wait(client.resume(failed)).state == "finished"
    with pytest.raises(ServiceError, match="409 Conflict: the study is finished"):
        client.resume(failed)


def test_a_running_study_is_waited_for_cancelled_and_listed(client: Client, served: Served) -> None:
    served.actor.held.clear()
    try:
        study = client.submit(STUDY)
        with pytest.raises(TimeoutError, match=f"study {study.id} .toy. is .* after 0.3 s"):
            client.wait(study, timeout=0.3)
        assert [one.id for one in client.list(["starting", "running"])] == [study.id]
        assert client.cancel(study).state == "cancelling"
        assert client.wait(study, timeout=10).state == "cancelled"
    finally:
        served.actor.held.set()
    with pytest.raises(ServiceError, match="it is cancelled"):
        client.cancel(study)


def test_lists_go_over_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        client.submit(STUDY)
    everything = client.list(limit=None)
    monkeypatch.setattr("autotune.client.operations._PAGE", 2)
    assert [one.id for one in client.list(limit=None)] == [one.id for one in everything]
    assert [one.id for one in client.list(limit=3)] == [one.id for one in everything[:3]]
    with pytest.raises(ServiceError, match="state"):
        client.list(["odd"])


def test_a_check_says_what_would_be_run(client: Client) -> None:
    with pytest.raises(ServiceError, match=r"objective.name: .*nothing"):
        client.check(STUDY | {"objective": {"name": "nothing"}})


def test_a_calibration_that_is_not_there_is_refused(client: Client) -> None:
    with pytest.raises(ServiceError) as refused:
        client.calibration("titan-300kv")
    assert refused.value.status == 404


def test_a_service_with_tokens(tmp_path: Path) -> None:
    with serving(tmp_path, tokens=True) as served:
        tokens: Tokens = served.app.state.tokens
        _, reader = tokens.new("ann", "read", None)
        _, submitter = tokens.new("bob", "submit", None)
        with Client(served.url, submitter, retry_seconds=0) as client:
            study = client.wait(client.submit(STUDY))
            assert study.owner == "bob"
        with Client(served.url, reader, retry_seconds=0) as client:
            assert client.get(study).name == "toy"
            with pytest.raises(ServiceError, match="403 Forbidden: this token may not") as forbidden:
                client.submit(STUDY)
        for token in (None, "autotune_wrong"):
            with (
                Client(served.url, token, retry_seconds=0) as client,
                pytest.raises(ServiceError, match="401 Unauthorized: a valid token is needed; give a valid") as refused,
            ):
                client.list()
            assert "autotune_wrong" not in str(refused.value) + repr(refused.value) + repr(client)
        assert forbidden.value.exit_code == refused.value.exit_code == 2


def test_downloads_into_nowhere_are_refused(client: Client, tmp_path: Path) -> None:
    study = client.wait(client.submit(STUDY))
    with pytest.raises(InputError, match="its folder does not exist"):
        client.report(study, tmp_path / "no" / "report.html")
    with pytest.raises(ServiceError, match="404"):
        client.artifact(study, "../../../etc/passwd", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_is_not_asked_for_this_machine(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with Client(served.url, retry_seconds=0) as client:
        client.list()
    with (
        Client("http://service.test", retry_seconds=0) as client,
        pytest.raises(ServiceError, match="cannot be reached"),
    ):
        client.list()
