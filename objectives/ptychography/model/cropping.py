"""The detector's part of spectra on a window that may be larger (:mod:`objectives.ptychography.model.window`)."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.diffraction.data.pattern_turns import central


def seen_part(spectra: Tensor, detector_shape: tuple[int, int]) -> Tensor:
    """The middle (..., det_y, det_x) of spectra (..., window_y, window_x), zero frequency at (N//2, N//2) of both."""
    if spectra.shape[-2:] == detector_shape:
        return spectra
    rows, columns = central((spectra.shape[-2], spectra.shape[-1]), detector_shape)
    return spectra[..., rows, columns].contiguous()


def with_unseen(spectra: Tensor, window: tuple[int, int]) -> Tensor:
    """Spectra (..., det_y, det_x) with zeros around, (..., window_y, window_x): the adjoint of :func:`seen_part`."""
    if spectra.shape[-2:] == window:
        return spectra
    rows, columns = central(window, (spectra.shape[-2], spectra.shape[-1]))
    around = (columns.start, window[1] - columns.stop, rows.start, window[0] - rows.stop)
    return torch.nn.functional.pad(spectra, around)
