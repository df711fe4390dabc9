"""Which attributes the index keeps of an instance, at which level, and which of them have columns of their own.

The kept attributes of a level are one DICOM JSON object (PS3.18 Annex F): answers are made of these without touching
the files. The choice follows the keys of PS3.4 tables C.6-1 to C.6-5, PS3.18 tables 10.6.3-3 to 10.6.3-5, and what a
study list, a series list and an image stack show. Columns hold comparing forms (see `normal`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from isocenter.errors import DataSetError, InvalidUID
from isocenter.index.listing import listed
from isocenter.index.matching import key
from isocenter.index.normal import is_single, name_groups, normal, vr_of_key, words
from isocenter.model import UNIQUE_KEY, Level, Query
from isocenter.names import is_uid
from isocenter.std.non_patient import NON_PATIENT_KEYS

PATIENT_TAGS = (
    0x00100010, 0x00100020, 0x00100021, 0x00100022, 0x00100024, 0x00100030, 0x00100032, 0x00100040, 0x00101000,
    0x00101001, 0x00101002, 0x00102160, 0x00102201, 0x00102292, 0x00102297, 0x00104000,
)  # fmt: skip
STUDY_TAGS = (
    0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080090, 0x00080201, 0x00081030, 0x00081032, 0x00081048,
    0x00081060, 0x00081080, 0x00101010, 0x00101020, 0x00101030, 0x00102000, 0x00102110, 0x00102180, 0x001021B0,
    0x001021C0, 0x00120010, 0x00120020, 0x00120040, 0x00120062, 0x0020000D, 0x00200010, 0x00321032, 0x00321033,
    0x00321060, 0x00380010,
)  # fmt: skip
SERIES_TAGS = (
    0x00080021, 0x00080031, 0x00080060, 0x00080064, 0x00080070, 0x00080080, 0x00081010, 0x0008103E, 0x0008103F,
    0x00081040, 0x00081050, 0x00081070, 0x00081090, 0x00081111, 0x00180015, 0x00181000, 0x00181020, 0x00181030,
    0x00185100, 0x0020000E, 0x00200011, 0x00200052, 0x00200060, 0x00400244, 0x00400245, 0x00400253, 0x00400254,
    0x00400260, 0x00400275,
)  # fmt: skip
IMAGE_TAGS = (
    0x00080008, 0x00080012, 0x00080013, 0x00080016, 0x00080018, 0x00080022, 0x00080023, 0x0008002A, 0x00080032,
    0x00080033, 0x00082111, 0x00180050, 0x00180060, 0x00180081, 0x00200012, 0x00200013, 0x00200032, 0x00200037,
    0x00200100, 0x00201041, 0x00204000, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030,
    0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280301, 0x00281050, 0x00281051, 0x00281052, 0x00281053,
    0x00282110, 0x0040A032, 0x0040A043, 0x0040A491, 0x0040A493, 0x00420010, 0x00420012, 0x00700080, 0x00700081,
    0x00700082, 0x00700083, 0x00700084, 0x3006000A, 0x3006000C, 0x300A0002, 0x300A0004,
)  # fmt: skip

KEPT: dict[Level, tuple[int, ...]] = {
    Level.PATIENT: PATIENT_TAGS,
    Level.STUDY: PATIENT_TAGS + STUDY_TAGS,
    Level.SERIES: SERIES_TAGS,
    Level.IMAGE: IMAGE_TAGS,
}
KEPT_TAGS = frozenset(tag for tags in KEPT.values() for tag in tags)
CHARACTER_SET = 0x00080005
SOP_CLASS = 0x00080016

INSTANCE_AVAILABILITY = 0x00080056
MODALITIES_IN_STUDY = 0x00080061
SOP_CLASSES_IN_STUDY = 0x00080062
AVAILABLE_TRANSFER_SYNTAX = 0x00083002
PATIENT_RELATED = (0x00201200, 0x00201202, 0x00201204)  # numbers of studies, series, instances
STUDY_RELATED = (0x00201206, 0x00201208)  # numbers of series, instances
SERIES_RELATED = 0x00201209

COMPUTED: dict[Level, tuple[int, ...]] = {
    Level.PATIENT: PATIENT_RELATED,
    Level.STUDY: (INSTANCE_AVAILABILITY, MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, *STUDY_RELATED),
    Level.SERIES: (SERIES_RELATED,),
    Level.IMAGE: (AVAILABLE_TRANSFER_SYNTAX,),
}

# PS3.18 tables 10.6.3-3 to 10.6.3-5: what is returned without being asked for.
DEFAULT: dict[Level, tuple[int, ...]] = {
    Level.PATIENT: (0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100040, *PATIENT_RELATED),
    Level.STUDY: (
        0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00080201, 0x00081030, 0x00100010,
        0x00100020, 0x00100021, 0x00100030, 0x00100040, 0x0020000D, 0x00200010, 0x00201206, 0x00201208,
    ),
    Level.SERIES: (
        0x00080060, 0x00080201, 0x0008103E, 0x0020000E, 0x00200011, 0x00201209, 0x00400244, 0x00400245, 0x00400275,
    ),
    Level.IMAGE: (
        0x00080016, 0x00080018, 0x00080056, 0x00080201, 0x00083002, 0x00200013, 0x00280008, 0x00280010, 0x00280011,
        0x00280100,
    ),
}  # fmt: skip
UNIQUE = UNIQUE_KEY


class Column(NamedTuple):
    """Where the comparing form of an attribute stands. A person name has two more columns, for its other groups."""

    tag: int
    level: Level
    name: str
    indexed: bool = False

    @property
    def person(self) -> bool:
        return vr_of_key(self.tag) == "PN"


COLUMNS: tuple[Column, ...] = (
    Column(0x00100010, Level.STUDY, "patient_name", indexed=True),
    Column(0x00100020, Level.STUDY, "patient_id", indexed=True),
    Column(0x00100021, Level.STUDY, "patient_issuer"),
    Column(0x00100030, Level.STUDY, "patient_birth_date", indexed=True),
    Column(0x00100040, Level.STUDY, "patient_sex"),
    Column(0x00080020, Level.STUDY, "study_date", indexed=True),
    Column(0x00080030, Level.STUDY, "study_time"),
    Column(0x00080050, Level.STUDY, "accession_number", indexed=True),
    Column(0x00080090, Level.STUDY, "referring_physician", indexed=True),
    Column(0x00081030, Level.STUDY, "study_description"),
    Column(0x0020000D, Level.STUDY, "uid", indexed=True),
    Column(0x00200010, Level.STUDY, "study_id", indexed=True),
    Column(0x00080060, Level.SERIES, "modality"),
    Column(0x00080021, Level.SERIES, "series_date"),
    Column(0x00080031, Level.SERIES, "series_time"),
    Column(0x0008103E, Level.SERIES, "series_description"),
    Column(0x00181030, Level.SERIES, "protocol_name"),
    Column(0x00180015, Level.SERIES, "body_part"),
    Column(0x0020000E, Level.SERIES, "uid", indexed=True),
    Column(0x00200011, Level.SERIES, "series_number"),
    Column(0x00400244, Level.SERIES, "performed_date", indexed=True),
    Column(0x00400245, Level.SERIES, "performed_time"),
    Column(0x00080016, Level.IMAGE, "sop_class"),
    Column(0x00080018, Level.IMAGE, "uid", indexed=True),
    Column(0x00200013, Level.IMAGE, "instance_number"),
    Column(0x00080023, Level.IMAGE, "content_date"),
)
COLUMN_OF: dict[int, Column] = {column.tag: column for column in COLUMNS}
FUZZY_NAME = "patient_name_words"
LISTED = "listed"
_SHORT = 64  # characters of a value whose comparing form is remembered
OTHER_GROUPS = ("_ideographic", "_phonetic")


class Part(NamedTuple):
    """What the index keeps of one instance for one level: its columns (in `column_names` order) and its JSON text."""

    uid: str
    columns: tuple[str | None, ...]
    attributes: str


class Keys(NamedTuple):
    """What the index keeps of one instance. `patient` tells patients apart; `modality` may be "".

    `study` and `series` of a non-patient instance are NO_PART.
    """

    study: Part
    series: Part
    image: Part
    patient: str
    modality: str
    sop_class: str
    number_of_frames: int | None


NO_PART = Part("", (), "{}")


@lru_cache(maxsize=4)
def column_names(level: Level) -> tuple[str, ...]:
    """The columns of a level's table that hold keys, without `uid`."""
    names: list[str] = []
    for column in COLUMNS:
        if column.level == level and column.name != "uid":
            names.append(column.name)
            if column.person:
                names.extend(column.name + group for group in OTHER_GROUPS)
    if level == Level.STUDY:
        names += (FUZZY_NAME, LISTED)
    return tuple(names)


def known_tags(level: Level, sop_classes: Iterable[str] = ()) -> frozenset[int]:
    """The attributes a query at `level` can match and return: kept or computed, at that level or above; those of
    non-patient `sop_classes`, if any are given."""
    if sop_classes:
        return frozenset((AVAILABLE_TRANSFER_SYNTAX,)).union(*(NON_PATIENT_KEYS[uid] for uid in sop_classes))
    if level == Level.PATIENT:
        return frozenset(KEPT[level]) | frozenset(COMPUTED[level])
    return frozenset(
        tag for upper in Level if Level.STUDY <= upper <= level for tag in (*KEPT[upper], *COMPUTED[upper])
    )


def unsupported(query: Query) -> tuple[int, ...]:
    """The attributes of `query` the index knows nothing of at that level: they do not restrict the answers.

    A C-FIND SCP answers FF01 then (PS3.4 C.4.1.1.4), a search service warns (PS3.18 section 8.3.4.1).
    """
    known = known_tags(query.level, query.sop_classes)
    asked = [match.tag for match in query.matches] + list(query.include or ())
    return tuple(dict.fromkeys(tag for tag in asked if tag not in known))


class Upper(NamedTuple):
    """What an instance says about patient, study and series."""

    study: Part
    series: Part
    patient: str
    modality: str


def extract_upper(attributes: Mapping[str, Any]) -> Upper:
    """The upper levels' keys from kept attributes as DICOM JSON.

    Raises InvalidUID when Study or Series Instance UID is missing or malformed.
    """
    study = Part(_uid(attributes, UNIQUE[Level.STUDY]), *_part(attributes, Level.STUDY))
    series = Part(_uid(attributes, UNIQUE[Level.SERIES]), *_part(attributes, Level.SERIES))
    return Upper(study, series, _patient(attributes), first(attributes, 0x00080060))


def extract_image(attributes: Mapping[str, Any], text: str | None = None) -> tuple[Part, str, int | None]:
    """The instance's own keys, its SOP Class UID and its Number of Frames. `text`: `attributes`, and nothing else, as
    one JSON object of `member` in the order of their tags, where somebody has it.

    Raises InvalidUID when the SOP Instance UID is missing or malformed, DataSetError without SOP Class.
    """
    uid, columns = _uid(attributes, UNIQUE[Level.IMAGE]), _columns(attributes, Level.IMAGE)
    image = Part(uid, columns, _text(attributes, Level.IMAGE) if text is None else text)
    sop_class = first(attributes, SOP_CLASS)
    if not sop_class:
        raise DataSetError("SOP Class UID is missing", tag_path="(0008,0016)")
    frames = first(attributes, 0x00280008)
    return image, sop_class, int(frames) if len(frames) < 12 and frames.isascii() and frames.isdigit() else None


def extract_non_patient(attributes: Mapping[str, Any]) -> Keys:
    """The keys of an instance of no patient from the attributes that NON_PATIENT_KEYS has of its class.

    Raises InvalidUID when the SOP Instance UID is missing or malformed.
    """
    uid, columns = _uid(attributes, UNIQUE[Level.IMAGE]), _columns(attributes, Level.IMAGE)
    part = Part(uid, columns, orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode())
    return Keys(NO_PART, NO_PART, part, "", "", first(attributes, SOP_CLASS), None)


def first(attributes: Mapping[str, Any], tag: int) -> str:
    """The comparing form of an attribute's value, "" when it has none."""
    name, vr, single = _reading(tag)
    values = attributes.get(name, {}).get("Value")
    if not values:
        return ""
    raw = values[0] if len(values) == 1 or not single else "\\".join("" if v is None else str(v) for v in values)
    if type(raw) is str and vr != "UI" and len(raw) <= _SHORT:
        return _normal(vr, raw)
    return "" if raw is None else normal(vr, raw)


# Most images say what the image before said, UIDs apart.
_normal: Callable[[str | None, str], str] = lru_cache(maxsize=4096)(normal)


@lru_cache(maxsize=256)
def _reading(tag: int) -> tuple[str, str | None, bool]:
    return key(tag), vr_of_key(tag), is_single(tag)


def _uid(attributes: Mapping[str, Any], tag: int) -> str:
    uid = first(attributes, tag)
    if not is_uid(uid):
        path = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        raise InvalidUID("UID is missing" if not uid else "UID is malformed", tag_path=path)
    return uid


def _part(attributes: Mapping[str, Any], level: Level) -> tuple[tuple[str | None, ...], str]:
    return _columns(attributes, level), _text(attributes, level)


def _columns(attributes: Mapping[str, Any], level: Level) -> tuple[str | None, ...]:
    columns: list[str | None] = []
    for tag, person in _columns_of(level):
        if person:
            values = attributes.get(key(tag), {}).get("Value") or ("",)
            columns.extend(group or None for group in name_groups(values[0] or ""))
        else:
            columns.append(first(attributes, tag) or None)
    if level == Level.STUDY:
        values = attributes.get("00100010", {}).get("Value") or ("",)
        columns.append("".join(f" {word}" for word in words(name_groups(values[0] or ""))) or None)
        columns.append(listed(attributes))
    return tuple(columns)


def _text(attributes: Mapping[str, Any], level: Level) -> str:
    kept = {name: attributes[name] for name in _names_of(level) if name in attributes}
    return orjson.dumps(kept).decode()


def member(name: str, model: Mapping[str, Any]) -> str:
    """One attribute as it stands in `Part.attributes`."""
    return f'"{name}":{orjson.dumps(model).decode()}'


@lru_cache(maxsize=4)
def _columns_of(level: Level) -> tuple[tuple[int, bool], ...]:
    return tuple((column.tag, column.person) for column in COLUMNS if column.level == level and column.name != "uid")


@lru_cache(maxsize=4)
def _names_of(level: Level) -> tuple[str, ...]:
    return tuple(key(tag) for tag in sorted(KEPT[level]))


def _patient(attributes: Mapping[str, Any]) -> str:
    """Patient ID with its issuer; without an ID, name and birth date stand in (PS3.3 C.7.1.1)."""
    patient_id, issuer = first(attributes, 0x00100020), first(attributes, 0x00100021)
    if patient_id:
        return f"{patient_id}\\{issuer}"
    values = attributes.get("00100010", {}).get("Value") or ("",)
    return "\\\\" + "=".join(name_groups(values[0] or "")) + "\\" + first(attributes, 0x00100030)
