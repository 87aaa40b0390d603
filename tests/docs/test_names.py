"""What a page names exists: modules and what is in them, files, and the pages and headings that it links to."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from autotune.tracking import tags
from tests.docs.pages import NOTEBOOKS, PAGES, ROOT, name_of, text_of

_DOTTED = re.compile(r"(?<![\w./-])((?:autotune|objectives)(?:\.[A-Za-z_]\w*)+)")
_PATH = re.compile(r"(?<![\w./~-])((?:autotune|objectives|tests|docs|studies|benchmarks)/[\w./-]*\w)")
_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
_NOT_MODULES = {
    "autotune.objectives",
    "autotune.backends",
    *(value for value in vars(tags).values() if isinstance(value, str)),
}
"""The entry-point groups and the tags in MLflow look like modules."""


def missing_names(text: str) -> list[str]:
    """The dotted names of a text that are neither a module nor something in one."""
    return sorted({name for name in _DOTTED.findall(text) if name not in _NOT_MODULES and not _resolves(name)})


def missing_paths(text: str) -> list[str]:
    """The paths of a text that are not in the repository; those with a NAME in them are patterns."""
    paths = _PATH.findall(_LINK.sub("]", text))  # another test follows the links, which begin at their page
    return sorted({path for path in paths if "NAME" not in path and not (ROOT / path).exists()})


def _resolves(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name_of)
def test_every_module_and_file_that_a_page_names_exists(page: Path) -> None:
    assert missing_names(text_of(page)) == []
    assert missing_paths(text_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_ends_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(text_of(page)):
        if "://" in target:
            continue
        end = page if not target else (page.parent / target).resolve()
        assert end.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(end), f"{target} has no heading #{anchor}"


def test_a_name_that_does_not_exist_is_noticed() -> None:
    text = "`autotune.leases` is `autotune.store.leases`: autotune/leases.py; `autotune.Tuner.askk`, `autotune.Tuner`"
    assert missing_names(text) == ["autotune.Tuner.askk", "autotune.leases"]
    assert missing_paths(text) == ["autotune/leases.py"]
