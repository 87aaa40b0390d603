"""A package's own option as a parameter of the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.objective import Parameter, Value


@dataclass(frozen=True)
class NativeOption:
    """A package's own option as a parameter of the study.

    Attributes:
        parameter: the parameter, by its name in the study.
        option: the option's dotted name.
        choices: of a categorical parameter: its choices as text -> as the package takes them.
    """

    parameter: Parameter
    option: str
    choices: Mapping[str, Any] = field(default_factory=dict)

    def given(self, value: Value) -> Any:
        """A value of the parameter as the package takes it."""
        return self.choices.get(value, value) if isinstance(value, str) else value
