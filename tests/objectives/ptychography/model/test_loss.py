"""The gradient that L-BFGS follows, against finite differences and explicit sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.model.forward import ForwardModel
from objectives.ptychography.model.kernels.plain import TorchKernels
from objectives.ptychography.model.kernels.protocol import Loss
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.algorithms import lbfgs
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import State
from tests.objectives.ptychography.model.test_forward import (
    LENS_VALUES,
    NEAR_VALUES,
    SCAN_VALUES,
    UNPADDED,
    everything,
    some_object,
    some_spectra,
)
from tests.objectives.ptychography.scenes import CPU, all_values, free, lens, misfit_of, model_of, near, thick

THICK_VALUES = {**LENS_VALUES, "thickness": 120.0, "tilt_y": 8.0, "tilt_x": -5.0}
CASES = {
    "lens": (lens, LENS_VALUES, 1),
    "free": (free, SCAN_VALUES, 1),
    "near": (near, NEAR_VALUES, 1),
    "unpadded": (lens, UNPADDED, 1),
    "thick": (thick, THICK_VALUES, 3),
}
each = pytest.mark.parametrize("case", CASES)
ALL = lbfgs.Unknowns(probe=True, positions=True)
OBJECT = lbfgs.Unknowns(probe=False, positions=False)


@dataclass(frozen=True)
class Setting:
    """Patterns of another object under other probes, a mask, and a state far from the solution."""

    misfit: Misfit
    state: State
    truth: State
    options: SolverOptions

    def loss(self, state: State, unknowns: lbfgs.Unknowns = OBJECT) -> tuple[float, float, list[Tensor | None]]:
        return lbfgs.loss_and_gradients(self.misfit, state, self.options, unknowns)


def setting(case: str, loss: Loss = "intensity", background: float = 0.0, masked: bool = True) -> Setting:
    measured, values, slices = CASES[case]
    return build(measured(), {**values, "background": background}, slices, loss, masked)


def build(m: Measurement, values: dict[str, float], slices: int, loss: Loss, masked: bool) -> Setting:
    model = model_of(m, values, slices, margin=4)
    random = torch.Generator().manual_seed(2)
    moved = 0.3 * torch.randn(25, 2, dtype=torch.float64, generator=random)
    still = torch.zeros_like(moved)
    state = State(some_object(model, 5, slices), some_spectra(model, 6, modes=2), moved)
    truth = State(some_object(model, 8, slices), some_spectra(model, 9, modes=2), still)
    valid = torch.ones(24, 24, dtype=torch.float64)
    if masked:
        valid[2, 3] = valid[11, 13] = 0.0
    patterns = model.intensity(truth.transmission, truth.spectra, model.batch(everything(model)))
    options = SolverOptions.from_values(all_values(m, {"solver": "lbfgs", "loss": loss}))
    return Setting(misfit_of(model, patterns * valid, valid), state, truth, options)


def moved_along(state: State, part: str, step: Tensor, t: float) -> State:
    return replace(state, **{part: getattr(state, part) + t * step})


PARTS: tuple[tuple[str, Callable[[list[Tensor | None]], Tensor | None]], ...] = (
    ("transmission", lambda gradients: gradients[0]),
    ("spectra", lambda gradients: gradients[1]),
    ("moved", lambda gradients: gradients[2]),
)


@each
@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize(("background", "masked"), [(0.0, False), (0.0, True), (0.05, True)])
def test_gradient_agrees_with_finite_differences(case: str, loss: Loss, background: float, masked: bool) -> None:
    """By every slice of the object, every mode of the probe, and the positions (that only the far field moves)."""
    problem = setting(case, loss, background, masked)
    _, _, gradients = problem.loss(problem.state, ALL)
    random = torch.Generator().manual_seed(1)
    for part, of in PARTS if case != "near" else PARTS[:2]:
        gradient, value = of(gradients), getattr(problem.state, part)
        assert gradient is not None
        # One direction for each slice or mode, which leaves the others alone, and two for all positions.
        for index in range(2 if part == "moved" else len(value)):
            step = torch.randn(value.shape, dtype=value.dtype, generator=random)
            if part != "moved":
                step = torch.where(torch.arange(len(value))[:, None, None] == index, step, 0)
            slope = torch.sum(gradient.conj() * step).real

            def along(t: float, part: str = part, step: Tensor = step) -> float:
                return problem.loss(moved_along(problem.state, part, step, t))[0]

            h = 2e-5
            # Differences of four points leave terms of h^4 only.
            difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
            assert float(slope) == pytest.approx(difference, rel=1e-6), (part, index)


@each
def test_loss_is_the_residual_and_vanishes_at_the_truth(case: str) -> None:
    problem = setting(case)
    model, data = problem.misfit.model, problem.misfit.data
    expected = model.intensity(
        problem.state.transmission, problem.state.spectra, model.batch(everything(model), problem.state.moved)
    )
    residual = float(((expected - data.patterns) * data.valid).square().sum())
    value, squared, _ = problem.loss(problem.state)
    assert squared == pytest.approx(residual, rel=1e-12)
    assert value == pytest.approx(residual / data.mean**2, rel=1e-12)
    at_truth, squared, gradients = problem.loss(problem.truth)
    assert squared < 1e-20 * data.norm and at_truth == pytest.approx(squared / data.mean**2)
    assert gradients[0] is not None and float(gradients[0].abs().max()) < 1e-10
    assert gradients[1] is None and gradients[2] is None


@each
@pytest.mark.parametrize("patterns", [1, 7, 1000])
def test_batching_changes_nothing_but_rounding(case: str, patterns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = setting(case)
    whole = problem.loss(problem.state, ALL)
    # Two modes: half as many patterns go into a batch as pixels would allow.
    window = math.prod(problem.misfit.model.layout.window)
    monkeypatch.setattr(type(CPU), "pixels_per_batch", 2 * patterns * window)
    parts = problem.loss(problem.state, ALL)
    assert parts[:2] == pytest.approx(whole[:2], rel=1e-12)
    for part, of_whole in zip(parts[2], whole[2], strict=True):
        torch.testing.assert_close(part, of_whole, rtol=1e-10, atol=1e-10 * float(of_whole.abs().max()))


@each
def test_masked_pixels_have_no_influence(case: str) -> None:
    """What the model expects under the mask changes neither loss nor gradient: they equal explicit sums without it."""
    problem = setting(case)
    model, data = problem.misfit.model, problem.misfit.data
    value, _, gradients = problem.loss(problem.state)
    plain = setting(case, masked=False)
    kept = data.valid[0].bool()
    leaf = problem.state.transmission.clone().requires_grad_(True)
    traced = ForwardModel(model.scene, model.layout, TorchKernels())
    expected = traced.intensity(leaf, problem.state.spectra, traced.batch(everything(model), problem.state.moved))
    direct = (expected[:, kept] - data.patterns[:, kept]).square().sum() / data.mean**2
    (gradient,) = torch.autograd.grad(direct, leaf)
    assert value == pytest.approx(float(direct.detach()), rel=1e-12)
    torch.testing.assert_close(gradients[0], gradient, rtol=1e-10, atol=1e-9)
    assert plain.loss(problem.state)[1] > problem.loss(problem.state)[1] * (1 + 1e-6)  # something is expected there
