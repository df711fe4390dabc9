"""Finding the end of regular sequences: what it finds, and that it is never of another opinion than the Walker."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_sets import LONG, UNDEFINED, explicit, implicit, item
from isocenter.errors import IsocenterError
from isocenter.wire import regular
from isocenter.wire.elements import BIG, LITTLE, Element
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.regular import regular_end
from isocenter.wire.walk import Walker

ENCODINGS = {"implicit": (True, False), "explicit": (True, True), "big": (False, True)}  # little, explicit


def element(encoding: str, tag: int, vr: str, value: bytes = b"", *, length: int | None = None) -> bytes:
    if encoding == "implicit":
        return implicit(tag, value, length=length)
    return explicit(tag, vr, value, length=length, order=">" if encoding == "big" else "<")


def end_of(encoding: str, data: bytes, length: int, limits: Limits = DEFAULT_LIMITS) -> int:
    little, is_explicit = ENCODINGS[encoding]
    return regular_end(
        data, 0, length, len(data), encoding=LITTLE if little else BIG, explicit=is_explicit, limits=limits
    )


def walked(encoding: str, data: bytes, length: int, limits: Limits = DEFAULT_LIMITS) -> int:
    """What the Walker says: the end, or -1 if there is anything to be lenient about."""
    little, is_explicit = ENCODINGS[encoding]
    walker = Walker(data, little=little, explicit=is_explicit, end=len(data), limits=limits)
    try:
        for _ in walker.sequence(Element(0x00081110, "SQ", 0, length)):
            pass
    except IsocenterError:
        return -1
    return walker.pos if not walker.flags else -1


def nested(encoding: str, depth: int, undefined: bool) -> bytes:
    """The items of a sequence in which sequences are `depth` deep, itself included, between other elements."""
    order = ">" if encoding == "big" else "<"
    inside = b""
    if depth > 1:
        content = nested(encoding, depth - 1, undefined)
        inside = element(encoding, 0x00081115, "SQ", content, length=UNDEFINED if undefined else None)
    before, after = element(encoding, 0x00080060, "CS", b"CT"), element(encoding, 0x00420011, "OB", b"ab")
    one = item(before, inside, after, undefined=undefined, order=order)
    return one + item(order=order) + (implicit(0xFFFEE0DD, order=order) if undefined else b"")


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_end_is_found(encoding: str, undefined: bool) -> None:
    content = nested(encoding, 4, undefined)
    assert end_of(encoding, content + b"more", -1 if undefined else len(content)) == len(content)
    assert end_of(encoding, b"more", 0) == 0
    # a limit that the sequence reaches is for the Walker to tell
    assert end_of(encoding, content, -1 if undefined else len(content), Limits(nesting=4)) == len(content)
    assert end_of(encoding, content, -1 if undefined else len(content), Limits(nesting=3)) == -1
    assert end_of(encoding, content, -1 if undefined else len(content), Limits(elements=20)) == -1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_irregular_passes(encoding: str) -> None:
    order = ">" if encoding == "big" else "<"
    name = element(encoding, 0x00100010, "PN", b"Doe^John")
    for content in (
        element(encoding, 0x00100010, "PN", b"Doe"),
        element(encoding, 0x00100010, "PN", b"a") * 2,
        name[:-1],
        name + bytes(8),
        name + implicit(0xFFFEE00D, order=order),
        name + implicit(0xFFFEE0DD, order=order) + name,
        name + implicit(0xFFFE0000, b"ab", order=order),
        element(encoding, 0xFFFCFFFC, "OB", b"ab"),
        element(encoding, 0x00081115, "SQ", name),
        element(encoding, 0x00081115, "SQ", item(name, order=order), length=UNDEFINED),
        element(encoding, 0x00420011, "OB", b"ab", length=UNDEFINED),
        element(encoding, 0x00420011, "OB", b"ab", length=1 << 31),
    ):
        for undefined in (False, True):
            data = item(content, undefined=undefined, order=order)
            assert end_of(encoding, data, len(data)) == -1, content
    assert end_of(encoding, name, len(name)) == -1
    assert end_of(encoding, item(name, order=order), -1) == -1


@st.composite
def contents(draw: st.DrawFn, encoding: str, depth: int = 3) -> bytes:
    """The items of a sequence, nearly all of them regular."""
    order = ">" if encoding == "big" else "<"
    found = b""
    for _ in range(draw(st.integers(0, 2))):
        inside = b""
        for _ in range(draw(st.integers(0, 3))):
            if depth and draw(st.booleans()):
                content = draw(contents(encoding, depth - 1))
                if draw(st.booleans()):
                    content += implicit(0xFFFEE0DD, order=order)
                    inside += element(encoding, 0x00081115, "SQ", content, length=UNDEFINED)
                else:
                    inside += element(encoding, 0x00081115, "SQ", content)
            else:
                tag = draw(st.sampled_from([0x00080060, 0x00091001, 0x00280010, 0xFFFE0001, 0, 0x50022600]))
                vr = draw(st.sampled_from(["CS", "US", *LONG]))
                inside += element(
                    encoding, tag, vr, draw(st.sampled_from([b"", b"CT", b"\xfe\xff\xfe\xff", b"\0" * 8]))
                )
        found += item(inside, undefined=draw(st.booleans()), order=order)
    return found


@settings(max_examples=1000, deadline=None)
@given(st.data(), st.sampled_from(sorted(ENCODINGS)))
def test_what_passes_is_regular_to_the_walker(data: st.DataObject, encoding: str) -> None:
    content = bytearray(data.draw(contents(encoding)))
    undefined = data.draw(st.booleans())
    if undefined:
        content += implicit(0xFFFEE0DD, order=">" if encoding == "big" else "<")
    length = -1 if undefined else len(content)
    for at in data.draw(st.lists(st.integers(0, 1 << 16), max_size=2)):
        if content:
            content[at % len(content)] = data.draw(st.sampled_from([0, 1, 2, 8, 0xE0, 0x0D, 0xDD, 0xFE, 0xFF]))
    limits = Limits(nesting=data.draw(st.integers(1, 4)), elements=data.draw(st.sampled_from([20, 1_000_000])))
    found = end_of(encoding, bytes(content), length, limits)
    assert found in (-1, walked(encoding, bytes(content), length, limits))


def functional_groups(encoding: str, undefined: bool, numbers: range) -> bytes:
    """Items as a functional group has them for each frame: nested, with values of their own and lengths that repeat."""
    order = ">" if encoding == "big" else "<"
    found = b""
    for number in numbers:
        position = element(encoding, 0x00200032, "DS", f"0\\0\\{number}".encode().ljust(10))
        inner = item(
            position, element(encoding, 0x00091001, "OB", b"\xfe\xff\x0d\xe0"), undefined=undefined, order=order
        )
        closing = implicit(0xFFFEE0DD, order=order) if undefined else b""
        planes = element(encoding, 0x00209113, "SQ", inner + closing, length=UNDEFINED if undefined else None)
        found += item(element(encoding, 0x00080060, "CS", b"CT"), planes, undefined=undefined, order=order)
    return found + (implicit(0xFFFEE0DD, order=order) if undefined else b"")


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_items_that_repeat_themselves_are_proved_once(
    encoding: str, undefined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = functional_groups(encoding, undefined, range(1000))
    learned: list[int] = []
    learn = regular._Alike._learn

    def counted(self: regular._Alike, begin: int, end: int) -> None:
        learned.append(begin)
        learn(self, begin, end)

    monkeypatch.setattr(regular._Alike, "_learn", counted)
    length = -1 if undefined else len(content)
    assert end_of(encoding, content + b"more", length) == len(content) == walked(encoding, content, length)
    assert len(learned) <= 2
    assert end_of(encoding, content[:-1], length) == -1


@pytest.mark.parametrize("turns", [2, 3, 4])
def test_items_of_several_lengths_that_take_turns_are_all_learnt(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"".join(
        item(element("explicit", 0x00200032, "DS", b"0\\0\\7".ljust(6 + 2 * (number % turns))))
        for number in range(2000)
    )
    proved: list[int] = []
    learn = regular._Alike._learn

    def counted(self: regular._Alike, begin: int, end: int) -> None:
        proved.append(begin)
        learn(self, begin, end)

    monkeypatch.setattr(regular._Alike, "_learn", counted)
    assert end_of("explicit", content, len(content)) == len(content)
    assert len(proved) < 200


@pytest.mark.parametrize("item_number", [15, 80])  # looked at by itself, and together with others
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_byte_of_an_item_among_others_like_it_can_lie(encoding: str, undefined: bool, item_number: int) -> None:
    content = functional_groups(encoding, undefined, range(100))
    size = len(functional_groups(encoding, False, range(1))) if not undefined else (len(content) - 8) // 100
    length = -1 if undefined else len(content)
    refused = 0
    for at in range(item_number * size, (item_number + 1) * size):
        for value in {content[at] ^ 1, content[at] ^ 2, 0, 8, 0xFF} - {content[at]}:
            changed = content[:at] + bytes([value]) + content[at + 1 :]
            found = end_of(encoding, changed, length)
            assert found in (-1, walked(encoding, changed, length)), (at - 15 * size, value)
            refused += found < 0
    assert refused > 50


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(sorted(ENCODINGS)))
def test_what_passes_among_many_is_regular_to_the_walker(data: st.DataObject, encoding: str) -> None:
    kinds = [data.draw(contents(encoding, 1)) for _ in range(data.draw(st.integers(1, 3)))]
    content = bytearray(b"".join(kinds[n % len(kinds)] for n in range(data.draw(st.integers(8, 120)))))
    undefined = data.draw(st.booleans())
    if undefined:
        content += implicit(0xFFFEE0DD, order=">" if encoding == "big" else "<")
    length = -1 if undefined else len(content)
    if content:
        for at in data.draw(st.lists(st.integers(0, 1 << 16), max_size=2)):
            content[at % len(content)] = data.draw(st.sampled_from([0, 1, 2, 8, 0xE0, 0x0D, 0xDD, 0xFE, 0xFF]))
    found = end_of(encoding, bytes(content), length)
    assert found in (-1, walked(encoding, bytes(content), length))
