"""Programs that leave a reconstruction: which arrays are read, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from autotune.objective import Evaluation, InputError, Objective, Value
from autotune.testing import ObjectiveConformance
from objectives.command.arrays import array_of
from objectives.command.outputs import NoResult
from objectives.command.plugin import command
from objectives.command.settings import ArraySource
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.ptychography.evaluation.stated import judge
from tests.objectives.command.programs import block
from tests.objectives.ptychography.evaluation.test_stated import made
from tests.objectives.ptychography.scenes import SINGLE, lens

AT: dict[str, Value] = {"shift": 0.5, "power": 2, "way": "fast"}
COPIES = """
import json, os, shutil, sys, time
given = json.load(open(sys.argv[1]))
shutil.copy(os.path.join(sys.argv[2], "left.npz"), "left.npz")
import numpy as np, h5py
left = np.load("left.npz")
np.save("object.npy", left["object"][0] if len(left["object"]) == 1 else left["object"])
with h5py.File("out.h5", "w") as file:
    file["probe"] = left["probe"]
np.save("positions.npy", left["positions"] + given["shift"])
for i in range(1, 4):
    print(f"pass {i}/3 error={i}", flush=True)
    time.sleep(0.3 if given["power"] == 2 else 0)
print("error 2.0")
"""
WHERE: dict[str, Any] = {
    "data": {"file": "scan.h5"},
    "object": {"npy": "object.npy"},
    "probe": {"hdf5": "out.h5", "path": "probe"},
    "positions": {"npy": "positions.npy"},
}


def judged(folder: Path, program: str = COPIES, **changes: Any) -> Objective:
    if not (folder / "scan.h5").exists():
        write_measurement(folder / "scan.h5", lens())
        stated = made()
        np.savez(folder / "left.npz", object=stated.object, probe=stated.probe, positions=stated.positions - 0.5)
    run = ["{{python}}", "{{study}}/program.py", "given.json", "{{study}}"]
    stated_block = block(folder, program, **{"run": run, "metrics": {}, "gradient": None,
                                             "progress": {"regex": r"pass (?P<iteration>\d+)/(?P<iterations>\d+)"},
                                             "reconstruction": WHERE, "keep": "never", **changes})  # fmt: skip
    return command.open(command.settings.model_validate(stated_block), folder=folder)


def evaluated(objective: Objective, **values: Value) -> Evaluation:
    return objective.evaluate({**AT, **values}, metric="consistency", seed=0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    return judged(tmp_path_factory.mktemp("judged"))


class TestJudged(ObjectiveConformance):
    requires_gradient = False

    @pytest.fixture(autouse=True)
    def _made(self, shared: Objective) -> None:
        self._objective = shared

    def objective(self) -> Objective:
        return self._objective

    def values(self) -> Mapping[str, Value]:
        return AT


def test_our_metrics_and_the_programs_own(tmp_path: Path) -> None:
    own = {"error": {"goal": "minimize", "regex": r"error (\S+)"}}
    objective = judged(tmp_path, metrics=own)
    found, right = evaluated(objective), judge(lens(), SINGLE, made())
    assert found.metrics == {"error": 2.0, **right.metrics}
    assert [metric.name for metric in objective.metrics()] == ["error", "consistency", "amplitude_consistency"]
    assert found.arrays["object"].shape == (1, 60, 64) and found.arrays["probe"].shape == (1, 24, 24)
    assert found.attributes["length_unit"] == "angstrom"
    assert float(found.attributes["object_pixel_y"]) == pytest.approx(0.0418 / (24 * 2.6e-3), rel=2e-3)
    rows = np.round(made().positions[:, 0])
    assert (found.attributes["scan_first_row"], found.attributes["scan_last_row"]) == (rows.min(), rows.max())
    assert command.views(found.arrays, found.attributes) and command.fits(found.arrays, found.attributes)


def test_arrays_that_do_not_fit_fail_the_trial(tmp_path: Path) -> None:
    objective = judged(tmp_path)
    with pytest.raises(NoResult, match="leaves the object of 60 x 64"):
        evaluated(objective, shift=-4.9)
    with pytest.raises(NoResult, match=r"object.npy: was not written"):
        evaluated(judged(tmp_path, "print(1)"))


def test_mistakes_are_named(tmp_path: Path) -> None:
    judged(tmp_path)
    metric = {"consistency": {"goal": "minimize", "regex": "1"}}
    for changes, quoted in (
        ({"metrics": metric}, "objective.metrics.consistency"),
        ({"reconstruction": None}, "objective.metrics: there are none"),
        ({"reconstruction": {**WHERE, "data": {"file": "none.h5"}}}, "none.h5"),
    ):
        with pytest.raises(InputError, match=quoted):
            judged(tmp_path, **changes)


@pytest.mark.parametrize(("real", "imaginary"), [("r", "i"), ("real", "imag")])
def test_pairs_are_complex(real: str, imaginary: str, tmp_path: Path) -> None:
    pairs = np.array([(1.0, 2.0), (3.0, -4.0)], dtype=[(real, "f8"), (imaginary, "f8")])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pairs"] = pairs
    found = array_of(ArraySource.model_validate({"hdf5": "a.h5", "path": "pairs"}), tmp_path)
    np.testing.assert_array_equal(found, [1 + 2j, 3 - 4j])


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.ones(2))
    (tmp_path / "archive.npy.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<c16', 'fortran_order': False, 'shape': (9")
    header = np.lib.format.header_data_from_array_1_0(np.ones((1, 1), complex)) | {"shape": (10**6, 10**6)}
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[attr-defined]
    for name in ("objects", "archive", "cut", "huge", "none"):
        with pytest.raises(NoResult, match=f"{name}.npy"):
            array_of(ArraySource(npy=f"{name}.npy"), tmp_path)
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("a", shape=(10**6, 10**6), dtype="c16", chunks=(100, 100))
    with pytest.raises(NoResult, match=r"huge.h5: a: holds 1.49e\+04 GiB"):
        array_of(ArraySource(hdf5="huge.h5", path="a"), tmp_path)
