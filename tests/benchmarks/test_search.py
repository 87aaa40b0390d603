from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import search
from search_bench import engines
from search_bench.problem import Instance, Outcome

ROOT = Path(__file__).resolve().parents[2]


def test_a_comparison_goes_on_where_it_stopped_and_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results, output = tmp_path / "results.jsonl", tmp_path / "docs"
    options = ("--results", results, "--problems", "branin", "--trials", "10", "--seeds", "1")

    def command(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["search.py", *map(str, arguments)])
        search.main()
        return capsys.readouterr().out

    first = command("run", *options, "--engines", "gp-gradients", "optuna-tpe", "skopt")
    assert "skopt is left out: state --peers-python" in first
    assert [json.loads(line)["engine"] for line in results.read_text().splitlines()] == ["gp-gradients", "optuna-tpe"]
    assert command("run", *options, "--engines", "gp-gradients", "optuna-tpe", "--rerun", "gp-gradients") == ""
    for module in (search, engines):  # as if the sources had changed: only ours is made again
        monkeypatch.setattr(module, "OWN_VERSION", "newer")
    again = command("run", *options, "--engines", "gp-gradients", "optuna-tpe", "--rerun", "gp-gradients")
    assert "gp-gradients branin" in again
    assert "optuna-tpe" not in again
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["engine"] for line in lines] == ["gp-gradients", "optuna-tpe", "gp-gradients"]
    assert lines[2]["points"] == lines[0]["points"]
    assert lines[2]["version"] == "newer"
    branin = search.PROBLEMS["branin"]
    moved = Instance(lambda values: Outcome(branin.instance(0).evaluate(values).value + 0.001))
    monkeypatch.setitem(search.PROBLEMS, "branin", replace(branin, instance=lambda seed: moved))
    assert "optuna-tpe branin" in command("run", *options, "--engines", "optuna-tpe")
    text = command("show", *options, "--output", output)
    assert "| Optuna TPESampler " in text
    assert (output / "search.md").read_text() + "\n" == text
    assert (output / "search.png").read_bytes().startswith(b"\x89PNG")


def test_without_cells_it_says_what_to_begin_with(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "search.py")
    asked = [sys.executable, script, "show", "--results", str(tmp_path / "none.jsonl"), "--output", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (
        1,
        f"no finished cells in {tmp_path / 'none.jsonl'}: begin with `run`",
    )
