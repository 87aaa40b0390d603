"""Runs the blocks of docs/workflows.md: shell here, Prefect's and Bluesky's in environments that have them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.autotune.client.serving import STUDY, serving
from tests.docs.pages import ROOT, text_of

VARIABLE = "AUTOTUNE_WORKFLOW_ENVIRONMENTS"
PAGE = text_of(ROOT / "docs" / "workflows.md")
MEASURED = {
    "name": "scan",
    "objective": {"name": "ptychography", "data": {"file": "template.h5"}},
    "parameters": {"defocus": {"low": 0, "high": 100}},
}
PREFECT = """
template = json.loads(open("study.json").read())
best = calibrate("scan.h5", template)
again = calibrate("scan.h5", template)
with Client(SERVICE) as client:
    print("studies", len(list(client.list())), sorted(best) == sorted(again))
"""
BLUESKY = """
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import det
import time

template = json.loads(open("study.json").read())
RE = RunEngine({})
callback = TuneEachRun(SERVICE, template, lambda start: "scan.h5")
RE.subscribe(callback)
began = time.monotonic()
uids = [*RE(count([det])), *RE(count([det]))]
held_up = time.monotonic() - began
states = [callback.client.wait(callback.studies[uid].result()).state for uid in uids]
print("studies", len(list(callback.client.list())), states, held_up < 5)
"""


def block(kind: str, first: str) -> str:
    """The block of a language that begins with a line or word."""
    found = re.findall(rf"^```{kind}\n({re.escape(first)}.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1, first
    text: str = found[0]
    return text


def python_of(name: str) -> str:
    folder = os.environ.get(VARIABLE, "")
    python = Path(folder) / name / "bin" / "python"
    if not folder or not python.exists():
        pytest.skip(f"{VARIABLE} names no folder with an environment {name}")
    return str(python)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "use", "said"),
    [("prefect", PREFECT, "studies 1 True"), ("bluesky", BLUESKY, "studies 2 ['finished', 'finished'] True")],
)
def test_frameworks_submit_and_collect(name: str, use: str, said: str, tmp_path: Path) -> None:
    python = python_of(name)
    (tmp_path / "study.json").write_text(json.dumps(MEASURED))
    with serving(tmp_path / "home", objectives=("ptychography",), roots=(tmp_path,)) as served:
        code = block("python", f"# {name}\n").replace("http://127.0.0.1:8000", served.url)
        script = f"import json\nSERVICE = {served.url!r}\n{code}\nSERVICE = {served.url!r}\n{use}"
        done = subprocess.run(
            [python, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path / "prefect"),
                 "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY))
    with serving(tmp_path / "home") as served:
        script = block("sh", "ID=$(").replace("http://127.0.0.1:8000", served.url)
        done = subprocess.run(
            ["/bin/sh", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("event: state") >= 3 and "status" in json.loads((tmp_path / "answer.json").read_text())
