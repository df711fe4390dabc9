"""Data sets as Explicit VR Little Endian with native pixel data, for clients and peers that take no other.

Everything but what the encoding demands keeps its bytes: where the stored data set is explicit VR little endian
already, only the attributes that describe the samples are written anew. Frames are decoded one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from struct import Struct

import numpy as np
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from isocenter.errors import DataSetError, LimitExceeded, NotAcceptable, PixelError
from isocenter.pixels.codecs import CODECS
from isocenter.pixels.image import Image
from isocenter.pixels.native import pack
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TransferSyntax, transfer_syntax
from isocenter.wire.deflate import inflate
from isocenter.wire.elements import LITTLE, Buffer, Element
from isocenter.wire.fragments import items
from isocenter.wire.limits import Limits
from isocenter.wire.scan import ScanResult, scan

_PHOTOMETRIC, _PLANAR, _HIGH_BIT = 0x00280004, 0x00280006, 0x00280102
_PIXELS = 0x7FE00010
_GROUP_7FE0 = 0x7FE00000
_LONGEST = 0xFFFFFFFE  # PS3.5 section 7.1.1: a defined length of 32 bits, even
_PIECE = 1024 * 1024

_LONG = Struct("<HH2sHI")
_SHORT = Struct("<HH2sH")


def can_decode(syntax: str) -> bool:
    """Whether frames stored in `syntax` can be had uncompressed."""
    codec = CODECS.get(syntax)
    return codec is not None and codec.available()


def can_uncompress(syntax: str) -> bool:
    """Whether whole objects stored in `syntax` can be had in Explicit VR Little Endian.

    Not big endian ones: words of unknown size would have to change their byte order.
    """
    return can_decode(syntax) and transfer_syntax(syntax).little


def native_frame(image: Image, number: int) -> bytes:
    """Frame `number` (from 1) as native little endian samples, colour by pixel. Raises as `Image.decode`."""
    if not image.encapsulated:
        return image.frame_bytes(number)
    return _native(image, image.frame(number))


def _native(image: Image, pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    samples = pixels.size * max(1, image.bits_allocated)
    return pack(pixels, image.layout)[: -(-samples // 8)]


def uncompressed(buf: Buffer, start: int, syntax_uid: str, limits: Limits) -> Iterator[bytes]:
    """The data set that begins at `start` of `buf`, stored in `syntax_uid`, in Explicit VR Little Endian, piece by
    piece; blocking.

    Raises PixelError, CodecMissing or DataSetError, before the first piece unless it is a later frame that is broken,
    and NotAcceptable where the result would be longer than a data element can be.
    """
    syntax = transfer_syntax(syntax_uid)
    if syntax.deflated:
        buf, start = inflate(buf[start:], limits), 0
    described = frozenset({_PHOTOMETRIC, _PLANAR, _HIGH_BIT})
    found = scan(
        buf,
        little=True,
        explicit=syntax.explicit,
        start=start,
        wanted=described,
        stop=_GROUP_7FE0,
        limits=limits,
        whole=False,
    )
    if found.end - start > limits.header_bytes:
        raise LimitExceeded(f"the header has over {limits.header_bytes} bytes (limits.header_bytes)")
    pixel_data = scan(
        buf, little=True, explicit=syntax.explicit, start=found.end, wanted=frozenset(), limits=limits, whole=False
    ).pixel_data
    if pixel_data is None or pixel_data.tag != _PIXELS:
        # No pixel data, or floating-point ones, which are never compressed
        yield _explicit(bytes(buf[start : found.end]), syntax)
        yield from _rest(buf, found.end, syntax)
        return
    if pixel_data.length >= 0:
        yield _explicit(bytes(buf[start : found.end]), syntax) + _pixel_header(pixel_data.vr, pixel_data.length)
        end = pixel_data.offset + pixel_data.length
        for position in range(pixel_data.offset, end, _PIECE):
            yield bytes(buf[position : min(position + _PIECE, end)])
        yield from _rest(buf, end, syntax)
        return
    # Whichever way the bytes were reached, the image must be read from the same buffer.
    uid = EXPLICIT_VR_LITTLE_ENDIAN if syntax.deflated else syntax.uid
    image = Image.of(buf, uid, start, limits)
    first = image.decode(1)
    data = _native(image, first.pixels)
    total = len(data) * image.number_of_frames
    if total > _LONGEST:
        raise NotAcceptable(f"uncompressed pixel data of {total} bytes are longer than a data element can be")
    if image.bits_allocated == 1 and image.number_of_frames > 1 and image.layout.native_bits % 8:
        raise NotAcceptable("frames of single bits that end within a byte are handed out as stored only")
    header = _patched(buf, start, found, image, first.photometric)
    yield header + _pixel_header("OW" if image.bits_allocated > 8 else "OB", total + total % 2)
    yield data
    for number in range(2, image.number_of_frames + 1):
        data = _native(image, image.frame(number))
        if len(data) * image.number_of_frames != total:
            raise PixelError("frames differ in size", frame=number)
        yield data
    if total % 2:
        yield b"\0"
    end = pixel_data.offset
    for end, _ in items(buf, pixel_data.offset, len(buf), LITTLE, limits):  # noqa: B007  # the last one is the end
        pass
    yield from _rest(buf, end, syntax)


def _pixel_header(vr: str, length: int) -> bytes:
    return _LONG.pack(0x7FE0, 0x0010, vr.encode("ascii"), 0, length + length % 2)


def _rest(buf: Buffer, start: int, syntax: TransferSyntax) -> Iterator[bytes]:
    """What stands after the pixel data: signatures and padding, usually nothing."""
    if start >= len(buf):
        return
    if not syntax.explicit:
        yield _explicit(bytes(buf[start:]), syntax)
        return
    for position in range(start, len(buf), _PIECE):
        yield bytes(buf[position : position + _PIECE])


def _explicit(data: bytes, syntax: TransferSyntax) -> bytes:
    """A data set in explicit VR. Raises DataSetError where a value does not fit its VR."""
    if syntax.explicit or not data:
        return data
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, False
    try:
        write_dataset(output, read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True))
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError) as error:
        raise DataSetError(f"the data set cannot be written with explicit VRs ({type(error).__name__})") from None
    return output.getvalue()


def _patched(buf: Buffer, start: int, found: ScanResult, image: Image, photometric: str) -> bytes:
    """The header with the attributes of the samples as they are now (PS3.3 C.7.6.3.1)."""
    values: dict[int, bytes] = {}
    if photometric != image.photometric_interpretation:
        text = photometric.encode("ascii")
        values[_PHOTOMETRIC] = (
            _SHORT.pack(0x0028, 0x0004, b"CS", len(text) + len(text) % 2) + text + b" " * (len(text) % 2)
        )
    if image.planar_configuration:
        values[_PLANAR] = _SHORT.pack(0x0028, 0x0006, b"US", 2) + b"\0\0"
    if image.layout.shift:
        values[_HIGH_BIT] = _SHORT.pack(0x0028, 0x0102, b"US", 2) + (image.bits_stored - 1).to_bytes(2, "little")
    pieces: list[bytes] = []
    position = start
    for tag in sorted(values):
        element: Element | None = found.elements.get(tag)
        if element is None:
            continue
        pieces += (bytes(buf[position : element.offset - 8]), values[tag])
        position = element.offset + element.length
    pieces.append(bytes(buf[position : found.end]))
    return b"".join(pieces)
