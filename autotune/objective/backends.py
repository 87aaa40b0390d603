"""What an objective type says of the packages that it can wrap (``autotune backends``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from packaging.requirements import Requirement


@dataclass(frozen=True)
class BackendStatus:
    """A package that reconstructs instead of built-in solvers, and whether it is here.

    Attributes:
        name: its name in a study.
        description: what it is, in one line.
        requirements: what installing it asks for, with the versions that were tested.
        pythons: the versions of Python that it runs in, in words.
        folder: its private environment, whether or not it is there.
        versions: installed package -> version; empty where it is not installed.
    """

    name: str
    description: str
    requirements: Sequence[str]
    pythons: str
    folder: Path
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def current(self) -> bool:
        """Whether it is installed with the versions that were tested, whatever their build (``+cpu``)."""
        wanted = [Requirement(requirement) for requirement in self.requirements]
        return bool(self.versions) and all(
            each.name in self.versions and each.specifier.contains(self.versions[each.name].split("+")[0])
            for each in wanted
        )


@runtime_checkable
class WrapsBackends(Protocol):
    """An objective type that can let other packages reconstruct."""

    def backends(self) -> Sequence[BackendStatus]:
        """The packages that are known."""

    def install_backend(self, name: str, say: Callable[[str], None]) -> BackendStatus:
        """Install one of them in an environment of its own, in place of an earlier one.

        Args:
            name: one of :meth:`backends`.
            say: called with a line for each step.

        Raises:
            InputError: there is none of that name, no Python that it runs in, or it cannot be installed.
        """
