"""Build from parameter values what the forward model needs: probe positions, illumination, propagators, background.

A scene is differentiable in every mismatch parameter. Nothing here depends on the object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.diffraction.detector import DetectorMap, rotation
from objectives.ptychography.model.illumination import forms_probe
from objectives.ptychography.model.probe import INTEGRATED, Optics

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Scene:
    """The instrument and the specimen's geometry at one set of mismatch parameters.

    Attributes:
        positions: (position, 2) probe centres (y, x) in object pixels, centred on zero.
        pixel: (2,) object pixel size (y, x) in the measurement's position unit, before the detector's affine map.
        background: scalar, expected counts at every pixel that the specimen does not scatter there.
        blur: scalar, standard deviation of the detector's Gaussian blur in pixels, beside the integration over a pixel.
        pixel_fill: side of the area that a detector pixel integrates over, in pixels.
        spectrum: (y, x) complex on the window, the probe as a detector of its size would see it in the far field, zero
            frequency at (N//2, N//2), unit total intensity; None where the illumination is not given by a lens and
            starts from the data or the file.
        propagator: (y, x) complex Fourier multiplier from the sample to the detector (near field), zero
            frequency at (N//2, N//2); None for the far field.
        slice_propagator: the multiplier from one slice to the next; None for a single slice.
    """

    positions: Tensor
    pixel: Tensor
    background: Tensor
    blur: Tensor
    pixel_fill: float
    spectrum: Tensor | None = None
    propagator: Tensor | None = None
    slice_propagator: Tensor | None = None

    def detached(self) -> Scene:
        """The scene without the parameters' graph."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        detached: dict[str, Any] = {name: part.detach() for name, part in parts.items() if isinstance(part, Tensor)}
        return replace(self, **detached)


def build_scene(
    measurement: Measurement, values: Values, slices: int = 1, window: tuple[int, int] | None = None
) -> Scene:
    """Build the scene of ``measurement``.

    Args:
        measurement: the measurement, for its geometry.
        values: name -> scalar tensor, all of one dtype and device; every mismatch parameter of the measurement.
        slices: number of slices of the object.
        window: (rows, columns) of the waves in the far field; the detector's where none are given.
    """
    geometry = measurement.geometry
    if isinstance(geometry, NearField):
        return _near_field(measurement, geometry, values)
    return _far_field(measurement, geometry, values, slices, window)


def scan_positions(measurement: Measurement, values: Values) -> Tensor:
    """Positions after scale, shear and rotation, in the measurement's position unit, shape (position, 2)."""
    like = values["scan_rotation"]
    stated = torch.as_tensor(measurement.positions, dtype=like.dtype, device=like.device)
    shear = torch.tan(torch.deg2rad(values["scan_shear"]))
    scale = 1 + values["scan_scale"] / 100
    # A shear of +v opens the angle between the scan axes to 90 + v degrees by leaning the slow axis y towards -x.
    sheared = torch.stack([stated[:, 0], stated[:, 1] - shear * stated[:, 0]], dim=1)
    return scale * (sheared @ rotation(values["scan_rotation"]).T)


def _near_field(measurement: Measurement, geometry: NearField, values: Values) -> Scene:
    """Parallel-beam equivalent of a cone beam: effective pixel p / M, distance z2 / M, M = (z1 + z2) / z1."""
    z1 = values["focus_to_sample"]
    magnification = geometry.detector_distance_mm / z1
    pitch = torch.tensor(geometry.detector_pixel_um, dtype=z1.dtype, device=z1.device) * 1e4
    pixel = pitch / magnification
    distance = (geometry.detector_distance_mm - z1) * 1e7 / magnification
    rows, columns = measurement.valid.shape
    ky, kx = (_centred(n, z1) / (n * pixel[i]) for i, n in enumerate((rows, columns)))
    k2 = ky.square()[:, None] + kx.square()[None, :]
    phase = -math.pi * geometry.wavelength_angstrom * distance * k2
    propagator = torch.polar(torch.ones_like(phase), phase)
    positions = scan_positions(measurement, values) / pixel
    return Scene(positions, pixel, *_seen(values), propagator=propagator)


def _far_field(
    measurement: Measurement, geometry: FarField, values: Values, slices: int, window: tuple[int, int] | None
) -> Scene:
    positions, seen = scan_positions(measurement, values), _seen(values)
    like = positions
    detector_shape: tuple[int, int] = measurement.valid.shape
    rows, columns = window or detector_shape
    if geometry.angular_sampling_mrad is None or geometry.wavelength_angstrom is None:
        finer = [d / n for d, n in zip(detector_shape, (rows, columns), strict=True)]
        pixel = torch.tensor(finer, dtype=like.dtype, device=like.device)
        return Scene(positions / pixel, pixel, *seen)
    sampling = torch.tensor(geometry.angular_sampling_mrad, dtype=like.dtype, device=like.device)
    reciprocal = sampling * 1e-3 / geometry.wavelength_angstrom
    pixel = 1 / (reciprocal * torch.tensor((rows, columns), dtype=like.dtype, device=like.device))
    if not forms_probe(geometry):
        q = torch.stack(torch.meshgrid(_centred(rows, like), _centred(columns, like), indexing="ij"))
        between = _between_slices(q * reciprocal[:, None, None], geometry.wavelength_angstrom, values, slices)
        return Scene(positions / pixel, pixel, *seen, slice_propagator=between)
    detector = detector_map(values)
    k = detector.ideal_coordinates((rows, columns)) * reciprocal[:, None, None]
    spectrum = optics(geometry.wavelength_angstrom, values).spectrum(k, float(reciprocal.mean()))
    seen = _seen(values, INTEGRATED)
    between = _between_slices(k, geometry.wavelength_angstrom, values, slices)
    return Scene(detector.object_pixels(positions, pixel), pixel, *seen, spectrum, slice_propagator=between)


def _seen(values: Values, integrated: float = 1.0) -> tuple[Tensor, Tensor, float]:
    """Background, blur and fill of the detector's pixels, of which the response integrates a share of the side."""
    return values["background"], values["detector_blur"], integrated * float(values["pixel_fill"])


def _centred(n: int, like: Tensor) -> Tensor:
    """-(n//2) ... as ``like``."""
    return torch.arange(n, dtype=like.dtype, device=like.device) - n // 2


def _between_slices(k: Tensor, wavelength: float, values: Values, slices: int) -> Tensor | None:
    """Fresnel propagator over thickness / slices, in coordinates that lean with the tilted specimen.

    ``exp(-i pi lambda dz k^2 + 2 pi i dz k . tan(tilt))``: a column of atoms along the specimen's normal, which a tilt
    displaces by +dz tan(tilt) from slice to slice, stays in its pixel (Ishizuka, Acta Cryst. A38, 773 (1982)).

    Args:
        k: (2, y, x) spatial frequency (y, x) of every pixel of the window in 1/angstrom.
        wavelength: angstrom.
        values: thickness in angstrom, tilts in mrad.
        slices: their number; None is returned for one.
    """
    if slices == 1:
        return None
    dz = values["thickness"] / slices
    lean = dz * torch.tan(1e-3 * torch.stack([values["tilt_y"], values["tilt_x"]]))
    phase = math.pi * (2 * (k * lean[:, None, None]).sum(0) - wavelength * dz * k.square().sum(0))
    return torch.polar(torch.ones_like(phase), phase)


def slice_propagator(geometry: FarField, window: tuple[int, int], slice_thickness: Tensor) -> Tensor:
    """The propagator between two slices of a specimen that is not tilted, on a detector without distortion.

    Raises:
        ValueError: wavelength or angular sampling are not known.
    """
    if geometry.angular_sampling_mrad is None or geometry.wavelength_angstrom is None:
        raise ValueError("wavelength and angular sampling are not known, which propagation between slices needs")
    step = torch.tensor(geometry.angular_sampling_mrad).to(slice_thickness) * 1e-3 / geometry.wavelength_angstrom
    k = torch.stack(torch.meshgrid(*(_centred(n, step) for n in window), indexing="ij")) * step[:, None, None]
    straight = {
        "thickness": 2 * slice_thickness,
        **dict.fromkeys(("tilt_y", "tilt_x"), torch.zeros_like(slice_thickness)),
    }
    found = _between_slices(k, geometry.wavelength_angstrom, straight, 2)
    assert found is not None  # noqa: S101
    return found


def detector_map(values: Values) -> DetectorMap:
    """The detector map at ``values``."""
    return DetectorMap.from_parameters(
        values["camera_length"],
        values["center_offset_y"],
        values["center_offset_x"],
        values["elliptical_distortion"],
        values["elliptical_angle"],
    )


def optics(wavelength_angstrom: float, values: Values) -> Optics:
    """The probe-forming optics at ``values``."""
    return Optics(
        torch.full_like(values["defocus"], wavelength_angstrom),
        values["convergence_angle"],
        values["defocus"],
        values["astigmatism"],
        values["astigmatism_angle"],
        values["spherical_aberration"],
    )
