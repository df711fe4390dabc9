"""The text of one data set after another is the text of each by itself, whatever they have in common."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_sets import MODALITY, NAME, PIXELS, encapsulated, explicit, implicit, item, sequence
from isocenter.errors import IsocenterError
from isocenter.wire.dicomjson import dataset_json, dumps
from isocenter.wire.part10 import read_header
from isocenter.wire.seriesjson import SeriesJson

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"

Outcome = bytes | tuple[type[IsocenterError], str, int | None]


def alone(data: bytes, uid: str, start: int = 0) -> Outcome:
    """The text of a data set nobody compares with another, or the error."""
    try:
        return dumps(dataset_json(data, uid, start=start, bulk_uri="bulk"))
    except IsocenterError as error:
        return type(error), str(error), error.offset


def after(series: SeriesJson, data: bytes, uid: str, start: int = 0) -> Outcome:
    """The same, after what the series has seen."""
    try:
        return series.text(data, uid, start=start)
    except IsocenterError as error:
        return type(error), str(error), error.offset


# --- examples: each second data set differs from the first in a way that matters

IMAGE = [
    explicit(0x00080005, "CS", b"ISO_IR 100"),
    explicit(0x00080018, "UI", b"1.2.3.1\0"),
    MODALITY,
    sequence(0x00081140, item(explicit(0x00081155, "UI", b"1.2\0")), undefined=True),
    explicit(0x00090010, "LO", b"SIEMENS CSA HEADER"),
    explicit(0x00091008, "UN", b"IMAGE NUM 4 "),
    explicit(0x00100010, "PN", b"J\xfcrg"),
    explicit(0x00200013, "IS", b"1 "),
    explicit(0x00280103, "US", b"\0\0"),
    PIXELS,
]


def changed(number: int, *elements: bytes) -> bytes:
    """The image with other elements instead of one."""
    return b"".join([*IMAGE[:number], *elements, *IMAGE[number + 1 :]])


FOLLOWS = {
    "nothing": b"".join(IMAGE),
    "another UID, longer": changed(1, explicit(0x00080018, "UI", b"1.2.3.10000\0")),
    "one item more": changed(3, sequence(0x00081140, item(NAME), item(MODALITY), undefined=True)),
    "an element more": changed(7, explicit(0x00200012, "IS", b"1 "), IMAGE[7]),
    "an element less": changed(6),
    "another, and odd": changed(6, explicit(0x00100020, "LO", b"123")),
    "two at once": changed(6, NAME, explicit(0x00100020, "LO", b"12")),
    "other pixels": changed(9, encapsulated(b"abcd"), explicit(0xFFFCFFFC, "OB", bytes(20))),
    "no pixels": changed(9),
    "padding": changed(9, bytes(30)),
    "a delimiter too many": changed(6, implicit(0xFFFEE00D), NAME),
}
STANDS_ALONE = {
    "another character set": changed(0, explicit(0x00080005, "CS", b"ISO_IR 144")),
    "no character set": changed(0),
    "another creator": changed(4, explicit(0x00090010, "LO", b"SOMEBODY")),
    "no creator": changed(4),
    "a creator more": changed(7, explicit(0x00190010, "LO", b"SOMEBODY"), IMAGE[7]),
    "another pixel representation": changed(8, explicit(0x00280103, "US", b"\1\0")),
    "twice": changed(6, NAME, NAME),
    "out of order": changed(7, IMAGE[7], MODALITY),
}


@pytest.mark.parametrize("data", FOLLOWS.values(), ids=FOLLOWS)
def test_what_is_the_same_is_taken_over(data: bytes) -> None:
    series = SeriesJson("bulk")
    assert series.text(b"".join(IMAGE), EXPLICIT) == alone(b"".join(IMAGE), EXPLICIT)
    pattern = series._pattern
    assert pattern is not None
    assert series.text(data, EXPLICIT) == alone(data, EXPLICIT)
    assert series._pattern is pattern


@pytest.mark.parametrize("data", STANDS_ALONE.values(), ids=STANDS_ALONE)
def test_nothing_is_taken_over_where_something_before_it_matters(data: bytes) -> None:
    series = SeriesJson("bulk")
    series.text(b"".join(IMAGE), EXPLICIT)
    pattern = series._pattern
    for _ in range(2):
        assert series.text(data, EXPLICIT) == alone(data, EXPLICIT)
        assert series._pattern is not pattern
    assert series.text(b"".join(IMAGE), EXPLICIT) == alone(b"".join(IMAGE), EXPLICIT)


def test_damage_is_told_as_if_everything_had_been_read() -> None:
    for data in (b"".join(IMAGE)[:-4], changed(3, sequence(0x00081140, item(NAME[:-2]))), changed(1, b"\1\0\2")):
        series = SeriesJson("bulk")
        series.text(b"".join(IMAGE), EXPLICIT)
        assert after(series, data, EXPLICIT) == alone(data, EXPLICIT)
        assert isinstance(alone(data, EXPLICIT), tuple)


def test_data_sets_too_different_to_follow_are_read_at_once() -> None:
    def many(value: bytes) -> bytes:
        return b"".join(explicit(0x00110000 | number, "LO", value) for number in range(0x1000, 0x1040))

    series = SeriesJson("bulk")
    series.text(many(b"ab"), EXPLICIT)
    pattern = series._pattern
    assert series.text(many(b"cd"), EXPLICIT) == alone(many(b"cd"), EXPLICIT)
    assert series._pattern is not pattern


# --- any data sets

# Elements as (tag, VR, value) of which data sets are put together, more than one of some tags
PARTS = [
    (0x00080000, "UL", b"\0\0\0\0"),
    (0x00080005, "CS", b"ISO_IR 100"),
    (0x00080005, "CS", b"ISO_IR 144"),
    (0x00080018, "UI", b"1.2.3\0"),
    (0x00080018, "UI", b"1.2.3.45"),
    (0x00090010, "LO", b"SIEMENS CSA HEADER"),
    (0x00090010, "LO", b"ELSCINT1"),
    (0x00091008, "UN", b"IMAGE NUM 4 "),
    (0x00091009, "UN", b"1\\2 "),
    (0x00100010, "PN", b"\xb6\xe3=X"),
    (0x00100010, "PN", b"Doe^John\\"),
    (0x00100020, "LO", b"odd"),
    (0x00189087, "FD", bytes(8)),
    (0x00280103, "US", b"\0\0"),
    (0x00280103, "US", b"\1\0"),
    (0x00280106, "US", b"\xff\xff"),
    (0x00280106, "US", b"\xfe\xff"),
    (0x00420011, "OB", b"x" * 1100),
    (0x7FE00010, "OW", bytes(16)),
    (0x7FE00010, "OW", bytes(18)),
    (0xFFFCFFFC, "OB", bytes(8)),
]
NESTING = (0x00081110, 0x00409096)


@st.composite
def data_sets(draw: st.DrawFn, uid: str, depth: int = 2) -> bytes:
    """A data set of some of the parts, mostly in order."""
    order = ">" if uid == BIG else "<"

    def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
        if uid == IMPLICIT:
            return implicit(tag, value, length=length)
        return explicit(tag, vr, value, length=length, order=order)

    chosen = [(tag, element(tag, vr, value)) for tag, vr, value in draw(st.lists(st.sampled_from(PARTS), max_size=8))]
    if depth:
        for tag in draw(st.lists(st.sampled_from(NESTING), unique=True, max_size=1)):
            items = [
                item(draw(data_sets(uid, depth - 1)), undefined=draw(st.booleans()), order=order)
                for _ in range(draw(st.integers(0, 2)))
            ]
            if draw(st.booleans()):
                end = implicit(0xFFFEE0DD, order=order)
                chosen.append((tag, element(tag, "SQ", b"".join(items), 0xFFFFFFFF) + end))
            else:
                chosen.append((tag, element(tag, "SQ", b"".join(items))))
    if not draw(st.integers(0, 7)):
        return b"".join(raw for _, raw in chosen)
    unique = dict(chosen) if draw(st.integers(0, 7)) else {number: pair for number, (_, pair) in enumerate(chosen)}
    return b"".join(raw for _, raw in sorted(unique.items()))


@st.composite
def series_of(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Data sets of one encoding, some of them spoilt."""
    uid = draw(st.sampled_from([IMPLICIT, EXPLICIT, BIG]))
    found = []
    for _ in range(draw(st.integers(2, 5))):
        data = bytearray(draw(data_sets(uid)))
        for at in draw(st.lists(st.integers(0, 1 << 16), max_size=1)):
            if data:
                data[at % len(data)] ^= 1
        found.append(bytes(data[: len(data) - draw(st.sampled_from([0, 0, 0, 3]))]))
        if draw(st.booleans()):
            found.append(found[-1])
    return uid, found


@settings(max_examples=400, deadline=None)
@given(series_of())
def test_any_data_sets_one_after_another(case: tuple[str, list[bytes]]) -> None:
    uid, found = case
    series = SeriesJson("bulk")
    for data in found:
        assert after(series, data, uid) == alone(data, uid)


@pytest.mark.slow
def test_corpus_one_after_another(corpus: Path) -> None:
    """Files of a folder in their order, each once more with other bytes in a value."""
    compared = 0
    series, folder = SeriesJson("bulk"), corpus
    for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
        if path.parent != folder:
            series, folder = SeriesJson("bulk"), path.parent
        data = path.read_bytes()
        try:
            meta = read_header(data)
        except IsocenterError:
            continue
        uid, start = meta.transfer_syntax, meta.data_set_offset
        text = alone(data, uid, start)
        assert after(series, data, uid, start) == text, path
        for at in range(start + 9, min(len(data), start + 4096), max(1, (len(data) - start) // 5)):
            other = data[:at] + pack("B", data[at] ^ 1) + data[at + 1 :]
            assert after(series, other, uid, start) == alone(other, uid, start), (path, at)
            assert after(series, data, uid, start) == text, path
        compared += 1
    assert compared > 800
