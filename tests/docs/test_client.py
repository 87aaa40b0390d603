"""Runs every Python block of docs/client.md against a service whose studies are acted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.autotune.client.serving import STUDY, serving
from tests.docs.pages import ROOT, text_of


def test_every_python_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", text_of(ROOT / "docs" / "client.md"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(json.dumps(STUDY))
    with serving(tmp_path / "home") as served:
        page = "\n".join(blocks).replace("http://127.0.0.1:8000", served.url)
        names: dict[str, object] = {}
        exec(compile(page, "client.md", "exec"), names)  # noqa: S102
        names["client"].close()  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.json", "home", "report.html", "study.yaml"]
    printed = capsys.readouterr().out
    assert "finished 0.9 {}" in printed and "['finished', 'finished']" in printed and "'nothing'" in printed
