"""What a package reconstructs is judged as ours is, and parameters mean what they mean here."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from autotune.objective import InputError, Objective, Status, Value
from autotune.testing import BackendConformance
from objectives.ptychography.backends.exposed import expose
from objectives.ptychography.backends.reconstruct import DIFFERENCE, LOSS
from objectives.ptychography.evaluation.stated import Stated, judge
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.settings import BackendSettings, HeldOutSettings, OptionSettings
from objectives.ptychography.solvers.state import to_the_end
from tests.objectives.ptychography.backends.toys import AT, TOY, objective
from tests.objectives.ptychography.scenes import SINGLE, TRUTH, lens, near


@pytest.fixture(scope="module")
def shared() -> Objective:
    return objective(lens())  # type: ignore[no-any-return]


class TestToy(BackendConformance):
    reconverged = False

    @pytest.fixture(autouse=True)
    def _made(self, shared: Objective) -> None:
        self._objective = shared

    def objective(self) -> Objective:
        return self._objective

    def values(self) -> dict[str, Value]:
        return {**TRUTH, **AT}


def test_metrics_are_those_of_the_arrays(shared: Any) -> None:
    """As the judge of other programs' reconstructions says, which fits the probe's scale on top."""
    found = shared.evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    half = 12
    reconstruction, _ = shared._reconstruction({**TRUTH, **AT}, "consistency")
    layout, positions = reconstruction.misfit.model.layout, reconstruction.misfit.model.scene.positions
    centres = (positions - layout.origin).double().numpy() + half
    judged = judge(lens(), SINGLE, Stated(found.arrays["object"], found.arrays["probe"], centres))
    assert judged.metrics["consistency"] == pytest.approx(found.metrics["consistency"], abs=2e-3)
    assert judged.metrics["consistency"] >= found.metrics["consistency"] - 1e-6
    assert found.metrics[DIFFERENCE] < 1e-5 and found.metrics[LOSS] > 0
    assert len(found.curve["consistency"]) == 6
    assert found.curve["consistency"][-1] == pytest.approx(found.metrics["consistency"], abs=1e-6)


def test_a_gradient_only_where_the_package_minimises_the_metric(shared: Any) -> None:
    def gradient(metric: str, **values: Value) -> set[str]:
        return set(shared.evaluate({**TRUTH, **AT, **values}, metric=metric, seed=0).gradient)

    assert gradient("consistency") == set() == gradient("amplitude_consistency", step=0.5)
    assert {"defocus", "scan_rotation", "camera_length"} <= gradient("amplitude_consistency")


def test_whole_patterns_are_withheld(shared: Any) -> None:
    found = shared.evaluate({**TRUTH, **AT}, metric="held_out_consistency", seed=0)
    assert 0 < found.metrics["held_out_consistency"] < found.metrics["consistency"]
    pixels = objective(lens())
    pixels._levels._held_out = pixels._held_out = HeldOutSettings(of="pixels")
    pixels._levels.whole = replace(pixels._levels.whole, held_out=HeldOutSettings(of="pixels"))
    with pytest.raises(InputError, match="withholds other pixels of other patterns"):
        pixels.evaluate({**TRUTH, **AT}, metric="held_out_consistency", seed=0)


def test_part_of_a_scan_and_binned_patterns(shared: Any) -> None:
    found = shared.evaluate({**TRUTH, **AT, "scan_fraction": 0.4}, metric="consistency", seed=0)
    assert found.status is Status.COMPLETE and found.metrics[DIFFERENCE] < 1e-5
    binned = shared.evaluate({**TRUTH, **AT, "detector_binning": 2}, metric="consistency", seed=0)
    assert binned.arrays["probe"].shape == (1, 12, 12) and binned.metrics[DIFFERENCE] > 1e-3, "it sees pixels as points"


def test_its_measurement_is_repeated(shared: Any) -> None:
    again = shared.measured_again({**TRUTH, **AT}, seed=1)
    found = again.evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert found.status is Status.COMPLETE and again._bound is shared._bound


def test_examined_as_ours_is(shared: Any) -> None:
    found = shared.examine({**TRUTH, **AT}, seed=0)
    assert {"consistency", "held_out_consistency", "phase_contrast", "fraction_of_ceiling"} <= set(found)


def test_parameters_that_there_are() -> None:
    exposed = expose(lens(), TOY)
    offered = {parameter.name for parameter in exposed.offered}
    assert {*TRUTH, "iterations", "probe", "probe_modes", "step", "scan_fraction", "convergence_angle"} <= offered
    assert not offered & {"solver", "loss", "detector_blur", "slices", "thickness", "tilt_x", "position_step"}
    assert (exposed.held["detector_blur"], exposed.held["pixel_fill"], exposed.held["slices"]) == (0.0, 0.0, 1)
    assert {name for p in exposed.offered for name, _ in p.idle_while} <= offered
    thick = {parameter.name for parameter in expose(lens(), replace(TOY, thick=True)).offered}
    assert {"slices", "thickness"} <= thick
    problem = objective(lens())
    assert "does not model it" in problem.why_absent("detector_blur")
    assert "one slice only" in problem.why_absent("thickness") and "of its own: step" in problem.why_absent(
        "object_step"
    )
    assert problem.content_hash != objective(lens(), option=1).content_hash != lens().content_hash
    with pytest.raises(InputError, match="packages reconstruct the far field only"):
        objective(near())


def test_files_of_its_own_are_kept_of_an_evaluation_alone(shared: Any) -> None:
    found = shared.evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert json.loads(found.files["toy.json"]) == {"step": 1.0, "options": {}} and list(found.files) == ["toy.json"]
    assert found.software["numpy"] == np.__version__ and found.remarks == []
    reconstruction, _ = shared._reconstruction({**TRUTH, **AT}, "consistency")
    assert reconstruction.run(to_the_end, 0).files == {}


def test_files_that_cannot_be_written_lose_nothing_else(shared: Any) -> None:
    found = objective(lens(), deed="full disk").evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert found.metrics == shared.evaluate({**TRUTH, **AT}, metric="consistency", seed=0).metrics
    assert found.files == {} and found.remarks == ["toy could not keep files of its own: OSError: no space is left."]


def test_what_is_no_file_is_not_kept_in_silence() -> None:
    found = objective(lens(), deed="folder").evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert list(found.files) == ["toy.json"]
    assert found.remarks == ["toy could not keep files of its own: model.zarr is no file, and only files are kept."]


def test_a_package_may_remark(shared: Any) -> None:
    found = objective(lens(), remark="It ran on a slow machine.").evaluate(
        {**TRUTH, **AT}, metric="consistency", seed=0
    )
    assert found.remarks == ["It ran on a slow machine."]


def test_folders_of_killed_processes_are_removed(shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for left in (f"autotune-files-toy-{2**22 + 1}-a", f"autotune-files-toy-{os.getpid()}-b", "autotune-files-other-1"):
        (tmp_path / left).mkdir()
    shared.evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "autotune-files-other-1",
        f"autotune-files-toy-{os.getpid()}-b",
    ]


def test_no_files_where_the_study_wants_none() -> None:
    problem = objective(lens())
    problem._bound = replace(problem._bound, files=False)
    assert problem.evaluate({**TRUTH, **AT}, metric="consistency", seed=0).files == {}


def test_a_package_that_sees_something_else_is_told(shared: Any) -> None:
    found = objective(lens(), share=1.002).evaluate({**TRUTH, **AT}, metric="consistency", seed=0)
    assert found.metrics[DIFFERENCE] == pytest.approx(2e-3, rel=1e-3)
    [remark] = found.remarks
    assert "toy differs from this project's by 0.2 %" in remark


def test_a_native_option_is_a_parameter() -> None:
    """Of any type; it is given to the package under its own name, after what the study fixes."""
    stated = {
        "strength": OptionSettings(option="solver.strength", default=0.5, low=0.1, high=1.0),
        "rounds": OptionSettings(option="solver.rounds", type="int", default=3, low=1, high=5),
        "kind": OptionSettings(option="filter.kind", type="categorical", choices=(True, "soft"), default="soft"),
        "free": OptionSettings(option="filter.free", low=0.0, high=1.0, default=0.0),
    }
    settings = BackendSettings(name="py4dstem", options={"a.b": 1}, parameters=stated)
    problem = objective(lens(), native=settings.native)
    names = {p.name: p for p in problem.parameters()}
    assert (
        names["kind"].choices == ("true", "soft") and names["rounds"].default == 3 and names["rounds"].kind == "solver"
    )
    values = {**TRUTH, **AT, "strength": 0.25, "kind": "true"}
    found = problem.evaluate(values, metric="amplitude_consistency", seed=0)
    told = {"solver.strength": 0.25, "solver.rounds": 3, "filter.kind": True, "filter.free": 0.0}
    assert json.loads(found.files["toy.json"])["options"] == told
    assert found.gradient == {}, "what the option does to the loss is not known"
    assert problem.content_hash != objective(lens()).content_hash


def test_native_options_that_cannot_be() -> None:
    def refused(**stated: Any) -> str:
        with pytest.raises(ValidationError) as caught:
            BackendSettings(name="py4dstem", options={"a.b": 1}, parameters=stated)
        return str(caught.value)

    assert "option a.b is stated twice" in refused(x={"option": "a.b"})
    assert "option c.d is stated twice" in refused(x={"option": "c.d"}, y={"option": "c.d"})
    assert "needs choices" in refused(x={"option": "c.d", "type": "categorical"})
    assert "low 2.0 is not below high 1.0" in refused(x={"option": "c.d", "low": 2, "high": 1})
    assert "none of true, false" in refused(
        x={"option": "c.d", "type": "categorical", "choices": [True, False], "default": "soft"}
    )
    assert "soft is no number" in refused(x={"option": "c.d", "default": "soft"})
    assert "pattern" in refused(**{"c.d": {"option": "c.d"}})
    assert "low 1.5 is no whole number" in refused(x={"option": "c.d", "type": "int", "low": 1.5, "high": 3})
    assert "default 0.2 is beyond the minimum" in refused(x={"option": "c.d", "minimum": 0.5, "default": 0.2})
    assert "choices are of type categorical" in refused(x={"option": "c.d", "choices": ["a", "b"]})
    assert "two choices are the same" in refused(x={"option": "c.d", "type": "categorical", "choices": [True, "true"]})
    native = BackendSettings(name="py4dstem", parameters={"defocus": OptionSettings(option="c.d")}).native
    with pytest.raises(InputError, match=r"objective\.backend\.parameters\.defocus.*is a parameter already"):
        objective(lens(), native=native)


def test_the_measurement_is_exported_as_it_is_reconstructed(tmp_path: Path, shared: Any) -> None:
    """Also of the built-in solvers, and without what a held-out metric withholds."""
    built_in = PtychographyObjective(lens(), SINGLE)
    for problem, metric, count in ((shared, "consistency", 25), (built_in, "consistency", 25),
                                   (shared, "held_out_consistency", 23)):  # fmt: skip
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        facts = problem.export_measurement({**TRUTH, "iterations": 3}, metric=metric, path=path)
        with h5py.File(path) as file:
            patterns, valid = file["patterns"][()], file["valid"][()] > 0
            probe, positions = file["probe"][()], file["positions"][()]
            assert patterns.shape == (count, 24, 24) == (len(positions), *valid.shape)
            assert list(file.attrs["object_pixel"]) == pytest.approx([float(size) for size in _pixel(problem)])
            assert (positions.max(axis=0) + 12 <= file.attrs["object_shape"]).all()
            assert file["parameters"].attrs["defocus"] == TRUTH["defocus"] and file.attrs["regime"] == "far field"
        assert ("left out" in facts) == (metric != "consistency") and "withheld" not in facts
        if metric == "consistency":
            assert np.array_equal(patterns, lens().patterns)
        assert np.square(np.abs(probe)).sum() == pytest.approx(patterns.sum() / count, rel=1e-3)
    withheld = PtychographyObjective(lens(), SINGLE, held_out=HeldOutSettings(fraction=0.2))
    padded = {**TRUTH, "window_padding": 1.5}
    facts = withheld.export_measurement(padded, metric="held_out_consistency", path=tmp_path / "pixels.h5")
    assert "36 x 36" in facts["padded"] and "which are 0" in facts["withheld"]
    with h5py.File(tmp_path / "pixels.h5") as file:
        patterns, valid = file["patterns"][()], file["valid"][()] > 0
    assert valid.shape == patterns.shape and 0.7 < valid.mean() < 0.9
    assert not patterns[~valid].any() and np.array_equal(patterns[valid], lens().patterns[valid])


def _pixel(problem: Any) -> Any:
    reconstruction, _ = problem._reconstruction({**TRUTH, "iterations": 3}, "consistency")
    return reconstruction.misfit.model.scene.pixel
