"""Raw value bytes to Python values, one rule per VR (PS3.5 sections 6.2 and 6.4), and their forms in DICOM JSON.

Nothing here raises because of a value: what is not of the VR's form stays text, and a flag ("invalid-value") says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from isocenter.wire.charset import decode

# VRs whose values are bytes and stay so
BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# Text in which a backslash is a character like any other (PS3.5 section 6.4)
SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})
# struct code and width of the numbers
NUMBER_VRS: Final = {
    "FD": ("d", 8),
    "FL": ("f", 4),
    "SL": ("i", 4),
    "SS": ("h", 2),
    "SV": ("q", 8),
    "UL": ("I", 4),
    "US": ("H", 2),
    "UV": ("Q", 8),
}
# Width of the words of binary VRs, for the byte order
WORD_WIDTH: Final = {"OB": 1, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "UN": 1}

_DS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_IS = re.compile(r"[+-]?\d+", re.ASCII)


# Bounded: the lengths of received values choose the structs.
@lru_cache(maxsize=256)
def _numbers(code: str, count: int, little: bool) -> Struct:
    return Struct(f"{'<' if little else '>'}{count}{code}")


def numbers(raw: bytes, vr: str, little: bool, flags: set[str] | None = None) -> list[int | float]:
    """The values of a numeric VR; surplus bytes at the end are dropped with a flag."""
    code, width = NUMBER_VRS[vr]
    count, surplus = divmod(len(raw), width)
    if surplus and flags is not None:
        flags.add("invalid-value")
    return list(_numbers(code, count, little).unpack_from(raw))


def tags(raw: bytes, little: bool, flags: set[str] | None = None) -> list[int]:
    """The values of VR AT, as 0xGGGGEEEE."""
    count, surplus = divmod(len(raw), 4)
    if surplus and flags is not None:
        flags.add("invalid-value")
    halves = _numbers("H", count * 2, little).unpack_from(raw)
    return [halves[i] << 16 | halves[i + 1] for i in range(0, len(halves), 2)]


def integer(text: str) -> int | str | None:
    """An IS value: None if empty, the text itself if it is no integer of at most 64 bits."""
    if not text:
        return None
    if len(text) < 24 and _IS.fullmatch(text):
        number = int(text)
        if -(1 << 63) <= number < 1 << 63:
            return number
    return text


def decimal(text: str) -> int | float | str | None:
    """A DS value: None if empty, the text itself if it is no finite decimal. Digits alone are an int."""
    if not text:
        return None
    if text.isdigit() and text.isascii() and len(text) < 16:
        return int(text)
    if _DS.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    return text


def split(text: str, vr: str) -> list[str]:
    """The single values of a text, without the padding that has no meaning for the VR."""
    if vr in SINGLE_TEXT_VRS:
        return [text.rstrip(" \0")]
    if "\\" not in text:
        return [text.strip(" \0") if vr not in ("UC", "PN") else text.rstrip(" \0")]
    if vr in ("UC", "PN"):
        return [value.rstrip(" \0") for value in text.split("\\")]
    return [value.strip(" \0") for value in text.split("\\")]


def texts(raw: bytes, vr: str, charset: Sequence[str] = (), flags: set[str] | None = None) -> list[str]:
    """The values of a text VR (all that are neither numbers nor binary); [] if the value field is empty."""
    if not raw:
        return []
    if raw.isascii() and b"\x1b" not in raw:
        return split(raw.decode(), vr)
    return split(decode(raw, charset, vr, flags), vr)


_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def person_name(text: str) -> dict[str, str] | None:
    """A PN value's component groups by their DICOM JSON names (PS3.18 F.2.2); None if all are empty."""
    if "=" not in text:
        return {"Alphabetic": text} if text else None
    groups = {name: group.rstrip(" ") for name, group in zip(_NAME_GROUPS, text.split("="), strict=False)}
    return {name: group for name, group in groups.items() if group} or None


# --- DICOM JSON ----------------------------------------------------------------------------------------------------

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
_SAFE_INTEGER: Final = (1 << 53) - 1


def _json_float(number: int | float) -> int | float | str:
    """JSON has no word for NaN and infinities; the strings are what JavaScript and Python parse as numbers."""
    if isinstance(number, float) and not math.isfinite(number):
        return _NOT_FINITE.get(number, "NaN")
    return number


def _json_long(number: int | float) -> int | float | str:
    """SV and UV beyond what a JavaScript number holds exactly become strings (PS3.18 F.2.3, note)."""
    return number if -_SAFE_INTEGER <= number <= _SAFE_INTEGER else str(number)


_Convert = Callable[[bytes, str, bool, Sequence[str], set[str] | None], list[Any]]


def _json_numbers(raw: bytes, vr: str, little: bool, _charset: Sequence[str], flags: set[str] | None) -> list[Any]:
    if vr in ("FD", "FL"):
        return [_json_float(number) for number in numbers(raw, vr, little, flags)]
    if vr in ("SV", "UV"):
        return [_json_long(number) for number in numbers(raw, vr, little, flags)]
    return numbers(raw, vr, little, flags)


def _json_tags(raw: bytes, _vr: str, little: bool, _charset: Sequence[str], flags: set[str] | None) -> list[Any]:
    return [f"{tag:08X}" for tag in tags(raw, little, flags)]


def _json_texts(raw: bytes, vr: str, _little: bool, charset: Sequence[str], flags: set[str] | None) -> list[Any]:
    values: list[Any] = [value or None for value in texts(raw, vr, charset, flags)]
    return [] if values == [None] else values


def _json_names(raw: bytes, vr: str, _little: bool, charset: Sequence[str], flags: set[str] | None) -> list[Any]:
    values = [person_name(value) for value in texts(raw, vr, charset, flags)]
    return [] if values == [None] else values


def _json_decimals(raw: bytes, vr: str, _little: bool, charset: Sequence[str], flags: set[str] | None) -> list[Any]:
    convert = decimal if vr == "DS" else integer
    values: list[Any] = [convert(value) for value in texts(raw, vr, charset, flags)]
    if flags is not None and any(type(value) is str for value in values):
        flags.add("invalid-value")
    return [] if values == [None] else values


_JSON: dict[str, _Convert] = {
    **dict.fromkeys(NUMBER_VRS, _json_numbers),
    "AT": _json_tags,
    "DS": _json_decimals,
    "IS": _json_decimals,
    "PN": _json_names,
}


def json_values(raw: bytes, vr: str, little: bool, charset: Sequence[str], flags: set[str] | None = None) -> list[Any]:
    """The "Value" array of a VR that is neither binary nor SQ (PS3.18 F.2.3 to F.2.5); [] if there is no value."""
    return _JSON.get(vr, _json_texts)(raw, vr, little, charset, flags)
