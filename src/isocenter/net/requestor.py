"""One association that we open, as SCU: request and response matched by Message ID."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isocenter.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectFailed,
    NetworkError,
    NoPresentationContext,
    PeerTimeout,
)
from isocenter.net.address import Address
from isocenter.net.link import Link
from isocenter.services.base import UNRECOGNIZED_OPERATION
from isocenter.settings import Settings
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.ul import events
from isocenter.ul.connection import Buffer, Config, Connection
from isocenter.ul.negotiation import Agreed, agreed
from isocenter.wire.command import NO_DATA_SET, RESPONSE, CommandSet, response_to
from isocenter.wire.limits import Limits
from isocenter.wire.pdu import AssociateRQ, ProposedContext, UserInformation

log = logging.getLogger("isocenter.dimse")


def connection_config(settings: Settings) -> Config:
    """The upper layer's share of the settings table, for either role."""
    return Config(
        limits=Limits.of(settings),
        max_pdu=settings.dimse_max_pdu,
        artim=settings.dimse_artim_timeout,
        idle=settings.dimse_idle_timeout,
        lifetime=settings.dimse_association_timeout,
    )


@dataclass(frozen=True, slots=True)
class Proposal:
    """An abstract syntax with the transfer syntaxes to offer for it, in our order."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class Requestor(Link):
    """An open association as SCU. Made by associate(); ended by release() or abort()."""

    def __init__(self, rq: AssociateRQ, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(Connection(requestor=True, now=loop.time(), config=connection_config(settings)), loop)
        self.contexts: dict[int, Agreed] = {}
        self._rq = rq
        self._timeout = settings.dimse_response_timeout
        self._message_id = 0
        self._established: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[CommandSet]] = {}
        self._failure: NetworkError | None = None
        self.connection.associate(rq)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection.transport_connected(self.loop.time())
        super().connection_made(transport)

    @property
    def usable(self) -> bool:
        """Whether requests can still be sent."""
        return self._failure is None and self._established.done()

    # --- the user's side ---------------------------------------------------------------------------------------

    async def established(self) -> None:
        """Wait for the answer to our A-ASSOCIATE-RQ; raises AssociationRejected and other NetworkErrors."""
        await self._established

    def context_for(self, abstract_syntax: str, transfer_syntax: str | None = None) -> Agreed:
        """An accepted context in which we may act as SCU. Raises NoPresentationContext."""
        for context in self.contexts.values():
            if (
                context.abstract_syntax == abstract_syntax
                and context.as_scu
                and transfer_syntax in (None, context.transfer_syntax)
            ):
                return context
        what = abstract_syntax if transfer_syntax is None else f"{abstract_syntax} in {transfer_syntax}"
        raise NoPresentationContext(f"the peer accepted no presentation context for {what}")

    def next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    async def request(
        self, context: Agreed, command: CommandSet, data_set: Iterable[Buffer] | None = None
    ) -> CommandSet:
        """Send one request and wait for its response. Chunks of `data_set`, but the last, have an even length.

        Raises PeerTimeout (and aborts) when no response comes, AssociationAborted when the association ends.
        """
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[CommandSet] = self.loop.create_future()
        message_id = command["MessageID"]
        self._waiting[message_id] = future
        try:
            await self._send(context.id, command, data_set)
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            self.abort("no response in time")
            raise PeerTimeout(f"no response within {self._timeout:g} s") from None
        finally:
            self._waiting.pop(message_id, None)

    async def release(self) -> None:
        """A-RELEASE; aborts when the peer does not confirm within the response timeout."""
        if not self.ended and self._failure is None:
            self.connection.release()
            self.flush()
            try:
                async with asyncio.timeout(self._timeout):
                    await asyncio.shield(self._over)
            except TimeoutError:
                self.abort("the peer did not confirm the release")

    def abort(self, why: str = "aborted by us") -> None:
        """A-ABORT, now."""
        self.connection.abort(why)
        self._pump()
        if self.transport is not None:
            self.transport.close()

    # --- the connection's side ---------------------------------------------------------------------------------

    def on_event(self, event: events.UpperLayerEvent) -> bool:
        if isinstance(event, events.MessageStarted):
            self._on_message(event)
        elif isinstance(event, events.AssociationAccepted):
            self.contexts = agreed(self._rq, event.ac)
            if not self._established.done():
                self._established.set_result(None)
        elif isinstance(event, events.AssociationRefused):
            rj = event.rj
            self._fail(
                AssociationRejected(
                    f"{self._rq.called}: association {rj.explanation}",
                    result=rj.result,
                    source=rj.source,
                    reason=rj.reason,
                )
            )
        elif isinstance(event, events.ReleaseRequested):
            self.connection.release_response()
            self._fail(AssociationAborted("the peer released the association"))
        elif isinstance(event, events.Aborted):
            self._fail(AssociationAborted(event.why))
        return True

    def on_end(self) -> None:
        self._fail(AssociationAborted("the association is over"))
        if not self._over.done():
            self._over.set_result(None)

    def _on_message(self, event: events.MessageStarted) -> None:
        command = event.command
        if not command["CommandField"] & RESPONSE:
            reply = response_to(command, UNRECOGNIZED_OPERATION)
            self.connection.send_message(event.context_id, reply)
            return
        future = self._waiting.get(command.get("MessageIDBeingRespondedTo", 0))
        if future is None or future.done():
            log.info("%s: response to no request of ours; ignored", self.peer_address)
            return
        future.set_result(command)

    def _fail(self, error: NetworkError) -> None:
        if self._failure is None:
            self._failure = error
        if not self._established.done():
            self._established.set_exception(error)
            self._established.exception()  # whoever waits has it; nobody waiting is no defect
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    async def _send(self, context_id: int, command: CommandSet, data_set: Iterable[Buffer] | None) -> None:
        if data_set is None:
            command.setdefault("CommandDataSetType", NO_DATA_SET)
            self.connection.send_message(context_id, command)
            self.flush()
            return
        self.connection.send_message(context_id, command)
        chunks = iter(data_set)
        chunk = next(chunks, b"")
        while True:
            following = next(chunks, None)
            if self._failure is not None:
                raise self._failure
            self.connection.send_data(context_id, chunk, last=following is None)
            self.connection.touch(self.loop.time())
            self.flush()
            await self.drain()
            if following is None:
                return
            chunk = following


async def associate(
    address: Address,
    proposals: Sequence[Proposal],
    *,
    calling: str,
    settings: Settings,
    tls: ssl.SSLContext | None = None,
) -> Requestor:
    """Open an association. Raises ConnectFailed, AssociationRejected, AssociationAborted or PeerTimeout."""
    if len(proposals) > 128:
        raise ValueError("an association has at most 128 presentation contexts")
    contexts = tuple(
        ProposedContext(2 * n + 1, p.abstract_syntax, p.transfer_syntaxes) for n, p in enumerate(proposals)
    )
    user = UserInformation(
        max_length=settings.dimse_max_pdu,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )
    rq = AssociateRQ(address.aet, calling, contexts, user)
    loop = asyncio.get_running_loop()
    link: Requestor | None = None
    try:
        async with asyncio.timeout(settings.dimse_connect_timeout):
            _, link = await loop.create_connection(lambda: Requestor(rq, settings), address.host, address.port, ssl=tls)
            await link.established()
    except TimeoutError:
        if link is not None:
            link.abort("no answer to the association request")
            raise PeerTimeout(f"{address}: no answer within {settings.dimse_connect_timeout:g} s") from None
        raise ConnectFailed(f"{address}: no connection within {settings.dimse_connect_timeout:g} s") from None
    except OSError as error:
        raise ConnectFailed(f"{address}: {error.strerror or error}") from None
    return link
