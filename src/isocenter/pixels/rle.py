"""RLE Lossless, PS3.5 Annex G: byte planes, most significant first, each packed by PackBits.

A frame is a header of sixteen 32-bit little endian words (number of segments, then their offsets) and the segments.
The unpacking of a segment is imagecodecs' PackBits; what belongs to DICOM is here.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import imagecodecs
import numpy as np

from isocenter.errors import PixelError

_HEADER = struct.Struct("<16I")


def decode_rle(data: bytes | memoryview, rows: int, columns: int, samples: int, itemsize: int) -> np.ndarray:
    """Unsigned samples of `itemsize` bytes, shape (samples, rows, columns) as RLE stores them.

    PixelError if segments are missing, out of order or unpack to fewer bytes than the image needs. What a segment
    holds beyond that (padding that some writers compress along) is ignored.
    """
    if len(data) < _HEADER.size:
        raise PixelError(f"an RLE frame of {len(data)} bytes is shorter than its header")
    count, *offsets = _HEADER.unpack_from(data)
    planes = samples * itemsize
    if count != planes:
        raise PixelError(f"{count} RLE segments where {planes} byte planes are needed")
    bounds = [*offsets[:count], len(data)]
    if bounds[0] < _HEADER.size or any(a > b for a, b in pairwise(bounds)):
        raise PixelError("RLE segment offsets are not in order or point outside the frame")
    size = rows * columns
    if size > 64 * len(data):
        raise PixelError("the RLE segments are too short for the image")
    result = np.empty((samples, size, itemsize), np.uint8)
    view = memoryview(data)
    single = np.empty(size, np.uint8)
    for plane in range(planes):
        segment = bytes(view[bounds[plane] : bounds[plane + 1]])
        sample, byte = divmod(plane, itemsize)
        if itemsize == 1:
            _unpack(segment, result[sample, :, 0], plane + 1)
        else:
            _unpack(segment, single, plane + 1)
            result[sample, :, itemsize - 1 - byte] = single
    return result.view(f"<u{itemsize}").reshape(samples, rows, columns)


def _unpack(segment: bytes, plane: np.ndarray, number: int) -> None:
    """The segment's bytes into all of `plane`, which is contiguous."""
    try:
        # In place of its result: the codec would go through the segment once more to learn how much that is.
        unpacked = imagecodecs.packbits_decode(segment, out=plane.data)
    except imagecodecs.PackbitsError:  # broken, or there is padding
        try:
            unpacked = imagecodecs.packbits_decode(segment)
        except imagecodecs.PackbitsError as error:
            raise PixelError(f"RLE segment {number}: {error}") from None
        if len(unpacked) >= len(plane):
            plane[:] = np.frombuffer(unpacked, np.uint8, len(plane))
    if len(unpacked) < len(plane):
        raise PixelError(f"RLE segment {number} unpacks to {len(unpacked)} bytes, {len(plane)} are needed")


def encode_rle(pixels: np.ndarray) -> bytes:
    """One frame, shape (rows, columns) or (rows, columns, samples), any integer dtype, as an RLE frame.

    Rows are packed one by one (G.3.1: a run does not cross rows); segments and frame have even length.
    """
    planes = pixels.reshape(*pixels.shape[:2], -1)
    rows, columns, samples = planes.shape
    itemsize = pixels.dtype.itemsize
    if samples * itemsize > 15:
        raise PixelError(f"RLE holds 15 byte planes, {samples * itemsize} are needed")
    raw = np.ascontiguousarray(planes).astype(planes.dtype.newbyteorder(">"), copy=False)
    octets = raw.view(np.uint8).reshape(rows, columns, samples * itemsize)
    segments: list[bytes] = []
    for plane in range(samples * itemsize):
        # axis: each row is a packing of its own
        packed = bytes(imagecodecs.packbits_encode(np.ascontiguousarray(octets[:, :, plane]), axis=-1))
        segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = [0] * 15
    at = _HEADER.size
    for index, segment in enumerate(segments):
        offsets[index] = at
        at += len(segment)
    return _HEADER.pack(len(segments), *offsets) + b"".join(segments)
