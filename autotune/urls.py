"""Addresses of databases and servers, for others' eyes."""

from __future__ import annotations

import re

_SECRETS = (
    # what stands before the host; a password may itself hold / and @
    (re.compile(r"(://[^/@:\s]*):\S*@"), r"\1:***@"),
    # a token in the place of the user
    (re.compile(r"(https?://)[^/@:\s]+@"), r"\1***@"),
    (re.compile(r"([?&](?:password|sslpassword|token|access_token)=)[^&\s]*", re.IGNORECASE), r"\1***"),
)


def without_password(text: str) -> str:
    """An address, or a message that holds one, with ``***`` for what is secret in it."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text
