"""The fused kernels compute what plain torch operations do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.kernels.fused import FusedKernels
from objectives.ptychography.model.kernels.plain import TorchKernels
from objectives.ptychography.model.kernels.protocol import Kernels, Loss
from objectives.ptychography.model.response import Response

PLAIN, FUSED = TorchKernels(), FusedKernels()
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
SCORED: tuple[Loss, ...] = ("intensity", "amplitude")
precision = pytest.mark.parametrize("real", [torch.float32, torch.float64], ids=["float32", "float64"])


@dataclass(frozen=True)
class Case:
    """Random input of a batch."""

    waves: Tensor
    others: Tensor
    spectra: Tensor
    transmission: Tensor
    direction: Tensor
    corners: Tensor
    ramp_y: Tensor
    ramp_x: Tensor
    patterns: Tensor
    indices: Tensor
    valid: Tensor
    mask_of: Tensor
    weights: Tensor
    box: tuple[int, int, int, int]


def case(real: torch.dtype, shape: tuple[int, int, int, int] = (5, 2, 9, 12), seed: int = 0) -> Case:
    random = torch.Generator().manual_seed(seed)
    batch, modes, rows, columns = shape
    grid = (rows + 4, columns + 7)

    def field(*size: int) -> Tensor:
        return torch.randn(
            *size, dtype=torch.complex128 if real == torch.float64 else torch.complex64, generator=random
        )

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, dtype=real, generator=random)

    corners = torch.stack([torch.randint(0, n, (batch,), generator=random) for n in (5, 8)], dim=1)
    low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
    return Case(
        field(*shape),
        field(*shape),
        field(modes, rows, columns),
        field(*grid),
        field(*grid),
        corners,
        torch.polar(torch.ones(batch, rows, dtype=real), 6 * uniform(batch, rows)),
        torch.polar(torch.ones(batch, columns, dtype=real), 6 * uniform(batch, columns)),
        torch.poisson(3 * torch.rand(batch + 2, rows, columns, generator=random), generator=random),
        torch.randperm(batch + 2, generator=random)[:batch],
        (uniform(3, rows, columns) > 0.1).to(real),
        torch.randint(0, 3, (batch + 2,), generator=random),
        uniform(batch) - 0.2,
        (low[0], high[0] + rows, low[1], high[1] + columns),
    )


REACHES = {1: 0.1, 2: 0.5, 3: 0.7, 7: 1.6}
"""How far pixels share their counts, and a blur that makes it so."""


def response_of(reach: int, real: torch.dtype) -> Response:
    """The response of pixels that share their counts up to a distance of ``reach``."""
    response = Response.of(torch.tensor(REACHES[reach], dtype=real), 0.9)
    assert response is not None and len(response.taps) == len(response.slopes) == reach + 1
    return response


def results(kernels: Kernels, c: Case) -> dict[str, Any]:
    """What every method makes of one input."""
    of_object, received, of_probe = (torch.ones_like(a) for a in (c.transmission, c.transmission.real, c.spectra))
    kernels.add_product(c.waves, c.others, c.corners, of_object)
    kernels.add_illumination(c.waves, c.weights, c.corners, received)
    kernels.add_unshifted(c.waves, c.ramp_y, c.ramp_x, of_probe)
    updated, gradient = c.transmission.clone(), c.direction.clone()
    illumination = torch.ones_like(received)
    kernels.add_illumination(c.waves, torch.ones_like(c.weights), c.corners, illumination)
    kernels.update_object(updated, gradient, illumination, c.box, -0.7, 0.05)
    steps = {
        name: kernels.best_steps(c.waves, c.transmission, c.corners, c.direction, probe, c.others, 0.1)
        for name, probe in (("steps with probe", c.others.flip(0).contiguous()), ("steps without probe", None))
    }
    pulled, received_too = c.others.clone(), torch.ones_like(received)
    of_slice = torch.ones_like(of_object)
    kernels.pull_back(c.waves, pulled, c.transmission, c.corners, of_slice, received_too)
    only_pulled, of_slice_only = c.others.clone(), torch.ones_like(of_object)
    kernels.pull_back(c.waves, only_pulled, c.transmission, c.corners, of_slice_only, None)
    direction, unused = torch.zeros_like(c.direction), c.direction.clone()
    summed = torch.ones_like(received)
    kernels.add_illumination(c.waves, torch.ones_like(c.weights), c.corners, summed)
    kernels.object_direction(unused, summed, c.box, 0.05, direction)
    applied, weighted = c.transmission.clone(), received.clone()
    kernels.apply_direction(applied, direction, weighted, summed, c.box, -0.7)
    outputs: dict[str, Any] = {
        "shift": kernels.shift(c.spectra, c.ramp_y, c.ramp_x),
        "shift waves": kernels.shift(c.waves, c.ramp_y, c.ramp_x),
        "transmit": kernels.transmit(c.waves, c.transmission, c.corners),
        "transmit_back": kernels.transmit_back(c.waves, c.transmission, c.corners),
        "add_product": of_object,
        "add_illumination": received,
        "add_unshifted": of_probe,
        "shift_slopes": kernels.shift_slopes(c.waves, c.spectra, c.ramp_y, c.ramp_x),
        "updated": updated,
        "gradient": gradient,
        "illumination": illumination,
        **steps,
        "pulled": pulled,
        "pulled only": only_pulled,
        "pulled gradient": of_slice,
        "pulled gradient only": of_slice_only,
        "pulled illumination": received_too,
        "direction": direction,
        "gradient used": unused,
        "applied": applied,
        "weights used": weighted,
        "illumination used": summed,
    }
    for loss in get_args(Loss):
        waves = c.waves.clone()
        sums = kernels.residual(waves, c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01, loss)
        outputs |= {f"{loss} waves": waves, f"{loss} sums": torch.tensor(sums, dtype=torch.float64)}
    for loss in SCORED:
        waves = c.waves.clone()
        scores = kernels.score(waves, c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01, loss)
        outputs |= {f"{loss} scored waves": waves, f"{loss} scores": torch.tensor(scores, dtype=torch.float64)}
    for reach in REACHES:
        outputs |= filtered(kernels, c, response_of(reach, c.weights.dtype), f"reach {reach}")
    return outputs


def filtered(kernels: Kernels, c: Case, response: Response, name: str) -> dict[str, Tensor]:
    """What the comparisons make of waves that the detector's response filters."""
    numbers = (c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01)
    outputs = {}
    for loss in get_args(Loss):
        waves = c.waves.clone()
        sums = kernels.residual(waves, *numbers, loss, response)
        outputs |= {f"{name} {loss} waves": waves, f"{name} {loss} sums": torch.tensor(sums, dtype=torch.float64)}
    for loss in SCORED:
        waves = c.waves.clone()
        scores = torch.tensor(kernels.score(waves, *numbers, loss, response), dtype=torch.float64)
        # The slope by the blur is a sum that may cancel.
        cancels = {f"{name} {loss} by blur": scores[3:]}
        outputs |= {f"{name} {loss} scored waves": waves, f"{name} {loss} scores": scores[:3], **cancels}
    return outputs


def assert_equal(c: Case, real: torch.dtype) -> None:
    plain, fused = results(PLAIN, c), results(FUSED, c)
    for name, expected in plain.items():
        scale = float(expected.abs().max())
        assert fused[name].dtype == expected.dtype and fused[name].shape == expected.shape, name
        error = float((fused[name] - expected).abs().max())
        # Inner products may cancel: their error is that of their terms, which are about 1.
        terms = 1.0 if name.startswith("shift_slopes") or "steps" in name else 1e-30
        terms = 1.0 + float(c.patterns.square().sum()) if name.endswith("by blur") else terms
        assert error <= TOLERANCE[real] * max(scale, terms), (name, error, scale)


@precision
@pytest.mark.parametrize("shape", [(5, 2, 9, 12), (1, 1, 16, 16), (1, 3, 7, 7), (4, 1, 30, 21), (2, 2, 1, 40)])
def test_fused_is_plain(real: torch.dtype, shape: tuple[int, int, int, int]) -> None:
    assert_equal(case(real, shape), real)


@precision
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 33), st.integers(1, 33)),
    seed=st.integers(0, 1000),
)
def test_fused_is_plain_whatever_the_shape(real: torch.dtype, shape: tuple[int, int, int, int], seed: int) -> None:
    assert_equal(case(real, shape, seed), real)


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_residual_is_the_sum_written_out(kernels: Kernels, loss: Loss) -> None:
    c = case(torch.float64)
    waves = c.waves.clone()
    value, squared = kernels.residual(waves, c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01, loss)
    expected_value = expected_squared = 0.0
    for b in range(5):
        for i in range(9):
            for j in range(12):
                if not c.valid[c.mask_of[c.indices[b]], i, j]:
                    assert (waves[b, :, i, j] == 0).all()
                    continue
                model = 0.3 + 0.7 * sum(abs(complex(c.waves[b, m, i, j])) ** 2 for m in range(2))
                y = float(c.patterns[c.indices[b], i, j])
                expected_squared += (model - y) ** 2
                floored = model + 0.01
                if loss == "intensity":
                    of_pixel, slope = (model - y) ** 2, 2 * (model - y)
                elif loss == "amplitude":
                    of_pixel, slope = (math.sqrt(floored) - math.sqrt(y)) ** 2, 1 - math.sqrt(y / floored)
                else:
                    of_pixel, slope = floored - y * math.log(floored), 1 - y / floored
                expected_value += of_pixel
                torch.testing.assert_close(waves[b, :, i, j], c.waves[b, :, i, j] * (0.7 * slope))
    assert (value, squared) == (pytest.approx(expected_value, rel=1e-12), pytest.approx(expected_squared, rel=1e-12))


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("loss", SCORED)
def test_score_is_the_residual_of_both_losses(kernels: Kernels, loss: Loss) -> None:
    c = case(torch.float64)
    numbers = (c.patterns, c.indices, c.valid, c.mask_of, 0.7, 0.3, 0.01)
    expected, other, waves = c.waves.clone(), c.waves.clone(), c.waves.clone()
    _, squared = kernels.residual(expected, *numbers, loss)
    amplitude, _ = kernels.residual(other, *numbers, "amplitude")
    score = kernels.score(waves, *numbers, loss)
    torch.testing.assert_close(waves, expected, rtol=1e-12, atol=1e-14)
    # What every expected count less would change: dL/dI of every pixel, from the waves that it multiplied.
    slopes = float((waves[:, 0] / c.waves[:, 0]).real.sum()) / 0.7
    assert score == pytest.approx((squared, amplitude, slopes, 0.0), rel=1e-10)


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
def test_amplitude_has_no_slope_where_nothing_is_expected(kernels: Kernels) -> None:
    c = case(torch.float32)
    waves = c.waves.clone()
    waves[:, :, 2, 3] = 0
    numbers = (c.patterns, c.indices, torch.ones_like(c.valid), c.mask_of, 0.7, 0.0, 1e-30)
    patterns = c.patterns[c.indices]
    with_slope = kernels.score(waves, *numbers, "amplitude")
    assert patterns[:, 2, 3].max() > 0 and abs(with_slope[2]) < 1e6 and (waves[:, :, 2, 3] == 0).all()


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@precision
@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(kernels: Kernels, real: torch.dtype, loss: Loss, bad: float) -> None:
    """A diverged reconstruction is recognised by its residual, so no step may hide NaN or infinity."""
    c = case(real)
    waves = c.waves.clone()
    where = tuple(c.valid[c.mask_of[c.indices[3]]].nonzero()[5].tolist())
    waves[(3, 1, *where)] = bad
    _, squared = kernels.residual(waves, c.patterns, c.indices, c.valid, c.mask_of, 1.0, 0.0, 0.01, loss)
    assert not math.isfinite(squared)
    if math.isnan(bad):
        assert torch.isnan(waves[(3, 1, *where)].abs())


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@precision
@pytest.mark.parametrize("loss", get_args(Loss))
def test_one_mask_for_all_is_that_mask_for_each(kernels: Kernels, real: torch.dtype, loss: Loss) -> None:
    c = case(real)
    outputs = []
    for valid, mask_of in ((c.valid[1:2], torch.zeros_like(c.mask_of)), (c.valid, torch.ones_like(c.mask_of))):
        waves = c.waves.clone()
        sums = kernels.residual(waves, c.patterns, c.indices, valid, mask_of, 0.7, 0.3, 0.01, loss)
        outputs.append((sums, waves))
    assert outputs[0][0] == outputs[1][0] and torch.equal(outputs[0][1], outputs[1][1])


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_a_pattern_that_is_withheld_wants_nothing(kernels: Kernels, loss: Loss) -> None:
    c = case(torch.float64)
    valid = torch.stack([torch.ones_like(c.valid[0]), torch.zeros_like(c.valid[0])])
    mask_of = torch.zeros_like(c.mask_of)
    mask_of[c.indices[2]] = 1
    waves, others = c.waves.clone(), c.waves[[0, 1, 3, 4]].clone()
    numbers = (valid, mask_of, 0.7, 0.3, 0.01, loss)
    sums = kernels.residual(waves, c.patterns, c.indices, *numbers)
    kept = kernels.residual(others, c.patterns, c.indices[[0, 1, 3, 4]], *numbers)
    assert sums == pytest.approx(kept, rel=1e-12)
    assert (waves[2] == 0).all() and torch.equal(waves[[0, 1, 3, 4]], others)


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
def test_adjoints(kernels: Kernels) -> None:
    """<A x, y> = <x, A* y> for the shift, and for transmission by wave and by object."""
    c = case(torch.float64)

    def inner(one: Tensor, other: Tensor) -> complex:
        return complex(torch.vdot(one.reshape(-1), other.reshape(-1)))

    back = torch.zeros_like(c.spectra)
    kernels.add_unshifted(c.others, c.ramp_y, c.ramp_x, back)
    assert inner(c.others, kernels.shift(c.spectra, c.ramp_y, c.ramp_x)) == pytest.approx(inner(back, c.spectra))
    sent = kernels.transmit(c.waves, c.transmission, c.corners)
    returned = kernels.transmit_back(c.others, c.transmission, c.corners)
    assert inner(c.others, sent) == pytest.approx(inner(returned, c.waves))
    total = torch.zeros_like(c.transmission)
    kernels.add_product(c.waves, c.others, c.corners, total)
    assert inner(c.others, sent) == pytest.approx(inner(total, c.transmission))


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
def test_object_outside_the_box_is_left_alone(kernels: Kernels) -> None:
    c = case(torch.float64)
    transmission, gradient = c.transmission.clone(), torch.ones_like(c.transmission)
    received = torch.full_like(c.transmission.real, 2.0)
    received[4, 5] = 8.0
    kernels.update_object(transmission, gradient, received, (2, 6, 3, 9), 0.5, 0.25)
    inside = torch.zeros_like(received, dtype=torch.bool)
    inside[2:6, 3:9] = True
    assert torch.equal(transmission[~inside], c.transmission[~inside])
    assert (gradient[inside] == 0).all() and (received[inside] == 0).all()
    assert (gradient[~inside] == 1).all() and (received[~inside] == 2).all()
    change = (transmission - c.transmission).real
    assert float(change[4, 5]) == pytest.approx(0.5 / 8)
    assert float(change[2, 3]) == pytest.approx(0.5 / (0.75 * 2 + 0.25 * 8))


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("with_probe", [True, False])
def test_best_steps_are_the_least_squares(kernels: Kernels, damping: float, with_probe: bool) -> None:
    c = case(torch.float64)
    probe = c.others.flip(0).contiguous() if with_probe else None
    steps = kernels.best_steps(c.waves, c.transmission, c.corners, c.direction, probe, c.others, damping)
    columns = [PLAIN.transmit(c.waves, c.direction, c.corners)]
    if probe is not None:
        columns.append(PLAIN.transmit(probe, c.transmission, c.corners))
    means = [float(column.abs().square().sum((1, 2, 3)).mean()) for column in columns]
    for b in range(5):
        matrix = torch.stack([torch.view_as_real(column[b]).reshape(-1) for column in columns], dim=1)
        normal = matrix.T @ matrix + damping * torch.diag(torch.tensor(means, dtype=torch.float64))
        expected = torch.linalg.solve(normal, matrix.T @ torch.view_as_real(c.others[b]).reshape(-1))
        torch.testing.assert_close(steps[b, : len(columns)], expected)
    assert with_probe or (steps[:, 1] == 0).all()


@pytest.mark.parametrize("kernels", [PLAIN, FUSED], ids=["plain", "fused"])
def test_pulling_back_is_its_three_parts(kernels: Kernels) -> None:
    c = case(torch.float64)
    leaving, gradient, received = c.others.clone(), torch.zeros_like(c.transmission), torch.zeros_like(c.direction.real)
    kernels.pull_back(c.waves, leaving, c.transmission, c.corners, gradient, received)
    torch.testing.assert_close(leaving, PLAIN.transmit_back(c.others, c.transmission, c.corners))
    expected, illumination = torch.zeros_like(gradient), torch.zeros_like(received)
    for b, (y, x) in enumerate(c.corners.tolist()):
        expected[y : y + 9, x : x + 12] += (c.waves[b].conj() * c.others[b]).sum(0)
        illumination[y : y + 9, x : x + 12] += c.waves[b].abs().square().sum(0)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(received, illumination)


def test_the_processor_gets_the_fused_ones() -> None:
    assert isinstance(kernels_for(torch.device("cpu")), FusedKernels)
    assert isinstance(kernels_for(torch.device("cuda")), TorchKernels)
