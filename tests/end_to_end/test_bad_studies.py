"""Bad input through the real command: exit code 2, place and value named, no traceback, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.cli.main import run_command_line

pytestmark = pytest.mark.usefixtures("in_memory")

ROOT = Path(__file__).parents[2]
GOOD = """\
name: toy
objective: {name: 'tests.autotune.toy:toy'}
parameters:
  shift: {low: -1, high: 1}
"""
TOY = "objective: {name: 'tests.autotune.toy:toy'}\n"
SHIFT = "parameters: {shift: {low: -1, high: 1}}\n"


def with_parameters(block: str) -> str:
    return f"name: toy\n{TOY}parameters: {{{block}}}\n"


def with_objective(block: str) -> str:
    return f"name: toy\nobjective: {{name: 'tests.autotune.toy:toy', {block}}}\n{SHIFT}"


# id: (content, what the message must hold)
BAD: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    # not a study at all
    "empty": ("", ("study.yaml: is empty",)),
    "only a comment": ("# soon\n", ("study.yaml: is empty",)),
    "a list at top": ("- name: toy\n", ("study.yaml: holds a list, not a map",)),
    "a word at top": ("toy\n", ("study.yaml: holds 'toy', not a map",)),
    "not UTF-8": (GOOD.encode() + b"description: \xe9t\xe9\n", ("study.yaml:5: is not UTF-8", "0xe9")),
    "binary": (b"\x89HDF\r\n\x1a\n\x00\x00", ("study.yaml:1: is not UTF-8", "0x89")),
    "control character": (GOOD + "description: a\x07b\n", ("study.yaml:5: ", r"'\x07'")),
    "too large": (GOOD + "#" * 1_000_001, ("study.yaml: is larger than 1000000 bytes",)),
    # not YAML
    "tab": ("name: toy\nobjective:\n\tname: x\n", ("study.yaml:3: a tab is used", "spaces")),
    "open bracket": (GOOD + "budget: {trials: 3\n", ("study.yaml:6: is not YAML",)),
    "open quote": (GOOD + "description: 'a\n", ("study.yaml:6: is not YAML",)),
    "colon in text": (GOOD + "description: a: b\n", ("study.yaml:5: is not YAML", "quote")),
    "two documents": (GOOD + "---\n" + GOOD, ("study.yaml:5: a second document",)),
    "duplicate key": (GOOD + "name: other\n", ("study.yaml:5: name: 'name' is given twice", "line 1")),
    "nested duplicate": (
        with_parameters("shift: {low: -1, low: -2, high: 1}"),
        ("study.yaml:3: parameters.shift.low: 'low' is given twice",),
    ),
    "key that is a list": (GOOD + "? [a]\n: 1\n", ("study.yaml:5: a key here is not plain text",)),
    "python tag": (
        GOOD + "description: !!python/object/apply:os.getcwd []\n",
        ("study.yaml:5: description: the tag '!!python/object/apply:os.getcwd'",),
    ),
    "alias": (GOOD + "budget: &b {trials: 3}\n", ("study.yaml:5: budget: '&b' is an anchor",)),
    "deep nesting": (GOOD + "description: " + "[" * 500 + "]" * 500, ("study.yaml:5: ", "deeper than 20")),
    # the top level
    "no name": (TOY + SHIFT, ("study.yaml: name: is missing",)),
    "name with a slash": (GOOD.replace("toy", "a/b", 1), ("study.yaml:1: name: 'a/b'", "letters, digits")),
    "name that is a number": (GOOD.replace("toy", "25", 1), ("study.yaml:1: name: 25 is not valid", "text")),
    "misspelt section": (GOOD + "serach: {}\n", ("study.yaml:5: serach: ", "did you mean 'search'?")),
    "section that is a word": (
        GOOD + "budget: 5\n",
        ("study.yaml:5: budget: 5 is not valid", "a map of keys"),
    ),
    "no objective": ("name: toy\n" + SHIFT, ("study.yaml: objective: is missing",)),
    "no parameters": ("name: toy\n" + TOY, ("study.yaml: parameters: is missing",)),
    # objective
    "objective without a name": (
        "name: toy\nobjective: {iterations: 3}\n" + SHIFT,
        ("study.yaml:2: objective.name: is missing",),
    ),
    "unknown objective": (
        "name: toy\nobjective:\n  name: ptychografy\n" + SHIFT,
        ("study.yaml:3: objective.name: ", "'ptychografy'", "did you mean 'ptychography'?"),
    ),
    "objective module missing": (
        "name: toy\nobjective: {name: 'nowhere.at.all:x'}\n" + SHIFT,
        ("study.yaml:2: objective.name: 'nowhere.at.all:x' cannot be loaded",),
    ),
    "objective attribute missing": (
        "name: toy\nobjective: {name: 'tests.autotune.toy:tyo'}\n" + SHIFT,
        ("study.yaml:2: objective.name: 'tests.autotune.toy:tyo' cannot be loaded",),
    ),
    "not an objective type": (
        "name: toy\nobjective: {name: 'math:pi'}\n" + SHIFT,
        ("study.yaml:2: objective.name: 'math:pi' is not an objective type",),
    ),
    "empty module": (
        "name: toy\nobjective: {name: ':x'}\n" + SHIFT,
        ("study.yaml:2: objective.name: ':x' cannot be loaded",),
    ),
    "misspelt setting": (
        with_objective("iteratoins: 3"),
        ("study.yaml:2: objective.iteratoins: ", "did you mean 'iterations'?"),
    ),
    "nested setting below its limit": (
        with_objective("optimum: {rate: -2}"),
        ("study.yaml:2: objective.optimum.rate: -2 is not valid", "above 0"),
    ),
    "setting that is quoted": (
        with_objective("iterations: '3'"),
        ("study.yaml:2: objective.iterations: '3' is not valid", "a number"),
    ),
    "setting that is true": (
        with_objective("noise: true"),
        ("objective.noise: true is not valid", "a number"),
    ),
    "data missing": (with_objective("data: gone.json"), ("gone.json: no such file", "autotune simulate")),
    # parameters
    "nothing tuned": (
        with_parameters("shift: 1"),
        ("study.yaml:3: parameters: every parameter is held fixed",),
    ),
    "no parameter at all": (with_parameters(""), ("study.yaml:3: parameters: {} is not valid",)),
    "parameter left empty": (with_parameters("shift: "), ("study.yaml:3: parameters.shift: null",)),
    "parameter that is true": (with_parameters("shift: true"), ("study.yaml:3: parameters.shift: true",)),
    "unknown parameter": (
        with_parameters("shfit: {}"),
        ("study.yaml:3: parameters.shfit: ", "did you mean 'shift'?"),
    ),
    "misspelt range key": (
        with_parameters("shift: {lwo: -1}"),
        ("study.yaml:3: parameters.shift.lwo: ", "did you mean 'low'?"),
    ),
    "reversed range": (
        with_parameters("shift: {low: 300, high: 120}"),
        ("study.yaml:3: parameters.shift.low: 300 is not below high (120)",),
    ),
    "range of one point": (with_parameters("shift: {low: 1, high: 1}"), ("1 is not below high (1)",)),
    "range that is text": (
        with_parameters("shift: {low: small}"),
        ("parameters.shift.low: 'small' is not valid", "a number"),
    ),
    "NaN": (with_parameters("shift: {low: .nan}"), ("study.yaml:3: parameters.shift.low: .nan",)),
    "infinity": (with_parameters("shift: {high: .inf}"), ("study.yaml:3: parameters.shift.high: .inf",)),
    "overflow": (with_parameters("shift: {high: 1e999}"), ("study.yaml:3: parameters.shift.high: 1e999",)),
    "initial outside": (
        with_parameters("shift: {low: -1, high: 1, initial: 1.5}"),
        ("study.yaml:3: parameters.shift.initial: 1.5 is outside",),
    ),
    "log from zero": (with_parameters("rate: {low: 0, high: 1, log: true}"), ("parameters.rate.low: 0 ",)),
    "fraction of an int": (with_parameters("passes: {low: 1.5}"), ("parameters.passes.low: 1.5 ", "whole")),
    "range missing": (with_parameters("tilt: {}"), ("parameters.tilt: low and high must be given", "degree")),
    "beyond the hard limit": (
        with_parameters("shift: {high: 99}"),
        ("parameters.shift.high: 99 ", "10 angstrom"),
    ),
    "unknown choice": (
        with_parameters("method: {choices: [fast, fsat]}"),
        ("parameters.method.choices: 'fsat'", "did you mean 'fast'?"),
    ),
    "one choice": (with_parameters("method: {choices: [fast]}"), ("parameters.method.choices: ['fast']",)),
    # the rest
    "unknown metric": (
        GOOD + "metric: consitency\n",
        ("study.yaml:5: metric", "did you mean 'consistency'?"),
    ),
    "unknown sampler": (
        GOOD + "search: {sampler: gpp}\n",
        ("study.yaml:5: search.sampler: 'gpp'", "random, qmc, tpe, cmaes, optuna-gp, gp", "'gp'?"),
    ),
    "converged with random": (
        GOOD + "search: {sampler: random}\nbudget: {converged: 0.1}\n",
        ("study.yaml:6: budget: converged needs the sampler gp: random expects nothing of a trial",),
    ),
    "startup of random": (
        GOOD + "search: {sampler: random, startup_trials: 5}\n",
        ("study.yaml:5: search.startup_trials: 5 has no meaning with sampler 'random'",),
    ),
    "negative seed": (GOOD + "search:\n  seed: -1\n", ("study.yaml:6: search.seed: -1", "at least 0")),
    "no trials": (GOOD + "budget: {trials: 0}\n", ("study.yaml:5: budget.trials: 0", "at least 1")),
    "trials in words": (
        GOOD + "budget: {trials: many}\n",
        ("study.yaml:5: budget.trials: 'many'", "whole number"),
    ),
    "half a trial": (GOOD + "budget: {trials: 2.5}\n", ("study.yaml:5: budget.trials: 2.5", "whole number")),
    "no time": (GOOD + "budget: {seconds: 0}\n", ("study.yaml:5: budget.seconds: 0", "above 0")),
    "yes": (GOOD + "tracking: {enabled: yes}\n", ("study.yaml:5: tracking.enabled: 'yes'", "true or false")),
}


@pytest.fixture
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds nothing, and a home that does not exist."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "home"))
    return tmp_path


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_study_is_refused(case: str, command: str, empty_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, fragments = BAD[case]
    study = empty_place / "study.yaml"
    study.write_bytes(content if isinstance(content, bytes) else content.encode())
    code = run_command_line([command, str(study)])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert all(fragment in err for fragment in fragments), err
    assert all(line.startswith("Error: ") for line in err.splitlines()), err
    assert "Traceback" not in err + out
    assert "pydantic" not in err + out
    assert files_below(empty_place) == ["cwd", "study.yaml"]


def test_the_good_study_is_accepted(empty_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The malformed files differ from a good one only in their mistake."""
    (empty_place / "study.yaml").write_text(GOOD, encoding="utf-8")
    assert run_command_line(["check", str(empty_place / "study.yaml")]) == 0
    out = capsys.readouterr().out
    assert "-1 to 1" in out
    assert "angstrom" in out
    assert "maximize consistency, in-sample" in out
    assert files_below(empty_place) == ["cwd", "study.yaml"]


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("search.sampler", "--set search.sampler: 'search.sampler' is not KEY=VALUE"),
        ("=3", "--set =3: '=3' is not KEY=VALUE"),
        ("search..seed=3", "'search..seed=3' is not KEY=VALUE"),
        ("search.seed=-3", "--set search.seed: -3 is not valid"),
        ("search.seeed=3", "--set search.seeed: there is no key 'seeed' here; did you mean 'seed'?"),
        ("name.first=a", "--set name.first: name is 'toy', not a map of keys"),
        ("budget={trials: ", "--set budget: is not YAML"),
        ("parameters.shift.high=.inf", "--set parameters.shift.high: .inf is not a finite number"),
        ("parameters.shift.high=-2", "study.yaml:4: parameters.shift.low: -1 is not below high (-2)"),
    ],
)
def test_bad_override_is_refused(
    override: str, fragment: str, empty_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_place / "study.yaml").write_text(GOOD, encoding="utf-8")
    code = run_command_line(["check", str(empty_place / "study.yaml"), "--set", override])
    err = capsys.readouterr().err
    assert code == 2
    assert fragment in err


def test_missing_file_and_folder_are_refused(empty_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, fragment in ((empty_place / "nope.yaml", "no such file"), (empty_place, "is a folder")):
        assert run_command_line(["check", str(path)]) == 2
        assert f"Error: {path}: {fragment}" in capsys.readouterr().err


def test_an_objective_that_cannot_simulate_says_so(empty_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = empty_place / "study.yaml"
    study.write_text(GOOD, encoding="utf-8")
    code = run_command_line(["simulate", str(study), "--set", "objective.name=tests.autotune.toy:bare"])
    assert code == 2
    assert "--set objective.name: 'tests.autotune.toy:bare' cannot simulate" in capsys.readouterr().err


def test_simulate_writes_what_check_then_opens(empty_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = empty_place / "study.yaml"
    study.write_text(with_objective("data: made/toy.json"), encoding="utf-8")
    assert run_command_line(["check", str(study)]) == 2
    assert run_command_line(["simulate", str(study)]) == 0
    assert f"measurement: {empty_place / 'made/toy.json'}" in capsys.readouterr().out
    assert run_command_line(["check", str(study)]) == 0
    assert run_command_line(["simulate", str(study), "--output", "other.json"]) == 0
    assert (empty_place / "cwd/other.json").is_file()


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from autotune.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("case", ["reversed range", "not UTF-8", "unknown sampler"])
def test_bad_study_in_a_process_of_its_own(case: str, empty_place: Path) -> None:
    content, fragments = BAD[case]
    (empty_place / "study.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = command("check", str(empty_place / "study.yaml"), folder=empty_place / "cwd")
    assert (done.returncode, done.stdout) == (2, "")
    assert all(fragment in done.stderr for fragment in fragments)
    assert "Traceback" not in done.stderr
    assert files_below(empty_place) == ["cwd", "study.yaml"]


def test_usage_errors_exit_2_and_debug_shows_the_traceback(
    empty_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["chek"]) == 2
    assert "No such command 'chek'" in capsys.readouterr().err
    assert run_command_line(["check", "study.yaml", "--colour"]) == 2
    assert "--colour" in capsys.readouterr().err
    assert run_command_line(["--debug", "check", "nope.yaml"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr().out.startswith("autotune 0.")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("two\nlines"), 3, "Error: unexpected RuntimeError: two lines; autotune --debug"),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(
    raised: BaseException, code: int, message: str, empty_place: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*arguments: object) -> None:
        raise raised

    monkeypatch.setattr("autotune.study.load_study", fail)
    assert run_command_line(["check", "study.yaml"]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_help_is_quick_because_it_imports_nothing_heavy(empty_place: Path) -> None:
    code = (
        "import sys\nfrom autotune.cli.main import run_command_line\n"
        "assert run_command_line(['--help']) == 0\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'scipy', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("run", "result", "check", "simulate", "ui", "schema"):
        assert f"\n  {name} " in done.stdout


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert run_command_line(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")
