"""Wavelengths of the two kinds of radiation that diffraction objectives use."""

from __future__ import annotations

import math
from typing import Literal

from scipy.constants import c, e, h, m_e

Radiation = Literal["electron", "x-ray"]


def electron_wavelength_angstrom(energy_kev: float) -> float:
    """Relativistic de Broglie wavelength of an electron of kinetic energy ``energy_kev``, in angstrom.

    ``lambda = h / sqrt(2 m E (1 + E / (2 m c^2)))`` with the CODATA constants of ``scipy.constants``; Reimer
    and Kohl, Transmission Electron Microscopy, 5th ed., eq. 2.5.
    """
    energy = energy_kev * 1e3 * e
    return float(1e10 * h) / math.sqrt(2 * m_e * energy * (1 + energy / (2 * m_e * c**2)))


def photon_wavelength_angstrom(energy_kev: float) -> float:
    """Wavelength ``h c / E`` of a photon of energy ``energy_kev``, in angstrom."""
    return float(1e10 * h * c / (energy_kev * 1e3 * e))


def wavelength_angstrom(radiation: Radiation, energy_kev: float) -> float:
    """Wavelength in angstrom of ``radiation`` with kinetic (electron) or photon energy ``energy_kev``."""
    if radiation == "electron":
        return electron_wavelength_angstrom(energy_kev)
    return photon_wavelength_angstrom(energy_kev)
