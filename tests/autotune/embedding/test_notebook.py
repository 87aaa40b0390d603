"""``autotune.tune`` in the kernel of a notebook."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow
CELL = """
import sys
sys.path.insert(0, {root!r})
{before}
import autotune
autotune.tune(lambda x: -x * x, {{"x": (-1, 1)}}, trials=5, overrides=["search.sampler=random"])
"""
WITHOUT_WIDGETS = "sys.modules['ipywidgets'] = None"


@pytest.mark.parametrize("before", ["", WITHOUT_WIDGETS], ids=["widgets", "text"])
def test_the_bar_is_in_place_and_the_answer_is_a_table(before: str, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(CELL.format(root=str(ROOT), before=before))]
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    answer = [out for out in outputs if out.output_type == "execute_result"]
    assert len(answer) == 1 and "<table>" in answer[0].data["text/html"] and "x" in answer[0].data["text/plain"]
    shown = [out for out in outputs if "application/vnd.jupyter.widget-view+json" in out.get("data", {})]
    text = "".join(out.text for out in outputs if out.output_type == "stream" and out.name == "stdout")
    if before or not shown:
        last = text.rstrip("\n").split("\r")[-1]
        assert text.count("\n") <= 1 and "5/5" in last and "best value" in text
    else:
        assert len(shown) == 1 and not text
    assert not [out for out in outputs if out.output_type == "error"]
    errors = [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert not [text for text in errors if "IProgress" not in text]  # which Optuna's own import of tqdm says
