"""HTML pages from the templates, with the headers that every page has."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from autotune.service.chart import time_left

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
STATIC = {"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
"""Media types of the files that the pages load."""


def page(name: str, code: int = 200, /, **values: Any) -> HTMLResponse:
    """A page.

    Args:
        name: of the template.
        code: HTTP status.
        values: what the template shows; all text is escaped.
    """
    html = _templates().get_template(name).render(**values)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(html, code, headers)


@cache
def static_file(name: str) -> bytes:
    """The content of one of :data:`STATIC`."""
    return resources.files("autotune.service").joinpath("static", name).read_bytes()


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("autotune.service"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time_left"] = time_left
    return environment
