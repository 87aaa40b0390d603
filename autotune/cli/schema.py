"""``autotune schema``: the JSON Schema of study.yaml."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of study.yaml, for editors."""
    import json

    from autotune.study import study_schema

    typer.echo(json.dumps(study_schema(), indent=2))
