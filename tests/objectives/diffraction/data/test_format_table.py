"""The format table: every row is whole and documented, and a row is all that a new format needs besides its module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydantic import ValidationError

from autotune.objective import InputError
from objectives.diffraction.data import formats
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.format_table import FORMATS, FileFormat
from objectives.diffraction.data.open.recognise import reader_of, recognise
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.plugin import ptychography
from tests.objectives.diffraction.data.files import counts, read, write_npz

DOCS = Path(__file__).resolve().parents[4] / "docs" / "study-file.md"


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_has_a_reader_and_names_settings_that_exist(name: str) -> None:
    assert isinstance(reader_of(name), Reader)
    assert FORMATS[name].name == name
    assert FORMATS[name].settings <= DataSettings.model_fields.keys()
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in reader_of(name).suffixes)


def test_every_module_of_the_folder_is_a_row() -> None:
    modules = {path.stem for path in Path(formats.__path__[0]).glob("*.py")} - {"__init__"}
    assert modules == {row.module.removeprefix(f"{formats.__name__}.") for row in FORMATS.values()}


def test_the_documentation_has_a_line_for_each_row_and_no_other() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = text[text.index("| `format` |") :].partition("\n\n")[0].splitlines()[2:]
    assert sorted(table) == sorted(f"| `{row.name}` | {row.files} | {row.reads} |" for row in FORMATS.values())


def test_another_word_than_a_format_is_refused_with_the_list() -> None:
    for word in ("tiff", 5, None, ["cxi"]):
        with pytest.raises(ValidationError, match=r"Input should be 'auto', 'cxi', .* or 'rsciio'") as caught:
            DataSettings.model_validate({"file": "a.npz", "format": word})
        assert caught.value.errors()[0]["type"] == "literal_error"
    assert _schema_names() == ["auto", *FORMATS]


def _schema_names() -> list[str]:
    names: list[str] = DataSettings.model_json_schema()["properties"]["format"]["enum"]
    return names


_MARK = b"toy patterns\n"


@contextmanager
def _open_toy(path: Path, data: DataSettings) -> Iterator[Contents]:
    frames = np.frombuffer(path.read_bytes().removeprefix(_MARK), np.uint16).reshape(3, 4, 8, 8)
    yield Contents(path=path, frames=frames, frames_name="toy", geometry=GeometrySettings())


def _recognise_toy(clues: Clues) -> Certainty:
    return Certainty.SIGNED if clues.start.startswith(_MARK) else Certainty.NONE


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> FileFormat:
    """A format that exists for one test: a module and a row."""
    module = ModuleType("toy_format")
    module.READER = Reader(_open_toy, _recognise_toy, suffixes=(".toy",))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    row = FileFormat("toy", module.__name__, files="toys", settings=frozenset({"key"}))
    monkeypatch.setitem(FORMATS, row.name, row)
    return row


GEOMETRY = GeometrySettings(wavelength_angstrom=0.05, angular_sampling_mrad=1.0, scan_step_angstrom=(0.5, 0.5))


def test_a_new_row_is_offered(toy: FileFormat) -> None:
    assert toy.name in ptychography.file_formats
    assert toy.name in _schema_names()
    assert DataSettings(file=Path("a.dat"), format="toy").format == "toy"


def test_a_new_row_is_recognised_and_read(toy: FileFormat, tmp_path: Path) -> None:
    path, data = tmp_path / "scan.dat", counts(3, 4, 8, 8)
    path.write_bytes(_MARK + data.tobytes())
    assert recognise(path) == "toy"
    for stated in ({}, {"format": "toy"}, {"key": "any"}):
        np.testing.assert_array_equal(read(path, GEOMETRY, **stated).patterns, data.reshape(12, 8, 8))
    unmarked = tmp_path / "damaged.TOY"
    unmarked.write_bytes(b"?")
    assert recognise(unmarked) == "toy"


def test_a_new_row_is_named_in_errors(toy: FileFormat, tmp_path: Path) -> None:
    unknown = tmp_path / "a.doc"
    unknown.write_bytes(b"?")
    with pytest.raises(InputError, match=r"read are .*, \.toy, "):
        recognise(unknown)
    with pytest.raises(InputError, match=r"'k' is for mat, .*, toy files; .*a.npz is npz"):
        read(write_npz(tmp_path / "a.npz"), key="k")
    with pytest.raises(ValidationError, match="or 'toy'"):
        DataSettings(file=Path("a.dat"), format="other")
