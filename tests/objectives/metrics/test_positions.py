from __future__ import annotations

import numpy as np
import pytest

from objectives.metrics.positions import position_error


def test_error_is_the_rms_distance() -> None:
    true = np.array([[0.0, 0.0], [1.0, 2.0], [5.0, -3.0], [2.0, 2.0]])
    off = np.array([[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0], [0.0, 0.0]])  # distances 5, 5, 0, 0; no common shift
    assert position_error(true + off, true) == pytest.approx(np.sqrt(50 / 4))
    assert position_error(true, true) == 0


def test_a_common_shift_is_no_error() -> None:
    random = np.random.default_rng(0)
    true, off = random.normal(size=(2, 20, 2))
    shifted = true + off + np.array([100.0, -7.0])
    assert position_error(shifted, true) == pytest.approx(position_error(true + off, true))
