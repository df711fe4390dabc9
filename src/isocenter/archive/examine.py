"""What the bytes of one object say about it: the keys, and whether the object is whole.

Everything is read in place from the mapped file. The whole structure is walked, so that a truncated or inconsistent
object is refused before anybody is told that it is kept; values are looked at only where the index keeps them. Objects
of one series come together and say the same about patient, study and series: what those bytes mean is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from isocenter.errors import InstanceMismatch, InvalidUID, TruncatedError
from isocenter.index.keys import (
    CHARACTER_SET,
    IMAGE_TAGS,
    KEPT_TAGS,
    SOP_CLASS,
    Keys,
    Part,
    Upper,
    extract_image,
    extract_non_patient,
    extract_upper,
    member,
)
from isocenter.names import is_uid
from isocenter.std.dictionary import vr_of
from isocenter.std.non_patient import NON_PATIENT_KEYS
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
from isocenter.wire.outline import Outline
from isocenter.wire.scan import Element, ScanResult, scan
from isocenter.wire.values import BINARY_VRS, json_values, texts
from isocenter.wire.walk import Walker

_WANTED = KEPT_TAGS | {CHARACTER_SET}
_REMEMBERED = 256
_REMEMBERED_BYTES = 32 << 10
_OUTLINES = 16  # of each form: images of a series have numbers of different length
_LONGEST_TAIL = 1024  # bytes after the pixel data that are compared and not scanned
_SHORT = 64  # bytes of a value whose meaning is remembered by itself
_IMAGE = frozenset(IMAGE_TAGS)
_FIXED = frozenset({CHARACTER_SET, SOP_CLASS})  # how the rest is read
_BEHIND = frozenset({"trailing-padding", "trailing-nul"})  # flags that say nothing of what is before the pixel data
# Longer values are in the file only: no key of the standard's needs as much, and answers are made of these.
_LONGEST = 16 << 10
_LONGEST_SEQUENCE = 64 << 10

# Tag, VR and the bytes of the value; of a sequence, also those of its header before them.
Raw = tuple[int, str, bytes]
# Little endian, explicit VR, the bytes of Specific Character Set.
Encoding = tuple[bool, bool, bytes]
# Tag, VR, begin and end of the value in the header, the raw form of a sequence.
_Place = tuple[int, str, int, int, bytes | None]


class Announced(NamedTuple):
    """What the command or the file meta information says the object is; "" where it says nothing."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


def examine(data: memoryview | bytes, start: int, announced: Announced, limits: Limits) -> tuple[Keys, frozenset[str]]:
    """Keys and leniency flags of the data set at `start`.

    Raises DataSetError and its kin for what is not a whole data set, InvalidUID and InstanceMismatch (0xA900).
    """
    return Examiner(limits).examine(data, start, announced)


class Examiner:
    """`examine` for many objects: what was proved of the header of one need not be proved of the next one like it.

    For any thread; what two of them learn at a time may be forgotten, and no more.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[tuple[bool, bool], tuple[_Known, ...]] = {}  # by little endian, explicit VR; the last first
        self._seen: tuple[tuple[int, int], ...] = ()

    def examine(self, data: memoryview | bytes, start: int, announced: Announced) -> tuple[Keys, frozenset[str]]:
        """See the function of this name."""
        limits = self._limits
        if len(data) <= start:
            raise TruncatedError("the data set is empty", offset=start)
        syntax = transfer_syntax(announced.transfer_syntax)
        if syntax.deflated:
            # All of it is in memory then; whoever deflates more than fits into a header's limit is refused.
            bounded = replace(limits, inflate_bytes=min(limits.inflate_bytes, limits.header_bytes))
            data, start = inflate(memoryview(data)[start:], bounded), 0
        keys, flags = self._recognise(data, start, syntax) or self._prove(data, start, syntax)
        for name, said, is_ in (
            ("SOP Class UID", announced.sop_class, keys.sop_class),
            ("SOP Instance UID", announced.sop_instance, keys.image.uid),
        ):
            if said and said != is_:
                raise InstanceMismatch(f"{name} of the data set is not the one announced")
        if not is_uid(keys.sop_class):
            raise InvalidUID("UID is malformed", tag_path="(0008,0016)")
        return keys, flags

    def _recognise(
        self, data: memoryview | bytes, start: int, syntax: TransferSyntax
    ) -> tuple[Keys, frozenset[str]] | None:
        form = (syntax.little, syntax.explicit)
        candidates = self._known.get(form, ())
        for known in candidates:
            difference = known.outline.difference(data, start)
            if difference is not None:
                break
        else:
            return None
        if known is not candidates[0]:
            self._known[form] = (known, *(other for other in candidates if other is not known))
        end = start + known.outline.length
        if known.rest is not None and known.rest.again(data, start, end):
            flags = known.rest.flags
        else:
            rest = scan(
                data, little=syntax.little, explicit=syntax.explicit, start=end, wanted=_WANTED, limits=self._limits
            )
            if rest.elements:
                return None  # a kept attribute behind the pixel data: rare, and not in the outline
            flags = rest.flags
        return known.keys(data, start, difference, self._limits), flags

    def _prove(self, data: memoryview | bytes, start: int, syntax: TransferSyntax) -> tuple[Keys, frozenset[str]]:
        limits = self._limits
        found = scan(data, little=syntax.little, explicit=syntax.explicit, start=start, wanted=_WANTED, limits=limits)
        keys = _keys(data, start, found, syntax, limits)
        pixels = found.pixel_data
        if pixels is not None and found.flags <= _BEHIND and max(found.elements) < pixels.tag and keys.study.uid:
            self._learn(data, start, syntax, found, pixels)
        return keys, found.flags

    def _learn(
        self, data: memoryview | bytes, start: int, syntax: TransferSyntax, found: ScanResult, pixels: Element
    ) -> None:
        """Keep the header's outline when it seems to come again: making one costs as much as two scans."""
        sight = (pixels.offset - start, len(found.elements))
        if sight[0] > _REMEMBERED_BYTES:
            return
        if sight not in self._seen:
            self._seen = (sight, *self._seen[: _OUTLINES - 1])
            return
        form = (syntax.little, syntax.explicit)
        header = scan(
            data, little=syntax.little, explicit=syntax.explicit, start=start, stop=pixels.tag, limits=self._limits
        )
        outline = Outline(data, start, header.end, header.elements.values(), _FIXED)
        image, upper, _, encoding = _raws(data, found, _IMAGE, syntax, self._limits)
        known = _Known(outline, image, upper, encoding, _rest(data, start, header.end, found.flags, pixels))
        self._known[form] = (known, *self._known.get(form, ())[: _OUTLINES - 1])


class _Image(NamedTuple):
    """What one image says of itself, for the next one to take over; values and texts by place."""

    values: list[bytes]
    attributes: dict[str, dict[str, Any]]
    texts: list[str]  # members of the JSON object, "" where the value is none of the attribute's


class _Rest(NamedTuple):
    """Pixel data of defined length and what follows them, as a scan went through them."""

    size: int  # of the data set
    head: bytes  # the element's header
    tail: bytes
    flags: frozenset[str]

    def again(self, data: memoryview | bytes, start: int, at: int) -> bool:
        """Whether the data set from `start`, whose pixel data begin `at`, ends in the same way."""
        return (
            len(data) - start == self.size
            and data[at : at + len(self.head)] == self.head
            and data[len(data) - len(self.tail) :] == self.tail
        )


class _Known:
    """An outline, where in it the kept attributes are, and what came behind it."""

    def __init__(
        self, outline: Outline, image: Sequence[Raw], upper: Sequence[Raw], encoding: Encoding, rest: _Rest | None
    ) -> None:
        """`image`, `upper` and `encoding` as `_raws` gives them for the object the outline was made of."""
        self.outline = outline
        self.rest = rest
        self._image, self._upper = self._places(sorted(image)), self._places(upper)
        self._above = outline.values(tag for tag, *_ in upper)
        self._encoding = encoding
        self._last: tuple[int, Upper] | None = None
        self._last_image: _Image | None = None

    def _places(self, raws: Sequence[Raw]) -> list[_Place]:
        """Tag, VR, where the value begins and ends; a sequence's bytes, which are part of the outline."""
        places = []
        for tag, vr, raw in raws:
            element = self.outline.elements[tag]
            places.append((tag, vr, element.offset, element.offset + element.length, raw if vr == "SQ" else None))
        return places

    def keys(self, data: memoryview | bytes, start: int, difference: int, limits: Limits) -> Keys:
        """What the header at `start` says, which differs from the one first seen by `difference`."""
        part, sop_class, frames = self._of_image(data, start, limits)
        last, changed = self._last, difference & self._above
        if last is not None and last[0] == changed:
            above = last[1]
        else:
            raws = [
                (tag, vr, raw or bytes(data[start + begin : start + end])) for tag, vr, begin, end, raw in self._upper
            ]
            above = _upper(tuple(raws), self._encoding, limits)
            self._last = (changed, above)
        return Keys(above.study, above.series, part, above.patient, above.modality, sop_class, frames)

    def _of_image(self, data: memoryview | bytes, start: int, limits: Limits) -> tuple[Part, str, int | None]:
        """As `extract_image`; only what the image before did not say is read."""
        places, before = self._image, self._last_image
        header = bytes(data[start : start + self.outline.length])
        values = [raw or header[begin:end] for _, _, begin, end, raw in places]
        if before is None:
            before = _Image([], {}, [""] * len(places))
        attributes, texts = before.attributes.copy(), before.texts.copy()
        for number, (value, old) in enumerate(zip_longest(values, before.values)):
            if value == old:
                continue
            tag, vr, *_ = places[number]
            name, model = _model((tag, vr, value), self._encoding, limits)
            if model is None:
                attributes.pop(name, None)
                texts[number] = ""
            else:
                attributes[name] = model
                texts[number] = member(name, model)
        self._last_image = _Image(values, attributes, texts)
        return extract_image(attributes, f"{{{','.join(filter(None, texts))}}}")


def _rest(
    data: memoryview | bytes, start: int, header_end: int, flags: frozenset[str], pixels: Element
) -> _Rest | None:
    """What is proved of the end of a data set with these `flags`; None where it takes a scan to find it."""
    end = pixels.offset + pixels.length
    if pixels.length < 0 or len(data) - end > _LONGEST_TAIL:
        return None
    return _Rest(len(data) - start, bytes(data[header_end : pixels.offset]), bytes(data[end:]), flags)


def _keys(data: memoryview | bytes, start: int, found: ScanResult, syntax: TransferSyntax, limits: Limits) -> Keys:
    image, upper, size, encoding = _raws(data, found, _IMAGE, syntax, limits)
    part, sop_class, frames = extract_image(_json(image, encoding, limits))
    if sop_class in NON_PATIENT_KEYS:
        # Rare and small; what is kept of them are other attributes, and the study that they lack is no mistake.
        wanted = NON_PATIENT_KEYS[sop_class]
        again = scan(
            data,
            little=syntax.little,
            explicit=syntax.explicit,
            start=start,
            wanted=wanted | {CHARACTER_SET},
            limits=limits,
        )
        own, _, _, encoding = _raws(data, again, wanted, syntax, limits)
        return extract_non_patient(_json(own, encoding, limits))
    remembered = _upper if size <= _REMEMBERED_BYTES else _upper.__wrapped__
    above = remembered(tuple(upper), encoding, limits)
    return Keys(above.study, above.series, part, above.patient, above.modality, sop_class, frames)


def _raws(
    data: memoryview | bytes, found: ScanResult, own: frozenset[int], syntax: TransferSyntax, limits: Limits
) -> tuple[list[Raw], list[Raw], int, Encoding]:
    """The kept elements, those of `own` and those above it; how many bytes the latter have, and how all are encoded."""
    image: list[Raw] = []
    upper: list[Raw] = []
    size = 0
    character_set = b""
    for tag, element in found.elements.items():
        if tag == CHARACTER_SET:
            character_set = bytes(data[element.offset : element.offset + min(max(element.length, 0), _LONGEST)])
            continue
        length = element.length
        if element.vr == "SQ":
            value = _sequence(data, element, syntax, limits)
        elif 0 <= length <= _LONGEST:
            value = bytes(data[element.offset : element.offset + length])
        else:
            continue
        if value is None:
            continue
        if tag in own:
            image.append((tag, element.vr, value))
        else:
            upper.append((tag, element.vr, value))
            size += len(value)
    return image, upper, size, (syntax.little, syntax.explicit, character_set)


@lru_cache(maxsize=_REMEMBERED)
def _upper(raws: tuple[Raw, ...], encoding: Encoding, limits: Limits) -> Upper:
    return extract_upper(_json(raws, encoding, limits))


def _json(raws: Sequence[Raw], encoding: Encoding, limits: Limits) -> dict[str, dict[str, Any]]:
    """Kept elements as DICOM JSON (PS3.18 Annex F), where text is UTF-8."""
    attributes: dict[str, dict[str, Any]] = {}
    for raw in raws:
        name, model = _model(raw, encoding, limits)
        if model is not None:
            attributes[name] = model
    return attributes


def _model(raw: Raw, encoding: Encoding, limits: Limits) -> tuple[str, dict[str, Any] | None]:
    """An attribute's name and model; no model for what only claims to be the attribute."""
    tag, vr, value = raw
    if vr == "SQ":
        name = f"{tag:08X}"
        return name, _sequence_json(name, value, encoding, limits)
    return _short(raw, encoding) if len(value) <= _SHORT else _element(raw, encoding)


def _element(raw: Raw, encoding: Encoding) -> tuple[str, dict[str, Any] | None]:
    """The same of what is no sequence."""
    tag, vr, value = raw
    name = f"{tag:08X}"
    if vr == "UN":
        vr = vr_of(tag)
    if vr in BINARY_VRS or vr == "SQ":
        return name, None
    little, _, character_set = encoding
    values = json_values(value, vr, little, texts(character_set, "CS")) if value else None
    return name, {"vr": vr, "Value": values} if values else {"vr": vr}


# Most elements of an image say what they said in the image before.
_short = lru_cache(maxsize=4096)(_element)


def _sequence(data: memoryview | bytes, element: Element, syntax: TransferSyntax, limits: Limits) -> bytes | None:
    """The bytes of a sequence with its header; None for one too long to keep."""
    end = element.offset + element.length
    if element.length < 0:
        walker = Walker(data, little=syntax.little, explicit=syntax.explicit, end=len(data), limits=limits)
        for _ in walker.sequence(element):
            if walker.pos - element.offset > _LONGEST_SEQUENCE:
                return None
        end = walker.pos
    if end - element.offset > _LONGEST_SEQUENCE:
        return None
    # PS3.5 section 7.1.2: the header of an SQ is 12 bytes with a VR and 8 without.
    return bytes(data[element.offset - (12 if syntax.explicit else 8) : end])


def _sequence_json(name: str, raw: bytes, encoding: Encoding, limits: Limits) -> dict[str, Any]:
    """A sequence is read as a data set of itself, behind the character set it inherits."""
    little, explicit, character_set = encoding
    order: Literal["little", "big"] = "little" if little else "big"
    group, element = (0x0008).to_bytes(2, order), (0x0005).to_bytes(2, order)
    length = len(character_set)
    size = b"CS" + length.to_bytes(2, order) if explicit else length.to_bytes(4, order)
    syntax = EXPLICIT_VR_LITTLE_ENDIAN if explicit else IMPLICIT_VR_LITTLE_ENDIAN
    model = dataset_json(
        group + element + size + character_set + raw, syntax if little else EXPLICIT_VR_BIG_ENDIAN, limits=limits
    )
    found: dict[str, Any] = model.get(name, {"vr": "SQ"})
    return found
