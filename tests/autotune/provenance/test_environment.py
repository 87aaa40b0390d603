"""What a study ran with."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from autotune.execution.threads import worker_threads
from autotune.objective import Metric
from autotune.provenance import environment as module
from autotune.provenance.environment import (
    constraints,
    differences,
    environment,
    environment_of,
    keep_environment,
    threads_of,
)
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study import ExecutionSpec, StudySpec


def test_it_names_everything_that_matters() -> None:
    ran_in = environment("ptychography", {"OMP_NUM_THREADS": "3"})
    for name in ("numpy", "torch", "optuna", "scipy"):  # scipy: of others' requirements, too
        assert ran_in["packages"][name] == metadata.version(name)
    assert not {"pytest", "ruff", "mypy"} & set(ran_in["packages"])
    assert list(ran_in["packages"]) == sorted(ran_in["packages"])
    assert ran_in["python"] == ".".join(map(str, sys.version_info[:3]))
    assert ran_in["threads"] == {"OMP_NUM_THREADS": "3"}
    assert environment("tests.autotune.toy:toy", None)["sources"].keys() >= {"tests"}
    assert ran_in["cores"] >= 1 and ran_in["cpu"] and ran_in["platform"]


def test_requirements_are_followed_with_their_extras_and_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "autotune-reconstruction": (
            "Name: autotune-reconstruction\nVersion: 1\n"
            "Requires-Dist: A_b[x]>=1\nRequires-Dist: gone; extra == 'dask'\n"
        ),
        "a-b": "Name: A_b\nVersion: 2\nRequires-Dist: c; extra == 'x'\nRequires-Dist: d; extra == 'y'\n\nVersion: 9\n",
        "c": (
            "Version: 3+cpu\nRequires-Dist: autotune-reconstruction\n"
            "Requires-Dist: d; python_version < '3'\nRequires-Dist: ?\n"
        ),
        "d": "Version: 4\n",
        "mine": "Version: 5\n",
    }

    class Fake:
        def __init__(self, text: str) -> None:
            self.text = text

        def read_text(self, name: str) -> str | None:
            return self.text if name == "METADATA" else None

    def find(name: str) -> Fake:
        text = texts.get(module._canonical(name))
        if text is None:
            raise metadata.PackageNotFoundError(name)
        return Fake(text)

    monkeypatch.setattr(module.metadata, "distribution", find)
    assert dict(module._packages.__wrapped__(("mine",))) == {"autotune": "1", "a-b": "2", "c": "3+cpu", "mine": "5"}


def test_the_distribution_is_the_one_that_the_project_is_built_as() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == module._DISTRIBUTION


def test_the_commit_is_that_of_our_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "autotune"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(module.autotune, "__file__", str(package / "__init__.py"))

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)  # noqa: S607

    def commit() -> str | None:
        return module._commit.__wrapped__()

    assert commit() is None
    git("init")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-m", "x")
    assert commit() is None  # a checkout, but not of this package: such as the one that a .venv lies in
    git("add", ".")
    git("commit", "-m", "y")
    clean = commit()
    assert clean is not None and len(clean) == 40
    (package / "__init__.py").write_text("changed")
    assert commit() == f"{clean}-dirty"


def test_each_trial_knows_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrialStore.create(f"sqlite:///{tmp_path / 'trials.db'}", "s", Metric("c", "maximize"), {})
    versions = {"packages": {"numpy": "1"}}
    monkeypatch.setattr(module, "environment", lambda objective, threads: versions)
    spec = StudySpec.model_validate({"name": "s", "objective": {"name": "toy"}, "parameters": {"shift": {}}})
    for owner in ("a", "b"):
        keep_environment(store, owner, spec, tmp_path)
    versions = {"packages": {"numpy": "2"}}
    keep_environment(store, "c", spec, tmp_path)

    def of(owner: str) -> Any:
        return environment_of(store, TrialRecord(0, "finished", {}, owner=owner))

    numpy = {owner: of(owner)["packages"]["numpy"] for owner in ("a", "b", "c")}
    assert numpy == {"a": "1", "b": "1", "c": "2"}
    assert of("of an older version") is None
    assert sum(key.startswith("environment:") for key in store.facts) == 2
    assert '"numpy": "2"' in (tmp_path / "environment.json").read_text()


def test_differences_are_named() -> None:
    then = {"python": "3.11.1", "cpu": "x", "packages": {"numpy": "1", "gone": "1"}}
    now = {"python": "3.12.0", "cpu": "x", "packages": {"numpy": "2", "new": "1"}}
    assert differences(then, now) == {
        "python": ("3.11.1", "3.12.0"), "numpy": ("1", "2"), "gone": ("1", None), "new": (None, "1"),
    }  # fmt: skip
    assert differences(then, then) == {}


def test_other_code_is_a_difference_by_its_name() -> None:
    then, now = ({"packages": {}, "sources": {"toy": digest, "same": "s"}} for digest in "ab")
    assert differences(then, now) == {"source of toy": ("a", "b")}
    assert differences({"packages": {}}, now).keys() == {"source of toy", "source of same"}  # an older version ran it


@pytest.mark.parametrize(
    ("then", "now", "known"),
    [("c", "c", True), (None, None, True), ("c-dirty", "c-dirty", False), ("c", "c-dirty", False), ("c", "d", False)],
)
def test_a_commit_with_changed_files_is_not_known_to_be_the_same(then: str, now: str, known: bool) -> None:
    differing = differences({"commit": then, "packages": {}}, {"commit": now, "packages": {}})
    assert differing == ({} if known else {"commit": (then, now)})


def test_threads_are_those_that_a_worker_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(9)), raising=False)
    assert worker_threads(1) == {} and worker_threads(2) == {"OMP_NUM_THREADS": "4"}
    assert worker_threads(20) == {"OMP_NUM_THREADS": "1"}
    assert threads_of(ExecutionSpec(workers=3)) == {"OMP_NUM_THREADS": "3"}
    assert threads_of(ExecutionSpec(executor="inline")) == {}
    assert threads_of(ExecutionSpec(executor="dask", scheduler="tcp://host:1")) is None
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    assert worker_threads(2) == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "5"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_threads(2) == worker_threads(1) == {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "5"}


def test_the_lock_is_a_constraint_file() -> None:
    ran_in = {
        "python": "3.11.1", "platform": "Linux", "commit": "abc",
        "packages": {"autotune": "0.1", "numpy": "2.0", "torch": "2.6+cpu"}, "sources": {"toy": "f00"},
    }  # fmt: skip
    lines = constraints(ran_in).splitlines()
    assert lines[0] == "# autotune 0.1, commit abc; Python 3.11.1, Linux"
    assert [line for line in lines if not line.startswith("#")] == ["numpy==2.0", "torch==2.6+cpu"]
    assert any("index of its own" in line for line in lines)
    assert any("no version tells the code of toy" in line and "f00" in line for line in lines)
