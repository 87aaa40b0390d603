"""Draft a first study for a measurement file: what its metadata say, what it lacks, and ranges worth searching.

Ranges, units and meanings are those of :mod:`objectives.ptychography.parameters.instrument`; this module only chooses
which of the parameters a first study tunes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from autotune.objective import Draft, DraftLine, InputError, Parameter, Problem
from objectives.diffraction.data.format_table import FORMATS
from objectives.diffraction.data.geometry import lacking, resolve_geometry
from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.data.open.recognise import recognise
from objectives.diffraction.data.settings import GeometrySettings
from objectives.ptychography.draft.depth import depth_lines, disk_variance, iterations_of
from objectives.ptychography.draft.inspection import DATA, Inspection, look
from objectives.ptychography.draft.ptyrad_params import SAID, PtyRADParams, read_params
from objectives.ptychography.parameters.instrument import parameters_of

_TUNED = (
    "focus_to_sample",
    "camera_length",
    "center_offset_y",
    "center_offset_x",
    "elliptical_distortion",
    "defocus",
    "scan_rotation",
)
_SCALES = {"energy_kev", "wavelength_angstrom", "angular_sampling_mrad", "reciprocal_sampling_per_angstrom"}
_SCALES |= {"detector_distance_mm", "detector_pixel_um"}
_LARGE_BYTES = 2**30
_ELECTRONS_BELOW = 0.1  # angstrom: electrons of more than 15 keV; photons would have more than 120 keV
_UNSURE_ROTATION = 30.0
"""Degrees to both sides of a stated scan rotation: in practice it is often wrong by more than ten."""
_NOT_WORTH_A_TRIAL = 1e-4
"""Gain in consistency at which a search may end."""
_FOCUS_EXAMPLE = {"low": 2.5, "high": 5.0}

_GEOMETRY: Mapping[str, tuple[Any, str]] = {
    "wavelength_angstrom": (0.0487, "angstrom; or radiation: electron (or x-ray) with energy_kev: 60"),
    "angular_sampling_mrad": (1.02, "mrad per detector pixel, one number or [y, x]; or detector_distance_mm (mm) "
                              "with detector_pixel_um (micrometre)"),
    "detector_distance_mm": (1120, "mm, sample to detector (near field: focus to detector)"),
    "detector_pixel_um": (55, "micrometre, one number or [y, x]"),
    "scan_step_angstrom": (0.5, "angstrom, step of the raster"),
}  # fmt: skip
"""Name of a geometry setting that a reconstruction may need -> an example of its value, and its meaning."""


def draft_study(file: Path, *, folder: Path) -> Draft | None:
    """Propose a study for ``file``; see :meth:`autotune.objective.DraftsStudies.draft`."""
    params = read_params(file)
    return _of_measurement(file, folder) if params is None else _of_params(params, folder)


def _of_params(params: PtyRADParams, folder: Path) -> Draft | None:
    """A study that PtyRAD reconstructs, of the measurement that its parameters name."""
    draft = _of_measurement(params.measurement(), folder, params)
    if draft is None:
        raise InputError(Problem(str(params.measurement()), "is of no format that is known", "see docs/study-file.md"))
    ours, held = list(draft.lines), params.parameters()
    no_more = {"parameters.detector_blur", "parameters.convergence_angle", "parameters.iterations", "parameters.slices",
               "parameters.thickness", "parameters.slice_smoothness", "parameters.window_padding",
               "parameters.position_step", "parameters.position_range"}  # fmt: skip
    kept = [
        line
        for line in ours
        if line.key not in no_more
        and line.key.removeprefix("parameters.") not in held
        and not (params.searches and line.key.startswith("parameters.") and line.status == "set")
    ]
    lines = [line for line in kept if not line.key.startswith(("parameters.", "budget."))]
    rest = [line for line in kept if line.key.startswith(("parameters.", "budget."))]
    left = params.left_out()
    facts = {
        **draft.facts,
        "what it leaves out": "has the study's defaults: no constraints, dp_pow 1 (docs/backends.md)",
        **({"not taken over": ", ".join(left)} if left else {}),
    }
    return Draft([*lines, *params.data(), *held.values(), *rest], facts)


def _of_measurement(file: Path, folder: Path, params: PtyRADParams | None = None) -> Draft | None:
    """A study of a measurement file; of its geometry, what parameters of PtyRAD say counts more."""
    try:
        kind = recognise(file)
    except InputError:
        if file.is_file() and h5py.is_hdf5(file):
            raise  # it says what the file holds instead
        return None
    except OSError as error:
        raise InputError(Problem(str(file), f"cannot be opened: {error.strerror}")) from error
    where = DraftLine("objective.data.file", _path_in_study(file, folder), f"format {kind}")
    inspection, asked = look(file, None if params is None else params.scan())
    told = {} if params is None else params.geometry().stated()
    inspection = replace(inspection, geometry=GeometrySettings(**told).over(inspection.geometry))
    reading = _Reading.of(inspection, kind)
    geometry = _geometry(inspection, reading.pixel_positions, told)
    lines = [where, *asked, *reading.lines(), *geometry, *_parameters(file, inspection, reading)]
    return Draft(lines, {"format": kind, **_facts(inspection, reading, asked)})


def _path_in_study(file: Path, folder: Path) -> str:
    """The path to state in the study: relative to its folder, absolute where they have only the root in common."""
    target = file.parent.resolve() / file.name
    base = folder.resolve()
    if os.path.commonpath([target, base]) == target.anchor:
        return str(target)
    relative = os.path.relpath(target, base)
    return str(target) if relative.startswith("~") else relative  # a leading ~ would be read as a home folder


@dataclass(frozen=True)
class _Reading:
    """Settings with which the study reads the file correctly where the reader's defaults would be wrong.

    Attributes:
        corner: whether to state that the beam is stored at the corner.
        pixel_positions: whether the positions are in object pixels.
        stated_unit: whether to state the unit of the positions, which the file does not say.
        clip: whether negative values have to be set to zero.
    """

    corner: bool
    pixel_positions: bool
    stated_unit: bool
    clip: bool

    @classmethod
    def of(cls, inspection: Inspection, kind: str) -> _Reading:
        pixels = inspection.position_unit == "object pixel"
        settings = FORMATS[kind].settings
        guessed = "positions" in settings and not pixels and _looks_like_pixels(inspection)
        return cls(
            "zero_frequency" in settings and inspection.corner, pixels or guessed, guessed, inspection.negative < 0
        )

    def lines(self) -> Iterator[DraftLine]:
        if self.corner:
            text = "the patterns are brightest around pixel (0, 0), as an FFT stores them; center: at (N//2, N//2)"
            yield DraftLine("objective.data.zero_frequency", "corner", text)
        if self.stated_unit:
            text = "a guess: the file states no geometry; remove this and state the geometry if they are in angstrom"
            yield DraftLine("objective.data.positions", "object pixel", text)
        if self.clip:
            text = "the file holds negative values, which no count is; clip sets them to zero"
            yield DraftLine("objective.data.negative", "clip", text)


def _looks_like_pixels(inspection: Inspection) -> bool:
    """Whether positions are listed without any length scale, and spaced as a scan in object pixels is."""
    step = inspection.step()
    scales = inspection.geometry.stated().keys() & _SCALES
    return step is not None and not scales and 0.25 <= step <= max(inspection.shape[-2:])


def _is_near(geometry: GeometrySettings) -> bool:
    return geometry.regime == "near field" or (geometry.regime is None and geometry.focus_to_sample_mm is not None)


def _sampled(geometry: GeometrySettings) -> bool:
    """Whether the scattering angle per pixel is stated, as such or as a spatial frequency."""
    return geometry.angular_sampling_mrad is not None or geometry.reciprocal_sampling_per_angstrom is not None


def _may_be_near(inspection: Inspection) -> bool:
    """Whether the file leaves open if it is far or near field: distances that either could have, and no lens."""
    geometry = inspection.geometry
    far = _sampled(geometry) or geometry.semi_convergence_mrad is not None
    return geometry.regime is None and not _is_near(geometry) and not far and geometry.detector_distance_mm is not None


def _lacking(inspection: Inspection, pixel_positions: bool) -> list[str]:
    """Names of the geometry that the study must state, the wavelength first."""
    geometry = inspection.geometry
    names = lacking(geometry, near=_is_near(geometry), pixel_positions=pixel_positions)
    names.sort(key=lambda name: name != "wavelength_angstrom")
    if inspection.positions is None and geometry.scan_step_angstrom is None:
        names.append("scan_step_angstrom")
    return names


def _geometry(inspection: Inspection, pixel_positions: bool, told: Mapping[str, Any]) -> Iterator[DraftLine]:
    """Lines of the geometry: those that must be stated, then those that the file states, then optional ones.

    What is ``told`` beside the file is written into the study.
    """
    geometry = inspection.geometry
    stated = geometry.stated()
    if _is_near(geometry) and geometry.regime is None:
        yield _geometry_line("regime", "near field", "the file states a distance from the focus to the sample")
    for name in _lacking(inspection, pixel_positions):
        example, meaning = _GEOMETRY[name]
        yield _geometry_line(name, example, meaning, "missing")
    for name, value in stated.items():
        if name != "scan_step_angstrom" or inspection.positions is None:  # refused beside listed positions
            said, status = (SAID, "set") if name in told else ("stated by the file", "optional")
            yield _geometry_line(name, _plain(value), said, status)
    if _is_near(geometry):
        return
    if _may_be_near(inspection):
        text = "if the detector sees a magnified shadow; the file does not say, far field is assumed"
        yield _geometry_line("regime", "near field", text, "optional")
    electrons = geometry.wavelength is None or geometry.wavelength < _ELECTRONS_BELOW
    if geometry.semi_convergence_mrad is None and electrons and not pixel_positions:
        text = "mrad, if a lens of known aperture forms the probe: then detector and lens can be tuned, too"
        yield _geometry_line("semi_convergence_mrad", 21, text, "optional")
    if geometry.semi_convergence_mrad is not None and geometry.defocus_angstrom is None:
        text = "angstrom, nominal, positive = underfocus: centres the range of defocus"
        yield _geometry_line("defocus_angstrom", 100, text, "optional")
    if geometry.scan_rotation_degree is None:
        text = "degree, nominal: then search only 10 degrees to both sides"
        yield _geometry_line("scan_rotation_degree", 0, text, "optional")


def _geometry_line(name: str, value: Any, comment: str, status: Any = "set") -> DraftLine:
    return DraftLine(f"objective.geometry.{name}", value, comment, status)


def _short(value: Any) -> Any:
    """A number to the seven digits that metadata carry, whole ones without a point."""
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.7g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def _plain(value: Any) -> Any:
    """A value of :class:`GeometrySettings` as a study states it: one number for equal axes."""
    if not isinstance(value, tuple):
        return _short(value)
    return _short(value[0]) if value[0] == value[1] else [_short(number) for number in value]


def _parameters(file: Path, inspection: Inspection, reading: _Reading) -> Iterator[DraftLine]:
    measurement = _as_measurement(file, inspection, reading)
    parameters = {p.name: p for p in parameters_of(measurement)}
    offset = inspection.beam_offset(reading.corner)
    centres = {"center_offset_y": offset[0], "center_offset_x": offset[1]}
    for name in _TUNED:
        if name not in parameters:
            continue
        parameter = parameters[name]
        key, text = f"parameters.{name}", f"{_unit(parameter)}{parameter.description}"
        if parameter.low is None or parameter.high is None:
            yield DraftLine(key, _FOCUS_EXAMPLE, f"{text}; the file does not say where to search", "missing")
            continue
        low, high = parameter.low, parameter.high
        nominal = inspection.geometry.scan_rotation_degree
        if name == "scan_rotation" and nominal is not None:
            low, high = nominal - _UNSURE_ROTATION, nominal + _UNSURE_ROTATION
        if name in centres and not low <= centres[name] <= high:
            middle = round(centres[name])
            low, high = middle + low, middle + high
            text += f"; the centre of mass lies at {centres[name]:+.1f}"
        yield DraftLine(key, {"low": _short(float(low)), "high": _short(float(high))}, text)
        if name == "elliptical_distortion":
            angle = parameters["elliptical_angle"]
            text = "degree, of the ellipse axis; held at 0 (along x) unless this line is used"
            yield DraftLine("parameters.elliptical_angle", {"low": angle.low, "high": angle.high}, text, "optional")
    if _may_be_near(inspection):
        text = "mm, with regime: near field; low and high are an example"
        yield DraftLine("parameters.focus_to_sample", _FOCUS_EXAMPLE, text, "optional")
    if (aperture := parameters.get("convergence_angle")) is not None and aperture.uncertainty is not None:
        held = {"value": aperture.default, "uncertainty": float(f"{aperture.uncertainty:.1g}")}
        text = "mrad, held as stated; intervals cover the standard uncertainty that it is stated with"
        yield DraftLine("parameters.convergence_angle", held, text, "optional")
    blur = parameters["detector_blur"]
    text = f"{_unit(blur)}{blur.description}"
    # Held at 0 it would pull the camera length of a lens away: the blurred edge of the disk seems further out or in.
    status: Literal["set", "optional"] = "set" if "camera_length" in parameters else "optional"
    yield DraftLine("parameters.detector_blur", {"low": blur.low, "high": blur.high}, text, status)
    patterns = measurement.patterns.astype(np.float64)
    variance = disk_variance(patterns, measurement.geometry, measurement.counted)
    if "slices" in parameters:
        yield from depth_lines(variance)
    iterations = iterations_of(variance, int(str(parameters["iterations"].default)))
    yield DraftLine("parameters.iterations", iterations, "of the solver, held fixed")
    yield DraftLine("budget.converged", _NOT_WORTH_A_TRIAL)
    if "position_step" in parameters:
        yield from _positions(parameters["position_range"])


def _positions(reach: Parameter) -> Iterator[DraftLine]:
    """Lines that refine scan positions."""
    text = "refines every scan position together with the object (docs/positions.md)"
    yield DraftLine("parameters.position_step", 1.0, text, "optional")
    text = f"{_unit(reach)}{reach.description}; at least twice the rms error"
    yield DraftLine("parameters.position_range", 6.0, text, "optional")


def _unit(parameter: Parameter) -> str:
    return "" if parameter.unit == "1" else f"{parameter.unit}: "


def _as_measurement(file: Path, inspection: Inspection, reading: _Reading) -> Measurement:
    """The sampled patterns as a measurement, with examples in place of the geometry that the study must state."""
    stated = {name: _GEOMETRY[name][0] for name in _lacking(inspection, reading.pixel_positions)}
    if _is_near(inspection.geometry):
        stated["regime"] = "near field"
    geometry = resolve_geometry(
        GeometrySettings(**stated), inspection.geometry, path=file, pixel_positions=reading.pixel_positions
    )
    patterns = inspection.patterns(reading.corner).astype(np.float32)
    positions = np.zeros((len(patterns), 2))
    valid = np.ones(patterns.shape[1:], np.bool_)
    return Measurement(patterns, positions, geometry, valid, inspection.counted, "the patterns looked at")


def _facts(inspection: Inspection, reading: _Reading, asked: Sequence[DraftLine]) -> dict[str, str]:
    rows, columns = inspection.shape[-2:]
    mean = float(inspection.samples.sum(axis=(1, 2)).mean())
    example = " (an example)" if any(line.key == f"{DATA}shape" and line.status == "missing" for line in asked) else ""
    scan = (
        f"raster of {inspection.scan_shape[0]} x {inspection.scan_shape[1]}{example}, " if inspection.scan_shape else ""
    )
    facts = {
        "patterns": f"{scan}{inspection.count} of {rows} x {columns} pixels, {inspection.dtype}",
        "counts": f"about {mean:.4g} per pattern"
        + ("" if inspection.counted else " (not whole numbers: not counted quanta)"),
        "masked pixels": "no mask in the file" if inspection.masked is None else str(inspection.masked),
    }
    size = 4 * inspection.count * rows * columns
    if size > _LARGE_BYTES:
        facts["memory"] = f"{size / 2**30:.1f} GiB as float32; objective.data.step and crop take less of it"
    if _may_be_near(inspection):
        facts["regime"] = "not stated by the file; far field is assumed"
    if inspection.negative < 0:
        facts["negative values"] = f"down to {inspection.negative:.4g}"
    offset = inspection.beam_offset(reading.corner)
    corner = ", once pixel (0, 0) is moved there" if reading.corner else ""
    facts["beam"] = f"centre of mass {offset[0]:+.1f}, {offset[1]:+.1f} pixel (y, x) from the centre{corner}"
    if inspection.corner and not reading.corner:
        facts["beam"] += "; but brightest at the corner: is this the transform of a pattern, or not centred?"
    step = inspection.step()
    if step is not None:
        unit = "object pixel" if reading.pixel_positions else "angstrom"
        facts["positions"] = f"listed, typically {step:.4g} {unit} apart"
    if inspection.probe:
        facts["probe"] = "in the file; the reconstruction starts from it"
    return facts
