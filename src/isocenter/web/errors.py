"""One form for every failure: `{"error": {"code", "message", "hint", "status"}}` (PS3.18 8.5, RFC 9110 section 15).

`code` is stable and for programs, `message` and `hint` are for people. What the client is told never holds a trace,
a path of this machine, or patient data; what is logged of an unforeseen failure is its type and where it happened.

Statuses a client meets: 400 request not understood, 401 who asks is not known, 403 may not do it, 404 nothing there,
405 method not allowed, 406 no acceptable media type, 409 conflict with what is stored, 413, 414 and 431 too large, 415
media type not taken, 421 another host, 422 pixel data that cannot be decoded, 429 too often, 500 our fault, 503 busy,
507 disk full.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from isocenter.errors import IsocenterError, RangeNotSatisfiable, StepError, TooManyRequests
from isocenter.web.context import base_url

log = logging.getLogger("isocenter.web")

_OF_FILES = {"GET", "HEAD"}
_HTTP_HINTS = {
    404: "The DICOMweb services are below /dicomweb (OPTIONS /dicomweb lists them), the viewer is at /.",
    405: "The Allow header lists the methods of this resource.",
}


def error_response(
    code: str, message: str, status: int, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    body = orjson.dumps({"error": {"code": code, "message": message, "hint": hint, "status": status}})
    return Response(body, status, dict(headers or {}), media_type="application/json")


def response_of(error: IsocenterError) -> Response:
    """The answer to a refusal."""
    headers = None
    if isinstance(error, TooManyRequests):
        headers = {"Retry-After": str(max(1, math.ceil(error.wait)))}
    elif error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": "5"}
    elif isinstance(error, RangeNotSatisfiable):
        headers = {"Content-Range": f"bytes */{error.length}"}
    return error_response(error.code, str(error), error.http_status, error.hint, headers)


def log_failure(error: Exception, what: str) -> None:
    """Type and place of an unforeseen failure; its message stays out, since it may quote the data it failed on."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    log.error("%s failed: %s at %s", what, type(error).__name__, where)


async def on_isocenter_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, IsocenterError)
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s %s: %s: %s", request.method, request.url.path, error.code, error)
    response = response_of(error)
    if isinstance(error, StepError):
        response.headers["warning"] = f"299 {base_url(request)}: {error.warning}"  # PS3.18 11.6.3.2, 11.7.3.2, 11.8.3.2
    return response


async def on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    return error_response(code, f"{status.phrase}.", status, _HTTP_HINTS.get(status, ""), headers)


def _methods_of(request: Request) -> list[str]:
    """All methods of a resource (RFC 9110 section 10.2.1); Starlette's own field names those of one of its routes."""
    here = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    # What no route has is a file of the viewer, or nothing.
    return sorted({method for route in here if isinstance(route, Route) for method in route.methods or ()} or _OF_FILES)


async def on_unforeseen(request: Request, error: Exception) -> Response:
    log_failure(error, f"{request.method} {request.url.path}")
    return error_response("internal", "The server failed to answer.", 500, "The server's log says where.")
