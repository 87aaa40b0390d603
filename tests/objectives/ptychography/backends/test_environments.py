"""Where a backend's Python is, and how its environment is made."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.objective import InputError
from objectives.ptychography.backends import environments
from objectives.ptychography.backends.environments import folder_of, install, installed_versions, python_of
from objectives.ptychography.backends.shipped import SHIPPED
from objectives.ptychography.backends.table import backends, find_backend
from tests.objectives.ptychography.backends.toys import TOY


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_BACKENDS", str(tmp_path / "environments"))


def test_a_python_that_is_stated(tmp_path: Path) -> None:
    assert python_of(TOY, Path(sys.executable), tmp_path) == Path(sys.executable)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert python_of(TOY, Path("bin/python"), tmp_path) == tmp_path / "bin" / "python"
    for wrong in ("bin", "nowhere"):
        with pytest.raises(InputError, match=f"objective.backend.python: .*{wrong} is no program"):
            python_of(TOY, Path(wrong), tmp_path)


def test_one_that_is_not_installed_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="toy is not installed; `autotune backends install toy`"):
        python_of(TOY, None, tmp_path)
    assert installed_versions(TOY) == {}


def test_an_environment_is_made_and_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without downloads: pip is what it has anyway. Packages of this Python are none of it."""
    commands: list[list[str]] = []
    run = environments._run

    def offline(command: list[str], backend: object, say: Callable[[str], None] = lambda line: None) -> str:
        commands.append(command)
        if "install" not in command:
            return run(command, TOY)
        for line in ("Collecting pip", "  Downloading pip-25.whl (1 MB)", "Installing collected packages: pip"):
            say(line)
        return ""

    monkeypatch.setattr(environments, "_run", offline)
    monkeypatch.setenv("PYTHONPATH", next(p for p in sys.path if p.endswith("site-packages")))
    said: list[str] = []
    left = folder_of(TOY) / "left"
    left.mkdir(parents=True)
    needs_pip = replace(TOY, requirements=("pip>=1",))
    install(needs_pip, said.append)
    assert not left.exists(), "an earlier one is replaced"
    assert python_of(TOY, None, tmp_path) == folder_of(TOY) / "bin" / "python"
    assert installed_versions(TOY).keys() == {"pip"} and said[-1].startswith("toy: pip ")
    assert said[-3:-1] == ["toy: Downloading pip-25.whl (1 MB)", "toy: Installing collected packages: pip"]
    [pip] = [command for command in commands if "install" in command]
    assert pip[-1] == "pip>=1" and "--no-deps" not in pip
    with pytest.raises(InputError, match="No package metadata was found for numpy"):
        install(TOY, said.append)
    assert installed_versions(TOY).keys() == {"pip"}, "where it fails, the earlier one stays"


def test_what_fails_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = replace(TOY, requirements=("no-such-package-anywhere==1",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InputError, match=r"toy: cannot be installed: .*no-such-package-anywhere"):
        install(broken, lambda line: None)
    with pytest.raises(InputError, match="is not installed"):
        python_of(broken, None, tmp_path)
    with pytest.raises(InputError, match=r"toy: runs in Python 2.6 to 2.7, and none is on the PATH"):
        install(replace(TOY, python=((2, 6), (2, 7))), lambda line: None)


@pytest.mark.parametrize("gpu", [True, False])
def test_cuda_is_fetched_only_where_there_is_a_gpu(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], backend: object, say: object = None) -> str:
        commands.append(command)
        if "--report" in command:
            return json.dumps({"install": [{"metadata": {"name": name}} for name in ("torch", "nvidia-cublas")]})
        if "-c" in command:
            return json.dumps({"torch": "2.13.0"})
        if "venv" in command:
            folder_of(TOY).mkdir(parents=True)
        return ""

    monkeypatch.setattr(environments, "_run", run)
    monkeypatch.setattr(environments, "_has_gpu", lambda: gpu)
    install(replace(TOY, requirements=("torch==2.13.0",)), lambda line: None)
    [pip] = [command for command in commands if "install" in command and "--dry-run" not in command]
    assert ("--extra-index-url" in pip) is not gpu


def test_a_broken_entry_point_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = tmp_path / "broken_package-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[autotune.backends]\nbad = nowhere.at_all:backend\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    backends.cache_clear()
    with pytest.warns(UserWarning, match=r"broken-package offers nowhere.at_all:backend as a backend: M"):
        assert {backend.name for backend in SHIPPED} <= backends().keys()
    backends.cache_clear()


def test_the_table() -> None:
    assert {backend.name for backend in SHIPPED} <= backends().keys()
    for backend in SHIPPED:
        assert backend.adapter.is_file() and all("==" in pin for pin in backend.requirements), "pinned"
        assert len({p.name for p in backend.parameters}) == len(backend.parameters)
    with pytest.raises(InputError, match="'py4dsten' is no backend; did you mean 'py4dstem'"):
        find_backend("py4dsten")
