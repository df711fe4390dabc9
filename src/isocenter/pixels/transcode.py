"""Data sets in another transfer syntax: any to any where the standard and the libraries allow it, frame by frame.

What is done is the least that does it. A data set that only changes its encoding is recoded without a look at its
pixels (wire/recode.py). A codestream that serves in the other syntax as it is, is kept. Else frames are decoded and
encoded one at a time, and of the header those attributes are said anew that describe the samples (PS3.3 C.7.6.3) or
that a loss obliges to (C.7.6.1.1.5, C.12.4); every other byte stays as it is.

Encoded frames wait in an unnamed file, as what stands before them tells their sizes: memory holds a few frames and
never an object.
"""

from __future__ import annotations

import mmap
import tempfile
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from struct import Struct
from typing import IO, TypeVar

import numpy as np
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from isocenter.errors import CodecMissing, DataSetError, LimitExceeded, NotAcceptable, PixelError, TruncatedError
from isocenter.pixels import codecs, derived
from isocenter.pixels.codecs import CODECS, Decoded
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.derived import Suffered
from isocenter.pixels.encapsulate import encapsulated
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Array, Layout
from isocenter.pixels.native import pack
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    TransferSyntax,
    transfer_syntax,
)
from isocenter.wire.deflate import inflate
from isocenter.wire.elements import LITTLE, Buffer, Element, path_of
from isocenter.wire.fragments import items
from isocenter.wire.limits import Limits
from isocenter.wire.recode import recode
from isocenter.wire.scan import scan
from isocenter.wire.splice import Head
from isocenter.wire.walk import FRAGMENTS, walk

_PIXELS = 0x7FE00010
_GROUP_7FE0 = 0x7FE00000
_LONGEST = 0xFFFFFFFE  # PS3.5 section 7.1.1: a defined length of 32 bits, even
_PIECE = 1024 * 1024
_LONG = Struct("<HH2sHI")

_IN_MEMORY = 8 << 20  # encoded frames beyond this wait in a file
_FORGET = 64 << 20  # bytes of native frames after which pages of the source are given back

Edits = dict[int, tuple[str, bytes]]
T = TypeVar("T")

# What stands natively, and is what recode() or deflate makes of explicit VR little endian
_NATIVE = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made: a transfer syntax, and what may be lost.

    `sop_instance` is the UID that the object gets if something is lost (see `loses`). `extended` asks for an Extended
    Offset Table where the basic one would do. `threads` frames are worked on at a time. `scratch` is the folder in
    which frames wait, None the system's.
    """

    syntax: str
    loss: Loss | None = None
    sop_instance: str = ""
    extended: bool = False
    threads: int = 1
    scratch: str | None = None


def can_decode(syntax: str) -> bool:
    """Whether frames stored in `syntax` can be had uncompressed."""
    codec = CODECS.get(syntax)
    return codec is not None and codec.available()


def can_transcode(source: str, target: str) -> bool:
    """Whether objects stored in `source` can be tried in `target`; each object may still have its reasons."""
    if source == target:
        return True
    if source not in TRANSFER_SYNTAXES or transfer_syntax(source).document:
        return False
    if not transfer_syntax(target).encapsulated:
        known = target in _NATIVE or (target in CODECS and transfer_syntax(target).deflated)
        return known and (can_decode(source) or _is_native(transfer_syntax(source)))
    codec = CODECS.get(target)
    if codec is None or not codec.available():
        return False
    return source in codec.same or (codec.encoder is not None and can_decode(source))


def loses(source: str, target: str, loss: Loss | None = None) -> bool:
    """Whether objects lose something on the way: then they need a SOP Instance UID of their own (PS3.3 C.7.6.1.1.5)."""
    codec = CODECS.get(target)
    if codec is None or codec.encoder is None or (loss is None and (source == target or source in codec.same)):
        return False
    return codec.encoder.loss_of(loss) is not None


def transcoded(
    buf: Buffer,
    start: int,
    source_uid: str,
    wanted: Wanted,
    limits: Limits,
    tell: Callable[[int, int], None] | None = None,
) -> Iterator[bytes]:
    """The data set that begins at `start` of `buf`, stored in `source_uid`, as it is wanted, in pieces; blocking.

    `tell` hears after each frame how many are done, and of how many; what needs no frame looked at tells nothing.
    Raises PixelError, CodecMissing or DataSetError where it cannot be had, and NotAcceptable where the result would be
    longer than a data element can be: before the first piece, unless native frames are asked for and a later one is
    broken.
    """
    source, target = transfer_syntax(source_uid), transfer_syntax(wanted.syntax)
    if not can_transcode(source_uid, wanted.syntax):
        raise CodecMissing(_why_not(source_uid, wanted.syntax))
    if source_uid == wanted.syntax and wanted.loss is None:
        yield from _copied(buf, start, len(buf))
        return
    if source.deflated:
        buf, start, source = inflate(buf[start:], limits), 0, transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
    if _is_native(source) and source.explicit and not target.encapsulated and not target.deflated:
        # Whatever is native and explicit needs no pixels looked at.
        yield from recode(
            buf, start=start, source=source, explicit=target.explicit, little=target.little, limits=limits
        )
        return
    if not source.little:
        buf, start = kept(recode(buf, start=start, source=source, explicit=True, limits=limits), wanted.scratch), 0
        source = transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
    plain = _Explicit(buf, start, source, wanted, limits, tell or (lambda done, frames: None)).pieces()
    if target.deflated:
        yield from _deflated(plain)
    elif target.encapsulated or target.uid == EXPLICIT_VR_LITTLE_ENDIAN:
        yield from plain
    else:
        again, explicit = kept(plain, wanted.scratch), transfer_syntax(EXPLICIT_VR_LITTLE_ENDIAN)
        yield from recode(
            again, start=0, source=explicit, explicit=target.explicit, little=target.little, limits=limits
        )


def kept(pieces: Iterable[bytes], scratch: str | None = None) -> memoryview:
    """The pieces in an unnamed file, mapped; the map holds it as long as it is referred to."""
    with tempfile.TemporaryFile(dir=scratch) as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        if not file.tell():
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def native_frame(image: Image, number: int) -> tuple[bytes, dict[str, int]]:
    """Frame `number` (from 1) as native samples, colour by pixel, and `Image.misread` of it. As `Image.decode`."""
    if not image.encapsulated:
        return image.frame_bytes(number), {}
    decoded = image.decode(number)
    layout = _samples(image.layout, decoded)
    return _packed(decoded.pixels, layout), image.misread(layout)


def encoded_frame(image: Image, number: int, target: str) -> bytes:
    """Frame `number` (from 1) as a codestream of `target`. Raises as `Image.decode` and `codecs.encode`."""
    decoded = image.decode(number)
    return codecs.encode(target, decoded.pixels, _samples(image.layout, decoded))


def _is_native(syntax: TransferSyntax) -> bool:
    return not (syntax.encapsulated or syntax.document or syntax.big_endian_pixels)


def _why_not(source: str, target: str) -> str:
    for uid, what in ((source, "read"), (target, "written")):
        codec = CODECS.get(uid)
        if codec is None and uid not in _NATIVE:
            return f"frames of transfer syntax {transfer_syntax(uid).name or uid} are not {what}"
        if codec is not None and (reason := codec.missing()):
            return f"{codec.name}: {reason}"
    codec = CODECS[target]
    return f"{codec.name} can be read but not written: {codec.unwritten}"


def _deflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """PS3.5 section A.5: one raw deflate stream, padded to even length."""
    deflater = zlib.compressobj(wbits=-15)
    size = 0
    for piece in pieces:
        data = deflater.compress(piece)
        size += len(data)
        yield data
    data = deflater.flush()
    yield data + b"\0" * ((size + len(data)) % 2)


def _copied(buf: Buffer, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE):
        yield bytes(buf[position : min(position + _PIECE, end)])


def _samples(layout: Layout, decoded: Decoded) -> Layout:
    """How decoded samples lie, with Bits Allocated and Stored as they turned out to be."""
    size = 8 * decoded.pixels.dtype.itemsize
    one_bit = layout.bits_allocated == 1 and decoded.bits == 1
    return replace(
        layout,
        bits_allocated=1 if one_bit else size,
        bits_stored=decoded.bits,
        high_bit=decoded.bits - 1,
        photometric=decoded.photometric,
        planar=0,
        big_endian=False,
    )


def _packed(pixels: Array, layout: Layout) -> bytes:
    """One native frame without padding to even length."""
    return pack(pixels, layout)[: -(-layout.native_bits // 8)]


class _Explicit:
    """One little endian data set on its way to Explicit VR Little Endian, with native pixel data or encapsulated."""

    def __init__(
        self,
        buf: Buffer,
        start: int,
        source: TransferSyntax,
        wanted: Wanted,
        limits: Limits,
        tell: Callable[[int, int], None],
    ) -> None:
        self._buf, self._start, self._source = buf, start, source
        self._wanted, self._limits, self._tell = wanted, limits, tell
        self._target = transfer_syntax(wanted.syntax)
        found = scan(
            buf, little=True, explicit=source.explicit, start=start, wanted=frozenset(), stop=_GROUP_7FE0,
            limits=limits, whole=False,
        )  # fmt: skip
        if found.end - start > limits.header_bytes:
            raise LimitExceeded(f"the header has over {limits.header_bytes} bytes (limits.header_bytes)")
        self._header_end = found.end
        rest = scan(
            buf, little=True, explicit=source.explicit, start=found.end, wanted=frozenset(), limits=limits, whole=False
        )
        if "truncated" in rest.flags:
            raise TruncatedError("the data set ends within an element", offset=rest.end)
        self._element: Element | None = rest.pixel_data

    def pieces(self) -> Iterator[bytes]:
        element = self._element
        header = explicit_vr(bytes(self._buf[self._start : self._header_end]), self._source)
        if element is None or element.tag != _PIXELS:
            if self._target.encapsulated:
                raise PixelError("there are no pixel data to compress", tag_path="(7FE0,0010)")
            # Floating-point pixel data are never compressed
            yield header
            yield from self._after(self._header_end)
            return
        if element.length >= 0 and _is_native(self._source) and not self._target.encapsulated:
            end = element.offset + element.length
            yield header + _pixel_header(element.vr, element.length)
            yield from _copied(self._buf, element.offset, end)
            yield b"\0" * (element.length % 2)
            yield from self._after(end)
            return
        _refuse_compressed_icons(header, self._limits)
        image = Image.of(self._buf, self._source.uid, self._start, self._limits)
        head = Head(header, self._limits)
        if self._target.encapsulated:
            yield from self._encapsulated(image, head)
        else:
            yield from self._native(image, head)
        yield from self._after(self._end_of_pixels(element))

    def _end_of_pixels(self, element: Element) -> int:
        if element.length >= 0:
            return element.offset + element.length
        end = element.offset
        for end, _ in items(self._buf, element.offset, len(self._buf), LITTLE, self._limits):  # noqa: B007
            pass  # the last one is the end
        return end

    def _after(self, start: int) -> Iterator[bytes]:
        """What stands after the pixel data: signatures and padding, usually nothing."""
        if start >= len(self._buf):
            return
        if self._source.explicit:
            yield from _copied(self._buf, start, len(self._buf))
        else:
            yield explicit_vr(bytes(self._buf[start:]), self._source)

    # --- native -----------------------------------------------------------------------------------------------------

    def _native(self, image: Image, head: Head) -> Iterator[bytes]:
        """Frame by frame; the length is known from the first."""
        described = image.layout
        if _overlays_in_samples(head):
            # Some writers compress the whole container: with all its bits the overlays come out, too.
            whole = described.bits_allocated
            image.layout = replace(described, bits_stored=whole, high_bit=whole - 1, signed=False)
        first = image.decode(1)
        layout = _samples(image.layout, first)
        bits = layout.native_bits * image.number_of_frames
        total = -(-bits // 8)
        if total > _LONGEST:
            raise NotAcceptable(f"uncompressed pixel data of {total} bytes are longer than a data element can be")
        told = replace(layout, signed=described.signed)
        if image.layout is not described and first.bits == described.bits_allocated:
            told = replace(told, bits_stored=described.bits_stored, high_bit=described.high_bit)
        edits = derived.samples(head, told) | self._earlier(image, head)
        yield head.spliced(edits) + _pixel_header("OW" if layout.bits_allocated > 8 else "OB", total)
        left: Array = np.empty(0, np.uint8)  # single bits that do not fill a byte yet
        for decoded in self._decoded(image, first):
            if layout.bits_allocated == 1 and layout.native_bits % 8:
                left = np.concatenate([left, decoded.pixels.reshape(-1)])
                whole = left.size // 8 * 8
                yield np.packbits(left[:whole], bitorder="little").tobytes()
                left = left[whole:]
            else:
                yield _packed(decoded.pixels, layout)
        yield np.packbits(left, bitorder="little").tobytes() + b"\0" * (total % 2)

    def _decoded(self, image: Image, first: Decoded) -> Iterator[Decoded]:
        samples = _samples(image.layout, first)
        yield first
        rest = range(2, image.number_of_frames + 1)
        yield from self._each(image, lambda number: self._alike(image.decode(number), samples, number), rest)

    # --- encapsulated -----------------------------------------------------------------------------------------------

    def _encapsulated(self, image: Image, head: Head) -> Iterator[bytes]:
        frames, edits = self._coding(image, head)
        sizes = array("Q")
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=self._wanted.scratch) as spool:
            for data in frames:
                sizes.append(len(data))
                spool.write(data)
            yield head.spliced(edits(image.layout.native_bits / 8 * len(sizes) / max(1, sum(sizes))))
            yield from encapsulated(sizes, _from_spool(sizes, spool), extended=self._wanted.extended)

    def _coding(self, image: Image, head: Head) -> tuple[Iterator[bytes], Callable[[float], Edits]]:
        """The coded frames, and what the header says anew when the ratio is known that they came to."""
        source, wanted = self._source.uid, self._wanted
        codec = CODECS[wanted.syntax]
        numbers = range(1, image.number_of_frames + 1)
        if wanted.loss is None and source in codec.same and image.encapsulated:

            def kept_frame(number: int) -> bytes:
                return _of_frame(number, lambda: codecs.kept(wanted.syntax, source, image.frame_bytes(number)))

            told = derived.sign(head, image.layout) | self._earlier(image, head)
            return self._each(image, kept_frame, numbers), lambda ratio: told
        if overlays := _overlays_in_samples(head):
            raise PixelError("an overlay in unused bits of the samples would be lost", tag_path=overlays)
        samples = _samples(image.layout, first := image.decode(1))
        coded = codecs.described(wanted.syntax, samples, wanted.loss)

        def one(number: int) -> bytes:
            decoded = first if number == 1 else self._alike(image.decode(number), samples, number)
            return _of_frame(number, lambda: codecs.encode(wanted.syntax, decoded.pixels, samples, wanted.loss))

        def edits(ratio: float) -> Edits:
            changed = derived.samples(head, coded)
            if codec.encoder is None or not loses(source, wanted.syntax, wanted.loss):
                return changed | self._earlier(image, head)
            how = f"{codec.name}, lossy, {ratio:.1f}:1"
            losses = [*self._suffered(image, head), Suffered(codec.encoder.method, ratio)]
            return changed | derived.lossy(head, losses) | derived.derivation(head, how, wanted.sop_instance)

        return self._each(image, one, numbers), edits

    def _alike(self, decoded: Decoded, samples: Layout, number: int) -> Decoded:
        """The frame, or PixelError if it is not what the first one was; fewer bits do no harm."""
        layout = replace(_samples(samples, decoded), bits_stored=samples.bits_stored, high_bit=samples.high_bit)
        if layout != samples or decoded.bits > samples.bits_stored:
            raise PixelError("the frame is not what the first one is", frame=number)
        return decoded

    def _suffered(self, image: Image, head: Head) -> list[Suffered]:
        """The loss that the source's process cannot but have done, if the header does not tell of any."""
        codec = CODECS.get(self._source.uid)
        if codec is None or codec.encoder is None or codec.encoder.loses != "always" or derived.is_lossy(head):
            return []
        frame = image.frame_bytes(1)
        if read_codestream(frame).kind != "dct":
            return []
        return [Suffered(codec.encoder.method, image.layout.native_bits / 8 / len(frame))]

    def _earlier(self, image: Image, head: Head) -> Edits:
        losses = self._suffered(image, head)
        return derived.lossy(head, losses) if losses else {}

    def _each(self, image: Image, work: Callable[[int], T], numbers: range) -> Iterator[T]:
        """`work` of every frame in order, `threads` at a time; codecs leave Python's lock alone."""
        since, size = 0, max(1, image.layout.native_bits // 8)
        for number, result in zip(numbers, _ahead(work, numbers, self._wanted.threads), strict=True):
            yield result
            self._tell(number, image.number_of_frames)
            since += size
            if since > _FORGET:
                _forget(self._buf)
                since = 0


def _of_frame(number: int, work: Callable[[], T]) -> T:
    """What `work` gives; its PixelError with the number of the frame."""
    try:
        return work()
    except PixelError as error:
        if error.frame is not None:
            raise
        raise type(error)(error.message, frame=number, tag_path=error.tag_path, offset=error.offset) from None


def _ahead(work: Callable[[int], T], numbers: range, threads: int) -> Iterator[T]:
    if threads < 2 or len(numbers) < 2:
        yield from map(work, numbers)
        return
    with ThreadPoolExecutor(threads, "transcode") as pool:
        under_way: deque[Future[T]] = deque()
        try:
            for number in numbers:
                under_way.append(pool.submit(work, number))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _forget(buf: Buffer) -> None:
    """Give back the pages of a mapped file that were read; they stay in the page cache, but are ours no longer."""
    owner = buf.obj if isinstance(buf, memoryview) else buf
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)


def _from_spool(sizes: array[int], spool: IO[bytes]) -> Iterator[Iterator[bytes]]:
    spool.seek(0)
    for size in sizes:
        yield (spool.read(min(_PIECE, size - at)) for at in range(0, size, _PIECE))


def _pixel_header(vr: str, length: int) -> bytes:
    return _LONG.pack(0x7FE0, 0x0010, vr.encode("ascii"), 0, length + length % 2)


def explicit_vr(data: bytes, syntax: TransferSyntax) -> bytes:
    """A little endian data set with explicit VRs. Raises DataSetError where a value does not fit its VR."""
    if syntax.explicit or not data:
        return data
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, False
    try:
        write_dataset(output, read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True))
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError) as error:
        raise DataSetError(f"the data set cannot be written with explicit VRs ({type(error).__name__})") from None
    return output.getvalue()


def _refuse_compressed_icons(header: bytes, limits: Limits) -> None:
    """Pixel data within a sequence (PS3.3 C.7.6.1.1.6) that are compressed would be left behind in the old syntax."""
    if b"\xe0\x7f\x10\x00" not in header:
        return
    for kind, tag, *_ in walk(header, little=True, explicit=True, limits=limits):
        if kind == FRAGMENTS:
            raise PixelError("compressed pixel data within a sequence are not transcoded", tag_path=path_of([tag]))


def _overlays_in_samples(head: Head) -> str:
    """The tag path of an overlay in unused bits of the samples (PS3.3 C.9.2, retired), "" if there is none."""
    for group in range(0, 0x20, 2):
        position, data = 0x60000102 + (group << 16), 0x60003000 + (group << 16)
        if head.value(position).strip(b"\0") and not head.value(data):
            return path_of([position])
    return ""
