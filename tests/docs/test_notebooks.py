"""The notebooks run from the first cell to the last, and import only what is public."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.docs.pages import NOTEBOOKS, ROOT, name_of


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a notebook in a folder of its own; what its cells printed."""
    from nbclient import NotebookClient

    monkeypatch.setenv("AUTOTUNE_HOME", str(folder / "home"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / name, as_version=4)
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture was drawn"
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")


@pytest.mark.slow
def test_embed_your_own_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = executed("embed_your_own_function.ipynb", tmp_path, monkeypatch)
    assert "finished - " in printed
    assert printed.count("(noise and search), identified") == 3, printed


@pytest.mark.slow
def test_tune_your_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = executed("tune_your_own_data.ipynb", tmp_path, monkeypatch)
    assert "finished - converged" in printed
    # Without a blur its best value is 0, the least there is.
    assert len(re.findall(r" (identified|model_limited|at_bound)\s*$", printed, flags=re.MULTILINE)) == 7, printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_it_is_saved_as_a_whole_run_left_it_and_imports_only_public_names(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert imported_modules(cells) <= {"autotune", "autotune.objective"}


def imported_modules(cells: list[Any]) -> set[str]:
    """The modules of autotune that cells import."""
    lines = [line for cell in cells for line in cell.source.splitlines() if not line.startswith(("!", "%"))]
    names: set[str] = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.partition(".")[0] == "autotune"}
