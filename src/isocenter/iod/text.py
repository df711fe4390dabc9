"""Text in data sets: what an argument may contain (PS3.5 section 6.2), and the character set that can hold it.

PS3.3 C.12.1.1.2: nothing for ASCII, ISO_IR 100 for Latin-1, ISO_IR 192 (UTF-8) for everything else. ISO 2022 escape
sequences are never written: every reader of them reads UTF-8 too, and many read only UTF-8.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from isocenter.errors import UsageError

_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_MOST = {"LO": 64, "SH": 16, "ST": 1024, "CS": 16}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_PARAGRAPHS = re.compile(r"[\x00-\x09\x0b\x0e-\x1f\x7f]")  # LF, FF and CR are allowed there


def checked(argument: str, value: str, vr: str) -> str:
    """`value` without outer spaces, or UsageError naming the argument (never quoting the value: it may be a name)."""
    if not isinstance(value, str):
        raise UsageError(f"{argument}: text is needed, not {type(value).__name__}")
    value = value.strip(" ")
    if vr == "PN":
        return _checked_name(argument, value)
    paragraphs = vr in ("ST", "LT", "UT")
    if (_CONTROL_IN_PARAGRAPHS if paragraphs else _CONTROL).search(value):
        raise UsageError(f"{argument}: contains a control character; remove it")
    if not paragraphs and "\\" in value:
        raise UsageError(f"{argument}: contains a backslash, which separates values in DICOM; remove it")
    if len(value) > _MOST[vr]:
        raise UsageError(f"{argument}: has {len(value)} characters; at most {_MOST[vr]} fit")
    if vr == "CS" and not re.fullmatch(r"[A-Z0-9 _]*", value):
        raise UsageError(f"{argument}: only capital letters, digits, space and underscore are allowed")
    return value


def _checked_name(argument: str, value: str) -> str:
    # PS3.5 section 6.2.1: up to three groups (alphabetic=ideographic=phonetic), each up to five components
    if _CONTROL.search(value) or "\\" in value:
        raise UsageError(f"{argument}: contains a backslash or control character; remove it")
    groups = value.split("=")
    if len(groups) > 3:
        raise UsageError(f"{argument}: has {len(groups)} groups separated by '='; at most 3 are allowed")
    for group in groups:
        if len(group) > 64:
            raise UsageError(f"{argument}: a group has {len(group)} characters; at most 64 fit")
        if group.count("^") > 4:
            raise UsageError(
                f"{argument}: has more than 5 components separated by '^' (family^given^middle^prefix^suffix)"
            )
    return value


def date(argument: str, value: str | datetime.date | None) -> str:
    """A DA value: from a date, or from text as YYYYMMDD or YYYY-MM-DD. "" and None give ""."""
    if value is None or value == "":
        return ""
    if isinstance(value, datetime.date):
        return value.strftime("%Y%m%d") if value.year >= 1000 else f"{value.year:04}{value.month:02}{value.day:02}"
    try:
        return datetime.datetime.strptime(value.replace("-", ""), "%Y%m%d").strftime("%Y%m%d")  # noqa: DTZ007
    except (ValueError, AttributeError):
        raise UsageError(f"{argument}: a date is needed, as 20240131 or datetime.date(2024, 1, 31)") from None


def time(argument: str, value: str | datetime.time | None) -> str:
    """A TM value: from a time, or from text as HHMMSS, HHMM or HH:MM:SS. "" and None give ""."""
    if value is None or value == "":
        return ""
    if isinstance(value, datetime.time):
        return value.strftime("%H%M%S.%f" if value.microsecond else "%H%M%S")
    digits = value.replace(":", "") if isinstance(value, str) else ""
    if not re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", digits, re.ASCII):
        raise UsageError(f"{argument}: a time is needed, as 235959 or datetime.time(23, 59, 59)")
    return digits


def _elements(ds: Dataset) -> Iterator[DataElement]:
    waiting = [ds]
    while waiting:
        for element in waiting.pop():
            if element.VR == "SQ":
                waiting.extend(element.value or ())
            elif element.VR in _TEXT_VRS and not element.is_empty:
                yield element


def choose_character_set(ds: Dataset) -> None:
    """Set or remove Specific Character Set so that it can hold every text of `ds`, nested ones included."""
    needed = ""
    for element in _elements(ds):
        values = element.value if element.VM > 1 else [element.value]
        if element.VR == "PN":
            # A name read from elsewhere remembers its old bytes; only its characters may go on.
            fresh = [PersonName(str(name)) for name in values]
            element.value = fresh if len(fresh) > 1 else fresh[0]
        for value in values:
            text = str(value)
            if not text.isascii():
                needed = max(needed, "ISO_IR 100" if _is_latin_1(text) else "ISO_IR 192")
    if needed:
        ds.SpecificCharacterSet = needed
    elif "SpecificCharacterSet" in ds:
        del ds.SpecificCharacterSet


def _is_latin_1(text: str) -> bool:
    # 0x80 to 0x9F are C1 controls in ISO 8859-1, not characters
    return all(ord(c) < 0x80 or 0xA0 <= ord(c) <= 0xFF for c in text)
