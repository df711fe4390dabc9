"""The HTTP server: uvicorn, with TLS by our profile, and an eye on clients that take their time.

uvicorn waits for ever for a request that does not come, or comes a byte a minute, and for a client that does not read
its answer: a few hundred of such connections, which cost their sender nothing, keep everybody else out. So connections
are counted by address, and one look a second ends those that are silent or crawl. What is waited for decides: the head
of a request has a fixed time, a body and an answer have to get on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from isocenter.errors import SettingsError
from isocenter.net.tls import web_context
from isocenter.settings import Settings
from isocenter.web.forwarded import Proxies
from isocenter.web.reception import is_loopback
from isocenter.web.traffic import network_of
from isocenter.web.unread import EXTENSION, FileSender

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol
except ImportError:  # no wheel for this Python: uvicorn has another parser
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol  # type: ignore[assignment]

log = logging.getLogger("isocenter.web")

_CRAWL = 256  # bytes a second; whoever is slower over web.idle_timeout does not get on
_SAID = 4096  # bytes of a message on a WebSocket, where clients have nothing to say
_LINGER = 10.0  # seconds in which a client that is answered already may send the rest of its request
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def require_protection(settings: Settings) -> None:
    """Raises SettingsError where others could reach us, and TLS or authentication is missing and nobody said so."""
    if is_loopback(settings.web_host):
        return
    missing = []
    if not settings.web_tls and not settings.web_proxies:
        missing.append("TLS (web.tls with tls.certificate, or web.proxies for a proxy before us that speaks it)")
    if not (settings.web_tokens or settings.web_users or settings.web_jwt):
        missing.append("authentication (web.tokens, web.users or web.jwt)")
    if missing and not settings.web_listen_unprotected:
        raise SettingsError(
            f"web.host = {settings.web_host}: other machines could reach patients' data here, and there is no "
            f"{' and no '.join(missing)}. Set it up (docs/guides/secure-the-web.md), listen on 127.0.0.1, or say "
            "web.listen_unprotected = true"
        )
    if missing:
        log.warning("the web server listens on %s without %s", settings.web_host, " and without ".join(missing))


class Watch:
    """All connections, by arrival and by address."""

    def __init__(self, settings: Settings) -> None:
        self.head_time, self.idle_time = settings.web_header_timeout, settings.web_idle_timeout
        self.largest_head = settings.web_max_headers + settings.web_max_url
        self._most, self._most_of_one = settings.web_max_connections, settings.web_max_connections_per_address
        self._proxies = Proxies(settings)
        self._all: dict[Connection, str] = {}  # oldest first, with their addresses
        self._of: dict[str, dict[Connection, None]] = {}

    def arrived(self, connection: Connection, address: str) -> None:
        """Where there are too many, one goes that asks for nothing now; if there is none, the new one."""
        if address in self._proxies:
            address = ""
        self._all[connection] = address
        own = self._of.setdefault(address, {})
        own[connection] = None
        if address and len(own) > self._most_of_one:
            self._make_room(list(own), address)
        elif len(self._all) > self._most:
            self._make_room(list(self._all), address)

    def left(self, connection: Connection) -> None:
        address = self._all.pop(connection, None)
        if address is not None:
            own = self._of[address]
            own.pop(connection, None)
            if not own:
                del self._of[address]

    def look(self, now: float) -> None:
        for connection in list(self._all):
            problem = connection.problem(now)
            if problem:
                log.info("a connection from %s is ended: %s", self._all.get(connection) or "a proxy", problem)
                connection.transport.abort()

    def _make_room(self, among: list[Connection], address: str) -> None:
        gone = next((one for one in among if one.asks_nothing), among[-1])
        log.info("too many connections of %s: one is ended", address or "a proxy")
        gone.transport.abort()
        self.left(gone)


class Connection(HttpProtocol):
    """One connection, which knows how far its client gets."""

    def __init__(self, watch: Watch, **options: Any) -> None:
        super().__init__(**options)
        self._watch = watch
        self._head_since: float | None = None  # since when the head of a request is waited for
        self._head_size = 0
        self._received = 0
        self._got = (0.0, 0)  # when, and how much had been received
        self._paused: tuple[float, int] | None = None  # since when the client reads slowly, and what it had to read
        self._over_since: float | None = None
        self._upgraded = False

    @property
    def asks_nothing(self) -> bool:
        if self._upgraded:
            return False
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._watch.arrived(self, network_of(self.client[0]) if self.client else "")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:  # the request is no upgrade
            sender = FileSender(self.transport, self.flow, self.cycle, plain=self.scheme == "http")
            self.scope["extensions"] = {EXTENSION: {"sender": sender}}

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.left(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """The connection is a WebSocket's from here on, and still one of all that are counted."""
        self._upgraded = True
        self.ws_protocol_class = cast(Any, partial(Channel, lambda: self._watch.left(self)))
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self._received += len(data)
        is_head = before is None or not before.more_body
        super().data_received(data)
        if self.cycle is not before:
            self._head_since, self._head_size, self._over_since = None, 0, None
            self._got = (self.loop.time(), self._received)
        elif is_head and not self.transport.is_closing():
            if self._head_since is None:
                self._head_since = self.loop.time()
            self._head_size += len(data)
            if self._head_size > self._watch.largest_head:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = (self.loop.time(), self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = None

    def problem(self, now: float) -> str | None:
        """Why the connection should end; None if nothing is wrong."""
        if self._upgraded:
            return None  # who does not answer a ping, or does not read, is ended there
        if self._paused is not None:
            since, had = self._paused
            taken = had - self.transport.get_write_buffer_size()
            slow = now - since > self._watch.idle_time and taken < _CRAWL * (now - since)
            return "the client does not take its answer" if slow else None
        if self.transport.is_closing():
            return self._lasts(now, self._watch.idle_time, "the client does not take the end of its answer")
        if self._head_since is not None:
            return "no request came" if now - self._head_since > self._watch.head_time else None
        cycle = self.cycle
        if cycle is None or not cycle.more_body:
            return None
        if cycle.response_complete:
            return self._lasts(now, _LINGER, "the client goes on after it was answered")
        since, received = self._got
        if self.flow.read_paused or cycle.waiting_for_100_continue:
            self._got = (now, self._received)  # it is us who take our time
        elif now - since > self._watch.idle_time:
            if self._received - received < _CRAWL * (now - since):
                return "the body does not come"
            self._got = (now, self._received)
        return None

    def _lasts(self, now: float, most: float, what: str) -> str | None:
        if self._over_since is None:
            self._over_since = now
        return what if now - self._over_since > most else None


class Channel(WebSocketsSansIOProtocol):
    """A WebSocket: what a connection becomes on which events are told."""

    def __init__(self, lost: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        super().connection_lost(exc)


class WebServer(uvicorn.Server):
    """uvicorn without its own signal handling: one place decides when everything stops. Raises SettingsError."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        require_protection(settings)
        self.watch = Watch(settings)
        self.listening = asyncio.Event()
        self._tls = web_context(settings)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, partial(Connection, self.watch)),
                ws=Channel,
                ws_max_size=_SAID,
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # forwarded.py
                timeout_graceful_shutdown=max(1, int(settings.dimse_drain_timeout)),
            )
        )

    def reloading(self, settings: Settings) -> Callable[[], None]:
        """What has new connections secured by the certificate that is there now. Raises SettingsError."""
        context = web_context(settings)

        def take_over() -> None:
            if context is not None:
                self._tls = context

        return take_over

    def _secure(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._tls or context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The context that listens stays, and hands each connection to that which counts at the time.
        self.config.ssl = self._tls
        if self._tls is not None:
            self._tls.sni_callback = self._secure
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # of tenths of a second
            self.watch.look(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
