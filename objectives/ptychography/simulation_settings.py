"""How ``autotune simulate`` makes a 4D-STEM measurement; the ``objective.simulate`` block. Light: no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

MISMATCH = (
    "camera_length",
    "center_offset_y",
    "center_offset_x",
    "elliptical_distortion",
    "elliptical_angle",
    "defocus",
    "astigmatism",
    "astigmatism_angle",
    "spherical_aberration",
    "scan_rotation",
    "scan_scale",
    "scan_shear",
)


class SimulationSettings(BaseModel):
    """A monolayer with vacancies, imaged by a slightly wrong instrument, in counted electrons.

    Attributes:
        seed: fixes the truth drawn, the vacancies and the shot noise.
        energy_kev: kinetic energy of the electrons.
        semi_convergence_mrad: semi-convergence angle.
        angular_sampling_mrad: stated scattering angle per detector pixel (the camera length makes it wrong).
        detector_pixels: pixels along each side of the detector, even.
        scan_points: scan positions along each side of the raster.
        scan_step_angstrom: stated scan step.
        electrons_per_pattern: mean dose per pattern.
        mismatch: parameter -> true value, or [low, high] from which it is drawn. Parameters left out are 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, strict=True)
    energy_kev: _Positive = 80.0
    semi_convergence_mrad: _Positive = 24.0
    angular_sampling_mrad: _Positive = 1.4
    detector_pixels: int = Field(default=48, ge=16, le=512, multiple_of=2, strict=True)
    scan_points: int = Field(default=20, ge=4, le=512, strict=True)
    scan_step_angstrom: _Positive = 1.0
    electrons_per_pattern: _Positive = 1e5
    mismatch: dict[str, _Finite | tuple[_Finite, _Finite]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_mismatch(self) -> SimulationSettings:
        for name, value in self.mismatch.items():
            if name not in MISMATCH:
                raise ValueError(f"mismatch.{name} is not a mismatch parameter; known: {', '.join(MISMATCH)}")
            if isinstance(value, tuple) and not value[0] < value[1]:
                raise ValueError(f"mismatch.{name}: {value[0]:g} is not below {value[1]:g}")
        widest = self.detector_pixels / 2 * self.angular_sampling_mrad
        if self.semi_convergence_mrad > 0.8 * widest:
            raise ValueError(
                f"semi_convergence_mrad {self.semi_convergence_mrad:g} does not fit the detector, "
                f"which ends at {widest:g} mrad; at most {0.8 * widest:g}"
            )
        return self
