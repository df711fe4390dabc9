"""The text of a key attribute made into a Match: one reading for C-FIND identifiers and QIDO-RS parameters.

PS3.4 C.2.2.2 has the kinds of matching, and which value representations each is for. Universal matching has no Match:
`match_of` gives None, `matches_of` nothing. What is malformed raises BadRequest with the attribute's tag, never with
its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from isocenter.errors import BadRequest
from isocenter.model import UNIQUE_KEY, Empty, Equal, InSequence, Match, Range, Wildcard
from isocenter.names import is_uid
from isocenter.std.dictionary import entry_of, vr_of
from isocenter.wire.elements import path_of
from isocenter.wire.values import BINARY_VRS

# A list of studies, series or instances may be long (a viewer asks for a whole worklist); they are looked up. Each
# other value costs a comparison a row. Together they stay below what SQLite takes in one statement.
MOST_UIDS: Final = 5000
MOST_VALUES: Final = 100
LONGEST_VALUE: Final = 4096

_UNIQUE = frozenset(UNIQUE_KEY.values())
_WILD = re.compile(r"[*?]")
_NO_WILDCARDS = frozenset(["DA", "TM", "DT", "UI", "IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"])
_NUMBERS = frozenset(["IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"])
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_ONE_TEXT = frozenset(["ST", "LT", "UT", "UR"])
_MULTIPLE = frozenset(["AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"])  # C.2.2.2.8

_DA = r"\d{8}"
_TM = r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?"
# A hyphen and four digits up to 1400 after a date-time are its offset from UTC, not the year a range ends with
# (PS3.5 section 6.2, VR DT).
_DT = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?(?:[+-](?:0\d[0-5]\d|1[0-3][0-5]\d|1400))?"
_RANGES = {
    vr: (re.compile(form, re.ASCII), re.compile(f"(?P<low>{form})?[ ]*-[ ]*(?P<high>{form})?", re.ASCII))
    for vr, form in (("DA", _DA), ("TM", _TM), ("DT", _DT))
}


def matches_of(
    tag: int, value: str, *, separators: str = "\\", empty_values: bool = False, multiple_values: bool = False
) -> tuple[Match, ...]:
    """What one attribute has to fulfil, all of it; nothing for universal matching.

    With `multiple_values` (C.2.2.2.8) an attribute that may have several values must have each of those that are asked
    for: CT\\PT finds studies with both modalities. Without, the standard leaves several values undefined, and any of
    them will do here.
    """
    match = match_of(tag, value, separators=separators, empty_values=empty_values)
    if match is None:
        return ()
    entry = entry_of(tag)
    if multiple_values and isinstance(match, Equal) and entry is not None and entry.vm != "1" and entry.vr in _MULTIPLE:
        return tuple(Equal(tag, (one,)) for one in match.values)
    return (match,)


def match_of(tag: int, value: str, *, separators: str = "\\", empty_values: bool = False) -> Match | None:
    """One attribute's match; None for universal matching (PS3.4 C.2.2.2.3).

    `separators` are the characters between the UIDs of a list and between Code Strings. With `empty_values`, two
    quotation marks ask for the empty value (C.2.2.2.7).
    """
    vr = vr_of(tag)
    if vr == "SQ":
        if value:
            raise BadRequest("a sequence is matched by the attributes in it", tag_path=path_of((tag,)))
        return None
    if value.strip("*") == "":
        return None
    if vr in BINARY_VRS:
        raise BadRequest("this attribute cannot be matched", tag_path=path_of((tag,)))
    if value == '""' and empty_values:
        return Empty(tag)
    if vr in _RANGES:
        return _range_match(tag, vr, value)
    values = _values(tag, vr, value, separators)
    if vr in _NUMBERS and not all(_NUMBER.fullmatch(v.strip(" ")) for v in values):
        raise BadRequest("not a number", tag_path=path_of((tag,)))
    if vr not in _NO_WILDCARDS and _WILD.search(value):
        if len(values) > 1:
            raise BadRequest("a list of values with wildcards", tag_path=path_of((tag,)))
        return Wildcard(tag, values[0])
    return Equal(tag, tuple(values))


def _values(tag: int, vr: str, value: str, separators: str) -> list[str]:
    if vr == "UI":
        values = [uid.strip(" ") for uid in _split(value, separators)]
        most = MOST_UIDS if tag in _UNIQUE else MOST_VALUES
        if len(values) > most:
            raise BadRequest(f"a list of over {most} UIDs", tag_path=path_of((tag,)))
        if not all(map(is_uid, values)):
            raise BadRequest("not a UID or list of UIDs", tag_path=path_of((tag,)))
        return values
    if len(value) > LONGEST_VALUE:
        raise BadRequest(f"a value of over {LONGEST_VALUE} characters", tag_path=path_of((tag,)))
    # No backslash and, in CS, no comma can be part of a value, so they need no leave to separate values.
    if vr == "CS":
        values = _split(value, separators)
    else:
        values = [value] if vr in _ONE_TEXT else value.split("\\")
    if len(values) > MOST_VALUES:
        raise BadRequest(f"a list of over {MOST_VALUES} values", tag_path=path_of((tag,)))
    return values


def _split(value: str, separators: str) -> list[str]:
    for separator in separators[1:]:
        value = value.replace(separator, separators[0])
    return value.split(separators[0])


def _range_match(tag: int, vr: str, value: str) -> Match:
    single, double = _RANGES[vr]
    values = value.split("\\")
    if len(values) <= MOST_VALUES and all(single.fullmatch(v) for v in values):
        return Equal(tag, tuple(values))
    both = double.fullmatch(value)
    if both is None or not (both["low"] or both["high"]):
        raise BadRequest(f"not a {vr} value or range of them", tag_path=path_of((tag,)))
    return Range(tag, both["low"], both["high"])


def is_date_time(text: str) -> bool:
    """Whether a text is one value of a DT."""
    return _RANGES["DT"][0].fullmatch(text) is not None


def nested(path: tuple[int, ...], match: Match) -> Match:
    """A match of the attribute that `path` ends with, inside the sequences that it leads through."""
    for tag in reversed(path[:-1]):
        match = InSequence(tag, (match,))
    return match


def together(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Matches of one sequence joined, since one item has to fulfil them all (PS3.4 C.2.2.2.6)."""
    result: list[Match] = []
    sequences: dict[int, list[Match]] = {}
    for match in matches:
        if isinstance(match, InSequence):
            sequences.setdefault(match.tag, []).extend(match.matches)
        else:
            result.append(match)
    result.extend(InSequence(tag, together(inner)) for tag, inner in sequences.items())
    return tuple(result)
