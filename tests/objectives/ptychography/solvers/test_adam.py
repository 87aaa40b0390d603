from __future__ import annotations

import math

import pytest
import torch

from objectives.ptychography.solvers.algorithms.adam import _BETAS, Moments


def written_out(gradients: list[complex]) -> list[complex]:
    """Adam's directions for one variable, as Kingma and Ba state them, with |g|^2 for the second moment."""
    first, second, steps = 0j, 0.0, []
    for count, gradient in enumerate(gradients, 1):
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * abs(gradient) ** 2
        steps.append((first / (1 - _BETAS[0] ** count)) / math.sqrt(second / (1 - _BETAS[1] ** count)))
    return steps


def test_directions_are_those_of_the_paper() -> None:
    gradients = torch.randn(30, 3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    moments = Moments(gradients[0], 0.0)
    got = torch.stack([moments.direction(gradient) for gradient in gradients])
    for y in range(3):
        for x in range(4):
            expected = written_out(gradients[:, y, x].tolist())
            assert got[:, y, x].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_real_variable_has_the_steps_of_torch() -> None:
    random = torch.Generator().manual_seed(1)
    variable = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    theirs = torch.optim.Adam([variable], lr=0.1, betas=_BETAS, eps=0.0)
    ours, moments = torch.zeros(5, dtype=torch.float64), Moments(variable.detach(), 0.0)
    for _ in range(20):
        gradient = torch.randn(5, dtype=torch.float64, generator=random)
        variable.grad = gradient
        theirs.step()
        ours -= 0.1 * moments.direction(gradient)
        torch.testing.assert_close(ours, variable.detach(), rtol=1e-12, atol=1e-14)


def test_a_pixel_knows_only_the_updates_of_its_own() -> None:
    """Updates of other boxes neither fade its moments nor count as its own."""
    random = torch.Generator().manual_seed(2)
    left, right = (slice(0, 2), slice(0, 3)), (slice(0, 2), slice(3, 6))
    together, alone = Moments(torch.zeros(2, 6) + 0j, 1e-8), Moments(torch.zeros(2, 3) + 0j, 1e-8)
    for _ in range(4):
        gradient = torch.randn(2, 3, dtype=torch.complex64, generator=random)
        together.direction(torch.randn(2, 3, dtype=torch.complex64, generator=random), right)
        assert torch.equal(together.direction(gradient, left), alone.direction(gradient))


def test_without_a_gradient_there_is_no_step() -> None:
    moments = Moments(torch.zeros(2, 2), 1e-8)
    for _ in range(2):
        assert torch.equal(moments.direction(torch.zeros(2, 2)), torch.zeros(2, 2))
