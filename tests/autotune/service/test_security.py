"""What a service refuses: foreign hosts and pages, wrong tokens, paths that lead out, studies that say too much."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from autotune.errors import InputError
from autotune.service.intake import accept
from autotune.service.settings import Limits, ServiceSettings, is_loopback
from tests.autotune.service.conftest import Running, study

Serve = Callable[..., Running]
CANARY = "canary-7d1f3a"
OUTSIDE = [
    "/etc/passwd", "../secret.h5", "../../secret.h5", "a/../../secret.h5", "./../secret.h5", "//etc/passwd",
    "/proc/self/environ", "/dev/zero", "~/secret.h5", "link.h5", "linked/secret.h5", "chain.h5", "loop.h5",
    "scan.h5/../../secret.h5",
    "..", "../data-more/secret.h5", "/", "../" * 50 + "etc/passwd", "file:///etc/passwd", "nul\0.h5",
]  # fmt: skip
ARTIFACTS = [
    "../study.yaml", "..%2fstudy.yaml", "%2e%2e/secret", "%2e%2e%2fsecret", "..\\secret", "..%5csecret", "/etc/passwd",
    "%2fetc%2fpasswd", "a/../../secret", "./report.html", "a//b", "link", "linked/secret", ".hidden", "trials/.hidden",
    "trials", "", "%00", "a%00b", "....//secret", "..;/secret", "%c0%ae%c0%ae/secret",
]  # fmt: skip


@pytest.fixture
def guarded(settings: ServiceSettings, tmp_path: Path) -> ServiceSettings:
    """Roots with ways out of them, and a secret outside."""
    data = settings.roots[0]
    for folder in (tmp_path, tmp_path / "data-more"):
        folder.mkdir(exist_ok=True)
        (folder / "secret.h5").write_text(CANARY)
    (data / "a").mkdir()
    (data / "link.h5").symlink_to(tmp_path / "secret.h5")
    (data / "linked").symlink_to(tmp_path)
    (data / "chain.h5").symlink_to(data / "link.h5")
    (data / "loop.h5").symlink_to(data / "loop.h5")
    (data / "inside.h5").symlink_to(data / "scan.h5")
    return settings


@pytest.mark.parametrize("path", OUTSIDE, ids=range(len(OUTSIDE)))
def test_measurements_outside_are_not_read(path: str, guarded: ServiceSettings) -> None:
    data = {"name": "ptychography", "data": {"file": path}}
    resolved = (guarded.roots[0] / path.replace("\0", "")).is_relative_to(guarded.roots[0]) and "~" in path
    if resolved or path == "file:///etc/passwd":  # names of files in the folder, which are not there
        placed = accept(study(objective=data), "0" * 12, guarded).text
        assert str(guarded.roots[0]) in placed
        return
    with pytest.raises(InputError) as refused:
        accept(study(objective=data), "0" * 12, guarded)
    assert CANARY not in str(refused.value) and str(guarded.roots[0]) not in str(refused.value)


@pytest.mark.parametrize("path", ["scan.h5", "a/../scan.h5", "inside.h5", "not/there/yet.h5"])
def test_measurements_inside_are(path: str, guarded: ServiceSettings) -> None:
    data = {"name": "ptychography", "data": {"file": path}}
    assert str((guarded.roots[0] / path).resolve()) in accept(study(objective=data), "0" * 12, guarded).text
    absolute = {"name": "ptychography", "data": {"file": str(guarded.roots[0] / "scan.h5")}}
    assert accept(study(objective=absolute), "0" * 12, guarded).data.endswith("scan.h5")


@pytest.mark.parametrize("mask", ["/etc/mask.npy", "../mask.npy", "linked/secret.h5::/data", "~/../../mask.npy"])
def test_masks_outside_are_not_read(mask: str, guarded: ServiceSettings) -> None:
    data = {"name": "ptychography", "data": {"file": "scan.h5", "mask": mask}}
    with pytest.raises(InputError, match=r"objective\.data\.mask: .* not below"):
        accept(study(objective=data), "0" * 12, guarded)
    inside = {"name": "ptychography", "data": {"file": "scan.h5", "mask": "a/mask.h5::/entry/mask"}}
    placed = guarded.roots[0] / "a" / "mask.h5"
    assert f"{placed}::/entry/mask" in accept(study(objective=inside), "0" * 12, guarded).text


def test_programs_are_not_run_even_where_they_are_allowed(settings: ServiceSettings) -> None:
    allowed = replace(settings, objectives=("command",))
    metric = {"error": {"regex": "(.*)", "goal": "minimize"}}
    command = {"name": "command", "run": ["/bin/sh"], "parameters": {"a": {"low": 0, "high": 1}}, "metrics": metric}
    with pytest.raises(InputError, match="runs programs that a study names"):
        accept(study(objective=command, parameters={"a": {}}), "0" * 12, allowed)


def test_without_roots_nothing_is_read_but_what_a_study_makes(settings: ServiceSettings) -> None:
    bare = replace(settings, roots=())
    with pytest.raises(InputError, match="not below the folders"):
        accept(study(), "0" * 12, bare)
    made = {"name": "ptychography", "data": {"file": "/etc/made.h5"}, "simulate": {"scan_points": 8}}
    assert str(settings.job("0" * 12) / "made.h5") in accept(study(objective=made), "0" * 12, bare).text
    specimen = {**made, "simulate": {"specimen": {"file": "/etc/passwd"}, "engine": "abtem"}}
    with pytest.raises(InputError, match=r"simulate\.specimen\.file"):
        accept(study(objective=specimen), "0" * 12, bare)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"tracking": {"uri": "http://evil.example"}}, "tracking: is decided by the operator"),
        ({"tracking": {"enabled": False}}, "tracking"),
        ({"execution": {"executor": "inline"}}, "execution: is decided by the operator"),
        ({"execution": {"environment": ["AWS_*"]}}, "execution"),
        ({"objective": {"name": "command", "command": ["sh"]}}, "command"),
        ({"objective": {"name": "os:system"}}, "objective.name"),
        ({"objective": {"name": "tests.autotune.toy:toy"}}, "'tests.autotune.toy:toy' is not run here"),
        ({"objective": {"name": "ptychography", "data": {"file": "scan.h5"}, "backend": {"name": "ptyrad"}}}, "ptyrad"),
        ({"budget": {"trials": 10_001}}, "budget.trials: 10001 trials are more"),
        ({"search": {"warm_start": ["other"]}}, "there is no study 'other' here"),
    ],
)  # fmt: skip
def test_a_study_states_no_more_than_it_may(more: dict[str, object], what: str, settings: ServiceSettings) -> None:
    with pytest.raises(InputError) as refused:
        accept(study(**more), "0" * 12, settings)
    assert what in str(refused.value)


@pytest.mark.parametrize(
    "key", [{"python": "/bin/sh"}, {"options": {"a.b": "c"}}, {"parameters": {"p": {"option": "a.b"}}}]
)
def test_a_backend_that_is_allowed_has_no_options_from_outside(
    key: dict[str, object], settings: ServiceSettings
) -> None:
    allowed = replace(settings, backends=("ptyrad",))
    objective = {"name": "ptychography", "data": {"file": "scan.h5"}, "backend": {"name": "ptyrad"}}
    accept(study(objective=objective), "0" * 12, allowed)
    with pytest.raises(InputError, match=f"objective.backend.{next(iter(key))}: is decided by the operator"):
        accept(study(objective={**objective, "backend": {"name": "ptyrad", **key}}), "0" * 12, allowed)


def test_what_the_operator_sets_is_run(settings: ServiceSettings) -> None:
    set_ = replace(settings, overrides=("execution.workers=3", "tracking.enabled=false"))
    text = accept(study(), "0" * 12, set_).text
    assert "workers" in text and "3" in text and '"toy-000000000000"' in text


@pytest.mark.parametrize("name", ARTIFACTS, ids=range(len(ARTIFACTS)))
def test_files_outside_a_study_are_not_sent(name: str, settings: ServiceSettings, serve: Serve, tmp_path: Path) -> None:
    service = serve(settings)
    about = service.submit(study()).json()
    folder = settings.home.study(about["study"])
    (folder / "trials").mkdir(parents=True)
    for secret in (
        tmp_path / "secret",
        folder / ".hidden",
        folder / "trials" / ".hidden",
        folder.parent / "study.yaml",
    ):
        secret.write_text(CANARY)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "trials" / "kept.json").write_text("{}")
    with socket.create_connection(("127.0.0.1", service.settings.port)) as raw:  # as it is: clients would tidy the path
        path = f"/api/v1/studies/{about['id']}/artifacts/{name}"
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert CANARY.encode() not in answer
    assert answer.split(b" ", 2)[1] in (b"404", b"422", b"307", b"400", b"200")
    if answer.split(b" ", 2)[1] == b"200":
        assert b'{"artifacts":[{"name":"trials/kept.json","bytes":2}]}' in answer  # the list
    with service.client() as client:
        sent = client.get(f"/studies/{about['id']}/artifacts/trials/kept.json")
        assert sent.text == "{}" and sent.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in sent.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "", "[::1", "169.254.1.1"]
)
def test_other_host_names_are_refused(host: str, settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    with service.client() as client:
        assert client.get("/studies", headers={"Host": host}).status_code in (400, 421)
        assert client.get("/studies", headers={"Host": "localhost:1"}).status_code == 200
        assert client.get("/studies", headers={"Host": "[::1]:1"}).status_code == 200
    named = serve(
        replace(settings, home=replace(settings.home, folder=settings.home.folder / "b"), names=("evil.example",))
    )
    with named.client() as client:
        assert client.get("/studies", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_pages_of_other_sites_change_nothing(origin: str, settings: ServiceSettings, serve: Serve) -> None:
    service = serve(settings)
    answer = service.submit(study(), Origin=origin)
    assert answer.status_code == 403 and not service.app.state.board.all()
    assert service.submit(study(), Origin=service.url).status_code == 202


def test_tokens_are_demanded_and_say_who_may_what(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, tokens=True))
    tokens = service.app.state.tokens
    secrets = {role: tokens.new(role, role, None)[1] for role in ("read", "submit", "admin")}
    other, revoked, expired = (tokens.new("other", "submit", days)[1] for days in (None, None, 1e-7))
    tokens.revoke(tokens.all()[4].id)
    time.sleep(0.02)

    def client(secret: str) -> httpx.Client:
        return service.client(headers={"Authorization": f"Bearer {secret}"})

    with service.client() as nobody:
        for path in ("/studies", "/studies/0123456789ab", f"{service.url}/metrics", "/calibrations/x"):
            assert nobody.get(path).status_code == 401
        assert nobody.get(f"{service.url}/healthz").status_code == 200
        assert nobody.post("/studies").headers["www-authenticate"] == "Bearer"
        assert nobody.get(f"{service.url}/", follow_redirects=False).headers["location"] == "/login"
    for wrong in ("x", revoked, expired, secrets["read"][:-1], secrets["read"].upper(), "a" * 5000):
        with client(wrong) as refused:
            assert refused.get("/studies").status_code == 401, wrong
    kind = {"Content-Type": "application/yaml"}
    with client(secrets["read"]) as reader, client(secrets["submit"]) as submitter, client(other) as foreign:
        assert reader.get("/studies").status_code == 200
        assert reader.post("/studies", content=study(), headers=kind).status_code == 403
        answer = submitter.post("/studies", content=study("sleep 60"), headers=kind)
        assert answer.status_code == 202 and answer.json()["owner"] == "submit"
        one = f"/studies/{answer.json()['id']}"
        assert reader.get(one).status_code == 200
        for what in ("cancel", "resume"):
            assert reader.post(f"{one}/{what}").status_code == 403
            assert foreign.post(f"{one}/{what}").status_code == 403
        assert foreign.delete(one).status_code == 403
    with client(secrets["admin"]) as admin:
        assert admin.post(f"{one}/cancel").status_code == 202
    with service.client() as browser:
        logged = browser.post(f"{service.url}/login", data={"token": secrets["read"]}, follow_redirects=False)
        cookie = logged.headers["set-cookie"].lower()
        assert logged.status_code == 303 and "httponly" in cookie and "samesite=lax" in cookie
        assert browser.get("/studies").status_code == 200
        assert browser.post(f"{service.url}/login", data={"token": "wrong"}).status_code == 401


def test_a_flood_is_slowed_down(settings: ServiceSettings, serve: Serve) -> None:
    service = serve(replace(settings, limits=Limits(requests=20)))
    with service.client() as client:
        codes = [client.get("/studies").status_code for _ in range(80)]
        assert codes[:20] == [200] * 20 and 429 in codes
        time.sleep(1)
        assert client.get("/studies").status_code == 200


def test_no_secret_is_in_what_a_process_is_given_or_leaves(
    settings: ServiceSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("GITHUB_TOKEN", CANARY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    dump = tmp_path / "dump.py"
    dump.write_text(
        "import json, os, sys, pathlib\nfolder = pathlib.Path(sys.argv[1])\n"
        "(folder / 'environ.json').write_text(json.dumps(dict(os.environ)))\n"
        "(folder / 'exit.json').write_text('{\"code\": 0}')\n"
    )
    import sys

    service = serve(settings, (sys.executable, str(dump)))
    identifier = service.submit(study()).json()["id"]
    service.until(identifier, "finished")
    given = (settings.job(identifier) / "environ.json").read_text()
    assert CANARY not in given and str(settings.home.folder) in given and "http://127.0.0.1:9" in given


def test_which_addresses_are_this_machine() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    others = ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.evil.example", "")  # noqa: S104
    assert not any(is_loopback(host) for host in others)
