"""Put what a whole measurement shows without a reconstruction into the draft of its study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autotune.objective import Draft, DraftLine
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.draft.rotation_guess import Rotation, guess_rotation

_KEY = "parameters.scan_rotation"
_STANDARD_ERRORS, _LEAST = 4.0, 5.0
"""Half of the range around a guess: so many standard errors, and so many degrees at least."""
_NOISE = 0.9
"""Ratio of the least curl to the largest above which a field is noise."""
_UNSURE = 15.0


def guessed(draft: Draft, folder: Path) -> Draft:
    """The draft with a range of the rotation around the guess, where there is one; what it says of it is a fact.

    Raises:
        InputError: the measurement cannot be read.
    """
    measurement = _opened(draft, folder)
    rotation, nothing = _rotation(measurement)
    if rotation is None:
        return replace(draft, facts={**draft.facts, "rotation": f"not guessed: {nothing}"})
    nominal = measurement.geometry.scan_rotation_degree if isinstance(measurement.geometry, FarField) else None
    value = rotation.value
    if rotation.half_turn and abs((value - (nominal or 0.0) + 180) % 360 - 180) > 90:
        value -= float(np.copysign(180.0, value))
    half = max(_LEAST, _STANDARD_ERRORS * rotation.deviation)
    other = value - float(np.copysign(180.0, value))
    said = f"{value:.1f} +- {rotation.deviation:.1f} degree from centres of mass"
    doubt = f"; or {other:.1f}, half a turn away, which fits as well" if rotation.half_turn else ""
    around = {"low": round(value - half, 1), "high": round(value + half, 1)}
    line = DraftLine(_KEY, around, f"degree: guessed, {said}{doubt}")
    lines = [line if each.key == _KEY else each for each in draft.lines]
    return replace(draft, lines=lines, facts={**draft.facts, "rotation": said + doubt})


def _rotation(measurement: Measurement) -> tuple[Rotation | None, str]:
    """The guess, or why there is none."""
    shape = measurement.scan_shape
    if not isinstance(measurement.geometry, FarField) or shape is None:
        return None, "it is no raster of far-field patterns"
    grid = measurement.positions.reshape(*shape, 2)
    steps = tuple(float(np.linalg.norm(np.diff(grid, axis=axis).mean((0, 1)))) for axis in (0, 1))
    if not all(step > 0 for step in steps):
        return None, "it is no raster of far-field patterns"
    found = guess_rotation(measurement.patterns, measurement.valid, shape, (steps[0], steps[1]))
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
