"""Native (uncompressed) frames, PS3.5 section 8.1 and Annex D: bytes to samples and back."""

from __future__ import annotations

import numpy as np

from isocenter.errors import PixelError
from isocenter.pixels.layout import Array, Layout, integer_dtype, sample_values


def unpack(data: bytes | memoryview, layout: Layout, first_bit: int = 0) -> Array:
    """Stored values of a native frame: an array of its own, shape and dtype as `layout` says.

    `first_bit` is where the frame begins in the first byte (1-bit frames may begin anywhere, PS3.5 section 8.1.1).
    YBR_FULL_422 comes back with three samples a pixel, each pair of pixels sharing Cb and Cr.
    """
    need = (first_bit + layout.native_bits + 7) // 8
    if len(data) < need:
        raise PixelError(f"{len(data)} bytes of pixel data where {need} are needed")
    if layout.bits_allocated == 1:
        count = layout.rows * layout.columns * layout.samples
        bits = np.unpackbits(np.frombuffer(data, np.uint8, need), bitorder="little")[first_bit : first_bit + count]
        return arrange(bits, layout)
    order = ">" if layout.big_endian else "<"
    size = layout.bits_allocated // 8
    count = layout.native_bits // layout.bits_allocated
    if layout.floating:
        return arrange(np.frombuffer(data, f"{order}f{size}", count).astype(f"f{size}"), layout)
    if size in (1, 2, 4, 8):
        raw: Array = np.frombuffer(data, f"{order}u{size}", count).astype(f"u{size}")
    else:
        raw = _odd_size(np.frombuffer(data, np.uint8, count * size), size, layout.big_endian)
    values = sample_values(raw, layout.bits_stored, layout.shift, layout.signed, own=True)
    if layout.subsampled:
        return spread_chroma(values, layout.rows, layout.columns)
    return arrange(values, layout)


def _odd_size(octets: Array, size: int, big_endian: bool) -> Array:
    """Samples of 3, 5, 6 or 7 bytes in the next larger integer."""
    wide = integer_dtype(8 * size, False)
    padded = np.zeros((len(octets) // size, wide.itemsize), np.uint8)
    padded[:, :size] = octets.reshape(-1, size)[:, :: -1 if big_endian else 1]
    return padded.view(wide.newbyteorder("<")).astype(wide).reshape(-1)


def arrange(values: Array, layout: Layout) -> Array:
    """One-dimensional samples in the order of Planar Configuration (C.7.6.3.1.3) to (rows, columns[, samples])."""
    if layout.samples == 1:
        return values.reshape(layout.rows, layout.columns)
    if layout.planar:
        # Plane by plane: a transposed copy takes four times as long
        return np.stack(list(values.reshape(layout.samples, layout.rows, layout.columns)), axis=-1)
    return values.reshape(layout.rows, layout.columns, layout.samples)


def spread_chroma(values: Array, rows: int, columns: int) -> Array:
    """Y1 Y2 Cb Cr for two pixels to Y Cb Cr for each; Cb and Cr are sited on the first pixel and repeated."""
    if columns % 2:
        raise PixelError(f"YBR_FULL_422 needs an even number of columns, not {columns}")
    pairs = values.reshape(rows, columns // 2, 4)
    result = np.empty((rows, columns // 2, 2, 3), values.dtype)
    result[..., 0] = pairs[..., :2]
    result[..., 1] = pairs[..., 2, None]
    result[..., 2] = pairs[..., 3, None]
    return result.reshape(rows, columns, 3)


def pack(pixels: Array, layout: Layout) -> bytes:
    """A frame in native little endian form, colour by pixel, even length (PS3.5 section 8.1.1).

    1-bit frames are packed from the first bit of the first byte.
    """
    if layout.bits_allocated == 1:
        data = np.packbits(pixels.reshape(-1) != 0, bitorder="little").tobytes()
    else:
        size = layout.bits_allocated // 8
        if pixels.dtype.itemsize != size:
            raise PixelError(
                f"samples of {pixels.dtype.itemsize} bytes where Bits Allocated is {layout.bits_allocated}"
            )
        data = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + b"\0" * (len(data) % 2)
