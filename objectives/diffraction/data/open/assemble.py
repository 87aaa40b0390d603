"""Assemble a checked :class:`Measurement` from a file's contents: geometry, mask, positions and patterns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents, Findings
from objectives.diffraction.data.geometry import missing, resolve_geometry
from objectives.diffraction.data.mask import read_mask
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.diffraction.data.pattern_turns import central, orient, orient_geometry, orient_probe, oriented_size
from objectives.diffraction.data.patterns import load_patterns
from objectives.diffraction.data.selection import Selection, select
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

Positions = NDArray[np.float64]

_ABSURD = 1e30  # a position beyond this counts as infinite, whatever the unit


def assemble(contents: Contents, data: DataSettings, geometry: GeometrySettings) -> Measurement:
    """Build the measurement.

    Args:
        contents: an open file.
        data: ``region``, ``step``, ``orientation``, ``crop``, ``mask`` and ``negative`` are applied here; the reader
            has applied the other settings.
        geometry: geometry stated by the study, merged over a record's defaults.

    Returns:
        The measurement: float32 patterns with masked pixels set to zero and the beam at (N//2, N//2),
        positions centred on zero.

    Raises:
        InputError: with every problem of the file and the settings.
    """
    selection = select(contents, data)
    findings = Findings()
    resolved = bad = loaded = positions = None
    try:
        resolved = resolve_geometry(
            geometry,
            orient_geometry(contents.geometry, selection.orientation),
            path=contents.path,
            pixel_positions=contents.position_unit == "object pixel",
        )
    except InputError as error:
        findings.problems.extend(error.problems)
    try:
        positions = _positions(contents, geometry)
    except InputError as error:
        findings.problems.extend(error.problems)
    findings.add(_probe_problem(contents, isinstance(resolved, FarField)))
    try:
        bad = _bad_pixels(contents, data, selection)
        loaded = load_patterns(contents, selection, bad, data.negative)
    except InputError as error:
        findings.problems.extend(error.problems)
    findings.raise_any()
    if resolved is None or bad is None or loaded is None or positions is None:
        raise AssertionError("a part is missing without a problem")  # unreachable: each part is there, or its problem
    return _finish(contents, selection, resolved, bad, loaded, positions)


def _finish(
    contents: Contents,
    selection: Selection,
    geometry: FarField | NearField,
    bad: NDArray[np.bool_],
    loaded: tuple[NDArray[np.float32], bool],
    positions: Positions,
) -> Measurement:
    """Put the checked parts together; convert positions and probe where the crop or the geometry requires it."""
    positions, unit = positions[selection.frames], contents.position_unit
    size = oriented_size(selection.size, selection.orientation)
    probe = contents.probe
    if isinstance(geometry, FarField):
        if unit == "object pixel" and (pixel := geometry.object_pixel_angstrom(size)) is not None:
            positions, unit = positions * np.array(pixel), "angstrom"
        elif unit == "object pixel":  # a narrower detector makes larger object pixels
            positions = positions * (np.array(selection.crop) / np.array(size))
    if probe is not None:
        probe = crop_probe(orient_probe(probe, selection.orientation), selection.crop, isinstance(geometry, FarField))
    return Measurement(
        patterns=loaded[0],
        positions=centre(positions),
        geometry=geometry,
        valid=~bad,
        counted=loaded[1],
        source=contents.source or str(contents.path.name),
        position_unit=unit,
        probe=probe,
        scan_shape=selection.scan_shape,
    )


def centre(positions: Positions) -> Positions:
    """Shift positions (N, 2) to zero mean; positions that are centred up to rounding are returned unchanged.

    So a measurement that is written and read again keeps its content hash.
    """
    mean = positions.mean(axis=0)
    extent = float(np.ptp(positions, axis=0).max())
    return positions if np.all(np.abs(mean) <= 1e-12 * extent) else positions - mean


def crop_probe(probe: NDArray[np.complex64], crop: tuple[int, int], far: bool) -> NDArray[np.complex64]:
    """Resample the probe (..., y, x) to the grid that belongs to the cropped detector.

    In the far field the detector is the probe's Fourier plane: its central part is kept, so the field of view
    stays and the object pixel grows; intensity inside the kept angles is conserved. In the near field the
    pixels are cut.
    """
    if probe.shape[-2:] == crop:
        return probe
    y, x = central((probe.shape[-2], probe.shape[-1]), crop)
    if not far:
        return np.ascontiguousarray(probe[..., y, x])
    axes = (-2, -1)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes), norm="ortho"), axes)[..., y, x]
    cropped = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum, axes), norm="ortho"), axes)
    return np.ascontiguousarray(cropped, dtype=np.complex64)


def _positions(contents: Contents, study: GeometrySettings) -> Positions:
    """Positions (N, 2) of all stored frames, from the file's list or from the raster's step."""
    step = study.scan_step_angstrom
    if contents.positions is None:
        step = step if step is not None else contents.geometry.scan_step_angstrom
        if step is None:
            raise InputError(missing(contents.path, "scan_step_angstrom"))
        rows, columns = contents.scan_shape or contents.frames.shape[:2]
        grid = np.meshgrid(np.arange(rows) * step[0], np.arange(columns) * step[1], indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1)
    _check_positions(contents, contents.positions)
    if step is not None:
        raise InputError(
            Problem(
                "objective.geometry.scan_step_angstrom",
                f"has no effect: {contents.path} lists its positions in '{contents.positions_name}'",
                "remove it",
            )
        )
    return contents.positions


def _check_positions(contents: Contents, positions: Positions) -> None:
    """Raise InputError if listed positions do not fit the patterns or cannot be a scan."""
    name = contents.positions_name
    count = int(np.prod(contents.frames.shape[:-2]))
    if positions.shape != (count, 2):
        raise InputError(
            contents.problem(
                name,
                f"has shape {positions.shape}, but '{contents.frames_name}' holds {count} patterns",
                f"one (y, x) per pattern is expected, shape ({count}, 2)",
            )
        )
    finite = (np.abs(positions) < _ABSURD).all(axis=1)  # False for NaN, too
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            contents.problem(
                name,
                f"{int((~finite).sum())} positions are not finite, first at {first}",
                "every pattern needs a measured position",
            )
        )
    if not np.ptp(positions, axis=0).any():
        raise InputError(
            contents.problem(
                name, f"all {count} positions equal {positions[0].tolist()}", "a scan has different positions"
            )
        )


def _bad_pixels(contents: Contents, data: DataSettings, selection: Selection) -> NDArray[np.bool_]:
    """Unite the file's mask and the study's, turned and cropped like the patterns; True on pixels to ignore."""
    size = selection.size
    bad = np.zeros(size, np.bool_)
    if contents.bad is not None:
        if contents.bad.shape != size:
            raise InputError(
                contents.problem("mask", f"has shape {contents.bad.shape}", f"the detector's shape {size} is expected")
            )
        bad |= contents.bad
    if data.mask is not None:
        bad |= read_mask(data.mask, size)
    turned = orient(np.fft.fftshift(bad) if contents.corner else bad, selection.orientation)
    y, x = central(oriented_size(size, selection.orientation), selection.crop)
    used = np.ascontiguousarray(turned[y, x])
    if used.all():
        raise InputError(
            contents.problem("mask", "marks every used pixel as bad", "nonzero means bad, zero means good")
        )
    return used


def _probe_problem(contents: Contents, far: bool) -> Problem | None:
    """The problem with the probe; None where it is absent or sound.

    In the far field it may have more pixels than the detector, as that of a reconstruction in a padded window has.
    """
    if contents.probe is None:
        return None
    size = tuple(contents.frames.shape[-2:])
    shape = contents.probe.shape
    padded = far and all(n >= least for n, least in zip(shape[-2:], size, strict=False))
    if len(shape) not in (2, 3) or (shape[-2:] != size and not padded) or 0 in shape:
        expected = f"the detector's {size} is expected, with the modes in front of it"
        return contents.problem("probe", f"has shape {shape}", expected)
    if not np.isfinite(contents.probe).all():
        return contents.problem("probe", "has values that are not finite", "finite amplitudes are expected")
    if not contents.probe.any():
        return contents.problem("probe", "is zero everywhere", "a probe with intensity is expected")
    return None
