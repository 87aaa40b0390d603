"""The padding of the window by default: where enough counts reach the detector's edge, and a lens is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.model.window import window_for_lens, window_shape
from objectives.ptychography.parameters.instrument import parameters_of, why_absent
from objectives.ptychography.parameters.window import PADDING, default_padding, share_at_edge
from tests.objectives.ptychography.scenes import free, lens, mixed, near, thick


def padding_of(measurement: Measurement) -> Parameter | None:
    return next((parameter for parameter in parameters_of(measurement) if parameter.name == PADDING), None)


def with_counts(
    inside: float, at_edge: float, shape: tuple[int, int] = (32, 32), radius: float = 8.0, scan: int = 4
) -> Measurement:
    """A lens of ``radius`` pixels, and flat patterns whose outermost pixels along each side count something else."""
    patterns = np.full((scan, *shape), at_edge, np.float32)
    patterns[:, 2:-2, 2:-2] = inside
    geometry = FarField(0.0418, (2.0, 2.0), 2.0 * radius)
    positions = np.zeros((scan, 2))
    return Measurement(patterns, positions, geometry, np.ones(shape, bool), True, "synthetic", "angstrom", None)


@pytest.mark.parametrize("measured", [lens, thick])
def test_scattering_that_reaches_the_edge_is_kept_off(measured: Callable[[], Measurement]) -> None:
    parameter = padding_of(measured())
    assert parameter is not None and parameter.default == default_padding(measured()) == 1.5
    assert (parameter.low, parameter.high, parameter.minimum, parameter.kind) == (1.0, 2.0, 1.0, "solver")


def test_a_dark_edge_needs_no_padding() -> None:
    assert default_padding(with_counts(1e4, 0.0)) == 1.0
    dark = lens().patterns.copy()
    dark[:, [0, 1, -2, -1]] = dark[:, :, [0, 1, -2, -1]] = 0
    assert default_padding(replace(lens(), patterns=dark)) == 1.0


def test_the_share_of_the_edge_decides() -> None:
    """Two of 32 pixels along each side: 240 of 1024."""
    share = 240 * 0.01 / (240 * 0.01 + 784)
    assert share_at_edge(with_counts(1e4, 1e2)) == pytest.approx(share) and share > 1e-3
    assert default_padding(with_counts(1e4, 1e2)) == 1.5  # 32 + 0.9 * 8 = 39.2, of which the next fast length is 48
    assert default_padding(with_counts(1e4, 30.0)) == 1.0
    assert share_at_edge(with_counts(0.0, 0.0)) == 0.0 and default_padding(with_counts(0.0, 0.0)) == 1.0


@pytest.mark.parametrize(("scanned", "needed"), [(0.0, 0.5), (10.0, 1.125)])
def test_so_do_the_counts_for_each_pixel_of_the_object(scanned: float, needed: float) -> None:
    """A scan of 0 or 10 pixels along y, and 8 around: 64 or 144, 1.5^2 - 1 as many more; 6 counts for each are needed.

    There are 4 * 240 pixels at the edge.
    """
    pixel = 0.0418 / (32 * 2e-3)

    def at(counts: float) -> Measurement:
        measurement = with_counts(10 * counts, counts)
        measurement.positions[0, 0] = scanned * pixel
        return measurement

    assert needed == 6 * (scanned + 8) * 8 * (1.5**2 - 1) / (4 * 240)
    assert default_padding(at(1.02 * needed)) == 1.5 and default_padding(at(0.98 * needed)) == 1.0
    uncounted = replace(at(0.98 * needed), counted=False)
    assert default_padding(uncounted) == 1.5


def test_masked_pixels_do_not_count() -> None:
    bright = with_counts(1e4, 5e4)
    assert default_padding(bright) > 1
    valid = np.zeros((32, 32), bool)
    valid[2:-2, 2:-2] = True
    assert share_at_edge(replace(bright, valid=valid)) == 0.0 and default_padding(replace(bright, valid=valid)) == 1.0


@pytest.mark.parametrize("lacks", ["wavelength_angstrom", "angular_sampling_mrad", "semi_convergence_mrad"])
def test_an_unknown_illumination_is_not_padded(lacks: str) -> None:
    """The parameter is offered, for whoever knows better."""
    bright = with_counts(1e4, 1e4)
    unknown = replace(bright, geometry=replace(bright.geometry, **{lacks: None}))  # type: ignore[arg-type]
    parameter = padding_of(unknown)
    assert default_padding(bright) > 1 and parameter is not None and parameter.default == 1.0


@pytest.mark.parametrize("measured", [free, mixed])
def test_a_probe_from_the_file_is_not_padded(measured: Callable[[], Measurement]) -> None:
    assert share_at_edge(measured()) > 1e-3 and default_padding(measured()) == 1.0


def test_the_near_field_has_no_window_of_its_own() -> None:
    assert padding_of(near()) is None and default_padding(near()) == 1.0
    assert why_absent(near(), PADDING) == "it exists in the far field only"
    assert why_absent(lens(), PADDING) == ""


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(8, 100), st.integers(8, 100)), st.floats(1.0, 80.0))
def test_the_default_gives_the_window_for_the_lens(shape: tuple[int, int], radius: float) -> None:
    """Exactly: rounded up, it would be the next longer one."""
    measurement = with_counts(1e4, 1e4, shape, radius, scan=1)
    parameter = padding_of(measurement)
    assert parameter is not None and isinstance(parameter.default, float)
    assert window_shape(shape, parameter.default) == window_for_lens(shape, (radius, radius))
    assert 1 < parameter.default <= parameter.high  # type: ignore[operator]
