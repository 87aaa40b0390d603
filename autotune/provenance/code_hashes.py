"""Hashes of an objective's source files, where no version of an installed package identifies its code."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from autotune.objective import ENTRY_POINT_GROUP, find_objective_type

_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))", re.MULTILINE)
_OWN = "autotune"  # its version and its commit identify it


def code_hashes(objective: str, distributions: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the Python files of each top-level module or package that holds an objective's code.

    These are the module that defines the objective's type, with the whole package around it, and every module that they
    import from the same folder. Files that an installed distribution (not an editable one) has brought are left out:
    its version identifies them.

    Args:
        objective: the objective's name in the study.
        distributions: the distributions that the objective comes from.

    Raises:
        InputError: there is no such objective.
    """
    waiting = _modules_of(objective)
    seen, hashes = {_OWN}, {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        places, installed = _places(name), _installed(name, distributions)
        files = {file: text for file, text in _files(places).items() if file not in installed}
        if files:
            hashes[name] = _hash(files, places)
            waiting += [other for other in _imported(files.values()) if _beside(other, places)]
    return dict(sorted(hashes.items()))


def _modules_of(objective: str) -> list[str]:
    """The top-level modules or packages that the objective's name and the definition of its type are in."""
    objective_type = find_objective_type(objective)
    named = objective.partition(":")[0]
    if ":" not in objective:
        named = next(point.module for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=objective))
    defined = (objective_type if isinstance(objective_type, type) else type(objective_type)).__module__
    return [module.partition(".")[0] for module in (named, defined)]


def _places(name: str) -> list[Path]:
    """The file of a top-level module, or the folders of a package; empty where it is built in."""
    with contextlib.suppress(ImportError, ValueError):  # such as __main__
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            return [Path(folder).resolve() for folder in spec.submodule_search_locations]
        if spec is not None and spec.origin is not None and spec.has_location:
            return [Path(spec.origin).resolve()]
    return []


def _files(places: Iterable[Path]) -> dict[Path, bytes]:
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
    return {file: file.read_bytes() for file in sorted(files)}


def _installed(name: str, distributions: Sequence[str]) -> frozenset[Path]:
    """The files of a top-level module or package that installed distributions have brought."""
    brought: set[Path] = set()
    for owner in {name, *distributions}:
        with contextlib.suppress(metadata.PackageNotFoundError):
            distribution = metadata.distribution(owner)
            folder = Path(str(distribution.locate_file(""))).resolve()
            listed = [row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()) if row]
            brought |= {folder / path for path in listed if path.partition("/")[0].partition(".")[0] == name}
    return frozenset(brought)


def _hash(files: dict[Path, bytes], places: Sequence[Path]) -> str:
    """Hash of the names and contents of files, the same wherever they lie."""
    whole = hashlib.sha256()
    for file, text in files.items():
        place = next(place for place in places if file.is_relative_to(place))
        name = file.relative_to(place.parent).as_posix()
        whole.update(f"{name}\0{hashlib.sha256(text).hexdigest()}\n".encode())
    return whole.hexdigest()


def _imported(texts: Iterable[bytes]) -> set[str]:
    """The top-level names that sources import; text that only looks like an import may add some."""
    names: set[bytes] = set()
    for text in texts:
        for package, modules in _IMPORT.findall(text):
            names |= {re.split(rb"[.\s]", module.strip(), maxsplit=1)[0] for module in modules.split(b",")} | {package}
    return {name.decode() for name in names if name}


def _beside(name: str, places: Sequence[Path]) -> bool:
    """Whether a module is found in the folder that one of ``places`` is in, unless packages are installed there."""
    folders = {place.parent for place in places}
    near = [folder for folder in folders if (folder / name).is_dir() or (folder / f"{name}.py").is_file()]
    return any(place.parent in near and next(place.parent.glob("*.dist-info"), None) is None for place in _places(name))
