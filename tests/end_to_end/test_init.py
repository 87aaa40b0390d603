"""``autotune init``: from a measurement file to a study that runs, or that says what it still needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autotune.cli.main import run_command_line
from autotune.objective import Draft, DraftLine
from autotune.study.draft import draft_text, plain_name
from autotune.study.yaml_source import read_yaml
from tests.end_to_end.studies import ROOT, Place, autotune
from tests.end_to_end.test_demo_like import STUDY as SIMULATED
from tests.objectives.diffraction.data.files import write_cxi, write_npz

DATA = Path(os.environ.get("AUTOTUNE_DATA") or ROOT.parent / "shared" / "data")

QUICKER = ("--set", "execution.executor=inline")  # no worker process that imports torch


def data_of(path: Path) -> Any:
    """The study file as plain data."""
    source = read_yaml(path.read_text(encoding="utf-8"), str(path))
    assert not source.faults
    return source.data


def runs(study: str, place: Place, *options: str) -> Mapping[str, Any]:
    """Check the study and run one trial of it, as it is but for the options; its result."""
    assert autotune("check", study) == 0
    off = ("--set", "tracking.enabled=false", "--set", "report=false")
    assert autotune("run", study, "--trials", 1, "--quiet", *off, *options) == 0
    return place.result(Path(study).stem)


def test_a_simulated_measurement_gives_a_study_that_runs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("simulate", place.write(SIMULATED)) == 0
    capsys.readouterr()
    assert autotune("init", "small.h5") == 0
    out = capsys.readouterr().out
    assert "raster of 8 x 8, 64 of 24 x 24 pixels" in out and "Wrote small.yaml" in out
    assert "check small.yaml" in out and "MISSING" not in out
    study = data_of(place.folder / "small.yaml")
    assert study["name"] == "small" and study["objective"]["data"] == {"file": "small.h5"}
    assert list(study["parameters"]) == ["camera_length", "center_offset_y", "center_offset_x",
                                         "elliptical_distortion", "defocus", "scan_rotation", "detector_blur",
                                         "iterations"]  # fmt: skip
    assert study["budget"] == {"trials": 75, "converged": 1e-4}
    assert runs("small.yaml", place)["trials"]["finished"] == 1
    assert autotune("init", "small.h5", "--guess", "--force") == 0
    assert "  rotation" in capsys.readouterr().out
    assert list(data_of(place.folder / "small.yaml")["parameters"]) == list(study["parameters"])


@pytest.mark.parametrize("filename", ["mos2_60kV.npz", "siemens_star_small.npz", "PETRAIII_P25_Near_Field_Ptycho.cxi"])
def test_measured_files_give_studies_that_run(place: Place, filename: str) -> None:
    files = [DATA / filename, *DATA.glob(f"*/{filename}")]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        pytest.skip(f"{filename} is not in the folder that AUTOTUNE_DATA names")
    assert autotune("init", file) == 0
    study = f"{file.stem}.yaml"
    (place.folder / study).write_text(  # nine times fewer positions: the study as it is, in a test's time
        (place.folder / study).read_text().replace("  data:\n", "  data:\n    step: 3\n").replace(": 20 ", ": 2 ")
    )
    assert runs(study, place, *QUICKER)["metric"]["best"] > 0.3


GAPS = [
    ("angular_sampling_mrad",),
    ("energy_eV",),
    ("nominal_step_A",),
    ("angular_sampling_mrad", "energy_eV", "nominal_step_A"),
    ("angular_sampling_mrad", "energy_eV", "nominal_step_A", "semiangle_mrad"),
]


@pytest.mark.parametrize("gap", GAPS, ids="+".join)
def test_gaps_are_marked_and_asked_for(place: Place, gap: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(place.folder / "scan.npz", **dict.fromkeys(gap))
    assert autotune("init", "scan.npz") == 0
    out = capsys.readouterr().out
    named = re.findall(r"^  objective\.geometry\.(\w+)$", out, re.MULTILINE)
    path = place.folder / "scan.yaml"
    text = path.read_text()
    marked = re.findall(r"^ *# +(\w+): .*# MISSING: ", text, re.MULTILINE)
    assert named == marked and len(named) == min(len(gap), 3)

    assert autotune("check", "scan.yaml") == 2
    asked = re.findall(r"geometry\.(\w+) is not in", capsys.readouterr().err)
    assert sorted(asked) == sorted(marked)

    lines = text.splitlines(keepends=True)
    taken = [line.replace("# ", "", 1) if "# MISSING: " in line or "# geometry:" in line else line for line in lines]
    path.write_text("".join(taken))
    assert runs("scan.yaml", place, *QUICKER)["trials"]["finished"] == 1


def test_a_near_field_study_is_one_of_the_comments_away(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write_cxi(place.folder / "scan.cxi")
    assert autotune("init", "scan.cxi") == 0
    path = place.folder / "scan.yaml"
    lines = path.read_text().splitlines(keepends=True)
    chosen = ("  # geometry:", "  #   regime:", "  # focus_to_sample:")
    path.write_text("".join(line.replace("# ", "", 1) if line.startswith(chosen) else line for line in lines))
    capsys.readouterr()
    assert autotune("check", "scan.yaml") == 0
    out = capsys.readouterr().out
    assert "near field" in out and "focus_to_sample    2.5 to 5" in out


def test_names_and_places(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.folder / "raw data").mkdir()
    (place.folder / "studies").mkdir()
    file = write_npz(place.folder / "raw data" / "scan #1: a.npz")
    assert autotune("init", file) == 0
    assert data_of(place.folder / "scan_1_a.yaml")["name"] == "scan_1_a"
    assert data_of(place.folder / "scan_1_a.yaml")["objective"]["data"] == {"file": "raw data/scan #1: a.npz"}
    assert autotune("init", file, "--output", "studies/first.yaml", "--name", "two.2") == 0
    study = data_of(place.folder / "studies" / "first.yaml")
    assert study["name"] == "two.2" and study["objective"]["data"] == {"file": "../raw data/scan #1: a.npz"}
    capsys.readouterr()
    assert autotune("check", "studies/first.yaml") == 0


def test_a_study_is_replaced_only_by_force(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(place.folder / "scan.npz")
    (place.folder / "scan.yaml").write_text("mine")
    assert autotune("init", "scan.npz") == 2
    assert capsys.readouterr().err == "Error: scan.yaml: exists; give --force to replace it, or another --output\n"
    assert (place.folder / "scan.yaml").read_text() == "mine"
    assert autotune("init", "scan.npz", "--force") == 0
    assert data_of(place.folder / "scan.yaml")["name"] == "scan"


def test_the_measurement_is_never_replaced(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = write_npz(place.folder / "scan.npz").read_bytes()
    (place.folder / "same.npz").symlink_to("scan.npz")
    for output in ("scan.npz", "same.npz"):
        assert autotune("init", "scan.npz", "--output", output, "--force") == 2
        assert "is the measurement itself" in capsys.readouterr().err
    assert (place.folder / "scan.npz").read_bytes() == before


def _broken(folder: Path) -> Path:
    path = write_cxi(folder / "scan.cxi")
    path.write_bytes(path.read_bytes()[:3000])
    return path


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no measurement")
    return folder / "notes.txt"


BAD: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str]] = {
    "missing": (lambda folder: folder / "scan.cxi", (), "no such file"),
    "folder": (lambda folder: folder, (), "is of no known format"),
    "unknown": (_text, (), "is of no known format; ptychography knows cxi, "),
    "broken": (_broken, (), "cannot be read as HDF5"),
    "no data": (lambda folder: write_npz(folder / "a.npz", data=None), (), "has no array 'data'"),
    "objects": (lambda f: write_npz(f / "a.npz", data=np.array([{}], dtype=object)), (), "holds Python objects"),
    "name": (lambda f: write_npz(f / "a.npz"), ("--name", "a b"), "--name a b: 'a b' is not a study name"),
    "objective": (lambda f: write_npz(f / "a.npz"), ("--objective", "ptycho"), "did you mean 'ptychography'?"),
    "cannot": (
        lambda f: write_npz(f / "a.npz"),
        ("--objective", "tests.end_to_end.studies:quick"),
        "cannot draft a study",
    ),
    "no folder": (lambda f: write_npz(f / "a.npz"), ("--output", "nowhere/a.yaml"), "cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drafted_is_told_in_one_message(
    place: Place, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, options, words = BAD[case]
    file = make(place.folder)
    before = place.files()
    assert autotune("init", file, *options) == 2
    printed = capsys.readouterr()
    assert words in printed.err and printed.err.count("Error:") == 1 and printed.out == ""
    assert place.files() == before


def test_a_name_that_is_not_text_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"scan\xff.npz")
    try:
        (place.folder / name).write_bytes(write_npz(place.folder / "a.npz").read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    assert autotune("init", name) == 2
    assert "has a name that is not text" in capsys.readouterr().err
    assert not (place.folder / "scan.yaml").exists()


def test_init_needs_neither_torch_nor_mlflow_nor_optuna(place: Place) -> None:
    write_npz(place.folder / "scan.npz")
    code = (
        "import sys\nfrom autotune.cli.main import run_command_line\n"
        "assert run_command_line(['--help']) == 0\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'scipy', 'h5py', 'ruamel.yaml'} & set(sys.modules)))\n"
        "assert run_command_line(['init', 'scan.npz']) == 0\n"
        "print(sorted({'torch', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert "\n  init " in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == ["[]", "[]"]


class TestText:
    """The study's text says what its lines say."""

    texts: ClassVar[Any] = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    numbers: ClassVar[Any] = st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9)
    values: ClassVar[Any] = texts | numbers | st.booleans() | st.lists(texts | numbers, max_size=3)

    @example(path="a\nb", values=["\x85", ["a, b", "c]", "no: #x"]], comment="c\n# d", fact="\x1b[0m")
    @given(path=texts, values=st.lists(values, min_size=1, max_size=5), comment=texts, fact=texts)
    def test_reads_back(self, path: str, values: list[Any], comment: str, fact: str) -> None:
        set_lines = [DraftLine(f"objective.geometry.key{i}", value, comment) for i, value in enumerate(values)]
        draft = Draft(
            [
                DraftLine("objective.data.file", path, comment),
                *set_lines,
                DraftLine("objective.geometry.later", values[0], comment, "missing"),
                DraftLine("parameters.a", {"low": -1.5, "high": 2}, comment),
                DraftLine("parameters.b", {"low": 0, "high": 1}, comment, "optional"),
            ],
            {"fact": fact},
        )
        source = read_yaml(draft_text("study", "toy", Path("scan.h5"), draft), "study.yaml")
        assert not source.faults
        assert source.data == {
            "name": "study",
            "objective": {
                "name": "toy",
                "data": {"file": path},
                "geometry": {f"key{i}": value for i, value in enumerate(values)},
            },
            "parameters": {"a": {"low": -1.5, "high": 2}},
            "search": {"sampler": "gp", "seed": 0},
            "budget": {"trials": 15},
        }

    @given(st.text(max_size=300))
    def test_any_file_name_makes_a_study_name(self, stem: str) -> None:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", plain_name(stem))

    def test_what_is_in_no_force_stands_below_one_comment_sign(self) -> None:
        draft = Draft(
            [
                DraftLine("objective.geometry.a", 1, "why", "missing"),
                DraftLine("objective.geometry.b", 2, "", "optional"),
            ]
        )
        lines = draft_text("n", "toy", Path("x"), draft).splitlines()
        at = lines.index("  # geometry:")
        assert re.fullmatch(r"  #   a: 1 +# MISSING: why", lines[at + 1]) and lines[at + 2] == "  #   b: 2"


def test_init_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["init", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--output", "--name", "--objective", "--force"))
