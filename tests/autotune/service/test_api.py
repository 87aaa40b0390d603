"""The REST interface: submitting, listing, following, cancelling, resuming, deleting; and what goes wrong."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from autotune.service import board
from autotune.service.routes import follow
from autotune.service.settings import Limits, ServiceSettings
from tests.autotune.service.conftest import Running, serving, study

Serve = Callable[..., Running]


def events(client: httpx.Client, identifier: str, after: int = 0) -> Iterator[tuple[int, dict[str, object]]]:
    """The events of a study, with their ids, until the stream ends."""
    with client.stream("GET", f"/studies/{identifier}/events", params={"after": after}) as stream:
        assert stream.status_code == 200 and stream.headers["content-type"].startswith("text/event-stream")
        place = 0
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
            elif line.startswith("id: "):
                place = int(line[4:])
            elif not line and place:
                yield place, event
                place = 0


def test_a_study_is_queued_run_and_collected(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    answer = service.submit(study("sleep 0.3"))
    assert answer.status_code == 202
    about = answer.json()
    assert answer.headers["location"] == about["links"]["self"] == f"/api/v1/studies/{about['id']}"
    assert about["name"] == "toy" and about["study"] == f"toy-{about['id']}" and about["owner"] == "local"
    assert about["state"] in ("queued", "starting") and about["created"].endswith("+00:00")
    service.until(about["id"], "finished")
    with service.client() as client:
        done = client.get(f"/studies/{about['id']}").json()
        assert done["progress"] == done["progress"] | {"trials": 1, "budget": 4, "best": 0.5, "noise_ceiling": 0.9}
        assert done["attempts"] == 1 and done["ended"] > done["started"] > done["created"]
        assert client.get(f"/studies/{about['id']}/result").status_code == 404  # the toy leaves none
        assert '"file": ' in client.get(f"/studies/{about['id']}/study").text
        assert client.delete(f"/studies/{about['id']}").status_code == 204
        assert client.get(f"/studies/{about['id']}").status_code == 404
    assert not settings.job(about["id"]).exists()


def test_events_come_once_each_also_across_a_restart(settings: ServiceSettings, serve: Serve) -> None:
    with serving(settings) as first:
        identifier = first.submit(study("sleep 3")).json()["id"]
        first.until(identifier, "running")
        with first.client() as client:
            seen = []
            for after, event in events(client, identifier):
                seen.append(event)
                place = after
                if event["event"] == "ended":
                    break
    service = serve(settings)
    with service.client() as client:
        seen += [event for _, event in events(client, identifier, place)]
        whole = [event for _, event in events(client, identifier)]
        assert seen == whole
        assert [e["state"] for e in whole if e["event"] == "state"] == ["queued", "starting", "running", "finished"]
        assert [e["event"] for e in whole].count("ended") == 1
        last = list(events(client, identifier))[-1][0]
        nothing = client.get(f"/studies/{identifier}/events", headers={"Last-Event-ID": str(last)})
        assert nothing.status_code == 204


def test_one_key_is_one_study(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    with ThreadPoolExecutor(50) as pool:
        texts = [study("sleep 1")] * 50
        answers = list(pool.map(lambda text: service.submit(text, **{"Idempotency-Key": "k"}), texts))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1 and len(service.app.state.board.all()) == 1
    other = service.submit(study("sleep 2"), **{"Idempotency-Key": "k"})
    assert other.status_code == 422 and "another study" in other.json()["detail"]
    assert service.submit(study("sleep 1"), **{"Idempotency-Key": "l"}).json()["id"] != answers[0].json()["id"]


def test_many_clients_lose_nothing(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(parallel=1, queued=1000)))
    blocker = service.submit(study("sleep 60")).json()["id"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda n: service.submit(study(name=f"s{n}"), **{"Idempotency-Key": str(n)}), range(100))
        )
    assert [answer.status_code for answer in answers] == [202] * 100
    ids = [answer.json()["id"] for answer in answers]
    assert len(set(ids)) == 100
    found: list[str] = []
    with service.client() as client:
        path: str | None = "/api/v1/studies?limit=30"
        while path is not None:
            page = client.get(f"{service.url}{path}").json()
            found += [one["id"] for one in page["studies"]]
            path = page["next"]
        assert found[-1] == blocker and set(found) == {blocker, *ids} and len(found) == 101
        positions = [client.get(f"/studies/{one}").json()["position"] for one in ids]
        assert sorted(positions) == list(range(1, 101))
        queued = client.get("/studies", params={"state": "queued", "limit": 500}).json()["studies"]
        assert len(queued) == 100 and {one["state"] for one in queued} == {"queued"}


def test_cancelling_resuming_and_what_is_in_the_way(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(parallel=1)))
    running, waiting = (service.submit(study("sleep 60", name=name)).json()["id"] for name in ("a", "b"))
    service.until(running, "running")
    with service.client() as client:
        assert client.delete(f"/studies/{running}").status_code == 409
        assert client.post(f"/studies/{running}/resume").status_code == 409
        assert client.post(f"/studies/{waiting}/cancel").json()["state"] == "cancelled"
        assert client.post(f"/studies/{waiting}/cancel").status_code == 409
        assert client.post(f"/studies/{running}/cancel").json()["state"] == "cancelling"
        assert client.post(f"/studies/{running}/cancel").status_code == 202
        service.until(running, "cancelled")
        assert client.get(f"/studies/{running}").json()["reason"] == "cancelled by local"
        assert client.post(f"/studies/{running}/resume").json()["state"] in ("queued", "starting")
        service.until(running, "running")
        assert client.get(f"/studies/{running}").json()["attempts"] == 2


def test_limits_of_the_queue(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(parallel=1, queued=3, queued_each=2, submissions=6)))
    first = service.submit(study("sleep 60")).json()["id"]
    service.until(first, "running")
    codes = [service.submit(study(name=f"s{n}")).status_code for n in range(6)]
    assert codes[:2] == [202, 202] and codes[2] == 429 and codes[5] == 429
    slow = service.submit(study())
    assert slow.status_code == 429 and "retry-after" in slow.headers and "minute" in slow.json()["detail"]


@pytest.mark.parametrize(
    ("text", "kind", "status", "what"),
    [
        ("", "application/yaml", 400, "empty"),
        (b"\xff\xfe\xff", "application/yaml", 400, "UTF-8"),
        ("a: 1", "text/plain", 415, "text/plain"),
        ("a: [1", "application/yaml", 422, "study.yaml:1"),
        ("- a", "application/json", 422, "a list"),
        ("name: x", "application/yaml", 422, "objective"),
        ("a: &a [*a]", "application/yaml", 422, "study.yaml"),
        ("x" * 1_000_001, "application/yaml", 413, "1000000 bytes"),
        ("? " * 1000, "application/yaml", 422, "study.yaml"),
        ("[" * 100_000, "application/yaml", 422, "study.yaml"),
        ("\n".join(f"k{n}: 1" for n in range(5000)), "application/yaml", 422, "more problems"),
    ],
)  # fmt: skip
def test_bad_bodies_are_problem_details(
    text: str | bytes, kind: str, status: int, what: str, settings: ServiceSettings, serve: Serve
) -> None:
    service = serve(settings)
    with service.client() as client:
        for path in ("/studies", "/check"):
            answer = client.post(path, content=text, headers={"Content-Type": kind})
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            details = answer.json()
            assert details["status"] == status and len(details["problems"]) <= 50 and what in answer.text
    assert not service.app.state.board.all()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/nothing", 422), ("/studies/0123456789ab", 404), ("/studies?limit=0", 422), ("/nothing", 404),
        ("/studies?limit=501", 422), ("/studies?limit=1e99", 422), ("/studies?state=odd", 422),
        ("/studies?after=0123456789ab", 404),
        ("/studies/0123456789ab/events", 404), ("/studies/0123456789ab/events?after=-1", 422),
        ("/studies/0123456789ab/report", 404), ("/calibrations/nothing", 404), ("/calibrations/%2e%2e", 422),
    ],
)  # fmt: skip
def test_bad_paths_are_problem_details(path: str, status: int, settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    with service.client() as client:
        answer = client.get(path)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
        assert client.put("/studies").status_code == 405


def test_the_schema_declares_every_path_and_status(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    with service.client() as client:
        schema = client.get("/openapi.json").json()
    assert {"/api/v1/studies", "/api/v1/studies/{identifier}/events", "/api/v1/check", "/healthz", "/metrics"} <= set(
        schema["paths"]
    )
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            assert {"400", "401", "403", "429", "503"} <= set(about["responses"]), (path, method)
            for parameter in about.get("parameters", ()):
                kind = parameter["schema"]
                if kind.get("type") == "integer":
                    assert "minimum" in kind and "maximum" in kind, (path, parameter)
    assert "HTTPValidationError" not in json.dumps(schema)


def test_how_the_service_is(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    identifier = service.submit(study("exit 3")).json()["id"]
    service.until(identifier, "failed")
    with service.client() as client:
        assert client.get(f"{service.url}/healthz").json() == {"status": "ok"}
        assert client.get(f"{service.url}/readyz").status_code == 200
        metrics = client.get(f"{service.url}/metrics").text
        assert 'autotune_studies{state="failed"} 1' in metrics and metrics.endswith("\n")
        assert client.get(f"/studies/{identifier}").json()["reason"] == "Error: it went wrong"
        assert "it went wrong" in client.get(f"/studies/{identifier}/log").text


def test_too_many_streams_are_refused(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(streams=1)))
    identifier = service.submit(study("sleep 60")).json()["id"]
    service.until(identifier, "running")
    opened, done = threading.Event(), threading.Event()

    def hold() -> None:
        with service.client() as client, client.stream("GET", f"/studies/{identifier}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("id:"):
                    opened.set()
                if done.is_set():
                    return

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert opened.wait(10)
    with service.client() as client:
        assert client.get(f"/studies/{identifier}/events").status_code == 503
        done.set()
        client.post(f"/studies/{identifier}/cancel")
    thread.join(10)


def test_a_stream_ends_with_its_token(settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_TOKEN_SECONDS", 0.3)
    service = serve(replace(settings, tokens=True))
    tokens = service.app.state.tokens
    token, secret = tokens.new("ada", "submit", None)
    with service.client(headers={"Authorization": f"Bearer {secret}"}) as client:
        kind = {"Content-Type": "application/yaml"}
        identifier = client.post("/studies", content=study("sleep 600"), headers=kind).json()["id"]
        service.until(identifier, "running")
        seen = 0
        for _ in events(client, identifier):
            seen += 1
            if seen == 4:
                tokens.revoke(token.id)
        assert seen >= 4 and service.state(identifier) == "running"


def test_a_study_that_simulates_is_checked(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    simulate = {"detector_pixels": 16, "angular_sampling_mrad": 4.2, "scan_points": 5}
    objective = {"name": "ptychography", "data": {"file": "made.h5"}, "simulate": simulate}
    kind = {"Content-Type": "application/yaml"}
    with service.client() as client:
        checked = client.post("/check", content=study(objective=objective), headers=kind, timeout=60)
        assert checked.status_code == 200 and "16 x 16" in checked.json()["plan"]
        missing = client.post("/check", content=study(), headers=kind, timeout=60)
        assert missing.status_code == 422 and "scan.h5" in missing.text
    assert not list(settings.folder.glob("studies/*"))


def test_a_waiting_study_has_a_place_also_where_it_is_started_meanwhile(
    settings: ServiceSettings, serve: Serve
) -> None:
    service = serve(settings)
    answers = [service.submit(study(name=f"s{n}")).json() for n in range(10)]
    assert all((answer["position"] or 1) >= 1 for answer in answers)


def test_a_disk_that_takes_nothing_is_said(
    settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    service = serve(settings)
    monkeypatch.setattr(board, "write_whole", full)
    answer = service.submit(study(), **{"Idempotency-Key": "k"})
    assert answer.status_code == 503 and "retry-after" in answer.headers and not service.app.state.board.all()
    monkeypatch.undo()
    assert service.submit(study(), **{"Idempotency-Key": "k"}).status_code == 202
    assert len(list((settings.folder / "studies").iterdir())) == 1


def test_a_study_that_learns_from_another_here_is_checked_as_it_is_submitted(
    settings: ServiceSettings, serve: Serve
) -> None:
    service = serve(settings)
    first = service.submit(study()).json()["id"]
    kind = {"Content-Type": "application/yaml"}
    with service.client() as client:
        for source, said in ((first, False), ("other", True)):
            text = study(search={"warm_start": [source]})
            checked = client.post("/check", content=text, headers=kind, timeout=60)
            assert ("there is no study" in checked.text) is said
            assert (service.submit(text).status_code == 422) is said
