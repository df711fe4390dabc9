"""The outermost layer of every answer: security headers, metrics, and an end to whatever was not foreseen.

Plain ASGI, because a wrapper that makes Request and Response objects costs more than most of our answers.
"""

from __future__ import annotations

import time
from http import HTTPMethod

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isocenter.web.context import is_data
from isocenter.web.errors import log_failure, on_unforeseen
from isocenter.web.metrics import Metrics

_EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# The viewer is plain files from here, and patient text reaches the page as text only: script sinks are closed, but for
# the address of one worker (js/volume/data.js), which its policy makes by itself.
VIEWER_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types isocenter-worker"
)
# Data are never a page.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Whoever came by TLS once does not try without for a year (RFC 6797).
_BY_TLS = "max-age=31536000"

_METHODS = frozenset(HTTPMethod)


class Envelope:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                data = is_data(scope["path"])  # as the layers below have left it (forwarded.py)
                headers = MutableHeaders(scope=message)
                for name, value in _EVERYWHERE.items():
                    headers[name] = value
                if scope["scheme"] == "https":
                    headers["strict-transport-security"] = _BY_TLS
                headers.setdefault("content-security-policy", DATA_POLICY if data else VIEWER_POLICY)
                headers.setdefault("cache-control", "no-store" if data else "no-cache")
            await send(message)

        self._metrics.open.inc()
        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            status = status or 499  # nobody is there to be told; 499 is what proxies count it under
        except Exception as error:  # noqa: BLE001  # the last resort, logged, without a trace for the client
            if status:
                # Headers are out: ending without the rest makes the server close, and the client see it is cut short.
                log_failure(error, f"{scope['method']} {scope['path']}, after its headers were sent,")
            else:
                response = await on_unforeseen(Request(scope), error)
                await response(scope, receive, sending)
        finally:
            self._metrics.open.dec()
            resource = getattr(scope.get("endpoint"), "__name__", "static" if not is_data(scope["path"]) else "none")
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.requests.labels(resource, method, str(status)).inc()
            self._metrics.seconds.labels(resource).observe(time.perf_counter() - started)
