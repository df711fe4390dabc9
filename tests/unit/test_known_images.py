"""Where frames of stored objects lie is found out once: what grows with their number is not done again."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from isocenter.errors import PixelError
from isocenter.pixels.known import KnownImages
from isocenter.wire.limits import DEFAULT_LIMITS
from pixel_objects import ENCAPSULATED, JPEG, data_set, element, encapsulated, offset_table, sequence

EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def frame_of(known: KnownImages, name: str, content: bytes, number: int, syntax: str = ENCAPSULATED) -> bytes:
    with known.image(name, content, syntax, 0, DEFAULT_LIMITS) as image:
        return image.frame_bytes(number)


def long_object(frames: int, *, table: bool = False) -> tuple[bytes, list[bytes]]:
    parts = [struct.pack("<I", number) * 6 for number in range(frames)]
    return data_set(encapsulated(offset_table(*parts) if table else b"", *parts), frames=frames), parts


@pytest.mark.parametrize("table", [True, False])
def test_the_second_request_walks_nothing(table: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    content, parts = long_object(500, table=table)
    known = KnownImages(1 << 20)
    assert frame_of(known, "a", content, 250) == parts[249]
    walked = []
    from isocenter.pixels import frames, image

    def items(*args: Any) -> Any:
        walked.append(args)
        return original(*args)

    original = frames.items
    monkeypatch.setattr(frames, "items", items)
    monkeypatch.setattr(image, "scan", None)  # a header that is read again fails
    assert frame_of(known, "a", content, 499) == parts[498]
    assert frame_of(known, "a", content, 1) == parts[0]
    assert len(walked) == (2 if table else 0)  # from an entry of a table to the frame's end


def test_another_copy_of_the_bytes_will_do() -> None:
    content, parts = long_object(20)
    known = KnownImages(1 << 20)
    first = bytearray(content)
    assert frame_of(known, "a", first, 3) == parts[2]
    first.extend(b"x")  # nothing holds on to the buffer: it can be resized
    assert frame_of(known, "a", memoryview(content), 4) == parts[3]


def test_functional_groups_are_found_once() -> None:
    def group(number: int) -> bytes:
        return sequence(0x00289132, element(0x00281050, "DS", str(number)) + element(0x00281051, "DS", "10"))

    groups = sequence(0x52009230, *(group(number) for number in range(50)))
    content = data_set(bytes(50 * 24), frames=50, last=groups)
    known = KnownImages(1 << 20)
    for number in (7, 50, 1):
        with known.image("a", content, EXPLICIT, 0, DEFAULT_LIMITS) as image:
            assert image.group(0x00289132, number).numbers(0x00281050) == (number - 1,)


def test_the_oldest_make_room() -> None:
    content, parts = long_object(1000)
    known = KnownImages(100_000)
    for name in "abcdefgh":
        assert frame_of(known, name, content, 1000) == parts[999]
    assert 2 <= len(known) < 8
    assert frame_of(known, "a", content, 1000) == parts[999]


def test_nothing_is_kept_of_what_is_larger_than_all() -> None:
    content, parts = long_object(1000)
    known = KnownImages(0)
    assert frame_of(known, "a", content, 2) == parts[1]
    assert len(known) == 0


def test_damage_is_told_each_time() -> None:
    content, _ = long_object(10)
    known = KnownImages(1 << 20)
    for _ in range(2):
        with pytest.raises(PixelError, match="frame 9"):
            frame_of(known, "a", content[:-60], 9)
    with known.image("a", content[:-60], ENCAPSULATED, 0, DEFAULT_LIMITS) as image:
        assert "fragments-cut-off" in image.flags


def test_deflated_objects_are_inflated_each_time() -> None:
    import zlib

    content = data_set(bytes(range(48)), frames=2)
    squeeze = zlib.compressobj(wbits=-15)
    deflated = squeeze.compress(content) + squeeze.flush()
    known = KnownImages(1 << 20)
    for _ in range(2):
        assert frame_of(known, "a", deflated, 2, DEFLATED) == bytes(range(24, 48))
    assert len(known) == 0


def test_no_syntax_of_its_own_for_what_is_kept() -> None:
    """The same file under two names is two objects."""
    known = KnownImages(1 << 20)
    one, parts = long_object(5)
    other = data_set(encapsulated(b"", b"\xff\xd8\xff\xe0first...", b"\xff\xd8\xff\xe0second.."), frames=2)
    assert frame_of(known, "a", one, 2) == parts[1]
    assert frame_of(known, "b", other, 2, JPEG) == b"\xff\xd8\xff\xe0second.."
