"""What a client repeats, how long, and that nothing has its effect twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from autotune.client import Client, ServiceError, connection
from autotune.client.persistence import Attempts, _retry_after
from autotune.client.steps import Call
from autotune.errors import InputError
from tests.autotune.client.acted import ABOUT, Acted, Broken, answers, problem

TEXT = "name: toy\nobjective: {name: ptychography}\n"
TOKEN = "autotune_secret"  # noqa: S105
LOST = httpx.ReadError("connection reset")
REFUSED = httpx.ConnectError("connection refused")


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of a test, in seconds, which are not waited."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_a_submission_is_repeated_with_its_key_until_it_is_answered(naps: list[float]) -> None:
    busy = problem(503, "the queue is full", **{"Retry-After": "7"})
    acted = Acted(REFUSED, LOST, busy, problem(429, "too many"), problem(409, "ask again"), answers(202, ABOUT))
    study = acted.client().submit(TEXT)
    assert study.id == ABOUT["id"]
    keys = {request.headers["idempotency-key"] for request in acted.requests}
    assert len(acted.requests) == 6 and len(keys) == 1 and len(keys.pop()) == 32
    assert {request.content for request in acted.requests} == {TEXT.encode()}
    assert str(acted.requests[0].url) == "http://service.test/prefix/api/v1/studies"
    assert naps[2] == 7.0 and all(0.1 < nap < 5 for nap in naps if nap != 7.0)


def test_a_study_of_another_submission_has_another_key() -> None:
    acted = Acted(answers(202, ABOUT), answers(202, ABOUT))
    with acted.client() as client:
        client.submit(TEXT)
        client.submit(TEXT)
    first, second = (request.headers["idempotency-key"] for request in acted.requests)
    assert first != second


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 500])
def test_a_mistake_is_not_repeated(status: int) -> None:
    acted = Acted(problem(status, "no"))
    with pytest.raises(ServiceError, match=f"POST http://service.test/.* {status} .*: no") as refused:
        acted.client().submit(TEXT)
    assert refused.value.status == status and refused.value.detail == "no"
    assert refused.value.exit_code == (3 if status == 500 else 2)


def test_a_service_that_is_away_for_too_long_is_reported(naps: list[float]) -> None:
    acted = Acted(REFUSED)
    with pytest.raises(ServiceError, match="cannot be reached: connection refused; see that it runs") as lost:
        acted.client(retry_seconds=0).get("a")
    assert lost.value.status is None and lost.value.exit_code == 3 and naps == []
    acted = Acted(problem(503, "full", **{"Retry-After": "3600"}))
    with pytest.raises(ServiceError, match="503 Service Unavailable: full"):
        acted.client().get("a")
    assert naps == []


def test_what_never_passes_is_not_repeated(naps: list[float]) -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        Acted(error).client().get("a")
    assert naps == []


def test_the_time_is_counted_from_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    attempts = Attempts(Call("GET", "http://service.test"), 10.0)
    clock[0] += 500
    assert attempts.after_answer(503, {"retry-after": "9"}) == 9.0
    clock[0] += 5
    assert attempts.after_answer(503, {"retry-after": "9"}) is None
    attempts.renew()
    assert attempts.after_answer(503, {"retry-after": "9"}) == 9.0


def test_retry_after_is_seconds_or_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (_retry_after(soon) or 0) <= 30 and _retry_after(" 12 ") == 12
    assert _retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert _retry_after("soon") is _retry_after("") is _retry_after("-3") is None


def test_a_repeated_cancellation_that_had_its_effect_is_no_error() -> None:
    ended = problem(409, "the study has ended: it is cancelled")
    acted = Acted(LOST, ended, answers(200, ABOUT | {"state": "cancelled"}))
    assert acted.client().cancel("a").state == "cancelled"
    acted = Acted(LOST, ended, answers(200, ABOUT | {"state": "finished"}))
    with pytest.raises(ServiceError, match="409 Conflict"):
        acted.client().cancel("a")
    with pytest.raises(ServiceError, match="409 Conflict"):
        Acted(REFUSED, ended).client().cancel("a")  # no attempt before had reached the service


def test_a_repeated_resumption_and_deletion_that_had_their_effect_are_no_errors() -> None:
    acted = Acted(LOST, problem(409, "the study is running"), answers(200, ABOUT | {"state": "running"}))
    assert acted.client().resume("a").state == "running"
    Acted(LOST, problem(404, "there is no study")).client().delete("a")
    with pytest.raises(ServiceError, match="404"):
        Acted(problem(404, "there is no study")).client().delete("a")


def test_a_download_that_is_cut_off_begins_again_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("of yesterday")
    acted = Acted(httpx.Response(200, stream=Broken(b"<html>")), httpx.Response(200, content=b"<html>whole"))
    assert acted.client().report("a", target).read_text() == "<html>whole"
    acted = Acted(httpx.Response(200, stream=Broken(b"<html>")))
    with pytest.raises(ServiceError, match="cannot be reached"):
        acted.client(retry_seconds=0).report("a", target)
    assert target.read_text() == "<html>whole" and list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_no_fault_of_the_service(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report.html: cannot be written"):
        Acted(httpx.Response(200, content=b"x")).client().report("a", folder)
    assert list(folder.iterdir()) == [folder / "report.html"]


def test_a_stream_that_ends_in_order_without_news_is_asked_twice_once_the_study_has_ended() -> None:
    """Its process may have printed lines behind the last event, which are none."""
    kind = {"content-type": "text/event-stream; charset=utf-8"}
    event = b'id: 9\ndata: {"event": "ended"}\n\n'
    late = b'id: 12\ndata: {"event": "state"}\n\n'
    over = answers(200, ABOUT | {"state": "finished", "ended": ABOUT["created"]})
    bodies = (
        httpx.Response(200, headers=kind, content=body) for body in (event, b": ping\n\n", event + late, b"", b"")
    )
    first, silent, third, empty, last = bodies
    acted = Acted(first, silent, over, third, empty, last)
    assert [one.id for one in acted.client().events("a")] == [9, 12]
    streams = [request for request in acted.requests if request.url.path.endswith("events")]
    assert [request.headers.get("last-event-id") for request in streams] == [None, "9", "9", "12"]


def test_a_stream_goes_on_after_a_cut_and_ends_with_204() -> None:
    kind = {"content-type": "text/event-stream"}
    cut = httpx.Response(200, headers=kind, stream=Broken(b'id: 5\ndata: {"event": "a"}\n\nid: 9\ndata: {"ev'))
    rest = httpx.Response(200, headers=kind, content=b'id: 9\ndata: {"event": "b"}\n\n')
    acted = Acted(REFUSED, cut, LOST, problem(503, "too many event streams"), rest, httpx.Response(204))
    assert [(one.id, one.event) for one in acted.client().events("a")] == [(5, "a"), (9, "b")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, content=b"<html>"), "no answer of an autotune service"),
        (answers(200, [1]), "no answer of an autotune service"),
        (answers(200, {"id": "a"}), "no answer of an autotune service"),
        (answers(200, ABOUT | {"created": "yesterday"}), "no answer of an autotune service"),
        (httpx.Response(302, headers={"location": "https://elsewhere.test"}), "it names: https://elsewhere.test"),
        (httpx.Response(500, content=b"\x1b[31mred"), "500 Internal Server Error"),
        (answers(418, {"detail": "\x1b[31mred\nhttp://ann:secret@host"}), r"\[31mred http://ann:\*\*\*@host"),
        (answers(404, {"detail": 3, "problems": "x"}), "404 Not Found: 3; see that the address"),
        (httpx.Response(799), r"799 \(no known status\)"),
    ],
)
def test_answers_of_other_servers_are_explained(answer: httpx.Response, message: str) -> None:
    with pytest.raises(ServiceError, match=message) as strange:
        Acted(answer).client().get("a")
    assert "\x1b" not in str(strange.value)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:x", "http://host?a=1", "http://host:99999", 3]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"such as http://127\.0\.0\.1:8000"):
        Client(url)


def test_neither_password_nor_token_is_shown() -> None:
    with pytest.raises(InputError, match="holds a user or a password") as refused:
        Client("https://ann:topsecret@host")
    with pytest.raises(InputError, match="token: is none") as broken:
        Client("https://host", token=f"{TOKEN}\n")
    acted = Acted(httpx.LocalProtocolError("bad"))
    client = acted.client(token=TOKEN)
    with pytest.raises(ServiceError) as failed:
        client.get("a")
    assert acted.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    shown = "".join(map(str, (refused.value, broken.value, failed.value, repr(failed.value), repr(client))))
    shown += repr(vars(client)) + repr(acted.requests[0].headers) + repr(vars(failed.value.__cause__))
    assert "topsecret" not in shown and TOKEN not in shown


@pytest.mark.parametrize("identifier", ["", ".", "..", None])
def test_an_id_that_would_name_another_path_is_refused(identifier: str) -> None:
    with pytest.raises(InputError, match="is no study's id"):
        Acted().client().delete(identifier)


def test_ids_and_names_are_quoted() -> None:
    acted = Acted(problem(404, "no"), problem(404, "no"))
    for identifier in ("../calibrations", "a?b#c"):
        with pytest.raises(ServiceError):
            acted.client().get(identifier)
    paths = [request.url.raw_path.decode() for request in acted.requests]
    assert paths == [f"/prefix/api/v1/studies/{name}" for name in ("..%2Fcalibrations", "a%3Fb%23c")]


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (3, "3 is int; give a path"),
        ("missing.yaml", "missing.yaml: cannot be read: No such file"),
        ({"budget": float("nan")}, "holds what no study file can hold"),
        ({"a": object()}, "is object"),
        ({"a": "x" * 1_000_001}, "larger than 1000000 bytes"),
    ],
)
def test_a_study_that_cannot_be_sent_is_refused(study: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Acted().client().submit(study)  # type: ignore[arg-type]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        Acted().client().submit(path)


@pytest.mark.parametrize("key", ["", "two words", "ä", "x" * 256])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="is no key"):
        Acted().client().submit(TEXT, key=key)


def test_the_silence_of_a_stream_is_longer_than_the_services() -> None:
    from fastapi.sse import _PING_INTERVAL

    assert connection.STREAM_SILENCE > 2 * _PING_INTERVAL
