"""The path of accelerators: plain torch operations, here always on the CPU, and on CUDA where there is a device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autotune.objective import Evaluation, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.evaluation import reconstruction as module
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.kernels.plain import TorchKernels
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.parameters.solver import SOLVERS
from tests.objectives.ptychography.scenes import SINGLE, TRUTH, free, lens, near

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
SHORT: dict[str, Value] = {"iterations": 4}
REFINED: dict[str, Value] = {"probe": "refined", "probe_start": 1, "probe_modes": 2, "slices": 2, "thickness": 20.0}
REFINED |= {"position_step": 0.3, "position_start": 1, "smoothness": 1e-3, "sparsity": 1e-4, "slice_smoothness": 1e-3}
CASES: list[tuple[str, Measurement, dict[str, Value]]] = [
    ("lens", lens(), dict(TRUTH)),
    ("free", free(), {"scan_rotation": 3.0}),
    ("near", near(), {"focus_to_sample": 4.0}),
    ("thick, mixed, moving", lens(), {**TRUTH, **REFINED}),
    ("less data", lens(), {**TRUTH, "scan_fraction": 0.5, "detector_binning": 2}),
]
each = pytest.mark.parametrize(("measured", "values"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


def evaluated(measurement: Measurement, values: dict[str, Value], machine: Machine) -> Evaluation:
    return PtychographyObjective(measurement, machine).evaluate({**values, **SHORT}, metric="consistency", seed=3)


def assert_close(one: Evaluation, other: Evaluation, tolerance: float) -> None:
    assert one.metrics["consistency"] == pytest.approx(other.metrics["consistency"], abs=tolerance)
    np.testing.assert_allclose(one.curve["consistency"], other.curve["consistency"], atol=tolerance)
    expected = other.arrays["pattern_modelled"]
    np.testing.assert_allclose(one.arrays["pattern_modelled"], expected, atol=30 * tolerance * expected.max())
    largest = max((abs(slope) for slope in other.gradient.values()), default=0.0)
    assert one.gradient.keys() == other.gradient.keys()
    for name, slope in other.gradient.items():
        assert one.gradient[name] == pytest.approx(slope, rel=1e3 * tolerance, abs=1e2 * tolerance * largest), name


@each
@pytest.mark.parametrize("solver", SOLVERS)
def test_plain_operations_give_the_same_reconstruction(
    measured: Measurement, values: dict[str, Value], solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = evaluated(measured, {**values, "solver": solver}, replace(SINGLE, real=torch.float64))
    monkeypatch.setattr(module, "kernels_for", lambda device: TorchKernels())
    plain = evaluated(measured, {**values, "solver": solver}, replace(SINGLE, real=torch.float64))
    assert_close(plain, fused, 1e-7)


@CUDA
@each
@pytest.mark.parametrize("solver", SOLVERS)
def test_cuda_gives_the_same_reconstruction(measured: Measurement, values: dict[str, Value], solver: str) -> None:
    """To the accuracy of single precision; Adam divides by gradients that may be rounding alone."""
    there = evaluated(measured, {**values, "solver": solver}, Machine(torch.device("cuda"), torch.float32))
    here = evaluated(measured, {**values, "solver": solver}, SINGLE)
    assert_close(there, here, 1e-3 if solver == "adam" else 1e-4)


@CUDA
def test_cuda_twice_the_same() -> None:
    machine = Machine(torch.device("cuda"), torch.float32)
    one, other = (evaluated(lens(), {**TRUTH, "solver": "lsqml"}, machine) for _ in range(2))
    assert dict(one.metrics) == dict(other.metrics)
