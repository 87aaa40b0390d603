"""One array of patterns in an HDF5 file under any name, without geometry: PtyRAD's and fold_slice's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.format_reader import Certainty, Clues, Reader
from objectives.diffraction.data.frames import with_detector_last
from objectives.diffraction.data.hdf5_access import choose_dataset, find_datasets, open_hdf5_file
from objectives.diffraction.data.settings import DataSettings, GeometrySettings


def _recognise(clues: Clues) -> Certainty:
    """Possible for every HDF5 file."""
    return Certainty.NONE if clues.hdf5 is None else Certainty.POSSIBLE


@contextmanager
def open_dataset(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open an HDF5 file that holds patterns under any name; they are read later.

    Raises:
        InputError: not HDF5, no dataset with three or four axes, or several and ``key`` does not say which.
    """
    with open_hdf5_file(path) as file:
        patterns = choose_dataset(path, find_datasets(file, dimensions=(3, 4)), file, data.key)
        yield Contents(
            path=path,
            frames=with_detector_last(patterns, data.detector_axes),
            frames_name=str(patterns.name),
            geometry=GeometrySettings(),
        )


READER = Reader(open_dataset, _recognise)
