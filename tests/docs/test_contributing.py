"""CONTRIBUTING.md says what pyproject.toml and the folders say, and a release has one version."""

from __future__ import annotations

import re
import tomllib

import autotune
from tests.docs.pages import ROOT, text_of

PAGE = text_of(ROOT / "CONTRIBUTING.md")


def test_every_path_in_the_answers_exists() -> None:
    table = PAGE.partition("## Where do I add a ...?")[2].partition("\n## ")[0]
    paths = re.findall(r"`([\w./]+/[\w./]*)`", table)
    assert len(paths) >= 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_row_goes_into_a_module_that_has_a_table() -> None:
    modules = re.findall(r"a row in `([\w./]+)`", PAGE)
    assert len(modules) >= 6
    table = re.compile(r"^_?[A-Z]+\b.* = [({]", flags=re.MULTILINE)
    assert [name for name in modules if not table.search(text_of(ROOT / name))] == []


def test_the_picture_of_the_floors_is_that_of_the_contracts() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    contracts = {
        contract["name"]: [layer.removeprefix("objectives.") for layer in contract["layers"]]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }
    drawn: dict[str, list[str]] = {}
    package = ""
    for line in PAGE.partition("```text\n")[2].partition("```")[0].splitlines():
        if line.startswith("  "):
            drawn[package].append(re.split(r"\s{2,}", line.strip())[0])
        elif line:
            package = line.partition("/")[0]
            drawn[package] = []
    assert drawn["autotune"] == contracts["the floors of autotune: a room imports only from floors below its own"]
    assert drawn["objectives"] == contracts["the floors of objectives: a room imports only from floors below its own"]


def test_the_version_is_the_same_wherever_it_stands() -> None:
    citation = re.search(r"^version: (.+)$", text_of(ROOT / "CITATION.cff"), flags=re.MULTILINE)
    assert citation is not None and citation[1] == autotune.__version__
    newest = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", text_of(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)[0]
    assert newest == autotune.__version__
