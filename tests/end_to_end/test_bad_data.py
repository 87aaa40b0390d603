"""``autotune check`` on damaged data: one message, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autotune.cli.main import run_command_line
from tests.objectives.diffraction.data.files import counts, write_cxi, write_npz

STUDY = """\
name: bad-data
objective:
  name: ptychography
  data:
    file: {name}
parameters:
  defocus: {{low: -100, high: 100}}
"""


def _empty(folder: Path) -> Path:
    (folder / "scan.cxi").touch()
    return folder / "scan.cxi"


def _truncated(folder: Path) -> Path:
    path = write_cxi(folder / "scan.cxi")
    path.write_bytes(path.read_bytes()[:3000])
    return path


def _not_hdf5(folder: Path) -> Path:
    (folder / "scan.h5").write_text("<html>Sign in</html>")
    return folder / "scan.h5"


def _folder(folder: Path) -> Path:
    (folder / "scans").mkdir()
    return folder / "scans"


def _nan(folder: Path) -> Path:
    data = counts(3, 4, 8, 8).astype(float)
    data[1, 1, 4, 4] = np.nan
    return write_npz(folder / "scan.npz", data=data)


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "scan.cxi", "there is no such file"),
    "folder": (_folder, "is a folder"),
    "empty": (_empty, "is empty (0 bytes)"),
    "truncated": (_truncated, "cannot be read as HDF5"),
    "not HDF5": (_not_hdf5, "is not an HDF5 file"),
    "NaN": (_nan, "1 values are NaN or infinite"),
    "negative": (
        lambda f: write_npz(f / "a.npz", data=-counts(3, 4, 8, 8).astype(int)),
        "values are negative",
    ),
    "dark": (lambda f: write_npz(f / "a.npz", data=np.zeros((3, 4, 8, 8))), "every value used is zero"),
    "objects": (lambda f: write_npz(f / "a.npz", data=np.array([{}], dtype=object)), "holds Python objects"),
    "shape": (lambda f: write_npz(f / "a.npz", data=counts(8, 8)), "has shape (8, 8)"),
    "positions": (lambda f: write_npz(f / "a.npz", positions=counts(5, 2)), "has shape (5, 2)"),
    "geometry": (
        lambda f: write_npz(f / "a.npz", angular_sampling_mrad=None),
        "state it in the study, e.g. objective.geometry.angular_sampling_mrad: 1.02",
    ),
}


def _study(folder: Path, make: Callable[[Path], Path]) -> tuple[Path, Path]:
    data = make(folder)
    study = folder / "study.yaml"
    study.write_text(STUDY.format(name=data.name))
    return study, data


@pytest.mark.parametrize("case", CASES)
def test_damaged_data_is_told_in_one_message(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = CASES[case]
    study, data = _study(tmp_path, make)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run_command_line(["check", str(study)]) == 2
    printed = capsys.readouterr()
    assert words in printed.err and str(data) in printed.err
    assert printed.err.count("Error:") == 1 and printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_itself_exits_2_without_a_traceback(tmp_path: Path) -> None:
    study, data = _study(tmp_path, _truncated)
    done = subprocess.run(
        [Path(sys.executable).with_name("autotune"), "check", study],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {data}: cannot be read as HDF5")
    assert "Traceback" not in done.stderr + done.stdout
