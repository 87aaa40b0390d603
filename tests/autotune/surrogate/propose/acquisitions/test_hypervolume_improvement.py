"""The improvement of a front's hypervolume: the point that it is measured from."""

from __future__ import annotations

import numpy as np

from autotune.surrogate.propose.acquisitions.hypervolume_improvement import reference_point


def test_the_reference_point_leaves_room_for_the_ends_of_the_front() -> None:
    Y = np.array([[1.0, 1.0], [0.9, 1.1], [0.0, 0.0]])
    ends = np.array([[2.0, 0.0], [0.5, 3.0]])
    np.testing.assert_allclose(reference_point(Y, ends).numpy(), [0.5 - 0.15, 0.0 - 0.3])
