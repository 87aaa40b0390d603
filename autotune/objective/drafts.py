"""Drafts of study files, which an objective type proposes for a measurement file (``autotune init``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class DraftLine:
    """One key of a drafted study file.

    Attributes:
        key: dotted, from the top of the study file: ``objective.data.file``, ``parameters.defocus``.
        value: its value: text, number, list or map of these. An example where ``status`` is ``missing``.
        comment: one line shown beside the key: its unit, what it is for, or what the measurement file says about it.
        status: ``set``: written as it is. ``missing``: the study cannot run until the user states it; written as a
            comment, marked. ``optional``: written as a comment, which the user may put in force.
    """

    key: str
    value: Any
    comment: str = ""
    status: Literal["set", "missing", "optional"] = "set"


@dataclass(frozen=True)
class Draft:
    """A proposed study for a measurement file: the lines that depend on the file.

    Attributes:
        lines: keys below ``objective`` (less its ``name``) and ``parameters``, in the order to write them.
        facts: what the file contains, for people: name -> text.
    """

    lines: Sequence[DraftLine]
    facts: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class GuessesParameters(Protocol):
    """An objective type that can guess parameters from a whole measurement (``autotune init --guess``)."""

    def guess(self, draft: Draft, *, folder: Path) -> Draft:
        """The draft with ranges around what the measurement shows without any reconstruction, and what that is.

        Args:
            draft: of :meth:`DraftsStudies.draft`.
            folder: the folder of the study file to be.

        Raises:
            InputError: the measurement cannot be read.
        """


@runtime_checkable
class DraftsStudies(Protocol):
    """An objective type that can propose a study for a measurement file (``autotune init``)."""

    @property
    def file_formats(self) -> Sequence[str]:
        """The file formats it knows, in words for people."""

    def draft(self, file: Path, *, folder: Path) -> Draft | None:
        """Propose a study for ``file``, from its metadata and a few of its values; never reads all of a large file.

        Args:
            file: an existing file or folder.
            folder: the folder of the study file to be, which paths in the draft should be relative to.

        Returns:
            the draft; None where the file is of no format that this type knows.

        Raises:
            InputError: the file is of a known format, but damaged.
        """
