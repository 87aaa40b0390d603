"""Which environment variables a process that makes trials is given."""

from __future__ import annotations

import os
import threading

import pytest

from autotune.home import STORAGE_VARIABLE
from autotune.objective import child_environment, environment
from autotune.objective.environment import GIVEN, NEVER, giving, minimal_environment


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("PATH", "/bin", True),
        ("LC_ALL", "C", True),
        ("PYTHONHASHSEED", "0", True),
        ("CUDA_VISIBLE_DEVICES", "1", True),
        ("BASH_FUNC_module%%", "() { :; }", True),
        ("AUTOTUNE_DATA", "/data", True),
        ("https_proxy", "http://proxy:3128", True),
        ("https_proxy", "http://ada:secret@proxy:3128", False),
        ("HTTP_PROXY", "ada:secret@proxy:3128", False),
        ("PYTHON_INDEX", "https://ada@host/simple", False),
        ("NVIDIA_API_KEY", "secret", False),
        ("SLURM_JWT", "secret", False),
        ("CONDA_TOKEN", "secret", False),
        ("AUTOTUNE_PASSWORD", "secret", False),
        ("AUTOTUNE_STORAGE", "sqlite:///trials.db", False),
        ("AWS_PROFILE", "ours", False),
        ("path", "/bin", False),
        ("MY_PATH", "/bin", False),
    ],
)
def test_what_is_given_without_being_named(name: str, value: str, given: bool, variables: pytest.MonkeyPatch) -> None:
    variables.setenv(name, value)
    assert minimal_environment() == ({name: value} if given else {})


def test_what_a_study_names_is_given(variables: pytest.MonkeyPatch) -> None:
    for name in ("MATLAB_ROOT", "MATLAB_TOKEN", "MATLAB", "AWS_PROFILE", "AUTOTUNE_STORAGE"):
        variables.setenv(name, "x")
    assert minimal_environment(["MATLAB_*", "AWS_PROFILE", "ABSENT", "AUTOTUNE_*"]).keys() == {
        "MATLAB_ROOT",
        "MATLAB_TOKEN",
        "AWS_PROFILE",
    }


def test_the_store_is_the_run_s() -> None:
    assert NEVER == STORAGE_VARIABLE


def test_every_name_is_listed_once() -> None:
    listed = [name for group in GIVEN.values() for name in group]
    assert len(listed) == len(set(listed))


def test_what_programs_are_given(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("HOME", "/root")
    variables.setenv("LICENCE", "x")
    assert child_environment() == {"HOME": "/root"}
    with giving(["LICENCE"]):
        assert child_environment() == {"HOME": "/root", "LICENCE": "x"}
    assert child_environment() == {"HOME": "/root"}


def test_in_a_worker_programs_are_given_all_that_it_has(variables: pytest.MonkeyPatch) -> None:
    """In its threads, too."""
    variables.setattr(environment, "_minimal", False)
    variables.setenv("LICENCE", "x")
    environment.environment_is_minimal()
    found: list[dict[str, str]] = []
    thread = threading.Thread(target=lambda: found.append(child_environment()))
    thread.start()
    thread.join()
    assert found[0]["LICENCE"] == "x"
