"""What the models of the blocks have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """A block of study.yaml: no unknown keys, finite numbers, nothing converted."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, strict=True
    )


def list_as_tuple(value: object) -> object:
    """A list, which YAML gives, as the tuple that a strict frozen model wants; anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def one_as_list(value: object) -> object:
    """A single map or text as a list of one; anything else unchanged."""
    return [value] if isinstance(value, (dict, str)) else value
