"""Convert units, as files spell them, to the project's units."""

from __future__ import annotations

import unicodedata

_LENGTHS = {"pm": 1e-2, "a": 1.0, "angstrom": 1.0, "angstroms": 1.0, "nm": 10.0, "um": 1e4, "micron": 1e4}
_LENGTHS |= {"mm": 1e7, "cm": 1e8, "m": 1e10, "meter": 1e10, "metre": 1e10, "meters": 1e10, "metres": 1e10}
_ANGLES = {
    "urad": 1e-3,
    "mrad": 1.0,
    "rad": 1e3,
    "radian": 1e3,
    "deg": 17.453292519943295,
    "degree": 17.453292519943295,
}
_ENERGIES = {"ev": 1e-3, "kev": 1.0, "mev": 1e3, "j": 6.241509074460763e15, "joule": 6.241509074460763e15}


def _plain(unit: str) -> str:
    """Spell ``unit`` in ASCII lower case, without spaces or brackets: ``Å^-1`` and ``1/Å`` become ``1/a``."""
    text = unicodedata.normalize(
        "NFKD", unit.strip().replace("µ", "u").replace("μ", "u").replace("°", "deg").replace("⁻", "-")
    )
    text = "".join(letter for letter in text if letter.isascii()).lower()
    text = text.translate(str.maketrans("", "", " []_()")).replace("**", "^")
    for ending in ("^-1", "-1"):
        if text.endswith(ending):
            return "1/" + text.removesuffix(ending)
    return text


def angstrom(unit: str) -> float | None:
    """Angstroms in one ``unit``; None where it is not a known length."""
    return _LENGTHS.get(_plain(unit))


def per_angstrom(unit: str) -> float | None:
    """1/angstrom in one ``unit`` such as ``1/nm``; None where it is not a known reciprocal length."""
    text = _plain(unit)
    length = _LENGTHS.get(text.removeprefix("1/")) if text.startswith("1/") else None
    return None if length is None else 1 / length


def mrad(unit: str) -> float | None:
    """Milliradians in one ``unit``; None where it is not a known angle."""
    return _ANGLES.get(_plain(unit))


def kev(unit: str) -> float | None:
    """keV in one ``unit``; None where it is not a known energy."""
    return _ENERGIES.get(_plain(unit))
