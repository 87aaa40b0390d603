from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Value
from objectives.ptychography.solvers.modes import orthogonal, start_modes
from tests.objectives.ptychography.model.test_forward import everything, some_object
from tests.objectives.ptychography.scenes import mixed, model_of, objective, random_modes

PRECISIONS = pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=["single", "double"])


def overlaps(modes: torch.Tensor) -> torch.Tensor:
    flat = modes.reshape(len(modes), -1)
    return flat.conj() @ flat.T


@PRECISIONS
@pytest.mark.parametrize("modes", [2, 5])
def test_orthogonal_modes_are_the_same_mixed_state(modes: int, dtype: torch.dtype) -> None:
    model = model_of(mixed(), {})
    before = random_modes((24, 24), np.random.default_rng(3), modes).to(dtype)
    before[1] = before[0] + 0.3 * before[1]  # strongly overlapping
    after = orthogonal(before)
    batch, transmission = model.batch(everything(model)), some_object(model)
    intensity = [model.intensity(transmission, s.to(torch.complex128), batch) for s in (before, after)]
    precision = 1e-5 if dtype == torch.complex64 else 1e-12
    torch.testing.assert_close(intensity[1], intensity[0], rtol=0, atol=precision * float(intensity[0].max()))
    gram = overlaps(after)
    power = gram.diagonal().real
    assert (power.diff() <= 0).all()
    assert float((gram - torch.diag(gram.diagonal())).abs().max()) < precision * float(power.sum())
    # The strongest is as strong as one mode of this mixture can be.
    assert float(power[0]) == pytest.approx(float(torch.linalg.eigvalsh(overlaps(before))[-1]), rel=1e-5)
    assert after.is_contiguous() and after.dtype == dtype


@PRECISIONS
@pytest.mark.parametrize("modes", [1, 2, 4, 6])
def test_start_is_orthogonal_with_the_stated_powers(modes: int, dtype: torch.dtype) -> None:
    spectrum = random_modes((24, 20), np.random.default_rng(4))[0].to(dtype)
    modes_at_start = start_modes(spectrum, modes)
    assert modes_at_start.shape == (modes, 24, 20) and modes_at_start.dtype == dtype
    whole = float(spectrum.abs().square().sum())
    gram = overlaps(modes_at_start)
    expected = torch.diag(torch.tensor([1 - 0.03 * (modes - 1)] + [0.03] * (modes - 1), dtype=torch.float64)) * whole
    precision = 1e-5 if dtype == torch.complex64 else 1e-12
    torch.testing.assert_close(gram.real.to(torch.float64), expected, rtol=0, atol=precision * whole)
    assert float(gram.imag.abs().max()) < precision * whole
    aligned = torch.vdot(modes_at_start[0].reshape(-1), spectrum.reshape(-1)).abs() ** 2
    assert float(aligned) == pytest.approx(float(gram[0, 0].real) * whole, rel=1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "lsqml", "rpie", "adam"])
def test_two_modes_explain_what_one_cannot(solver: str) -> None:
    problem = objective(mixed())
    values = {"solver": solver, "iterations": 150, "batch_size": 5}
    if solver in ("lsqml", "rpie"):
        values |= {"object_step": 1.0, "probe_step": 1.0}
    if solver == "adam":
        values |= {"probe_learning_rate": 0.1}
    one, two = (problem.evaluate({**values, "probe_modes": modes}, metric="consistency", seed=0) for modes in (1, 2))
    ceiling = problem.metrics()[0].noise_ceiling
    assert ceiling is not None
    # More than half of what was missing to the ceiling is explained, with about the true share of the counts.
    missing = [ceiling - evaluation.metrics["consistency"] for evaluation in (one, two)]
    assert missing[1] < 0.5 * missing[0], missing
    assert two.arrays["probe"].shape == (2, 24, 24)
    power = np.square(np.abs(two.arrays["probe"])).sum(axis=(1, 2))
    assert power[1] / power.sum() == pytest.approx(0.3, abs=0.12), power / power.sum()


def test_modes_of_a_file_start_as_they_are() -> None:
    given = random_modes((24, 20), np.random.default_rng(4), 2)
    assert torch.equal(start_modes(given, 2), given)
    four = start_modes(given, 4)
    power = overlaps(four).diagonal().real / overlaps(given).diagonal().real.sum()
    torch.testing.assert_close(power[2:], torch.full((2,), 0.03, dtype=torch.float64))
    assert float(power.sum()) == pytest.approx(1)
    for before, after in zip(given, four[:2], strict=True):
        torch.testing.assert_close(after, before * np.sqrt(0.94), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("values", [{"probe": "fixed"}, {"probe": "refined", "probe_modes": 2, "probe_start": 9}])
def test_a_probe_of_several_modes_explains_from_the_start_what_one_does_not(values: dict[str, Value]) -> None:
    m = mixed()
    assert m.probe is not None
    rows = np.mgrid[:24, :24][0] - 12
    second = m.probe * rows
    second *= np.sqrt(0.3 / 0.7) * np.linalg.norm(m.probe) / np.linalg.norm(second)
    stored = replace(m, probe=np.stack([m.probe, second]).astype(np.complex64))
    one, two = (objective(of).evaluate({**values, "iterations": 9}, metric="consistency", seed=0) for of in (m, stored))
    assert two.arrays["probe"].shape == (2, 24, 24)
    power = np.square(np.abs(two.arrays["probe"])).sum(axis=(1, 2))
    assert power[1] / power.sum() == pytest.approx(0.3, abs=1e-3)
    assert 1 - two.metrics["consistency"] < 0.6 * (1 - one.metrics["consistency"])
    assert stored.content_hash != m.content_hash
