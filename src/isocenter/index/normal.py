"""One form of each value for comparing, by value representation (PS3.5 section 6.2, PS3.4 C.2.2.2).

The index keeps these forms in its columns and `matching` compares them, so that both have one opinion about what is
insignificant: outer spaces, leading zeros of integer strings, missing digits of times, case and empty components of
person names. Values come as DICOM JSON has them (PS3.18 Annex F) or as text of a query; both give the same form.
A value that breaks its VR's rules keeps its text, so that it is still found by what it says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from isocenter.errors import BadRequest
from isocenter.std.dictionary import entry_of

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

_LEGACY_DATE = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATE_TIME = re.compile(
    r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?",
    re.ASCII,
)
_PARTIAL_DATE = re.compile(r"\d{4}(\d\d)?(\d\d)?", re.ASCII)


@lru_cache(maxsize=4096)
def vr_of_key(tag: int) -> str | None:
    """The VR the standard gives the attribute; None for private and unknown ones."""
    entry = entry_of(tag)
    return None if entry is None else entry.vr[:2]


@lru_cache(maxsize=4096)
def is_single(tag: int) -> bool:
    """Whether the standard gives the attribute one value: then a backslash in it is part of the value."""
    entry = entry_of(tag)
    return entry is not None and entry.vm == "1"


def text_of(value: Any) -> str:
    """A DICOM JSON value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in GROUPS).rstrip("=")
    return str(value)


def normal(vr: str | None, value: Any) -> str:
    """The comparing form of one value that is not a person name; "" for one without content."""
    text = text_of(value).replace("\0", "").strip(" ")
    if not text:
        return ""
    if vr == "TM":
        return time(text)
    if vr == "DA":
        legacy = _LEGACY_DATE.fullmatch(text)
        return "".join(legacy.groups()) if legacy else text
    if vr == "DT":
        return date_time(text)
    if vr in _INTEGERS:
        try:
            return str(int(text))
        except ValueError:
            return text
    if vr in _REALS:
        try:
            return repr(float(text))
        except ValueError:
            return text
    return text


_INTEGERS = frozenset({"IS", "US", "SS", "UL", "SL", "UV", "SV"})
_REALS = frozenset({"DS", "FL", "FD"})


def time(text: str) -> str:
    """HHMMSS.FFFFFF, missing digits as zeros."""
    found = _TIME.fullmatch(text)
    if not found:
        return text
    hour, minute, second, fraction = found.groups("")
    return f"{hour}{minute or '00'}{second or '00'}.{fraction:0<6}"


def date_time(text: str) -> str:
    """YYYYMMDDHHMMSS.FFFFFF, missing digits as their least value, in UTC where the offset is given."""
    found = _DATE_TIME.fullmatch(text)
    if not found:
        return text
    return _date_time(found, ("01", "01", "00", "00", "00"), "0")


def _date_time(found: re.Match[str], missing: tuple[str, ...], digit: str) -> str:
    parts = [found[1]] + [found[n + 2] or missing[n] for n in range(5)]
    fraction = (found[7] or "").ljust(6, digit if not found[7] else "0")
    text = "".join(parts)
    if found[8]:
        try:
            at = datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007
            shift = timedelta(hours=int(found[8][1:3]), minutes=int(found[8][3:]))
            at = at - shift if found[8][0] == "+" else at + shift
            text = f"{at:%Y%m%d%H%M%S}".rjust(14, "0")
        except (ValueError, OverflowError):
            pass
    return f"{text}.{fraction}"


def bounds(vr: str | None, low: str | None, high: str | None) -> tuple[str | None, str | None]:
    """The comparing forms of an inclusive range; a less precise upper end reaches to the end of what it names.

    BadRequest where the VR has no ranges or an end is not of its form (PS3.4 C.2.2.2.5).
    """
    low = low.strip(" ") if low else None
    high = high.strip(" ") if high else None
    if vr == "DA":
        return _end(low, _date_end, "0101"), _end(high, _date_end, "1231")
    if vr == "TM":
        return _end(low, _time_end, "0000000000"), _end(high, _time_end, "5959999999")
    if vr == "DT":
        return _end(low, _date_time_end, "0"), _end(high, _date_time_end, "9")
    raise BadRequest("range matching is for dates and times only")


def _end(text: str | None, form: Any, fill: str) -> str | None:
    return None if not text else str(form(text, fill))


def _date_end(text: str, fill: str) -> str:
    text = normal("DA", text)
    if not _PARTIAL_DATE.fullmatch(text):
        raise BadRequest("not a date")
    return text + fill[len(text) - 4 :]


def _time_end(text: str, fill: str) -> str:
    found = _TIME.fullmatch(text)
    if not found:
        raise BadRequest("not a time")
    hour, minute, second, fraction = found.groups("")
    tail = fraction.ljust(6, "0") if fraction else fill[4:10]
    return f"{hour}{minute or fill[0:2]}{second or fill[2:4]}.{tail}"


def _date_time_end(text: str, fill: str) -> str:
    found = _DATE_TIME.fullmatch(text)
    if not found:
        raise BadRequest("not a date and time")
    if fill == "0":
        return _date_time(found, ("01", "01", "00", "00", "00"), "0")
    return _date_time(found, ("12", "31", "23", "59", "59"), "9")


# --- person names (PS3.5 section 6.2.1) ------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Without regard to case, and to how an accented letter is composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def name_groups(value: Any) -> tuple[str, str, str]:
    """The component groups of a person name, folded, without spaces around and without empty trailing components."""
    if isinstance(value, Mapping):
        groups = [str(value.get(group, "")) for group in GROUPS]
    else:
        groups = [*str(value).split("="), "", ""][:3]
    first, second, third = (_name_group(group) for group in groups)
    return first, second, third


def _name_group(text: str) -> str:
    if not text:
        return ""
    return "^".join(part.strip(" ") for part in fold(text).replace("\0", "").split("^")).rstrip("^")


_WORD_END = re.compile(r"[\s^=,.\-]+")


def words(values: Iterable[str]) -> tuple[str, ...]:
    """The words of a name for fuzzy matching: folded, and without accents."""
    plain = unicodedata.normalize("NFD", fold(" ".join(values)))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    # Hangul syllables and the like must not stay taken apart.
    return tuple(word for word in _WORD_END.split(unicodedata.normalize("NFC", plain)) if word)
