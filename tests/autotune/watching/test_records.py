"""The records of a watch: whole, found again, and under names that a study can have."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autotune.home import Home
from autotune.study.blocks.study import _NAME
from autotune.watching.folder import Measurement
from autotune.watching.records import Record, Records, folder_of_records, study_name


def record_of(path: Path, size: int = 3, modified: int = 10**18) -> Record:
    return Record(str(path), size, modified, study_name(Measurement(path, size, modified)), "")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1), st.integers(0, 2**62))
def test_every_file_has_a_study_of_its_own(name: str, modified: int) -> None:
    measurement = Measurement(Path("/data") / f"{name}.h5", 5, modified)
    assert _NAME.fullmatch(study_name(measurement))
    assert study_name(measurement) == study_name(Measurement(Path("/data") / f"{name}.h5", 5, modified))
    others = {
        Measurement(Path("/other") / f"{name}.h5", 5, modified),
        Measurement(measurement.path, 6, modified),
        Measurement(measurement.path, 5, modified + 1),
    }
    assert study_name(measurement) not in {study_name(other) for other in others}


def test_names_stay_readable() -> None:
    assert study_name(Measurement(Path("/data/scan 7 (ü).h5"), 1, 2)).startswith("scan-7-")
    assert study_name(Measurement(Path("/data/ü.h5"), 1, 2)).startswith("measurement-")
    assert study_name(Measurement(Path(f"/data/{'x' * 300}.h5"), 1, 2)).startswith("x" * 80 + "-")


def test_records_are_found_again_and_those_of_another_version_too(tmp_path: Path) -> None:
    records = Records(tmp_path, print)
    first = records.keep(record_of(Path("/data/a.h5")), state="begun", lost=2)
    second = records.keep(record_of(Path("/data/b.h5"), modified=5))
    (tmp_path / "odd.record").write_text("{}")
    (tmp_path / "broken.record").write_text("{")
    document = json.loads((tmp_path / f"{first.study}.record").read_text())
    del document["template"]
    (tmp_path / f"{first.study}.record").write_text(json.dumps(document | {"a key of a newer version": 1}))
    again = Records(tmp_path, print)
    assert list(again.all()) == [second, first] and again.of(first.measurement) == first
    again.forget(second)
    assert list(Records(tmp_path, print).all()) == [first]
    assert again.result(first) is None
    again.file(first, "json").write_text('{"status": "finished"}')
    assert again.result(first) == {"status": "finished"}


def test_what_was_refused_is_kept(tmp_path: Path) -> None:
    refused = Records(tmp_path, print).refused()
    refused["a"] = [1, 2]
    name = os.fsdecode(b"scan\xff.h5")
    refused[name] = [3]
    assert Records(tmp_path, print).refused() == {"a": [1, 2], name: [3]}
    assert refused.pop(name, None) == [3] and refused.pop(name, None) is None
    assert Records(tmp_path, print).refused() == {"a": [1, 2]}


def test_each_folder_has_records_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first, second = folder_of_records(home, Path("/data")), folder_of_records(home, Path("/data2"))
    assert first != second and first.parent == second.parent == tmp_path / "watching"
