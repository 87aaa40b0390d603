"""Runs the Python of docs/gest.md; the part that needs Xopt in an environment that has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.autotune.integrations.test_gest_frameworks import python_of
from tests.docs.pages import ROOT, text_of

PAGE = ROOT / "docs" / "gest.md"


def run(python: Path, code: str, folder: Path) -> str:
    script = folder / "page.py"
    script.write_text(code, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [python, script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text_of(PAGE), flags=re.MULTILINE | re.DOTALL)


def test_the_page_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("gest_api", reason="gest-api is not installed (extra gest)")
    [code] = [block for block in blocks() if "xopt" not in block]
    assert "'x': 0." in run(Path(sys.executable), code, tmp_path)


@pytest.mark.slow
def test_the_lines_with_xopt(tmp_path: Path) -> None:
    [code] = [block for block in blocks() if "xopt" in block]
    assert "'c':" in run(python_of("xopt"), code, tmp_path)
