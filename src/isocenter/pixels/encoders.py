"""What writes one frame, over imagecodecs: lossless where the process can be, lossy where a `Loss` is asked for.

An encoder gets samples, their Layout and perhaps a Loss, and gives the codestream. What the standard allows of each
(PS3.5 section 8.2) and what the library can is in the Encoder beside the function, so that both are known before a
frame is touched.

Three things are ours and not the library's. JPEG and JPEG-LS know no sign, so signed samples go in as two's
complement. imagecodecs tells OpenJPH no depth but that of the array, so HTJ2K frames get theirs written afterwards
(`_state_depth`). And a compression ratio is reached by trying (`_at_ratio`), as no library but OpenJPEG has one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, log2, sqrt
from typing import Any

import imagecodecs
import numpy as np

from isocenter.errors import PixelError
from isocenter.pixels.layout import Array, Layout, sample_values
from isocenter.pixels.native import pack
from isocenter.pixels.rle import encode_rle


@dataclass(frozen=True, slots=True)
class Loss:
    """What may be lost; one of the four, each in the measure of those processes that have it.

    `quality` 1 to 100: JPEG, JPEG XL. `psnr` in dB over the range of Bits Stored: JPEG 2000, HTJ2K. `near`: the largest
    error of a sample, JPEG-LS. `ratio`: native size by compressed size, at least; any of them, frame by frame.
    """

    quality: float = 0
    psnr: float = 0
    near: int = 0
    ratio: float = 0

    def __post_init__(self) -> None:
        if [self.quality > 0, self.psnr > 0, self.near > 0, self.ratio > 0].count(True) != 1:
            raise PixelError("a loss is one of quality, psnr, near and ratio, above zero")
        if self.quality > 100:
            raise PixelError(f"a quality of {self.quality:g} is over 100")


DEFAULT_LOSS = Loss(quality=90)
"""Of processes that cannot but lose."""

Function = Callable[[Array, Layout, Loss | None], bytes]


@dataclass(frozen=True, slots=True)
class Encoder:
    """One row's writing side.

    `depths` is Bits Stored, least and most. `loses` is "never", "asked" (lossless without a Loss) or "always";
    `measure` the field of Loss it knows beside `ratio`; `signed` whether it takes signed samples when it loses;
    `method` its Defined Term for Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1). `lossy_depths`: Bits Stored that
    samples can have after a loss, as the library writes no other depth and loss may carry them beyond their own. `rgb`
    is what RGB becomes without and with loss, up to `deepest_transform` bits. `native` only packs samples,
    floating-point ones too.
    """

    function: Function
    depths: tuple[int, int] = (1, 64)
    loses: str = "never"
    measure: str = ""
    signed: bool = True
    method: str = ""
    rgb: tuple[str, str] = ("RGB", "RGB")
    deepest_transform: int = 64
    lossy_depths: tuple[int, ...] = ()
    native: bool = False

    def loss_of(self, loss: Loss | None) -> Loss | None:
        """The loss that will be suffered: the one asked for, the default where there must be one, or None."""
        if loss is None:
            return DEFAULT_LOSS if self.loses == "always" else None
        if self.loses == "never":
            raise PixelError("loses nothing, whatever is asked for")
        if not loss.ratio and not getattr(loss, self.measure):
            raise PixelError(f"knows a loss by {self.measure} or ratio only")
        return loss

    def result(self, layout: Layout, loss: Loss | None) -> Layout:
        """How the header must describe the frame when it is encoded. Raises PixelError for what cannot be."""
        least, most = self.depths
        loss = self.loss_of(loss)
        if self.native:
            return replace(layout, planar=0, big_endian=False)
        if layout.floating:
            raise PixelError("floating-point samples are never compressed", tag_path="(7FE0,0008)")
        if not least <= layout.bits_stored <= most:
            raise PixelError(f"takes {least} to {most} bits, not {layout.bits_stored}", tag_path="(0028,0101)")
        if self.measure and layout.samples not in (1, 3):
            raise PixelError(f"takes 1 or 3 samples a pixel, not {layout.samples}", tag_path="(0028,0002)")
        if loss is not None:
            if layout.signed and not self.signed:
                raise PixelError("takes signed samples without loss only", tag_path="(0028,0103)")
            if layout.photometric == "PALETTE COLOR":
                raise PixelError("indices into a palette suffer no loss", tag_path="(0028,0004)")
            if layout.bits_stored == 1:
                raise PixelError("samples of one bit suffer no loss", tag_path="(0028,0101)")
        stored = layout.bits_stored
        if loss is not None and self.lossy_depths:
            stored = next((depth for depth in self.lossy_depths if stored <= depth), 0)
            if not stored:
                raise PixelError(f"takes {layout.bits_stored} bits without loss only", tag_path="(0028,0101)")
        return replace(
            layout,
            photometric=self._photometric(layout, loss is not None),
            bits_allocated=8 if self.loses == "always" and stored == 8 else layout.bits_allocated,
            bits_stored=stored,
            high_bit=stored - 1,
            planar=0,
            big_endian=False,
        )

    def _photometric(self, layout: Layout, lossy: bool) -> str:
        if layout.samples == 3 and layout.bits_stored <= self.deepest_transform:
            if layout.photometric == "RGB":
                return self.rgb[lossy]
            if layout.photometric == "YBR_FULL" and self.loses == "always":
                return self.rgb[lossy]  # JPEG: the same components, with fewer colour samples
            if layout.photometric == "YBR_FULL" and lossy and self.rgb[lossy] == "XYB":
                raise PixelError("takes RGB, not YBR_FULL, when it loses", tag_path="(0028,0004)")
        return layout.photometric


def _unsigned(pixels: Array, layout: Layout) -> Array:
    """Two's complement in Bits Stored as the unsigned samples that JPEG knows."""
    return np.ascontiguousarray(sample_values(pixels, layout.bits_stored, 0, False))


def _at_ratio(
    layout: Layout, ratio: float, knob: tuple[float, float], encode: Callable[[float], bytes], *, whole: bool = False
) -> bytes:
    """The largest frame with at most 1/`ratio` of the native bytes, or the smallest there is.

    `knob` runs from most to least loss. Seven halvings leave a hundredth of it.
    """
    most = layout.native_bits / 8 / ratio
    worst, best = knob
    found = encode(best)
    if len(found) <= most:
        return found
    found = encode(worst)
    if len(found) > most:
        return found
    for _ in range(7):
        middle = (worst + best) / 2
        data = encode(round(middle) if whole else middle)
        if len(data) <= most:
            worst, found = middle, max(found, data, key=len)
        else:
            best = middle
    return found


# --- JPEG and JPEG-LS -----------------------------------------------------------------------------------------------


def jpeg_dct(depth: int) -> Function:
    """Baseline (8 bits) or Extended: the smallest precision of the process that holds Bits Stored; colour 4:2:2."""

    def function(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
        bits = 8 if layout.bits_stored <= 8 else depth
        samples = pixels.astype(np.uint8 if bits == 8 else np.uint16)
        options: dict[str, Any] = {"bitspersample": bits}
        if layout.samples == 3:
            source = "RGB" if layout.photometric == "RGB" else "YCBCR"
            options |= {"colorspace": source, "outcolorspace": "YCBCR", "subsampling": "422"}

        def encode(quality: float) -> bytes:
            return bytes(imagecodecs.jpeg8_encode(samples, level=max(1, round(quality)), **options))

        if loss is not None and loss.ratio:
            return _at_ratio(layout, loss.ratio, (1, 100), encode, whole=True)
        return encode((loss or DEFAULT_LOSS).quality)

    return function


def jpeg_lossless(predictor: int) -> Function:
    """Process 14 with one of its seven predictors (T.81 Table H.1)."""

    def function(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
        samples = _unsigned(pixels, layout)
        return bytes(
            imagecodecs.jpeg8_encode(
                samples, lossless=True, predictor=predictor, bitspersample=max(2, layout.bits_stored)
            )
        )

    return function


def jpegls(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """Lossless, or with no sample further off than NEAR.

    CharLS gets the depth of the array, not Bits Stored, so that readers take the sign from the array's highest bit:
    there it must be.
    """
    samples = np.ascontiguousarray(pixels).view(f"u{pixels.dtype.itemsize}")
    if loss is None:
        return bytes(imagecodecs.jpegls_encode(samples))

    def encode(near: float) -> bytes:
        return bytes(imagecodecs.jpegls_encode(samples, level=round(near)))

    if loss.ratio:
        return _at_ratio(layout, loss.ratio, (min(255, (1 << layout.bits_stored) // 4), 1), encode, whole=True)
    if loss.near > 255 or 2 * loss.near >= 1 << layout.bits_stored:
        raise PixelError(f"an error of {loss.near} is more than JPEG-LS has for {layout.bits_stored} bits")
    return encode(loss.near)


# --- JPEG 2000 and HTJ2K --------------------------------------------------------------------------------------------

TRANSFORM_DEPTH = 16
"""Bits Stored up to which colour is transformed: above, the reversible transform needs more bits than OpenJPEG has."""

_PSNR = (20.0, 110.0)


def _transformed(layout: Layout) -> bool:
    return layout.samples == 3 and layout.photometric == "RGB" and layout.bits_stored <= TRANSFORM_DEPTH


def j2k(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """Part 1: reversible, or irreversible up to a signal to noise ratio."""
    samples = np.ascontiguousarray(pixels)

    def encode(level: float) -> bytes:
        return bytes(
            imagecodecs.jpeg2k_encode(
                samples,
                level=round(level),
                codecformat="J2K",
                reversible=not level,
                bitspersample=layout.bits_stored,
                mct=_transformed(layout),
            )
        )

    if loss is None:
        return encode(0)
    if loss.ratio:
        return _at_ratio(layout, loss.ratio, _PSNR, encode)
    return encode(loss.psnr)


def htj2k(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """Reversible, or irreversible with a quantizer step; any of the three transfer syntaxes.

    OpenJPH writes resolutions first (RPCL); with the tile-part lengths, and decomposed until the smallest picture has
    64 pixels at most in one direction, that is what the RPCL transfer syntax asks for (PS3.5 section 10.18).
    """
    levels = max(5, ceil(log2(max(1, min(pixels.shape[:2]) / 64))))
    options: dict[str, Any] = {"rgb": _transformed(layout), "tlm": True, "resolutions": levels}
    if loss is None:
        whole = layout.bits_stored == 8 * pixels.dtype.itemsize
        shifted = pixels if whole or layout.signed else _level_shifted(pixels, layout.bits_stored)
        data = bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(shifted), reversible=True, **options))
        return data if whole else _state_depth(data, layout)

    samples = np.ascontiguousarray(pixels)

    def encode(psnr: float) -> bytes:
        # The noise of a quantizer with step s is s / sqrt(12); OpenJPH counts s in the range of the array's type
        step = sqrt(12) * 10 ** (-psnr / 20) * 2.0 ** (layout.bits_stored - 8 * samples.dtype.itemsize)
        return bytes(imagecodecs.htj2k_encode(samples, level=min(2.0, max(1e-6, step)), reversible=False, **options))

    if loss.ratio:
        return _at_ratio(layout, loss.ratio, _PSNR, encode)
    return encode(loss.psnr)


def _level_shifted(pixels: Array, bits: int) -> Array:
    """Unsigned samples with T.800's DC level shift done (Annex G.1), as signed ones of the same size."""
    shifted: Array = (pixels - pixels.dtype.type(1 << (bits - 1))).view(f"i{pixels.dtype.itemsize}")
    return shifted


def _state_depth(data: bytes, layout: Layout) -> bytes:
    """The codestream of signed samples as one of Bits Stored and the true sign.

    A reversible codestream depends on Ssiz (T.800 A.5.1) by the level shift alone, which signed samples do not have and
    the others got beforehand.
    """
    octets = bytearray(data)
    ssiz = (0x80 if layout.signed else 0) | layout.bits_stored - 1
    for component in range(layout.samples):
        octets[42 + 3 * component] = ssiz  # SOC, SIZ marker and 36 bytes before the first component
    return bytes(octets)


# --- the others -----------------------------------------------------------------------------------------------------


def jpegxl(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """Modular without loss, else at a distance: 1 is what eyes do not see at quality 90."""
    samples = _unsigned(pixels, layout)

    def encode(quality: float) -> bytes:
        # libjxl's own translation of a JPEG quality
        distance = 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
        return bytes(
            imagecodecs.jpegxl_encode(
                samples, lossless=False, distance=distance, bitspersample=layout.bits_stored, numthreads=1
            )
        )

    if loss is None:
        return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=layout.bits_stored, numthreads=1))
    if loss.ratio:
        return _at_ratio(layout, loss.ratio, (1, 100), encode)
    return encode(loss.quality)


def rle(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """Annex G; the packed bits of a 1-bit frame are the one byte plane."""
    if layout.bits_allocated == 1:
        packed = np.frombuffer(pack(pixels, layout), np.uint8, (layout.native_bits + 7) // 8)
        return encode_rle(packed.reshape(1, -1))
    return encode_rle(pixels)


def deflated(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """PS3.5 A.4.13: a native frame as one raw deflate stream."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(pack(pixels, layout)) + deflater.flush()


def native(pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
    """As `native.pack`."""
    return pack(pixels, layout)


# --- codestreams that serve as they are -----------------------------------------------------------------------------


def as_it_is(data: bytes) -> bytes:
    """A codestream of a lossless transfer syntax under one that allows both."""
    return data


def jxl_of_jpeg(data: bytes) -> bytes:
    """A JPEG codestream as JPEG XL, from which it can be had again byte by byte. Raises PixelError."""
    try:
        return bytes(imagecodecs.jpegxl_encode_jpeg(data))
    except (ValueError, RuntimeError) as error:
        raise PixelError(f"this JPEG codestream cannot be recompressed: {error}") from None


def jpeg_of_jxl(data: bytes) -> bytes:
    """The JPEG codestream that a JPEG XL one was made of. Raises PixelError if there is none in it."""
    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(data))  # type: ignore[call-arg]  # the stub asks for more than it has
    except (ValueError, RuntimeError) as error:
        raise PixelError(f"no JPEG codestream is in this JPEG XL: {error}") from None
