"""Tell whether a measurement's geometry gives the illumination, or the probe is an unknown. No torch."""

from __future__ import annotations

from objectives.diffraction.data.measurement import FarField


def forms_probe(geometry: FarField) -> bool:
    """Whether a lens of known aperture, wavelength and angular sampling gives the illumination.

    Only then do detector and lens parameters act: with a free probe they trade against it.
    """
    return geometry.semi_convergence_mrad is not None and knows_lengths(geometry)


def knows_lengths(geometry: FarField) -> bool:
    """Whether object and scan have a length scale: wavelength and angular sampling are known."""
    return geometry.wavelength_angstrom is not None and geometry.angular_sampling_mrad is not None
