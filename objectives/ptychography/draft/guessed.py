"""Put what a whole measurement shows without a reconstruction into the draft of its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.objective import Draft, DraftLine
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.draft.rotation_guess import Rotation, guess_rotation
from objectives.ptychography.draft.sideband_guess import Guess, guess_from_sidebands

_ROTATION, _DEFOCUS = "parameters.scan_rotation", "parameters.defocus"
_THICKNESS, _GEOMETRY = "parameters.thickness", "objective.geometry."
_STANDARD_ERRORS = 4.0
"""Half of the range around a guess: so many standard errors, and at least what follows."""
_LEAST_ROTATION, _LEAST_DEFOCUS = 5.0, 20.0
_OFF_BY = 0.06
"""Error of the defocus by all else that an instrument may have wrong, as a share: on 26 simulated scans with ten
parameters off, a camera length by up to 4 % and an astigmatism of up to 20 angstrom among them, its rms was 0.062."""
_CONTRAST = 5.0
"""How many times as much a guess from side bands explains as any other place, or there is none: 1 to 3.2 where scan
steps are too wide for the specimen, 7 to 55 else."""
_SCATTER = 0.5
"""Rms deviation of the steps from their mean, in steps, above which positions are none in row-major order (a snake)."""
_NOISE = 0.9
"""Ratio of the least curl to the largest above which a field is noise."""
_UNSURE = 15.0


def guessed(draft: Draft, folder: Path) -> Draft:
    """The draft with ranges around what is guessed of the rotation and the defocus; what it says of them are facts.

    Raises:
        InputError: the measurement cannot be read.
    """
    measurement = _opened(draft, folder)
    geometry = measurement.geometry
    axes = _axes(measurement)
    if not isinstance(geometry, FarField) or axes is None:
        nothing = "not guessed: it is no raster of far-field patterns, row by row in one direction"
        both = ("rotation", "defocus") if isinstance(geometry, FarField) and _lens(geometry) else ("rotation",)
        return replace(draft, facts={**draft.facts, **dict.fromkeys(both, nothing)})
    by_centres, why_not = _rotation(measurement, axes)
    near = geometry.scan_rotation_degree or 0.0
    if by_centres is not None and not by_centres.half_turn:
        near = by_centres.value
    by_bands, why_no_defocus = _from_sidebands(measurement, geometry, axes, near)
    if by_bands is not None:
        return _with(draft, _lines_of_bands(by_bands, _most_thickness(draft), examples=_examples(draft)))
    facts: dict[str, str] = {"defocus": f"not guessed: {why_no_defocus}"} if _lens(geometry) else {}
    draft = replace(draft, facts={**draft.facts, **facts})
    if by_centres is None:
        return replace(draft, facts={**draft.facts, "rotation": f"not guessed: {why_not}"})
    return _with(draft, {_ROTATION: _line_of_centres(by_centres, near)})


def _with(draft: Draft, lines: Mapping[str, DraftLine]) -> Draft:
    """The draft with other lines, each of which says what is a fact, too."""
    names = {_ROTATION: "rotation", _DEFOCUS: "defocus"}
    facts = {names[key]: line.comment.partition("guessed, ")[2] for key, line in lines.items()}
    return replace(draft, lines=[lines.get(line.key, line) for line in draft.lines], facts={**draft.facts, **facts})


def _examples(draft: Draft) -> str:
    """The lines of the geometry that hold examples for what the file lacks, in words; empty for none."""
    missing = [line.key for line in draft.lines if line.key.startswith(_GEOMETRY) and line.status == "missing"]
    return ", ".join(key.removeprefix(_GEOMETRY) for key in missing)


def _most_thickness(draft: Draft) -> float:
    """The thickness in angstrom up to which the draft searches; 0 for one slice."""
    for line in draft.lines:
        if line.key == _THICKNESS and line.status != "optional":
            return float(line.value["high"] if isinstance(line.value, dict) else line.value)
    return 0.0


def _lines_of_bands(guess: Guess, most_thickness: float, examples: str = "") -> dict[str, DraftLine]:
    """Defocus and rotation from side bands, which see the middle of a thick specimen."""
    deviation = float(np.hypot(guess.defocus_deviation, _OFF_BY * guess.defocus))
    half = max(_LEAST_DEFOCUS, _STANDARD_ERRORS * deviation)
    around = _around(guess.defocus, half, 0)
    said = f"{guess.defocus:.0f} +- {max(deviation, 1):.0f} angstrom from the scan's side bands"
    if most_thickness:  # the study's defocus counts from the entrance
        around["high"] += most_thickness / 2
        said += ", of the middle of the specimen"
    if examples:
        said += f", if the examples are right for what is missing ({examples})"
    doubt = f"; or {-guess.defocus:.0f} with half a turn of the rotation"
    defocus = DraftLine(_DEFOCUS, around, f"angstrom, positive = underfocus: guessed, {said}{doubt}")
    half = max(_LEAST_ROTATION, _STANDARD_ERRORS * guess.rotation_deviation)
    said = f"{guess.rotation:.1f} +- {max(guess.rotation_deviation, 0.1):.1f} degree from the scan's side bands"
    rotation = DraftLine(_ROTATION, _around(guess.rotation, half, 1), f"degree: guessed, {said}")
    return {_DEFOCUS: defocus, _ROTATION: rotation}


def _line_of_centres(rotation: Rotation, near: float) -> DraftLine:
    """The rotation from centres of mass; where these do not tell half a turn, the one that is nearer."""
    value = rotation.value
    if rotation.half_turn and abs((value - near + 180) % 360 - 180) > 90:
        value -= float(np.copysign(180.0, value))
    half = max(_LEAST_ROTATION, _STANDARD_ERRORS * rotation.deviation)
    other = value - float(np.copysign(180.0, value))
    said = f"{value:.1f} +- {rotation.deviation:.1f} degree from centres of mass"
    doubt = f"; or {other:.1f}, half a turn away, which fits as well" if rotation.half_turn else ""
    return DraftLine(_ROTATION, _around(value, half, 1), f"degree: guessed, {said}{doubt}")


def _around(value: float, half: float, digits: int) -> dict[str, float]:
    return {"low": round(value - half, digits), "high": round(value + half, digits)}


def _axes(measurement: Measurement) -> NDArray[np.float64] | None:
    """(2, 2) columns: the vectors (y, x) from a scan point to the next along the slow and the fast axis."""
    shape = measurement.scan_shape
    if shape is None or min(shape) < 2:
        return None
    grid = measurement.positions.reshape(*shape, 2)
    steps = [np.diff(grid, axis=axis) for axis in (0, 1)]
    found = np.stack([step.mean((0, 1)) for step in steps], axis=1).astype(np.float64)
    lengths = np.linalg.norm(found, axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(found)) < 0.1 * lengths.prod():
        return None
    scatter = [np.sqrt(np.mean(np.square(step - found[:, axis]).sum(-1))) for axis, step in enumerate(steps)]
    return found if (scatter < _SCATTER * lengths).all() else None


def _lens(geometry: FarField) -> bool:
    """Whether a lens of a known aperture forms the probe, in lengths that are known."""
    known = (geometry.wavelength_angstrom, geometry.angular_sampling_mrad, geometry.semi_convergence_mrad)
    return None not in known


def _from_sidebands(
    measurement: Measurement, geometry: FarField, axes: NDArray[np.float64], near: float
) -> tuple[Guess | None, str]:
    """The guess, or why there is none."""
    if not _lens(geometry):
        return None, "no lens of a known aperture forms the probe"
    assert geometry.angular_sampling_mrad is not None  # noqa: S101
    assert geometry.semi_convergence_mrad is not None  # noqa: S101
    assert geometry.wavelength_angstrom is not None  # noqa: S101
    assert measurement.scan_shape is not None  # noqa: S101
    found = guess_from_sidebands(
        measurement.patterns,
        measurement.valid,
        axes,
        measurement.scan_shape,
        geometry.angular_sampling_mrad,
        geometry.semi_convergence_mrad,
        geometry.wavelength_angstrom,
        near,
    )
    if found is None:
        return None, "the scan or the aperture is too small, or the steps are too wide"
    if found.contrast < _CONTRAST or not np.isfinite([found.defocus_deviation, found.rotation_deviation]).all():
        return None, "several values explain the scan's side bands as well (thick, few counts, or wide scan steps)"
    return found, ""


def _rotation(measurement: Measurement, axes: NDArray[np.float64]) -> tuple[Rotation | None, str]:
    """The guess by centres of mass, or why there is none."""
    assert measurement.scan_shape is not None  # noqa: S101
    steps = np.linalg.norm(axes, axis=0)
    found = guess_rotation(measurement.patterns, measurement.valid, measurement.scan_shape, (steps[0], steps[1]))
    if found is None:
        return None, "the scan is too small"
    if found.curl > _NOISE or found.deviation > _UNSURE:
        return None, "the patterns' centres of mass are noise, or no gradient"
    return found, ""


def _opened(draft: Draft, folder: Path) -> Measurement:
    """The measurement as the study would read it, with examples for what is missing."""
    data: dict[str, Any] = {}
    geometry: dict[str, Any] = {}
    for line in draft.lines:
        for section, found in (("objective.data.", data), ("objective.geometry.", geometry)):
            if line.key.startswith(section) and line.status != "optional":
                found[line.key.removeprefix(section)] = line.value
    return open_measurement(DataSettings(**data), GeometrySettings(**geometry), folder=folder)
