"""The environment of a study: package versions, hashes of other code, Python, machine, threads, commit.

The store keeps each environment that a study has run in once, and which run had which, so that each trial knows its
own. The latest one is in the study's folder as ``environment.json``, too.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import autotune
from autotune.execution.threads import worker_threads
from autotune.files import write_json
from autotune.provenance.code_hashes import code_hashes
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.study.executors import KINDS

if TYPE_CHECKING:
    from autotune.study import StudySpec
    from autotune.study.blocks.execution import ExecutionSpec

FILE = "environment.json"
_DISTRIBUTION = "autotune-reconstruction"
"""The distribution that this package is installed by; ``packages`` names it ``autotune``, as it is imported."""
_EXTRAS = frozenset({"dask", "postgres", "sim"})
"""Extras of this package that may decide a number; its tests and linters do not."""
_DIRTY = "-dirty"
_GIT_SECONDS = 5.0


def environment(objective: str, threads: Mapping[str, str] | None) -> dict[str, Any]:
    """The environment of this process and its workers as plain data.

    Args:
        objective: the objective's name in the study; the package that it comes from counts, with its requirements.
        threads: the environment variables that set the threads of a worker, from :func:`threads_of`.

    Keys: ``python``, ``platform``, ``cpu``, ``cores`` that this process may use, ``threads`` (the
    argument; null where that is not known), ``accelerator`` (null where there is none, or torch was
    not needed), ``commit`` of the checkout that autotune is run from (null for an installed one; ``-dirty`` appended
    where tracked files are changed), ``packages`` (name -> version), ``sources`` (name -> SHA-256 of the objective's
    code that is in none of these: :func:`autotune.provenance.code_hashes.code_hashes`).

    Raises:
        InputError: there is no such objective.
    """
    own = _distributions(objective)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": None if threads is None else dict(threads),
        "accelerator": _accelerator(),
        "commit": _commit(),
        "packages": dict(_packages(own)),
        "sources": code_hashes(objective, own),
    }


def threads_of(execution: ExecutionSpec) -> dict[str, str] | None:
    """The environment variables that set the threads of a study's workers; None where that is left to a cluster."""
    return None if KINDS[execution.executor].on_cluster else worker_threads(execution.workers)


def keep_environment(store: TrialStore, owner: str, spec: StudySpec, folder: Path) -> None:
    """Keep the environment that a run of a study has. The study's lock must be held.

    Args:
        store: the study.
        owner: the run, as its trials name it.
        spec: the study's specification.
        folder: the study's folder, for ``environment.json``.
    """
    now = environment(spec.objective.name, threads_of(spec.execution))
    digest = hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:16]
    facts = store.facts
    if facts.environment(digest) is None:
        store.keep_environment(digest, now)
    store.keep(environments={**facts.environments, owner: digest})
    write_json(folder / FILE, now)


def environment_of(store: TrialStore, trial: TrialRecord) -> dict[str, Any] | None:
    """The environment that a trial ran in; None where the study was run by a version that did not keep it."""
    facts = store.facts
    return facts.environment(facts.environments.get(trial.owner))


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The entries in which two environments are not known to be the same: name -> (then, now), None for a missing one.

    Packages have their own names, other code is called ``source of NAME``. A commit with changed
    files is never known to be the same: its two values may be equal.
    """
    old, new = _flat(then), _flat(now)
    names = [*old, *(name for name in new if name not in old)]
    pairs = {name: (old.get(name), new.get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b or (name == "commit" and str(a).endswith(_DIRTY))}


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in environment.items() if name not in ("packages", "sources")}
    sources = {f"source of {name}": digest for name, digest in environment.get("sources", {}).items()}
    return {**rest, **sources, **environment["packages"]}


def constraints(environment: Mapping[str, Any]) -> str:
    """The environment's packages as a constraint file for ``pip install -c``."""
    own = environment["packages"].get("autotune", "of an unknown version")
    commit = "" if environment["commit"] is None else f", commit {environment['commit']}"
    lines = [f"# autotune {own}{commit}; Python {environment['python']}, {environment['platform']}"]
    if any("+" in version for version in environment["packages"].values()):
        lines.append(
            "# A version with a '+' comes from an index of its own, such as https://download.pytorch.org/whl/cpu."
        )
    for name, digest in environment.get("sources", {}).items():
        lines.append(f"# no version tells the code of {name}; the SHA-256 of its source was {digest}")
    lines += [f"{name}=={version}" for name, version in environment["packages"].items() if name != "autotune"]
    return "\n".join(lines) + "\n"


@functools.cache
def _packages(more: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and version of autotune, of ``more`` packages, and of all that these need."""
    versions: dict[str, str] = {"autotune": autotune.__version__}
    waiting = [(_DISTRIBUTION, _EXTRAS)] + [(name, frozenset[str]()) for name in more]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (_canonical(name), extras) in seen:
            continue
        seen.add((_canonical(name), extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        headers = _headers(distribution)
        known_as = "autotune" if _canonical(name) == _DISTRIBUTION else _canonical(name)
        versions[known_as] = next(iter(headers.get("version", ())), "unknown")
        waiting += _requirements(headers.get("requires-dist", ()), extras)
    return tuple(sorted(versions.items()))


def _headers(distribution: metadata.Distribution) -> dict[str, list[str]]:
    """The headers of a distribution's metadata, by lower-case name.

    ``distribution.version`` would parse its whole README, ten times as slow.
    """
    headers: dict[str, list[str]] = {}
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    for line in text.partition("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon and not name[:1].isspace():
            headers.setdefault(name.lower(), []).append(value.strip())
    return headers


def _requirements(texts: Sequence[str], extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """The distributions that these requirements name on this machine, each with the extras that are asked for."""
    from packaging.requirements import InvalidRequirement, Requirement

    needed = []
    for text in texts:
        with contextlib.suppress(InvalidRequirement):  # an old package's; it does not matter which version it asks for
            wanted = Requirement(text)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                needed.append((wanted.name, frozenset(wanted.extras)))
    return needed


def _distributions(objective: str) -> tuple[str, ...]:
    """The distributions that an objective comes from; for ``module:attribute``, the one called as the module."""
    module, colon, _ = objective.partition(":")
    if colon:
        return (module.partition(".")[0],)
    points = metadata.entry_points(group="autotune.objectives", name=objective)
    return tuple(point.dist.name for point in points if point.dist is not None)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _cpu() -> str:
    """The processor's model, as the system calls it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerator() -> str | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))


def commit_of(folder: Path) -> str | None:
    """The commit of the checkout that a folder is in; ``-dirty`` is appended where tracked files are changed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return _git(str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    return None


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that this package's files belong to."""
    folder = Path(autotune.__file__).parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        # A virtual environment inside somebody's checkout is not a checkout of this.
        if _git(str(folder), "ls-files", "--error-unmatch", "__init__.py"):
            return commit_of(folder)
    return None


def _git(folder: str, *words: str) -> str:
    """The output of a git command; empty where it fails, or git is missing."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(
        [git, "-C", folder, *words], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
