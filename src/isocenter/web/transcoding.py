"""Stored objects in another transfer syntax, for clients that ask for that: which there are, and their bytes.

The only place of the web skin that knows how pixel data are coded anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import cache
from uuid import NAMESPACE_OID, uuid5

from isocenter.model import InstanceRef
from isocenter.pixels.transcode import Wanted, can_transcode, loses, transcoded
from isocenter.std.implementation import IMPLEMENTATION_VERSION_NAME as VERSION
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from isocenter.web.context import Context
from isocenter.web.negotiate import COMPRESSED_MEDIA_TYPES, Offer
from isocenter.wire.part10 import file_meta

_PIECE = 1024 * 1024
_NOT_FOR_THE_WEB = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


@cache
def targets(source: str) -> tuple[str, ...]:
    """The transfer syntaxes that objects stored in `source` can be had in otherwise, best first.

    Neither Implicit VR nor big endian: no web service is to use them (PS3.18 section 8.7.3.5.2).
    """
    others = (uid for uid in TRANSFER_SYNTAXES if uid != EXPLICIT_VR_LITTLE_ENDIAN and uid not in _NOT_FOR_THE_WEB)
    return tuple(uid for uid in (EXPLICIT_VR_LITTLE_ENDIAN, *others) if uid != source and can_transcode(source, uid))


def frame_targets(source: str) -> tuple[str, ...]:
    """The compressed transfer syntaxes that frames stored in `source` can be had in otherwise."""
    return tuple(uid for uid in targets(source) if uid in COMPRESSED_MEDIA_TYPES)


def instance_pieces(context: Context, ref: InstanceRef, offer: Offer) -> Iterator[bytes]:
    """The Part 10 file of `ref` in the offer's transfer syntax, piece by piece; blocking. Raises as
    pixels.transcode does.

    What lost something has a SOP Instance UID of its own (PS3.3 C.7.6.1.1.5), the same each time.
    """
    with closing(context.archive.blob(ref)) as blob, blob.view() as view:
        syntax = offer.transfer_syntax or ref.transfer_syntax
        if syntax == ref.transfer_syntax:
            for start in range(0, len(view), _PIECE):
                yield bytes(view[start : start + _PIECE])
            return
        instance = ref.instance
        if loses(ref.transfer_syntax, syntax):
            instance = f"2.25.{uuid5(NAMESPACE_OID, f'{instance} {ref.digest} {syntax} {VERSION}').int}"
        wanted = Wanted(syntax, sop_instance=instance)
        pieces = transcoded(view, ref.data_set_offset, ref.transfer_syntax, wanted, context.limits)
        # What cannot be had is known with the first piece, and then no header may be out.
        first = next(pieces, b"")
        yield file_meta(ref.sop_class, instance, syntax) + first
        yield from pieces
