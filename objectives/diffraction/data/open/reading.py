"""Open any measurement that a study names: locate the file, recognise its format, read and check it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autotune.objective import InputError, Problem, near_miss
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.format_table import AUTO, FORMATS
from objectives.diffraction.data.mask import locate_mask
from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.data.open.assemble import assemble
from objectives.diffraction.data.open.recognise import is_folder_of_a_format, reader_of, recognise
from objectives.diffraction.data.open.records import Record, fetch_record, find_record
from objectives.diffraction.data.raster import with_shape
from objectives.diffraction.data.room import require_written_frames
from objectives.diffraction.data.settings import DataSettings, GeometrySettings


def open_measurement(data: DataSettings, geometry: GeometrySettings, *, folder: Path) -> Measurement:
    """Read the measurement that a study names.

    Args:
        data: which file or record, and how to read it.
        geometry: geometry stated by the study; it overrides the record's defaults, and these override the file.
        folder: the folder to which a relative ``data.file`` is relative.

    Returns:
        The measurement in the project's conventions (:mod:`objectives.diffraction.data.measurement`).

    Raises:
        InputError: the file is missing, unreadable, malformed, or lacks geometry; with every problem of
            the file and the settings.
    """
    record: Record | None = None
    if data.record is not None:
        record = find_record(data.record)
        path = fetch_record(data.record)
        data, geometry = data.over(record.data), geometry.over(record.geometry)
    else:
        path = folder / Path(data.file or "").expanduser()
    _check_file(path)
    if data.mask is not None:
        data = data.model_copy(update={"mask": locate_mask(data.mask, folder)})
    with open_contents(path, data) as contents:
        measurement = assemble(contents, data, geometry)
    return measurement if record is None else dataclasses.replace(measurement, source=record.origin)


def _check_file(path: Path) -> None:
    """Raise InputError if there is no readable, non-empty file."""
    if is_folder_of_a_format(path):
        return
    if path.is_dir():
        raise InputError(Problem(str(path), "is a folder", "name the measurement file in it"))
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = near_miss(path.name, names) if path.parent.is_dir() else f"the folder {path.parent} does not exist"
        remedy = guess if guess.startswith(("did you mean", "the folder")) else "check objective.data.file"
        raise InputError(Problem(str(path), "there is no such file", remedy))
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be opened: {error.strerror}")) from error
    if empty:
        raise InputError(Problem(str(path), "is empty (0 bytes)", "copy or download it again"))


@contextmanager
def open_contents(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a file with the reader of its format, before geometry is resolved and patterns are loaded.

    Args:
        path: the file.
        data: how to read it; its ``file`` and ``record`` are ignored.

    Raises:
        InputError: the file cannot be read, or a setting has no effect on its format, or is needed but missing.
    """
    name = recognise(path) if data.format == AUTO else data.format
    _check_settings(path, data, name)
    try:
        with reader_of(name).open(path, data) as contents:
            require_written_frames(f"{path}: {contents.frames_name}", contents.frames)
            yield with_shape(contents, data)
    except MemoryError as error:
        remedy = "read less of it: objective.data.region, step or crop"
        raise InputError(Problem(str(path), "does not fit into the memory that is free", remedy)) from error


def _check_settings(path: Path, data: DataSettings, name: str) -> None:
    """Raise InputError where the study states a setting that has no effect on the format called ``name``."""
    limited = set[str]().union(*(row.settings for row in FORMATS.values())) - FORMATS[name].settings
    problems = [
        Problem(
            f"objective.data.{setting}",
            f"'{getattr(data, setting)}' is for {_formats_with(setting)} files; {path} is {name}, which says so itself",
            "remove it",
        )
        for setting in sorted(limited & data.model_fields_set)
    ]
    if problems:
        raise InputError(problems)


def _formats_with(setting: str) -> str:
    """The formats on which a setting has an effect, for people; one alone by its suffixes."""
    names = [name for name, row in FORMATS.items() if setting in row.settings]
    return ", ".join(reader_of(names[0]).suffixes if len(names) == 1 else names)
