"""Twins: other values of the parameters that explain any data exactly as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from autotune.objective.parameter import Value


@dataclass(frozen=True)
class Twin:
    """How the values of one answer follow from those of its twin, and what tells which is right.

    Attributes:
        negated: parameters whose value changes sign.
        added: parameter name -> what is added to its value, or taken off, in its unit.
        metric: name of a reported metric that is above 0 at the right one of the two, and has the other sign at the
            other one.
        why: what is taken to be right, as a clause.
    """

    metric: str
    negated: tuple[str, ...] = ()
    added: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


@runtime_checkable
class HasTwin(Protocol):
    """An objective of which every answer may have a twin."""

    @property
    def twin_metric(self) -> str:
        """Name of :attr:`Twin.metric`, which evaluations may report beside the objective's metrics."""

    def twin(self, held: Mapping[str, Value | None]) -> Twin | None:
        """The twin while some parameters are held and all others are tuned; None where there is none.

        Args:
            held: name -> value of every parameter that is not tuned.
        """
