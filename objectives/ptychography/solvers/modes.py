"""Incoherent modes of the probe: their start, and their orthogonal form."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.ptychography.model.forward import field_of, spectrum_of

_SHARE = 0.03
"""Share of the counts in every mode but the first, at the start."""


def start_modes(spectra: Tensor, modes: int) -> Tensor:
    """Modes (mode, det_y, det_x) around given spectra: these, and the first times Hermite polynomials of the position.

    Given modes keep their shapes; those that are added start with 3 % of the counts each, as blur by a source or by
    vibration would give them. The summed intensity stays that of ``spectra``, (det_y, det_x) or (mode, det_y, det_x).
    """
    given = spectra[None] if spectra.ndim == 2 else spectra
    if modes <= len(given):
        return given
    fields = list(field_of(given))
    field = fields[0]
    powers = sorted(((a, b) for a in range(modes) for b in range(modes)), key=lambda p: (p[0] + p[1], p[1]))
    intensity = field.real.square() + field.imag.square()
    y, x = (_over_width(intensity, axis) for axis in (0, 1))
    for a, b in powers[1:]:
        if len(fields) == modes:
            break
        candidate = field * (y**a)[:, None] * (x**b)[None, :]
        for earlier in fields:
            candidate = candidate - earlier * (_inner(earlier, candidate) / _inner(earlier, earlier))
        fields.append(candidate)
    added = modes - len(given)
    powers_given = [_inner(mode, mode).real for mode in fields[: len(given)]]
    power = torch.stack(powers_given).sum()
    shares = [(1 - _SHARE * added) * of_mode / power for of_mode in powers_given] + [_SHARE] * added
    scaled = [
        mode * (share * power / _inner(mode, mode).real).sqrt() for mode, share in zip(fields, shares, strict=True)
    ]
    return spectrum_of(torch.stack(scaled))


def orthogonal(spectra: Tensor) -> Tensor:
    """Orthogonal modes of the same mixed state (with the same intensities everywhere), the strongest first.

    A unitary mixture of modes changes nothing that is measured; this is the one that diagonalises their overlaps
    (Thibault and Menzel, Nature 494, 68 (2013), supplement).
    """
    flat = spectra.reshape(len(spectra), -1)
    _, mixture = torch.linalg.eigh(flat.conj() @ flat.T)
    return (mixture.T.flip(0) @ flat).reshape(spectra.shape)


def _over_width(intensity: Tensor, axis: int) -> Tensor:
    """Coordinate along ``axis`` from the centre of ``intensity``, over its rms width."""
    profile = intensity.sum(1 - axis)
    position = torch.arange(len(profile), dtype=profile.dtype, device=profile.device)
    centred = position - (profile * position).sum() / profile.sum()
    return centred / ((profile * centred.square()).sum() / profile.sum()).sqrt()


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum()
