"""Patches of the object: those of nearby positions are kept, and none reaches beyond the object."""

from __future__ import annotations

import pytest
import torch

from objectives.ptychography.model.forward import ForwardModel, Layout
from objectives.ptychography.model.kernels.choose import kernels_for
from objectives.ptychography.model.scene import Scene

POSITIONS = torch.tensor([[-20.0, -20.0], [0.0, 3.0], [20.0, 20.0]], dtype=torch.float64)
WINDOW = (16, 16)


def test_patches_of_positions_within_a_pixel_are_kept() -> None:
    layout = Layout.of(POSITIONS, WINDOW)
    assert layout.fits(POSITIONS, WINDOW) and layout.fits(POSITIONS + 0.9, WINDOW)
    assert not layout.fits(1.1 * POSITIONS, WINDOW)  # by two pixels, at the ends
    assert not layout.fits(POSITIONS[:2], WINDOW) and not layout.fits(POSITIONS, (24, 24))


def test_positions_beyond_the_object_are_refused_before_a_kernel_sees_them() -> None:
    """Compiled kernels read and write where a patch lies; a scale moved by 2 % once ended the worker (SIGABRT)."""
    layout = Layout.of(POSITIONS, WINDOW)
    zero = torch.zeros((), dtype=torch.float64)
    scene = Scene(1.4 * POSITIONS, torch.ones(2, dtype=torch.float64), zero, zero, 0.0)
    model = ForwardModel(scene, layout, kernels_for(torch.device("cpu")))
    with pytest.raises(ValueError, match="lie outside an object of"):
        model.batch(torch.arange(3), torch.zeros_like(POSITIONS))
