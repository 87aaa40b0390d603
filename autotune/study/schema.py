"""JSON Schema (draft 2020-12) of study.yaml, for editors.

An editor with a YAML language server reads it where the study starts with the comment
``# yaml-language-server: $schema=study.schema.json``.
"""

from __future__ import annotations

from typing import Any

from autotune.objective import find_objective_type, objective_names
from autotune.study.blocks.study import StudySpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict[str, Any]:
    """The schema of a study file, with the settings of every registered objective.

    ``objective`` is one of the registered types, told apart by ``name``, or any map whose name is a dotted
    path ``module:attribute``, of which only the type itself knows the keys. A registered type that cannot be
    imported here is described by its name alone.
    """
    schema = StudySpec.model_json_schema(mode="validation")
    definitions: dict[str, Any] = schema["$defs"]
    branches: list[dict[str, Any]] = []
    for name in objective_names():
        definition, more = _objective_schema(name)
        definitions |= more
        definitions[f"objective.{name}"] = definition
        branches.append({"$ref": f"#/$defs/objective.{name}"})
    branches.append(
        {
            "description": "An objective named by its dotted path; it validates its own keys.",
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": ".:."}},
            "required": ["name"],
        }
    )
    definitions["ObjectiveSpec"] = {
        "description": definitions["ObjectiveSpec"].get("description", ""),
        "oneOf": branches,
    }
    return {"$schema": DIALECT, **schema, "title": "study.yaml"}


def _objective_schema(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of the ``objective`` block of one registered type, and the definitions that it refers to."""
    prefix = f"objective.{name}."
    try:
        settings = find_objective_type(name).settings
    except Exception as error:  # importing an objective runs code of others, which may raise anything
        text = f"Cannot be imported here ({type(error).__name__}), so its keys are not described."
        unknown = {"type": "object", "description": text, "properties": _name(name), "required": ["name"]}
        return unknown, {}
    schema = settings.model_json_schema(mode="validation", ref_template=f"#/$defs/{prefix}{{model}}")
    definitions = {prefix + key: value for key, value in schema.pop("$defs", {}).items()}
    schema["properties"] = _name(name) | schema.get("properties", {})
    schema["required"] = ["name", *schema.get("required", [])]
    return schema, definitions


def _name(name: str) -> dict[str, Any]:
    return {"name": {"const": name, "description": "The registered objective."}}
