"""The study's settings for its measurement: which data, how to read them, and geometry that the file lacks.

Of other packages only pydantic and SciPy are imported here, so that a study can be checked without loading any reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from objectives.diffraction.data.format_table import AUTO, FORMATS
from objectives.diffraction.data.radiation import Radiation, wavelength_angstrom


class _FormatName:
    """Pydantic's view of a format's name: ``auto`` or a row of the format table, as it is when a study is read.

    The message and the JSON Schema are those of a ``Literal`` of these names.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"enum": self._names(), "type": "string"}

    @staticmethod
    def _names() -> list[str]:
        return [AUTO, *FORMATS]

    @classmethod
    def _checked(cls, value: Any) -> Any:
        names = cls._names()
        if value in names:
            return value
        quoted = [f"'{name}'" for name in names]
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(quoted[:-1])} or {quoted[-1]}"})


_WAVELENGTH = {"radiation", "energy_kev", "wavelength_angstrom"}
_SAMPLING = {"angular_sampling_mrad", "reciprocal_sampling_per_angstrom"}
_MEASURED = {"detector_distance_mm", "detector_pixel_um"}

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


def _as_pair(value: Any) -> Any:
    """Accept one number for both axes."""
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_NUMBER = {"type": "number", "exclusiveMinimum": 0}
_Pair = Annotated[
    tuple[_Positive, _Positive],
    BeforeValidator(_as_pair),
    WithJsonSchema(
        {"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}]},
        mode="validation",
    ),
]


_Count = Annotated[int, Field(ge=1, strict=True)]
_Index = Annotated[int, Field(ge=0, strict=True)]


class Orientation(BaseModel):
    """Turn of every pattern after reading: flipped along y, then along x, then transposed.

    PtyRAD's and fold_slice's ``meas_flipT: [flip_y, flip_x, transpose]`` are the same operations in the same order.
    A beam at pixel N//2 of an even axis lies at N//2 - 1 after a flip.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_y: bool = Field(default=False, strict=True)
    flip_x: bool = Field(default=False, strict=True)
    transpose: bool = Field(default=False, strict=True)


class Region(BaseModel):
    """A rectangle of a raster scan.

    Attributes:
        rows, columns: [first, end), counted from 0, without ``end``; all rows (columns) where absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[_Index, _Count] | None = None
    columns: tuple[_Index, _Count] | None = None

    @model_validator(mode="after")
    def _some(self) -> Region:
        if self.rows is None and self.columns is None:
            raise ValueError("give 'rows: [first, end]', 'columns: [first, end]', or both")
        for name, pair in (("rows", self.rows), ("columns", self.columns)):
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(f"{name} [{pair[0]}, {pair[1]}] is empty: the first must lie before the end")
        return self


class DataSettings(BaseModel):
    """The ``objective.data`` block of a study: exactly one of ``file`` and ``record``, and how to read it.

    Attributes:
        file: path of a measurement file, relative to the study's folder.
        record: name of a public record (:mod:`objectives.diffraction.data.open.records`).
        format: name of a file format (:mod:`objectives.diffraction.data.format_table`); ``auto`` decides by content,
            then by suffix.
        zero_frequency: where the unscattered beam is stored: ``center`` is pixel (N//2, N//2), ``corner`` is pixel
            (0, 0), as an FFT leaves it. Only some formats have this setting, ``positions``, ``key`` and
            ``detector_axes``; the format table lists them.
        positions: unit of the stored positions. Positions in object pixels become angstrom where wavelength and
            angular sampling are known.
        key: name of the dataset (HDF5), variable (MATLAB) or signal (RosettaSciIO), where the file holds several.
        shape: (rows, columns) of a raster whose file holds only a list of patterns, in row-major order.
        detector_axes: whether the pattern's axes are the array's last or first two.
        orientation: how the patterns are turned after reading; it replaces the file's own statement.
        mask: a mask of bad pixels (nonzero = ignore), stored like the patterns, in addition to the file's own. A .npy
            file, or an HDF5 file with ``::/dataset`` appended where it holds several; relative to the study's folder.
        negative: whether negative values are refused or set to zero.
        region: a rectangle of a raster; the rest of the file is not read.
        step: use every step-th row and column of a raster, or every step-th position of another scan.
        crop: number of central detector pixels kept along each axis, even; all where absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    record: str | None = None
    format: Annotated[str, _FormatName()] = AUTO
    zero_frequency: Literal["center", "corner"] = "center"
    positions: Literal["angstrom", "object pixel"] = "angstrom"
    key: str | None = Field(default=None, min_length=1)
    shape: tuple[_Count, _Count] | None = None
    detector_axes: Literal["last", "first"] = "last"
    orientation: Orientation | None = None
    mask: str | None = Field(default=None, min_length=1, json_schema_extra={"format": "path"})
    negative: Literal["refuse", "clip"] = "refuse"
    region: Region | None = None
    step: int = Field(default=1, ge=1, strict=True)
    crop: int | None = Field(default=None, ge=2, multiple_of=2, strict=True)

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        if (self.file is None) == (self.record is None):
            stated = "neither" if self.file is None else f"file {self.file} and record '{self.record}'"
            raise ValueError(f"give exactly one of 'file' and 'record' (got {stated})")
        return self

    def over(self, base: DataSettings) -> DataSettings:
        """These settings, completed from ``base`` where they state nothing (``file`` and ``record`` are not taken)."""
        stated = {name: getattr(self, name) for name in self.model_fields_set}
        inherited = {name: getattr(base, name) for name in base.model_fields_set - {"file", "record"}}
        return DataSettings(**{**inherited, **stated})


class GeometrySettings(BaseModel):
    """The ``objective.geometry`` block of a study; its values override those of the file.

    Attributes:
        regime: far field, or magnified near field (a focus, the sample behind it, then the detector).
        radiation, energy_kev: kind of radiation, and its kinetic (electron) or photon energy; they give the wavelength.
        wavelength_angstrom: the wavelength itself, instead of radiation and energy.
        angular_sampling_mrad: far field: scattering angle per detector pixel, one number or [y, x].
        reciprocal_sampling_per_angstrom: far field: spatial frequency per detector pixel (without 2 pi), one number
            or [y, x]; times the wavelength it is the angular sampling, which may be stated instead.
        semi_convergence_mrad: far field: semi-convergence angle of a probe-forming aperture.
        defocus_angstrom: far field: nominal defocus, positive = underfocus.
        scan_rotation_degree: far field: nominal scan rotation.
        scan_step_angstrom: step of a raster scan whose positions the file does not list, one number or [y, x].
        detector_distance_mm: far field: sample to detector; near field: focus to detector.
        detector_pixel_um: pixel pitch of the detector, one number or [y, x].
        focus_to_sample_mm: near field: nominal distance from the focus to the sample.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    regime: Literal["far field", "near field"] | None = None
    radiation: Radiation | None = None
    energy_kev: _Positive | None = None
    wavelength_angstrom: _Positive | None = None
    angular_sampling_mrad: _Pair | None = None
    reciprocal_sampling_per_angstrom: _Pair | None = None
    semi_convergence_mrad: _Positive | None = None
    defocus_angstrom: _Finite | None = None
    scan_rotation_degree: _Finite | None = None
    scan_step_angstrom: _Pair | None = None
    detector_distance_mm: _Positive | None = None
    detector_pixel_um: _Pair | None = None
    focus_to_sample_mm: _Positive | None = None

    @model_validator(mode="after")
    def _one_wavelength(self) -> GeometrySettings:
        if (self.radiation is None) != (self.energy_kev is None):
            raise ValueError("give 'radiation' (electron or x-ray) and 'energy_kev' together")
        if self.wavelength_angstrom is not None and self.energy_kev is not None:
            raise ValueError(
                f"give either 'wavelength_angstrom' or 'radiation' with 'energy_kev' "
                f"(got {self.wavelength_angstrom} angstrom and {self.energy_kev} keV)"
            )
        if self.angular_sampling_mrad is not None and self.reciprocal_sampling_per_angstrom is not None:
            raise ValueError(
                "give either 'angular_sampling_mrad' or 'reciprocal_sampling_per_angstrom' "
                f"(got {self.angular_sampling_mrad} mrad and {self.reciprocal_sampling_per_angstrom} 1/angstrom)"
            )
        return self

    @property
    def wavelength(self) -> float | None:
        """Wavelength in angstrom, stated or from the energy; None where neither is known."""
        if self.radiation is not None and self.energy_kev is not None:
            return wavelength_angstrom(self.radiation, self.energy_kev)
        return self.wavelength_angstrom

    def stated(self) -> dict[str, Any]:
        """The fields that have a value."""
        return self.model_dump(exclude_none=True)

    def over(self, base: GeometrySettings) -> GeometrySettings:
        """These settings, completed from ``base`` where they state nothing.

        A stated wavelength or energy replaces both of ``base``; a stated distance or pixel of the detector replaces the
        angular sampling of ``base``, which follows from them.
        """
        mine = self.stated()
        inherited = base.stated()
        if mine.keys() & _WAVELENGTH:
            inherited = {name: value for name, value in inherited.items() if name not in _WAVELENGTH}
        if mine.keys() & (_SAMPLING | _MEASURED):
            inherited = {name: value for name, value in inherited.items() if name not in _SAMPLING}
        return GeometrySettings(**{**inherited, **mine})
