"""Deflated data sets (PS3.5 Annex A.5): one raw RFC 1951 stream, inflated under limits, or made."""

from __future__ import annotations

import zlib
from struct import Struct

from isocenter.errors import DataSetError, LimitExceeded, TruncatedError
from isocenter.wire.elements import Buffer, NulPadding
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

_CHUNK = 1 << 18
_TRAILER = Struct("<II")
# Headers deflate well and are small: the ratio is looked at only where it could hurt.
_RATIO_FLOOR = 16 << 20


def inflate(buf: Buffer, limits: Limits = DEFAULT_LIMITS, *, start: int = 0, end: int | None = None) -> bytes:
    """The inflated data set of buf[start:end]. A zlib header (RFC 1950), which some writers leave in, is taken as well.

    Raises LimitExceeded above limits.inflate_bytes, or above 16 MiB at a ratio over limits.inflate_ratio;
    TruncatedError if the stream does not end; DataSetError if it is damaged, or followed by anything but
    padding or its gzip trailer.
    """
    size_in = len(buf) if end is None else end
    head = bytes(buf[start : start + 2])
    # A raw stream never begins like this: 0x78 would be a stored block whose length does not fit its complement.
    zlib_header = len(head) == 2 and head[0] == 0x78 and (head[0] << 8 | head[1]) % 31 == 0
    stream = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
    parts = []
    size, fed = 0, start
    pending = b""
    try:
        while not stream.eof:
            if not pending:
                # Copies, not views: a view in a traceback would keep the caller from closing its mmap.
                pending = bytes(buf[fed : min(fed + _CHUNK, size_in)])
                fed += len(pending)
            part = stream.decompress(pending, _CHUNK)
            if not part and not pending:
                break
            pending = stream.unconsumed_tail
            size += len(part)
            if size > limits.inflate_bytes:
                raise LimitExceeded(f"inflates to more than {limits.inflate_bytes} bytes (limits.inflate_bytes)")
            if size > _RATIO_FLOOR and size > limits.inflate_ratio * (fed - start):
                raise LimitExceeded(f"inflates by more than {limits.inflate_ratio} times (limits.inflate_ratio)")
            parts.append(part)
    except zlib.error:
        raise DataSetError("the deflate stream is damaged", offset=fed - len(pending)) from None
    if not stream.eof:
        raise TruncatedError("the deflate stream does not end", offset=size_in)
    inflated = b"".join(parts)
    after = fed - len(stream.unused_data)
    if _is_gzip_trailer(bytes(buf[after : min(after + 8, size_in)]), inflated):
        after += 8
    if not NulPadding(buf).from_here(after, size_in):
        raise DataSetError("something follows the deflate stream", offset=after)
    return inflated


def deflate(raw: bytes) -> bytes:
    """A data set as a deflated stream of even length."""
    deflater = zlib.compressobj(wbits=-15)
    stream = deflater.compress(raw) + deflater.flush()
    return stream + b"\0" * (len(stream) & 1)


def _is_gzip_trailer(rest: bytes, inflated: bytes) -> bool:
    """CRC and length of RFC 1952 after the stream, as some writers leave them there."""
    if len(rest) < 8:
        return False
    crc, length = _TRAILER.unpack_from(rest)
    return bool(length == len(inflated) & 0xFFFFFFFF and crc == zlib.crc32(inflated))
