"""Sessions of browsers: a cookie of 256 random bits for a token or passcode that was shown once.

The table is in memory and bounded; a new start, like a reload of the settings, ends all sessions. Only hashes of the
cookies are kept, so that looking one up takes no time that depends on a secret.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Scope

from isocenter.settings import Settings
from isocenter.web.identity import Identity
from isocenter.web.reception import by_tls


@dataclass(slots=True)
class _Session:
    identity: Identity
    ends: float
    used: float


class Sessions:
    """Who is signed in. `clock` gives seconds since 1970."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._longest, self._idle = settings.web_session_time, settings.web_session_idle
        self._most = settings.web_sessions
        self._clock = clock
        self._table: OrderedDict[bytes, _Session] = OrderedDict()  # the one not used for longest first

    def __len__(self) -> int:
        return len(self._table)

    def open(self, identity: Identity) -> str:
        """The cookie's value of a new session. Where there are too many, that which was not used for longest ends."""
        now = self._clock()
        ends = now + self._longest if identity.expires is None else min(identity.expires, now + self._longest)
        value = secrets.token_urlsafe(32)
        self._table[_hashed(value)] = _Session(identity, ends, now)
        while len(self._table) > self._most:
            self._table.popitem(last=False)
        return value

    def find(self, value: str) -> Identity | None:
        """Whose session it is; None if it is over or never was."""
        key = _hashed(value)
        session = self._table.get(key)
        if session is None:
            return None
        now = self._clock()
        if now >= min(session.ends, session.used + self._idle):
            del self._table[key]
            return None
        session.used = now
        self._table.move_to_end(key)
        return session.identity

    def close(self, value: str) -> None:
        self._table.pop(_hashed(value), None)

    def clear(self) -> None:
        self._table.clear()


def _hashed(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


def cookie_name(scope: Scope) -> str:
    """Over TLS a name that browsers take from this host alone (RFC 6265bis section 4.1.3.2). Cookies do not know
    ports, so that without TLS, on loopback, the port is in the name."""
    if by_tls(scope):
        return "__Host-isocenter"
    return f"isocenter-{(scope.get('server') or ('', ''))[1]}"


def set_cookie(response: Response, scope: Scope, value: str) -> None:
    """Give the browser its cookie, or take it away if `value` is ""."""
    response.set_cookie(
        cookie_name(scope),
        value,
        max_age=None if value else 0,
        path="/",
        secure=scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
