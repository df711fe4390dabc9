"""Stored objects as Explicit VR Little Endian with native pixel data, for clients that ask for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from isocenter.model import InstanceRef
from isocenter.pixels.uncompressed import uncompressed as uncompressed_data_set
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import file_meta

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive


def uncompressed(archive: Archive, ref: InstanceRef, limits: Limits) -> Iterator[bytes]:
    """The Part 10 file of `ref` in Explicit VR Little Endian, piece by piece; blocking. Raises as
    pixels.uncompressed does."""
    with closing(archive.blob(ref)) as blob, blob.view() as view:
        pieces = uncompressed_data_set(view, ref.data_set_offset, ref.transfer_syntax, limits)
        # What cannot be had is known with the first piece, and then no header may be out.
        first = next(pieces, b"")
        yield file_meta(ref.sop_class, ref.instance, EXPLICIT_VR_LITTLE_ENDIAN) + first
        yield from pieces
