"""A DICOM JSON model as bytes (PS3.18 Annex F to PS3.5 section 7): identifiers, attribute lists, STOW metadata.

The model comes from our own index or from a client, so every value is checked against its VR and refused with its tag
path; nothing of a value stands in a message.
"""

from __future__ import annotations

import math
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct, pack
from struct import error as StructError
from typing import Any, Final

from isocenter.errors import DataSetError, LimitExceeded
from isocenter.std.dictionary import vr_of
from isocenter.wire.charset import encode as encode_text
from isocenter.wire.dicomjson import little_endian
from isocenter.wire.elements import BIG, ITEM, LITTLE, LONG_VRS, SHORT_VRS, path_of
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.values import BINARY_VRS, NUMBER_VRS, SINGLE_TEXT_VRS

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_DEFAULT_REPERTOIRE: Final = ((), ("",), ("ISO_IR 6",))
_LONGEST_SHORT: Final = 0xFFFE
_LONGEST_DS: Final = 16
_PLAIN: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"})  # text, short lengths
_QUICKEST: Final = 1024
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Bulk = Callable[[str], bytes]


def encode_dataset(
    attributes: Mapping[str, Any],
    *,
    little: bool = True,
    explicit: bool = True,
    charset: Sequence[str] = ("ISO_IR 192",),
    bulk: Bulk | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode a model in ascending order of tags, text in `charset`, sequences and items with defined lengths.

    Specific Character Set is written as `charset` says, whatever the model has, and not at all for the default
    repertoire. `bulk` gives the bytes of a BulkDataURI, in little endian words. Group lengths and tags below 0004,0000
    are passed over. Raises DataSetError with the tag path for a value that is not of its VR, a character that `charset`
    lacks, or bulk data without `bulk`; LimitExceeded for nesting deeper than limits.nesting.
    """
    encoder = Encoder(little=little, explicit=explicit, charset=charset, bulk=bulk, limits=limits)
    model = dict(attributes)
    model.pop("00080005", None)
    if encoder.charset not in _DEFAULT_REPERTOIRE:
        model["00080005"] = {"vr": "CS", "Value": list(encoder.charset)}
    return encoder.data_set(model, ())


class Encoder:
    """What `encode_dataset` works with; for many data sets of one kind, that are put together of single elements."""

    def __init__(
        self,
        *,
        little: bool = True,
        explicit: bool = True,
        charset: Sequence[str] = ("ISO_IR 192",),
        bulk: Bulk | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.encoding = LITTLE if little else BIG
        self.order = "<" if little else ">"
        self.explicit = explicit
        self.charset = tuple(charset)
        self.bulk = bulk
        self.limits = limits
        self._long = Struct(f"{self.order}HH2sHI")

    def specific_character_set(self) -> bytes:
        """The element that declares the character set, to come before all text; b"" for the default repertoire."""
        if self.charset in _DEFAULT_REPERTOIRE:
            return b""
        return self.element(_SPECIFIC_CHARACTER_SET, {"vr": "CS", "Value": list(self.charset)})

    def element(self, tag: int, entry: Mapping[str, Any]) -> bytes:
        """One element; errors as of `encode_dataset`, but "vr" has to be there and be one."""
        vr = entry["vr"]
        return self._element(tag, vr, self._value(vr, entry, (tag,)))

    def quick(self, tag: int, vr: str) -> Callable[[Mapping[str, Any]], bytes]:
        """`element` for one attribute of many data sets: the same bytes, sooner where there is one plain value."""
        code = vr.encode()
        number = NUMBER_VRS[vr][0] if vr in ("US", "SS", "UL", "SL") else ""
        if not number and vr not in _PLAIN:
            return lambda entry: self.element(tag, entry)
        head = pack(f"{self.order}HH", tag >> 16, tag & 0xFFFF) + (code if self.explicit else b"")
        length = Struct(f"{self.order}{'H' if self.explicit else 'I'}").pack
        binary = Struct(f"{self.order}{number}") if number else None
        pad = b"\0" if vr == "UI" else b" "
        counts = vr in ("IS", "DS")

        def quickly(entry: Mapping[str, Any]) -> bytes:
            values = entry.get("Value")
            if type(values) is not list or len(values) != 1 or entry["vr"] != vr:
                return self.element(tag, entry)
            value = values[0]
            if type(value) is int:
                if binary is not None:
                    try:
                        return head + length(binary.size) + binary.pack(value)
                    except StructError:
                        return self.element(tag, entry)
                if counts:
                    value = str(value)
            if type(value) is not str or not value.isascii() or len(value) > _QUICKEST:
                return self.element(tag, entry)
            raw = value.encode()
            if len(raw) & 1:
                raw += pad
            return head + length(len(raw)) + raw

        return quickly

    def data_set(self, model: Mapping[str, Any], path: tuple[int | str, ...]) -> bytes:
        parts = []
        for tag, entry in sorted((_tag(key, path), entry) for key, entry in model.items()):
            if tag < 0x00040000 or not tag & 0xFFFF or (path and tag == _SPECIFIC_CHARACTER_SET):
                continue
            here = (*path, tag)
            if not isinstance(entry, Mapping):
                raise _wrong("an attribute is no JSON object", here)
            vr = entry.get("vr") or vr_of(tag)
            if not isinstance(vr, str) or (vr.encode("ascii", "replace") not in (SHORT_VRS | LONG_VRS)):
                raise _wrong("no such VR", here)
            parts.append(self._element(tag, vr, self._value(vr, entry, here)))
        return b"".join(parts)

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        if len(value) & 1:
            value += b"\0" if vr == "UI" or vr in BINARY_VRS else b" "
        group, number = tag >> 16, tag & 0xFFFF
        if not self.explicit:
            return self.encoding.implicit.pack(group, number, len(value)) + value
        code = vr.encode()
        if code in SHORT_VRS and len(value) <= _LONGEST_SHORT:
            return self.encoding.explicit.pack(group, number, code, len(value)) + value
        if code in SHORT_VRS:
            code = b"UN"  # PS3.5 section 6.2.2, note 4: too long for the two bytes of its VR
        return self._long.pack(group, number, code, 0, len(value)) + value

    def _value(self, vr: str, entry: Mapping[str, Any], path: tuple[int | str, ...]) -> bytes:
        if vr == "SQ" and not entry.keys().isdisjoint(("BulkDataURI", "InlineBinary")):
            # PS3.18 section F.2.2: not for SQ; bytes put there unread would be a data set that nobody can walk
            raise _wrong("a sequence is given by its items, not as bytes", path)
        if "BulkDataURI" in entry:
            if self.bulk is None:
                raise _wrong("bulk data are not at hand", path)
            return self._words(self.bulk(str(entry["BulkDataURI"])), vr)
        if "InlineBinary" in entry:
            try:
                return self._words(b64decode(entry["InlineBinary"], validate=True), vr)
            except (Base64Error, TypeError, ValueError):
                raise _wrong("InlineBinary is not base64", path) from None
        values = entry.get("Value", [])
        if not isinstance(values, list):
            raise _wrong("Value is not an array", path)
        if vr == "SQ":
            return self._items(values, path)
        if not values:
            return b""
        try:
            if vr in NUMBER_VRS:
                code = NUMBER_VRS[vr][0]
                number = float if code in "fd" else _whole
                return pack(f"{self.order}{len(values)}{code}", *(number(value) for value in values))
            if vr == "AT":
                halves = [half for value in values for half in divmod(int(value, 16), 1 << 16)]
                return pack(f"{self.order}{len(halves)}H", *halves)
            if vr in BINARY_VRS:
                raise ValueError(vr)
            return self._text(vr, values)
        except (TypeError, ValueError, OverflowError, StructError):
            raise _wrong(f"a value that is none of VR {vr}", path) from None
        except DataSetError as error:
            raise _wrong(error.message, path) from None

    def _words(self, raw: bytes, vr: str) -> bytes:
        return little_endian(raw, vr, self.encoding.little)

    def _items(self, items: list[Any], path: tuple[int | str, ...]) -> bytes:
        if sum(1 for part in path if isinstance(part, int)) > self.limits.nesting:
            raise LimitExceeded(
                f"sequences nested deeper than {self.limits.nesting} (limits.nesting)", tag_path=path_of(path)
            )
        parts = []
        for number, item in enumerate(items):
            if item is not None and not isinstance(item, Mapping):
                raise _wrong("an item is no JSON object", path)
            content = self.data_set(item or {}, (*path, f"[{number}]"))
            parts.append(self.encoding.implicit.pack(ITEM >> 16, ITEM & 0xFFFF, len(content)) + content)
        return b"".join(parts)

    def _text(self, vr: str, values: list[Any]) -> bytes:
        form = _FORMS.get(vr, _string)
        texts = ["" if value is None else form(value) for value in values]
        if len(texts) > 1 and vr in SINGLE_TEXT_VRS:
            raise ValueError(vr)
        return encode_text("\\".join(texts), self.charset, vr)


def _wrong(what: str, path: Iterable[int | str]) -> DataSetError:
    return DataSetError(what, tag_path=path_of(path))


def _tag(key: str, path: tuple[int | str, ...]) -> int:
    try:
        if len(key) == 8:
            return int(key, 16)
    except (TypeError, ValueError):
        pass
    raise _wrong("a name that is no tag of eight hex digits", path)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value))
    return value


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError("not a whole number")
    return number


def _integer(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or int(value) != value:
        raise ValueError("IS")
    return str(int(value))


def _decimal(value: Any) -> str:
    """At most 16 characters (PS3.5 section 6.2), with as many digits as they hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("DS")
    text = repr(value)
    if len(text) <= _LONGEST_DS:
        return text
    for digits in range(_LONGEST_DS, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= _LONGEST_DS:
            return text
    raise ValueError("DS")


def _name(value: Any) -> str:
    """Component groups of PS3.18 F.2.2, or a name as one text."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(type(value))
    return "=".join(_string(value.get(group) or "") for group in _NAME_GROUPS).rstrip("=")


_FORMS: Final = {"DS": _decimal, "IS": _integer, "PN": _name}
