"""Merge the geometry of three sources: the study overrides the record's defaults, and these override the file."""

from __future__ import annotations

from pathlib import Path

from autotune.objective import InputError, Problem
from objectives.diffraction.data.measurement import FarField, NearField
from objectives.diffraction.data.settings import GeometrySettings

_ONLY_FAR = (
    "angular_sampling_mrad",
    "reciprocal_sampling_per_angstrom",
    "semi_convergence_mrad",
    "defocus_angstrom",
    "scan_rotation_degree",
)
_SAMPLING = ("angular_sampling_mrad", "reciprocal_sampling_per_angstrom")
_ONLY_NEAR = ("focus_to_sample_mm",)

_EXAMPLES = {
    "wavelength_angstrom": "wavelength_angstrom: 0.0487",
    "angular_sampling_mrad": "angular_sampling_mrad: 1.02",
    "scan_step_angstrom": "scan_step_angstrom: 0.5",
    "detector_distance_mm": "detector_distance_mm: 1120",
    "detector_pixel_um": "detector_pixel_um: 55",
}


_HINTS = {
    "wavelength_angstrom": ", or radiation: electron with energy_kev: 60",
    "angular_sampling_mrad": ", or reciprocal_sampling_per_angstrom: 0.021",
    "detector_pixel_um": ", or angular_sampling_mrad instead of the detector's distance",
}


def missing(path: Path, name: str, hint: str = "") -> Problem:
    """Describe a missing geometry value, with an example of how to state it."""
    remedy = f"state it in the study, e.g. objective.geometry.{_EXAMPLES[name]}"
    return Problem("", f"geometry.{name} is not in {path}", remedy + hint)


def resolve_geometry(
    study: GeometrySettings, file: GeometrySettings, *, path: Path, pixel_positions: bool
) -> FarField | NearField:
    """Merge geometry and check that it has everything the regime needs.

    Args:
        study: geometry stated by the study, merged over a record's defaults.
        file: geometry stated by the file.
        path: the file, for messages.
        pixel_positions: whether scan positions are in object pixels; wavelength and angular sampling may
            then be unknown.

    Raises:
        InputError: a value is missing, or one is stated that the regime has no use for.
    """
    merged = study.over(file)
    near = merged.regime == "near field"
    problems = _useless(study, "near field" if near else "far field", _ONLY_FAR if near else _ONLY_NEAR)
    geometry, lacking = _near_field(merged, path) if near else _far_field(study, merged, path, pixel_positions)
    problems += lacking
    if near and pixel_positions:
        problems.append(
            Problem(
                "objective.data.positions",
                "'object pixel' has no fixed length in the near field",
                "give positions in angstrom",
            )
        )
    if problems or geometry is None:
        raise InputError(problems)
    return geometry


def _useless(study: GeometrySettings, regime: str, names: tuple[str, ...]) -> list[Problem]:
    """List a problem for every stated value that has no meaning in ``regime``."""
    return [
        Problem(
            f"objective.geometry.{name}",
            f"has no meaning in the {regime}",
            "remove it, or correct the regime",
        )
        for name in names
        if getattr(study, name) is not None
    ]


def lacking(merged: GeometrySettings, *, near: bool, pixel_positions: bool, measured: bool = False) -> list[str]:
    """Names of the geometry values that a regime needs and no source gives.

    Args:
        merged: the merged geometry.
        near: near field, else far field.
        pixel_positions: whether scan positions are in object pixels.
        measured: whether the study states the detector's distance or pixel, and so wants the sampling to follow from
            both.
    """
    distance, pixel = merged.detector_distance_mm, merged.detector_pixel_um
    if near:
        needed = {
            "wavelength_angstrom": merged.wavelength,
            "detector_distance_mm": distance,
            "detector_pixel_um": pixel,
        }
        return [name for name, value in needed.items() if value is None]
    names = []
    sampled = any(getattr(merged, name) is not None for name in _SAMPLING)
    if not sampled and (distance is None or pixel is None) and (measured or not pixel_positions):
        alone = "detector_pixel_um" if distance is not None else "detector_distance_mm"
        names.append("angular_sampling_mrad" if distance is None and pixel is None else alone)
    if merged.wavelength is None and (merged.reciprocal_sampling_per_angstrom is not None or not pixel_positions):
        names.append("wavelength_angstrom")
    return names


def _near_field(merged: GeometrySettings, path: Path) -> tuple[NearField | None, list[Problem]]:
    wavelength, distance, pixel = merged.wavelength, merged.detector_distance_mm, merged.detector_pixel_um
    if wavelength is None or distance is None or pixel is None:
        return None, [_missing_value(path, name) for name in lacking(merged, near=True, pixel_positions=False)]
    focus = merged.focus_to_sample_mm
    if focus is not None and focus >= distance:
        what = f"{focus:g} mm is not before the detector at {distance:g} mm"
        return None, [Problem("objective.geometry.focus_to_sample_mm", what, "both are measured from the focus")]
    return NearField(wavelength, distance, pixel, focus), []


def _far_field(
    study: GeometrySettings, merged: GeometrySettings, path: Path, pixel_positions: bool
) -> tuple[FarField | None, list[Problem]]:
    problems: list[Problem] = []
    measured = study.detector_distance_mm is not None or study.detector_pixel_um is not None
    sampled = [name for name in _SAMPLING if getattr(study, name) is not None]
    if sampled and measured:
        problems.append(
            Problem(
                f"objective.geometry.{sampled[0]}",
                "is stated together with detector_distance_mm or detector_pixel_um, which also give it",
                "state one of the two",
            )
        )
    sampling, reciprocal = merged.angular_sampling_mrad, merged.reciprocal_sampling_per_angstrom
    distance, pixel = merged.detector_distance_mm, merged.detector_pixel_um
    if sampling is None and reciprocal is None and distance is not None and pixel is not None:
        sampling = (pixel[0] / distance, pixel[1] / distance)  # um / mm = mrad
    wavelength = merged.wavelength
    if sampling is None and reciprocal is not None and wavelength is not None:
        sampling = (1e3 * wavelength * reciprocal[0], 1e3 * wavelength * reciprocal[1])
    names = lacking(merged, near=False, pixel_positions=pixel_positions, measured=measured)
    problems += [_missing_value(path, name) for name in names]
    if problems:
        return None, problems
    return FarField(
        wavelength_angstrom=wavelength,
        angular_sampling_mrad=sampling,
        semi_convergence_mrad=merged.semi_convergence_mrad,
        defocus_angstrom=merged.defocus_angstrom,
        scan_rotation_degree=merged.scan_rotation_degree,
    ), []


def _missing_value(path: Path, name: str) -> Problem:
    return missing(path, name, _HINTS.get(name, ""))
