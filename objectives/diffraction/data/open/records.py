"""Measurements that a study can name (records), each a file with a checksum.

A record's file is first looked for in the folder named by ``AUTOTUNE_DATA``, where that is set, and in its direct
subfolders. Otherwise a record with a public address is downloaded once into the user's cache. Not every record has an
address: a file that nobody publishes in exactly these bytes must be put into ``AUTOTUNE_DATA`` by hand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from autotune.objective import InputError, Problem, near_miss
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

ENVIRONMENT_VARIABLE = "AUTOTUNE_DATA"


@dataclass(frozen=True)
class Record:
    """One named measurement.

    Attributes:
        name: name of the record in study.yaml.
        filename: name of the file.
        sha256: checksum of the file.
        origin: source and licence, in words for people.
        data: how to read the file, where that differs from the defaults.
        geometry: geometry that the file lacks and its publication states.
        url: public address of exactly these bytes, for pooch; None where there is none.
    """

    name: str
    filename: str
    sha256: str
    origin: str
    data: DataSettings
    geometry: GeometrySettings = field(default_factory=GeometrySettings)
    url: str | None = None


_TABLE = (
    Record(
        name="petra_p25",
        filename="PETRAIII_P25_Near_Field_Ptycho.cxi",
        sha256="561a0373e502d99efe4b6670d71f96ff330f3ac437277674f32c9c175dd966d3",
        origin="near-field X-ray ptychography of a Siemens star, PETRA III beamline P25, "
        "doi:10.5281/zenodo.17899482, CC BY 4.0",
        data=DataSettings(record="petra_p25"),
        geometry=GeometrySettings(regime="near field"),
        url="doi:10.5281/zenodo.17899482/PETRAIII_P25_Near_Field_Ptycho.cxi",
    ),
    Record(
        name="siemens_star",
        filename="siemens_star_small.npz",
        sha256="0263ea2f02edec7210228fa7588b2de13e9e54e6f3a43112f9b4259669f2fd04",
        origin="far-field X-ray ptychography of a Siemens star; from the test data of tike 0.26 "
        "(tests/data/siemens-star-small.npz.bz2 of https://github.com/AdvancedPhotonSource/tike), "
        "stored anew as .npz, BSD-style licence",
        data=DataSettings(record="siemens_star", zero_frequency="corner", positions="object pixel"),
    ),
    Record(
        name="mos2_60kv",
        filename="mos2_60kV.npz",
        sha256="084ea73c74068e1e690f5d24296b967c5c94e9c4041a0427cd8527d1833d13ae",
        origin="simulated 4D-STEM of monolayer MoS2 at 60 kV with Poisson counts (abTEM 1.0.11), unpublished",
        data=DataSettings(record="mos2_60kv"),
    ),
)

RECORDS: Mapping[str, Record] = MappingProxyType({record.name: record for record in _TABLE})
"""Every record by its name."""


def find_record(name: str) -> Record:
    """Look up a record.

    Raises:
        InputError: no record has this name.
    """
    if name not in RECORDS:
        raise InputError(Problem("objective.data.record", f"no record is called '{name}'", near_miss(name, RECORDS)))
    return RECORDS[name]


def fetch_record(name: str) -> Path:
    """Find a record's file on this machine, or download it; verify its checksum and return its path.

    Raises:
        InputError: the name is unknown, the file is neither here nor downloadable, or its checksum differs.
    """
    record = find_record(name)
    path = _in_folder(record)
    return path if path is not None else _download(record)


def _in_folder(record: Record) -> Path | None:
    """Find the record's file below ``AUTOTUNE_DATA``; None where it is not there."""
    stated = os.environ.get(ENVIRONMENT_VARIABLE)
    if not stated:
        return None
    folder = Path(stated).expanduser()
    if not folder.is_dir():
        raise InputError(
            Problem(
                ENVIRONMENT_VARIABLE,
                f"'{stated}' is not a folder",
                f"name the folder that holds {record.filename}",
            )
        )
    candidates = [path for pattern in ("", "*/") for path in sorted(folder.glob(pattern + record.filename))]
    differing = []
    for path in candidates:
        with path.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        if checksum == record.sha256:
            return path
        differing.append(
            Problem(
                str(path),
                f"has SHA-256 {checksum}, but record '{record.name}' is {record.sha256}",
                f"replace it with the original ({record.origin}), or name it with objective.data.file",
            )
        )
    if differing:
        raise InputError(differing)
    return None


def _download(record: Record) -> Path:
    """Download the record into the user's cache, or raise InputError that says how to supply it by hand."""
    by_hand = f"put {record.filename} into a folder and set {ENVIRONMENT_VARIABLE} to that folder"
    where = f"record '{record.name}'"
    if record.url is None:
        raise InputError(
            Problem(where, f"{record.filename} is not here and has no public address ({record.origin})", by_hand)
        )
    import pooch
    import requests

    try:
        path = pooch.retrieve(
            url=record.url,
            known_hash=f"sha256:{record.sha256}",
            fname=record.filename,
            path=pooch.os_cache("autotune"),
        )
    # ValueError: checksum differs, or the archive has no such file; KeyError: an answer of unknown form.
    except (requests.exceptions.RequestException, OSError, ValueError, KeyError) as error:
        raise InputError(
            Problem(where, f"cannot be downloaded from {record.url} ({type(error).__name__}: {error})", by_hand)
        ) from error
    return Path(path)
