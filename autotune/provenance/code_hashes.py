"""What code an objective is made of where no version of an installed package tells: hashes of its source files."""

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
_OWN = "autotune"  # its version and its commit tell


def code_hashes(objective: str, distributions: Sequence[str]) -> dict[str, str]:
    """Top-level module or package -> SHA-256 of its Python files, of all that an objective's code is in.

    These are the module that the objective's type is in, with the whole package around it, and what they import that
    lies in the same folder; less what an installed distribution (not an editable one) has brought, whose version tells.

    Args:
        objective: the objective's name in the study.
        distributions: that the objective comes from.

    Raises:
        InputError: there is no such objective.
    """
    waiting = _modules_of(objective)
    seen, found = {_OWN}, {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        places, installed = _places(name), _installed(name, distributions)
        files = {file: text for file, text in _files(places).items() if file not in installed}
        if files:
            found[name] = _hash(files, places)
            waiting += [other for other in _imported(files.values()) if _beside(other, places)]
    return dict(sorted(found.items()))


def _modules_of(objective: str) -> list[str]:
    """The top-level modules or packages that the objective is named by, and that its type is defined in."""
    found = find_objective_type(objective)
    named = objective.partition(":")[0]
    if ":" not in objective:
        named = next(point.module for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=objective))
    defined = (found if isinstance(found, type) else type(found)).__module__
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
    found: set[Path] = set()
    for owner in {name, *distributions}:
        with contextlib.suppress(metadata.PackageNotFoundError):
            distribution = metadata.distribution(owner)
            folder = Path(str(distribution.locate_file(""))).resolve()
            listed = [row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()) if row]
            found |= {folder / path for path in listed if path.partition("/")[0].partition(".")[0] == name}
    return frozenset(found)


def _hash(files: dict[Path, bytes], places: Sequence[Path]) -> str:
    """Of names and contents, wherever the files lie."""
    whole = hashlib.sha256()
    for file, text in files.items():
        place = next(place for place in places if file.is_relative_to(place))
        name = file.relative_to(place.parent).as_posix()
        whole.update(f"{name}\0{hashlib.sha256(text).hexdigest()}\n".encode())
    return whole.hexdigest()


def _imported(texts: Iterable[bytes]) -> set[str]:
    """The top-level names that sources import; text that only looks so may be among them."""
    names: set[bytes] = set()
    for text in texts:
        for one, several in _IMPORT.findall(text):
            names |= {re.split(rb"[.\s]", part.strip(), maxsplit=1)[0] for part in several.split(b",")} | {one}
    return {name.decode() for name in names if name}


def _beside(name: str, places: Sequence[Path]) -> bool:
    """Whether a module is found in the folder that one of ``places`` is in, unless packages are installed there."""
    folders = {place.parent for place in places}
    near = [folder for folder in folders if (folder / name).is_dir() or (folder / f"{name}.py").is_file()]
    return any(place.parent in near and next(place.parent.glob("*.dist-info"), None) is None for place in _places(name))
