"""The bytes of sources and of what is made of them: headers as whole models, frames as they are stored.

What was native is written in Explicit VR Little Endian, which keeps every VR; a codestream stays in its transfer
syntax and is not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import Final

from isocenter.errors import LimitExceeded, PixelError, UnsupportedTransferSyntax
from isocenter.pixels.encapsulate import encapsulated
from isocenter.pixels.image import Image
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, transfer_syntax
from isocenter.views.view import Source
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import Model, dataset_json
from isocenter.wire.elements import PIXEL_TAGS, Buffer
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import Limits
from isocenter.wire.recode import recode
from isocenter.wire.scan import scan

LONGEST_NATIVE: Final = 0xFFFFFFFE
"""Bytes of native pixel data that an element holds."""

_GROUP_7FE0, _AFTER = 0x7FE00000, 0xFFFA0000
_PIECE: Final = 1 << 20
_LONG: Final = Struct("<HH2sHI")
_PIXEL_VRS: Final = {0x7FE00008: b"OF", 0x7FE00009: b"OD"}

# One codestream may be of several frames: videos, and JPEG 2000 Part 2 (PS3.5 sections 8.2.5 to 8.2.13, A.4.4)
_JOINED: Final = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93")


def made_in(uid: str) -> str:
    """The transfer syntax of what is made of an instance in this one. Raises UnsupportedTransferSyntax."""
    if uid not in TRANSFER_SYNTAXES:
        raise UnsupportedTransferSyntax("a transfer syntax that nothing is known of")
    syntax = transfer_syntax(uid)
    if syntax.document or "Referenced" in syntax.keyword:
        raise UnsupportedTransferSyntax(f"{syntax.name} has no pixel data of its own")
    return uid if syntax.encapsulated else EXPLICIT_VR_LITTLE_ENDIAN


def copied_in(uid: str) -> str:
    """The same for what keeps its pixel data as they are."""
    if transfer_syntax(uid).big_endian_pixels:
        raise UnsupportedTransferSyntax(f"the pixel data of {transfer_syntax(uid).name} cannot be kept")
    return made_in(uid)


def frames_in(uid: str) -> str:
    """The same for images whose frames are taken apart or put together."""
    if uid.startswith(_JOINED):
        raise UnsupportedTransferSyntax(f"the frames of {transfer_syntax(uid).name} cannot be had apart")
    return made_in(uid)


@dataclass(frozen=True)
class Opened:
    """A source's bytes, not deflated and in little endian order."""

    buf: Buffer
    syntax_uid: str
    limits: Limits

    @classmethod
    def of(cls, source: Source, limits: Limits) -> Opened:
        """Blocking. Raises DataSetErrors."""
        uid = source.ref.transfer_syntax
        syntax = transfer_syntax(uid)
        buf = source.read()
        if syntax.deflated:
            return cls(inflate(buf, limits), EXPLICIT_VR_LITTLE_ENDIAN, limits)
        if not syntax.little:
            pieces = recode(buf, start=0, source=syntax, explicit=True, limits=limits)
            return cls(b"".join(pieces), EXPLICIT_VR_LITTLE_ENDIAN, limits)
        return cls(buf, uid, limits)

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """Where its header ends, and where all but signatures and padding does."""
        explicit = transfer_syntax(self.syntax_uid).explicit
        ends = [
            scan(
                self.buf, little=True, explicit=explicit, wanted=frozenset(), stop=stop, limits=self.limits
            ).end
            for stop in (_GROUP_7FE0, _AFTER)
        ]  # fmt: skip
        return ends[0], ends[1]

    @cached_property
    def model(self) -> Model:
        """All that comes before pixel data, every value in line. Raises LimitExceeded where that is too much."""
        end = self._ends[0]
        if end > self.limits.header_bytes:
            raise LimitExceeded(f"the header has over {self.limits.header_bytes} bytes (limits.header_bytes)")
        return dataset_json(self.buf, self.syntax_uid, end=end, exclude_bulk=False, limits=self.limits)

    @cached_property
    def image(self) -> Image:
        """Raises PixelErrors."""
        return Image.of(self.buf, self.syntax_uid, 0, self.limits)

    def pixel_data(self) -> Iterator[bytes]:
        """Its pixel data as they are, in pieces, and what comes after them, but for signatures and padding."""
        start, end = self._ends
        syntax = transfer_syntax(self.syntax_uid)
        if not syntax.explicit and start < end:
            found = scan(self.buf, little=True, explicit=False, wanted=PIXEL_TAGS, limits=self.limits).elements
            if len(found) != 1:
                raise PixelError("the pixel data cannot be written in explicit VRs", tag_path="(7FE0,0010)")
            ((tag, element),) = found.items()
            yield _native_head(tag, _PIXEL_VRS.get(tag, b"OW"), element.length)
            start, end = element.offset, element.offset + element.length
        for position in range(start, end, _PIECE):
            yield bytes(self.buf[position : min(position + _PIECE, end)])
        if (end - start) % 2:
            yield b"\0"


def header(model: Model) -> bytes:
    """A header's bytes, text in UTF-8."""
    return encode_dataset(model)


def native(sizes: int, bits_allocated: int, frames: Iterator[bytes]) -> Iterator[bytes]:
    """Pixel Data of native frames that have `sizes` bytes together."""
    yield _native_head(0x7FE00010, b"OW" if bits_allocated > 8 else b"OB", sizes)
    left = sizes
    for frame in frames:
        left -= len(frame)
        yield frame
    if left:
        raise PixelError(f"{sizes} bytes of pixel data were announced, {sizes - left} came", tag_path="(7FE0,0010)")
    if sizes % 2:
        yield b"\0"


def frame_of(image: Image, number: int) -> Iterator[bytes]:
    """Pixel data of one frame of an image alone."""
    frame = image.frame_bytes(number)
    if image.encapsulated:
        return encapsulated([len(frame)], ((frame,),))
    return native(len(frame), image.bits_allocated, iter((frame,)))


def frames_of(opened: Sequence[Callable[[], Opened]], first: Image) -> Iterator[bytes]:
    """Pixel data of images of one frame each, one after the other, which are like `first`.

    One of them is open at a time; those that are encapsulated twice, as their lengths come first.
    """
    if not first.encapsulated:
        frames = (_alike(one().image, first).frame_bytes(1) for one in opened)
        return native(len(first.frame_bytes(1)) * len(opened), first.bits_allocated, frames)
    sizes = [len(_alike(one().image, first).frame_bytes(1)) for one in opened]
    return encapsulated(sizes, ((one().image.frame_bytes(1),) for one in opened))


def _alike(image: Image, first: Image) -> Image:
    if image.layout.native_bits != first.layout.native_bits or image.encapsulated != first.encapsulated:
        raise PixelError("the pixel data of the images are not alike", tag_path="(7FE0,0010)")
    return image


def _native_head(tag: int, vr: bytes, length: int) -> bytes:
    if length > LONGEST_NATIVE:
        raise LimitExceeded(f"native pixel data have over {LONGEST_NATIVE} bytes")
    return _LONG.pack(tag >> 16, tag & 0xFFFF, vr, 0, length + length % 2)
