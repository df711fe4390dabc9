"""DICOM JSON metadata of many instances (PS3.18 section 10.4), prepared once for each series and kept compressed.

A run is the metadata of consecutive instances of a series, one JSON object a line. It is made when first asked for and
kept in the index; instances that came later make another run, anything else that happens to the series drops its runs.
The base URI of bulk data is not known then: a random token stands for it in the text, and is replaced on the way out.
What clients get, compressed or not, is kept in memory for the base URI they use, so that a second answer costs little.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import Any, TypeVar, cast

from isocenter.archive.audit import log
from isocenter.errors import ArchiveBusy, NotFound, OutOfResources
from isocenter.index.base import Housekeeping, MetadataRun, NumberedRef
from isocenter.model import InstanceRef, Level, Scope
from isocenter.store.base import BlobStore
from isocenter.wire.dicomjson import dumps
from isocenter.wire.seriesjson import SeriesJson

_RUN = 256
_PIECES = 64 << 20  # bytes of what was made of runs, in memory
_LEVEL = 3  # of zlib: more makes metadata little smaller and much later

T = TypeVar("T")
Stream = Callable[[Iterator[Any]], AsyncGenerator[Any, None]]


class Pieces:
    """What was made of runs for the answers of somebody's base URI and coding, the latest used up to a size."""

    def __init__(self, most_bytes: int = _PIECES) -> None:
        self._lock = threading.Lock()
        self._left = most_bytes
        self._known: OrderedDict[Hashable, tuple[int, object]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return cast(T, self._known[key][1])
        made = make()
        with self._lock:
            if key not in self._known:
                self._known[key] = (size(made), made)
                self._left -= size(made)
            while self._left < 0:
                self._left += self._known.popitem(last=False)[1][0]
        return made


class Metadata:
    """The metadata of a scope's instances in index order, as they were when it was asked for."""

    def __init__(self, store: BlobStore, index: Housekeeping, scope: Scope, pieces: Pieces, stream: Stream) -> None:
        """Blocking. `stream` steps through an iterator in threads. Raises NotFound if there are no instances."""
        self._store = store
        self._index = index
        self._scope = scope
        self._pieces = pieces
        self._stream = stream
        self._numbered = index.numbered(scope)
        if not self._numbered:
            raise NotFound("nothing is stored there")

    @property
    def refs(self) -> list[InstanceRef]:
        """The instances that this is about."""
        return [item.ref for item in self._numbered]

    @property
    def digest(self) -> bytes:
        """The same as long as the instances are the same."""
        digest = sha256()
        for item in self._numbered:
            digest.update(f"{item.ref.instance} {item.ref.digest}\n".encode())
        return digest.digest()

    async def texts(self, base_uri: str) -> AsyncIterator[bytes]:
        """One DICOM JSON object for each instance. `base_uri` is what BulkDataURIs begin with."""
        base = _base(base_uri)
        async for _, text in self._stream(self._runs(base)):
            for line in text().split(b"\n"):
                yield line

    async def pieces(
        self, base_uri: str, kind: str, make: Callable[[bytes], T], size: Callable[[T], int]
    ) -> AsyncIterator[T]:
        """What `make` gives for the objects of some instances at a time, separated by commas; done again only when it
        was not asked for lately. `kind` names what it does and `size` the bytes that the result takes."""
        base = _base(base_uri)

        def made() -> Iterator[T]:
            for token, text in self._runs(base):
                one = partial(_joined, text, make)
                yield self._pieces.get((token, base, kind), one, size) if token else one()

        async for piece in self._stream(made()):
            yield piece

    def _runs(self, base: bytes) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Objects of consecutive instances, one a line, with the name of their run; "" if they are no whole run."""
        if self._scope.level == Level.IMAGE:
            token = _token()
            for text in _texts(self._store, self._numbered, token):
                yield "", partial(text.replace, token.encode(), base)
            return
        for series_id, group in groupby(self._numbered, key=lambda item: item.series_id):
            wanted = list(group)
            for run in self._index.metadata_runs(series_id):
                if not wanted or run.last_instance > wanted[-1].instance_id:
                    break
                yield run.token, partial(_unpacked, run, base)
                wanted = [item for item in wanted if item.instance_id > run.last_instance]
            for at in range(0, len(wanted), _RUN):
                yield self._make(wanted[at : at + _RUN], base)

    def _make(self, items: Sequence[NumberedRef], base: bytes) -> tuple[str, Callable[[], bytes]]:
        """The metadata of consecutive instances of a series, which is kept as a run."""
        token = _token()
        text = b"\n".join(_texts(self._store, items, token))
        last = items[-1]
        run = MetadataRun(last.series_id, last.instance_id, len(items), token, zlib.compress(text, _LEVEL))
        try:
            self._index.add_metadata_run(run)
        except (ArchiveBusy, OutOfResources) as error:
            # Only the next reader's time is lost.
            log.info("metadata could not be kept: %s", error)
        return token, partial(text.replace, token.encode(), base)


def _base(base_uri: str) -> bytes:
    return dumps(base_uri.rstrip("/"))[1:-1]


def _unpacked(run: MetadataRun, base: bytes) -> bytes:
    return zlib.decompress(run.body).replace(run.token.encode(), base)


def _joined(text: Callable[[], bytes], make: Callable[[bytes], T]) -> T:
    # No line break is in an object: JSON has no form for one within a string.
    return make(text().replace(b"\n", b","))


def _texts(store: BlobStore, items: Sequence[NumberedRef], token: str) -> Iterator[bytes]:
    """The metadata of each instance, with the token for the base URI."""
    series = SeriesJson(token)
    for _, _, ref in items:
        path = f"{token}/{ref.resource}/bulkdata"
        with store.open(ref.blob) as blob:
            text = series.text(blob.view(), ref.transfer_syntax, start=ref.data_set_offset)
        yield text.replace(token.encode(), dumps(path)[1:-1])


def _token() -> str:
    # Random for each run, so that no text received earlier can contain it.
    return f"bulk:{os.urandom(16).hex()}"
