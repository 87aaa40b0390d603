"""MkDocs hooks: pages that are made from code, notebooks, and files outside this folder.

Nothing is executed but imports of autotune: notebooks are shown with the outputs that they were saved with.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "benchmarks/README.md", "studies/*.yaml")
"""What the site shows of the repository's other folders, below ``project/``."""
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_ROLE = re.compile(r":(?:class|func|mod|attr|meth|data|exc):<code>~?")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages: dict[str, str | bytes] = {
        "reference/commands.md": commands(),
        "reference/study-keys.md": study_keys(),
    }
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            pages[f"project/{path.relative_to(ROOT).as_posix()}"] = path.read_bytes()
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages |= notebook(path)
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave this folder, or end at a notebook, to the page of the site that shows their target."""
    here = page.file.src_uri
    place = here.removeprefix("project/") if here.startswith("project/") else f"docs/{here}"

    def lead(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if "://" in target or target.startswith(("mailto:", "/")) or here.startswith("notebooks/"):
            return match.group(0)
        in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        in_docs = in_repository.startswith("docs/")
        on_site = in_repository.removeprefix("docs/") if in_docs else f"project/{in_repository}"
        on_site = re.sub(r"\.ipynb$", ".md", on_site)
        return before + posixpath.relpath(on_site, posixpath.dirname(here) or ".") + after

    return _LINK.sub(lead, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show roles of docstrings (``:class:`Name```) as the code that they mark."""
    return _ROLE.sub("<code>", html)


def notebook(path: Path) -> dict[str, str | bytes]:
    """The pages and pictures that show a notebook with its saved outputs: name -> content."""
    cells = nbformat.read(path, as_version=4).cells
    base = f"notebooks/{path.stem}"
    shown: dict[str, str | bytes] = {}
    parts = []
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{base}_{number}.png"
                shown[picture] = base64.b64decode(data["image/png"])
                parts.append(f"![Output of the cell above]({path.stem}_{number}.png)")
            else:
                text = output.get("text") or data.get("text/plain", "")
                parts.append(f"```text\n{_ANSI.sub('', text).rstrip()}\n```")
    parts.append(f"[This page as a notebook]({path.name})")
    shown[f"{base}.md"] = "\n\n".join(parts) + "\n"
    return shown


def commands() -> str:
    """The reference of the command line, from the commands themselves."""
    import click
    from typer.main import get_command

    from autotune.cli.app import app

    group = get_command(app)
    context = click.Context(group, info_name="autotune")
    parts = ["# Commands", group.help or "", "Exit codes: [execution](../execution.md#exit-codes)."]
    parts += [_options(group, context)]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = click.Context(command, info_name=name, parent=context)
        parts += [f"## autotune {name}", f"```\n{command.get_usage(inner).removeprefix('Usage: ')}\n```"]
        parts += [_without_breaks(command.help or ""), _options(command, inner)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _options(command: Any, context: Any) -> str:
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""


def _without_breaks(text: str) -> str:
    return re.sub(r"[\b]\n?", "", text)


def study_keys() -> str:
    """The reference of the study file's keys, from the JSON Schema that ``autotune schema`` prints."""
    from autotune.study import study_schema

    schema = study_schema()
    definitions: dict[str, Any] = schema["$defs"]
    parts = [
        "# Keys of the study file",
        "Generated from the models that validate a study, as `autotune schema` prints them for editors. What the keys "
        "are for, with examples: [the study file](../study-file.md).",
        "## study.yaml",
        _keys(schema),
    ]
    for name, definition in definitions.items():
        if definition.get("properties"):
            parts += [f"## {name}", definition.get("description", ""), _keys(definition)]
        elif "oneOf" in definition:
            parts += [f"## {name}", definition.get("description", ""), f"One of: {_type(definition)}."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _keys(definition: dict[str, Any]) -> str:
    required = definition.get("required", ())
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, value in definition["properties"].items():
        default = "required" if key in required else _default(value)
        rows.append(f"| `{key}` | {_type(value)} | {_cell(default)} | {_cell(value.get('description', ''))} |")
    return "\n".join(rows)


def _default(value: dict[str, Any]) -> str:
    """The default of a key; nothing for a block, whose own table has those of its keys."""
    default = value.get("default")
    return "" if "default" not in value or isinstance(default, dict) else f"`{json.dumps(default)}`"


def _type(value: dict[str, Any]) -> str:
    """The type of a key in words, with links to the tables of the models that it names."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{re.sub(r'[^a-z0-9_-]', '', name.lower())})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in value:
            return " or ".join(dict.fromkeys(_type(option) for option in value[union]))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object":
        of = value.get("additionalProperties")
        return f"map to {_type(of)}" if isinstance(of, dict) and of else "map"
    return str(value.get("type", "any"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
