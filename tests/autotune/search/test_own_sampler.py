"""A new sampler is one file and one row: with these alone a study may name it, and it proposes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.search import samplers

ROW = 'KINDS = {\n    "middle": Kind("tests.autotune.search.own_sampler:make_sampler", FLAGS),\n'
WITH_THE_ROW = """
import importlib.util, json, sys
from pathlib import Path

row, folder = sys.argv[1], Path(sys.argv[2])
spec = importlib.util.find_spec("autotune.search.samplers")
source = Path(spec.origin).read_text(encoding="utf-8")
assert source.count("KINDS = {\\n") == 1 and "autotune.search.samplers" not in sys.modules
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
exec(compile(source.replace("KINDS = {\\n", row), spec.origin, "exec"), module.__dict__)

from autotune.errors import InputError
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore
from autotune.study import load_study, plan_study

try:
    file = load_study(folder / "study.yaml")
    plan = plan_study(file, file.open())
except InputError as error:
    print(json.dumps([str(problem).partition(": ")[2] for problem in error.problems]))
    raise SystemExit
assert "optuna" not in sys.modules and "torch" not in sys.modules
store = TrialStore.create(f"sqlite:///{folder / 'trials.db'}", "s", plan.metric, {})
tuner = Tuner(store, plan.space, plan.metric, Search(file.spec.search.sampler))
print(json.dumps([dict(tuner.ask().values), tuner.expects()]))
"""


def with_the_row(folder: Path, flags: str, parameter: str, budget: str) -> object:
    """The values proposed and the improvement expected by the sampler ``middle``, or the problems of the study."""
    (folder / "study.yaml").write_text(
        f"name: toy\nobjective: {{name: 'tests.autotune.toy:toy'}}\nparameters: {parameter}\n"
        f"search: {{sampler: middle}}\nbudget: {budget}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", WITH_THE_ROW, ROW.replace("FLAGS", flags), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_table_has_no_such_sampler_yet() -> None:
    assert "middle" not in samplers.SAMPLERS


@pytest.mark.parametrize(
    ("flags", "parameter", "budget", "expected"),
    [
        ("has_model=True", "{shift: {low: -1, high: 3}}", "{trials: 9, converged: 0.1}", [{"shift": 1.0}, 0.5]),
        (
            "takes_startup=True",
            "{shift: {low: -1, high: 3}}",
            "{trials: 9, converged: 0.1}",
            ["budget: converged needs the sampler gp: middle expects nothing of a trial"],
        ),
        (
            "needs_gradients=True",
            "{passes: {}}",
            "{trials: 9}",
            ["search.sampler: middle moves numbers with a fraction, and none is tuned; take another sampler"],
        ),
    ],
)
def test_one_row_and_one_file_are_enough(
    flags: str, parameter: str, budget: str, expected: object, tmp_path: Path
) -> None:
    assert with_the_row(tmp_path, flags, parameter, budget) == expected
