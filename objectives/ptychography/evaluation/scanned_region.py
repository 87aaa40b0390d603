"""The part of a reconstructed object that the scan covered, as its attributes say it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def scanned_region(attributes: Mapping[str, float | int | str]) -> tuple[slice, slice]:
    """Rows and columns of the object between the outermost scan positions."""
    return (
        slice(int(attributes["scan_first_row"]), int(attributes["scan_last_row"]) + 1),
        slice(int(attributes["scan_first_column"]), int(attributes["scan_last_column"]) + 1),
    )


def attributes_of_region(centres: NDArray[np.int64]) -> dict[str, int]:
    """The attributes of a scan whose positions (position, 2) are at these pixels (y, x) of the object."""
    (first_row, first_column), (last_row, last_column) = centres.min(0).tolist(), centres.max(0).tolist()
    return {
        "scan_first_row": first_row,
        "scan_last_row": last_row,
        "scan_first_column": first_column,
        "scan_last_column": last_column,
    }
