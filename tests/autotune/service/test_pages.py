"""The pages without a browser: what they show and escape, who may do what, and how errors look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import Client

from autotune.service.settings import MOST_BYTES
from tests.autotune.service.serving import Idle, search, serving, settings_in, study, text_of, token, visit

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


Served = tuple[str, FastAPI]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A service for whoever can reach it."""
    with serving(settings_in(tmp_path), Idle()) as served:
        yield served


@pytest.fixture
def app(served: Served) -> FastAPI:
    return served[1]


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with visit(served[0]) as client:
        yield client


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Served]:
    """A service that demands tokens."""
    with serving(settings_in(tmp_path, tokens=True), Idle()) as served:
        yield served


def submitted(client: Client, text: str | None = None) -> str:
    """The address of a study that was submitted with the form."""
    answer = client.post("/submit", data={"study": text or study()})
    assert answer.status_code == 303, text_of(answer.text)
    return str(answer.headers["location"])


def test_pages_say_that_nothing_is_there_yet(client: Client) -> None:
    page = client.get("/").text
    assert "No study was submitted yet." in page and '<details class="card" open>' in page


def test_whatever_a_page_shows_is_escaped(app: FastAPI, client: Client) -> None:
    board = app.state.board
    job, _ = board.submit(study(), EVIL, None)
    job = board.change(job, "failed", EVIL)
    board.note(job, name=EVIL, data=EVIL)
    refused = client.post("/submit", data={"study": f"name: {EVIL}"})
    assert refused.status_code == 422
    for page in (client.get("/").text, client.get(f"/studies/{job.id}").text, refused.text):
        assert "&lt;script&gt;" in page
        assert "<script>" not in page and "<img" not in page


@pytest.mark.parametrize("path", ["/", "/login", "/studies/none", "/nowhere"])
def test_every_page_forbids_scripts_of_others_and_has_none_inline(client: Client, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:|https?://", answer.text)


def test_a_form_of_a_page_of_ours_is_taken_and_one_from_elsewhere_is_not(client: Client) -> None:
    """A browser states the origin of a form unless the page's referrer policy is no-referrer."""
    assert client.get("/").headers["referrer-policy"] == "same-origin"
    address = str(client.base_url).rstrip("/")
    own = client.post("/submit", data={"study": study()}, headers={"Origin": address})
    assert own.status_code == 303
    for origin in ("http://elsewhere.example", "null", "http://127.0.0.1:1"):
        answer = client.post("/submit", data={"study": study()}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "Requests from pages of other sites are refused." in text_of(answer.text)


def test_the_cookie_is_not_for_scripts_nor_for_other_sites(locked: Served) -> None:
    secret = token(locked[1], "ada")
    for scheme, secure in (("http", False), ("https", True)):
        with visit(locked[0]) as client:  # a proxy on this machine says what a browser has asked it for
            answer = client.post("/login", data={"token": f" {secret} "}, headers={"X-Forwarded-Proto": scheme})
        cookie = answer.headers["set-cookie"].lower()
        assert answer.status_code == 303 and "httponly" in cookie and "samesite=lax" in cookie
        assert ("secure" in cookie) is secure


def test_without_a_token_one_is_asked_to_log_in(locked: Served) -> None:
    with visit(locked[0]) as client:
        for path in ("/", "/studies/000000000000"):
            assert client.get(path).headers["location"] == "/login"
        refused = client.post("/submit", data={"study": study()})
        assert refused.status_code == 401 and 'href="/login"' in refused.text
        wrong = client.post("/login", data={"token": "autotune_wrong"})
        assert wrong.status_code == 401 and "This token is not valid." in wrong.text
        report = client.get("/api/v1/studies/000000000000/report")
        assert report.status_code == 401 and 'href="/login"' in report.text


def test_each_may_cancel_his_own_and_is_offered_no_more(locked: Served) -> None:
    ada, bob, guest = token(locked[1], "ada"), token(locked[1], "bob"), token(locked[1], "guest", "read")
    with visit(locked[0], ada) as client:
        path = submitted(client)
    for secret in (bob, guest):
        with visit(locked[0], secret) as client:
            assert f"{path}/cancel" not in client.get("/").text + client.get(path).text
            assert client.get(f"{path}/cancel").status_code == client.post(f"{path}/cancel").status_code == 403
    with visit(locked[0], guest) as client:
        assert "Submit a study" not in client.get("/").text
    with visit(locked[0], ada) as client:
        assert f"{path}/cancel" in client.get("/").text and f"{path}/cancel" in client.get(path).text


def test_without_scripts_cancelling_is_asked_on_a_page(client: Client) -> None:
    path = submitted(client)
    asked = client.get(f"{path}/cancel")
    assert "Cancel toy?" in asked.text and f'action="{path}/cancel"' in asked.text
    assert "queued" in client.get(path).text
    assert client.post(f"{path}/cancel").headers["location"] == path
    page = client.get(path).text
    assert "was cancelled: cancelled by local" in text_of(page) and "Resume" in page and "data-events" not in page
    assert client.get(f"{path}/cancel").headers["location"] == path
    assert client.post(f"{path}/cancel").status_code == 409
    client.post(f"{path}/resume")
    assert "queued waits for its turn, 1 in the queue" in text_of(client.get(path).text)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/studies/none", 404, "There is no study of this id."),
        ("GET", "/?after=nonsense", 422, "The request is not as it should be"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/submit", 405, "Method Not Allowed"),
        ("GET", "/api/v1/studies/000000000000/report", 404, "There is no study of this id."),
    ],
)
def test_an_error_is_a_page_for_browsers_and_json_for_programs(
    client: Client, method: str, path: str, status: int, words: str
) -> None:
    page = client.request(method, path)
    assert page.status_code == status and words in text_of(page.text)
    assert page.headers["content-type"].startswith("text/html") and "All studies" in page.text
    program = client.request(method, path, headers={"Accept": "*/*"})
    assert program.status_code == status
    assert program.headers["content-type"] == "application/problem+json" and program.json()["status"] == status


def test_without_scripts_a_file_is_sent_in_its_form(client: Client) -> None:
    page = client.get("/").text
    assert 'enctype="multipart/form-data"' in page and 'type="file" name="file"' in page
    content = ("\ufeff" + study(name="from-a-file").replace(", ", ",\r\n")).encode()
    answer = client.post("/submit", files={"file": ("a.yaml", content)}, data={"study": "the text counts no more"})
    assert answer.status_code == 303, text_of(answer.text)
    assert "<h1>from-a-file</h1>" in client.get(answer.headers["location"]).text
    text = client.post("/submit", files={"file": ("", b"")}, data={"study": study(name="from-the-text")})
    assert "<h1>from-the-text</h1>" in client.get(text.headers["location"]).text


def test_what_is_wrong_with_a_study_stands_above_its_text(client: Client) -> None:
    text = study(budget={"trials": -1}, tracking={"enabled": False})
    answer = client.post("/submit", data={"study": text})
    assert answer.status_code == 422 and "budget.trials" in answer.text
    assert 'role="alert"' in answer.text and 'aria-invalid="true"' in answer.text and "&#34;trials&#34;" in answer.text
    assert 'data-page="/"' in answer.text  # /submit itself cannot be fetched again
    empty = client.post("/submit", data={"study": "  "})
    assert empty.status_code == 422 and "The study is empty" in empty.text


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (413, "application/x-www-form-urlencoded", b"study=" + b"a" * MOST_BYTES),
        (400, "application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(30))),
        (400, "application/x-www-form-urlencoded", b"study=\xff"),
        (400, "multipart/form-data", b"--x\r\n"),
        (400, "multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
        (400, "multipart/form-data; boundary=x", b"--x\r\n" * 30),
        (422, "multipart/form-data; boundary=x", b""),
        (415, "text/plain", b"study=a"),
    ],
)
def test_a_body_that_is_no_form_is_refused(client: Client, status: int, kind: str, body: bytes) -> None:
    answer = client.post("/submit", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.headers["content-type"].startswith("text/html")


def test_hundreds_of_studies_are_shown_in_pages(app: FastAPI, client: Client) -> None:
    for number in range(120):
        app.state.board.submit(study(name=f"toy-{number}"), "ada", None)
    seen: list[str] = []
    path = "/"
    while path:
        page = client.get(path).text
        seen += re.findall(r'<th scope="row"><a href="[^"]+">toy-(\d+)</a>', page)
        assert ('href="/">Latest studies' in page) is (path != "/")
        more = re.search(r'href="([^"]+)">Earlier studies', page)
        path = more[1] if more else ""
    assert seen == [str(number) for number in reversed(range(120))]
    assert "120 queued" in client.get("/").text and "50 in the queue" not in page and "20 in the queue" in page


def test_a_study_that_runs_is_shown_in_words_and_as_a_chart(app: FastAPI, client: Client) -> None:
    board = app.state.board
    job, _ = board.submit(study(), "ada", None)
    path = f"/studies/{job.id}"
    assert "No trial has a value yet." in client.get(path).text
    job = board.has_started(job, pid=1, pid_started=1.0)
    search(board, job, [0.5, 0.5, 0.9])
    page = client.get(path).text
    words = text_of(page)
    assert "Best consistency after 3 of 10 trials: 0.9. The noise ceiling is 0.95." in words
    assert "running its trials are being evaluated" in words and "Time left about" in words
    assert page.count("<svg") == 1 and 'aria-hidden="true"' in page
    place = re.search(r'data-after="(\d+)"', page)
    assert place and int(place[1]) == board.events(job).stat().st_size
    row = text_of(client.get("/").text)
    assert "3 of 10 0.9 0.95 about" in row and "1 running" in row
