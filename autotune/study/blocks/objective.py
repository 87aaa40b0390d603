"""The block ``objective:``, which names the reconstruction problem."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ObjectiveSpec(BaseModel):
    """The reconstruction problem that is tuned. All other keys are settings of that objective."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """Name of a registered objective, or module:attribute of another one."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but ``name``, as written."""
        return dict(self.model_extra or {})
