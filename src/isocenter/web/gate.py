"""The one gate before every resource: who asks, may they, and do they ask too much?

It stands before the router, so that a route cannot be forgotten: what is needed follows from the method, and what is
open to everybody is listed here. Resources find who asks in the request (identity.py), and an archive that holds only
what is there for them (visible.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isocenter.archive import audit
from isocenter.errors import Forbidden, IsocenterError, TooManyRequests, Unauthenticated
from isocenter.net.identity import shown
from isocenter.settings import Settings
from isocenter.web.context import is_data, prefix_of
from isocenter.web.credentials import Credentials
from isocenter.web.errors import response_of
from isocenter.web.identity import ADMIN, DELETE, KEY, READ, WRITE, Identity, client_of
from isocenter.web.reception import SAFE, method_of
from isocenter.web.sessions import Sessions, cookie_name
from isocenter.web.traffic import Buckets, Crowd, network_of

REALM = "isocenter"
LOGIN = "/login"
SESSION = "/session"
PUBLIC = frozenset({LOGIN, SESSION, "/healthz", "/css/login.css", "/js/login.js", "/favicon.svg"})
"""Open to everybody: the page to sign in with what it needs, and whether the server is well. None tells of patients."""
_ADMIN = frozenset({"/metrics"})
_OPERATION = "/operation/"  # what the archive does for others, and whom it knows
_SUBSCRIBER = re.compile(r"/workitems/[0-9.]{1,64}/subscribers/[^/]+")
_STUDY = re.compile(r"/studies/([0-9.]{1,64})(?:/|$)")


def scope_needed(method: str, path: str) -> str | None:
    """What a request needs; None: nothing."""
    if path in PUBLIC:
        return None
    if path in _ADMIN:
        return ADMIN
    if method in SAFE and not path.startswith(_OPERATION):
        return READ
    if method == "DELETE" and not _SUBSCRIBER.search(path):  # to end a subscription deletes nothing that is kept
        return DELETE
    return WRITE


class Gate:
    """Wraps the router."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self.credentials = Credentials(settings)
        self.sessions = Sessions(settings)
        self._rates = Buckets(settings.web_rate, 2 * settings.web_rate)
        self._crowd = Crowd(settings.web_max_requests)
        self.seen = audit.AccessLog()

    def reloading(self, settings: Settings) -> Callable[[], None]:
        """What takes over tokens, users and keys of other settings, and ends all sessions. Raises SettingsError."""
        credentials = Credentials(settings)

        def take_over() -> None:
            self.credentials, self.sessions = credentials, Sessions(settings)

        return take_over

    def layer(self, app: ASGIApp) -> ASGIApp:
        """The gate before an application."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
                return
            try:
                scope[KEY] = identity = await self._identity(scope)
                key = f"={identity.name}" if identity.name else network_of(client_of(scope))
                wait = self._rates.take(key, time.monotonic())
                if wait or not self._crowd.enter(key):
                    raise TooManyRequests("too many requests of this user or address", wait=wait or 1.0)
            except IsocenterError as error:
                await self._refusal(scope, error)(scope, receive, send)
                return
            try:
                await app(scope, receive, self._noting(scope, identity, send))
            finally:
                self._crowd.leave(key)

        return gated

    async def _identity(self, scope: Scope) -> Identity:
        """Who asks, if they may. Raises Unauthenticated, Forbidden, TooManyRequests."""
        needed = scope_needed(method_of(scope), scope["path"])
        identity = self.credentials.everybody
        if self.credentials.needed:
            given = await self._shown(scope, Headers(scope=scope), needed)
            if given is None and needed is not None:
                raise Unauthenticated("nobody is let in here without saying who it is")
            identity = given or Identity("", frozenset())
        if needed is not None and needed not in identity.scopes:
            audit.denied(shown(identity.name), client_of(scope), needed, method_of(scope))
            why = "" if self.credentials.needed else ", which not everybody has here (web.open_scopes)"
            raise Forbidden(f"this needs the scope {needed}{why}")
        return identity

    async def _shown(self, scope: Scope, headers: Headers, needed: str | None) -> Identity | None:
        fields = headers.getlist("authorization")
        if fields and needed is not None:
            if len(fields) > 1:
                raise Unauthenticated("the request has two Authorization headers")
            return await self.credentials.of_header(scope, fields[0])
        session = self.session_of(scope)
        identity = self.sessions.find(session) if session else None
        # A browser says where a request that changes something comes from; reception.py has looked at that.
        told = "origin" in headers or "sec-fetch-site" in headers
        if identity is not None and needed is not None and method_of(scope) not in SAFE and not told:
            raise Forbidden("with a session, changes are made by pages of this server only")
        return identity

    @staticmethod
    def session_of(scope: Scope) -> str:
        """The session's cookie; "" without."""
        cookies = "; ".join(Headers(scope=scope).getlist("cookie"))
        return cookie_parser(cookies).get(cookie_name(scope), "") if cookies else ""

    def _refusal(self, scope: Scope, error: IsocenterError) -> Response:
        if isinstance(error, Unauthenticated) and _is_page(scope):
            prefix, query = prefix_of(scope), scope["query_string"].decode("latin-1")
            target = f"{prefix}{scope['path']}" + (f"?{query}" if query else "")
            return RedirectResponse(f"{prefix}{LOGIN}?next={quote(target)}", 303, {"cache-control": "no-store"})
        response = response_of(error)
        for challenge in self._challenges(scope, error):
            response.headers.append("www-authenticate", challenge)
        return response

    def _challenges(self, scope: Scope, error: IsocenterError) -> list[str]:
        """RFC 6750 section 3, RFC 7617 section 2."""
        if isinstance(error, Forbidden) and self.credentials.needed:
            needed = scope_needed(method_of(scope), scope["path"])
            return [f'Bearer realm="{REALM}", error="insufficient_scope", scope="{needed}"']
        if not isinstance(error, Unauthenticated):
            return []
        headers = Headers(scope=scope)
        bearer = f'Bearer realm="{REALM}"'
        if headers.get("authorization", "").lower().startswith("bearer"):
            bearer += f', error="invalid_token", error_description="{error.message}"'
        # A browser that is asked for a passcode shows a window of its own, and sends what is typed there from then on.
        if "passcode" in self.credentials.ways and "sec-fetch-mode" not in headers:
            return [bearer, f'Basic realm="{REALM}", charset="UTF-8"']
        return [bearer]

    def _noting(self, scope: Scope, identity: Identity, send: Send) -> Send:
        """Notes who saw what, and tells caches that it is for him."""
        if method_of(scope) not in ("GET", "HEAD") or not is_data(scope["path"]):
            return send

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self.credentials.needed:
                    MutableHeaders(scope=message).add_vary_header("Authorization, Cookie")
                if message["status"] < HTTPStatus.MULTIPLE_CHOICES:
                    found = _STUDY.search(scope["path"])
                    self.seen.add(shown(identity.name), client_of(scope), found[1] if found else "")
            await send(message)

        return noting


def _is_page(scope: Scope) -> bool:
    """Whether a person opened an address for people, who can be led to where to sign in."""
    headers: Mapping[str, str] = Headers(scope=scope)
    wanted = method_of(scope) == "GET" and not is_data(scope["path"])
    return wanted and "authorization" not in headers and "text/html" in headers.get("accept", "")
