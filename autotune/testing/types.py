"""The conformance suite of objective types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from autotune.objective import ObjectiveType, find_objective_type
from autotune.testing.checks import fail, require, skip


class ObjectiveTypeConformance:
    """Tests that every :class:`autotune.objective.ObjectiveType` passes.

    Attributes:
        name: its name in study.yaml, an entry point's name or ``module:attribute``; None while it has none.
    """

    name: ClassVar[str | None] = None

    def objective_type(self) -> ObjectiveType:
        """The objective type under test."""
        raise NotImplementedError("override objective_type() to return the type under test")

    def settings(self) -> Mapping[str, Any]:
        """A valid ``objective:`` block, less its ``name``."""
        return {}

    def folder(self) -> Path:
        """The folder that relative paths in :meth:`settings` start from."""
        return Path()

    def test_settings_forbid_unknown_keys(self) -> None:
        """The settings, and models inside them, refuse a key that they do not know."""
        model = self.objective_type().settings
        require(
            isinstance(model, type) and issubclass(model, BaseModel),
            f"settings is {model!r}, no pydantic model",
        )
        for inner in _models(model):
            require(inner.model_config.get("extra") == "forbid", f"{inner.__name__} does not set extra='forbid'")
        try:
            model.model_validate({**self.settings(), "no_such_setting": 1})
        except ValidationError as error:
            require("no_such_setting" in str(error), f"the error does not name the unknown key: {error}")
        else:
            fail(f"{model.__name__} accepts the unknown key 'no_such_setting'")

    def test_opens_an_objective(self) -> None:
        """Valid settings open an objective with the methods of the protocol."""
        kind = self.objective_type()
        opened = kind.open(kind.settings.model_validate(dict(self.settings())), folder=self.folder())
        for method in ("parameters", "metrics", "summary", "evaluate"):
            require(callable(getattr(opened, method, None)), f"the objective opened has no method {method}()")

    def test_is_found_by_name(self) -> None:
        """The name in study.yaml leads to this objective type."""
        if self.name is None:
            skip("the objective type is not registered")
        named = find_objective_type(self.name)
        require(
            type(named) is type(self.objective_type()),
            f"'{self.name}' leads to {named!r}, not to {self.objective_type()!r}",
        )


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A pydantic model and every model among the types of its fields."""
    seen: set[type[BaseModel]] = set()
    queue: list[Any] = [model]
    while queue:
        annotation = queue.pop()
        queue += getattr(annotation, "__args__", ())
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
            seen.add(annotation)
            yield annotation
            queue += [info.annotation for info in annotation.model_fields.values()]
