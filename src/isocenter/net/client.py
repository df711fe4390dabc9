"""The SCU for users: `async with connect("PACS@10.0.0.5:11112") as pacs`.

A Peer keeps one association at a time and opens the next when what is to be sent needs presentation contexts that were
not proposed yet. Objects are read in small batches ahead of the network; large ones in pieces.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from isocenter.errors import IsocenterError, NetworkError, NoPresentationContext, NotDicomError, UsageError
from isocenter.model import ae_title
from isocenter.net.address import Address, parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.storage import store_request
from isocenter.services.verification import TRANSFER_SYNTAXES as VERIFICATION_TRANSFER_SYNTAXES
from isocenter.services.verification import echo_request
from isocenter.settings import Settings, load
from isocenter.std.sop_classes import VERIFICATION
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from isocenter.ul.connection import Buffer
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import FileMeta, data_set_uids, read_header

StoreItem = str | os.PathLike[str] | bytes
"""What store() sends: the path of a DICOM file, or the bytes of one."""

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
    """One object, ready to be sent: its beginning in memory, the rest still in the file."""

    source: str
    sop_class: str
    sop_instance: str
    meta: FileMeta
    head: bytes
    path: Path | None  # None: `head` is all

    @property
    def needs(self) -> tuple[str, str]:
        return self.sop_class, self.meta.transfer_syntax

    def data_set(self) -> Iterator[Buffer]:
        head = memoryview(self.head)[self.meta.data_set_offset :]
        if self.path is None:
            # A file may end oddly, a PDV may not: PS3.5 A.5 has a deflated stream padded with a NUL.
            syntax = TRANSFER_SYNTAXES.get(self.meta.transfer_syntax)
            yield bytes(head) + b"\0" if len(head) % 2 and syntax and syntax.deflated else head
            return
        # Fragments but the last are even; the first chunk ends at an even distance from the data set's start.
        even = len(head) & ~1
        yield head[:even]
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.meta.data_set_offset + even)
            while chunk := file.read(_CHUNK):
                yield chunk


def _prepare(item: StoreItem, limits: Limits) -> _Prepared | StoreOutcome:
    source = "bytes" if isinstance(item, bytes) else os.fspath(item)
    try:
        path: Path | None = None
        if isinstance(item, bytes):
            head = item
        else:
            with open(item, "rb", buffering=0) as file:
                head = file.read(_CHUNK)
                if len(head) == _CHUNK and os.fstat(file.fileno()).st_size > _CHUNK:
                    path = Path(item)
        meta = read_header(head, limits)
        # Command and data set have to agree (PS3.4 B.2.3), so the data set's own UIDs are announced where they can be
        # read: file meta information is wrong in many a file that was edited.
        sop_class, sop_instance = data_set_uids(head, meta.data_set_offset, meta.transfer_syntax, limits)
        sop_class, sop_instance = sop_class or meta.sop_class, sop_instance or meta.sop_instance
        if not sop_class or not sop_instance:
            raise NotDicomError("no SOP Class or SOP Instance UID")
        return _Prepared(source, sop_class, sop_instance, meta, head, path)
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
        association = self._association
        if association is None or not association.usable:
            association = await self._associate(set())
        context = association.context_for(VERIFICATION)
        response = await association.request(context, echo_request(association.next_message_id()))
        if response.get("Status") != 0:
            raise NetworkError(f"C-ECHO answered with status {response.get('Status', 0):04X}")

    async def store(self, items: Iterable[StoreItem]) -> AsyncIterator[StoreOutcome]:
        """C-STORE each item; yields one outcome for each, in order.

        Only a peer that cannot be reached or refuses the association raises; what happens to an object is its outcome.
        """
        iterator = iter(items)
        ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
        try:
            while batch := await ahead:
                ahead = asyncio.ensure_future(asyncio.to_thread(self._read_batch, iterator))
                needs = {item.needs for item in batch if isinstance(item, _Prepared)}
                for item in batch:
                    yield item if isinstance(item, StoreOutcome) else await self._store(item, needs)
        finally:
            ahead.cancel()

    def _read_batch(self, items: Iterator[StoreItem]) -> list[_Prepared | StoreOutcome]:
        batch: list[_Prepared | StoreOutcome] = []
        for item in items:
            batch.append(_prepare(item, self._limits))
            if len(batch) == _BATCH:
                break
        return batch

    async def _store(self, item: _Prepared, needs: set[tuple[str, str]]) -> StoreOutcome:
        association = self._association
        if association is None or not association.usable or not needs <= self._proposed:
            association = await self._associate(needs)
        try:
            context = association.context_for(item.sop_class, item.meta.transfer_syntax)
            command = store_request(association.next_message_id(), item.sop_class, item.sop_instance)
            response = await association.request(context, command, item.data_set())
        except NoPresentationContext as error:
            return StoreOutcome(item.source, item.sop_class, item.sop_instance, None, str(error))
        except (NetworkError, OSError) as error:
            association.abort()
            self._association = None
            return StoreOutcome(item.source, item.sop_class, item.sop_instance, None, str(error))
        status = response.get("Status", 0xC000)
        return StoreOutcome(item.source, item.sop_class, item.sop_instance, status, response.get("ErrorComment", ""))

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
    address: str, *, calling: str = "ISOCENTER", settings: Settings | None = None, tls: ssl.SSLContext | None = None
) -> Peer:
    """The peer at `address` ("AET@HOST:PORT"), for use as an async context manager; entering it opens an association.

    `calling` is our AE title. Raises UsageError for an address or title that cannot be; entering raises ConnectFailed,
    AssociationRejected, AssociationAborted or PeerTimeout.
    """
    try:
        title = ae_title(calling)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Peer(parse_address(address), title, settings or load(), tls)
