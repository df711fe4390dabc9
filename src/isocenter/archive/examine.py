"""What the bytes of one object say about it: the keys, and whether the object is whole.

Everything is read in place from the mapped file. The whole structure is walked, so that a truncated or inconsistent
object is refused before anybody is told that it is kept; values are looked at only where the index keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from isocenter.errors import InstanceMismatch, InvalidUID, TruncatedError
from isocenter.index.keys import CHARACTER_SET, KEPT_TAGS, Keys, extract
from isocenter.model import is_uid
from isocenter.std.dictionary import vr_of
from isocenter.std.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TransferSyntax,
    transfer_syntax,
)
from isocenter.wire.deflate import inflate
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.limits import Limits
from isocenter.wire.scan import Element, ScanResult, scan
from isocenter.wire.values import BINARY_VRS, json_values, texts
from isocenter.wire.walk import Walker

_WANTED = KEPT_TAGS | {CHARACTER_SET}
# Longer values are in the file only: no key of the standard's needs as much, and answers are made of these.
_LONGEST = 16 << 10
_LONGEST_SEQUENCE = 64 << 10


@dataclass(frozen=True, slots=True)
class Announced:
    """What the command or the file meta information says the object is; "" where it says nothing."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


def examine(view: memoryview, start: int, announced: Announced, limits: Limits) -> tuple[Keys, frozenset[str]]:
    """Keys and leniency flags of the data set at `start`.

    Raises DataSetError and its kin for what is not a whole data set, InvalidUID and InstanceMismatch (0xA900).
    """
    if len(view) <= start:
        raise TruncatedError("the data set is empty", offset=start)
    syntax = transfer_syntax(announced.transfer_syntax)
    data: memoryview | bytes = view
    if syntax.deflated:
        # All of it is in memory then; whoever deflates more than fits into a header's limit is refused.
        data = inflate(view[start:], replace(limits, inflate_bytes=min(limits.inflate_bytes, limits.header_bytes)))
        start = 0
    found = scan(data, little=syntax.little, explicit=syntax.explicit, start=start, wanted=_WANTED, limits=limits)
    attributes = kept_json(data, found, syntax, limits)
    keys = extract(attributes)
    for name, said, is_ in (
        ("SOP Class UID", announced.sop_class, keys.sop_class),
        ("SOP Instance UID", announced.sop_instance, keys.image.uid),
    ):
        if said and said != is_:
            raise InstanceMismatch(f"{name} of the data set is not the one announced")
    if not is_uid(keys.sop_class):
        raise InvalidUID("UID is malformed", tag_path="(0008,0016)")
    return keys, found.flags


def kept_json(
    data: memoryview | bytes, found: ScanResult, syntax: TransferSyntax, limits: Limits
) -> dict[str, dict[str, Any]]:
    """The kept attributes of a scanned data set as DICOM JSON (PS3.18 Annex F); text is UTF-8 there."""
    attributes: dict[str, dict[str, Any]] = {}
    character_set = found.elements.get(CHARACTER_SET)
    terms: list[str] = []
    if character_set is not None and 0 < character_set.length <= _LONGEST:
        terms = texts(_value(data, character_set), "CS")
    for tag, element in found.elements.items():
        name = f"{tag:08X}"
        if tag == CHARACTER_SET:
            continue
        if element.vr == "SQ":
            model = _sequence(data, element, character_set, syntax, limits)
            if model is not None:
                attributes[name] = model
            continue
        vr = vr_of(tag) if element.vr == "UN" else element.vr
        if not 0 <= element.length <= _LONGEST or vr in BINARY_VRS or vr == "SQ":
            continue
        values = json_values(_value(data, element), vr, syntax.little, terms) if element.length else None
        attributes[name] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return attributes


def _value(data: memoryview | bytes, element: Element) -> bytes:
    return bytes(data[element.offset : element.offset + element.length])


def _sequence(
    data: memoryview | bytes,
    element: Element,
    character_set: Element | None,
    syntax: TransferSyntax,
    limits: Limits,
) -> dict[str, Any] | None:
    """One sequence as DICOM JSON: it is read as a data set of itself, behind the character set it inherits."""
    end = element.offset + element.length
    if element.length < 0:
        walker = Walker(data, little=syntax.little, explicit=syntax.explicit, end=len(data), limits=limits)
        for _ in walker.sequence(element):
            if walker.pos - element.offset > _LONGEST_SEQUENCE:
                return None
        end = walker.pos
    if end - element.offset > _LONGEST_SEQUENCE:
        return None
    # PS3.5 section 7.1: a header is 12 bytes with the VR SQ, and 8 with CS or without a VR.
    text = bytes(data[element.offset - (12 if syntax.explicit else 8) : end])
    if character_set is not None and 0 < character_set.length <= _LONGEST:
        text = bytes(data[character_set.offset - 8 : character_set.offset + character_set.length]) + text
    plain = EXPLICIT_VR_LITTLE_ENDIAN if syntax.explicit else IMPLICIT_VR_LITTLE_ENDIAN
    model = dataset_json(text, plain if syntax.little else EXPLICIT_VR_BIG_ENDIAN, limits=limits)
    sequence: dict[str, Any] | None = model.get(f"{element.tag:08X}")
    return sequence
