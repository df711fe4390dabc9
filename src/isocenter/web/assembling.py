"""Instances that come as metadata and bulk data, in parts of their own (PS3.18 section 10.5.1.1, 8.7.3).

Metadata come first, as DICOM JSON (an array) or XML (a part for each instance), and are held; bulk data go to an
unnamed file in the data folder as they arrive, whatever their size. When all is there, each instance is put together as
a Part 10 file and goes the way that all objects go. Bulk data at the top level is copied from that file piece by piece;
within sequences it is small, and has the limit that a header has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import anyio
import anyio.to_thread

from isocenter.errors import (
    BadRequest,
    DataSetError,
    InvalidUID,
    IsocenterError,
    LimitExceeded,
    OutOfResources,
    PixelError,
    UnsupportedMediaType,
)
from isocenter.names import is_uid
from isocenter.pixels.codestream import read_codestream
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, transfer_syntax
from isocenter.web.context import Context
from isocenter.web.datasets import DICOM_XML
from isocenter.web.negotiate import COMPRESSED_MEDIA_TYPES, DEFAULT_SYNTAXES, DICOM_JSON, JSON, canonical_name, is_video
from isocenter.web.receiver import MAX_PARTS, Receiver
from isocenter.wire.dicomjson import Model, read_models
from isocenter.wire.dicomxml import read_native_xml
from isocenter.wire.elements import ANY_VR, LONG_VRS, path_of
from isocenter.wire.encode import Encoder
from isocenter.wire.limits import Limits
from isocenter.wire.mediatypes import MediaType, parse_media_type
from isocenter.wire.part10 import file_meta

METADATA = (DICOM_JSON, DICOM_XML, JSON)

_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE = "00080005", "00080016", "00080018"
_PIXEL_DATA = "7FE00010"
_STREAMED = 64 * 1024  # bytes of bulk data at the top level that are not held
_PIECE = 1024 * 1024
_HEAD = 64 * 1024  # of a compressed frame, to know its kind by
_LONGEST = 0xFFFFFFFE
_LONG = Struct("<HH2sHI")
_ITEM = Struct("<HHI")


@dataclass(slots=True)
class _Bulk:
    """One part of bulk data: where it lies in the file, and what its header fields say of it."""

    location: str
    media_type: MediaType
    offset: int
    length: int = 0


class Assembly:
    """A Store request of metadata and bulk data: `begin`, `write` and `end` each part, then `store`."""

    def __init__(self, context: Context, base: str) -> None:
        """`base` is what relative locations are relative to. Raises OutOfResources."""
        self._context = context
        self._limits = context.limits
        self._base = f"{base}/studies/"
        self._models: list[Model | IsocenterError] = []
        self._bulk: dict[str, list[_Bulk]] = {}
        self._parts = 0
        self._metadata: bytearray | None = None
        self._kind = ""
        self._current: _Bulk | None = None
        self._file = context.archive.scratch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, headers: Mapping[str, str]) -> None:
        """Raises BadRequest, UnsupportedMediaType or LimitExceeded."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise LimitExceeded(f"more than {MAX_PARTS} parts in one request")
        if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise UnsupportedMediaType("a part has a Content-Transfer-Encoding")
        media_type = parse_media_type(headers.get("content-type", "application/octet-stream"))
        if media_type.name in METADATA:
            self._metadata, self._kind = bytearray(), media_type.name
            return
        location = headers.get("content-location", "")
        if not location:
            raise BadRequest("a part of bulk data has no Content-Location")
        self._current = _Bulk(self._key(location), media_type, self._file.tell())

    def write(self, data: memoryview) -> None:
        """Raises LimitExceeded or OutOfResources."""
        if self._metadata is not None:
            if len(self._metadata) + len(data) > self._limits.header_bytes:
                raise LimitExceeded(f"metadata of over {self._limits.header_bytes} bytes (limits.header_bytes)")
            self._metadata += data
            return
        assert self._current is not None
        self._current.length += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise OutOfResources("no room for bulk data") from error

    async def end(self) -> None:
        """Raises DataSetError for metadata that cannot be read; the request is then about nothing."""
        if self._metadata is not None:
            text, self._metadata = bytes(self._metadata), None
            read = _read_xml if self._kind == DICOM_XML else read_models
            self._models += await anyio.to_thread.run_sync(read, text, self._limits)
            return
        assert self._current is not None
        self._bulk.setdefault(self._current.location, []).append(self._current)
        self._current = None

    def _key(self, location: str) -> str:
        try:
            return urljoin(self._base, location)
        except ValueError:
            raise BadRequest("a Content-Location or BulkDataURI that is no URI") from None

    async def store(self, receiver: Receiver) -> None:
        """Put the instances together and hand them over; what becomes of each is told by the receiver."""
        try:
            self._file.flush()
        except OSError as error:
            raise OutOfResources("no room for bulk data") from error
        for model in self._models:
            receiver.begin()
            try:
                if isinstance(model, IsocenterError):
                    raise model
                pieces = self._pieces(model)
                while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
                    receiver.write(memoryview(piece))
            except IsocenterError as error:
                receiver.cut(error)
            else:
                await receiver.end()

    # --- one instance

    def _pieces(self, model: Model) -> Iterator[bytes]:
        """The Part 10 file, piece by piece; blocking."""
        sop_class, sop_instance = _uid(model, _SOP_CLASS), _uid(model, _SOP_INSTANCE)
        frames = self._parts_of(model.get(_PIXEL_DATA, {}))
        syntax = self._syntax(frames)
        yield file_meta(sop_class, sop_instance, syntax)
        encoder = Encoder(bulk=self._held, limits=self._limits)
        waiting: dict[str, Any] = {_CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]}}
        for key in sorted(model):
            entry = model[key]
            if key == _CHARACTER_SET:
                continue
            parts = self._parts_of(entry)
            if not parts or (key != _PIXEL_DATA and sum(part.length for part in parts) <= _STREAMED):
                waiting[key] = entry
                continue
            yield encoder.data_set(waiting, ())
            waiting = {}
            yield from self._streamed(key, entry, parts, syntax)
        yield encoder.data_set(waiting, ())

    def _parts_of(self, entry: Any) -> Sequence[_Bulk]:
        """The parts that an attribute's BulkDataURI names; [] if it has none."""
        if not isinstance(entry, dict) or "BulkDataURI" not in entry:
            return []
        uri = entry["BulkDataURI"]
        parts = self._bulk.get(self._key(uri)) if isinstance(uri, str) else None
        if parts is None:
            raise DataSetError("no part of the request has the bulk data of a BulkDataURI")
        return parts

    def _syntax(self, frames: Sequence[_Bulk]) -> str:
        """The transfer syntax of the instance: that of its pixel data."""
        found = {self._syntax_of(frame) for frame in frames}
        if len(found) > 1:
            raise DataSetError("parts of one pixel data have different media types", tag_path="(7FE0,0010)")
        return found.pop() if found else EXPLICIT_VR_LITTLE_ENDIAN

    def _syntax_of(self, part: _Bulk) -> str:
        name = canonical_name(part.media_type.name)
        stated = part.media_type.parameters.get("transfer-syntax")
        if stated is None:
            default = DEFAULT_SYNTAXES.get(name, EXPLICIT_VR_LITTLE_ENDIAN)
            return self._seen(part) or default if name == "image/jpeg" else default
        if stated not in TRANSFER_SYNTAXES:
            raise UnsupportedMediaType("a transfer-syntax parameter that is not known")
        if not transfer_syntax(stated).encapsulated:
            if stated != EXPLICIT_VR_LITTLE_ENDIAN:
                raise UnsupportedMediaType("native bulk data are Explicit VR Little Endian")
        elif name.lower() not in (COMPRESSED_MEDIA_TYPES.get(stated, "").lower(), "application/octet-stream"):
            raise UnsupportedMediaType("a media type and a transfer syntax that do not belong together")
        return stated

    def _seen(self, part: _Bulk) -> str:
        """image/jpeg is many things: which, the codestream tells."""
        with suppress(PixelError):
            stream = read_codestream(self._bytes(part, min(part.length, _HEAD)))
            if stream.kind == "dct":
                return "1.2.840.10008.1.2.4.50" if stream.precision == 8 else "1.2.840.10008.1.2.4.51"
        return ""

    def _bytes(self, part: _Bulk, length: int) -> bytes:
        # By offset, since the file is being written by nobody any more but read in several threads.
        self._file.seek(part.offset)
        return self._file.read(length)

    def _held(self, uri: str) -> bytes:
        """Bulk data for the encoder: little, or within a sequence."""
        parts = self._bulk.get(self._key(uri))
        if parts is None:
            raise DataSetError("no part of the request has the bulk data of a BulkDataURI")
        if sum(part.length for part in parts) > self._limits.header_bytes:
            raise LimitExceeded(f"a value of over {self._limits.header_bytes} bytes (limits.header_bytes)")
        return b"".join(self._bytes(part, part.length) for part in parts)

    def _streamed(self, key: str, entry: Mapping[str, Any], parts: Sequence[_Bulk], syntax: str) -> Iterator[bytes]:
        """One element at the top level with its value from the file."""
        group, number = int(key[:4], 16), int(key[4:], 16)
        if key == _PIXEL_DATA and transfer_syntax(syntax).encapsulated:
            yield _LONG.pack(group, number, b"OB", 0, 0xFFFFFFFF) + _ITEM.pack(0xFFFE, 0xE000, 0)
            # A frame each; a video is one stream, here in one fragment whatever parts it came in (PS3.5 section 8.2.5).
            for fragment in [parts] if is_video(syntax) else [[part] for part in parts]:
                length = sum(part.length for part in fragment)
                _require_short(length, key)
                yield _ITEM.pack(0xFFFE, 0xE000, length + length % 2)
                yield from self._copied(fragment, length)
            yield _ITEM.pack(0xFFFE, 0xE0DD, 0)
            return
        length = sum(part.length for part in parts)
        _require_short(length, key)
        vr = entry.get("vr")
        code = vr.encode("ascii", "replace") if isinstance(vr, str) else b""
        if code not in ANY_VR or code == b"SQ":
            raise DataSetError("bulk data of a VR that has none", tag_path=path_of([group << 16 | number]))
        # PS3.5 section 6.2.2, note 4: too long for the two bytes of its VR
        yield _LONG.pack(group, number, code if code in LONG_VRS else b"UN", 0, length + length % 2)
        yield from self._copied(parts, length)

    def _copied(self, parts: Sequence[_Bulk], length: int) -> Iterator[bytes]:
        for part in parts:
            for start in range(0, part.length, _PIECE):
                self._file.seek(part.offset + start)
                yield self._file.read(min(_PIECE, part.length - start))
        if length % 2:
            yield b"\0"


def _require_short(length: int, key: str) -> None:
    if length > _LONGEST:
        raise DataSetError("a value longer than a data element can be", tag_path=path_of([int(key, 16)]))


def _uid(model: Model, key: str) -> str:
    entry = model.get(key)
    values = entry.get("Value") if isinstance(entry, dict) else None
    if not isinstance(values, list) or len(values) != 1 or not isinstance(values[0], str) or not is_uid(values[0]):
        raise InvalidUID("a UID that is missing or none", tag_path=path_of([int(key, 16)]))
    return values[0]


def _read_xml(text: bytes, limits: Limits) -> list[Model]:
    return [read_native_xml(text, limits)]
