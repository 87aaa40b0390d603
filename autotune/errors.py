"""The errors a user sees: what was wrong, where, and what would be right.

The command line prints them in one block without a traceback and exits with :attr:`AutotuneError.exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_PROBLEMS = 50
"""Problems of one error; the last one says how many there are beside."""
INTERRUPTED = 130
"""Exit code of a command that a signal ended, as shells have it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the place, as exact as known: ``study.yaml:17: parameters.defocus.low`` or a file's path.
        what: the offending value and why it is wrong.
        remedy: what would be right; empty where ``what`` already says it.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.remedy}" if self.remedy else text


class AutotuneError(Exception):
    """Base of every error that a user sees. Holds one or more :class:`Problem`, and at most :data:`MOST_PROBLEMS`."""

    exit_code = 3

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        found = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if len(found) > MOST_PROBLEMS:
            left = len(found) - MOST_PROBLEMS + 1
            found = (*found[: MOST_PROBLEMS - 1], Problem("", f"and {left} more problems like these"))
        self.problems: tuple[Problem, ...] = found
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(AutotuneError):
    """Something the user gave (study file, data file, option) is wrong; nothing was changed on disk."""

    exit_code = 2


class Diverged(AutotuneError):
    """A reconstruction diverged where its caller needs a finite one; the evaluation ends as diverged, not as failed."""


class StudyFailed(AutotuneError):
    """The study cannot go on; finished trials are kept."""

    exit_code = 3


class NoneSucceeded(StudyFailed):
    """The study ended without a successful trial."""

    exit_code = 4


def near_miss(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``did you mean 'defocus'?``, else the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else "none is known here"
