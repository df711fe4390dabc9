"""The scanner on data sets written by hand: what is found, what is tolerated with which flag, what is refused."""

from __future__ import annotations

import zlib

import pytest

from data_sets import (
    MODALITY,
    NAME,
    PIXELS,
    UNDEFINED,
    encapsulated,
    explicit,
    implicit,
    item,
    sequence,
)
from isocenter.errors import DataSetError, IsocenterError, LimitExceeded, TruncatedError
from isocenter.wire.limits import Limits
from isocenter.wire.scan import Element, ScanResult, encapsulated_fragments, inflate, scan, walk


def le(data: bytes, **options: object) -> ScanResult:
    return scan(data, little=True, explicit=True, **options)  # type: ignore[arg-type]


def test_elements_have_vr_and_the_place_of_their_value() -> None:
    found = le(MODALITY + NAME + PIXELS)
    assert found.elements == {
        0x00080060: Element(0x00080060, "CS", 8, 2),
        0x00100010: Element(0x00100010, "PN", 18, 8),
        0x7FE00010: Element(0x7FE00010, "OW", 38, 16),
    }
    assert (found.end, found.flags) == (54, frozenset())
    assert found.pixel_data == Element(0x7FE00010, "OW", 38, 16)


def test_only_wanted_elements_are_kept_and_pixel_data_are_always_told() -> None:
    found = le(MODALITY + NAME + PIXELS, wanted=frozenset({0x00100010, 0x00400001}))
    assert list(found.elements) == [0x00100010]
    assert found.pixel_data is not None


def test_stop_leaves_the_first_element_at_or_above_it_unread() -> None:
    found = le(MODALITY + NAME + PIXELS + b"garbage", stop=0x00100010)
    assert list(found.elements) == [0x00080060]
    assert found.end == len(MODALITY)


def test_start_and_end_bound_the_scan() -> None:
    data = b"junk" + MODALITY + NAME + b"more junk"
    found = le(data, start=4, end=4 + len(MODALITY + NAME))
    assert found.elements[0x00100010].offset == 4 + len(MODALITY) + 8


def test_implicit_vr_takes_the_dictionary() -> None:
    found = scan(implicit(0x00080060, b"CT") + implicit(0x00280010, b"\0\2"), little=True, explicit=False)
    assert [element.vr for element in found.elements.values()] == ["CS", "US"]


def test_big_endian() -> None:
    data = explicit(0x00080060, "CS", b"CT", order=">") + explicit(0x7FE00010, "OW", b"1234", order=">")
    found = scan(data, little=False, explicit=True)
    assert found.elements[0x7FE00010] == Element(0x7FE00010, "OW", 22, 4)


@pytest.mark.parametrize("undefined_items", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_are_walked_and_stepped_over(undefined: bool, undefined_items: bool) -> None:
    inner = sequence(0x00081115, item(NAME, undefined=undefined_items), undefined=undefined)
    data = sequence(0x00081110, item(inner, undefined=undefined_items), item(), undefined=undefined) + NAME
    for whole in (True, False):
        found = le(data, whole=whole)
        assert list(found.elements) == [0x00081110, 0x00100010]
        assert found.elements[0x00081110] == Element(0x00081110, "SQ", 12, -1 if undefined else len(data) - 28)
        assert found.flags == frozenset()


def test_un_of_undefined_length_is_implicit_little_endian() -> None:
    content = item(implicit(0x00100010, b"Doe^John"), undefined=True) + implicit(0xFFFEE0DD)
    for order, little in (("<", True), (">", False)):
        data = explicit(0x00091001, "UN", content, length=UNDEFINED, order=order)
        found = scan(data, little=little, explicit=True)
        assert (found.end, found.flags) == (len(data), frozenset())


def test_explicit_vr_inside_un_is_noticed() -> None:
    data = explicit(0x00091001, "UN", item(NAME) + implicit(0xFFFEE0DD), length=UNDEFINED)
    assert le(data).flags == {"explicit-in-un"}


def test_encapsulated_pixel_data() -> None:
    data = encapsulated(b"abcd", b"ef", table=b"\0\0\0\0")
    found = le(data)
    assert found.pixel_data == Element(0x7FE00010, "OB", 12, -1)
    assert found.end == len(data)
    table, fragments = encapsulated_fragments(data, 12, len(data))
    assert table == (0,)
    assert [data[at : at + size] for at, size in fragments] == [b"abcd", b"ef"]


# --- tolerated, with a flag

TOLERATED = [
    ("odd-length", MODALITY + explicit(0x00100010, "PN", b"Doe")),
    ("unknown-vr", explicit(0x00091001, "ZZ", b"\0\0\4\0\0\0abcd") + NAME),  # reserved bytes and a long length
    ("unknown-vr", explicit(0x00091001, "ZZ", b"abcd") + NAME),  # a short length
    ("implicit-element", MODALITY + implicit(0x00100010, b"Doe^John") + explicit(0x00100020, "LO", b"12")),
    ("reserved-bytes", MODALITY + b"\xe0\x7f\x10\x00OW\x01\x00\x02\x00\x00\x00ab"),
    ("tag-order", NAME + MODALITY),
    ("duplicate-tag", MODALITY + NAME + NAME),
    ("command-group", explicit(0x00000002, "UI", b"1.2\0") + MODALITY),
    ("file-meta-group", explicit(0x00020010, "UI", b"1.2\0") + MODALITY),
    ("trailing-padding", NAME + explicit(0xFFFCFFFC, "OB", bytes(10))),
    ("trailing-nul", NAME + bytes(20)),
    ("trailing-nul", NAME + bytes(3)),
    ("stray-delimiter", NAME + implicit(0xFFFEE0DD) + PIXELS),
    ("stray-delimiter", sequence(0x00081110, item(NAME) + implicit(0xFFFEE00D)) + NAME),
    ("stray-delimiter", sequence(0x00081110, item(NAME) + implicit(0xFFFEE0DD)) + NAME),
    ("delimiter-length", explicit(0x00081110, "SQ", length=UNDEFINED) + implicit(0xFFFEE0DD, length=4)),
    (
        "missing-delimiter",  # of the first item
        explicit(0x00081110, "SQ", length=UNDEFINED)
        + implicit(0xFFFEE000, length=UNDEFINED)
        + NAME
        + item(NAME, undefined=True)
        + implicit(0xFFFEE0DD),
    ),
    (
        "missing-delimiter",  # of the only item
        explicit(0x00081110, "SQ", length=UNDEFINED)
        + implicit(0xFFFEE000, length=UNDEFINED)
        + NAME
        + implicit(0xFFFEE0DD),
    ),
    (
        "missing-delimiter",  # of a sequence that its item's end closes
        sequence(0x00081110, item(explicit(0x00081115, "SQ", item(NAME), length=UNDEFINED))),
    ),
    (
        "missing-delimiter",  # of a sequence that the delimiter of its item closes
        sequence(
            0x00081110, item(explicit(0x00081115, "SQ", item(NAME), length=UNDEFINED), undefined=True), undefined=True
        ),
    ),
]


@pytest.mark.parametrize(("flag", "data"), TOLERATED)
def test_leniency_leaves_a_flag(flag: str, data: bytes) -> None:
    assert le(data).flags == {flag}


@pytest.mark.parametrize("flag_and_data", [row for row in TOLERATED if row[0] not in ("tag-order", "duplicate-tag")])
def test_walk_tolerates_what_scan_tolerates(flag_and_data: tuple[str, bytes]) -> None:
    top = [event[1] for event in walk(flag_and_data[1], little=True, explicit=True)]
    assert top
    assert set(le(flag_and_data[1]).elements) <= set(top)


def test_undefined_length_of_another_vr_is_a_sequence_in_implicit_vr_only() -> None:
    content = item(implicit(0x00100010, b"Doe^John")) + implicit(0xFFFEE0DD)
    assert scan(implicit(0x00080050, content, length=UNDEFINED), little=True, explicit=False).flags == {
        "undefined-length"
    }
    with pytest.raises(DataSetError, match="UT of undefined length"):
        le(explicit(0x00080050, "UT", content, length=UNDEFINED))


def test_of_duplicates_the_first_is_kept() -> None:
    found = le(MODALITY + NAME + explicit(0x00080060, "CS", b"MR"))
    assert found.elements[0x00080060].offset == 8
    assert found.flags == {"duplicate-tag"}


def test_order_is_judged_against_the_highest_tag_so_far() -> None:
    late = explicit(0x00080070, "LO", b"maker ")
    found = le(NAME + MODALITY + late + explicit(0x00080060, "CS", b"MR") + PIXELS)
    assert list(found.elements) == [0x00100010, 0x00080060, 0x00080070, 0x7FE00010]
    assert found.flags == {"tag-order", "duplicate-tag"}


# --- refused

REFUSED = [
    (TruncatedError, NAME[:-1]),
    (TruncatedError, NAME + PIXELS[:-3]),
    (TruncatedError, NAME + PIXELS[:10]),
    (TruncatedError, NAME + b"\x10\x00\x20"),
    (TruncatedError, explicit(0x00081110, "SQ", item(NAME), length=UNDEFINED)),
    (TruncatedError, explicit(0x00081110, "SQ", implicit(0xFFFEE000, NAME, length=UNDEFINED), length=UNDEFINED)),
    (TruncatedError, encapsulated(b"abcd")[:-8]),
    (TruncatedError, encapsulated(b"abcd")[:-9]),
    (DataSetError, sequence(0x00081110, item(NAME)[:-1]) + NAME),
    (DataSetError, sequence(0x00081110, NAME) + NAME),
    (DataSetError, MODALITY + item(NAME)),
    (DataSetError, MODALITY + implicit(0xFFFEE00D, b"abcd")),
    (DataSetError, sequence(0x00081110, item(MODALITY, item(NAME), NAME))),
    (DataSetError, encapsulated(b"abcd").replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x01\xe0")),
    (DataSetError, explicit(0x00100010, "\xff\xff", b"Doe^John", length=0xFFF0)),
]


@pytest.mark.parametrize(("error", "data"), REFUSED)
def test_what_does_not_fit_is_refused(error: type[IsocenterError], data: bytes) -> None:
    with pytest.raises(error):
        le(data)
    with pytest.raises(error):
        list(walk(data, little=True, explicit=True))


def test_a_sequence_of_a_repeating_group_is_proved_in_implicit_vr_too() -> None:
    good = implicit(0x50022600, item(implicit(0x00081150, b"1.2\0")))
    assert scan(good, little=True, explicit=False).elements[0x50022600].vr == "SQ"
    for data in (implicit(0x50022600, b"no item!"), implicit(0x00081140, item(implicit(0x50022600, b"no item!")))):
        with pytest.raises(DataSetError):
            scan(data, little=True, explicit=False)


def test_errors_tell_the_place_and_no_value() -> None:
    data = sequence(0x00081110, item(), item(MODALITY, explicit(0x00100010, "PN", b"Doe^John", length=900)))
    with pytest.raises(TruncatedError) as caught:
        le(data)
    assert caught.value.tag_path == "(0008,1110)[1].(0010,0010)"
    assert caught.value.offset == data.index(b"\x10\x00\x10\x00")
    assert "Doe" not in str(caught.value)


def test_every_truncation_of_a_header_being_received_gives_what_is_complete() -> None:
    data = MODALITY + sequence(0x00081110, item(MODALITY), undefined=True) + NAME + PIXELS
    whole = le(data, whole=False)
    assert whole.flags == frozenset()
    for size in range(len(data)):
        found = le(data[:size], whole=False)
        assert found.end <= size
        assert found.elements == {
            tag: element
            for tag, element in whole.elements.items()
            if element.offset + max(element.length, 0) <= size
            and (element.length >= 0 or size >= len(MODALITY) + 12 + 8 + 10 + 8)
        }
        resumed = le(data, start=found.end, whole=False)
        assert found.elements | resumed.elements == whole.elements
        assert (found.end == size) == (found.flags == frozenset())


# --- limits


def nested(depth: int) -> bytes:
    content = NAME
    for _ in range(depth):
        content = sequence(0x00081110, item(content, undefined=True), undefined=True)
    return content


def test_nesting_is_limited() -> None:
    limits = Limits(nesting=10)
    assert le(nested(10), limits=limits).flags == frozenset()
    with pytest.raises(LimitExceeded, match=r"limits\.nesting"):
        le(nested(11), limits=limits)


def test_deep_nesting_costs_no_python_frames() -> None:
    le(nested(5000), limits=Limits(nesting=5000))


def test_elements_are_limited_at_every_level() -> None:
    limits = Limits(elements=100)
    many = b"".join(explicit(0x00091000 + number, "LO") for number in range(200))
    for data in (
        many,
        sequence(0x00081110, item(many)),
        sequence(0x00081110, *[item()] * 200),
        encapsulated(*[b""] * 200),
    ):
        with pytest.raises(LimitExceeded, match=r"limits\.elements"):
            le(data, limits=limits)
        with pytest.raises(LimitExceeded, match=r"limits\.elements"):
            list(walk(data, little=True, explicit=True, limits=limits))


def test_a_run_of_delimiters_is_neither_recursion_nor_endless() -> None:
    data = NAME + implicit(0xFFFEE00D) * 50_000
    assert le(data).flags == {"stray-delimiter"}
    assert [event[1] for event in walk(data, little=True, explicit=True)] == [0x00100010]


def test_long_runs_of_nul_before_something_else_are_looked_at_once() -> None:
    data = NAME + bytes(4 << 20) + b"x"
    with pytest.raises(IsocenterError):
        le(data)
    with pytest.raises(IsocenterError):
        list(walk(data, little=True, explicit=True))


# --- deflate


def deflated(data: bytes, *, wbits: int = -15) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("tail", [b"", b"\0", bytes(5)])
@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 20) + 1])
def test_inflate(size: int, tail: bytes) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    packed = deflated(data)
    assert inflate(packed + tail) == data
    assert inflate(b"head" + packed + b"tail", start=4, end=4 + len(packed)) == data


def test_inflate_takes_zlib_and_gzip_wrappings_that_writers_leave() -> None:
    data = b"isocenter" * 999
    assert inflate(deflated(data, wbits=15)) == data
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    assert inflate(deflated(data) + trailer) == data


def test_inflate_refuses() -> None:
    packed = deflated(b"isocenter" * 999)
    with pytest.raises(TruncatedError):
        inflate(packed[:-2])
    with pytest.raises(TruncatedError):
        inflate(b"")
    with pytest.raises(DataSetError, match="follows"):
        inflate(packed + b"more")
    with pytest.raises(DataSetError, match="damaged"):
        inflate(b"\xff" + packed)
    with pytest.raises(LimitExceeded, match=r"limits\.inflate_bytes"):
        inflate(packed, Limits(inflate_bytes=1000))
    bomb = deflated(bytes(64 << 20))
    with pytest.raises(LimitExceeded, match=r"limits\.inflate_ratio"):
        inflate(bomb)
    assert len(inflate(bomb, Limits(inflate_ratio=2000))) == 64 << 20
