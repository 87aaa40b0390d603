"""What each parameter of the instrument acts through, as stated and as the scene has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.scene import build_scene
from objectives.ptychography.parameters.instrument import acts_through_probe_alone, parameters_of
from tests.objectives.ptychography.scenes import free, lens, near, scalars, thick

CASES: dict[str, tuple[Callable[[], Measurement], int]] = {
    "lens": (lens, 1),
    "lens, slices": (thick, 3),
    "free": (free, 1),
    "near": (near, 1),
}
# Where no derivative vanishes by symmetry.
GENERAL = {
    "center_offset_y": 0.7,
    "center_offset_x": -0.4,
    "elliptical_distortion": 0.02,
    "elliptical_angle": 25.0,
    "astigmatism": 40.0,
    "astigmatism_angle": 70.0,
    "scan_rotation": 3.0,
    "scan_shear": 0.5,
    "thickness": 60.0,
    "tilt_y": 3.0,
    "tilt_x": -2.0,
}


def differentiable(measurement: Measurement, slices: int) -> list[Parameter]:
    """The differentiable parameters that act at so many slices."""
    parameters = [p for p in parameters_of(measurement) if p.differentiable]
    return [p for p in parameters if not p.idle({"slices": slices})]


@pytest.mark.parametrize("case", CASES)
def test_what_acts_through_the_probe_alone_is_declared_so(case: str) -> None:
    """For every parameter: it changes the probe and no other part of the scene, or it is not declared so.

    A parameter of the lens without the flag would have a zero gradient at a refined probe, as if it were at its best.
    """
    make, slices = CASES[case]
    measurement = make()
    names = {p.name for p in parameters_of(measurement)}
    held = scalars(measurement, {name: value for name, value in GENERAL.items() if name in names})
    acting = differentiable(measurement, slices)
    assert len(acting) >= 4
    for parameter in acting:
        moving = {**held, parameter.name: held[parameter.name].requires_grad_(True)}
        scene = build_scene(measurement, moving, slices)
        parts = (scene.positions, scene.background, scene.blur, scene.propagator, scene.slice_propagator)
        elsewhere = any(_slope(part, moving[parameter.name]) > 0 for part in parts)
        by_probe = _slope(scene.spectrum, moving[parameter.name]) > 0
        assert elsewhere or by_probe, parameter.name
        assert acts_through_probe_alone(parameter, slices) == (by_probe and not elsewhere), parameter.name


def _slope(part: torch.Tensor | None, at: torch.Tensor) -> float:
    """Largest derivative of an array's sums with random weights; 0 where it does not depend on ``at``."""
    if part is None or not part.requires_grad:
        return 0.0
    random = torch.Generator().manual_seed(1)
    weights = torch.randn(part.shape, dtype=torch.float64, generator=random)
    total = (weights * (torch.view_as_real(part).sum(-1) if part.is_complex() else part)).sum()
    (slope,) = torch.autograd.grad(total, at, retain_graph=True, allow_unused=True)
    return 0.0 if slope is None else abs(float(slope))


def test_a_free_probe_makes_up_for_what_acts_through_it_alone() -> None:
    """So that one flag keeps a false zero from the gradient and a false certainty from the answer."""
    for parameter in parameters_of(lens()):
        for slices in (1, 3):
            made_up = parameter.made_up_by == "a free probe" and all(
                {"probe": "refined", "slices": slices}[name] in values for name, values in parameter.made_up_while
            )
            assert acts_through_probe_alone(parameter, slices) == made_up, parameter.name
