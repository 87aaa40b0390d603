"""``autotune schema``: the JSON Schemas of study.yaml and of result.json."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    result: Annotated[
        bool, typer.Option("--result", help="The schema of result.json, for programs that read it.")
    ] = False,
) -> None:
    """Print the JSON Schema of study.yaml, for editors."""
    import json

    if result:
        from autotune.results.document import result_schema

        typer.echo(json.dumps(result_schema(), indent=2))
        return
    from autotune.study import study_schema

    typer.echo(json.dumps(study_schema(), indent=2))
