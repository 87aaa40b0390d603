"""dC/dtheta at a fixed reconstruction, against differences of the forward model there and automatic differentiation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.diffraction.data.measurement import Measurement
from objectives.ptychography.evaluation.gradient import frozen_gradient, frozen_metrics, frozen_pass
from objectives.ptychography.model.forward import ForwardModel, Layout
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.model.scene import Scene, build_scene
from objectives.ptychography.parameters.instrument import parameters_of
from objectives.ptychography.solvers.state import State
from tests.objectives.ptychography.model.test_forward import LENS_VALUES, NEAR_VALUES, SCAN_VALUES
from tests.objectives.ptychography.scenes import (
    CPU,
    SINGLE,
    free,
    lens,
    misfit_of,
    near,
    random_modes,
    scalars,
    scene_of,
    specimen,
    thick,
    window_of,
)
from tests.objectives.ptychography.traced import traced_gradient

SpectraAt = Callable[[Scene], Tensor] | None


class Frozen:
    """A reconstruction that fits nothing, patterns with a mask, and everything needed to move its parameters."""

    def __init__(self, measurement: Measurement, values: Mapping[str, float], at: SpectraAt, slices: int, modes: int):
        random = np.random.default_rng(4)
        self._measurement, self.machine = measurement, CPU
        self._slices = slices
        self._held = scalars(measurement, values)
        self._spectra_at = at
        known = {p.name: p for p in parameters_of(measurement)}
        depth = {"thickness", "tilt_y", "tilt_x"} if slices == 1 else set()
        self.names = [name for name in self._held if known[name].differentiable and name not in depth]
        self.widths = {name: known[name].high - known[name].low for name in self.names}  # type: ignore[operator]
        scene = scene_of(measurement, values, slices)
        n = measurement.valid.shape
        self.window = window_of(measurement, values)
        self.layout = Layout.of(scene.positions, n, window=self.window)
        spectra = random_modes(self.window, random, modes) if at is None else at(scene)
        moved = 0.2 * torch.as_tensor(random.normal(size=(25, 2)))
        # No position is so near the middle between two pixels that a small step takes it to another one.
        fraction = scene.positions - scene.positions.round()
        moved = torch.where(((fraction + moved).abs() - 0.5).abs() < 0.02, 0.5 * moved, moved)
        self.state = State(specimen(self.layout.object_shape, random, slices), spectra, moved)
        self.valid = torch.ones(n, dtype=torch.float64)
        self.valid[3, 4] = self.valid[12, 11] = 0.0
        other = specimen(self.layout.object_shape, random, slices)
        elsewhere = {**values, "scan_rotation": values["scan_rotation"] + 1}
        model = self.model(scene_of(measurement, elsewhere, slices))
        self.patterns = model.intensity(other, spectra, model.batch(torch.arange(25), moved)) * self.valid

    def model(self, scene: Scene) -> ForwardModel:
        return ForwardModel(scene, self.layout, kernels_for(torch.device("cpu")))

    def misfit(self, scene: Scene) -> Misfit:
        return misfit_of(self.model(scene), self.patterns.to(self.machine.real), self.valid, self.machine)

    def scene_at(self, vector: Tensor) -> Scene:
        values = {**self._held, **dict(zip(self.names, vector, strict=True))}
        return build_scene(self._measurement, values, self._slices, self.window)

    @property
    def theta(self) -> Tensor:
        return torch.stack([self._held[name] for name in self.names])

    def gradient(self, metric: str) -> dict[str, float]:
        frozen = frozen_pass(self.misfit(self.scene_at(self.theta)), self.state, metric)
        theta = self.theta.requires_grad_(True)
        scene = self.scene_at(theta)
        spectra = None if self._spectra_at is None else self._spectra_at(scene)
        slopes = frozen_gradient(theta, scene, spectra, frozen)
        return dict(zip(self.names, slopes, strict=True))

    def traced(self, metric: str) -> dict[str, float]:
        misfit = self.misfit(self.scene_at(self.theta))
        slopes = traced_gradient(self.scene_at, self.theta, misfit, self.state, metric, spectra_at=self._spectra_at)
        return dict(zip(self.names, slopes, strict=True))

    def single(self) -> Frozen:
        """The same in single precision."""
        other = copy.copy(self)
        other._held = {name: value.float() for name, value in self._held.items()}
        state = self.state
        other.state = State(
            state.transmission.to(torch.complex64), state.spectra.to(torch.complex64), state.moved.float()
        )
        other.machine = SINGLE
        return other

    def metric_at(self, metric: str, name: str, step: float) -> float:
        theta = self.theta
        theta[self.names.index(name)] += step
        scene = self.scene_at(theta)
        spectra = self.state.spectra if self._spectra_at is None else self._spectra_at(scene)
        misfit = self.misfit(scene)
        # The layout is held: a position that crosses half a pixel must keep its window.
        misfit.model._fraction = scene.positions - self.scene_at(self.theta).positions.round()
        return frozen_metrics(misfit, State(self.state.transmission, spectra, self.state.moved))[metric]


def of_the_lens(scene: Scene) -> Tensor:
    assert scene.spectrum is not None
    return 1.7 * scene.spectrum[None]


def of_the_detector(scene: Scene) -> Tensor:
    """A probe that depends on the propagator, as one found from the data does."""
    assert scene.propagator is not None
    plane = torch.exp(-(torch.linspace(-2, 2, 24, dtype=torch.float64) ** 2))
    return (torch.fft.fftshift(torch.fft.fft2(torch.outer(plane, plane))) * scene.propagator.conj())[None]


LENS_AT = {**LENS_VALUES, "background": 2e-4}
FREE_AT = {**SCAN_VALUES, "background": 0.1}
NEAR_AT = {**NEAR_VALUES, "background": 0.1}
THICK_AT = {"thickness": 120.0, "tilt_y": 8.0, "tilt_x": -5.0}
CASES = {
    "lens": (lens, LENS_AT, of_the_lens, 1, 1),
    "lens, unpadded": (lens, {**LENS_AT, "window_padding": 1.0}, of_the_lens, 1, 1),
    "lens, refined probe": (lens, {**LENS_VALUES, "background": 0.1}, None, 1, 2),
    "free": (free, FREE_AT, None, 1, 2),
    "near, refined probe": (near, NEAR_AT, None, 1, 1),
    "near, fixed probe": (near, NEAR_AT, of_the_detector, 1, 1),
    "thick": (thick, {**LENS_AT, **THICK_AT}, of_the_lens, 3, 1),
    "thick, refined probe": (thick, {**LENS_VALUES, **THICK_AT, "background": 0.1}, None, 3, 2),
}


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_agrees_with_finite_differences(case: str, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, values, spectra_at, slices, modes = CASES[case]
    frozen = Frozen(measured(), values, spectra_at, slices, modes)
    gradient = frozen.gradient(metric)
    assert set(gradient) == set(frozen.names) >= {"background", "detector_blur"}
    assert (slices > 1) == ({"thickness", "tilt_y", "tilt_x"} <= set(gradient))
    # The background's range is in counts of the measurement, which are not those of this state.
    others = [name for name in gradient if name != "background"]
    largest = max(abs(gradient[name]) * frozen.widths[name] for name in others)
    moved = 0
    for name, slope in gradient.items():
        width = frozen.widths[name] if name != "background" else 10 * values["background"]
        h = 2e-5 * width
        ahead, back, far_ahead, far_back = (frozen.metric_at(metric, name, s * h) for s in (1, -1, 2, -2))
        difference = (8 * (ahead - back) - (far_ahead - far_back)) / (12 * h)
        error = abs(slope - difference)
        assert error <= 1e-5 * abs(difference) + 1e-8 * largest / width, (name, slope, difference)
        moved += slope != 0
    # A refined probe takes the lens's seven parameters over.
    lens_only = 7 if spectra_at is None and measured in (lens, thick) else 0
    # Slices see the detector's centre through their propagator, too.
    seen_between = {"center_offset_y", "center_offset_x"} if slices > 1 else set()
    acts = len(gradient) - lens_only + (len(seen_between) if lens_only else 0)
    assert moved == acts, {name: slope for name, slope in gradient.items() if slope == 0}
    monkeypatch.setattr(type(CPU), "pixels_per_batch", 4 * modes * math.prod(frozen.window))
    for name, slope in frozen.gradient(metric).items():
        assert slope == pytest.approx(gradient[name], rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_agrees_with_automatic_differentiation(case: str, metric: str) -> None:
    measured, values, spectra_at, slices, modes = CASES[case]
    double = Frozen(measured(), values, spectra_at, slices, modes)
    traced, double_slopes, single = double.traced(metric), double.gradient(metric), double.single().gradient(metric)
    largest = max(abs(traced[name]) * double.widths[name] for name in traced)
    for name, slope in traced.items():
        assert double_slopes[name] == pytest.approx(slope, rel=1e-9, abs=1e-12 * largest / double.widths[name]), name
        # The background's slope is a sum over all pixels that cancels to 0.5 % of its terms.
        relative = 3e-4 if name == "background" else 1e-4
        assert single[name] == pytest.approx(slope, rel=relative, abs=1e-5 * largest / double.widths[name]), name


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
@pytest.mark.parametrize(("blur", "fill"), [(0.15, 0.0), (0.3, 1.0), (0.6, 0.7), (1.4, 1.0)])
def test_gradient_of_the_blur(blur: float, fill: float, metric: str) -> None:
    """Against differences and automatic differentiation, for filters of one neighbour to seven."""
    frozen = Frozen(free(), {**FREE_AT, "detector_blur": blur, "pixel_fill": fill}, None, 1, 2)
    slope, h = frozen.gradient(metric)["detector_blur"], 1e-4
    ahead, back, far_ahead, far_back = (frozen.metric_at(metric, "detector_blur", s * h) for s in (1, -1, 2, -2))
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((8 * (ahead - back) - (far_ahead - far_back)) / (12 * h), rel=1e-6)
    assert slope == pytest.approx(frozen.traced(metric)["detector_blur"], rel=1e-9)


@pytest.mark.parametrize("metric", ["consistency", "amplitude_consistency"])
def test_pass_reports_the_metrics_that_a_pass_without_gradient_does(metric: str) -> None:
    frozen = Frozen(lens(), LENS_VALUES, of_the_lens, 1, 1)
    misfit = frozen.misfit(frozen.scene_at(frozen.theta))
    alone = frozen_metrics(misfit, frozen.state)
    assert frozen_pass(misfit, frozen.state, metric).metrics == pytest.approx(alone, rel=1e-12)


def test_metrics_are_those_of_all_patterns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = Frozen(lens(), LENS_VALUES, of_the_lens, 1, 1)
    misfit = frozen.misfit(frozen.scene_at(frozen.theta))
    everything = misfit.model.batch(torch.arange(25), frozen.state.moved)
    expected = misfit.model.intensity(frozen.state.transmission, frozen.state.spectra, everything) * frozen.valid
    y, hx = frozen.patterns.numpy(), expected.numpy()
    monkeypatch.setattr(type(CPU), "pixels_per_batch", 7 * math.prod(frozen.window))
    metrics = frozen_metrics(misfit, frozen.state)
    assert metrics["consistency"] == pytest.approx(1 - np.linalg.norm(y - hx) / np.linalg.norm(y), rel=1e-12)
    amplitude = 1 - np.linalg.norm(np.sqrt(y) - np.sqrt(hx)) / np.linalg.norm(np.sqrt(y))
    assert metrics["amplitude_consistency"] == pytest.approx(amplitude, rel=1e-12)
