from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.penalties import penalised, penalty, proximal
from tests.objectives.ptychography.scenes import all_values, lens, objective, thick

OPTIONS = SolverOptions.from_values(all_values(lens(), {}))
WEIGHTS = {
    "smoothness": {"smoothness": 0.7},
    "sparsity": {"sparsity": 0.2},
    "slice smoothness": {"slice_smoothness": 1.3},
}
each = pytest.mark.parametrize("weights", [*WEIGHTS.values(), {k: v for w in WEIGHTS.values() for k, v in w.items()}])
alone = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)


def random_object(seed: int = 0, shape: tuple[int, int, int] = (3, 8, 7)) -> Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@each
def test_gradient_agrees_with_finite_differences(weights: dict[str, float]) -> None:
    options, at = replace(OPTIONS, **weights), random_object()
    _, gradient = penalty(at, options)
    for seed in range(1, 4):
        step, h = random_object(seed), 1e-4

        def along(t: float, step: Tensor = step) -> float:
            return penalty(at + t * step, options)[0]

        difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        assert float((gradient.conj() * step).sum().real) == pytest.approx(difference, rel=1e-6)


def test_penalties_are_the_formulas() -> None:
    o = random_object().numpy()
    steps = np.square(np.abs(np.diff(o, axis=1))).sum() + np.square(np.abs(np.diff(o, axis=2))).sum()
    assert penalty(torch.as_tensor(o), replace(OPTIONS, smoothness=0.7))[0] == pytest.approx(0.7 * steps)
    between = np.square(np.abs(np.diff(o, axis=0))).sum()
    assert penalty(torch.as_tensor(o), replace(OPTIONS, slice_smoothness=1.3))[0] == pytest.approx(1.3 * between)
    # rounded off below 0.01
    value = penalty(torch.as_tensor(o), replace(OPTIONS, sparsity=0.2))[0]
    assert value == pytest.approx(0.2 * np.abs(o - 1).sum(), rel=0.02)
    assert penalty(torch.ones(1, 4, 4, dtype=torch.complex128), replace(OPTIONS, sparsity=0.2))[0] == 0


@alone
def test_proximal_is_the_minimiser(weights: dict[str, float]) -> None:
    """Of half the squared distance and the penalty (with sharp corners, and edges that wrap around)."""
    options, at = replace(OPTIONS, **weights), random_object()
    nearest = proximal(at, options, 1.0)

    def objective_at(x: Tensor) -> float:
        value = 0.5 * float((x - at).abs().square().sum())
        value += options.sparsity * float((x - 1).abs().sum())
        value += options.slice_smoothness * float(x.diff(dim=0).abs().square().sum())
        for axis in (1, 2):
            value += options.smoothness * float((x.roll(-1, axis) - x).abs().square().sum())
        return value

    least = objective_at(nearest)
    assert least < objective_at(at)
    for seed in range(40):
        for size in (1e-1, 1e-3, 1e-5):
            assert objective_at(nearest + size * random_object(seed)) > least
    if not options.sparsity:
        # Smooth: the slope vanishes in every direction.
        for seed in range(5):
            step = 1e-4 * random_object(seed)
            assert abs(objective_at(nearest + step) - objective_at(nearest - step)) < 1e-11 * least


def test_proximal_of_sparsity_sets_to_vacuum_what_is_near_it() -> None:
    at = torch.tensor([[[1.05, 1 + 0.1j, 0.2]]], dtype=torch.complex128)
    nearest = proximal(at, replace(OPTIONS, sparsity=0.4), 0.5)
    torch.testing.assert_close(nearest, torch.tensor([[[1.0, 1.0, 0.4]]], dtype=torch.complex128))


def test_without_weights_nothing_happens() -> None:
    at = random_object()
    assert not penalised(OPTIONS) and torch.equal(proximal(at, OPTIONS, 1.0), at)
    value, gradient = penalty(at, OPTIONS)
    assert value == 0 and not gradient.any()
    assert all(penalised(replace(OPTIONS, **weights)) for weights in WEIGHTS.values())


SOLVERS = pytest.mark.parametrize("solver", ["lbfgs", "lsqml", "epie", "rpie", "adam"])


@SOLVERS
def test_weights_act_in_every_solver(solver: str) -> None:
    """A smoother, a sparser object, and slices more alike."""
    slices = {"slices": 3, "thickness": 90.0}
    values = {"solver": solver, "iterations": 8, "batch_size": 5, **slices}
    sizes = {}
    for name, weights in {"none": {}, **WEIGHTS}.items():
        evaluation = objective(thick()).evaluate({**values, **weights}, metric="consistency", seed=0)
        o = evaluation.arrays["object"]
        sizes[name] = {
            "smoothness": float(sum(np.square(np.abs(np.diff(o, axis=a))).sum() for a in (1, 2))),
            "sparsity": float(np.abs(o - 1).sum()),
            "slice smoothness": float(np.square(np.abs(np.diff(o, axis=0))).sum()),
        }
    for name in WEIGHTS:
        assert sizes[name][name] < 0.9 * sizes["none"][name], (name, sizes)
