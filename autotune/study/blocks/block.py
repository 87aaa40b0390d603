"""The base class of the models of study.yaml, and conversions that several of them use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """A block of study.yaml: unknown keys, infinite numbers and values of another type are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, strict=True
    )


def list_as_tuple(value: object) -> object:
    """A list, which YAML gives, as the tuple that a strict frozen model wants; anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def one_as_list(value: object) -> object:
    """A single map or text as a list of one; anything else unchanged."""
    return [value] if isinstance(value, (dict, str)) else value
