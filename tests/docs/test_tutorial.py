"""The tutorial's commands work as they stand, and its numbers are those that they print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, text_of


@pytest.mark.slow
def test_the_commands_of_the_tutorial_in_order(tmp_path: Path) -> None:
    page = text_of(ROOT / "docs" / "tutorial.md")
    blocks = re.findall(r"^```(sh|yaml)\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    shutil.copy(ROOT / "studies" / "demo.yaml", tmp_path)
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    environment.pop("AUTOTUNE_HOME", None)
    printed = ""
    for language, text in blocks:
        if language == "yaml":
            replace_lines(tmp_path / "demo_4dstem.yaml", text)
            continue
        for command in text.splitlines():
            done = subprocess.run(
                command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            printed += done.stdout
    assert "noise ceiling 0.9059" in printed
    best = re.search(r"Best consistency (\d\.\d+) in trial", printed)
    assert best is not None and float(best[1]) > 0.905
    defocus = re.search(r"defocus\s+(\d+\.\d+)\s+\d+.* identified", printed)
    assert defocus is not None and float(defocus[1]) == pytest.approx(109.1, abs=1)
    assert (tmp_path / "next.yaml").exists()
    assert (tmp_path / ".autotune" / "studies" / "demo_4dstem" / "report.html").exists()


def replace_lines(study: Path, text: str) -> None:
    """Put lines in the place of those with the same key."""
    lines = study.read_text(encoding="utf-8").splitlines()
    for new in text.splitlines():
        key = new.partition(":")[0] + ":"
        places = [place for place, line in enumerate(lines) if line.startswith(key)]
        assert len(places) == 1, f"{key} stands in {len(places)} lines"
        lines[places[0]] = new
    study.write_text("\n".join(lines) + "\n", encoding="utf-8")
