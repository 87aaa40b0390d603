"""What a report is made of, before it becomes HTML."""

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
        name: of its file, without ending.
        content: SVG or PNG.
        alt: what it shows, for who does not see it.
        caption: what it is; empty where the section says it.
    """

    name: str
    content: bytes
    alt: str
    caption: str = ""

    @property
    def file_name(self) -> str:
        """A name for a file of its own."""
        ending = "png" if self.content.startswith(b"\x89PNG") else "svg"
        return f"{re.sub(r'[^0-9A-Za-z_.-]', '_', self.name)}.{ending}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as printed.
        value: the number behind it; None for text.
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
        title: where it is to be opened first; empty where it is open.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: of the section.
        text: paragraphs.
        pictures: in order.
        tables: below the pictures.
        layout: ``one`` picture below the other, a ``grid`` of small ones, or ``side`` by side at any width.
    """

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    layout: str = "one"
    groups: Sequence[tuple[str, Sequence[Picture]]] = field(default=())

    @property
    def anchor(self) -> str:
        """Its name within the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def half(self) -> bool:
        """Whether another section fits beside it on a wide screen."""
        return self.layout == "one" and len(self.pictures) == 1 and not self.tables

    def all_pictures(self) -> list[Picture]:
        """Those of its groups, too."""
        return [*self.pictures, *(picture for _, group in self.groups for picture in group)]


def drawing(name: str, figure: Figure, alt: str, caption: str = "", *, raster: bool = False) -> Picture:
    """A figure as a picture.

    Args:
        name, alt, caption: as of :class:`Picture`.
        figure: what is drawn.
        raster: whether it has too many parts for SVG.
    """
    write: Callable[[Figure], bytes] = as_png if raster else as_svg
    return Picture(name, write(figure), alt, caption)


def number(value: object, digits: int | None = None) -> Cell:
    """A cell with a number, or with text that is none.

    Args:
        value: a number, text, or None.
        digits: after the decimal point; None for five in all.
    """
    if value is None:
        return Cell("–")
    if isinstance(value, bool | str):
        return Cell(str(value))
    if isinstance(value, int):
        return Cell(str(value), value)
    known = float(str(value))
    return Cell(f"{known:.5g}" if digits is None else f"{known:.{digits}f}", known)
