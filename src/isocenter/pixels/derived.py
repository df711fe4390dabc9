"""What a header must say of samples that were transcoded, as edits of its top level: tag to VR and value.

Image Pixel (PS3.3 C.7.6.3.1) where the samples lie in another way; Lossy Image Compression with Ratio and Method
(C.7.6.1.1.5) where something was lost, and that the object is derived, from what and how (C.7.6.1.1.2, C.12.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from isocenter.pixels.layout import Layout
from isocenter.wire.splice import Head, explicit_element, sequence_item

_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE = 0x00080008, 0x00080016, 0x00080018
_DESCRIPTION, _SOURCES, _CODES = 0x00082111, 0x00082112, 0x00089215
_PHOTOMETRIC, _PLANAR, _REPRESENTATION = 0x00280004, 0x00280006, 0x00280103
# US or SS by Pixel Representation (PS3.6): smallest and largest values, padding and its limit
_AS_SAMPLES = (0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280120, 0x00280121)
_LOSSY, _RATIOS, _METHODS = 0x00282110, 0x00282112, 0x00282114
_LONGEST_ST = 1024


@dataclass(frozen=True, slots=True)
class Suffered:
    """One lossy compression: what did it (Defined Term of C.7.6.1.1.5.1), and native by compressed size."""

    method: str
    ratio: float


def samples(head: Head, layout: Layout) -> dict[int, tuple[str, bytes]]:
    """What of Image Pixel says something else than `layout`."""
    numbers = {
        0x00280100: layout.bits_allocated,
        0x00280101: layout.bits_stored,
        0x00280102: layout.high_bit,
    }
    if layout.samples > 1:
        numbers[_PLANAR] = 0
    else:
        numbers[_REPRESENTATION] = int(layout.signed)
    edits = {tag: ("US", number.to_bytes(2, "little")) for tag, number in numbers.items()}
    changed = {tag: edit for tag, edit in edits.items() if head.value(tag) != edit[1]}
    if _text(head, _PHOTOMETRIC) != layout.photometric:
        changed[_PHOTOMETRIC] = ("CS", layout.photometric.encode("ascii"))
    return changed | (_with_sign(head) if _REPRESENTATION in changed and layout.signed else {})


def sign(head: Head, layout: Layout) -> dict[int, tuple[str, bytes]]:
    """The same of a codestream that is kept: only Pixel Representation can be untrue then, and what goes by it."""
    changed = samples(head, layout)
    return {tag: edit for tag, edit in changed.items() if tag == _REPRESENTATION or edit[0] == "SS"}


def _with_sign(head: Head) -> dict[int, tuple[str, bytes]]:
    """What has the VR of samples, as signed numbers; the bits stay."""
    return {tag: ("SS", value) for tag in _AS_SAMPLES if (value := head.value(tag))}


def is_lossy(head: Head) -> bool:
    """Whether the header says that something was lost before."""
    return _text(head, _LOSSY) == "01"


def lossy(head: Head, losses: list[Suffered]) -> dict[int, tuple[str, bytes]]:
    """The flag, and what there is to say of each loss, after what is said of earlier ones."""
    methods = [part for part in _text(head, _METHODS).split("\\") if part]
    ratios = [part for part in _text(head, _RATIOS).split("\\") if part]
    methods += [loss.method for loss in losses]
    ratios += [f"{loss.ratio:.4g}" for loss in losses]
    return {
        _LOSSY: ("CS", b"01"),
        _RATIOS: ("DS", "\\".join(ratios).encode("ascii", "replace")),
        _METHODS: ("CS", "\\".join(methods).encode("ascii", "replace")),
    }


def derivation(head: Head, how: str, sop_instance: str) -> dict[int, tuple[str, bytes]]:
    """The object as one derived by lossy compression, under a UID of its own, from the one that `head` is of."""
    source = [
        explicit_element(0x00081150, "UI", head.value(_SOP_CLASS).rstrip(b"\0 ")),
        explicit_element(0x00081155, "UI", head.value(_SOP_INSTANCE).rstrip(b"\0 ")),
    ]
    if not is_lossy(head):
        purpose = _code("121320", "Uncompressed predecessor")  # CID 7202
        source.append(explicit_element(0x0040A170, "SQ", sequence_item(purpose)))
    old = head.value(_DESCRIPTION).rstrip(b"\0 ")
    description = how.encode("ascii") + (b"; " + old if old else b"")
    _, *rest = head.value(_IMAGE_TYPE).rstrip(b"\0 ").split(b"\\")
    edits = {
        _SOP_INSTANCE: ("UI", sop_instance.encode("ascii")),
        _SOURCES: ("SQ", head.value(_SOURCES) + sequence_item(*source)),
        _CODES: ("SQ", head.value(_CODES) + sequence_item(_code("113040", "Lossy Compression"))),  # CID 7203
        _IMAGE_TYPE: ("CS", b"\\".join([b"DERIVED", *(rest or [b"PRIMARY"])])),
    }
    if len(description) <= _LONGEST_ST:  # cut off it might end within a character
        edits[_DESCRIPTION] = ("ST", description)
    return edits


def _code(value: str, meaning: str) -> bytes:
    """A code of PS3.16's DCM scheme."""
    return b"".join(
        explicit_element(tag, vr, text.encode("ascii"))
        for tag, vr, text in ((0x00080100, "SH", value), (0x00080102, "SH", "DCM"), (0x00080104, "LO", meaning))
    )


def _text(head: Head, tag: int) -> str:
    return head.value(tag).decode("latin-1").strip(" \0")
