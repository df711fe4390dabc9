"""Every codec in one table, keyed by transfer syntax (PS3.5 Annex A).

A row says what decodes and encodes one frame and whether that is installed; what writes is in encoders.py. Both are
pure functions of a frame and its Layout, so that any process can do them: where isolation.py runs, native code has one
of its own, and its crash costs one frame. Before a decoder sees a frame, `_announced` compares the codestream's
header with the object's, so that no decoder allocates what only the frame claims.

What a codestream says of its precision is followed where the header differs (PS3.5 section 8.2.4 and its siblings),
and reported in `Decoded.warnings`. Of the sign, either's word is enough. Samples of an unsigned codestream under a
signed header are the two's complement that the writer held in memory (scanners write such), so they are read modulo two
to the precision; those of a signed codestream under an unsigned header are below zero where they say so, and image.py
makes the Layout signed that comes here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import imagecodecs
import numpy as np

from isocenter.errors import CodecMissing, PixelError
from isocenter.pixels import encoders, isolation
from isocenter.pixels.codestream import Codestream, is_complete, read_codestream
from isocenter.pixels.decoded import Decoded
from isocenter.pixels.encoders import Loss
from isocenter.pixels.layout import Array, Layout, integer_dtype, sample_values
from isocenter.pixels.native import arrange, unpack
from isocenter.pixels.rle import decode_rle
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

__all__ = ["CODECS", "Codec", "Decoded", "decode", "decode_codestream", "decode_native", "described", "encode", "kept"]

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Codec:
    """One row. `needs` are the imagecodecs parts the row stands on.

    `encoder` is None where frames can only be read, and `unwritten` says why. `same` is by transfer syntax what makes a
    frame of this one from a codestream of that one without touching a sample.
    """

    uid: str
    name: str
    lossless: bool
    decode: Callable[[Buffer, Layout], Decoded]
    encoder: encoders.Encoder | None
    needs: tuple[str, ...] = ()
    same: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    unwritten: str = ""

    def missing(self) -> str:
        """Why the row cannot be used on this installation, "" if it can."""
        parts = {part: getattr(imagecodecs, part, None) for part in self.needs}
        absent = [name for name, part in parts.items() if not getattr(part, "available", False)]
        return f"imagecodecs is built without {', '.join(absent)}" if absent else ""

    def available(self) -> bool:
        return not self.missing()


def decode(transfer_syntax: str, data: Buffer, layout: Layout, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """One frame's stored values from its bytes (fragments joined).

    CodecMissing if nothing installed decodes `transfer_syntax`; PixelError if the bytes are not the image that
    `layout` describes, or are over `limits.frame_bytes` when decoded.
    """
    codec = codec_of(transfer_syntax)
    layout.check(limits.frame_bytes)
    if not len(data):
        raise PixelError("the frame has no bytes")
    return codec.decode(data, layout)


def encode(transfer_syntax: str, pixels: Array, layout: Layout, loss: Loss | None = None) -> bytes:
    """One frame, even length; `layout` describes `pixels`. Lossless unless there is a `loss` or the process loses.

    `described(...)` is how a header must describe the result. CodecMissing if nothing installed encodes it, PixelError
    if the samples do not fit `layout`, or the process does not take them or this loss.
    """
    described(transfer_syntax, layout, loss)
    codec = codec_of(transfer_syntax)
    assert codec.encoder is not None  # as described() has found
    if pixels.shape != layout.shape:
        raise PixelError(f"samples of shape {pixels.shape} where {layout.shape} is described")
    pool = isolation.current()
    if pool is not None and codec.decode is decode_codestream:
        return pool.encode(transfer_syntax, pixels, layout, loss)
    try:
        data = codec.encoder.function(pixels, layout, codec.encoder.loss_of(loss))
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise PixelError(f"{codec.name} encoder: {error}") from None
    return data + b"\0" * (len(data) % 2)


def kept(transfer_syntax: str, source: str, data: bytes) -> bytes:
    """A codestream of `source` as one of `transfer_syntax`, of which its row knows how without touching a sample.

    PixelError if this one cannot be.
    """
    keep = codec_of(transfer_syntax).same[source]
    pool = isolation.current()
    if pool is not None and keep is not encoders.as_it_is:
        return pool.recompress(transfer_syntax, source, data)
    return keep(data)


def described(transfer_syntax: str, layout: Layout, loss: Loss | None = None) -> Layout:
    """The Layout of frames that `encode` makes of those of `layout`: what Photometric Interpretation and bits become.

    Raises as `encode`.
    """
    codec = codec_of(transfer_syntax)
    if codec.encoder is None:
        raise CodecMissing(f"{codec.name} can be read but not written: {codec.unwritten}")
    try:
        return codec.encoder.result(layout, loss)
    except PixelError as error:
        raise PixelError(f"{codec.name} {error.message}", tag_path=error.tag_path) from None


def codec_of(transfer_syntax: str) -> Codec:
    """The row of a transfer syntax; CodecMissing if nothing installed reads it."""
    codec = CODECS.get(transfer_syntax)
    if codec is None:
        raise CodecMissing(f"no codec for transfer syntax {transfer_syntax}")
    if reason := codec.missing():
        raise CodecMissing(f"{codec.name}: {reason}")
    return codec


# --- codestreams ----------------------------------------------------------------------------------------------------

# Most pixels one byte can stand for. DCT: each block of 64 takes a bit at least; lossless: each pixel does. The others
# have no such floor (a blank 4096 by 4096 JPEG 2000 image of 16 bits has 195 bytes), so that a ratio is refused only
# for images large enough to hurt.
_DENSITY = {"dct": 64 * 8, "lossless": 8}
_LARGE, _RATIO = 64 << 20, 10_000
_THREADS, _WORTH_THREADS = min(4, os.cpu_count() or 1), 256 * 256
_SCANS = 1000  # progressive JPEG; ordinary files have ten


def _announced(data: Buffer, layout: Layout) -> Codestream:
    """The codestream's header, after it was found to announce the image that the object describes."""
    stream = read_codestream(data)
    if (stream.rows, stream.columns) != (layout.rows, layout.columns):
        raise PixelError(
            f"the codestream is {stream.rows} by {stream.columns} where Rows by Columns is "
            f"{layout.rows} by {layout.columns}"
        )
    if stream.samples not in (0, layout.samples):
        raise PixelError(f"the codestream has {stream.samples} components where Samples per Pixel is {layout.samples}")
    size = len(data) - stream.payload
    density = _DENSITY.get(stream.kind)
    if density and stream.rows * stream.columns > density * size:
        raise PixelError(f"{size} bytes are too short for a {stream.rows} by {stream.columns} image")
    if layout.decoded_bytes > max(_LARGE, _RATIO * size):
        raise PixelError(f"{size} bytes that decode to {layout.decoded_bytes} are more likely an attack than an image")
    if stream.tiles * 14 > size:  # a tile-part header has 14 bytes at least
        raise PixelError(f"{size} bytes are too short for {stream.tiles} tiles")
    if stream.kind == "dct" and bytes(data).count(b"\xff\xda") > _SCANS:
        raise PixelError(f"more than {_SCANS} scans in one JPEG frame")
    return stream


_COLOUR = {True: ("YCBCR", "RGB"), False: ("RGB", "RGB")}


def _call(function: Callable[..., Array], data: Buffer, **options: object) -> Array:
    try:
        return np.asarray(function(data, **options))
    except (ValueError, RuntimeError, MemoryError, NotImplementedError) as error:
        raise PixelError(f"decoder: {error}") from None


def _decode_jpeg(data: bytes, stream: Codestream, layout: Layout) -> tuple[Array, str]:
    photometric = layout.photometric
    if stream.samples != 3:
        return _call(imagecodecs.jpeg8_decode, data), photometric
    if stream.kind == "lossless":
        return _call(imagecodecs.jpeg8_decode, data, colorspace="RGB", outcolorspace="RGB"), photometric
    ycc = stream.ycc if stream.ycc is not None else photometric != "RGB"
    source, target = _COLOUR[ycc]
    return _call(imagecodecs.jpeg8_decode, data, colorspace=source, outcolorspace=target), "RGB"


def _decode_j2k(data: bytes, stream: Codestream, layout: Layout) -> tuple[Array, str]:
    data = data[stream.payload :]
    if stream.kind == "htj2k" and stream.precision > 16:
        # OpenJPEG stops at 16 bits for HTJ2K. OpenJPH does not, and is twice as fast, but as imagecodecs calls it an
        # error in the code blocks leaves the rest of the array as it was, and values beyond the range of the
        # irreversible transform wrap around: so it is used only here, and gets an array of zeros.
        blank = np.zeros(layout.shape, integer_dtype(stream.precision, bool(stream.signed)))
        pixels = _call(imagecodecs.htj2k_decode, data, planar=False, out=blank)
    else:
        # Threads pay where code blocks are slow; HTJ2K's are not.
        threads = _THREADS if stream.kind == "j2k" and stream.rows * stream.columns >= _WORTH_THREADS else 1
        pixels = _call(imagecodecs.jpeg2k_decode, data, numthreads=threads)
    transformed = stream.ycc or layout.photometric in ("YBR_RCT", "YBR_ICT")
    return pixels, "RGB" if transformed and layout.samples == 3 else layout.photometric


def _decode_jpegls(data: bytes, stream: Codestream, layout: Layout) -> tuple[Array, str]:
    return _call(imagecodecs.jpegls_decode, data), layout.photometric


def _decode_jxl(data: bytes, stream: Codestream, layout: Layout) -> tuple[Array, str]:
    # A box jbrd tells of a recompressed JPEG, which libjxl makes RGB of; YBR_FULL else are samples like any others.
    as_they_are = layout.samples != 3 or (layout.photometric == "YBR_FULL" and b"jbrd" not in data)
    return _call(imagecodecs.jpegxl_decode, data), layout.photometric if as_they_are else "RGB"


_DECODERS: dict[str, Callable[[bytes, Codestream, Layout], tuple[Array, str]]] = {
    "dct": _decode_jpeg,
    "lossless": _decode_jpeg,
    "jpegls": _decode_jpegls,
    "j2k": _decode_j2k,
    "htj2k": _decode_j2k,
    "jxl": _decode_jxl,
}


def decode_codestream(data: Buffer, layout: Layout) -> Decoded:
    """Any JPEG-family frame: the codestream says which decoder it is for, whatever the transfer syntax.

    In another process where there is one for it (isolation.py).
    """
    pool = isolation.current()
    if pool is not None:
        return pool.decode(data, layout)
    octets = bytes(data)
    stream = _announced(octets, layout)
    pixels, photometric = _complete(octets, stream, layout)
    if pixels.shape != layout.shape:
        raise PixelError(f"the decoder returned shape {pixels.shape} where {layout.shape} is described")
    return _stored_values(pixels, photometric, stream, layout)


def _complete(data: bytes, stream: Codestream, layout: Layout) -> tuple[Array, str]:
    decoder = _DECODERS[stream.kind]
    if is_complete(data, stream):
        return decoder(data, stream, layout)
    if stream.kind == "jpegls":
        # With an end in sight CharLS finds out by itself; without one it counts zero bits for five seconds.
        return decoder(data + b"\xff\xd9", stream, layout)
    if stream.kind not in ("dct", "lossless"):
        raise PixelError("the codestream is cut off")
    # Some writers forget EOI. If the last scan is whole, what follows it makes no difference; if it is cut off, the
    # decoder takes what follows for image data.
    tails = (b"\x00" * 64 + b"\xff\xd9", b"\x55\xaa\x33" * 21 + b"\xff\xd9")
    (first, photometric), (second, _) = (decoder(data + tail, stream, layout) for tail in tails)
    if not np.array_equal(first, second):
        raise PixelError("the codestream is cut off")
    return first, photometric


def _stored_values(pixels: Array, photometric: str, stream: Codestream, layout: Layout) -> Decoded:
    """Samples as the decoder returns them to stored values with the depth and sign they should have."""
    warnings: list[str] = []
    bits, shift = layout.bits_stored, 0
    precision = stream.precision or bits
    if stream.signed is not None and stream.signed != layout.signed:
        warnings.append(
            f"codestream samples are {'signed' if stream.signed else 'unsigned'}, "
            f"Pixel Representation is {int(layout.signed)}"
        )
    if precision > bits:
        # Some writers compress the whole container, others state Bits Stored too low: the samples decide.
        shift = layout.shift if layout.high_bit < precision else 0
        if not _fits(pixels, precision, bits, shift, layout.signed):
            bits, shift = precision, 0
    else:
        bits = precision
    if bits != layout.bits_stored:
        warnings.append(f"codestream precision is {precision}, Bits Stored is {layout.bits_stored}")
    values = sample_values(pixels, bits, shift, layout.signed, own=True)
    dtype = layout.dtype if bits <= 8 * layout.dtype.itemsize else integer_dtype(bits, layout.signed)
    return Decoded(np.ascontiguousarray(values, dtype), photometric, bits, tuple(warnings))


def _fits(pixels: Array, precision: int, bits: int, shift: int, signed: bool) -> bool:
    """Whether samples of `precision` bits lose nothing when only `bits` above `shift` are kept."""
    whole = sample_values(pixels, precision, 0, False)
    if not shift:  # two passes tell
        if int(whole.max()) < 1 << bits:
            return True
        if not signed:
            return False
        values = sample_values(pixels, precision, 0, True)
        return -(1 << bits - 1) <= int(values.min()) and int(values.max()) < 1 << bits - 1
    kept = sample_values(pixels, bits, shift, False)
    if np.array_equal(np.left_shift(kept, shift), whole):
        return True
    if not signed:
        return False
    extended = sample_values(pixels, bits, shift, True)
    return np.array_equal(np.left_shift(extended, shift), sample_values(pixels, precision, 0, True))


# --- frames without a codestream ------------------------------------------------------------------------------------


def _decode_rle(data: Buffer, layout: Layout) -> Decoded:
    if layout.bits_allocated == 1:
        # Annex G works on bytes: the packed bits of the frame are the one byte plane.
        packed = decode_rle(data, 1, (layout.native_bits + 7) // 8, 1, 1)
        return _native(unpack(packed.tobytes(), layout), layout)
    planes = decode_rle(data, layout.rows, layout.columns, layout.samples, layout.dtype.itemsize)
    values = sample_values(planes, layout.bits_stored, layout.shift, layout.signed, own=True)
    return _native(arrange(values.reshape(-1), replace(layout, planar=1)), layout)


def decode_native(data: Buffer, layout: Layout, first_bit: int = 0) -> Decoded:
    """A native frame that begins at `first_bit` of the first byte; errors as `native.unpack` has them."""
    return _native(unpack(data, layout, first_bit), layout)


def _decode_deflated(data: Buffer, layout: Layout) -> Decoded:
    """PS3.5 A.4.13: a native frame as one raw deflate stream; inflating stops at the size the frame must have."""
    need = (layout.native_bits + 7) // 8
    if need > 1032 * len(data):
        raise PixelError(f"{len(data)} deflated bytes are too short for {need}")
    inflater = zlib.decompressobj(-15)
    try:
        raw = inflater.decompress(data, need)
    except zlib.error as error:
        raise PixelError(f"deflated frame: {error}") from None
    return _native(unpack(raw, layout), layout)


def _native(values: Array, layout: Layout) -> Decoded:
    warnings: tuple[str, ...] = ()
    if layout.odd_high_bit:
        warnings = (f"High Bit {layout.high_bit} does not fit Bits Stored {layout.bits_stored} and is ignored",)
    photometric = "YBR_FULL" if layout.photometric == "YBR_FULL_422" else layout.photometric
    return Decoded(values, photometric, layout.bits_stored, warnings)


# --- the table ------------------------------------------------------------------------------------------------------

_LOSSLESS_JPEG = encoders.Encoder(encoders.jpeg_lossless(1), (1, 16))
_J2K = encoders.Encoder(
    encoders.j2k,
    (1, 24),  # beyond, OpenJPEG is not exact any more
    rgb=("YBR_RCT", "YBR_ICT"),
    deepest_transform=encoders.TRANSFORM_DEPTH,
)
_HTJ2K = replace(_J2K, function=encoders.htj2k, depths=(1, 32))
_JXL = encoders.Encoder(encoders.jpegxl, (1, 16), rgb=("RGB", "XYB"))
_NATIVE = encoders.Encoder(encoders.native, native=True)


def _dct(depth: int) -> encoders.Encoder:
    return encoders.Encoder(
        encoders.jpeg_dct(depth),
        (2, depth),
        loses="always",
        measure="quality",
        signed=False,
        method="ISO_10918_1",
        rgb=("YBR_FULL_422", "YBR_FULL_422"),
        lossy_depths=(8, depth),
    )


def _asked(encoder: encoders.Encoder, measure: str, method: str, **others: Any) -> encoders.Encoder:
    """The same, for a transfer syntax that allows a loss."""
    return replace(encoder, loses="asked", measure=measure, method=method, **others)


def _rows() -> tuple[Codec, ...]:
    stream, native, keep = decode_codestream, decode_native, encoders.as_it_is
    base = "1.2.840.10008.1.2"
    jpeg = f"{base}.4"
    retired = "the process is retired"
    ht = ("HTJ2K", "JPEG2K")
    jpegls = encoders.Encoder(encoders.jpegls, (1, 16))
    return (
        Codec(base, "Implicit VR Little Endian", True, native, _NATIVE),
        Codec(f"{base}.1", "Explicit VR Little Endian", True, native, _NATIVE),
        Codec(f"{base}.1.98", "Encapsulated Uncompressed", True, native, encoders.Encoder(encoders.native)),
        Codec(f"{base}.1.99", "Deflated Explicit VR Little Endian", True, native, _NATIVE),
        Codec(f"{base}.2", "Explicit VR Big Endian", True, native, None, unwritten="whole data sets only are"),
        Codec(f"{base}.5", "RLE Lossless", True, _decode_rle, encoders.Encoder(encoders.rle), ("PACKBITS",)),
        Codec(f"{base}.8.1", "Deflated Image Frame", True, _decode_deflated, encoders.Encoder(encoders.deflated)),
        Codec(f"{jpeg}.50", "JPEG Baseline", False, stream, _dct(8), ("JPEG8",),
              same={f"{jpeg}.111": encoders.jpeg_of_jxl}),
        Codec(f"{jpeg}.51", "JPEG Extended", False, stream, _dct(12), ("JPEG8",), same={f"{jpeg}.50": keep}),
        Codec(f"{jpeg}.53", "JPEG Spectral Selection, Process 6 and 8 (retired)", False, stream, None, ("JPEG8",),
              unwritten=retired),
        Codec(f"{jpeg}.55", "JPEG Full Progression, Process 10 and 12 (retired)", False, stream, None, ("JPEG8",),
              unwritten=retired),
        Codec(f"{jpeg}.57", "JPEG Lossless, Process 14", True, stream,
              replace(_LOSSLESS_JPEG, function=encoders.jpeg_lossless(6)), ("JPEG8",), same={f"{jpeg}.70": keep}),
        Codec(f"{jpeg}.70", "JPEG Lossless, First-Order Prediction", True, stream, _LOSSLESS_JPEG, ("JPEG8",)),
        Codec(f"{jpeg}.80", "JPEG-LS Lossless", True, stream, jpegls, ("JPEGLS",)),
        Codec(f"{jpeg}.81", "JPEG-LS Near-Lossless", False, stream,
              _asked(jpegls, "near", "ISO_14495_1", signed=False, lossy_depths=(8, 16)), ("JPEGLS",),
              same={f"{jpeg}.80": keep}),
        Codec(f"{jpeg}.90", "JPEG 2000 Lossless", True, stream, _J2K, ("JPEG2K",)),
        Codec(f"{jpeg}.91", "JPEG 2000", False, stream, _asked(_J2K, "psnr", "ISO_15444_1"), ("JPEG2K",),
              same={f"{jpeg}.90": keep}),
        # Each frame is a component collection, and a codestream, of its own (PS3.5 section A.4.4), in which Part 2 has
        # nothing to transform: what is left is Part 1.
        Codec(f"{jpeg}.92", "JPEG 2000 Part 2 Lossless", True, stream, _J2K, ("JPEG2K",), same={f"{jpeg}.90": keep}),
        Codec(f"{jpeg}.93", "JPEG 2000 Part 2", False, stream, _asked(_J2K, "psnr", "ISO_15444_1"), ("JPEG2K",),
              same={f"{jpeg}.90": keep, f"{jpeg}.91": keep, f"{jpeg}.92": keep}),
        Codec(f"{jpeg}.110", "JPEG XL Lossless", True, stream, _JXL, ("JPEGXL",)),
        Codec(f"{jpeg}.111", "JPEG XL JPEG Recompression", False, stream, None, ("JPEGXL",),
              same={f"{jpeg}.50": encoders.jxl_of_jpeg},
              unwritten="it is made of JPEG Baseline codestreams, not of samples"),
        Codec(f"{jpeg}.112", "JPEG XL", False, stream, _asked(_JXL, "quality", "ISO_18181_1", signed=False),
              ("JPEGXL",), same={f"{jpeg}.110": keep, f"{jpeg}.111": keep}),
        Codec(f"{jpeg}.201", "HTJ2K Lossless", True, stream, _HTJ2K, ht, same={f"{jpeg}.202": keep}),
        Codec(f"{jpeg}.202", "HTJ2K Lossless RPCL", True, stream, _HTJ2K, ht),
        Codec(f"{jpeg}.203", "HTJ2K", False, stream,
              _asked(_HTJ2K, "psnr", "ISO_15444_15", depths=(1, 32), lossy_depths=(8, 16)), ht,
              same={f"{jpeg}.201": keep, f"{jpeg}.202": keep}),
    )  # fmt: skip


CODECS: dict[str, Codec] = {row.uid: row for row in _rows()}
