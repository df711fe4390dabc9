"""Signing in with a browser: the page, and the session it makes.

`POST /session` takes a token, or a name and passcode, as JSON, which no form of another site can send; `GET` says who
is signed in, `DELETE` ends the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from isocenter.archive import audit
from isocenter.errors import BadRequest, PayloadTooLarge, Unauthenticated, UnsupportedMediaType
from isocenter.net.identity import shown
from isocenter.web.context import context_of
from isocenter.web.gate import LOGIN, SESSION, Gate
from isocenter.web.identity import client_of, identity_of
from isocenter.web.sessions import set_cookie

_PAGE = Path(__file__).parent / "static" / "login.html"
# Images may be kept by the browser (caching.py), and the next one to sit there is not to have those of the last.
_FORGET = '"cache"'
_LARGEST = 32 * 1024  # bytes; a token has 16 KiB at most


def _gate(request: Request) -> Gate:
    return cast(Gate, request.app.state.gate)


async def login(request: Request) -> Response:
    """`/login`: the page."""
    return FileResponse(_PAGE, media_type="text/html")


async def who(request: Request) -> Response:
    """`GET /session`: who is signed in, what can be shown to become so, and whether OHIF is here, too."""
    gate, identity = _gate(request), identity_of(request)
    answer = {
        "authentication": gate.credentials.needed,
        "ways": gate.credentials.ways,
        "user": identity.name or None,
        "scopes": sorted(identity.scopes),
        "ohif": bool(context_of(request).settings.web_ohif),
        "restricted": identity.restricted,
    }
    return Response(orjson.dumps(answer), media_type="application/json", headers={"cache-control": "no-store"})


async def sign_in(request: Request) -> Response:
    """`POST /session`: 204 with a cookie. Raises Unauthenticated, TooManyRequests."""
    gate = _gate(request)
    if not gate.credentials.needed:
        raise BadRequest("there is no authentication here, and nobody to sign in")
    given = await json_fields(request)
    scope = request.scope
    if "token" in given:
        identity, way = await gate.credentials.of_token(scope, given["token"].strip()), "token"
    elif "user" in given and "passcode" in given:
        identity, way = await gate.credentials.of_user(scope, given["user"], given["passcode"]), "passcode"
    else:
        raise BadRequest("a token, or user and passcode, are needed")
    if not identity.scopes:
        raise Unauthenticated("the token lets nobody do anything here; it has none of the scopes")
    gate.sessions.close(gate.session_of(scope))
    response = Response(None, 204, {"cache-control": "no-store"})
    set_cookie(response, scope, gate.sessions.open(identity))
    response.headers["clear-site-data"] = _FORGET
    audit.authenticated(shown(identity.name), client_of(scope), way)
    return response


async def sign_out(request: Request) -> Response:
    """`DELETE /session`: 204, whether there was a session or not."""
    gate, identity = _gate(request), identity_of(request)
    gate.sessions.close(gate.session_of(request.scope))
    if identity.name:
        audit.signed_out(shown(identity.name), client_of(request.scope))
    response = Response(None, 204, {"cache-control": "no-store"})
    set_cookie(response, request.scope, "")
    response.headers["clear-site-data"] = _FORGET
    return response


async def json_fields(request: Request) -> dict[str, str]:
    """The body of a small request: a JSON object of texts. Raises UnsupportedMediaType, PayloadTooLarge, BadRequest."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("this is sent as application/json")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            raise PayloadTooLarge(f"this has at most {_LARGEST} bytes")
    try:
        given: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadRequest("an object with texts is needed")
    return given


def routes() -> Iterator[Route]:
    yield Route(LOGIN, login, methods=["GET"])
    yield Route(SESSION, who, methods=["GET"])
    yield Route(SESSION, sign_in, methods=["POST"])
    yield Route(SESSION, sign_out, methods=["DELETE"])
