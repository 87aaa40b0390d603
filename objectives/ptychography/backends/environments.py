"""The private Python of each backend: where it is, what it holds, and how it is made.

Packages pin versions that exclude each other and this project's, so each has a virtual environment of its own, below
``AUTOTUNE_BACKENDS`` or else the user's cache folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pooch
from packaging.requirements import Requirement

from autotune.objective import InputError, Problem
from objectives.ptychography.backends.backend import Backend

FOLDER = "AUTOTUNE_BACKENDS"
"""Variable that names the folder of the environments."""
_MADE = "autotune.json"
"""File that an environment has once it is whole: what was installed."""
_ELSEWHERE = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_USER", "PIP_PREFIX"}
"""Variables that would have pip find packages, or put them, elsewhere."""
_LONG_STEPS = ("Downloading", "Building wheel", "Installing collected packages")
"""What pip's lines begin with that are passed on."""
_CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

Say = Callable[[str], None]


def folder_of(backend: Backend) -> Path:
    """Folder of the backend's private environment."""
    stated = os.environ.get(FOLDER)
    return (Path(stated).expanduser() if stated else Path(pooch.os_cache("autotune")) / "backends") / backend.name


def python_of(backend: Backend, stated: Path | None, folder: Path) -> Path:
    """The Python that runs the backend: the stated one, from ``folder``, or that of its private environment.

    Raises:
        InputError: there is none.
    """
    if stated is not None:
        path = folder / stated.expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise InputError(Problem("objective.backend.python", f"{path} is no program", "name a Python"))
        return path
    if not is_installed(backend):
        remedy = f"`autotune backends install {backend.name}`, or state objective.backend.python, a Python that has it"
        raise InputError(Problem("objective.backend.name", f"{backend.name} is not installed", remedy))
    return _python_in(folder_of(backend))


def is_installed(backend: Backend) -> bool:
    """Whether the private environment is whole."""
    return (folder_of(backend) / _MADE).is_file()


def installed_versions(backend: Backend) -> dict[str, str]:
    """Versions of the packages that were asked for, in the private environment; empty where it is not whole."""
    if not is_installed(backend):
        return {}
    found: dict[str, str] = json.loads((folder_of(backend) / _MADE).read_text(encoding="utf-8"))["versions"]
    return found


def install(backend: Backend, say: Say) -> None:
    """Make the private environment anew; an earlier one stays where that fails.

    Raises:
        InputError: no Python of a fitting version is on the PATH, or pip fails.
    """
    base, folder = _base_python(backend), folder_of(backend)
    folder.parent.mkdir(parents=True, exist_ok=True)
    earlier = folder.with_name(f"{folder.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if folder.exists():
        folder.rename(earlier)
    try:
        _make(backend, base, folder, say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if earlier.exists():
            earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _make(backend: Backend, base: str, folder: Path, say: Say) -> None:
    say(f"{backend.name}: an environment of {base} in {folder}")
    _run([base, "-m", "venv", str(folder)], backend)
    python = str(_python_in(folder))
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    cpu = [] if _has_gpu() or not _pulls_cuda(pip, backend) else ["--extra-index-url", _CPU_WHEELS]
    if cpu:
        say(f"{backend.name}: no GPU is here, so that PyTorch comes without CUDA")
    say(f"{backend.name}: pip install {' '.join(backend.requirements)}")
    _run([*pip, "install", "--progress-bar", "off", *cpu, *backend.requirements], backend, _pips_lines(backend, say))
    names = [Requirement(requirement).name for requirement in backend.requirements]
    asked = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    versions = json.loads(_run([python, "-c", asked, *names], backend))
    (folder / _MADE).write_text(json.dumps({"versions": versions}), encoding="utf-8")
    say(f"{backend.name}: {', '.join(f'{name} {version}' for name, version in versions.items())}")


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def _base_python(backend: Backend) -> str:
    """A Python of a version that the backend runs in: this one, else the newest on the PATH."""
    oldest, newest = backend.python
    if oldest <= sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], oldest[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    span = " to ".join(f"{major}.{minor}" for major, minor in (oldest, newest))
    remedy = f"install one of these, or state objective.backend.python, a Python that has {backend.name}"
    raise InputError(Problem(backend.name, f"runs in Python {span}, and none is on the PATH", remedy))


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def _pulls_cuda(pip: list[str], backend: Backend) -> bool:
    """Whether pip would fetch CUDA, which is gigabytes."""
    if not any(requirement.startswith("torch") for requirement in backend.requirements):
        return False
    dry = [*pip, "install", "--quiet", "--dry-run", "--report", "-", *backend.requirements]
    report = json.loads(_run(dry, backend))
    return any(item["metadata"]["name"].startswith("nvidia") for item in report["install"])


def _pips_lines(backend: Backend, say: Say) -> Say:
    """Pass on what pip says of the steps that take long."""

    def heard(line: str) -> None:
        if line.strip().startswith(_LONG_STEPS):
            say(f"{backend.name}: {line.strip()}")

    return heard


def _run(command: list[str], backend: Backend, say: Say = lambda line: None) -> str:
    """Run it, and say every line as it is printed; returns all that it prints.

    Raises:
        InputError: it fails.
    """
    told = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    with (
        tempfile.TemporaryFile("w+") as wrong,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=wrong, text=True, env=told
        ) as process,
    ):
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            say(line.rstrip("\n"))
        if process.wait() != 0:
            wrong.seek(0)
            said = wrong.read().strip().splitlines()
            raise InputError(Problem(backend.name, f"cannot be installed: {said[-1] if said else 'pip failed'}"))
    return "".join(lines)
