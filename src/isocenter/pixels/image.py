"""One object's pixels: the description from its header, frames by number, decoded on request.

Reading the header costs one pass over the elements before Pixel Data; nothing of the pixel data is touched until a
frame is asked for, and then only that frame.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from isocenter.errors import CodecMissing, PixelError
from isocenter.pixels import codecs
from isocenter.pixels.codecs import Decoded
from isocenter.pixels.codestream import announces_signed
from isocenter.pixels.frames import (
    BareCodestream,
    EncapsulatedFrames,
    Memory,
    NativeFrames,
    begins_codestream,
    check_number,
)
from isocenter.pixels.header import Attributes
from isocenter.pixels.layout import Array, Layout
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from isocenter.wire.elements import BIG, LITTLE, Buffer, Element, irregular_header
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.scan import inflate, scan

RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_EOT, _EOT_LENGTHS = 0x7FE00001, 0x7FE00002
_FLOAT, _DOUBLE, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_GROUP_7FE0: Final = 0x7FE00000
_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_HEAD = 256  # bytes of a frame in which JPEG 2000 says its sign, boxes before it included

# What frames and rendering ask for: Image Pixel (C.7.6.3), Modality and VOI LUT (C.11.1, C.11.2), palettes (C.7.9),
# presentation, shutters (C.7.6.11, C.7.6.15), overlays (C.9.2), Real World Value Mapping (C.7.6.16.2.11), optical paths
# (C.8.12.5, where slides keep ICC profiles), what presentation states refer to, times (C.7.6.5), spacing for the aspect
# of a pixel, masks (C.7.6.10), functional groups (C.7.6.16), what segmentations count up to (C.8.20.2).
_OVERLAY_PLANE = (0x0010, 0x0011, 0x0015, 0x0040, 0x0050, 0x0051, 0x0100, 0x0102, 0x3000)
_WANTED = frozenset(
    {
        *(0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280034),
        *(0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281050, 0x00281051),
        *(0x00281052, 0x00281053, 0x00281056, 0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202),
        *(0x00281203, 0x00281221, 0x00281222, 0x00281223, 0x00283000, 0x00283010, 0x00181164, 0x20500020),
        *(0x00280122, 0x00280123, 0x00280124, 0x00280125, 0x00282000, 0x20500010, _SHARED, _PER_FRAME),
        *(0x00080005, 0x00080016, 0x00080018, 0x00089205, 0x00181600, 0x00181602, 0x00181604, 0x00181606, 0x00181608),
        *(0x00181610, 0x00181612, 0x00181620, 0x00181622, 0x00181623, 0x00181624, 0x00200032, 0x00200037, 0x00409096),
        *(0x00480105, 0x00082144, 0x00180040, 0x00181063, 0x00181065, 0x00281040, 0x00286100, 0x0020000E),
        *(0x00620001, 0x00620002, 0x0062000E),
        *(0x60000000 | group << 16 | number for group in range(0, 32, 2) for number in _OVERLAY_PLANE),
    }
)


Source = NativeFrames | EncapsulatedFrames | BareCodestream


class Image:
    """The pixel description of one object; made by `Image.of`.

    `attributes` gives what else the header says (windows, palettes, spacing). `flags` names leniencies:
    "not-subsampled",
    "not-encapsulated", "offset-table-ignored", "fragments-cut-off", "pixel-data-short", "signed-codestream".
    """

    def __init__(
        self,
        attributes: Attributes,
        layout: Layout,
        number_of_frames: int,
        transfer_syntax: str,
        source: Source,
        limits: Limits,
        flags: frozenset[str] = frozenset(),
    ) -> None:
        self.attributes = attributes
        self.layout = layout
        self.number_of_frames = number_of_frames
        self.transfer_syntax = transfer_syntax
        self._source = source
        self._limits = limits
        self._flags = flags

    @classmethod
    def of(cls, buf: Buffer, transfer_syntax: str, data_set_offset: int, limits: Limits = DEFAULT_LIMITS) -> Image:
        """The image in a Part 10 file or bare data set.

        `buf` holds the file (bytes, memoryview or mmap) and must stay open as long as the image is used. The data set
        begins at `data_set_offset`. Raises PixelError if there are no pixel data or their description is incomplete,
        and the errors of a damaged data set.
        """
        syntax = TRANSFER_SYNTAXES.get(transfer_syntax) or TransferSyntax(transfer_syntax, "", "", encapsulated=True)
        start = data_set_offset
        if syntax.deflated:
            buf, start = inflate(memoryview(buf)[start:], limits), 0
        found = scan(
            buf,
            little=syntax.little,
            explicit=syntax.explicit,
            start=start,
            wanted=_WANTED,
            stop=_GROUP_7FE0,
            limits=limits,
            whole=False,
        )
        attributes = Attributes(buf, found.elements, little=syntax.little, explicit=syntax.explicit, limits=limits)
        group = _pixel_group(buf, found.end, syntax)
        element = group.get(_PIXELS) or group.get(_FLOAT) or group.get(_DOUBLE)
        if element is None:
            raise PixelError("the object has no pixel data", tag_path="(7FE0,0010)")
        frames = attributes.integer(0x00280008, 1) or 1
        if frames < 0:
            raise PixelError(f"Number of Frames {frames}", tag_path="(0028,0008)")
        layout, flags = _layout(attributes, element, syntax, frames)
        source, more = _source(buf, element, group, layout, frames, syntax, limits)
        if _has_more_sign(source, layout):
            layout, more = replace(layout, signed=True), more | {"signed-codestream"}
        return cls(attributes, layout, frames, transfer_syntax, source, limits, flags | more)

    def over(self, buf: Buffer) -> Image:
        """The same image in `buf`, which has the same bytes, with all that is known of where things lie in it.

        `buf` may be empty, for a description that is only to be kept (known.py).
        """
        other = copy.copy(self)
        other.attributes = self.attributes.over(buf)
        other._source = self._source.over(buf)
        return other

    def remember(self, memory: Memory) -> None:
        """Ask `memory` before fragments are walked over, and tell it what was found."""
        if isinstance(self._source, EncapsulatedFrames):
            self._source.memory = memory

    @property
    def known_bytes(self) -> int:
        """About what the description takes in memory."""
        return 1024 + self.attributes.known_bytes + self._source.known_bytes

    @property
    def rows(self) -> int:
        return self.layout.rows

    @property
    def columns(self) -> int:
        return self.layout.columns

    @property
    def samples_per_pixel(self) -> int:
        return self.layout.samples

    @property
    def bits_allocated(self) -> int:
        return self.layout.bits_allocated

    @property
    def bits_stored(self) -> int:
        return self.layout.bits_stored

    @property
    def high_bit(self) -> int:
        return self.layout.high_bit

    @property
    def pixel_representation(self) -> int:
        return int(self.layout.signed)

    @property
    def photometric_interpretation(self) -> str:
        return self.layout.photometric

    @property
    def planar_configuration(self) -> int:
        return self.layout.planar

    def misread(self, layout: Layout) -> dict[str, int]:
        """What native samples of `layout` need said of them, as the header would have them read otherwise: none, or
        all of Bits Allocated, Bits Stored, High Bit and Pixel Representation, by keyword."""
        said = [self.attributes.integer(tag, -1) for tag in (_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION)]
        allocated, stored, high, sign = said
        if layout.floating or (
            allocated == layout.bits_allocated
            and layout.bits_stored <= stored == high + 1
            and (sign == 1) == layout.signed
        ):
            return {}
        return {
            "BitsAllocated": layout.bits_allocated,
            "BitsStored": layout.bits_stored,
            "HighBit": layout.high_bit,
            "PixelRepresentation": int(layout.signed),
        }

    @property
    def encapsulated(self) -> bool:
        """Whether a frame's bytes are a codestream (or another encapsulated form), not native samples."""
        return not isinstance(self._source, NativeFrames)

    @property
    def flags(self) -> frozenset[str]:
        more = self._source.flags if isinstance(self._source, EncapsulatedFrames) else set()
        return self._flags | more

    def frame_bytes(self, number: int) -> bytes:
        """Frame `number` (from 1) as it is stored: the codestream, or native samples in little endian order.

        A native 1-bit frame is shifted to begin in the first bit. NoSuchFrame, or PixelError with the frame number.
        """
        if not self.encapsulated:
            self._checked(number)
        return self._source.joined(number)

    def whole_place(self, number: int) -> tuple[int, int] | None:
        """Offset and length of the bytes in the buffer that are `frame_bytes`; None if those have to be made. Raises as
        it does."""
        if not self.encapsulated:
            self._checked(number)
        return self._source.whole(number)

    def frame_places(self, number: int) -> tuple[list[tuple[int, int]], int]:
        """Where frame `number` (from 1) lies: (offset in the buffer, length) of each of its pieces, and the bit of the
        first byte at which it begins. NoSuchFrame, or PixelError with the frame number. Deflated objects were inflated
        into a buffer of their own.
        """
        if isinstance(self._source, NativeFrames):
            offset, length, bit = self._source.place(number)
            return [(offset, length)], bit
        return self._source.fragments(number), 0

    @property
    def offset_table(self) -> str:
        """What tells where frames begin: "Basic Offset Table", "Extended Offset Table", "no offset table", or "" for
        native pixels, whose places are computed."""
        return self._source.table

    def frame(self, number: int) -> Array:
        """Stored values of frame `number` (from 1): `decode(number).pixels`, an array of the caller's own."""
        return self.decode(number).pixels

    def decode(self, number: int) -> Decoded:
        """Frame `number` (from 1): stored values, the colour space they are in, and what was worked around.

        Shape (rows, columns) or (rows, columns, samples); dtype by Bits Allocated and Pixel Representation (uint8 for
        1 bit, float32 and float64 for Float and Double Float Pixel Data). No Modality LUT is applied. NoSuchFrame,
        CodecMissing, or PixelError with the frame number.
        """
        self._checked(number)
        try:
            if isinstance(self._source, NativeFrames):
                data, bit = self._source.raw(number)
                return codecs.decode_native(data, self.layout, bit)
            unexpected = "unexpected-fragments" in self._flags
            if not unexpected:
                # First, as the frames of a video are in one stream, where nobody is to look for them.
                codecs.codec_of(self.transfer_syntax)
            data = self._source.joined(number)
            if unexpected and begins_codestream(data[:16]):
                # The transfer syntax cannot be true; the codestream tells what it is.
                return self._warned(codecs.decode_codestream(data, self.layout))
            return self._warned(codecs.decode(self.transfer_syntax, data, self.layout, self._limits))
        except PixelError as error:
            if error.frame is not None:
                raise
            raise type(error)(error.message, frame=number, tag_path=error.tag_path, offset=error.offset) from None

    def _warned(self, decoded: Decoded) -> Decoded:
        if "signed-codestream" not in self._flags:
            return decoded
        warning = "codestream samples are signed, Pixel Representation is 0"
        return replace(decoded, warnings=(*decoded.warnings, warning))

    def cells(self, number: int) -> Array:
        """Frame `number` with all bits of its pixel cells, those outside Bits Stored too, as unsigned integers.

        Only where they survive: native and RLE Lossless pixels. CodecMissing for other transfer syntaxes.
        """
        self._checked(number)
        layout = self.layout
        whole = replace(layout, bits_stored=layout.bits_allocated, high_bit=layout.bits_allocated - 1, signed=False)
        if isinstance(self._source, NativeFrames):
            data, bit = self._source.raw(number)
            return codecs.decode_native(data, whole, bit).pixels
        if self.transfer_syntax != RLE_LOSSLESS:
            raise CodecMissing("bits outside Bits Stored do not survive this transfer syntax", frame=number)
        return codecs.decode(self.transfer_syntax, self._source.joined(number), whole, self._limits).pixels

    def _checked(self, number: int) -> None:
        check_number(number, self.number_of_frames)
        try:
            self.layout.check(self._limits.frame_bytes)
        except PixelError as error:
            raise PixelError(error.message, frame=number, tag_path=error.tag_path) from None

    def group(self, sequence: int, number: int) -> Attributes:
        """The functional group `sequence` that applies to frame `number` (C.7.6.16): the frame's own, else the shared.

        Objects without that functional group answer with their top-level attributes, where classic objects have the
        same elements.
        """
        for item in self.groups(number):
            inner = item.item(sequence)
            if inner is not None:
                return inner
        return self.attributes

    def groups(self, number: int) -> Iterator[Attributes]:
        """The items that hold functional groups of frame `number` (C.7.6.16): its own, then the shared one."""
        for parent, index in ((_PER_FRAME, number - 1), (_SHARED, 0)):
            item = self.attributes.item(parent, index)
            if item is not None:
                yield item


def _has_more_sign(source: Source, layout: Layout) -> bool:
    """Whether greys are signed by their codestream alone: only so it can hold numbers below zero, which must not wrap
    around (PS3.5 section 8.2.4). Under an unsigned codestream the header's sign stands (codecs.py)."""
    if isinstance(source, NativeFrames) or layout.signed or layout.samples != 1:
        return False
    return announces_signed(source.head(_HEAD))


def _pixel_group(buf: Buffer, pos: int, syntax: TransferSyntax) -> dict[int, Element]:
    """The elements of group 7FE0 up to the pixel data, whose value is not looked at."""
    found: dict[int, Element] = {}
    encoding, end = LITTLE if syntax.little else BIG, len(buf)
    for _ in range(8):  # the group has seven elements
        if pos + 8 > end:
            break
        if syntax.explicit:
            if pos + 12 > end:
                break
            element = irregular_header(buf, pos, end, encoding, set())
        else:
            group, number, length = encoding.implicit.unpack_from(buf, pos)
            tag = group << 16 | number
            vr = {_FLOAT: "OF", _DOUBLE: "OD"}.get(tag, "OW")
            element = Element(tag, vr, pos + 8, -1 if length == 0xFFFFFFFF else length)
        if element.tag >> 16 != 0x7FE0:
            break
        found[element.tag] = element
        if element.tag in (_FLOAT, _DOUBLE, _PIXELS) or element.length < 0:
            break
        pos = element.offset + element.length
    return found


def _layout(
    attributes: Attributes, element: Element, syntax: TransferSyntax, frames: int
) -> tuple[Layout, frozenset[str]]:
    floating = element.tag != _PIXELS
    samples = attributes.integer(0x00280002, 1)
    allocated = attributes.integer(0x00280100, {_FLOAT: 32, _DOUBLE: 64}.get(element.tag))
    stored = allocated if floating else attributes.integer(0x00280101, allocated)
    layout = Layout(
        rows=attributes.integer(0x00280010),
        columns=attributes.integer(0x00280011),
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=attributes.integer(0x00280102, stored - 1) if not floating else stored - 1,
        signed=not floating and attributes.integer(0x00280103, 0) == 1,
        photometric=attributes.text(0x00280004) or ("MONOCHROME2" if samples == 1 else "RGB"),
        planar=attributes.integer(0x00280006, 0),
        big_endian=not syntax.little or syntax.big_endian_pixels,
        words=element.vr == "OW",
        floating=floating,
    )
    if layout.subsampled and element.length >= 0:
        # Some writers name YBR_FULL_422 and store all samples; the length tells.
        full = replace(layout, photometric="YBR_FULL")
        if element.length >= -(-full.native_bits * frames // 8):
            return full, frozenset({"not-subsampled"})
    return layout, frozenset()


def _source(
    buf: Buffer,
    element: Element,
    group: dict[int, Element],
    layout: Layout,
    frames: int,
    syntax: TransferSyntax,
    limits: Limits,
) -> tuple[Source, frozenset[str]]:
    size = len(buf)
    if element.length < 0:
        extended = [(e.offset, e.length) if (e := group.get(tag)) else (0, 0) for tag in (_EOT, _EOT_LENGTHS)]
        source = EncapsulatedFrames(
            buf, element.offset, size, frames, limits, extended=(extended[0], extended[1]), little=syntax.little
        )
        return source, frozenset() if syntax.encapsulated else frozenset({"unexpected-fragments"})
    length = min(element.length, size - element.offset)
    flags = set()
    if syntax.encapsulated:
        flags.add("not-encapsulated")
        if frames == 1 and begins_codestream(bytes(buf[element.offset : element.offset + min(length, 16)])):
            return BareCodestream(buf, element.offset, length), frozenset(flags)
        # Native samples under the name of a compressed syntax; only if they fill the value exactly.
        need = -(-layout.native_bits * frames // 8)
        if element.length != need + (need & 1):
            raise PixelError(f"{syntax.name or 'this transfer syntax'} needs fragments", tag_path="(7FE0,0010)")
    if length * 8 < layout.native_bits * frames:
        flags.add("pixel-data-short")
    return NativeFrames(buf, element.offset, length, layout, frames), frozenset(flags)
