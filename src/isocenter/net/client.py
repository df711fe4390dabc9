"""The SCU for users: `async with connect("PACS@10.0.0.5:11112") as pacs`.

A Peer keeps one association at a time and opens the next when what is to be sent needs presentation contexts that were
not proposed yet. Objects are read in small batches ahead of the network; large ones in pieces.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from isocenter.errors import (
    DataSetError,
    IsocenterError,
    NetworkError,
    NoPresentationContext,
    NotDicomError,
    UsageError,
)
from isocenter.model import AETitle, ae_title
from isocenter.net import commitment
from isocenter.net.address import Address, parse_address
from isocenter.net.flight import Flight
from isocenter.net.identity import user_identity
from isocenter.net.normalized import EventHandler, NormalizedVerbs, event_receiver
from isocenter.net.query_retrieve import QueryRetrieveVerbs
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.net.tls import client_context
from isocenter.services.base import Services
from isocenter.services.normalized import TRANSFER_SYNTAXES as NORMALIZED_SYNTAXES
from isocenter.services.storage import even_chunks, store_request
from isocenter.services.storage_commitment import CommitmentReport, Reference
from isocenter.services.verification import TRANSFER_SYNTAXES as VERIFICATION_TRANSFER_SYNTAXES
from isocenter.services.verification import echo_request
from isocenter.settings import Settings, load
from isocenter.std.sop_classes import MEDIA_STORAGE_DIRECTORY, SOP_CLASSES, STORAGE_COMMITMENT_PUSH, VERIFICATION
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import STORAGE_SERVICE_CLASS
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import FileMeta, data_set_uids, read_header
from isocenter.wire.pdu import UserIdentity


class Readable(Protocol):
    """Something that gives the bytes of one DICOM file, as isocenter.walk() finds them."""

    @property
    def label(self) -> str:
        """What to call it in an outcome."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""


StoreItem = str | os.PathLike[str] | bytes | Readable
"""What store() sends: the path of a DICOM file, its bytes, or what walk() found."""

_CHUNK = 1024 * 1024
_BATCH = 16
_MOST_CONTEXTS = 128
_FIND_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_WARNINGS = range(0xB000, 0xC000)


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one object. `status` is the peer's, None when the object was not sent; `source` is its path."""

    source: str
    sop_class: str
    sop_instance: str
    status: int | None
    message: str = ""
    not_dicom: bool = False  # no DICOM object at all (or a DICOMDIR, which lists objects and is none)

    @property
    def ok(self) -> bool:
        """Stored, perhaps with a warning (PS3.4 B.2.3)."""
        return self.status is not None and (self.status == 0 or self.status in _WARNINGS)


@dataclass(slots=True)
class _Prepared:
    """One object, ready to be sent: its beginning in memory, the rest to be read when it is sent."""

    source: str
    sop_class: str
    sop_instance: str
    meta: FileMeta
    head: bytes
    rest: Iterator[bytes]

    @property
    def needs(self) -> tuple[str, str]:
        return self.sop_class, self.meta.transfer_syntax

    def outcome(self, message: str, status: int | None = None) -> StoreOutcome:
        return StoreOutcome(self.source, self.sop_class, self.sop_instance, status, message)

    def data_set(self) -> Iterator[Buffer]:
        """The data set in chunks of even length; the last may be odd, where the file is."""
        # A file may end oddly, a PDV may not.
        syntax = TRANSFER_SYNTAXES.get(self.meta.transfer_syntax)
        head = memoryview(self.head)[self.meta.data_set_offset :]
        return even_chunks(itertools.chain((head,), self.rest), pad=syntax is not None and syntax.deflated)


def _chunks(item: StoreItem) -> tuple[str, Iterator[bytes]]:
    if isinstance(item, bytes):
        return "bytes", iter((item,))
    if isinstance(item, str | os.PathLike):
        return os.fspath(item), _file_chunks(item)
    return item.label, item.chunks()


def _file_chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
            if len(chunk) < _CHUNK:
                return


def announced(head: bytes, limits: Limits) -> tuple[FileMeta, str, str]:
    """The header, SOP Class and SOP Instance UID of the object whose file begins with `head`, as C-STORE announces it.

    Raises NotDicomError for what is no object, and other DataSetErrors.
    """
    meta = read_header(head, limits)
    # Command and data set have to agree (PS3.4 B.2.3), so the data set's own UIDs are announced where they can be
    # read: file meta information is wrong in many a file that was edited.
    sop_class, sop_instance = data_set_uids(head, meta.data_set_offset, meta.transfer_syntax, limits)
    sop_class, sop_instance = sop_class or meta.sop_class, sop_instance or meta.sop_instance
    if sop_class == MEDIA_STORAGE_DIRECTORY:
        raise NotDicomError("a DICOMDIR: a list of objects, not one")
    if not sop_class or not sop_instance:
        raise NotDicomError("no SOP Class or SOP Instance UID")
    return meta, sop_class, sop_instance


def _prepare(item: StoreItem, limits: Limits) -> _Prepared | StoreOutcome:
    source, chunks = _chunks(item)
    try:
        head = next(chunks, b"")
        meta, sop_class, sop_instance = announced(head, limits)
        return _Prepared(source, sop_class, sop_instance, meta, head, chunks)
    except IsocenterError as error:
        return StoreOutcome(source, "", "", None, str(error), isinstance(error, NotDicomError))
    except OSError as error:
        return StoreOutcome(source, "", "", None, error.strerror or str(error))


class Peer(QueryRetrieveVerbs, NormalizedVerbs):
    """A remote application entity, as SCU sees it. Made by connect()."""

    def __init__(
        self,
        address: Address,
        calling: str,
        settings: Settings,
        tls: ssl.SSLContext | None = None,
        identity: UserIdentity | None = None,
        on_event: EventHandler | None = None,
        reports: commitment.Reports | None = None,
        proposing: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.address = address
        self._calling = calling
        self._settings = settings
        self._limits = Limits.of(settings)
        self._tls = tls
        self._identity = identity
        self._association: Requestor | None = None
        self._proposed: set[tuple[str, str]] = set()
        self._proposing = frozenset(proposing)
        self._extended: dict[str, bytes] = {}
        self._reports = reports or commitment.Reports()
        handled = () if on_event is None else (event_receiver(on_event),)
        self._services = Services((self._reports.service, *handled))

    async def __aenter__(self) -> Self:
        await self._associate(set(self._proposing))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        association, self._association = self._association, None
        if association is None:
            return
        if kind is None:
            await association.release()
        else:
            association.abort()
            await association.closed()

    async def echo(self) -> None:
        """C-ECHO. Raises a NetworkError unless the peer answers with success."""
        association = await self._association_for(set())
        context = association.context_for(VERIFICATION)
        response = await association.request(context, echo_request(association.next_message_id()))
        if response.status != 0:
            raise NetworkError(f"C-ECHO answered with status {response.status:04X}")

    async def store(self, items: Iterable[StoreItem | None]) -> AsyncIterator[StoreOutcome]:
        """C-STORE each item; yields one outcome for each, in order.

        Where the peer agrees to an Asynchronous Operations Window (`dimse.window`), several objects are on their way at
        a time, and outcomes that come before those of earlier objects wait for them. Leaving the iteration early waits
        for what is on its way.

        Items are taken in threads, some ahead of what is being sent. An iterator that has to wait for the next one
        gives None first, which is no item: what it gave before is sent meanwhile.

        Nothing that the peer does raises: when the association is lost and no new one can be had, that is the outcome
        of the object, and the next few are tried on a new one.
        """
        iterator = iter(items)
        flight: Flight[StoreOutcome] = Flight()
        window = 1
        ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
        try:
            while True:
                while not ahead.done():
                    for outcome in await flight.until(ahead):
                        yield outcome
                if not (batch := await ahead):
                    break
                ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
                needs = {item.needs for item in batch if isinstance(item, _Prepared)}
                lost: NetworkError | None = None
                for item in batch:
                    if isinstance(item, StoreOutcome):
                        flight.put(item)
                    else:
                        if lost is None:
                            if not self._has(needs):  # there will be a new association, and no more of this one
                                for outcome in await flight.rest():
                                    yield outcome
                            try:
                                association = await self._association_for(needs)
                                window = association.window
                            except NetworkError as error:
                                lost = error
                        if lost is not None:
                            flight.put(item.outcome(str(lost)))
                        elif window == 1:
                            flight.put(await self._store(association, item))
                        else:
                            flight.add(self._store(association, item))
                    for outcome in await flight.room(window):
                        yield outcome
            for outcome in await flight.rest():
                yield outcome
        except GeneratorExit:
            await flight.settle()
            raise
        finally:
            flight.cancel()
            ahead.cancel()

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

    def _read_batch(self, items: Iterator[StoreItem | None]) -> list[_Prepared | StoreOutcome]:
        batch: list[_Prepared | StoreOutcome] = []
        for item in items:
            if item is not None:
                batch.append(_prepare(item, self._limits))
            if len(batch) == _BATCH or (item is None and batch):
                break
        return batch

    def _has(self, needs: set[tuple[str, str]]) -> bool:
        return self._association is not None and self._association.usable and needs <= self._proposed

    async def _negotiated(self, sop_class: str, syntaxes: Sequence[str], extended: bytes) -> Requestor:
        needs = {(sop_class, syntax) for syntax in syntaxes}
        if self._extended.get(sop_class, b"") == extended:
            return await self._association_for(needs)
        self._extended[sop_class] = extended
        return await self._associate(needs)

    async def _association_for(self, needs: set[tuple[str, str]]) -> Requestor:
        association = self._association
        if association is None or not self._has(needs):
            association = await self._associate(needs)
        return association

    async def _store(self, association: Requestor, item: _Prepared) -> StoreOutcome:
        try:
            context = association.context_for(item.sop_class, item.meta.transfer_syntax)
            command = store_request(association.next_message_id(), item.sop_class, item.sop_instance)
            response = await association.request(context, command, item.data_set())
        except NoPresentationContext as error:
            return item.outcome(str(error))
        except (NetworkError, DataSetError, OSError) as error:
            association.abort()
            if self._association is association:
                self._association = None
            return item.outcome(str(error))
        return item.outcome(response.command.get("ErrorComment", ""), response.status)

    @asynccontextmanager
    async def _apart(self, proposals: Sequence[Proposal], services: Services) -> AsyncIterator[Requestor]:
        if self._association is not None:
            await self._association.release()
            self._association = None
        association = await associate(
            self.address,
            proposals,
            calling=self._calling,
            settings=self._settings,
            tls=self._tls,
            identity=self._identity,
            services=services,
        )
        try:
            yield association
        except GeneratorExit:
            await association.release()
            raise
        except BaseException:
            association.abort()
            raise
        await association.release()

    async def _associate(self, needs: set[tuple[str, str]]) -> Requestor:
        """A new association whose contexts cover `needs` and, as far as they fit, what was proposed before."""
        if self._association is not None:
            await self._association.release()
            self._association = None
        wanted = list(needs) + sorted(self._proposed - needs)
        pairs = wanted[: _MOST_CONTEXTS - 1]
        proposals = [Proposal(VERIFICATION, VERIFICATION_TRANSFER_SYNTAXES)]
        proposals += [
            Proposal(
                sop_class,
                (syntax,),
                self._extended.get(sop_class, b""),
                service_class="" if sop_class in SOP_CLASSES else STORAGE_SERVICE_CLASS,  # what we send can be no other
            )
            for sop_class, syntax in sorted(pairs)
        ]
        self._association = await associate(
            self.address,
            proposals,
            calling=self._calling,
            settings=self._settings,
            tls=self._tls,
            identity=self._identity,
            window=self._settings.dimse_window,
            services=self._services,
        )
        self._proposed = set(pairs)
        return self._association


def _title(text: str) -> AETitle:
    try:
        return ae_title(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


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
    title = _title(calling)
    settings = settings or load()
    context = client_context(settings) if tls is True else tls or None
    if user is not None:
        identity = user_identity(user, passcode)
    return Peer(parse_address(address), title, settings, context, identity, on_event, reports, proposing)
