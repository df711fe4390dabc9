"""The frozen values every room speaks: levels, scopes, references and the Query tree.

A tag is an int, 0xGGGGEEEE. Values inside a Query are already text (str), decoded from whatever character set the
request came in; the tree knows nothing of DIMSE or HTTP. PS3.4 C.2.2.2 is where the matching kinds come from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from isocenter.std.non_patient import RESOURCE_OF


class Level(IntEnum):
    """Query/retrieve levels (PS3.4 C.3), ordered from the root down."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


UNIQUE_KEY: dict[Level, int] = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.IMAGE: 0x00080018,
}
"""The attribute that tells the entities of a level apart (PS3.4 C.2.2.1.1, C.6)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a retrieve, delete or metadata request is about: a study, a series of it, or one instance of that.

    An instance of no patient (PS3.4 Annex GG) has "" for study and series.
    """

    study: str
    series: str | None = None
    instance: str | None = None

    def __post_init__(self) -> None:
        if self.instance is not None and self.series is None:
            raise ValueError("a scope with an instance needs its series")
        if not self.study and not self.instance:
            raise ValueError("a scope without a study needs an instance")

    @property
    def non_patient(self) -> bool:
        return not self.study

    @property
    def level(self) -> Level:
        if self.instance is not None:
            return Level.IMAGE
        return Level.STUDY if self.series is None else Level.SERIES


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Some frames of one object, named in one of the three ways of PS3.4 section Y.3.2.1; frames count from 1.

    `simple` lists them; `calculated` has ranges of first, last and increment, where a last frame beyond the object's
    means its end; `time` has the first and the last moment in seconds after Content Time, both included.
    """

    simple: tuple[int, ...] = ()
    calculated: tuple[tuple[int, int, int], ...] = ()
    time: tuple[float, float] | None = None

    def problem(self) -> str:
        """What is wrong with it, "" if nothing is."""
        if bool(self.simple) + bool(self.calculated) + (self.time is not None) != 1:
            return "one of Simple Frame List, Calculated Frame List and Time Range is needed"
        if self.time is not None:
            return "" if 0 <= self.time[0] <= self.time[1] < math.inf else "the time range is none"
        before = 0
        for first, last, step in self.calculated or [(number, number, 1) for number in self.simple]:
            if step < 1 or not before < first <= last:
                return "the frames do not ascend from 1"
            before = last
        return ""

    def numbers(self, frames: int) -> list[int]:
        """Those of an object with so many frames; not for a range of times, which the numbers do not tell."""
        if self.simple:
            return [number for number in self.simple if number <= frames]
        return [number for first, last, step in self.calculated for number in range(first, min(last, frames) + 1, step)]


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """One stored SOP Instance: where it is in the hierarchy, what it is, and how to find its bytes.

    `study` and `series` are "" for an instance of no patient. `blob` is the store's own name of the Part 10 file and
    `size` its length in bytes. The data set begins at `data_set_offset` of the file. `digest` is the SHA-256 (hex) of
    the data set's bytes, `header_digest` that of the bytes before it (preamble, prefix and file meta information).
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    blob: str
    size: int
    data_set_offset: int
    digest: str
    header_digest: str
    number_of_frames: int | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.study, self.series, self.instance)

    @property
    def resource(self) -> str:
        """Its resource below the base of the DICOMweb services (PS3.18 sections 10.1.1 and 12.1.1)."""
        if not self.study:
            return f"{RESOURCE_OF[self.sop_class]}/{self.instance}"
        return f"studies/{self.study}/series/{self.series}/instances/{self.instance}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object came from; goes to the index row and to the audit trail, never into the object."""

    kind: str  # "dimse" | "web" | "import" | "demo"
    peer: str = ""  # host:port or file name's folder
    calling: str = ""  # calling AE title, or the web user
    called: str = ""


# --- Query: what is asked, as a tree (PS3.4 C.2.2.2, PS3.18 section 8.3.4) ------------------------------------------


@dataclass(frozen=True, slots=True)
class Equal:
    """Single value matching (C.2.2.2.1) and list of UID matching (C.2.2.2.2): any of `values`."""

    tag: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`*` any run of characters, `?` any one character (C.2.2.2.4). Nothing else is special."""

    tag: int
    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """Date, time and date-time range matching (C.2.2.2.5), inclusive; None is an open end."""

    tag: int
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """Combined date and time range matching (C.2.2.2.5): from the one date and time to the other, both of `date` and
    `time` being ranges, of a DA and of the TM attribute that belongs to it."""

    date: Range
    time: Range

    @property
    def tag(self) -> int:
        """That of the date."""
        return self.date.tag


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty value matching (C.2.2.2.7): the attribute is absent or has no value."""

    tag: int


@dataclass(frozen=True, slots=True)
class InSequence:
    """Sequence matching (C.2.2.2.6): one item fulfils all of `matches`."""

    tag: int
    matches: tuple[Match, ...]


Match = Equal | Wildcard | Range | DateTimeRange | Empty | InSequence


TIME_OF: dict[int, int] = {
    0x00080012: 0x00080013,  # Instance Creation
    0x00080020: 0x00080030,  # Study
    0x00080021: 0x00080031,  # Series
    0x00080022: 0x00080032,  # Acquisition
    0x00080023: 0x00080033,  # Content
    0x00100030: 0x00100032,  # Patient's Birth
    0x00400002: 0x00400003,  # Scheduled Procedure Step Start
    0x00400244: 0x00400245,  # Performed Procedure Step Start
    0x00400250: 0x00400251,  # Performed Procedure Step End
}
"""Which time belongs to which date, of those that an index might keep."""

_ZONE = re.compile(r"([+-])(\d\d)([0-5]\d)", re.ASCII)


def zone_minutes(text: str) -> int | None:
    """Timezone Offset From UTC (0008,0201), as +0900, in minutes; None if it is none (PS3.3 C.12.1.1)."""
    found = _ZONE.fullmatch(text.strip(" "))
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    return (-minutes if found[1] == "-" else minutes) if minutes <= 14 * 60 else None


@dataclass(frozen=True, slots=True)
class Order:
    """Answers by the value of an attribute."""

    tag: int
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One search. `include` lists further tags to return; None means every attribute kept in the index. With `bare`
    nothing comes but these, what is matched and the unique keys; else the level's usual attributes as well. With `zone`
    moments in matches and answers are those of a zone so many minutes east of UTC, where objects say their own.

    `fuzzy` asks for fuzzy semantic matching of PN. Answers come in a stable order (insertion) and are cut by
    `offset` and `limit` (None: no limit beyond the configured one).

    With `senders` there are only studies of which one of these AE titles sent something by DIMSE.

    Studies can be searched by `words` (of index/listing.py), each of which must be somewhere in what a list shows of
    them, and be given out by `order`: those without a value come last, and equal ones in the order of insertion, or
    its reverse where the last of `order` descends.

    With `sop_classes`, which are non-patient ones, their instances are searched, which are on no level but IMAGE; what
    is usual there is all that is kept. Without, they are never found.
    """

    level: Level
    matches: tuple[Match, ...] = ()
    include: tuple[int, ...] | None = ()
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    sop_classes: tuple[str, ...] = ()
    bare: bool = False
    zone: int | None = None
    senders: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One answer. `attributes` is a DICOM JSON object (PS3.18 Annex F): eight upper-case hex digits to vr and Value.

    For lower levels it holds the attributes of the levels above as well; an instance of no patient has none above, and
    "" for study and series. Computed attributes (Number of Study Related Instances, Modalities in Study, ...) are in
    it; Retrieve URL is the skins' business.
    """

    study: str
    series: str | None
    instance: str | None
    attributes: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed, in commit order. `kind`: "stored", "replaced" or "deleted"."""

    seq: int
    kind: str
    scope: Scope
    at: str  # ISO 8601, UTC
    reason: str = ""
    by: str = ""  # who deleted it, where that is known
