"""How one frame's samples lie in memory: the Image Pixel module (PS3.3 C.7.6.3) reduced to what decoding needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError

Array = NDArray[Any]

# C.7.6.3.1.2: samples a photometric interpretation must have
_THREE = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB", "HSV"}
_ALLOCATED = (1, 8, 16, 24, 32, 40, 48, 56, 64)


@dataclass(frozen=True, slots=True)
class Layout:
    """One frame: sizes in pixels, depths in bits.

    `floating` is for Float and Double Float Pixel Data, where only Bits Allocated counts. `big_endian` is the byte
    order of native samples, and `words` tells that they came in VR OW: then bytes are swapped within 16-bit words even
    where a sample is one byte or one bit (PS3.5 section 8.1.2).
    """

    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int = 8
    bits_stored: int = 8
    high_bit: int = 7
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: int = 0
    big_endian: bool = False
    words: bool = False
    floating: bool = False

    def check(self, limit: int) -> None:
        """PixelError unless the numbers describe an image of at most `limit` bytes."""
        if self.rows <= 0 or self.columns <= 0:
            raise PixelError(f"Rows {self.rows} by Columns {self.columns} is no image", tag_path="(0028,0010)")
        if self.samples <= 0 or self.samples > 4:
            raise PixelError(f"Samples per Pixel {self.samples} is not supported", tag_path="(0028,0002)")
        if self.photometric in _THREE and self.samples != 3:
            raise PixelError(
                f"{self.photometric} needs 3 Samples per Pixel, not {self.samples}", tag_path="(0028,0004)"
            )
        if self.floating:
            if self.bits_allocated not in (32, 64):
                raise PixelError(f"floating-point samples of {self.bits_allocated} bits", tag_path="(0028,0100)")
        elif self.bits_allocated not in _ALLOCATED:
            raise PixelError(
                f"Bits Allocated {self.bits_allocated} is not 1 or a multiple of 8", tag_path="(0028,0100)"
            )
        elif not 0 < self.bits_stored <= self.bits_allocated:
            raise PixelError(
                f"Bits Stored {self.bits_stored} does not fit Bits Allocated {self.bits_allocated}",
                tag_path="(0028,0101)",
            )
        if self.decoded_bytes > limit:
            raise PixelError(f"a decoded frame of {self.decoded_bytes} bytes is over limits.frame_bytes, {limit}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (rows, columns, samples) when there are several samples."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of decoded samples: the smallest native type that holds Bits Allocated."""
        if self.floating:
            return np.dtype(f"f{self.bits_allocated // 8}")
        return integer_dtype(self.bits_allocated, self.signed)

    @property
    def decoded_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.dtype.itemsize

    @property
    def native_bits(self) -> int:
        """Bits of one frame in native (uncompressed) form."""
        samples = 2 if self.subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def subsampled(self) -> bool:
        """Whether native samples are Y Y Cb Cr for each two pixels of a row (C.7.6.3.1.2, YBR_FULL_422)."""
        return self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")

    @property
    def shift(self) -> int:
        """Unused bits below the sample; 0 where High Bit does not fit the other depths."""
        shift = self.high_bit + 1 - self.bits_stored
        return shift if 0 <= shift <= self.bits_allocated - self.bits_stored else 0

    @property
    def odd_high_bit(self) -> bool:
        """High Bit is outside Bits Allocated or below Bits Stored - 1: it is ignored, and the caller is told."""
        return not self.floating and not self.bits_stored - 1 <= self.high_bit < self.bits_allocated


def integer_dtype(bits: int, signed: bool) -> np.dtype[np.generic]:
    """The smallest native integer type of at least `bits` bits."""
    for size in (1, 2, 4, 8):
        if bits <= 8 * size:
            return np.dtype(f"{'i' if signed else 'u'}{size}")
    raise PixelError(f"integers of {bits} bits are not supported")


def sample_values(raw: Array, bits: int, shift: int, signed: bool, *, own: bool = False) -> Array:
    """Stored values from integer containers: drop `shift` low bits, keep `bits`, extend the sign if there is one.

    What stands in the other bits (old overlays, garbage) does not reach the result. Same shape; the dtype keeps its
    size and takes the sign asked for. Where `raw` is the caller's `own` they may come in its place: of a large frame,
    memory used for the first time costs more than the work.
    """
    size = raw.dtype.itemsize
    width = 8 * size
    if bits + shift >= width and not shift:
        return raw.view(f"{'i' if signed else 'u'}{size}")
    if signed:
        left = width - bits - shift
        unsigned: Array = raw.view(f"u{size}")
        up: Array = np.left_shift(unsigned, left, out=unsigned if own and raw.flags.writeable else None)
        two: Array = up.view(f"i{size}")
        extended: Array = np.right_shift(two, width - bits, out=two)
        return extended
    values: Array = raw.view(f"u{size}")
    mine = own and raw.flags.writeable
    if shift:
        values, mine = np.right_shift(values, shift, out=values if mine else None), True
    kept: Array = np.bitwise_and(values, values.dtype.type((1 << bits) - 1), out=values if mine else None)
    return kept
