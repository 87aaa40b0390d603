"""Runs every Python block of docs/embedding.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_python_block_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    script = tmp_path / "test_page.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    # The page defines a conformance suite, so pytest both executes the blocks and runs that suite.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(script), "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"AUTOTUNE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed", done.stdout), done.stdout
