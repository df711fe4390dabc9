"""What every request has to show before anything of it is looked at: a host that is ours, an origin that may ask, and
a size within limits.

Browsers carry requests of any page to any server they can reach, loopback included, so that being reachable from one
machine only protects nobody who has a browser there. Three things do. A page that rebinds its own name to our address
still names itself in Host, so only names that are ours are answered. A page of another site names itself in Origin
(RFC 6454) or is named by the browser in Sec-Fetch-Site (W3C Fetch Metadata), so that what it sends changes nothing
here. And what it was let to ask it reads only where CORS says so.
"""

from __future__ import annotations

import ipaddress
import re
from typing import cast

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from isocenter.errors import (
    BadRequest,
    Forbidden,
    HeadersTooLarge,
    IsocenterError,
    Misdirected,
    SettingsError,
    UriTooLong,
)
from isocenter.settings import Settings, words
from isocenter.web.context import is_data
from isocenter.web.errors import response_of

_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
_EVERYWHERE = ("0.0.0.0", "::", "")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""


def method_of(scope: Scope) -> str:
    """The method of a request; that of one for a WebSocket is GET (RFC 6455 section 4.1)."""
    return cast(str, scope.get("method", "GET"))


def by_tls(scope: Scope) -> bool:
    """Whether a request, or one for a WebSocket, came by TLS."""
    return scope["scheme"] in ("https", "wss")


def host_name(field: str) -> str | None:
    """The name or address in a Host field, in lower case; None if the field is none."""
    found = _HOST.fullmatch(field)
    return found[1].lower().strip("[]").rstrip(".") if found else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address, or the name means it everywhere (RFC 6761 section 6.3)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names by which clients may call us. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        listed = {name.lower().rstrip(".") for name in words(settings.web_hosts)}
        if settings.web_host not in _EVERYWHERE:
            listed.add(settings.web_host.lower())
        for name in listed - {"*"}:
            if host_name(name) is None and host_name(f"[{name}]") is None:
                raise SettingsError(f"web.hosts: {name} is not a host name; ports and wildcards have no place in it")
        self._any = "*" in listed
        self._names = frozenset(name.strip("[]") for name in listed)

    def refusal(self, headers: Headers, reached: str) -> IsocenterError | None:
        """Why a request that reached our address `reached` is not for us."""
        fields = headers.getlist("host")
        name = host_name(fields[0]) if len(fields) == 1 else None
        if name is None:
            return BadRequest("the request needs one Host header, with a host name")
        # Who names the very address that the connection came to was not led here by a name of somebody else's.
        if self._any or name in self._names or name == reached or is_loopback(name):
            return None
        return Misdirected("this server is not known by the name in the Host header")


class Origins:
    """The sites whose pages may send requests here. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self.listed = tuple(origin.lower() for origin in words(settings.web_cors_origins))
        self.credentials = settings.web_cors_credentials
        for origin in self.listed:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingsError(f"web.cors_origins: {origin} is not an origin, as https://viewer.example:8443")
        if self.credentials and "*" in self.listed:
            raise SettingsError("web.cors_credentials: with web.cors_origins = * any page could use them; list origins")

    def refusal(self, scope: Scope, headers: Headers) -> IsocenterError | None:
        """Why a request that a browser sends for a page is not served."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and ("*" in self.listed or origin.lower() in self.listed) and is_data(scope["path"]):
            return None
        if origin is not None and not self._own(scope, headers, origin.lower(), site):
            return Forbidden("pages of this origin may not send requests here (web.cors_origins)")
        if site in ("cross-site", "same-site"):
            # A link is followed; what is embedded or sent from elsewhere is not answered.
            followed = method_of(scope) in SAFE and headers.get("sec-fetch-mode") == "navigate"
            if not followed or headers.get("sec-fetch-dest") not in (None, "document"):
                return Forbidden("pages of other sites may not send requests here (web.cors_origins)")
        return None

    @staticmethod
    def _own(scope: Scope, headers: Headers, origin: str, site: str | None) -> bool:
        if site is not None:
            return site == "same-origin"  # the browser knows best, also behind a proxy that speaks TLS for us
        scheme, _, host = origin.partition("://")
        # A page that asks for a WebSocket is itself one of http (RFC 6455 section 10.2).
        here = scope["scheme"].replace("ws", "http")
        return host == headers.get("host", "").lower() and scheme in (here, "https")


class Reception:
    """The outermost gate: refuses what is too large, for somebody else, or sent by a page that may not."""

    def __init__(self, app: ASGIApp, settings: Settings, hosts: Hosts, origins: Origins) -> None:
        self._app = app
        self._hosts, self._origins = hosts, origins
        self._longest, self._largest = settings.web_max_url, settings.web_max_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await response_of(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> IsocenterError | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self._longest:
            return UriTooLong(f"path and query are over web.max_url, {self._longest} bytes")
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > self._largest:
            return HeadersTooLarge(f"the header fields are over web.max_headers, {self._largest} bytes")
        headers = Headers(scope=scope)
        return self._hosts.refusal(headers, (scope.get("server") or ("",))[0]) or self._origins.refusal(scope, headers)
