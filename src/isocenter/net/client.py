"""The SCU for users: `async with connect("PACS@10.0.0.5:11112") as pacs`.

A Peer keeps one association at a time and opens the next when what is to be sent needs presentation contexts that were
not proposed yet. Objects are read in small batches ahead of the network; large ones in pieces.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
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
from isocenter.model import ae_title
from isocenter.net.address import Address, parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.net.tls import client_context
from isocenter.services.storage import store_request
from isocenter.services.verification import TRANSFER_SYNTAXES as VERIFICATION_TRANSFER_SYNTAXES
from isocenter.services.verification import echo_request
from isocenter.settings import Settings, load
from isocenter.std.sop_classes import VERIFICATION
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.connection import Buffer
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import FileMeta, data_set_uids, read_header


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
_WARNINGS = range(0xB000, 0xC000)


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one object. `status` is the peer's, None when the object was not sent; `source` is its path."""

    source: str
    sop_class: str
    sop_instance: str
    status: int | None
    message: str = ""

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

    def data_set(self) -> Iterator[Buffer]:
        """The data set in chunks of even length; the last may be odd, where the file is."""
        odd = b""
        head: Iterator[bytes | memoryview] = iter((memoryview(self.head)[self.meta.data_set_offset :],))
        for chunk in itertools.chain(head, self.rest):
            whole = odd + bytes(chunk) if odd else chunk
            even = len(whole) & ~1
            odd = bytes(whole[even:])
            yield whole[:even]
        if odd:
            # A file may end oddly, a PDV may not: PS3.5 A.5 has a deflated stream padded with a NUL.
            syntax = TRANSFER_SYNTAXES.get(self.meta.transfer_syntax)
            yield odd + b"\0" if syntax and syntax.deflated else odd


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


def _prepare(item: StoreItem, limits: Limits) -> _Prepared | StoreOutcome:
    source, chunks = _chunks(item)
    try:
        head = next(chunks, b"")
        meta = read_header(head, limits)
        # Command and data set have to agree (PS3.4 B.2.3), so the data set's own UIDs are announced where they can be
        # read: file meta information is wrong in many a file that was edited.
        sop_class, sop_instance = data_set_uids(head, meta.data_set_offset, meta.transfer_syntax, limits)
        sop_class, sop_instance = sop_class or meta.sop_class, sop_instance or meta.sop_instance
        if not sop_class or not sop_instance:
            raise NotDicomError("no SOP Class or SOP Instance UID")
        return _Prepared(source, sop_class, sop_instance, meta, head, chunks)
    except IsocenterError as error:
        return StoreOutcome(source, "", "", None, str(error))
    except OSError as error:
        return StoreOutcome(source, "", "", None, error.strerror or str(error))


class Peer:
    """A remote application entity, as SCU sees it. Made by connect()."""

    def __init__(self, address: Address, calling: str, settings: Settings, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self._calling = calling
        self._settings = settings
        self._limits = Limits.of(settings)
        self._tls = tls
        self._association: Requestor | None = None
        self._proposed: set[tuple[str, str]] = set()

    async def __aenter__(self) -> Self:
        await self._associate(set())
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

    async def echo(self) -> None:
        """C-ECHO. Raises a NetworkError unless the peer answers with success."""
        association = await self._association_for(set())
        context = association.context_for(VERIFICATION)
        response = await association.request(context, echo_request(association.next_message_id()))
        if response.status != 0:
            raise NetworkError(f"C-ECHO answered with status {response.status:04X}")

    async def store(self, items: Iterable[StoreItem]) -> AsyncIterator[StoreOutcome]:
        """C-STORE each item; yields one outcome for each, in order.

        Nothing that the peer does raises: when the association is lost and no new one can be had, that is the outcome
        of the object, and the next few are tried on a new one.
        """
        iterator = iter(items)
        ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
        try:
            while batch := await ahead:
                ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
                needs = {item.needs for item in batch if isinstance(item, _Prepared)}
                lost: NetworkError | None = None
                for item in batch:
                    if isinstance(item, StoreOutcome):
                        yield item
                        continue
                    if lost is None:
                        try:
                            association = await self._association_for(needs)
                        except NetworkError as error:
                            lost = error
                    if lost is not None:
                        yield StoreOutcome(item.source, item.sop_class, item.sop_instance, None, str(lost))
                    else:
                        yield await self._store(association, item)
        finally:
            ahead.cancel()

    def _read_batch(self, items: Iterator[StoreItem]) -> list[_Prepared | StoreOutcome]:
        batch: list[_Prepared | StoreOutcome] = []
        for item in items:
            batch.append(_prepare(item, self._limits))
            if len(batch) == _BATCH:
                break
        return batch

    async def _association_for(self, needs: set[tuple[str, str]]) -> Requestor:
        association = self._association
        if association is None or not association.usable or not needs <= self._proposed:
            association = await self._associate(needs)
        return association

    async def _store(self, association: Requestor, item: _Prepared) -> StoreOutcome:
        try:
            context = association.context_for(item.sop_class, item.meta.transfer_syntax)
            command = store_request(association.next_message_id(), item.sop_class, item.sop_instance)
            response = await association.request(context, command, item.data_set())
        except NoPresentationContext as error:
            return StoreOutcome(item.source, item.sop_class, item.sop_instance, None, str(error))
        except (NetworkError, DataSetError, OSError) as error:
            association.abort()
            self._association = None
            return StoreOutcome(item.source, item.sop_class, item.sop_instance, None, str(error))
        comment = response.command.get("ErrorComment", "")
        return StoreOutcome(item.source, item.sop_class, item.sop_instance, response.status, comment)

    async def _associate(self, needs: set[tuple[str, str]]) -> Requestor:
        """A new association whose contexts cover `needs` and, as far as they fit, what was proposed before."""
        if self._association is not None:
            await self._association.release()
            self._association = None
        wanted = list(needs) + sorted(self._proposed - needs)
        pairs = wanted[: _MOST_CONTEXTS - 1]
        proposals = [Proposal(VERIFICATION, VERIFICATION_TRANSFER_SYNTAXES)]
        proposals += [Proposal(sop_class, (syntax,)) for sop_class, syntax in sorted(pairs)]
        self._association = await associate(
            self.address, proposals, calling=self._calling, settings=self._settings, tls=self._tls
        )
        self._proposed = set(pairs)
        return self._association


def connect(
    address: str, *, calling: str = "ISOCENTER", settings: Settings | None = None, tls: ssl.SSLContext | bool = False
) -> Peer:
    """The peer at `address` ("AET@HOST:PORT"), for use as an async context manager; entering it opens an association.

    `calling` is our AE title. `tls` True secures the connection by the `tls` rows of the settings (PS3.15 B.12); a
    context of your own does so in its way. Raises UsageError for an address or title that cannot be, SettingsError for
    certificates that cannot be used; entering raises ConnectFailed, TlsError, AssociationRejected, AssociationAborted
    or PeerTimeout.
    """
    try:
        title = ae_title(calling)
    except ValueError as error:
        raise UsageError(str(error)) from None
    settings = settings or load()
    context = client_context(settings) if tls is True else tls or None
    return Peer(parse_address(address), title, settings, context)
