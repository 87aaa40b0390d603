"""What is known of a package that reconstructs: its own parameters, what it models, and what it is installed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.objective import Parameter, Value


@dataclass(frozen=True)
class Backend:
    """A package that reconstructs, as an adapter presents it.

    Attributes:
        name: in study.yaml (``objective.backend.name``).
        description: what it is, in one line without a full stop.
        adapter: path of the file that runs in the package's Python; see docs/backends.md.
        parameters: its own solver parameters, beside those that all backends share (``iterations``, ``probe``, ...).
        requirements: what pip installs, with the versions that were tested.
        python: the versions of Python that it runs in, oldest and newest as (major, minor).
        thick: whether it reconstructs several slices.
        modes: whether it reconstructs several modes of the probe.
        minimises: from parameter values to the metric that the solver's own loss is, so that the derivative at the
            final state is that of the metric; empty for none.
    """

    name: str
    description: str
    adapter: Path
    parameters: tuple[Parameter, ...]
    requirements: tuple[str, ...]
    python: tuple[tuple[int, int], tuple[int, int]]
    thick: bool
    modes: bool
    minimises: Callable[[Mapping[str, Value]], str]
