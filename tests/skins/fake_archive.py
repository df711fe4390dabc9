"""An archive in memory with the verbs the web skin uses, for what the real one cannot be made to do on demand.

`refuse` is raised by the next commit, `fail_reading` by every access to stored bytes; `told_size` is of blobs that
become shorter after they were opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pydicom

from isocenter.errors import IsocenterError, NotFound
from isocenter.index.matching import fits
from isocenter.model import Found, InstanceRef, Level, Origin, Query, Scope
from isocenter.wire.part10 import read_header


@dataclass
class FakeBlob:
    data: bytes
    size: int

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        return self.data[offset : None if length is None else offset + length]

    def view(self) -> memoryview:
        return memoryview(self.data)

    def at_hand(self, offset: int, length: int) -> bool:
        return True

    def peek(self, offset: int, length: int, count: int) -> bytes:
        return self.read(offset, count)

    def fetch(self, offset: int, length: int) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class FakeOutcome:
    kind: str
    ref: InstanceRef
    warnings: tuple[str, ...] = ()


@dataclass
class FakeIncoming:
    archive: FakeArchive
    data: bytearray = field(default_factory=bytearray)
    largest_write: int = 0
    state: str = "open"

    def write(self, chunks: Sequence[Any]) -> None:
        assert self.state == "open"
        for chunk in chunks:
            self.data += chunk

    def abandon(self) -> None:
        assert self.state == "open"
        self.state = "abandoned"

    async def commit(self) -> FakeOutcome:
        assert self.state == "open"
        self.state = "committed"
        if self.archive.refuse is not None:
            raise self.archive.refuse
        data = bytes(self.data)
        meta = read_header(data)
        header = pydicom.dcmread(BytesIO(data), stop_before_pixels=True, force=True)
        ref = InstanceRef(
            header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID, header.SOPClassUID,
            meta.transfer_syntax, header.SOPInstanceUID, len(data), meta.data_set_offset,
            hashlib.sha256(data[meta.data_set_offset :]).hexdigest(), "", header.get("NumberOfFrames"),
        )  # fmt: skip
        known = self.archive.blobs.get(ref.instance)
        if known is not None:
            return FakeOutcome("already-there" if known == data else "kept-first", ref)
        self.archive.add(ref, data, header)
        return FakeOutcome("stored", ref)


class FakeArchive:
    def __init__(self) -> None:
        self.refs: dict[str, InstanceRef] = {}
        self.blobs: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, Any]] = {}
        self.begun: list[FakeIncoming] = []
        self.origins: list[Origin] = []
        self.refuse: Exception | None = None
        self.fail_reading: IsocenterError | None = None
        self.told_size = 0  # what blobs say of themselves, if not the truth

    def add(self, ref: InstanceRef, data: bytes, header: pydicom.Dataset) -> None:
        self.refs[ref.instance] = ref
        self.blobs[ref.instance] = data
        self.headers[ref.instance] = json.loads(header.to_json())

    def begin(self, origin: Origin) -> FakeIncoming:
        self.begun.append(FakeIncoming(self))
        self.origins.append(origin)
        return self.begun[-1]

    def blob(self, ref: InstanceRef) -> FakeBlob:
        if self.fail_reading is not None:
            raise self.fail_reading
        data = self.blobs[ref.blob]
        return FakeBlob(data, self.told_size or len(data))

    async def select(self, scope: Scope) -> list[InstanceRef]:
        found = [
            ref
            for ref in self.refs.values()
            if ref.study == scope.study
            and scope.series in (None, ref.series)
            and scope.instance in (None, ref.instance)
        ]
        if not found:
            raise NotFound("no such object")
        return found

    def _all(self, query: Query) -> list[Found]:
        answers: dict[tuple[str | None, ...], Found] = {}
        for ref in self.refs.values():
            names = (ref.study, ref.series, ref.instance)[: query.level]
            key = (*names, None, None)[:3]
            attributes = self.headers[ref.instance]
            if key not in answers and fits(query, attributes):
                answers[key] = Found(ref.study, key[1], key[2], attributes)
        return list(answers.values())

    async def find(self, query: Query) -> list[Found]:
        assert query.level is not Level.PATIENT
        end = None if query.limit is None else query.offset + query.limit
        return self._all(query)[query.offset : end]

    async def count(self, query: Query) -> int:
        return len(self._all(query))

    async def metadata(self, scope: Scope) -> FakeMetadata:
        return FakeMetadata([self.headers[ref.instance] for ref in await self.select(scope)])


@dataclass
class FakeMetadata:
    models: list[dict[str, Any]]
    digest: bytes = b"fake"

    async def texts(self, base_uri: str) -> AsyncIterator[bytes]:
        for model in self.models:
            yield json.dumps(model).encode()
