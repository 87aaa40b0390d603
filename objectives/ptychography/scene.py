"""From parameter values to what the forward model needs: probe positions, illumination, propagator.

A scene is differentiable in every mismatch parameter. Nothing here depends on the object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.data.measurement import FarField, Measurement, NearField
from objectives.detector import DetectorMap, rotation
from objectives.ptychography.parameters import forms_probe
from objectives.ptychography.probe import Optics

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Scene:
    """What the instrument does, at one set of mismatch parameters.

    Attributes:
        positions: (position, 2) probe centres (y, x) in object pixels, centred on zero.
        pixel: (2,) object pixel size (y, x) in the measurement's position unit, before the detector's affine map.
        probe: (det_y, det_x) complex, centred at (N//2, N//2), with unit total intensity; None where the
            illumination is not given by a lens and starts from the data or the file.
        propagator: (det_y, det_x) complex Fourier multiplier from the sample to the detector (near field), zero
            frequency at [0, 0]; None for the far field.
    """

    positions: Tensor
    pixel: Tensor
    probe: Tensor | None
    propagator: Tensor | None


def build_scene(measurement: Measurement, values: Values) -> Scene:
    """Build the scene of ``measurement`` at ``values`` (name -> scalar tensor, all of one dtype and device)."""
    geometry = measurement.geometry
    if isinstance(geometry, NearField):
        return _near_field(measurement, geometry, values)
    return _far_field(measurement, geometry, values)


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
    ky = torch.fft.fftfreq(rows, dtype=z1.dtype, device=z1.device) / pixel[0]
    kx = torch.fft.fftfreq(columns, dtype=z1.dtype, device=z1.device) / pixel[1]
    k2 = ky.square()[:, None] + kx.square()[None, :]
    phase = -math.pi * geometry.wavelength_angstrom * distance * k2
    return Scene(scan_positions(measurement, values) / pixel, pixel, None, torch.polar(torch.ones_like(phase), phase))


def _far_field(measurement: Measurement, geometry: FarField, values: Values) -> Scene:
    positions = scan_positions(measurement, values)
    like = positions
    if geometry.angular_sampling_mrad is None or geometry.wavelength_angstrom is None:
        return Scene(positions, torch.ones(2, dtype=like.dtype, device=like.device), None, None)
    sampling = torch.tensor(geometry.angular_sampling_mrad, dtype=like.dtype, device=like.device)
    reciprocal = sampling * 1e-3 / geometry.wavelength_angstrom
    shape = measurement.valid.shape
    pixel = 1 / (reciprocal * torch.tensor(shape, dtype=like.dtype, device=like.device))
    if not forms_probe(geometry):
        return Scene(positions / pixel, pixel, None, None)
    detector = detector_map(values)
    k = detector.ideal_coordinates((shape[0], shape[1])) * reciprocal[:, None, None]
    probe = optics(geometry.wavelength_angstrom, values).probe(k, float(reciprocal.mean()))
    return Scene(detector.object_pixels(positions, pixel), pixel, probe, None)


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
