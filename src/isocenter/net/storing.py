"""C-ECHO and C-STORE as SCU: a peer, one association with it at a time, and objects that are sent to it.

The next association is opened when what is to be sent needs presentation contexts that were not proposed yet. Objects
are read in small batches ahead of the network; large ones in pieces. What else a peer can be asked for is in
net/client.py, and not here: `isocenter store` with several processes would wait for it, a fifth of its start.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from isocenter.errors import (
    DataSetError,
    IsocenterError,
    NetworkError,
    NoPresentationContext,
    NotDicomError,
    UsageError,
)
from isocenter.names import ae_title
from isocenter.net.address import Address, parse_address
from isocenter.net.as_file import file_of, is_dataset, several
from isocenter.net.flight import Flight
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.base import Services
from isocenter.services.storage import even_chunks, store_request
from isocenter.services.verification import TRANSFER_SYNTAXES as VERIFICATION_TRANSFER_SYNTAXES
from isocenter.services.verification import echo_request
from isocenter.settings import Settings, load
from isocenter.std.sop_classes import MEDIA_STORAGE_DIRECTORY, SOP_CLASSES, VERIFICATION
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import STORAGE_SERVICE_CLASS
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import FileMeta, data_set_uids, read_header
from isocenter.wire.pdu import UserIdentity

if TYPE_CHECKING:
    import ssl

    from pydicom import Dataset


class Readable(Protocol):
    """Something that gives the bytes of one DICOM file, as isocenter.walk() finds them."""

    @property
    def label(self) -> str:
        """What to call it in an outcome."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, piece by piece."""


StoreItem: TypeAlias = "str | os.PathLike[str] | bytes | Dataset | Readable"
"""What store() sends: the path of a DICOM file, its bytes, a data set as create() makes them, or what walk() found."""

_CHUNK = 1024 * 1024
_BATCH = 16
_MOST_CONTEXTS = 128
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
    if is_dataset(item):
        return "data set", iter((file_of(item),))
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
    source = "data set"
    try:
        source, chunks = _chunks(item)
        head = next(chunks, b"")
        meta, sop_class, sop_instance = announced(head, limits)
        return _Prepared(source, sop_class, sop_instance, meta, head, chunks)
    except IsocenterError as error:
        return StoreOutcome(source, "", "", None, str(error), isinstance(error, NotDicomError))
    except OSError as error:
        return StoreOutcome(source, "", "", None, error.strerror or str(error))


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer is reached, and as whom. Made by way_to()."""

    address: Address
    calling: str
    settings: Settings
    tls: ssl.SSLContext | None
    identity: UserIdentity | None
    proposing: frozenset[tuple[str, str]]


def way_to(
    address: str,
    *,
    calling: str = "ISOCENTER",
    settings: Settings | None = None,
    tls: ssl.SSLContext | bool = False,
    user: str | None = None,
    passcode: str | None = None,
    identity: UserIdentity | None = None,
    proposing: Iterable[tuple[str, str]] = (),
) -> Way:
    """What these arguments of isocenter.connect() say; raises what that raises."""
    try:
        title = ae_title(calling)
    except ValueError as error:
        raise UsageError(str(error)) from None
    settings = settings or load()
    if tls is True:
        from isocenter.net.tls import client_context

        tls = client_context(settings)
    if user is not None:
        from isocenter.net.identity import user_identity

        identity = user_identity(user, passcode)
    return Way(parse_address(address), title, settings, tls or None, identity, frozenset(proposing))


class StoragePeer:
    """A remote application entity that is sent objects; entering it opens an association, leaving releases that."""

    def __init__(self, way: Way, services: Services | None = None) -> None:
        self.address = way.address
        self._way = way
        self._limits = Limits.of(way.settings)
        self._services = services or Services()
        self._association: Requestor | None = None
        self._proposed: set[tuple[str, str]] = set()
        self._extended: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        await self._associate(set(self._way.proposing))
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
        iterator = several(items)
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
            calling=self._way.calling,
            settings=self._way.settings,
            tls=self._way.tls,
            identity=self._way.identity,
            window=self._way.settings.dimse_window,
            services=self._services,
        )
        self._proposed = set(pairs)
        return self._association
