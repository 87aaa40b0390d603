"""dC/dtheta at a fixed reconstruction against differences of the forward model at that reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.data.measurement import Measurement
from objectives.ptychography import forward
from objectives.ptychography.forward import ForwardModel, Layout
from objectives.ptychography.frozen import frozen_gradient, frozen_metrics
from objectives.ptychography.lbfgs import State
from objectives.ptychography.parameters import parameters_of
from objectives.ptychography.scene import Scene, build_scene
from tests.objectives.ptychography.scenes import free, lens, near, scalars, scene_of, smooth, specimen
from tests.objectives.ptychography.test_forward import LENS_VALUES, NEAR_VALUES, SCAN_VALUES

ProbeAt = Callable[[Scene], Tensor] | None


class Frozen:
    """A reconstruction that fits nothing, patterns with a mask, and everything needed to move its parameters."""

    def __init__(self, measurement: Measurement, values: Mapping[str, float], probe_at: ProbeAt) -> None:
        random = np.random.default_rng(4)
        self._measurement = measurement
        self._held = scalars(measurement, values)
        self._probe_at = probe_at
        self.names = [p.name for p in parameters_of(measurement) if p.differentiable]
        ranges = {p.name: (p.low, p.high) for p in parameters_of(measurement)}
        self.widths = {name: ranges[name][1] - ranges[name][0] for name in self.names}  # type: ignore[operator]
        scene = scene_of(measurement, values)
        n = measurement.valid.shape
        self.layout = Layout.of(scene.positions, n)  # type: ignore[arg-type]
        probe = torch.as_tensor(smooth(n, 1.5, random) + 1j * smooth(n, 1.5, random))  # type: ignore[arg-type]
        self.state = State(specimen(self.layout.object_shape, random), probe if probe_at is None else probe_at(scene))
        self.valid = torch.ones(n, dtype=torch.float64)
        self.valid[3, 4] = 0.0
        everything = torch.arange(len(measurement.patterns))
        other = specimen(self.layout.object_shape, random)
        model = ForwardModel(
            scene_of(measurement, {**values, "scan_rotation": values["scan_rotation"] + 1}), self.layout
        )
        self.patterns = model.intensity(other, self.state.probe, everything) * self.valid

    def scene_at(self, vector: Tensor) -> Scene:
        return build_scene(self._measurement, {**self._held, **dict(zip(self.names, vector, strict=True))})

    @property
    def theta(self) -> Tensor:
        return torch.stack([self._held[name] for name in self.names])

    def gradient(self, metric: str) -> dict[str, float]:
        slopes = frozen_gradient(
            self.scene_at,
            self.theta,
            self.layout,
            self.patterns,
            self.valid,
            self.state,
            metric,
            probe_at=self._probe_at,
        )
        return dict(zip(self.names, slopes, strict=True))

    def metric_at(self, metric: str, name: str, step: float) -> float:
        theta = self.theta
        theta[self.names.index(name)] += step
        scene = self.scene_at(theta)
        probe = self.state.probe if self._probe_at is None else self._probe_at(scene)
        model = ForwardModel(scene, self.layout)
        # The layout is held: a position that crosses half a pixel must keep its window.
        whole = self.scene_at(self.theta).positions.round()
        model._fraction = scene.positions - whole
        return frozen_metrics(model, self.patterns, self.valid, State(self.state.flat_object, probe))[metric]


def of_the_lens(scene: Scene) -> Tensor:
    assert scene.probe is not None
    return 1.7 * scene.probe


def of_the_detector(scene: Scene) -> Tensor:
    """A probe that depends on the propagator, as one found from the data does."""
    assert scene.propagator is not None
    plane = torch.exp(-(torch.linspace(-2, 2, 24, dtype=torch.float64) ** 2))
    return torch.fft.ifft2(torch.fft.fft2(torch.outer(plane, plane)) * scene.propagator.conj())


CASES = {
    "lens": (lens, LENS_VALUES, of_the_lens),
    "lens, refined probe": (lens, LENS_VALUES, None),
    "free": (free, SCAN_VALUES, None),
    "near, refined probe": (near, NEAR_VALUES, None),
    "near, fixed probe": (near, NEAR_VALUES, of_the_detector),
}


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_agrees_with_finite_differences(case: str, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, values, probe_at = CASES[case]
    frozen = Frozen(measured(), values, probe_at)
    gradient = frozen.gradient(metric)
    assert set(gradient) == set(frozen.names)
    largest = max(abs(gradient[name]) * frozen.widths[name] for name in gradient)
    moved = 0
    for name, slope in gradient.items():
        h = 2e-5 * frozen.widths[name]
        ahead, back, far_ahead, far_back = (frozen.metric_at(metric, name, s * h) for s in (1, -1, 2, -2))
        difference = (8 * (ahead - back) - (far_ahead - far_back)) / (12 * h)
        error = abs(slope - difference)
        assert error <= 1e-5 * abs(difference) + 1e-8 * largest / frozen.widths[name], (name, slope, difference)
        moved += slope != 0
    acts = {"lens, refined probe": len(gradient) - 7}.get(case, len(gradient))
    assert moved == acts
    monkeypatch.setattr(forward, "_PIXELS_PER_BATCH", 4 * 24 * 24)
    for name, slope in frozen.gradient(metric).items():
        assert slope == pytest.approx(gradient[name], rel=1e-9, abs=1e-14)


def test_metrics_are_those_of_all_patterns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = Frozen(lens(), LENS_VALUES, of_the_lens)
    model = ForwardModel(frozen.scene_at(frozen.theta), frozen.layout)
    expected = model.intensity(frozen.state.flat_object, frozen.state.probe, torch.arange(25)) * frozen.valid
    y, hx = frozen.patterns.numpy(), expected.numpy()
    monkeypatch.setattr(forward, "_PIXELS_PER_BATCH", 7 * 24 * 24)
    metrics = frozen_metrics(model, frozen.patterns, frozen.valid, frozen.state)
    assert metrics["consistency"] == pytest.approx(1 - np.linalg.norm(y - hx) / np.linalg.norm(y), rel=1e-12)
    amplitude = 1 - np.linalg.norm(np.sqrt(y) - np.sqrt(hx)) / np.linalg.norm(np.sqrt(y))
    assert metrics["amplitude_consistency"] == pytest.approx(amplitude, rel=1e-12)
