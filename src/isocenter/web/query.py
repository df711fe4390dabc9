"""Query parameters of a search (PS3.18 sections 8.3.4 and 10.6.1.2) made into a Query.

What is malformed is refused. What is well-formed but not supported is left out, as the standard has it, and named in
a warning, so that nobody takes a wider answer for a narrow one unknowingly. Searches for studies take two more, which
the standard does not have: `words` that are somewhere in what a list shows, and `orderby`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from isocenter.errors import BadRequest
from isocenter.index.keys import known_tags
from isocenter.index.listing import ORDERS, typed
from isocenter.model import Level, Match, Order, Query
from isocenter.settings import Settings
from isocenter.std.dictionary import entry_of, keyword_of, tag_of, vr_of
from isocenter.wire.criteria import LONGEST_VALUE, matches_of, nested, together

Path = tuple[int, ...]

MAX_PATH = 8
MAX_PARAMETERS = 256
MAX_WORDS = 32

_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9.]{1,256}")  # what may be repeated in a warning


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
    words: tuple[str, ...] = ()
    order: str = ""
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
_CHARSETS = ("utf-8", "utf8", "*")  # section 8.3.3.2: what the answer is in


def _sort_parameters(parameters: Iterable[tuple[str, str]]) -> _Parameters:
    result = _Parameters()
    seen: set[str | Path] = set()
    for number, (name, value) in enumerate(parameters):
        if number >= MAX_PARAMETERS or len(value) > LONGEST_VALUE:
            raise BadRequest("the query has too many parameters, or one that is too long")
        key: str | Path = name
        if name == "accept" or (name == "charset" and value.lower() in _CHARSETS):
            continue
        if name == "includefield":
            _include(result, value)
            continue
        if name == "words":
            result.words = typed(value)
            if len(result.words) > MAX_WORDS:
                raise BadRequest(f"over {MAX_WORDS} words")
        elif name == "orderby":
            result.order = value
        elif name in _FLAGS:
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


def parse_search(
    level: Level,
    parameters: Iterable[tuple[str, str]],
    settings: Settings,
    within: tuple[Match, ...] = (),
    sop_classes: tuple[str, ...] = (),
    known: Container[int] | None = None,
) -> Search:
    """A search at `level`, its `parameters` decoded from the URI, `within` what the path says.

    With `sop_classes` it is one for non-patient instances of these; all that is kept of them is returned, which
    includes what PS3.4 names for each kind. `known` are the attributes that can be searched for where that is not for
    the level to say. Raises BadRequest for what is malformed.
    """
    given = _sort_parameters(parameters)
    known = known_tags(level, sop_classes) if known is None else known
    ignored = list(given.unknown)
    matches: list[Match] = list(within)
    returned: set[int] = set()
    for path, value in given.attributes:
        if path[0] not in known:
            ignored.append(_named(path))
            continue
        wanted = matches_of(
            path[-1],
            value,
            separators="\\,",
            empty_values=given.empty_values,
            multiple_values=given.multiple_values,
        )
        returned.add(path[0])
        matches += [nested(path, match) for match in wanted]
    for path in given.include:
        if path[0] in known:
            returned.add(path[0])
        else:
            ignored.append(_named(path))
    order = _order(given.order, ignored)
    if level != Level.STUDY and (given.words or order):
        ignored += [name for name, value in (("words", given.words), ("orderby", order)) if value]
        given.words, order = (), ()
    limit = settings.web_default_limit if given.limit is None else given.limit
    limit = min(limit, settings.web_max_limit)
    everything = given.all_fields or bool(sop_classes)
    query = Query(
        level,
        together(matches),
        None if everything else tuple(sorted(returned)),
        limit,
        given.offset,
        given.fuzzy,
        sop_classes=sop_classes,
        words=given.words,
        order=order,
    )
    return Search(query, limit, frozenset(returned), everything, _warnings(ignored))


def _order(text: str, ignored: list[str]) -> tuple[Order, ...]:
    """Attributes with commas between them, those with a minus descending, as other archives take them."""
    order = []
    for word in filter(None, text.split(",")):
        path = parse_attribute(word.lstrip("+-"))
        if path is not None and len(path) == 1 and path[0] in ORDERS:
            order.append(Order(path[0], word.startswith("-")))
        else:
            ignored.append(word.lstrip("+-"))
    return tuple(order)


def _named(path: Path) -> str:
    return ".".join(keyword_of(tag) or f"{tag:08X}" for tag in path)


def _warnings(ignored: list[str]) -> tuple[str, ...]:
    if not ignored:
        return ()
    names = sorted({name if _NAME.fullmatch(name) else "(unprintable)" for name in ignored})
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (f"These parameters or attributes are not supported and were ignored: {', '.join(names[:20])}{more}",)
