"""The SCU for users: `async with connect("PACS@10.0.0.5:11112") as pacs`.

What a Peer keeps and how it sends objects is in net/storing.py, other verbs in net/query_retrieve.py and
net/normalized.py.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from isocenter.net import commitment
from isocenter.net.normalized import EventHandler, NormalizedVerbs, event_receiver
from isocenter.net.query_retrieve import QueryRetrieveVerbs
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.net.storing import StoragePeer, Way, way_to
from isocenter.services.base import Services
from isocenter.services.normalized import TRANSFER_SYNTAXES as NORMALIZED_SYNTAXES
from isocenter.services.storage_commitment import CommitmentReport, Reference
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.wire.pdu import UserIdentity


class Peer(StoragePeer, QueryRetrieveVerbs, NormalizedVerbs):
    """A remote application entity, as SCU sees it. Made by connect()."""

    def __init__(
        self, way: Way, on_event: EventHandler | None = None, reports: commitment.Reports | None = None
    ) -> None:
        self._reports = reports or commitment.Reports()
        handled = () if on_event is None else (event_receiver(on_event),)
        super().__init__(way, Services((self._reports.service, *handled)))
        self._retrieving: Requestor | None = None

    def cancel(self) -> bool:
        """C-CANCEL of the find(), get() or move() that another task iterates over, which goes on to the peer's last
        word; whether there was one."""
        found = [one.cancel_all() for one in (self._association, self._retrieving) if one is not None]
        return any(found)

    async def commit(self, references: Iterable[tuple[str, str]], *, timeout: float = 300.0) -> CommitmentReport:
        """Ask the peer to commit itself to the safekeeping of objects, and wait for its report (PS3.4 Annex J).

        `references` are pairs of SOP Class and SOP Instance UID. Only what is in `.committed` of the report may be
        deleted here; `.failed` says why of the rest. The report comes on this association, or on one that the peer
        opens to whoever listens for `reports` (see connect). Raises PeerTimeout when it does not come in `timeout`
        seconds, OperationFailed when the peer refuses the request, NoPresentationContext and other NetworkErrors.
        """
        association = await self._association_for({(STORAGE_COMMITMENT_PUSH, uid) for uid in NORMALIZED_SYNTAXES})
        wanted = (Reference(*pair) for pair in references)
        return await commitment.commit(association, wanted, self._reports, timeout)

    async def _negotiated(self, sop_class: str, syntaxes: Sequence[str], extended: bytes) -> Requestor:
        needs = {(sop_class, syntax) for syntax in syntaxes}
        if self._extended.get(sop_class, b"") == extended:
            return await self._association_for(needs)
        self._extended[sop_class] = extended
        return await self._associate(needs)

    @asynccontextmanager
    async def _apart(self, proposals: Sequence[Proposal], services: Services) -> AsyncIterator[Requestor]:
        if self._association is not None:
            await self._association.release()
            self._association = None
        association = await associate(
            self.address,
            proposals,
            calling=self._way.calling,
            settings=self._way.settings,
            tls=self._way.tls,
            identity=self._way.identity,
            services=services,
            performing=self._way.settings.dimse_operations,
        )
        self._retrieving = association
        try:
            yield association
            await association.release()
        except GeneratorExit:
            await association.release()
            raise
        except BaseException:
            association.abort()
            raise
        finally:
            self._retrieving = None


def connect(
    address: str,
    *,
    calling: str = "ISOCENTER",
    settings: Settings | None = None,
    tls: ssl.SSLContext | bool = False,
    user: str | None = None,
    passcode: str | None = None,
    identity: UserIdentity | None = None,
    on_event: EventHandler | None = None,
    reports: commitment.Reports | None = None,
    proposing: Iterable[tuple[str, str]] = (),
) -> Peer:
    """The peer at `address` ("AET@HOST:PORT"), for use as an async context manager; entering it opens an association.

    `calling` is our AE title. `tls` True secures the connection by the `tls` rows of the settings (PS3.15 B.12); a
    context of your own does so in its way. `user` with or without `passcode`, or any other `identity`, is sent along
    (PS3.7 section D.3.3.7); without TLS everyone on the way can read it. `on_event` is called with each N-EVENT-REPORT
    that the peer sends (net.normalized.Event), and says what to answer; `reports` are where those of commit() are
    awaited, if a server of ours offers them too. `proposing` are SOP Class and Transfer Syntax UIDs that will be
    needed: the association opened first has presentation contexts for them, where else it has one for Verification
    only, and what needs others opens another. Raises UsageError for an address or title that cannot be, SettingsError
    for certificates that cannot be used; entering raises ConnectFailed, TlsError, AssociationRejected,
    AssociationAborted or PeerTimeout.
    """
    way = way_to(
        address,
        calling=calling,
        settings=settings,
        tls=tls,
        user=user,
        passcode=passcode,
        identity=identity,
        proposing=proposing,
    )
    return Peer(way, on_event, reports)
