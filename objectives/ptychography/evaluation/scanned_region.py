"""The part of a reconstructed object that the scan covered, as its attributes say it."""

from __future__ import annotations

from collections.abc import Mapping


def scanned_region(attributes: Mapping[str, float | int | str]) -> tuple[slice, slice]:
    """Rows and columns of the object between the outermost scan positions."""
    return (
        slice(int(attributes["scan_first_row"]), int(attributes["scan_last_row"]) + 1),
        slice(int(attributes["scan_first_column"]), int(attributes["scan_last_column"]) + 1),
    )
