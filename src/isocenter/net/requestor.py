"""Associations that we open, as SCU."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from isocenter.errors import AssociationAborted, AssociationRejected, ConnectFailed, NetworkError, PeerTimeout
from isocenter.net.address import Address
from isocenter.net.association import Association
from isocenter.services.base import Peer, Services
from isocenter.settings import Settings
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.ul import events
from isocenter.ul.connection import Config, Connection
from isocenter.ul.negotiation import agreed
from isocenter.wire.limits import Limits
from isocenter.wire.pdu import (
    AssociateRQ,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

if TYPE_CHECKING:
    import ssl


def connection_config(settings: Settings) -> Config:
    """The upper layer's share of the settings table, for either role."""
    return Config(
        limits=Limits.of(settings),
        max_pdu=settings.dimse_max_pdu,
        artim=settings.dimse_artim_timeout,
        idle=settings.dimse_idle_timeout,
        lifetime=settings.dimse_association_timeout,
    )


class Proposal(NamedTuple):
    """An abstract syntax with the transfer syntaxes to offer for it, in our order, and what SOP Class Extended
    Negotiation is to say about it, if anything."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    extended: bytes = b""
    scp: bool = False  # we are SCP of it, not SCU (role selection, PS3.7 D.3.3.4)
    service_class: str = ""  # to be told to peers that may not know the class (SOP Class Common Extended Negotiation)
    related: tuple[str, ...] = ()  # with it, classes of which it is a specialization


class Requestor(Association):
    """An association that we open. Made by associate(); ended by release() or abort()."""

    __slots__ = ("_established", "_rq", "identity_confirmed")

    def __init__(self, rq: AssociateRQ, settings: Settings, services: Services) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(requestor=True, now=loop.time(), config=connection_config(settings))
        super().__init__(connection, loop, services, settings.dimse_response_timeout)
        self.identity_confirmed = False
        self._rq = rq
        self._established: asyncio.Future[None] = loop.create_future()
        connection.associate(rq)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection.transport_connected(self.loop.time())
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, NetworkError):
            self.fail(exc)
        elif not self._established.done():
            self.fail(
                AssociationAborted("the peer closed the connection without an answer; is TLS spoken on both sides?")
            )
        super().connection_lost(exc)

    async def established(self) -> None:
        """Wait for the answer to our A-ASSOCIATE-RQ; raises AssociationRejected and other NetworkErrors."""
        await self._established

    def on_opening(self, event: events.UpperLayerEvent) -> None:
        if isinstance(event, events.AssociationAccepted):
            self.contexts = agreed(self._rq, event.ac)
            self.identity_confirmed = event.ac.user.identity_response is not None
            self.peer = Peer(self._rq.calling, self._rq.called, self.peer_address)
            asked, allowed = self._rq.user.async_operations, event.ac.user.async_operations
            if asked is not None and allowed is not None:  # PS3.7 D.3.3.3: not answered is 1, and 0 is unlimited
                self.set_window(min(asked[0], allowed[0] or asked[0]))
                self.operations = min(asked[1], allowed[1] or asked[1])
            if not self._established.done():
                self._established.set_result(None)
        elif isinstance(event, events.AssociationRefused):
            rj = event.rj
            text = f"{self._rq.called}@{self.peer_address}: association {rj.explanation}"
            self.fail(AssociationRejected(text, result=rj.result, source=rj.source, reason=rj.reason))

    def fail(self, error: NetworkError) -> None:
        super().fail(error)
        if not self._established.done():
            self._established.set_exception(error)
            self._established.exception()  # whoever waits has it; nobody waiting is no defect


_NO_SERVICES = Services()


async def associate(
    address: Address,
    proposals: Sequence[Proposal],
    *,
    calling: str,
    settings: Settings,
    tls: ssl.SSLContext | None = None,
    services: Services = _NO_SERVICES,
    identity: UserIdentity | None = None,
    window: int = 1,
    performing: int = 1,
) -> Requestor:
    """Open an association; `services` serve what the peer requests on it (sub-operations, event reports).

    `window` is how many requests of ours we should like to have outstanding at a time; Association.window, what came
    of it. `performing` is how many of the peer's own it may have under way on it: sub-operations of a C-GET.
    `identity` says on whose behalf (net.identity.user_identity); Requestor.identity_confirmed, whether the peer heeded
    it. With `tls` (net.tls.client_context) the connection is secured first, within the same connect timeout. Raises
    ConnectFailed, TlsError, AssociationRejected, AssociationAborted or PeerTimeout.
    """
    if len(proposals) > 128:
        raise ValueError("an association has at most 128 presentation contexts")
    contexts = tuple(
        ProposedContext(2 * n + 1, p.abstract_syntax, p.transfer_syntaxes) for n, p in enumerate(proposals)
    )
    user = _user_information(proposals, settings, identity, (window, performing))
    rq = AssociateRQ(address.aet, calling, contexts, user)
    loop = asyncio.get_running_loop()
    link = Requestor(rq, settings, services)

    def protocol() -> asyncio.BufferedProtocol:
        if tls is None:
            return link
        from isocenter.net.tls import TlsTransport

        return TlsTransport(link, tls, server_side=False, server_hostname=address.host)

    try:
        async with asyncio.timeout(settings.dimse_connect_timeout):
            try:
                await loop.create_connection(protocol, address.host, address.port)
            except asyncio.CancelledError:
                if link.transport is not None:
                    link.connection_lost(None)  # the loop has closed what it had opened, and uvloop tells nobody
                raise
            await link.established()
    except TimeoutError:
        if link.transport is not None:
            link.abort("no answer to the association request")
            await link.closed()
            raise PeerTimeout(f"{address}: no answer within {settings.dimse_connect_timeout:g} s") from None
        raise ConnectFailed(f"{address}: no connection within {settings.dimse_connect_timeout:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"{address}: {error.strerror or error}") from None
    except NetworkError:
        await link.closed()
        raise
    except asyncio.CancelledError:
        link.abort("not wanted any more")
        raise
    return link


def _user_information(
    proposals: Sequence[Proposal], settings: Settings, identity: UserIdentity | None, operations: tuple[int, int]
) -> UserInformation:
    return UserInformation(
        max_length=settings.dimse_max_pdu,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        async_operations=None if operations == (1, 1) else operations,  # PS3.7 D.3.3.3: invoked, performed
        roles=tuple(
            RoleSelection(uid, scu=False, scp=True) for uid in {p.abstract_syntax: 0 for p in proposals if p.scp}
        ),
        extended=tuple(
            {
                p.abstract_syntax: ExtendedNegotiation(p.abstract_syntax, p.extended) for p in proposals if p.extended
            }.values()
        ),
        common_extended=tuple(
            {
                p.abstract_syntax: CommonExtendedNegotiation(p.abstract_syntax, p.service_class, p.related)
                for p in proposals
                if p.service_class
            }.values()
        ),
        identity=identity,
    )
