"""How well patterns are explained at places that reach beyond what the other patterns have seen of the object.

Where no other pattern has been, an object that is still empty predicts the wrong thing, so that a position at the edge
of the scan would never be found outside it. Here the object is free in such pixels: for each pattern and place a few
steps of ePIE (Maiden and Rodenburg, Ultramicroscopy 109, 1256 (2009)) fill them in; the misfit is taken afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.ptychography.model.misfit import Misfit

_COVERED = 0.1
"""Illumination by other patterns over its median along the scan, from which an object pixel counts as known."""
_STEPS = 8
_LEAST_KNOWN = 0.3
"""Share of a probe's intensity that must fall on known pixels."""
_TINY = 1e-12


class Uncovered:
    """The object that some patterns have made, and which of its pixels they have seen.

    Args:
        misfit: the forward model of a single slice in the far field, and the data.
        transmission: (rows, columns) the object.
        spectra: (mode, det_y, det_x) the probe.
        moved: (position, 2) displacements in object pixels.
        others: (n,) the patterns that made the object.
    """

    def __init__(self, misfit: Misfit, transmission: Tensor, spectra: Tensor, moved: Tensor, others: Tensor) -> None:
        self._misfit, self._transmission, self._spectra = misfit, transmission, spectra
        received = torch.zeros_like(transmission.real)
        size = max(1, misfit.pixels_per_batch // spectra.numel())
        for some in others.split(size):
            batch = misfit.model.batch(some, moved)
            wave = misfit.model.enter(spectra, batch)
            misfit.kernels.add_illumination(wave, torch.ones_like(batch.ramp_y[:, 0].real), batch.corners, received)
        self._known = (received > _COVERED * received[received > 0].median()).to(received.dtype)

    def misfits(self, which: Tensor, moves: Tensor) -> Tensor:
        """Sum of (sqrt I - sqrt y)^2 of patterns ``which`` (n,) at ``moves`` (n, 2), over the known share; shape (n,).

        Infinite where too little is known.
        """
        size = max(1, self._misfit.pixels_per_batch // self._spectra.numel())
        parts = zip(which.split(size), moves.split(size), strict=True)
        return torch.cat([self._misfits(some, moved) for some, moved in parts])

    def _misfits(self, which: Tensor, moves: Tensor) -> Tensor:
        model, data = self._misfit.model, self._misfit.data
        batch = model.batch_at(which, moves)
        wave = model.enter(self._spectra, batch)
        intensity = (wave.real.square() + wave.imag.square()).sum(1)
        window = model.layout.window
        at = batch.corners[:, 0], batch.corners[:, 1]
        patch, known = (
            whole.unfold(0, window[0], 1).unfold(1, window[1], 1)[at] for whole in (self._transmission, self._known)
        )
        share = (intensity * known).sum((1, 2)) / intensity.sum((1, 2))
        step = (1 - known) / intensity.amax((1, 2), keepdim=True)
        measured, valid = data.patterns[which], data.valid[data.mask_of[which]]
        for _ in range(_STEPS):
            seen = model.to_detector(wave * patch[:, None], batch)
            expected = self._expected(seen)
            # The exit wave with the measured amplitude, less the one that there is.
            towards = seen * (((measured / (expected + _TINY)).sqrt() - 1) * valid)[:, None]
            change = model.from_detector(towards * model.detector_unit**2, batch)
            patch = patch + step * (wave.conj() * change).sum(1)
        difference = self._expected(model.to_detector(wave * patch[:, None], batch)).sqrt() - measured.sqrt()
        misfits = (difference.square() * valid).sum((1, 2)) / share.clamp(min=_LEAST_KNOWN)
        return torch.where(share < _LEAST_KNOWN, torch.inf, misfits)

    def _expected(self, seen: Tensor) -> Tensor:
        """Expected counts (n, det_y, det_x) of unscaled spectra at the detector; its blur is left out."""
        model = self._misfit.model
        counts = (seen.real.square() + seen.imag.square()).sum(1) * model.detector_unit**2
        return counts + model.scene.background.clamp(min=0)
