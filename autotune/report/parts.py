"""The parts of a report before it becomes HTML: sections, tables, pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autotune.report.style import as_png, as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: name of its file, without ending.
        content: SVG or PNG.
        alt: a text for readers who do not see it.
        caption: a text below it; empty where the section's text is enough.
    """

    name: str
    content: bytes
    alt: str
    caption: str = ""

    @property
    def file_name(self) -> str:
        """Name of a file for it."""
        ending = "png" if self.content.startswith(b"\x89PNG") else "svg"
        return f"{re.sub(r'[^0-9A-Za-z_.-]', '_', self.name)}.{ending}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the text as printed.
        value: the number that is printed; None for text.
        kind: a verdict, which has a colour; empty for none.
    """

    text: str
    value: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: a heading for each column.
        rows: cells.
        title: title of a table that the reader unfolds; empty for one that is always shown.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: the section's title.
        text: its paragraphs.
        pictures: its pictures, in order.
        tables: its tables, below the pictures.
        layout: ``one`` picture below the other, a ``grid`` of small ones, or ``side`` by side at any width.
        groups: further pictures, each group below a title.
    """

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    layout: str = "one"
    groups: Sequence[tuple[str, Sequence[Picture]]] = field(default=())

    @property
    def anchor(self) -> str:
        """Name of the section in addresses within the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def half(self) -> bool:
        """Whether another section fits beside it on a wide screen."""
        return self.layout == "one" and len(self.pictures) == 1 and not self.tables

    def all_pictures(self) -> list[Picture]:
        """All pictures of the section, those of its groups included."""
        return [*self.pictures, *(picture for _, group in self.groups for picture in group)]


def drawing(name: str, figure: Figure, alt: str, caption: str = "", *, raster: bool = False) -> Picture:
    """A figure as a picture.

    Args:
        name, alt, caption: as in :class:`Picture`.
        figure: the figure.
        raster: whether to write PNG, since it has too many parts for SVG.
    """
    write: Callable[[Figure], bytes] = as_png if raster else as_svg
    return Picture(name, write(figure), alt, caption)


def number(value: object, digits: int | None = None) -> Cell:
    """A cell with a number, or with text.

    Args:
        value: a number, text, or None.
        digits: digits after the decimal point; None for five digits in all.
    """
    if value is None:
        return Cell("–")
    if isinstance(value, bool | str):
        return Cell(str(value))
    if isinstance(value, int):
        return Cell(str(value), value)
    rounded = float(str(value))
    return Cell(f"{rounded:.5g}" if digits is None else f"{rounded:.{digits}f}", rounded)
