from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest
import requests

from autotune.objective import InputError
from objectives.diffraction.data.open import records
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.open.records import RECORDS, Record, fetch_record
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from tests.objectives.diffraction.data.files import counts, npz_arrays, write_npz


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A record whose file lies in a subfolder of AUTOTUNE_DATA."""
    (tmp_path / "tiny").mkdir()
    path = write_npz(tmp_path / "tiny" / "tiny.npz", nominal_step_A=None)
    made = Record(
        name="tiny",
        filename="tiny.npz",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        origin="made by a test",
        data=DataSettings(record="tiny", zero_frequency="corner"),
        geometry=GeometrySettings(scan_step_angstrom=0.25, defocus_angstrom=7.0),
        url="doi:10.5281/zenodo.1/tiny.npz",
    )
    monkeypatch.setattr(records, "RECORDS", {"tiny": made})
    monkeypatch.setenv("AUTOTUNE_DATA", str(tmp_path))
    return made


def test_found_in_the_folder_itself_and_one_below(record: Record, tmp_path: Path) -> None:
    below = tmp_path / "tiny" / "tiny.npz"
    assert fetch_record("tiny") == below
    moved = below.rename(tmp_path / "tiny.npz")
    assert fetch_record("tiny") == moved


def test_record_defaults_stand_between_study_and_file(record: Record, tmp_path: Path) -> None:
    study = GeometrySettings(defocus_angstrom=1.0, semi_convergence_mrad=30.0)
    m = open_measurement(DataSettings(record="tiny"), study, folder=tmp_path)
    assert m.source == "made by a test"
    assert m.geometry.defocus_angstrom == 1.0 and m.geometry.semi_convergence_mrad == 30.0  # type: ignore[union-attr]
    assert m.positions[1, 1] - m.positions[0, 1] == 0.25
    assert m.patterns[0, 4, 4] == npz_arrays()["data"][0, 0, 0, 0]  # stored in the corner, says the record
    centred = open_measurement(DataSettings(record="tiny", zero_frequency="center"), study, folder=tmp_path)
    assert centred.patterns[0, 0, 0] == npz_arrays()["data"][0, 0, 0, 0]


def test_another_file_of_that_name_is_refused(record: Record, tmp_path: Path) -> None:
    write_npz(tmp_path / "tiny" / "tiny.npz", data=counts(2, 2, 4, 4))
    with pytest.raises(InputError, match=f"has SHA-256 .* but record 'tiny' is {record.sha256}"):
        fetch_record("tiny")


def test_data_folder_that_does_not_exist(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"AUTOTUNE_DATA: '.*nowhere' is not a folder"):
        fetch_record("tiny")


def test_download_is_by_address_and_checksum(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_DATA")
    asked: dict[str, object] = {}

    def retrieve(**options: object) -> str:
        asked.update(options)
        return str(tmp_path / "tiny" / "tiny.npz")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert fetch_record("tiny") == tmp_path / "tiny" / "tiny.npz"
    assert asked["url"] == record.url and asked["known_hash"] == f"sha256:{record.sha256}"


@pytest.mark.parametrize(
    "failure",
    [
        requests.exceptions.ConnectionError("no route"),
        ValueError("SHA256 hash does not match"),
        OSError("disk full"),
    ],
)
def test_failed_download_says_how_to_supply_the_file(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    (tmp_path / "tiny" / "tiny.npz").unlink()

    def retrieve(**_: object) -> str:
        raise failure

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(InputError, match=f"{failure}.*put tiny.npz into a folder and set AUTOTUNE_DATA"):
        fetch_record("tiny")


def test_record_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOTUNE_DATA", raising=False)
    with pytest.raises(InputError, match=r"has no public address .*set AUTOTUNE_DATA"):
        fetch_record("siemens_star")


def test_unknown_record() -> None:
    with pytest.raises(InputError, match="no record is called 'petra_p52'; did you mean 'petra_p25'"):
        fetch_record("petra_p52")


def test_the_table_is_consistent() -> None:
    for name, entry in RECORDS.items():
        assert entry.name == name == entry.data.record
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert entry.url is None or (entry.url.startswith("doi:10.") and entry.url.endswith(entry.filename))
