"""A study belongs to its measurement, whatever an objective shows of that to people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from autotune.objective.identity import content_hash_of
from autotune.store.trials import TrialStore
from tests.autotune.mlflow_snapshot import snapshot
from tests.autotune.toy import BareToyType, Toy, ToySettings
from tests.end_to_end.studies import STUDY, Place, autotune, make_place

pytestmark = pytest.mark.usefixtures("in_memory")


class Identified(Toy):
    """A toy whose file is its measurement; its summary shows no hash, or another text in its place."""

    pictures = None  # type: ignore[assignment]

    def __init__(self, settings: ToySettings, file: Path) -> None:
        super().__init__(settings)
        self.file = file

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def summary(self) -> Mapping[str, str]:
        return {"content hash": "see the log book"}


class IdentifiedType(BareToyType):
    def open(self, settings: BaseModel, *, folder: Path) -> Identified:
        assert isinstance(settings, ToySettings) and settings.data is not None
        return Identified(settings, folder / settings.data)


identified = IdentifiedType()
FROM_FILE = STUDY | {"objective": {"name": f"{__name__}:identified", "data": "scan"}}


class Earlier(Toy):
    """An objective written before the protocol: its summary has the hash."""

    def summary(self) -> Mapping[str, str]:
        return {"backend": "toy", "content hash": "c0ffee"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path / "place", monkeypatch)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_protocol_is_asked_before_the_summary(tmp_path: Path) -> None:
    (tmp_path / "scan").write_text("counts")
    assert content_hash_of(Identified(ToySettings(), tmp_path / "scan")) == sha("counts")
    assert content_hash_of(Earlier(ToySettings())) == "c0ffee"
    assert content_hash_of(Toy(ToySettings())) is None


def test_changed_data_are_refused_though_the_summary_is_the_same(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.folder / "scan").write_text("counts")
    assert autotune("run", place.write(FROM_FILE), "--quiet") == 0
    store = TrialStore.open(place.home.store_url, "toy")
    assert store is not None and store.facts.content_hash == sha("counts")
    assert autotune("reproduce", "toy") == 0
    (place.folder / "scan").write_text("other counts")
    capsys.readouterr()
    assert autotune("run", place.write(FROM_FILE), "--quiet") == 2
    assert (
        f'\n  - content_hash: "{sha("counts")}"\n  + content_hash: "{sha("other counts")}"' in capsys.readouterr().err
    )
    assert autotune("reproduce", "toy") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"their hash is {sha('other counts')}, and was {sha('counts')}" in said


def test_the_record_names_the_measurement_by_its_hash(place: Place) -> None:
    (place.folder / "scan").write_text("counts")
    assert autotune("run", place.write(FROM_FILE, tracking={"enabled": True}, budget={"trials": 1}), "--quiet") == 0
    parent = snapshot(place.home.tracking_uri, "autotune", place.folder)[0]
    assert parent["tags"]["autotune.content_hash"] == sha("counts")
    (data,) = parent["data"]
    assert data["source"]["content_hash"] == sha("counts")
