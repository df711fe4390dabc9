"""What the first bytes of a received object say it is, before it is kept."""

from __future__ import annotations

import zlib

from isocenter.errors import IsocenterError
from isocenter.index.keys import SOP_CLASS
from isocenter.model import UNIQUE_KEY, Level
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.part10 import read_header, text_of
from isocenter.wire.scan import scan

PATIENT_ID, STUDY_UID, INSTANCE_UID = UNIQUE_KEY[Level.PATIENT], UNIQUE_KEY[Level.STUDY], UNIQUE_KEY[Level.IMAGE]
STUDY_HEAD = 1024 * 1024
"""Bytes that are looked through for these."""


def named_in(head: bytes) -> dict[int, str]:
    """SOP Class, SOP Instance and Study Instance UID and Patient ID of the object that begins with `head`, a Part 10
    file or data set; those that are in it."""
    try:
        meta = read_header(head)
        syntax = transfer_syntax(meta.transfer_syntax)
        data, start = head, meta.data_set_offset
        if syntax.deflated:
            data, start = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head[start:], STUDY_HEAD), 0
        found = scan(
            data,
            little=syntax.little,
            explicit=syntax.explicit,
            start=start,
            wanted=frozenset({SOP_CLASS, INSTANCE_UID, PATIENT_ID, STUDY_UID}),
            stop=STUDY_UID + 1,
            whole=False,
        )
    except (IsocenterError, zlib.error):
        return {}
    return {tag: text_of(data[at.offset : at.offset + at.length]) for tag, at in found.elements.items()}
