"""Who asks, and what that lets them do: the four scopes, and which studies are there for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

READ, WRITE, DELETE, ADMIN = "read", "write", "delete", "admin"
SCOPES = (READ, WRITE, DELETE, ADMIN)
"""Look at studies; store objects and ask for work; delete; see how the server fares. None includes another."""

KEY = "isocenter.identity"
"""Where the gate leaves the Identity in the ASGI scope of a request."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `name` is "" for somebody nobody asked. `expires` in seconds since 1970.

    With `patients` (Patient IDs) or `aets` (AE titles that sent something of a study by DIMSE) there are only studies
    of these; with both, studies that fit both.
    """

    name: str
    scopes: frozenset[str]
    patients: frozenset[str] | None = None
    aets: frozenset[str] | None = None
    expires: float | None = None

    @property
    def restricted(self) -> bool:
        return self.patients is not None or self.aets is not None


def identity_of(request: HTTPConnection) -> Identity:
    """Who asks; the gate has seen to it that there is an answer."""
    return cast(Identity, request.scope[KEY])


def known_scopes(words: Iterable[str]) -> frozenset[str]:
    """Those of the four among `words`."""
    return frozenset(words) & frozenset(SCOPES)


def client_of(scope: Scope) -> str:
    """The network address that a request came from, or that a declared proxy says it came from."""
    client = scope.get("client")
    return client[0] if client else ""
