"""What the plan of a study says of its measurement, in words."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.model.window import window_shape
from objectives.ptychography.parameters.window import PADDING, share_at_edge


def facts_of(measurement: Measurement, parameters: Sequence[Parameter], mean: float) -> dict[str, str]:
    """Name -> text: its patterns, its geometry, and what about them is unusual.

    Args:
        measurement: the measurement.
        parameters: those of the study.
        mean: mean count of the pixels that are compared.
    """
    n, rows, columns = measurement.patterns.shape
    geometry = measurement.geometry
    facts = {
        "measurement": measurement.source,
        "patterns": f"{n} of {rows} x {columns} pixels, {mean:.4g} counts per pixel"
        + ("" if measurement.counted else " (not counted quanta)"),
        "masked pixels": str(int((~measurement.valid).sum())),
    }
    if isinstance(geometry, NearField):
        facts["geometry"] = (
            f"near field, wavelength {geometry.wavelength_angstrom:.5g} angstrom, "
            f"detector at {geometry.detector_distance_mm:g} mm"
        )
    elif geometry.angular_sampling_mrad is None:
        facts["geometry"] = "far field, positions in object pixels"
    else:
        facts["geometry"] = (
            f"far field, wavelength {geometry.wavelength_angstrom:.5g} angstrom, "
            f"{geometry.angular_sampling_mrad[0]:.4g} x {geometry.angular_sampling_mrad[1]:.4g} mrad per pixel"
        )
    facts |= _window(measurement, parameters)
    if warning := _aperture_beyond_detector(measurement):
        facts["warning"] = warning
    ceiling = measurement.shot_noise_ceiling
    facts["noise ceiling"] = "unknown (not counted quanta)" if ceiling is None else f"{ceiling:.4f}"
    return facts


def _window(measurement: Measurement, parameters: Sequence[Parameter]) -> dict[str, str]:
    """Say how large the window of the waves is by default, and why; nothing where it is as large as the detector."""
    padding = next((float(str(p.default)) for p in parameters if p.name == PADDING), 1.0)
    if padding <= 1:
        return {}
    rows, columns = window_shape(measurement.valid.shape, padding)
    share = 100 * share_at_edge(measurement)
    return {
        "window": f"{rows} x {columns} pixels: scattering reaches the detector's edge ({share:.2g} % of the counts)"
    }


def _aperture_beyond_detector(measurement: Measurement) -> str:
    """Say that the bright-field disk does not fit the detector; empty where it does, or where no lens is known."""
    geometry = measurement.geometry
    if not isinstance(geometry, FarField) or geometry.semi_convergence_mrad is None:
        return ""
    sampling, shape = geometry.angular_sampling_mrad, measurement.valid.shape
    if sampling is None:
        return ""
    reach = min(n / 2 * step for n, step in zip(shape, sampling, strict=True))
    if geometry.semi_convergence_mrad <= reach:
        return ""
    return (
        f"the semi-convergence angle {geometry.semi_convergence_mrad:g} mrad is beyond the detector, which reaches "
        f"{reach:.4g} mrad: is objective.geometry.semi_convergence_mrad (or the angular sampling) right?"
    )
