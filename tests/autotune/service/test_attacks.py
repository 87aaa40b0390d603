"""Measurements that lead to other files, over REST: refused, with nothing of these files in the answer or the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.service.launcher import local_command
from autotune.service.settings import ServiceSettings
from tests.autotune.service.conftest import Running, study

pytestmark = pytest.mark.slow
CANARY = "canary-91c5e2"
LEADS = "which is not below the measurement's folder"
GEOMETRY = {"radiation": "electron", "energy_kev": 80, "semi_convergence_mrad": 20, "angular_sampling_mrad": 2}


def _patterns(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = np.random.default_rng(0).poisson(50, (16, 24, 24)).astype(np.uint16)
        file.attrs["note"] = CANARY


def _external_link(path: Path, secret: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(secret), "/data")


def _virtual(path: Path, secret: Path) -> None:
    layout = h5py.VirtualLayout((16, 24, 24), np.uint16)
    layout[:] = h5py.VirtualSource(str(secret), "data", (16, 24, 24))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)


def _raw(path: Path, secret: Path) -> None:
    text = secret.with_suffix(".txt")
    text.write_text(CANARY * 2000)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (16, 24, 24), np.uint8, external=[(str(text), 0, h5py.h5f.UNLIMITED)])


def _text(path: Path, secret: Path) -> None:
    path.write_text(CANARY * 10)


def _almost_hdf5(path: Path, secret: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + CANARY.encode() * 100)


def _inside(path: Path, secret: Path) -> None:
    """For comparison: patterns that are read, and whose scan the study does not state."""
    _patterns(path)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_external_link, LEADS),
        (_virtual, LEADS),
        (_raw, LEADS),
        (_text, "is not an HDF5 file"),
        (_almost_hdf5, "cannot be read as HDF5"),
        (_inside, "is needed: "),
    ],
)
def test_files_that_lead_elsewhere_are_refused_and_not_quoted(
    make: Callable[[Path, Path], None],
    why: str,
    settings: ServiceSettings,
    serve: Callable[..., Running],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = tmp_path / "secret.h5"
    _patterns(secret)
    measurement = settings.roots[0] / "scan.h5"
    measurement.unlink()
    make(measurement, secret)
    service = serve(settings, tuple(local_command("autotune.cli.service_job")))
    objective = {"name": "ptychography", "data": {"file": "scan.h5"}, "geometry": GEOMETRY}
    text = study(objective=objective, budget={"trials": 2}, intervals={"replicates": 0}, report=False)
    kind = {"Content-Type": "application/yaml"}
    with service.client() as client:
        checked = client.post("/check", content=text, headers=kind, timeout=90)
        assert checked.status_code == 422 and why in checked.text, checked.text
        submitted = client.post("/studies", content=text, headers=kind)
        assert submitted.status_code == 202, submitted.text
        identifier = submitted.json()["id"]
        assert service.until(identifier, "rejected", "failed", "finished", seconds=90) == "rejected"
        about = client.get(f"/studies/{identifier}").text
        log = client.get(f"/studies/{identifier}/log").text
    kept = "".join(path.read_text(errors="replace") for path in settings.job(identifier).iterdir() if path.is_file())
    for said in (checked.text, about, log, kept, caplog.text, json.dumps(service.app.openapi())):
        assert CANARY not in said and "63616e617279" not in said  # nor in hexadecimal
