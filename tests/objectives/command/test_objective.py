"""Runs of programs: what they are given, what is read, and what becomes of those that fail."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest

from autotune.objective import Diverged, Evaluation, InputError, Objective, Status, Value
from autotune.testing import ObjectiveConformance, ObjectiveTypeConformance
from objectives.command.objective import ProgramFailed
from objectives.command.outputs import NoResult
from objectives.command.plugin import command
from tests.objectives.command.programs import PARABOLA, PARAMETERS, SLOWLY, block, opened

AT: dict[str, Value] = {"shift": 0.5, "power": 2, "way": "fast"}


def evaluated(objective: Objective, **options: Any) -> Evaluation:
    return objective.evaluate(AT, **{"metric": "error", "seed": 3, **options})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    return opened(tmp_path_factory.mktemp("command"), SLOWLY, keep="never")


class TestCommand(ObjectiveConformance):
    @pytest.fixture(autouse=True)
    def _made(self, made: Objective) -> None:
        self._objective = made

    def objective(self) -> Objective:
        return self._objective

    def values(self) -> Mapping[str, Value]:
        return AT


class TestCommandType(ObjectiveTypeConformance):
    name = "command"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._settings = block(tmp_path)
        self._settings["run"][1] = str(tmp_path / "program.py")
        self._settings["files"] = {"given.json": str(tmp_path / "template.json")}

    def objective_type(self) -> Any:
        return command

    def settings(self) -> Mapping[str, Any]:
        return self._settings


def test_values_go_in_and_metrics_come_out(tmp_path: Path) -> None:
    seen: list[Any] = []
    found = evaluated(opened(tmp_path, keep="always"), progress=lambda *told: seen.append(told) is None)
    assert found.status is Status.COMPLETE and found.metrics == {"error": pytest.approx(0.04)}
    assert found.gradient == {"shift": pytest.approx(0.4)}
    assert seen == [(i, 3, {"error": pytest.approx(0.04 + 1 / i)}) for i in (1, 2, 3)]
    assert found.curve == {"error": [told[2]["error"] for told in seen]} and found.seconds > 0
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "given.json").read_text()) == AT
    assert {path.name for path in folder.iterdir()} == {"given.json", "result.json", "stdout.txt", "stderr.txt"}


def test_arguments_and_environment(tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv[1:], os.environ['SHIFT'], os.getcwd(), sys.stdin.read() == '')"
    run = [sys.executable, "{{study}}/program.py", "--a={{shift}} {{seed}}", "$(echo); {{input}}"]
    environment = {"SHIFT": "{{power}}{{way}}"}
    metrics = {"error": {"goal": "minimize", "regex": r"--a=(\S+)"}}
    objective = opened(tmp_path, program, run=run, environment=environment, metrics=metrics, files={},
                       inputs={"input": "template.json"}, gradient=None, keep="always")  # fmt: skip
    assert evaluated(objective).metrics == {"error": 0.5}
    [folder] = (tmp_path / "runs").iterdir()
    said = f"['--a=0.5 3', '$(echo); {tmp_path / 'template.json'}'] 2fast {folder} True\n"
    assert (folder / "stdout.txt").read_text() == said


@pytest.mark.parametrize(("keep", "good", "bad"), [("failed", 0, 1), ("always", 1, 1), ("never", 0, 0)])
def test_working_folders_that_stay(keep: str, good: int, bad: int, tmp_path: Path) -> None:
    evaluated(opened(tmp_path, keep=keep))
    assert len(list((tmp_path / "runs").iterdir())) == good
    with pytest.raises(ProgramFailed) as caught:
        evaluated(opened(tmp_path, "import sys; sys.exit('no beam')", keep=keep, work="failures"))
    left = list((tmp_path / "failures").iterdir())
    assert len(left) == bad and all(str(folder) in str(caught.value) for folder in left)


@pytest.mark.parametrize(
    ("program", "error", "quoted"),
    [
        ("import sys; sys.stderr.write('x' * 999 + ' out of\\nmemory'); sys.exit(3)", ProgramFailed,
         ["exit code 3", "... xxx", "x out of memory"]),
        ("raise SystemExit(2)", ProgramFailed, ["exit code 2", "nothing to its standard error"]),
        ("import os; os.kill(os.getpid(), 11)", ProgramFailed, ["SIGSEGV"]),
        ("print('done')", NoResult, ["result.json", "not written"]),
        ("open('result.json', 'wb').write(bytes(range(256)))", NoResult, ["result.json", "not JSON"]),
        (PARABOLA.replace('"error": error', '"error": float("nan")'), Diverged, ["error is nan"]),
        (PARABOLA.replace('{"shift": 2', '{"power": 2'), NoResult, ["gradient", "power", "differentiable: shift"]),
    ],
    ids=["exit", "silent", "signal", "no result", "garbage", "nan", "gradient"],
)  # fmt: skip
def test_failures_say_why(program: str, error: type[Exception], quoted: list[str], tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        evaluated(opened(tmp_path, program, keep="never"))
    for part in quoted:
        assert part in str(caught.value)


def test_other_exit_codes_may_be_success(tmp_path: Path) -> None:
    objective = opened(tmp_path, PARABOLA + "sys.exit(7)", exit_codes=[0, 7], keep="never")
    assert evaluated(objective).status is Status.COMPLETE


def test_garbage_on_its_output_disturbs_nothing(tmp_path: Path) -> None:
    noise = "sys.stdout.buffer.write(bytes(range(256)) * 999 + b'\\n')\nprint('pass 99/x', 'pass 2/1', 'pass -1/3')\n"
    program = PARABOLA.replace("import json, sys\n", "import json, sys\n" + noise)
    seen: list[int] = []
    found = evaluated(opened(tmp_path, program), progress=lambda i, *_: seen.append(i) is None)
    assert found.status is Status.COMPLETE and seen == [1, 2, 3]


LINGERS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("children", "w").write(str(child.pid))
for i in range(1, 600):
    print(f"pass {i}/600 error={1 / i}", flush=True)
    time.sleep(0.05)
"""


@pytest.mark.parametrize("deaf", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_run_that_is_stopped_ends_with_all_that_it_started(deaf: str, tmp_path: Path) -> None:
    began = time.monotonic()
    found = evaluated(opened(tmp_path, deaf + LINGERS, keep="always"), progress=lambda i, *_: i < 3)
    assert found.status is Status.STOPPED and found.curve == {"error": [1.0, 0.5, pytest.approx(1 / 3)]}
    assert found.metrics == {"error": pytest.approx(1 / 3)} and time.monotonic() - began < 60
    [folder] = (tmp_path / "runs").iterdir()
    child = int((folder / "children").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_an_exception_of_the_caller_ends_the_program(tmp_path: Path) -> None:
    def interrupted(*told: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(opened(tmp_path, LINGERS, keep="always"), progress=interrupted)
    [folder] = (tmp_path / "runs").iterdir()
    assert not [p for p in psutil.process_iter() if p.ppid() == os.getpid() and "program.py" in " ".join(p.cmdline())]
    assert (folder / "stdout.txt").exists()


@pytest.mark.parametrize("new_session", [False, True])
def test_what_a_program_leaves_behind_is_ended(new_session: bool, tmp_path: Path) -> None:
    """Also where it has ended well, and its child is a daemon."""
    leaves = (
        "import subprocess\n"
        "code = 'import time; time.sleep(600)'\n"
        f"child = subprocess.Popen([sys.executable, '-c', code], start_new_session={new_session})\n"
        "open('children', 'w').write(str(child.pid))\n"
    )
    assert evaluated(opened(tmp_path, PARABOLA + leaves, keep="always")).status is Status.COMPLETE
    [folder] = (tmp_path / "runs").iterdir()
    child = int((folder / "children").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_program_that_has_ended_is_not_stopped(tmp_path: Path) -> None:
    """Programs whose output is a file write it at the end only, unless they flush it."""
    program = PARABOLA.replace(", flush=True", "")
    objective = opened(tmp_path, program, environment={"PYTHONUNBUFFERED": ""})
    heard: list[int] = []
    found = evaluated(objective, progress=lambda i, *_: bool(heard.append(i)))
    assert found.status is Status.COMPLETE and found.metrics["error"] == pytest.approx(0.04) and heard == [1]


def test_derivatives_are_of_one_metric(tmp_path: Path) -> None:
    metrics = {"other": {"goal": "minimize", "json": "result.json", "pointer": "/metrics/error"}}
    error = {"error": {"goal": "minimize", "json": "result.json", "pointer": "/metrics/error"}}
    gradient = {"json": "result.json", "pointer": "/gradient", "of": "error"}
    objective = opened(tmp_path, metrics={**metrics, **error}, gradient=gradient)
    assert evaluated(objective).gradient == {"shift": pytest.approx(0.4)}
    assert evaluated(objective, metric="other").gradient == {}


def test_the_number_of_iterations_may_be_a_parameter(tmp_path: Path) -> None:
    progress = {"regex": r"pass (?P<iteration>\d+)/3", "of": "power"}
    seen: list[Any] = []
    evaluated(opened(tmp_path, progress=progress), progress=lambda *told: seen.append(told) is None)
    assert seen == [(1, 2, {}), (2, 2, {})]  # the third is beyond what is planned


def test_what_decides_an_evaluation_is_in_the_hash(tmp_path: Path) -> None:
    def of(program: str = PARABOLA, **changes: Any) -> str:
        run = ["./program.py", "given.json"]
        stated = block(tmp_path, program, **{"run": run, "inputs": {"data": "data.bin"}, **changes})
        (tmp_path / "program.py").chmod(0o755)
        return command.open(command.settings.model_validate(stated), folder=tmp_path).content_hash  # type: ignore[attr-defined, no-any-return]

    (tmp_path / "data.bin").write_bytes(b"counts")
    first = of()
    assert first == of(keep="always", work=None)
    assert first != of(PARABOLA, run=[sys.executable, "{{study}}/program.py", "given.json"])
    as_argument = [
        of(program, run=["{{python}}", "{{study}}/program.py"], inputs={}) for program in (PARABOLA, "print()")
    ]
    assert len(set(as_argument)) == 2
    others = [of(PARABOLA + "# changed"), of(environment={"A": "1"}), of(parameters={**PARAMETERS, "way": {
        **PARAMETERS["way"], "default": "slow"}})]  # fmt: skip
    (tmp_path / "data.bin").write_bytes(b"Counts")
    assert len({first, of(), *others}) == 5


def test_merely_using_an_input_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "package" / "code.py").write_text("1")

    def of() -> str:
        return opened(tmp_path, inputs={"package": "package"}).content_hash  # type: ignore[attr-defined, no-any-return]

    first = of()
    (tmp_path / "package" / "__pycache__" / "code.pyc").write_bytes(b"2")
    (tmp_path / "package" / ".git").mkdir()
    (tmp_path / "package" / ".git" / "index").write_bytes(b"3")
    assert of() == first
    (tmp_path / "package" / "code.py").write_text("2")
    assert of() != first


class TestMistakes:
    """Each is named with its place, and what would be right; several at once."""

    @cached_property
    def cases(self) -> dict[str, tuple[dict[str, Any], list[str]]]:
        extra = {**PARAMETERS, "rate": {"low": 0, "high": 1}}
        return {
            "placeholder": ({"environment": {"A": "{{shft}}"}}, ["objective.environment.A", "{{shft}}", "'shift'"]),
            "unused": ({"parameters": extra}, ["objective.parameters.rate", "never gets it", "{{rate}}"]),
            "no program": ({"run": ["no-such-program"]}, ["objective.run", "no-such-program", "PATH"]),
            "no file": ({"run": ["./nothing"]}, ["nothing", "does not exist"]),
            "not executable": ({"run": ["./template.json"]}, ["not executable", "chmod +x"]),
            "template": ({"files": {"a": "none.txt"}}, ["objective.files.a", "none.txt", "cannot be read"]),
            "input": ({"inputs": {"data": "none.h5"}}, ["objective.inputs.data", "no file and no folder"]),
            "two meanings": ({"inputs": {"shift": "template.json"}}, ["objective.inputs.shift", "a parameter"]),
            "own name": ({"inputs": {"folder": "template.json"}}, ["objective.inputs.folder", "of its own"]),
            "range": ({"parameters": {**PARAMETERS, "shift": {"low": 2, "high": 1}}}, ["objective.parameters.shift"]),
            "default": ({"parameters": {**PARAMETERS, "shift": {"default": "a"}}}, ["shift.default", "float"]),
            "outside": ({"parameters": {**PARAMETERS, "shift": {"default": 2, "maximum": 1}}}, ["default 2", "limits"]),
            "limits": ({"parameters": {**PARAMETERS, "shift": {"minimum": 2, "maximum": 1}}}, ["minimum 2", "1"]),
            "choice": ({"parameters": {**PARAMETERS, "way": {**PARAMETERS["way"], "default": "c"}}}, ["'c'", "fast"]),
            "beside": ({"run": ["bash", "program.py"]}, ["objective.run[1]", "{{study}}/program.py"]),
            "work": ({"work": "template.json"}, ["objective.work", "no folder"]),
            "work inside": ({"inputs": {"data": "."}}, ["objective.work", "lies in the input data"]),
            "group": ({"progress": {"regex": "(?P<iteration>1)(?P<iterations>2)(?P<eror>3)"}}, ["'eror'", "'error'"]),
            "no derivative": ({"parameters": {**PARAMETERS, "shift": {}}}, ["objective.gradient", "differentiable"]),
            "gradient of": ({"gradient": {"json": "a", "of": "eror"}}, ["objective.gradient.of", "'error'"]),
            "of": ({"progress": {"regex": "(?P<iteration>1)", "of": "shift"}}, ["objective.progress.of", "int"]),
        }  # fmt: skip

    @pytest.mark.parametrize("case", ["placeholder", "unused", "no program", "no file", "not executable", "template",
                                      "input", "two meanings", "own name", "range", "default", "outside", "limits",
                                      "choice", "beside", "work", "work inside", "group", "no derivative",
                                      "gradient of", "of"])  # fmt: skip
    def test_is_named(self, case: str, tmp_path: Path) -> None:
        changes, quoted = self.cases[case]
        with pytest.raises(InputError) as caught:
            opened(tmp_path, **changes)
        for part in quoted:
            assert part in str(caught.value)

    def test_in_a_template_with_its_line(self, tmp_path: Path) -> None:
        stated = block(tmp_path)
        (tmp_path / "template.json").write_text('{"a": {{shift}},\n "b": {{powr}}}')
        with pytest.raises(InputError) as caught:
            command.open(command.settings.model_validate(stated), folder=tmp_path)
        assert f"{tmp_path / 'template.json'}:2" in str(caught.value) and "'power'" in str(caught.value)
        assert len(caught.value.problems) == 3  # power and way are used nowhere
