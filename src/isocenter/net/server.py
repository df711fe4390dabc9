"""The DIMSE server: listens, negotiates, and keeps the open associations."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass, field

from isocenter.errors import TlsError
from isocenter.net.admission import Admission, Books, Places
from isocenter.net.association import Association
from isocenter.net.identity import Authenticator, Verified, shown
from isocenter.net.tls import TlsTransport
from isocenter.services.base import Peer, Services
from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.ul.negotiation import IDENTITY_REJECTED, Policy, agreed, confirm_identity, generalized, negotiate
from isocenter.ul.table import State
from isocenter.wire.pdu import AssociateAC, AssociateRJ, AssociateRQ, UserIdentity

log = logging.getLogger("isocenter.dimse")

_LOCAL_LIMIT = AssociateRJ(2, 3, 2)
_CONGESTION = AssociateRJ(2, 3, 1)
_BACKLOG = 1024
_LONGEST_RESPONSE = 48 * 1024  # of a verified identity; the item it goes into holds 64 KiB with all else


@dataclass(frozen=True)
class ServerConfig:
    """What the server is told at birth; see the `dimse` rows of the settings table."""

    policy: Policy
    connection: Config
    places: Places = field(default_factory=Places)
    drain: float = 10.0
    response_timeout: float = 60.0
    authenticator: Authenticator | None = None  # None: a User Identity is not looked at, nor confirmed
    require_user: bool = False


class Acceptor(Association):
    """One association that a peer opened."""

    __slots__ = ("_identifying", "_server", "associated")

    def __init__(self, server: DimseServer) -> None:
        loop = asyncio.get_running_loop()
        config = server.config
        connection = Connection(requestor=False, now=loop.time(), config=config.connection)
        super().__init__(connection, loop, server.services, config.response_timeout)
        self._server = server
        self.associated = False
        self._identifying: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, TlsError):
            log.info("%s: %s", self.peer_address, exc)
        super().connection_lost(exc)

    def on_opening(self, event: events.UpperLayerEvent) -> None:
        if isinstance(event, events.AssociationRequested):
            self._on_association(event)

    @property
    def host(self) -> str:
        """The peer's address without its port."""
        return self.peer_address.rpartition(":")[0]

    def on_end(self) -> None:
        super().on_end()
        if self._identifying is not None:
            self._identifying.cancel()
        self._server.ended(self)

    def shut(self, why: str) -> None:
        """End it now."""
        self.connection.abort(why, provider=True)
        self._pump()
        if self.transport is not None and not self.associated:
            self.transport.abort()

    def _on_association(self, event: events.AssociationRequested) -> None:
        rq = event.rq
        config = self._server.config
        answer = negotiate(rq, config.policy) if self._server.has_room_for(self, rq.calling) else _LOCAL_LIMIT
        if isinstance(answer, AssociateAC) and config.authenticator is not None:
            if rq.user.identity is not None and not self._server.may_verify(self):
                log.warning("%s: too many users of this address are being verified", self.peer_address)
                answer = _CONGESTION
            elif rq.user.identity is not None:
                work = self._identify(rq, answer, rq.user.identity, config.authenticator)
                self._identifying = self.loop.create_task(work)
                self._identifying.add_done_callback(lambda _: self._server.has_verified(self))
                return
            if rq.user.identity is None and config.require_user:
                log.info("%s %s: no user identity", self.peer_address, shown(rq.calling))
                answer = IDENTITY_REJECTED
        self._answer(rq, answer)

    async def _identify(
        self, rq: AssociateRQ, answer: AssociateAC, identity: UserIdentity, authenticator: Authenticator
    ) -> None:
        """Have the user verified, for as long as the peer waits; ARTIM bounds that too."""
        verified: Verified | None = None
        outcome: AssociateAC | AssociateRJ = IDENTITY_REJECTED
        try:
            async with asyncio.timeout(self._server.config.connection.artim):
                verified = await authenticator.authenticate(identity, rq.calling)
            if verified is not None and len(verified.response) > _LONGEST_RESPONSE:
                raise ValueError(f"a server response of {len(verified.response)} bytes does not fit its item")
        except TimeoutError:
            log.warning("%s: verifying a user identity took too long", self.peer_address)
            outcome = _CONGESTION
        except Exception:
            log.exception("%s: verifying a user identity failed", self.peer_address)
            verified, outcome = None, _CONGESTION
        if self.connection.state is not State.STA3 or self.transport is None:
            return  # the peer gave up meanwhile
        if verified is not None:
            room = self._server.has_room_for(self, rq.calling)
            outcome = confirm_identity(rq, answer, verified.response) if room else _LOCAL_LIMIT
        elif outcome is IDENTITY_REJECTED:
            # Only what is a name by its kind: anything else could be a secret
            name = f" {shown(identity.primary)}" if identity.kind in (1, 2) else ""
            log.warning("%s %s: user%s not verified", self.peer_address, shown(rq.calling), name)
        self._answer(rq, outcome, "" if verified is None else verified.user)
        self.flush()

    def _answer(self, rq: AssociateRQ, answer: AssociateAC | AssociateRJ, user: str = "") -> None:
        if isinstance(answer, AssociateAC) and not self._server.began(self, rq.calling):
            answer = _LOCAL_LIMIT
        if isinstance(answer, AssociateRJ):
            log.info("%s %s: association %s", self.peer_address, shown(rq.calling), answer.explanation)
            self.connection.reject(answer)
            return
        self.contexts = agreed(rq, answer, generalized(rq, self._server.config.policy))
        self.peer = Peer(rq.calling, rq.called, self.peer_address, rq.user.implementation_version_name, user)
        if answer.user.async_operations is not None:
            self.operations, window = answer.user.async_operations
            self.set_window(window)
        self.associated = True
        log.debug("%s %s: association, %d contexts", self.peer_address, rq.calling, len(self.contexts))
        if user:
            log.info("%s %s: association of user %s", self.peer_address, shown(rq.calling), shown(user))
        self.connection.accept(answer)


class DimseServer:
    """Listens, and keeps the open associations; `books` where other processes have some of them."""

    def __init__(self, services: Services, config: ServerConfig, books: Books | None = None) -> None:
        self.services = services
        self.config = config
        self._admission: Admission[Acceptor] = Admission(books)
        self._links: set[Acceptor] = set()
        self._serving: set[Acceptor] = set()  # connection gone, work not done
        self._tls: ssl.SSLContext | None = None
        self._listening: list[tuple[asyncio.Server, bool]] = []  # with TLS or not
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port we listen on; without TLS, if there is such a port."""
        server, _ = min(self._listening, key=lambda one: one[1])
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    @property
    def tls_address(self) -> tuple[str, int] | None:
        """Host and port we listen on with TLS."""
        for server, secured in self._listening:
            if secured:
                host, port = server.sockets[0].getsockname()[:2]
                return host, port
        return None

    @property
    def associations(self) -> int:
        """How many are open, in this process."""
        return self._admission.associations

    def has_room_for(self, link: Acceptor, calling: str) -> bool:
        """Whether one more association of this AE title, and of where it comes from, is within the limits."""
        return self._admission.has_room(calling, link.host, self.config.places)

    def may_verify(self, link: Acceptor) -> bool:
        """Whether its user can be verified now: one address is not to keep an authenticator busy for all others."""
        return self._admission.verifying(link.host, self.config.places)

    def has_verified(self, link: Acceptor) -> None:
        """That is done with, or not wanted any more."""
        self._admission.verified(link.host)

    def arrived(self, link: Acceptor) -> None:
        """A connection is made (with TLS: to be, the handshake comes yet)."""
        other = self._admission.arrived(link, link.host, self.config.places)
        if other is not None:
            log.debug("%s: closed, too many connections wait for their association request", other.peer_address)
            other.shut("too many connections wait for their association request")

    def reconfigure(self, config: ServerConfig, tls: ssl.SSLContext | None) -> None:
        """From now on decide by `config` and shake hands by `tls`; open associations go on as they are."""
        self.config = config
        self._tls = tls or self._tls

    def began(self, link: Acceptor, calling: str) -> bool:
        """The association of `link` is to be accepted; False if there is no place for it by now."""
        return self._admission.began(link, calling, link.host, self.config.places)

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept associations on one more bound socket (backlog included).

        With `tls` (net.tls.server_context) it takes TLS and nothing else.
        """
        accept = self._accept if tls is None else self._accept_tls
        # asyncio takes its backlog for how often to try at a time, and writes a traceback for each where there is no
        # descriptor left: a thousand a second.
        server = await asyncio.get_running_loop().create_server(accept, sock=listener, backlog=1)
        listener.listen(_BACKLOG)
        self._tls = tls or self._tls
        self._listening.append((server, tls is not None))

    async def serve(self, accepted: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve one connection that was accepted elsewhere, to its end; with `tls` as in listen()."""
        link = self._accept()
        protocol = link if tls is None else TlsTransport(link, tls, server_side=True)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, accepted)
        except BaseException:
            if link.transport is None:
                self.ended(link)
                accepted.close()
            raise
        await link.over.wait()

    def _accept(self) -> Acceptor:
        link = Acceptor(self)
        self._links.add(link)
        self._empty.clear()
        return link

    def _accept_tls(self) -> TlsTransport:
        assert self._tls is not None
        return TlsTransport(self._accept(), self._tls, server_side=True)

    def ended(self, link: Acceptor) -> None:
        self._links.discard(link)
        if not link.idle:
            # What was begun for it still runs, an object being made durable above all; close() waits for that.
            self._serving.add(link)
            done = asyncio.ensure_future(link.finished())
            done.add_done_callback(lambda _: self._serving.discard(link))
        if link.associated:
            self._admission.ended(link.peer.calling, link.host)
        else:
            self._admission.left(link)
        if not self._links:
            self._empty.set()

    async def close(self) -> None:
        """Stop listening, give open associations the drain time, then abort what is left."""
        await self._stop_listening()
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
        if self._serving:
            await asyncio.wait(
                [asyncio.ensure_future(link.finished()) for link in self._serving], timeout=self.config.drain
            )
        for link in list(self._links):
            if link.transport is not None:
                link.transport.abort()
        for server, _ in self._listening:
            await server.wait_closed()

    async def _stop_listening(self) -> None:
        """asyncio makes the transport of what it accepted one turn of the loop later, and its connection_made() comes
        after another. A server that was closed in between fails there, and the socket would be open and nobody's."""
        loop = asyncio.get_running_loop()
        for server, _ in self._listening:
            for listener in server.sockets:
                loop.remove_reader(listener)
        for _ in range(2):
            await asyncio.sleep(0)
        for server, _ in self._listening:
            server.close()
