"""Forms as browsers send them: URL-encoded, or in parts where one of them may be a file."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from fastapi import Request

from autotune.service.access import read_body
from autotune.service.problems import Refused

_MOST_FIELDS = 20
_NAME = re.compile(r'^content-disposition:\s*form-data\s*;[^\r\n]*?\bname="([^"\r\n]*)"', re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r'\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))')


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the last value of each; of a file, its content.

    Raises:
        Refused: the body is no form, too large, or not UTF-8.
    """
    stated = request.headers.get("content-type", "")
    kind = stated.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            fields = parse_qs(await read_body(request), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise Refused(400, "the form has too many fields") from error
        found = {name: values[-1] for name, values in fields.items()}
    elif kind == "multipart/form-data":
        found = parse_parts(await read_body(request), stated)
    else:
        raise Refused(415, "a form is expected")
    return {name: value.removeprefix("\ufeff").replace("\r\n", "\n") for name, value in found.items()}


def parse_parts(body: str, content_type: str) -> dict[str, str]:
    """The parts of a form (RFC 7578), by name.

    Raises:
        Refused: it is not of that form.
    """
    stated = _BOUNDARY.search(content_type)
    if stated is None:
        raise Refused(400, "the form states no boundary")
    boundary = stated[1] or stated[2]
    parts = f"\r\n{body}".split(f"\r\n--{boundary}")
    if len(parts) > _MOST_FIELDS + 2:
        raise Refused(400, "the form has too many fields")
    found = {}
    for part in parts[1:-1]:  # before the first boundary and behind the last one is nothing
        head, gap, value = part.partition("\r\n\r\n")
        name = _NAME.search(head)
        if not gap or name is None:
            raise Refused(400, "a part of the form has no name")
        found[name[1]] = value
    return found
