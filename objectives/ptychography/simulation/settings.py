"""The ``objective.simulate`` block: settings of a simulated 4D-STEM measurement. Light: no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Tilt = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]

Engine = Literal["direct", "abtem", "model"]
Builtin = Literal["MoS2", "MoSe2", "WS2", "WSe2", "graphene", "SrTiO3"]

LAYERS: tuple[str, ...] = ("MoS2", "MoSe2", "WS2", "WSe2", "graphene")
"""Built-in specimens that are one layer; the others are crystals of any thickness."""

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
    "background",
    "convergence_angle",
    "detector_blur",
)
"""Mismatch of the instrument, which every engine simulates. A ``convergence_angle`` that is not stated is the
stated semi-convergence angle."""

SPECIMEN_MISMATCH = ("thickness", "tilt_y", "tilt_x")
"""Mismatch of a thick specimen, which the engines ``abtem`` and ``model`` simulate."""

_VIBRATION = 0.08

_LIMITS = {
    "camera_length": (-50, 50),
    "elliptical_distortion": (-0.5, 0.5),
    "scan_scale": (-90, 900),
    "scan_shear": (-60, 60),
    "astigmatism": (0, 1e6),
    "background": (0, 1e9),
    "convergence_angle": (1e-3, 1e3),
    "detector_blur": (0, 5),
    "tilt_y": (-100, 100),
    "tilt_x": (-100, 100),
}
"""Limits of the true values, within those of a reconstruction's parameters."""

_STATED_AS = {"thickness": "thickness_angstrom", "tilt_y": "tilt_y", "tilt_x": "tilt_x"}


class SpecimenSettings(BaseModel):
    """The specimen of the multislice engine; the beam is along the crystal's c axis (z of its file).

    Attributes:
        file: CIF or XYZ file, relative to the study's folder. It is repeated along its periodic directions.
        builtin: a specimen known by name: monolayers (MoS2, MoSe2, WS2, WSe2, graphene) and SrTiO3 along [001].
        thickness_angstrom: thickness of a crystal; one unit cell where it is absent. A monolayer has its own.
        tilt_y: specimen tilt in mrad; atom columns lean towards +y on their way down the beam.
        tilt_x: the same along x.
        vacancies: fraction of the atoms that are missing, at random.
        slice_thickness_angstrom: the nearest thickness that divides the specimen into equal slices is used.
        frozen_phonons: thermal configurations averaged over; 0 leaves every atom at rest.
        vibration_angstrom: root mean square displacement of every atom along each axis, with ``frozen_phonons``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    builtin: Builtin | None = None
    thickness_angstrom: _Positive | None = None
    tilt_y: _Tilt = 0.0
    tilt_x: _Tilt = 0.0
    vacancies: float = Field(default=0.0, ge=0, lt=1)
    slice_thickness_angstrom: float = Field(default=2.0, ge=0.2, le=20)
    frozen_phonons: int = Field(default=0, ge=0, le=1000, strict=True)
    vibration_angstrom: float = Field(default=_VIBRATION, gt=0, le=1)

    @property
    def mismatch(self) -> frozenset[str]:
        """Names of the mismatch parameters whose values these settings state: those that differ from the default.

        Settings that were written to a file state every value, so that whether one was given cannot be asked.
        """
        fields = type(self).model_fields
        return frozenset(n for n, field in _STATED_AS.items() if getattr(self, field) != fields[field].default)

    @model_validator(mode="after")
    def _one_specimen(self) -> SpecimenSettings:
        if (self.file is None) == (self.builtin is None):
            stated = "neither" if self.file is None else f"file {self.file} and builtin {self.builtin}"
            raise ValueError(f"give exactly one of 'file' and 'builtin' (got {stated})")
        if self.builtin in LAYERS and self.thickness_angstrom is not None:
            raise ValueError(
                f"thickness_angstrom {self.thickness_angstrom:g}: {self.builtin} is one layer of its own thickness; "
                f"leave it out, or take {' or '.join(sorted(set(get_args(Builtin)) - set(LAYERS)))}"
            )
        if self.vibration_angstrom != _VIBRATION and self.frozen_phonons == 0:
            raise ValueError(
                f"vibration_angstrom {self.vibration_angstrom:g} acts through frozen_phonons, which is 0; "
                "state frozen_phonons"
            )
        return self


class SimulationSettings(BaseModel):
    """A specimen imaged by a slightly wrong instrument, in counted electrons.

    Attributes:
        engine: ``direct``: a monolayer of analytic phase, single slice, quick; ``abtem``: multislice through the atoms
            of ``specimen`` by abTEM (``pip install '.[sim]'``); ``model``: the forward model that reconstructs,
            through ``slices`` monolayers, for tests of solvers.
        specimen: the specimen of the engine ``abtem``.
        slices: slices of the engine ``model``; more than one need ``mismatch.thickness``.
        probe_modes: incoherent modes of the probe of the engine ``model``.
        seed: fixes the truth drawn, the vacancies, the vibrations and the shot noise.
        energy_kev: kinetic energy of the electrons.
        semi_convergence_mrad: semi-convergence angle.
        angular_sampling_mrad: stated scattering angle per detector pixel (the camera length makes it wrong).
        detector_pixels: pixels along each side of the detector, even.
        scan_points: scan positions along each side of the raster.
        scan_step_angstrom: stated scan step.
        position_error_angstrom: root mean square distance of the true scan positions from where the scan would put
            them, each position's own, at random.
        electrons_per_pattern: mean dose per pattern.
        mismatch: parameter -> true value, or [low, high] from which it is drawn. Parameters left out have the value
            that ``specimen`` states, or 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Engine = "direct"
    specimen: SpecimenSettings | None = None
    slices: int = Field(default=1, ge=1, le=100, strict=True)
    probe_modes: int = Field(default=1, ge=1, le=16, strict=True)
    seed: int = Field(default=0, ge=0, strict=True)
    energy_kev: _Positive = 80.0
    semi_convergence_mrad: _Positive = 24.0
    angular_sampling_mrad: _Positive = 1.4
    detector_pixels: int = Field(default=48, ge=16, le=512, multiple_of=2, strict=True)
    scan_points: int = Field(default=20, ge=4, le=512, strict=True)
    scan_step_angstrom: _Positive = 1.0
    position_error_angstrom: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    electrons_per_pattern: float = Field(default=1e5, gt=0, le=1e12, allow_inf_nan=False)
    mismatch: dict[str, _Finite | tuple[_Finite, _Finite]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _makes_sense(self) -> SimulationSettings:
        problems = [*self._mismatch_problems(), *self._specimen_problems()]
        widest = self.detector_pixels / 2 * self.angular_sampling_mrad
        if self.semi_convergence_mrad > 0.8 * widest:
            problems.append(
                f"semi_convergence_mrad {self.semi_convergence_mrad:g} does not fit the detector, "
                f"which ends at {widest:g} mrad; at most {0.8 * widest:g}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _mismatch_problems(self) -> Iterator[str]:
        names = (*MISMATCH, *SPECIMEN_MISMATCH)
        for name, value in self.mismatch.items():
            low, high = value if isinstance(value, tuple) else (value, value)
            if name not in names:
                yield f"mismatch.{name} is not a mismatch parameter; known: {', '.join(names)}"
            if isinstance(value, tuple) and not low < high:
                yield f"mismatch.{name}: {low:g} is not below {high:g}"
            if name == "thickness" and low <= 0:
                yield f"mismatch.thickness: {low:g} is not above 0"
            least, most = _LIMITS.get(name, (-1e9, 1e9))
            if low < least or high > most:
                yield f"mismatch.{name}: {low if low < least else high:g} is outside {least:g} to {most:g}"

    def _specimen_problems(self) -> Iterator[str]:
        """Yield settings that do not fit the engine, or are stated twice."""
        if self.engine == "model":
            yield from self._model_problems()
            return
        for name in ("slices", "probe_modes"):
            if getattr(self, name) != 1:
                yield f"{name}: the engine '{self.engine}' has none; state engine: model, or leave it out"
        unknown = [name for name in SPECIMEN_MISMATCH if name in self.mismatch]
        if self.engine == "direct":
            stated = [*(["specimen"] if self.specimen is not None else []), *(f"mismatch.{name}" for name in unknown)]
            if stated:
                yield (
                    f"{' and '.join(stated)}: the engine 'direct' has a thin specimen of its own; "
                    f"state engine: abtem, or leave {'it' if len(stated) == 1 else 'them'} out"
                )
            return
        if self.specimen is None:
            yield f"specimen is missing: the engine '{self.engine}' needs one, as 'specimen: {{builtin: MoS2}}'"
            return
        for name in unknown:
            if name in self.specimen.mismatch:
                yield f"mismatch.{name} and specimen.{_STATED_AS[name]} are both stated; keep one of them"
        if self.specimen.builtin in LAYERS and "thickness" in unknown:
            yield f"mismatch.thickness: {self.specimen.builtin} is one layer and has its own thickness; leave it out"

    def _model_problems(self) -> Iterator[str]:
        """Yield settings that do not fit the engine ``model``."""
        if self.specimen is not None:
            yield "specimen: the engine 'model' has one of its own; state engine: abtem, or leave it out"
        thick = [name for name in SPECIMEN_MISMATCH if name in self.mismatch]
        if self.slices == 1 and thick:
            yield f"mismatch.{' and mismatch.'.join(thick)}: one slice has no depth; state slices"
        if self.slices > 1 and "thickness" not in self.mismatch:
            yield f"slices {self.slices}: state mismatch.thickness in angstrom, too"

    @property
    def stated_truth(self) -> set[str]:
        """Parameters whose true value the study states or has drawn, and so may be revealed."""
        return set(self.mismatch) | (set() if self.specimen is None else self.specimen.mismatch)

    def resolved(self, folder: Path) -> SimulationSettings:
        """These settings with the specimen's file made a path that can be opened from anywhere."""
        if self.specimen is None or self.specimen.file is None:
            return self
        specimen = self.specimen.model_copy(update={"file": folder / self.specimen.file.expanduser()})
        return self.model_copy(update={"specimen": specimen})
