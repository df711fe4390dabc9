"""The DIMSE server: accepts associations, negotiates, and runs the services' verbs.

Requests of one association are served in the order they came, up to the negotiated number at a time; further ones wait
in the receive buffer. A failing service costs its own request a status and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass

from isocenter.errors import IsocenterError
from isocenter.net.link import Link
from isocenter.services.base import UNRECOGNIZED_OPERATION, Peer, Refusal, Reply, Request, Services, Sink
from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.ul.negotiation import Agreed, Policy, agreed, negotiate
from isocenter.wire.command import RESPONSE, Verb, response_to
from isocenter.wire.pdu import AssociateRJ

log = logging.getLogger("isocenter.dimse")

_PROCESSING_FAILURE = Reply(0x0110, "internal error; see the server's log")
_LOCAL_LIMIT = AssociateRJ(2, 3, 2)
# Connections that have not asked for an association yet; ARTIM ends them, this bounds how many there are meanwhile.
_WAITING_CONNECTIONS = 1000


@dataclass(frozen=True)
class ServerConfig:
    """What the server is told at birth; see the `dimse` rows of the settings table."""

    policy: Policy
    connection: Config
    max_associations: int = 1000
    drain: float = 10.0


class Acceptor(Link):
    """One association that a peer opened."""

    def __init__(self, server: DimseServer) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(Connection(requestor=False, now=loop.time(), config=server.config.connection), loop)
        self._server = server
        self._peer = Peer("", "", "")
        self._contexts: dict[int, Agreed] = {}
        self._operations = 1
        self._running = 0
        self._held: events.MessageStarted | None = None
        self._request: Request | None = None
        self._sink: Sink | None = None
        self._failed: Reply | None = None
        self._release_waits = False
        self.associated = False

    def on_event(self, event: events.UpperLayerEvent) -> bool:
        if isinstance(event, events.DataSetChunk):
            self._on_chunk(event)
        elif isinstance(event, events.MessageStarted):
            return self._on_message(event)
        elif isinstance(event, events.AssociationRequested):
            self._on_association(event)
        elif isinstance(event, events.ReleaseRequested):
            self._release_waits = True
            self._release_if_idle()
        elif isinstance(event, events.Aborted):
            level = logging.INFO if self.associated else logging.DEBUG
            log.log(level, "%s %s: association ended: %s", self.peer_address, self._peer.calling, event.why)
        return True

    def on_end(self) -> None:
        self._held = None
        if self._sink is not None:
            # The bytes stopped in the middle of an object: nothing was promised, nothing is kept.
            log.info("%s %s: connection ended within an object; dropped", self.peer_address, self._peer.calling)
            self._sink.abandon()
            self._sink = None
        self._server.ended(self)

    def shut(self, why: str) -> None:
        """End it now."""
        self.connection.abort(why, provider=True)
        self._pump()
        if self.transport is not None and not self.associated:
            self.transport.abort()

    @property
    def idle(self) -> bool:
        """Nothing is being received or served."""
        return self._running == 0 and self._sink is None

    # --- association -------------------------------------------------------------------------------------------

    def _on_association(self, event: events.AssociationRequested) -> None:
        rq = event.rq
        config = self._server.config
        answer = negotiate(rq, config.policy) if self._server.has_room else _LOCAL_LIMIT
        if isinstance(answer, AssociateRJ):
            log.info("%s %s: association %s", self.peer_address, rq.calling, answer.explanation)
            self.connection.reject(answer)
            return
        self._contexts = agreed(rq, answer)
        self._peer = Peer(rq.calling, rq.called, self.peer_address, rq.user.implementation_version_name)
        self._operations = answer.user.async_operations[0] if answer.user.async_operations else 1
        self.associated = True
        self._server.associations += 1
        log.debug("%s %s: association, %d contexts", self.peer_address, rq.calling, len(self._contexts))
        self.connection.accept(answer)

    def _release_if_idle(self) -> None:
        if self._release_waits and self.idle and not self.connection.close_expected:
            self._release_waits = False
            self.connection.release_response()

    # --- messages ----------------------------------------------------------------------------------------------

    def _on_message(self, event: events.MessageStarted) -> bool:
        verb = event.command["CommandField"]
        if verb == Verb.C_CANCEL:
            return True  # what it refers to has been answered, or cannot be cancelled (PS3.7 section 9.3.2.3)
        if verb & RESPONSE:
            self.connection.abort("a response without a request", provider=True)
            return True
        if self._running >= self._operations:
            self._held = event
            return False
        context = self._contexts[event.context_id]
        self._request = request = Request(self._peer, context, event.command)
        service = self._server.services.serving(context.abstract_syntax)
        if service is None or not context.as_scu:
            self._begin(Refusal(Reply(UNRECOGNIZED_OPERATION, "not in this role")), event.has_data)
        elif verb == Verb.C_STORE:
            try:
                sink = service.c_store(request)
            except IsocenterError as error:
                sink = Refusal(Reply.of(error))
            self._begin(sink, event.has_data)
        elif verb == Verb.C_ECHO and not event.has_data:
            self._run(request, service.c_echo(request))
        else:
            self._begin(Refusal(Reply(UNRECOGNIZED_OPERATION, "operation not supported")), event.has_data)
        return True

    def _begin(self, sink: Sink, has_data: bool) -> None:
        self._sink, self._failed = sink, None
        if not has_data:
            if not isinstance(sink, Refusal):
                sink.abandon()
                self._sink = Refusal(Reply(0xC000, "the data set is missing"))
            self._finish()

    def _on_chunk(self, event: events.DataSetChunk) -> None:
        sink = self._sink
        assert sink is not None
        if self._failed is None:
            try:
                sink.write(event.views)
            except IsocenterError as error:
                self._fail(sink, Reply.of(error))
            except Exception:
                log.exception("%s: receiving an object failed", self.peer_address)
                self._fail(sink, _PROCESSING_FAILURE)
        if event.last:
            self._finish()

    def _fail(self, sink: Sink, reply: Reply) -> None:
        self._failed = reply
        sink.abandon()

    def _finish(self) -> None:
        sink, request = self._sink, self._request
        assert sink is not None
        assert request is not None
        self._sink = None
        if self._failed is not None:
            self._reply(request, self._failed)
            return
        try:
            result = sink.finish()
        except IsocenterError as error:
            result = Reply.of(error)
        except Exception:
            log.exception("%s: storing an object failed", self.peer_address)
            result = _PROCESSING_FAILURE
        if isinstance(result, Reply):
            self._reply(request, result)
        else:
            self._run(request, result)

    def _run(self, request: Request, work: Awaitable[Reply]) -> None:
        self._running += 1
        self._server.start(self._serve(request, work))

    async def _serve(self, request: Request, work: Awaitable[Reply]) -> None:
        try:
            reply = await work
        except IsocenterError as error:
            reply = Reply.of(error)
        except Exception:
            log.exception("%s: request failed", self.peer_address)
            reply = _PROCESSING_FAILURE
        self._running -= 1
        self._reply(request, reply)
        held, self._held = self._held, None
        if held is None or self._on_message(held):
            self.resume()

    def _reply(self, request: Request, reply: Reply) -> None:
        if self.transport is None or self.connection.close_expected:
            return
        if reply.status:
            log.info(
                "%s %s: %s answered %04X %s",
                self.peer_address,
                self._peer.calling,
                Verb(request.command["CommandField"]).name
                if request.command["CommandField"] in Verb._value2member_map_
                else "request",
                reply.status,
                reply.comment,
            )
        more = {"ErrorComment": reply.comment} if reply.comment else {}
        if self.connection.can_send:
            self.connection.send_message(request.context.id, response_to(request.command, reply.status, **more))
            self.connection.touch(self.loop.time())
        self._release_if_idle()
        if not self._pumping:
            self.flush()


class DimseServer:
    """Listens, and keeps the open associations. Made by listen()."""

    def __init__(self, services: Services, config: ServerConfig) -> None:
        self.services = services
        self.config = config
        self.associations = 0
        self._links: set[Acceptor] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port we listen on."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    @property
    def has_room(self) -> bool:
        return self.associations < self.config.max_associations

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, ssl=tls, backlog=1024, reuse_address=True)

    def _accept(self) -> Acceptor:
        link = Acceptor(self)
        self._links.add(link)
        self._empty.clear()
        if len(self._links) - self.associations > _WAITING_CONNECTIONS:
            asyncio.get_running_loop().call_soon(link.shut, "too many connections wait for their association request")
        return link

    def ended(self, link: Acceptor) -> None:
        self._links.discard(link)
        if link.associated:
            self.associations -= 1
        if not self._links:
            self._empty.set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` as a task that is kept alive and waited for at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop listening, give open associations the drain time, then abort what is left."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            if not link.associated:
                link.shut("the server stops")
        if self._links:
            try:
                async with asyncio.timeout(self.config.drain):
                    await self._empty.wait()
            except TimeoutError:
                for link in list(self._links):
                    link.shut("the server stops")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.config.drain)
        for link in list(self._links):
            if link.transport is not None:
                link.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()
