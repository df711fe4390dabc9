"""Encapsulated pixel data (PS3.5 Annex A.4): Basic Offset Table and fragments, found without being read."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from struct import Struct

from isocenter.errors import DataSetError, LimitExceeded, TruncatedError
from isocenter.wire.elements import (
    BIG,
    ITEM,
    LITTLE,
    PIXEL_DATA,
    SEQUENCE_DELIMITER,
    UNDEFINED,
    Buffer,
    Encoding,
    path_of,
)
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

_PATH = path_of([PIXEL_DATA])


def items(buf: Buffer, offset: int, end: int, encoding: Encoding, limits: Limits) -> Iterator[tuple[int, int]]:
    """Offset and length of the value of every item from `offset` on, and last the delimiter's as (its end, -1).

    Raises TruncatedError where an item or the delimiter does not fit before `end`, DataSetError where there is another
    tag.
    """
    unpack = encoding.implicit.unpack_from
    pos = offset
    for _ in range(limits.elements):
        if pos + 8 > end:
            raise TruncatedError("no Sequence Delimitation Item after the fragments", tag_path=_PATH, offset=pos)
        group, element, length = unpack(buf, pos)
        tag = group << 16 | element
        pos += 8
        if tag == SEQUENCE_DELIMITER:
            yield pos, -1
            return
        if tag != ITEM or length == UNDEFINED:
            raise DataSetError("a fragment is not an item of defined length", tag_path=_PATH, offset=pos - 8)
        if length > end - pos:
            raise TruncatedError(f"a fragment of {length} bytes reaches beyond the end", tag_path=_PATH, offset=pos - 8)
        yield pos, length
        pos += length
    raise LimitExceeded(f"more than {limits.elements} fragments (limits.elements)", tag_path=_PATH, offset=offset)


def places(
    buf: Buffer, offset: int, end: int, encoding: Encoding, limits: Limits
) -> tuple[array[int], array[int], DataSetError | None]:
    """Offset and length of the value of every item from `offset` on, and what ended them before their delimiter.

    As `items`, for thousands: in one loop over what is regular, 12 bytes an item.
    """
    unpack = encoding.implicit.unpack_from
    offsets, lengths = array("Q"), array("I")
    pos, last = offset, end - 8
    for _ in range(limits.elements - 1):
        if pos > last:
            break
        group, element, length = unpack(buf, pos)
        if element != 0xE000 or group != 0xFFFE or length > last - pos:
            break
        pos += 8
        offsets.append(pos)
        lengths.append(length)
        pos += length
    try:
        for at, size in items(buf, pos, end, encoding, limits):
            if size < 0:
                return offsets, lengths, None
            # The loop above ended for the limit, and this is the item beyond it.
            raise LimitExceeded(f"more than {limits.elements} fragments (limits.elements)", tag_path=_PATH, offset=at)
    except DataSetError as error:
        # Told, not raised: with a traceback it would hold its reader's variables, and so the map, for some time.
        return offsets, lengths, error.with_traceback(None)
    raise AssertionError("items ends with the delimiter, or an error")


def encapsulated_fragments(
    buf: Buffer, offset: int, end: int, limits: Limits = DEFAULT_LIMITS, *, little: bool = True
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """The Basic Offset Table (empty if it is) and (offset, length) of every fragment.

    `offset` is that of the first item, as Element.offset has it; `end` bounds the search. Offsets in the table are as
    stored: relative to the first byte of the first fragment's item tag. Errors are those of a damaged data set.
    """
    encoding = LITTLE if little else BIG
    found = list(items(buf, offset, end, encoding, limits))[:-1]
    if not found:
        raise DataSetError("no Basic Offset Table item", tag_path=_PATH, offset=offset)
    start, length = found[0]
    if length % 4:
        raise DataSetError(f"a Basic Offset Table of {length} bytes", tag_path=_PATH, offset=start)
    table = Struct(f"{'<' if little else '>'}{length // 4}I").unpack_from(buf, start)
    return table, found[1:]
