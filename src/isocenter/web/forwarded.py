"""What a reverse proxy before us says of a request: who the client is, how it came, and below which path of the proxy's
we are (https://hospital.example/pacs/ -> us).

Only proxies of `web.proxies` are believed. X-Forwarded-For and X-Forwarded-Proto are uvicorn's to read; the path, which
`web.prefix` or X-Forwarded-Prefix gives, is taken off here if the proxy left it on, so that all layers, above all the
gate, and the routes see one and the same path. It is put before the addresses that we give out (context.py), and
nowhere else: ASGI's `root_path` would have the router take it off a second time, after the gate has judged the path.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from isocenter.errors import BadRequest, IsocenterError, SettingsError
from isocenter.settings import Settings, words
from isocenter.web.context import PREFIX
from isocenter.web.errors import response_of

_FIELD = "x-forwarded-prefix"
_LONGEST = 256
# What needs no escape in a path (RFC 3986 section 3.3), and no segment that would lead elsewhere
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+", re.ASCII)
OWN = frozenset({"css", "dicomweb", "js", "ohif", "operation", "static", "view"})
"""First segments of our own paths that have others below them: what could be with a prefix or without has none."""


class Proxies:
    """The proxies of `web.proxies`; `address in proxies`. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self._networks = [_network(one) for one in words(settings.web_proxies)]

    def __contains__(self, address: str) -> bool:
        with suppress(ValueError):
            return any(ipaddress.ip_address(address) in network for network in self._networks)
        return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise SettingsError(f"web.proxies: {text} is neither an address nor a network") from None


def _prefix(text: str) -> str:
    """A path as it stands before others: "/pacs" or "". Raises BadRequest."""
    path = text.rstrip("/")
    if not path:
        return ""
    if len(path) > _LONGEST or not _PREFIX.fullmatch(path):
        raise BadRequest(f"{text[:60]!r} is no path like /pacs, of letters, digits and . _ ~ -")
    if path.split("/")[1] in OWN:
        raise BadRequest(f"below {path} there are paths of this server's own; the proxy needs another one")
    return path


class Mount:
    """Finds the prefix of each request and takes it off its path."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Raises SettingsError."""
        self._app = app
        self._proxies = Proxies(settings)
        try:
            self._fixed = _prefix(settings.web_prefix)
        except BadRequest as error:
            raise SettingsError(f"web.prefix: {error}") from None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            prefix = self._fixed or self._told(scope)
        except IsocenterError as error:
            await response_of(error)(scope, receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        if prefix:
            scope[PREFIX] = prefix
            if raw == prefix.encode():  # pages name what they need relative to a folder
                query = scope["query_string"]
                target = f"{prefix}/?{query.decode('latin-1')}" if query else f"{prefix}/"
                await RedirectResponse(target, 308)(scope, receive, send)
                return
            if raw.startswith(f"{prefix}/".encode()):
                scope["raw_path"], scope["path"] = raw[len(prefix) :], scope["path"][len(prefix) :]
        await self._app(scope, receive, send)

    def _told(self, scope: Scope) -> str:
        """What a proxy says. Raises BadRequest."""
        client = scope.get("client")
        if client is None or client[0] not in self._proxies:
            return ""
        fields = Headers(scope=scope).getlist(_FIELD)
        if len(fields) > 1:
            raise BadRequest("the request has two X-Forwarded-Prefix headers")
        try:
            return _prefix(fields[0]) if fields else ""
        except BadRequest as error:
            raise BadRequest(f"X-Forwarded-Prefix: {error}") from None


def forwarded(settings: Settings) -> Iterator[Middleware]:
    """The layers, outermost first."""
    yield Middleware(Mount, settings=settings)
    if settings.web_proxies:
        yield Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.web_proxies)
