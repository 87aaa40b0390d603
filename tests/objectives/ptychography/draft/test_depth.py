"""A thick specimen is told from a thin one by how the bright-field disk varies over the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.draft.depth import depth_lines, disk_variance
from objectives.ptychography.plugin import ptychography
from tests.objectives.ptychography.scenes import lens

N, SAMPLING, ANGLE = 32, 2.0, 20.0
GEOMETRY = FarField(0.04, (SAMPLING, SAMPLING), ANGLE)


def disks(modulation: float, counts: float | None, seed: int = 0, patterns: int = 64) -> NDArray[np.float64]:
    """Disks whose pixels vary from pattern to pattern by a relative standard deviation of ``modulation``."""
    random = np.random.default_rng(seed)
    y, x = np.indices((N, N)) - N // 2
    expected = (np.hypot(y, x) * SAMPLING < ANGLE) * random.gamma(1 / modulation**2, modulation**2, (patterns, N, N))
    return expected if counts is None else random.poisson(expected * counts).astype(np.float64)


@example_settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 1.0), st.sampled_from([1.0, 30.0, None]), st.integers(0, 100))
def test_variance_is_that_of_the_specimen_without_counting(modulation: float, counts: float | None, seed: int) -> None:
    found = disk_variance(disks(modulation, counts, seed), GEOMETRY, counts is not None)
    assert found == pytest.approx(modulation**2, rel=0.15, abs=0.05)


def test_nothing_is_told_without_a_lens_or_counts_or_with_few_patterns() -> None:
    patterns = disks(0.7, 30.0)
    assert disk_variance(patterns, FarField(0.04, (SAMPLING, SAMPLING)), True) is None
    assert disk_variance(patterns, NearField(1.0, 1000.0, (55.0, 55.0)), True) is None
    assert disk_variance(patterns[:7], GEOMETRY, True) is None
    assert disk_variance(np.zeros_like(patterns), GEOMETRY, True) is None


def test_a_monolayer_is_thin() -> None:
    variance = disk_variance(lens().patterns.astype(float), lens().geometry, True)
    assert variance is not None and variance < 0.15
    assert {line.status for line in depth_lines(variance)} == {"optional"}


def test_a_thick_specimen_is_drafted_with_slices(tmp_path: Path) -> None:
    positions = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0), indexing="ij"), axis=-1).reshape(16, 2) - 1.5
    patterns = disks(0.7, 30.0, patterns=16).astype(np.float32)
    thick = Measurement(patterns, positions, GEOMETRY, np.ones((N, N), bool), True, "made here", scan_shape=(4, 4))
    write_measurement(tmp_path / "thick.h5", thick)
    draft = ptychography.draft(tmp_path / "thick.h5", folder=tmp_path)
    assert draft is not None
    drafted = {line.key.removeprefix("parameters."): line.value for line in draft.lines if line.status == "set"}
    assert drafted["slices"] == 6 and drafted["solver"] == "lsqml" and drafted["window_padding"] == 1.5
    assert drafted["thickness"] == {"low": 10, "high": 150}
    assert drafted["tilt_y"] == drafted["tilt_x"] == {"low": -8, "high": 8} and drafted["iterations"] == 40
