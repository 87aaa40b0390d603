"""The twin of a thin specimen: a far-field scan is explained as well by the conjugate specimen, turned by half a turn.

A wave psi(r) and its twin psi*(-r) have the same far-field intensity, at every k. Where psi is the product of probe and
one slice, so is the twin: of P*(-r), a probe with the other sign of all aberrations, and O*(-r), at positions turned by
180 degrees. No data tell the two apart. What does is that electrons are faster in matter: every atom advances the
phase, and phases of the right twin have a long tail of high values (where they do not wrap), those of the other one of
low values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from autotune.objective import Parameter, Twin, Value
from objectives.diffraction.data.measurement import FarField, Measurement

METRIC = "phase_skewness"
_ENOUGH = 192
"""Pixels along an axis of which the sign of the skewness is sure; to fit a phase plane to more takes seconds."""
_NEGATED = ("defocus", "spherical_aberration")
_LONGEST_ELECTRON = 0.2
"""Wavelength, angstrom, up to which a probe is taken to be of electrons: 3.7 keV; x-rays of it are of 62 keV."""


def thinned(field: NDArray[Any]) -> NDArray[Any]:
    """Every so manyeth pixel of an object, at most :data:`_ENOUGH` along an axis, of which the sign is seen as well."""
    step = -(-max(field.shape) // _ENOUGH)
    return field[::step, ::step]


def of_electrons(measurement: Measurement) -> bool:
    """Whether the measurement is a far-field scan with an electron lens."""
    geometry = measurement.geometry
    if not isinstance(geometry, FarField) or geometry.semi_convergence_mrad is None:
        return False
    return geometry.wavelength_angstrom is not None and geometry.wavelength_angstrom < _LONGEST_ELECTRON


def twin_of(measurement: Measurement, parameters: Sequence[Parameter], held: Mapping[str, Value | None]) -> Twin | None:
    """See :class:`autotune.objective.HasTwin`; None where the specimen has slices, or a held value forbids the twin."""
    names = {parameter.name for parameter in parameters}
    if not of_electrons(measurement) or held.get("slices", 1 if "slices" not in names else None) != 1:
        return None
    if "scan_rotation" in held or any(held.get(name, 0.0) != 0.0 for name in _NEGATED):
        return None
    added = {"scan_rotation": 180.0}
    if held.get("astigmatism") != 0.0:
        if "astigmatism_angle" in held:
            return None
        added["astigmatism_angle"] = 90.0
    negated = tuple(name for name in _NEGATED if name not in held)
    return Twin(METRIC, negated, added, "atoms advance the phase of electrons")
