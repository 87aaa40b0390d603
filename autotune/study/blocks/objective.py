"""The block ``objective:``, which names the reconstruction problem."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ObjectiveSpec(BaseModel):
    """Which reconstruction problem is tuned; the other keys are validated by the objective's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """A registered objective, or module:attribute."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but ``name``, as written."""
        return dict(self.model_extra or {})
