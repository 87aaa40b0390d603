"""Raw files of the EMPAD detector (.raw): float32 (position, 130, 128), the last two rows of which are metadata.

Where the .xml file of the detector's software lies beside it, RosettaSciIO reads scan shape and calibration from that;
without it, the study has to state ``objective.data.shape``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from autotune.objective import InputError, Problem
from objectives.diffraction.data.contents import Contents
from objectives.diffraction.data.format_reader import Reader
from objectives.diffraction.data.formats.rosettasciio import open_rosettasciio
from objectives.diffraction.data.raster import ask_for_shape
from objectives.diffraction.data.settings import DataSettings, GeometrySettings

_STORED = (130, 128)
_PATTERN_ROWS = 128


@contextmanager
def open_empad(path: Path, data: DataSettings) -> Iterator[Contents]:
    """Open a .raw file; its patterns are mapped, not loaded.

    Raises:
        InputError: its size is not a multiple of a pattern's, or the scan's shape is needed.
    """
    described = _description(path) if data.shape is None else None
    if described is not None:
        with open_rosettasciio(described, data) as contents:
            yield contents
        return
    frame = _STORED[0] * _STORED[1] * 4
    size = path.stat().st_size
    if size % frame:
        raise InputError(
            Problem(
                str(path),
                f"has {size} bytes, which is no multiple of the {frame} bytes of an EMPAD pattern "
                f"({_STORED[0]} x {_STORED[1]} float32)",
                "a file cut short by a broken copy looks so; other raw files are best saved as .npy",
            )
        )
    count = size // frame
    if data.shape is None:
        raise InputError(ask_for_shape(f"{path} holds {count} patterns and no .xml beside it describes it", count))
    frames = np.memmap(path, dtype="<f4", mode="r", shape=(count, *_STORED))[:, :_PATTERN_ROWS]
    yield Contents(path=path, frames=frames, frames_name="patterns", geometry=GeometrySettings())


def _description(path: Path) -> Path | None:
    """Find the .xml file beside a .raw file that names the latter; None where there is none."""
    candidates = [other for other in sorted(path.parent.iterdir()) if other.suffix.lower() == ".xml"]
    for other in candidates:
        if path.name.encode() in other.read_bytes():
            return other
    return None


READER = Reader(open_empad, suffixes=(".raw",))
