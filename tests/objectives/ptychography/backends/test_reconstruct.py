"""What a package reconstructs is judged as ours is, and parameters mean what they mean here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.objective import InputError, Objective, Status, Value
from autotune.testing import BackendConformance
from objectives.ptychography.backends.exposed import expose
from objectives.ptychography.backends.reconstruct import DIFFERENCE, LOSS
from objectives.ptychography.evaluation.stated import Stated, judge
from objectives.ptychography.settings import HeldOutSettings
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
