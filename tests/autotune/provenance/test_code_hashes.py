"""Hashes of the code that an objective is made of."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.provenance.code_hashes import code_hashes

TYPE = "class Type:\n    settings = None\n    def open(self, settings, *, folder): ...\nmine = Type()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are found in; what is imported from it is forgotten."""
    before = set(sys.modules)
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    yield place
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(place)):
            del sys.modules[name]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    importlib.invalidate_caches()


def hashes(objective: str, *distributions: str) -> dict[str, str]:
    return code_hashes(objective, distributions)


def test_a_module_of_ones_own_is_told_by_its_source(folder: Path) -> None:
    write(folder / "lone.py", TYPE)
    write(folder / "unrelated.py", "")
    before = hashes("lone:mine")
    assert list(before) == ["lone"] and len(before["lone"]) == 64
    assert hashes("lone:mine") == before
    write(folder / "lone.py", TYPE + "# other\n")
    assert list(hashes("lone:mine")) == ["lone"] and hashes("lone:mine") != before


@pytest.mark.parametrize("changed", ["deep/solver.py", "__init__.py", "new.py"])
def test_a_package_is_told_by_all_its_sources(folder: Path, changed: str) -> None:
    for name in ("__init__.py", "deep/__init__.py", "deep/solver.py"):
        write(folder / "parcel_of_tests" / name, "")
    write(folder / "parcel_of_tests" / "deep" / "door.py", TYPE)
    before = hashes("parcel_of_tests.deep.door:mine")
    assert list(before) == ["parcel_of_tests"]
    write(folder / "parcel_of_tests" / "notes.txt", "no code")
    assert hashes("parcel_of_tests.deep.door:mine") == before
    write(folder / "parcel_of_tests" / changed, "x = 1\n")
    assert hashes("parcel_of_tests.deep.door:mine") != before


def test_what_it_imports_from_beside_itself_belongs_to_it(folder: Path) -> None:
    write(folder / "first.py", "import os, second.inner as s, json\nimport numpy\nimport autotune.objective\n" + TYPE)
    write(folder / "second" / "__init__.py", "")
    write(folder / "second" / "inner.py", "def late():\n    from third import x\n")
    write(folder / "third.py", "import first\nx = 1\n")
    write(folder / "os.py", "")  # never found: os is built in
    write(folder / "fourth.py", "")
    before = hashes("first:mine")
    assert list(before) == ["first", "second", "third"]
    write(folder / "third.py", "import first\nx = 2\n")
    after = hashes("first:mine")
    assert {name for name in before if before[name] != after[name]} == {"third"}


def test_a_type_that_is_defined_elsewhere_counts_with_its_own_module(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder.parent / "other"
    write(other / "made.py", TYPE)
    monkeypatch.syspath_prepend(str(other))
    write(folder / "elsewhere" / "__init__.py", "from made import mine")
    assert list(hashes("elsewhere:mine")) == ["elsewhere", "made"]


def test_the_hash_is_that_of_a_copy_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "lone.py", TYPE)
    before = hashes("lone:mine")
    copy = folder.parent / "copy"
    write(copy / "lone.py", TYPE)
    monkeypatch.syspath_prepend(str(copy))
    del sys.modules["lone"]
    assert hashes("lone:mine") == before


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("plug/__init__.py,sha256=x,1\nplug/more.py,,\n", []),
        ("plug/__init__.py,sha256=x,1\n", ["plug"]),  # a file was added by hand
        ("plug_editable.pth,,\n", ["plug"]),
        (None, ["plug"]),
    ],
)
@pytest.mark.parametrize("owner", ["plug", "a_distribution"])
def test_what_a_distribution_has_brought_is_told_by_its_version(
    folder: Path, record: str | None, told: list[str], owner: str
) -> None:
    write(folder / "plug" / "__init__.py", "import neighbour\n" + TYPE)
    write(folder / "plug" / "more.py", "")
    write(folder / "neighbour.py", "")  # of whom everything here may be
    write(folder / f"{owner}-1.dist-info" / "METADATA", f"Name: {owner}\nVersion: 1\n")
    if record is not None:
        write(folder / f"{owner}-1.dist-info" / "RECORD", record)
    assert list(hashes("plug:mine", owner)) == told
    if owner != "plug":
        assert list(hashes("plug:mine")) == ["plug"]  # its version is not known to be kept


def test_an_editable_install_is_told_by_its_source() -> None:
    import objectives

    if "site-packages" in str(objectives.__file__):
        pytest.skip("autotune is installed here, not as an editable checkout")
    assert list(hashes("ptychography", "autotune-reconstruction")) == ["objectives"]
