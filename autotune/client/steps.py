"""What an operation of a client does, step by step, without a network: both clients carry out the same steps.

An operation is a generator. It yields a :class:`Call`, and is sent the :class:`Answer`; or it yields a :class:`Pause`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        method: HTTP method.
        address: URL without a query.
        query: names and values of the query.
        headers: headers beside those that every request has.
        body: what is sent; None for nothing.
        again: statuses after which the call is repeated, beside those that always pass.
        target: file that a successful answer's body is written to, whole or not at all; None to keep it in memory.
    """

    method: str
    address: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    again: tuple[int, ...] = ()
    target: Path | None = None

    @property
    def where(self) -> str:
        """The request as the place of an error."""
        return f"{self.method} {self.address}"


@dataclass(frozen=True)
class Pause:
    """Nothing is done for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """One response.

    Attributes:
        status: HTTP status.
        headers: headers; their names are in lower case.
        body: the body; empty where it was written to the target of the call.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


Steps = Generator[Call | Pause, Answer | None, Result]
"""An operation, which ends with its result."""
