from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from autotune.objective import InputError, Status, Value
from autotune.testing import ObjectiveConformance
from objectives.diffraction.data.measurement import NearField
from objectives.ptychography.model.device import Machine
from objectives.ptychography.objective import PtychographyObjective
from tests.objectives.ptychography.scenes import (
    CPU,
    SINGLE,
    TRUTH,
    blurred,
    free,
    lens,
    near,
    objective,
    scene_of,
    thick,
)


class TestLens(ObjectiveConformance):
    reconverged = False  # tests of the envelope theorem converge; here the evaluations are short

    def objective(self) -> PtychographyObjective:
        return objective(lens())

    def values(self) -> Mapping[str, Value]:
        return {**TRUTH, "defocus": 100.0, "iterations": 5}


class Converging(ObjectiveConformance):
    """Evaluations of few iterations; those whose derivatives are compared with finite differences converge."""

    converged: ClassVar[int]
    """Iterations until they have."""
    iterations = 8

    def test_gradient_agrees_with_finite_differences(self) -> None:
        self.iterations = self.converged  # of this test alone: every test has an instance of its own
        super().test_gradient_agrees_with_finite_differences()


class TestFreeProbe(Converging):
    converged = 400  # a free probe makes up for most of a blur, but slowly: 120 are too few for its derivative
    gradient_rtol = 0.1
    gradient_atol = 0.05  # of scale and shear, which a free probe leaves nearly undetermined
    gradient_step = 1e-3

    def objective(self) -> PtychographyObjective:
        return objective(free())

    def values(self) -> Mapping[str, Value]:
        return {"scan_rotation": 6.0, "background": 0.5, "detector_blur": 0.3, "iterations": self.iterations}


class TestNearField(Converging):
    converged = 300
    gradient_rtol = 0.1
    gradient_atol = 0.02
    gradient_step = 1e-3

    def objective(self) -> PtychographyObjective:
        # Without a nominal distance, the focus must be stated.
        return objective(replace(near(), geometry=replace(near().geometry, focus_to_sample_mm=None)))

    def values(self) -> Mapping[str, Value]:
        blurred = {"background": 0.5, "detector_blur": 0.3}
        return {"focus_to_sample": 3.7, "scan_rotation": 1.0, **blurred, "iterations": self.iterations}


class TestSinglePrecision(ObjectiveConformance):
    reconverged = False

    def objective(self) -> PtychographyObjective:
        return PtychographyObjective(lens(), Machine(torch.device("cpu"), torch.float32))

    def values(self) -> Mapping[str, Value]:
        return {**TRUTH, "iterations": 5}


CASES = [(lens, dict(TRUTH)), (free, {"scan_rotation": 3.0}), (near, {"focus_to_sample": 4.0})]
each = pytest.mark.parametrize(("measured", "truth"), CASES, ids=["lens", "free", "near"])


@each
def test_twice_the_same_to_the_last_bit(measured, truth: dict[str, Value]) -> None:  # type: ignore[no-untyped-def]
    values = {**truth, "iterations": 8}
    first, second = (objective(measured()).evaluate(values, metric="consistency", seed=s) for s in (0, 1))
    assert dict(first.metrics) == dict(second.metrics) and dict(first.gradient) == dict(second.gradient)
    assert list(first.curve["consistency"]) == list(second.curve["consistency"])
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name])


@each
def test_truth_reaches_the_noise_ceiling(measured, truth: dict[str, Value]) -> None:  # type: ignore[no-untyped-def]
    """And the curve ends at the metric of the final state, climbing all the way.

    The lens's data come from another model, which scatters beyond the detector: that costs 2 %.
    """
    share = 0.97 if measured is lens else 0.985
    problem = objective(measured())
    evaluation = problem.evaluate({**truth, "iterations": 40}, metric="consistency", seed=0)
    ceiling = problem.metrics()[0].noise_ceiling
    assert ceiling is not None and evaluation.metrics["consistency"] > share * ceiling
    curve = list(evaluation.curve["consistency"])
    assert all(np.diff(curve) >= 0) and len(curve) == 40
    assert curve[-1] == pytest.approx(evaluation.metrics["consistency"], abs=1e-12)


@pytest.mark.parametrize(
    ("measured", "truth", "wrong"),
    [
        (lens, dict(TRUTH), {"defocus": -80.0}),
        (lens, dict(TRUTH), {"scan_rotation": -4.0}),
        (lens, dict(TRUTH), {"camera_length": -1.0}),
        (lens, dict(TRUTH), {"center_offset_y": -0.4}),
        (lens, dict(TRUTH), {"elliptical_distortion": -0.01}),
        (free, {"scan_rotation": 3.0}, {"scan_rotation": -10.0}),
        (near, {"focus_to_sample": 4.0}, {"focus_to_sample": 3.0}),
        (near, {"focus_to_sample": 4.0}, {"scan_rotation": 10.0}),
    ],
)
def test_truth_beats_what_is_wrong(measured, truth: dict[str, Value], wrong: dict[str, Value]) -> None:  # type: ignore[no-untyped-def]
    problem = objective(measured())
    at, off = (
        problem.evaluate({**values, "iterations": 30}, metric="consistency", seed=0).metrics["consistency"]
        for values in (truth, {**truth, **wrong})
    )
    assert at > off + 1e-4


def test_early_stop_keeps_the_state_reached() -> None:
    problem = objective(lens())
    seen: list[float] = []

    def stop_at_three(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        seen.append(metrics["consistency"])
        assert iterations == 9
        return iteration < 3

    evaluation = problem.evaluate({**TRUTH, "iterations": 9}, metric="consistency", seed=0, progress=stop_at_three)
    assert evaluation.status is Status.STOPPED and "3 of 9" in evaluation.reason
    assert list(evaluation.curve["consistency"]) == seen and len(seen) == 3
    assert evaluation.metrics["consistency"] == pytest.approx(seen[-1])
    assert not evaluation.gradient and not problem.pictures(evaluation)


def test_early_stop_before_the_probe_is_refined_ends_everything() -> None:
    values = {"iterations": 9, "probe_start": 5}
    calls: list[int] = []

    def stop_at_two(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
        calls.append(iteration)
        return iteration < 2

    evaluation = objective(free()).evaluate(values, metric="consistency", seed=0, progress=stop_at_two)
    assert calls == [1, 2] and evaluation.status is Status.STOPPED


def test_probe_starts_to_change_when_told() -> None:
    def probe_after(iterations: int, probe_start: int) -> np.ndarray:
        values = {"iterations": iterations, "probe_start": probe_start}
        return objective(free()).evaluate(values, metric="consistency", seed=0).arrays["probe"][0]

    start = free().probe
    assert start is not None
    held = probe_after(4, 4)
    assert np.abs(np.vdot(held, start)) == pytest.approx(np.linalg.norm(held) * np.linalg.norm(start), rel=1e-6)
    moved = probe_after(5, 4)
    assert np.abs(np.vdot(moved, start)) < (1 - 2e-5) * np.linalg.norm(moved) * np.linalg.norm(start)


def test_a_refined_probe_leaves_no_gradient_to_the_lens() -> None:
    problem = objective(lens())
    values = {**TRUTH, "astigmatism": 5.0, "iterations": 3}
    fixed = problem.evaluate(values, metric="consistency", seed=0)
    refined = problem.evaluate({**values, "probe": "refined"}, metric="consistency", seed=0)
    through_lens = {"center_offset_y", "center_offset_x", "defocus", "astigmatism", "astigmatism_angle"}
    through_lens |= {"spherical_aberration", "convergence_angle"}
    assert set(fixed.gradient) - set(refined.gradient) == through_lens
    assert refined.gradient["camera_length"] != 0 and refined.gradient["scan_rotation"] != 0


def test_gradient_is_of_the_metric_asked_for() -> None:
    problem = objective(lens())
    one, other = (
        problem.evaluate({**TRUTH, "iterations": 3}, metric=metric, seed=0).gradient
        for metric in ("consistency", "amplitude_consistency")
    )
    assert set(one) == set(other) and dict(one) != dict(other)
    with pytest.raises(InputError, match="consistency"):
        problem.evaluate(dict(TRUTH), metric="consistancy", seed=0)


def test_truth_is_known_only_where_it_was_given() -> None:
    assert PtychographyObjective(lens(), CPU, TRUTH).truth() == TRUTH
    assert objective(lens()).truth() == {}


def test_probe_found_from_far_field_data_is_centred() -> None:
    """Without a probe in the file, the start is a focus in the middle of the window, where the scan expects it."""
    m = replace(free(), probe=None)
    evaluation = objective(m).evaluate({"iterations": 1, "probe": "fixed"}, metric="consistency", seed=0)
    probe = np.abs(evaluation.arrays["probe"][0])
    assert np.unravel_index(probe.argmax(), probe.shape) == (12, 12)
    counts = float(m.patterns.sum() / len(m.patterns))
    assert np.square(probe).sum() == pytest.approx(counts, rel=1e-5)


def test_far_field_without_a_lens_is_reconstructed_in_angstrom() -> None:
    """X-ray far field with known geometry and unknown illumination: no aperture, no detector parameters."""
    m = lens()
    m = replace(m, geometry=replace(m.geometry, semi_convergence_mrad=None))
    problem = objective(m)
    assert "camera_length" not in {p.name for p in problem.parameters()}
    evaluation = problem.evaluate({"scan_rotation": 4.0, "iterations": 20}, metric="consistency", seed=0)
    assert evaluation.metrics["consistency"] > 0.8
    assert evaluation.attributes["length_unit"] == "angstrom"
    assert evaluation.attributes["object_pixel_y"] == pytest.approx(m.geometry.wavelength_angstrom / (24 * 2.6e-3))  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("measured", [free, near], ids=["far", "near"])
def test_masked_pixels_have_no_influence(measured) -> None:  # type: ignore[no-untyped-def]
    m = measured()
    valid = m.valid.copy()
    valid[10:13, 11] = False
    spoiled = m.patterns.copy()
    spoiled[:, ~valid] = 1e6
    values = {"iterations": 5}
    one, other = (
        objective(replace(m, patterns=patterns, valid=valid)).evaluate(values, metric="consistency", seed=0)
        for patterns in (np.where(valid, m.patterns, 0), spoiled)
    )
    assert dict(one.metrics) == dict(other.metrics) and dict(one.gradient) == dict(other.gradient)
    assert (one.arrays["pattern_measured"][~valid] == 0).all()


def test_pictured_pattern_lies_as_it_was_measured() -> None:
    for measured in (free, near):
        m = measured()
        evaluation = objective(m).evaluate({"iterations": 2}, metric="consistency", seed=0)
        np.testing.assert_allclose(evaluation.arrays["pattern_measured"], m.patterns[12] * m.valid, rtol=1e-5)


def test_counts_in_any_unit_give_the_same_reconstruction() -> None:
    m = lens()
    one = objective(m).evaluate({**TRUTH, "iterations": 5}, metric="consistency", seed=0)
    other = objective(replace(m, patterns=m.patterns * 4)).evaluate(
        {**TRUTH, "iterations": 5}, metric="consistency", seed=0
    )
    assert one.metrics["consistency"] == pytest.approx(other.metrics["consistency"], rel=1e-6)


def test_single_and_double_precision_agree() -> None:
    def evaluated(real: torch.dtype):  # type: ignore[no-untyped-def]
        machine = Machine(torch.device("cpu"), real)
        values = {**TRUTH, "defocus": 100.0, "iterations": 10}
        return PtychographyObjective(lens(), machine).evaluate(values, metric="consistency", seed=0)

    single, double = evaluated(torch.float32), evaluated(torch.float64)
    assert single.metrics["consistency"] == pytest.approx(double.metrics["consistency"], abs=1e-5)
    for name, slope in double.gradient.items():
        assert single.gradient[name] == pytest.approx(slope, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize(("measured", "words"), [(lens, "mrad"), (free, "object pixels"), (near, "near field")])
def test_summary_names_the_geometry(measured, words: str) -> None:  # type: ignore[no-untyped-def]
    facts = objective(measured()).summary()
    assert words in facts["geometry"] and facts["content hash"] == measured().content_hash
    assert facts["masked pixels"] == str(int((~measured().valid).sum()))


@pytest.mark.parametrize(("aperture", "beyond"), [(24.0, False), (31.0, False), (60.0, True)])
def test_an_aperture_beyond_the_detector_is_warned_of(aperture: float, beyond: bool) -> None:
    """The detector of 24 pixels of 2.6 mrad reaches 31.2 mrad."""
    measured = replace(lens(), geometry=replace(lens().geometry, semi_convergence_mrad=aperture))
    warning = objective(measured).summary().get("warning", "")
    assert bool(warning) is beyond
    if beyond:
        assert all(part in warning for part in ("60 mrad", "31.2 mrad", "objective.geometry.semi_convergence_mrad"))


def test_uncounted_data_have_no_noise_ceiling() -> None:
    problem = objective(replace(lens(), counted=False))
    assert problem.metrics()[0].noise_ceiling is None
    assert "unknown" in problem.summary()["noise ceiling"]


def test_a_diverged_reconstruction_says_so() -> None:
    """An aberration beyond all numbers: the probe is not finite."""
    evaluation = objective(lens()).evaluate(
        {**TRUTH, "spherical_aberration": 1e308, "iterations": 2}, metric="consistency", seed=0
    )
    assert evaluation.status is Status.DIVERGED and evaluation.reason and not evaluation.metrics


@pytest.mark.parametrize("machine", [CPU, SINGLE])
@pytest.mark.parametrize("binning", [1, 2])
def test_the_derivative_by_the_blur_is_by_its_square_which_says_something_at_none(
    machine: Machine, binning: int
) -> None:
    """Blurred data, a model without: a little blur makes it better, at a rate that hardly depends on how little."""
    problem = PtychographyObjective(blurred(), machine)
    fixed: dict[str, Value] = {**TRUTH, "iterations": 3, "detector_binning": binning}
    slopes = [
        problem.evaluate({**fixed, "detector_blur": blur}, metric="consistency", seed=0).gradient["detector_blur"]
        for blur in (0.0, 1e-3, 0.02)
    ]
    assert slopes[0] > 1e-3 and slopes == pytest.approx([slopes[0]] * 3, rel=5e-3)


def test_points_say_nothing_of_the_least_blur() -> None:
    problem = objective(blurred())
    points: dict[str, Value] = {**TRUTH, "iterations": 2, "pixel_fill": 0.0}
    sharp, wide = (
        problem.evaluate({**points, "detector_blur": blur}, metric="consistency", seed=0).gradient
        for blur in (0.0, 0.3)
    )
    assert set(wide) - set(sharp) == {"detector_blur"} and wide["detector_blur"] != 0


def test_idle_parameters_have_no_gradient() -> None:
    problem = objective(thick())
    thin = problem.evaluate({"iterations": 2}, metric="consistency", seed=0)
    depth = {"slices": 2, "thickness": 60.0, "astigmatism": 5.0, "elliptical_distortion": 0.01}
    deep = problem.evaluate({**depth, "iterations": 2}, metric="consistency", seed=0)
    idle = {"thickness", "tilt_y", "tilt_x", "astigmatism_angle", "elliptical_angle"}
    assert set(deep.gradient) - set(thin.gradient) == idle
    assert all(deep.gradient[name] != 0 for name in idle)
    with pytest.raises(InputError, match="thickness"):
        problem.evaluate({"slices": 2, "iterations": 2}, metric="consistency", seed=0)


def test_arrays_are_slices_and_modes() -> None:
    values = {"slices": 3, "thickness": 60.0, "probe": "refined", "probe_modes": 2, "iterations": 2}
    evaluation = objective(thick()).evaluate(values, metric="consistency", seed=0)
    arrays = evaluation.arrays
    assert arrays["object"].shape[0] == 3 and arrays["object"].ndim == 3
    assert arrays["probe"].shape == (2, 36, 36) and "position_displacement" not in arrays
    # The probe lies in real space, in counts, in the middle of its window.
    weight = np.square(np.abs(arrays["probe"])).sum(axis=0)
    assert weight.sum() == pytest.approx(thick().patterns.sum() / 25, rel=0.05)
    where = np.mgrid[:36, :36]
    assert [(weight * axis).sum() / weight.sum() for axis in where] == pytest.approx([18, 18], abs=1.0)
    assert evaluation.attributes["object_pixel_y"] == pytest.approx(0.0418 / (36 * 2.6e-3))
    assert arrays["pattern_measured"].shape == arrays["pattern_modelled"].shape == (24, 24)
    unpadded = objective(thick()).evaluate({**values, "window_padding": 1.0}, metric="consistency", seed=0)
    assert unpadded.arrays["probe"].shape == (2, 24, 24)
    assert objective(thick()).pictures(evaluation)["reconstruction"].startswith(b"\x89PNG")


def test_nominal_distance_is_the_default() -> None:
    assert isinstance(near().geometry, NearField)
    named = {p.name: p for p in objective(near()).parameters()}["focus_to_sample"]
    assert (named.default, named.low, named.high) == (4.0, pytest.approx(2.8), pytest.approx(5.2))
    assert scene_of(near(), {}).pixel.tolist() == pytest.approx([2000.0, 2000.0])


def test_modes_are_those_of_a_refined_probe_only() -> None:
    """A search may tune both; where a trial holds the probe, the number of modes has no effect."""
    values: dict[str, Value] = {**TRUTH, "iterations": 3, "probe": "fixed"}
    one, three = (
        objective(lens()).evaluate({**values, "probe_modes": modes}, metric="consistency", seed=0) for modes in (1, 3)
    )
    assert dict(one.metrics) == dict(three.metrics) and dict(one.gradient) == dict(three.gradient)
    assert three.arrays["probe"].shape == (1, 36, 36)


def test_a_probe_that_never_comes_to_change_follows_from_the_lens() -> None:
    values: dict[str, Value] = {**TRUTH, "iterations": 3}
    held = objective(lens()).evaluate({**values, "probe": "fixed"}, metric="consistency", seed=0)
    late: dict[str, Value] = {"probe": "refined", "probe_start": 3}
    never = objective(lens()).evaluate({**values, **late}, metric="consistency", seed=0)
    assert dict(held.metrics) == dict(never.metrics) and dict(held.gradient) == dict(never.gradient)


def test_bad_pixels_in_the_bright_field_do_not_weaken_the_probe() -> None:
    valid = lens().valid.copy()
    valid[9:14, 10:15] = False
    whole, holed = (
        objective(replace(lens(), valid=mask)).evaluate({**TRUTH, "iterations": 1}, metric="consistency", seed=0)
        for mask in (lens().valid, valid)
    )
    power = [float(np.square(np.abs(e.arrays["probe"])).sum()) for e in (whole, holed)]
    assert power[1] == pytest.approx(power[0], rel=0.03)


def test_a_model_beyond_reason_has_diverged() -> None:
    values: dict[str, Value] = {**TRUTH, "solver": "lsqml", "object_step": 10.0, "iterations": 2, "batch_size": 5}
    evaluation = objective(lens()).evaluate(values, metric="consistency", seed=0)
    assert evaluation.status is Status.DIVERGED and "times the data" in evaluation.reason and not evaluation.metrics


@pytest.mark.parametrize("name", ["position_step", "thickness", "slices", "camera_length"])
def test_what_the_near_field_lacks_is_explained(name: str) -> None:
    assert objective(near()).why_absent(name) == "it exists in the far field only"


def test_steps_of_a_held_probe_are_idle() -> None:
    known = {p.name: p for p in objective(lens()).parameters()}
    assert known["probe_step"].idle_because({"solver": "lsqml", "probe": "fixed"}) == "probe"
    assert known["probe_step"].idle_because({"solver": "lbfgs", "probe": "refined"}) == "solver"
    assert not known["probe_step"].idle({"solver": "lsqml", "probe": "refined"})
