"""Query parameters of a search (PS3.18 sections 8.3.4 and 10.6.1.2) made into a Query.

What is malformed is refused. What is well-formed but not supported is left out, as the standard has it, and named in
a warning, so that nobody takes a wider answer for a narrow one unknowingly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from isocenter.errors import BadRequest
from isocenter.index.keys import known_tags
from isocenter.model import Empty, Equal, InSequence, Level, Match, Query, Range, Wildcard, is_uid
from isocenter.settings import Settings
from isocenter.std.dictionary import entry_of, tag_of, vr_of

Path = tuple[int, ...]

MAX_PATH = 8
MAX_VALUE = 4096
MAX_PARAMETERS = 256

_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9.]{1,256}")  # what may be repeated in a warning
_WILD = re.compile(r"[*?]")
_NO_WILDCARDS = frozenset(["DA", "TM", "DT", "UI", "IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"])
_NUMBERS = frozenset(["IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"])
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_BULK = frozenset(["OB", "OW", "OF", "OD", "OL", "OV", "UN"])

_DA = r"\d{8}"
_TM = r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?"
# A hyphen and four digits up to 1400 after a date-time are its offset from UTC, not the year a range ends with
# (PS3.5 section 6.2, VR DT).
_DT = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?(?:[+-](?:0\d[0-5]\d|1[0-3][0-5]\d|1400))?"
_RANGES = {
    vr: (re.compile(form), re.compile(f"(?P<low>{form})?[ ]*-[ ]*(?P<high>{form})?"))
    for vr, form in (("DA", _DA), ("TM", _TM), ("DT", _DT))
}


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed search. `returned` are the tags of matches and includefield; `all_fields`: includefield=all."""

    query: Query
    limit: int
    returned: frozenset[int] = frozenset()
    all_fields: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Parameters:
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    empty_values: bool = False
    multiple_values: bool = False
    all_fields: bool = False
    include: list[Path] = field(default_factory=list)
    attributes: list[tuple[Path, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def parse_attribute(text: str) -> Path | None:
    """Tags of a keyword, of eight hex digits, or of several joined by dots; None if one of them is not known.

    Raises BadRequest for a path that leads through something that is no sequence, or too deep.
    """
    words = text.split(".")
    if len(words) > MAX_PATH:
        raise BadRequest(f"an attribute path has over {MAX_PATH} steps")
    path: list[int] = []
    for word in words:
        tag = int(word, 16) if _HEX.fullmatch(word) else tag_of(word)
        if tag is None:
            return None
        path.append(tag)
    for step, tag in enumerate(path[:-1]):
        if entry_of(tag) is not None and vr_of(tag) != "SQ":
            raise BadRequest(f"{words[step]} is not a sequence")
    return tuple(path)


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadRequest(f"{name} is true or false")
    return value == "true"


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII):
        raise BadRequest(f"{name} is a whole number, zero or more")
    return int(value)


_FLAGS = {"fuzzymatching": "fuzzy", "emptyvaluematching": "empty_values", "multiplevaluematching": "multiple_values"}
_COUNTS = ("limit", "offset")


def _sort_parameters(parameters: Iterable[tuple[str, str]]) -> _Parameters:
    result = _Parameters()
    seen: set[str | Path] = set()
    for number, (name, value) in enumerate(parameters):
        if number >= MAX_PARAMETERS or len(value) > MAX_VALUE:
            raise BadRequest("the query has too many parameters, or one that is too long")
        key: str | Path = name
        if name == "accept":
            continue
        if name == "includefield":
            _include(result, value)
            continue
        if name in _FLAGS:
            setattr(result, _FLAGS[name], _flag(name, value))
        elif name in _COUNTS:
            setattr(result, name, _count(name, value))
        else:
            path = parse_attribute(name)
            if path is None:
                result.unknown.append(name)
                continue
            key = path
            result.attributes.append((path, value))
        if key in seen:
            raise BadRequest("a query parameter is given twice")
        seen.add(key)
    return result


def _include(result: _Parameters, value: str) -> None:
    for word in filter(None, value.split(",")):
        if word == "all":
            result.all_fields = True
            continue
        path = parse_attribute(word)
        if path is None:
            result.unknown.append(word)
        else:
            result.include.append(path)


def _values(tag: int, vr: str, value: str, multiple: bool) -> list[str]:
    if vr == "UI":
        values = [uid.strip(" ") for uid in re.split(r"[,\\]", value)]
        if not all(map(is_uid, values)):
            raise BadRequest("not a UID or list of UIDs", tag_path=_name(tag))
        return values
    # No backslash and, in CS, no comma can be part of a value, so they need no leave to separate values.
    if vr == "CS" or multiple:
        return re.split(r"[,\\]", value) if vr == "CS" else value.split("\\")
    return value.split("\\") if vr not in ("ST", "LT", "UT", "UR") else [value]


def _match(tag: int, value: str, options: _Parameters) -> Match | None:
    """One attribute's match; None for universal matching (PS3.4 C.2.2.2.3)."""
    vr = vr_of(tag)
    if vr == "SQ":
        if value:
            raise BadRequest("a sequence is matched by the attributes in it", tag_path=_name(tag))
        return None
    if vr in _BULK:
        raise BadRequest("this attribute cannot be matched", tag_path=_name(tag))
    if value.strip("*") == "":
        return None
    if value == '""' and options.empty_values:
        return Empty(tag)
    if vr in _RANGES:
        return _range_match(tag, vr, value)
    values = _values(tag, vr, value, options.multiple_values)
    if vr in _NUMBERS and not all(_NUMBER.fullmatch(v.strip(" ")) for v in values):
        raise BadRequest("not a number", tag_path=_name(tag))
    if vr not in _NO_WILDCARDS and _WILD.search(value):
        if len(values) > 1:
            raise BadRequest("a list of values with wildcards", tag_path=_name(tag))
        return Wildcard(tag, values[0])
    return Equal(tag, tuple(values))


def _range_match(tag: int, vr: str, value: str) -> Match:
    single, double = _RANGES[vr]
    values = value.split("\\")
    if all(single.fullmatch(v) for v in values):
        return Equal(tag, tuple(values))
    both = double.fullmatch(value)
    if both is None or not (both["low"] or both["high"]):
        raise BadRequest(f"not a {vr} value or range of them", tag_path=_name(tag))
    return Range(tag, both["low"], both["high"])


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _nested(path: Path, match: Match) -> Match:
    for tag in reversed(path[:-1]):
        match = InSequence(tag, (match,))
    return match


def _together(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Matches of one sequence joined, since one item has to fulfil them all (PS3.4 C.2.2.2.6)."""
    result: list[Match] = []
    sequences: dict[int, list[Match]] = {}
    for match in matches:
        if isinstance(match, InSequence):
            sequences.setdefault(match.tag, []).extend(match.matches)
        else:
            result.append(match)
    result.extend(InSequence(tag, _together(inner)) for tag, inner in sequences.items())
    return tuple(result)


def parse_search(
    level: Level,
    parameters: Iterable[tuple[str, str]],
    settings: Settings,
    within: tuple[Match, ...] = (),
) -> Search:
    """A search at `level`, its `parameters` decoded from the URI, `within` what the path says.

    Raises BadRequest for what is malformed.
    """
    given = _sort_parameters(parameters)
    known = known_tags(level)
    ignored = list(given.unknown)
    matches: list[Match] = list(within)
    returned: set[int] = set()
    for path, value in given.attributes:
        if path[0] not in known:
            ignored.append(".".join(f"{tag:08X}" for tag in path))
            continue
        match = _match(path[-1], value, given)
        returned.add(path[0])
        if match is not None:
            matches.append(_nested(path, match))
    for path in given.include:
        if path[0] in known:
            returned.add(path[0])
        else:
            ignored.append(".".join(f"{tag:08X}" for tag in path))
    limit = settings.web_default_limit if given.limit is None else given.limit
    limit = min(limit, settings.web_max_limit)
    query = Query(
        level,
        _together(matches),
        None if given.all_fields else tuple(sorted(returned)),
        limit,
        given.offset,
        given.fuzzy,
    )
    return Search(query, limit, frozenset(returned), given.all_fields, _warnings(ignored))


def _warnings(ignored: list[str]) -> tuple[str, ...]:
    if not ignored:
        return ()
    names = sorted({name if _NAME.fullmatch(name) else "(unprintable)" for name in ignored})
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (f"These parameters or attributes are not supported and were ignored: {', '.join(names[:20])}{more}",)
