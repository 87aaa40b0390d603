"""Units and axes of what a reconstruction keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from autotune.execution.artifacts import keep_evaluation
from autotune.objective import ArrayAxis, Evaluation, Status
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.output.arrays import describe_arrays
from tests.objectives.ptychography.scenes import TRUTH, free, lens, near, objective


def evaluation(**attributes: float | str) -> Evaluation:
    arrays = {"object": np.ones((1, 4, 5)), "probe": np.ones((2, 3, 3)), "other": np.ones(2)}
    return Evaluation(Status.COMPLETE, metrics={"c": 1.0}, arrays=arrays, attributes=attributes)


def test_lengths_are_in_angstrom_where_they_are_known() -> None:
    known = describe_arrays(evaluation(length_unit="angstrom", object_pixel_y=0.5, object_pixel_x=0.25))
    assert set(known) == {"object", "probe"}
    plane = (ArrayAxis("y", "angstrom", 0.5), ArrayAxis("x", "angstrom", 0.25))
    assert known["object"].axes == (ArrayAxis("slice"), *plane)
    assert known["probe"].axes == (ArrayAxis("mode"), *plane)


def test_and_in_pixels_where_they_are_not() -> None:
    known = describe_arrays(evaluation(length_unit="object pixel", object_pixel_y=1.0, object_pixel_x=1.0))
    assert known["object"].axes == (ArrayAxis("slice"), ArrayAxis("y"), ArrayAxis("x"))


@pytest.mark.parametrize(("measured", "unit"), [(lens, "mrad"), (near, "µm")])
def test_the_detector_has_the_size_that_the_geometry_says(measured: Callable[[], Measurement], unit: str) -> None:
    m = measured()
    size = m.geometry.angular_sampling_mrad if isinstance(m.geometry, FarField) else m.geometry.detector_pixel_um
    assert size is not None
    evaluated = objective(m).evaluate({"iterations": 1}, metric="consistency", seed=0)
    expected = (ArrayAxis("detector_y", unit, size[0]), ArrayAxis("detector_x", unit, size[1]))
    assert describe_arrays(evaluated)["pattern_measured"].axes == expected
    assert [evaluated.attributes[f"detector_pixel_{axis}"] for axis in "yx"] == list(size)


def test_and_pixels_where_it_says_none() -> None:
    evaluated = objective(free()).evaluate({"iterations": 1}, metric="consistency", seed=0)
    assert describe_arrays(evaluated)["pattern_measured"].axes == (ArrayAxis("detector_y"), ArrayAxis("detector_x"))


def test_a_kept_reconstruction_is_calibrated(tmp_path: Path) -> None:
    problem = objective(lens())
    evaluated = problem.evaluate({**TRUTH, "iterations": 2}, metric="consistency", seed=0)
    keep_evaluation(tmp_path / "00000", evaluated, problem)
    with h5py.File(tmp_path / "00000" / "reconstruction.h5") as file:
        nodes = file["reconstruction"]
        for name, array in evaluated.arrays.items():
            assert np.array_equal(file[name][()], array)
            assert [len(nodes[name][f"dim{n}"]) for n in range(array.ndim)] == list(array.shape)
        y = nodes["object/dim1"]
        assert (y.attrs["name"], y.attrs["units"]) == ("y", "A")
        assert np.diff(y[()]) == pytest.approx(evaluated.attributes["object_pixel_y"])
        assert nodes["pattern_measured/data"].attrs["units"] == "counts"
