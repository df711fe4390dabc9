"""The Identifier of a C-FIND request as a Query, and the answers as Identifiers (PS3.4 C.4.1).

What comes in is read in the request's Specific Character Set; an answer is written in the same one, or in UTF-8 when
that set lacks a character of the answer, since a name with question marks in it is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from isocenter.errors import BadRequest, DataSetError
from isocenter.model import (
    TIME_OF,
    UNIQUE_KEY,
    DateTimeRange,
    Equal,
    Found,
    InSequence,
    Level,
    Match,
    Query,
    Range,
    zone_minutes,
)
from isocenter.std.dictionary import vr_of
from isocenter.std.transfer_syntaxes import TransferSyntax, transfer_syntax
from isocenter.wire.charset import repertoire
from isocenter.wire.criteria import matches_of
from isocenter.wire.deflate import deflate, inflate
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.elements import path_of
from isocenter.wire.encode import Encoder
from isocenter.wire.limits import Limits
from isocenter.wire.scan import scan
from isocenter.wire.values import texts

SPECIFIC_CHARACTER_SET: Final = 0x00080005
QUERY_RETRIEVE_LEVEL: Final = 0x00080052
QUERY_RETRIEVE_VIEW: Final = 0x00080053
RETRIEVE_AE_TITLE: Final = 0x00080054
INSTANCE_AVAILABILITY: Final = 0x00080056
TIMEZONE_OFFSET: Final = 0x00080201

VIEWS: Final = ("CLASSIC", "ENHANCED")
"""Values of Query/Retrieve View (PS3.4 C.3.5)."""

UTF_8: Final = ("ISO_IR 192",)
_EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
# No level has that many attributes; a data set of nothing but headers must not become a million objects.
_MOST_KEYS: Final = 10_000
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Entry = Mapping[str, Any]
Model = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Options:
    """What SOP Class Extended Negotiation agreed on (Table C.5-2)."""

    relational: bool = False
    combined: bool = False
    fuzzy: bool = False
    timezone: bool = False
    views: bool = False
    empty_values: bool = False
    multiple_values: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute to return; of a sequence, with `inner`, only these attributes of each item."""

    name: str
    vr: str
    inner: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """An Identifier, understood. `unsupported` are keys that neither restrict the answers nor are returned; `view` is
    one of VIEWS, "" for instances as they were received."""

    query: Query
    keys: tuple[Key, ...]
    unsupported: tuple[int, ...]
    charset: tuple[str, ...]
    view: str = ""


def read_question(
    raw: bytes,
    transfer_syntax_uid: str,
    *,
    root: Level,
    options: Options,
    known: Callable[[Level, tuple[str, ...]], frozenset[int]],
    limits: Limits,
    sop_classes: tuple[str, ...] = (),
) -> Question:
    """The question that an Identifier in `transfer_syntax_uid` asks in the information model whose top is `root`.

    With `sop_classes` it is that of these non-patient objects, where a level in the Identifier has no meaning. `known`
    says which attributes can be matched and returned. Raises BadRequest with the tag of the offending element,
    DataSetError if the bytes are no data set.
    """
    limits = replace(limits, elements=_MOST_KEYS, inflate_bytes=limits.identifier_bytes)
    syntax = transfer_syntax(transfer_syntax_uid)
    if syntax.deflated:
        raw, transfer_syntax_uid = inflate(raw, limits), _EXPLICIT_LITTLE
    model = dataset_json(raw, transfer_syntax_uid, limits=limits)
    view = view_of(_single(model, QUERY_RETRIEVE_VIEW), agreed=options.views)
    level = root if sop_classes else _level(model, root)
    if not options.relational:
        _require_upper_keys(model, root, level)
    have = known(level, sop_classes)
    matches: list[Match] = []
    keys: list[Key] = []
    unsupported: list[int] = []
    for name, entry in model.items():
        tag = int(name, 16)
        if tag in (SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL) or (tag == QUERY_RETRIEVE_VIEW and options.views):
            continue
        if tag == RETRIEVE_AE_TITLE or (tag == INSTANCE_AVAILABILITY and tag not in have):
            # Always in an answer, but there is nothing to compare them with.
            if entry.get("Value"):
                unsupported.append(tag)
            continue
        if tag not in have:
            unsupported.append(tag)
            continue
        keys.append(_key(tag, entry))
        if tag != TIMEZONE_OFFSET:
            matches += _matches(tag, entry, options)
    include = tuple(int(key.name, 16) for key in keys)
    wanted = _combined(matches) if options.combined else tuple(matches)
    zone = _zone(model) if options.timezone and level > Level.PATIENT else None
    query = Query(level, wanted, include, fuzzy=options.fuzzy, sop_classes=sop_classes, bare=True, zone=zone)
    return Question(query, tuple(keys), tuple(unsupported), _charset(raw, syntax, limits), view)


def view_of(value: str, *, agreed: bool) -> str:
    """The Query/Retrieve View that an Identifier asks for, "" for none.

    Raises BadRequest (A900) for one that is neither CLASSIC nor ENHANCED, and for any where Enhanced Multi-Frame Image
    Conversion was not `agreed` on: it shall not be in the Identifier then (PS3.4 C.4.1.1.3.1, C.4.2.1.4.1). Who asks
    all the same wants other instances, under other UIDs, than those that are stored, and to answer with these would be
    to pass them off as those.
    """
    if not value:
        return ""
    path = path_of((QUERY_RETRIEVE_VIEW,))
    if not agreed:
        raise BadRequest("a view of converted instances was asked for and not negotiated", tag_path=path)
    if value not in VIEWS:
        raise BadRequest("Query/Retrieve View is neither CLASSIC nor ENHANCED", tag_path=path)
    return value


def _single(model: Model, tag: int) -> str:
    return "\\".join(map(_text, model.get(f"{tag:08X}", {}).get("Value", ())))


def _zone(model: Model) -> int | None:
    """The zone that moments of the question and of the answers are in; None if it names none."""
    values = model.get(f"{TIMEZONE_OFFSET:08X}", {}).get("Value") or [""]
    minutes = zone_minutes(str(values[0]))
    if minutes is None and values != [""]:
        raise BadRequest("not an offset from UTC as +0900", tag_path=path_of((TIMEZONE_OFFSET,)))
    return minutes


def _charset(raw: bytes, syntax: TransferSyntax, limits: Limits) -> tuple[str, ...]:
    """Specific Character Set of the request; none if it is one nobody defined."""
    found = scan(
        raw,
        little=syntax.little,
        explicit=syntax.explicit,
        wanted=frozenset((SPECIFIC_CHARACTER_SET,)),
        stop=SPECIFIC_CHARACTER_SET + 1,
        limits=limits,
        whole=False,
    ).elements.get(SPECIFIC_CHARACTER_SET)
    if found is None or found.length <= 0:
        return ()
    terms = tuple(texts(bytes(raw[found.offset : found.offset + found.length]), "CS"))
    return terms if repertoire(terms).known else ()


def _level(model: Model, root: Level) -> Level:
    values = model.get(f"{QUERY_RETRIEVE_LEVEL:08X}", {}).get("Value") or [""]
    level = Level.__members__.get(values[0]) if len(values) == 1 and isinstance(values[0], str) else None
    if level is None or level < root:
        names = ", ".join(level.name for level in Level if level >= root)
        raise BadRequest(f"Query/Retrieve Level is not one of {names}", tag_path=path_of((QUERY_RETRIEVE_LEVEL,)))
    return level


def _require_upper_keys(model: Model, root: Level, level: Level) -> None:
    """C.4.1.2.1: each unique key above the level has a single value, unless relational queries were negotiated."""
    for upper in Level:
        if root <= upper < level:
            tag = UNIQUE_KEY[upper]
            match = next(iter(_matches(tag, model.get(f"{tag:08X}", {}), Options())), None)
            if not isinstance(match, Equal) or len(match.values) != 1:
                raise BadRequest(
                    f"a hierarchical query needs one value of the {upper.name} level's key", tag_path=path_of((tag,))
                )


def _key(tag: int, entry: Entry) -> Key:
    items = entry.get("Value", ()) if entry.get("vr") == "SQ" else ()
    inner = tuple(_key(int(name, 16), one) for name, one in items[0].items()) if items else ()
    return Key(f"{tag:08X}", vr_of(tag), tuple(key for key in inner if key.name != f"{SPECIFIC_CHARACTER_SET:08X}"))


def _matches(tag: int, entry: Entry, options: Options) -> tuple[Match, ...]:
    values = entry.get("Value", [])
    if (entry.get("vr") == "SQ") != (vr_of(tag) == "SQ") and entry:
        raise BadRequest("a sequence where none belongs, or none where one does", tag_path=path_of((tag,)))
    if "InlineBinary" in entry:
        raise BadRequest("this attribute cannot be matched", tag_path=path_of((tag,)))
    if entry.get("vr") != "SQ":
        text = "\\".join(map(_text, values))
        return matches_of(tag, text, empty_values=options.empty_values, multiple_values=options.multiple_values)
    if len(values) > 1:
        raise BadRequest("a sequence key has one item (PS3.4 C.2.2.2.6)", tag_path=path_of((tag,)))
    given = [
        match
        for item in values
        for name, one in item.items()
        if name != f"{SPECIFIC_CHARACTER_SET:08X}"
        for match in _matches(int(name, 16), one, options)
    ]
    wanted = _combined(given) if options.combined else tuple(given)
    return (InSequence(tag, wanted),) if wanted else ()


def _combined(matches: list[Match]) -> tuple[Match, ...]:
    """C.2.2.2.5: ranges of a date and of its time are one range. That of the date stays, for an index to use."""
    ranges = {match.tag: match for match in matches if isinstance(match, Range)}
    pairs = [(ranges[date], ranges[time]) for date, time in TIME_OF.items() if date in ranges and time in ranges]
    times = [time for _, time in pairs]
    return (*(match for match in matches if match not in times), *(DateTimeRange(*pair) for pair in pairs))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in _GROUPS).rstrip("=")
    return "" if value is None else str(value)


# --- answers -------------------------------------------------------------------------------------------------------


class _Column(NamedTuple):
    """One attribute of every answer; `absent` is what stands there without a value."""

    name: str
    absent: Entry
    inner: tuple[Key, ...] = ()


class _Writer:
    """Answers to one question in one character set.

    What an answer has in common with the one before it, above all what the levels above say, is the same object in the
    answers of the index, or an equal one; so each attribute is encoded when it is another than in the last answer.
    """

    def __init__(self, columns: Iterable[_Column], encoder: Encoder) -> None:
        self._columns = [
            (place, column.name, column.absent, _write(column, encoder)) for place, column in enumerate(columns)
        ]
        self._head = encoder.specific_character_set()
        self._entries: list[Entry | None] = [None] * len(self._columns)
        self._parts: list[bytes] = [b""] * len(self._columns)
        self._refused: tuple[str, Entry] = ("", {})

    def __call__(self, attributes: Model) -> bytes | None:
        """The Identifier; None if the character set lacks a character of it."""
        name, refused = self._refused
        if name and attributes.get(name) is refused:
            return None
        entries, parts, get = self._entries, self._parts, attributes.get
        for place, name, absent, write in self._columns:
            entry = get(name) or absent
            last = entries[place]
            if entry is last:
                continue
            if entry != last:
                entries[place] = None
                try:
                    parts[place] = write(entry)
                except DataSetError:
                    self._refused = (name, entry)
                    return None
            entries[place] = entry
        return self._head + b"".join(parts)


def _write(column: _Column, encoder: Encoder) -> Callable[[Entry], bytes]:
    tag, inner = int(column.name, 16), column.inner
    if tag == TIMEZONE_OFFSET:  # never without a value (C.4.1.1.3.2)
        return lambda entry: encoder.element(tag, entry) if entry.get("Value") else b""
    if inner:
        return lambda entry: encoder.element(tag, _selected(entry, inner))
    return encoder.quick(tag, column.absent["vr"])


class Answers:
    """Writes the answers to one question: the keys asked for, the level's unique key, and where the object can be had.
    The latter is no attribute of a non-patient object's model (PS3.4 sections U.4, X.4 ...).

    A key without a value is answered with none (C.4.1.1.3.2).
    """

    def __init__(self, question: Question, transfer_syntax_uid: str, retrieve_aet: str) -> None:
        level = question.query.level
        columns = {key.name: _Column(key.name, {"vr": key.vr}, key.inner) for key in question.keys}
        columns.setdefault(
            f"{UNIQUE_KEY[level]:08X}", _Column(f"{UNIQUE_KEY[level]:08X}", {"vr": vr_of(UNIQUE_KEY[level])})
        )
        whereabouts = [
            (QUERY_RETRIEVE_LEVEL, "CS", level.name),
            (RETRIEVE_AE_TITLE, "AE", retrieve_aet),
            (INSTANCE_AVAILABILITY, "CS", "ONLINE"),
        ]
        if question.view:
            whereabouts.append((QUERY_RETRIEVE_VIEW, "CS", question.view))
        for tag, vr, value in () if question.query.sop_classes else whereabouts:
            columns[f"{tag:08X}"] = _Column(f"{tag:08X}", {"vr": vr, "Value": [value]})
        ordered = [columns[name] for name in sorted(columns)]
        syntax = transfer_syntax(transfer_syntax_uid)
        self._deflated = syntax.deflated
        self._writers = [
            _Writer(ordered, Encoder(little=syntax.little, explicit=syntax.explicit, charset=charset))
            for charset in dict.fromkeys((question.charset, UTF_8))
        ]

    def __call__(self, found: Found) -> bytes:
        """The Identifier of one answer in the presentation context's transfer syntax. DataSetError if it has none."""
        for write in self._writers:
            raw = write(found.attributes)
            if raw is not None:
                return deflate(raw) if self._deflated else raw
        raise DataSetError("an answer has a value that cannot be encoded")


def _selected(entry: Entry, keys: Iterable[Key]) -> Entry:
    """A sequence, of each item only what was asked for."""
    items = []
    for item in entry.get("Value", ()):
        chosen = {}
        for key in keys:
            one = item.get(key.name) or {"vr": key.vr}
            chosen[key.name] = _selected(one, key.inner) if key.inner else one
        items.append(chosen)
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


@lru_cache(maxsize=64)
def negotiated(extended: bytes) -> Options:
    """What the answer to SOP Class Extended Negotiation means; absent bytes are 0 (Table C.5-2)."""
    flags = [byte == 1 for byte in extended[:7].ljust(7, b"\0")]
    return Options(*flags)


def negotiate_options(info: bytes) -> bytes:
    """The answer to a proposal (Table C.5-1): of what is asked for, what is done, which is everything."""
    return bytes(byte == 1 for byte in info[:7])
