"""Where frames of stored objects lie is found out once: what grows with their number is not done again."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from isocenter.errors import PixelError
from isocenter.pixels import frames
from isocenter.pixels.kept_places import KeptPlaces
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


# --- what a walk found, in files ------------------------------------------------------------------------------------

MANY = 1200


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every walk over all fragments of an object."""
    made: list[object] = []
    original = frames.EncapsulatedFrames._scan

    def scan(self: frames.EncapsulatedFrames) -> object:
        made.append(self)
        return original(self)

    monkeypatch.setattr(frames.EncapsulatedFrames, "_scan", scan)
    return made


def from_disk(
    folder: Path,
    content: bytes,
    number: int,
    *,
    name: str = "0a/0b",
    digest: str = "d1",
    known: KnownImages | None = None,
) -> bytes:
    """A frame as a process finds it that has just begun."""
    known = known or KnownImages(1 << 20, KeptPlaces(folder, lambda name: True))
    with known.image(name, content, ENCAPSULATED, 0, DEFAULT_LIMITS, digest) as image:
        return image.frame_bytes(number)


def test_the_next_process_walks_nothing(tmp_path: Path, walks: list[object]) -> None:
    content, parts = long_object(MANY)
    for number in (MANY, 1, 600):
        assert from_disk(tmp_path / "frames", content, number) == parts[number - 1]
    assert len(walks) == 1
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["0a.0b"]


def test_a_table_that_lies_is_walked_around_once(tmp_path: Path, walks: list[object]) -> None:
    parts = [struct.pack("<I", number) * 6 for number in range(MANY)]
    table = struct.pack(f"<{MANY}I", *range(0, 2 * MANY, 2))
    content = data_set(encapsulated(table, *parts), frames=MANY)
    for number in (5, 6):
        known = KnownImages(1 << 20, KeptPlaces(tmp_path / "frames", lambda name: True))
        with known.image("0a/0b", content, ENCAPSULATED, 0, DEFAULT_LIMITS, "d1") as image:
            assert image.frame_bytes(number) == parts[number - 1]
            assert "offset-table-ignored" in image.flags
    assert len(walks) == 1


def test_several_fragments_a_frame_are_kept_as_they_belong_together(tmp_path: Path, walks: list[object]) -> None:
    parts = [b"\xff\xd8\xff\xe0" + struct.pack("<I", number) for number in range(MANY // 2)]
    pieces = [piece for part in parts for piece in (part, b"more")]
    content = data_set(encapsulated(b"", *pieces), frames=MANY // 2)
    for number in (1, 77, MANY // 2):
        assert from_disk(tmp_path / "frames", content, number) == parts[number - 1] + b"more"
    assert len(walks) == 1


@pytest.mark.parametrize("what", ["other digest", "other size", "a byte of the file", "cut off", "empty", "nonsense"])
def test_what_is_kept_is_believed_of_that_object_and_whole_only(what: str, tmp_path: Path, walks: list[object]) -> None:
    content, parts = long_object(MANY)
    folder = tmp_path / "frames"
    from_disk(folder, content, 1)
    (path,) = folder.iterdir()
    data = path.read_bytes()
    digest = "d1"
    if what == "other digest":
        digest = "d2"
    elif what == "other size":
        content += b"\0\0"
    else:
        broken = bytearray(data)
        broken[len(data) // 2] ^= 1
        damaged = {"a byte of the file": broken, "cut off": data[:-7], "empty": b"", "nonsense": b"x" * 5000}
        path.write_bytes(damaged[what])
    assert from_disk(folder, content, 700, digest=digest) == parts[699]
    assert len(walks) == 2
    assert from_disk(folder, content, 800, digest=digest) == parts[799]
    assert len(walks) == 2, "it was not made anew"


def test_places_where_no_item_is_are_found_out(tmp_path: Path, walks: list[object]) -> None:
    """Whatever went wrong: of what is kept, no byte is given out before which no item header stands."""
    content, parts = long_object(MANY)
    shorter = data_set(encapsulated(b"", *[part[:22] for part in parts], bytes(2 * MANY - 8)), frames=MANY + 1)
    assert len(content) == len(shorter), "another size would be found out before"
    from_disk(tmp_path / "frames", content, 1)
    assert from_disk(tmp_path / "frames", shorter, 600) == parts[599][:22]
    assert len(walks) == 2


def test_objects_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    content, _ = long_object(MANY)
    folder = tmp_path / "frames"
    known = KnownImages(1 << 20, KeptPlaces(folder, lambda name: True))
    for name in ("0a/01", "0a/02", "0a/03"):
        from_disk(folder, content, 1, name=name, known=known)
    known.forget(["0a/02", "0a/99"])
    assert {path.name for path in folder.iterdir()} == {"0a.01", "0a.03"}
    KeptPlaces(folder, {"0a/03"}.__contains__)
    assert {path.name for path in folder.iterdir()} == {"0a.03"}


def test_little_is_kept_in_memory_only_and_a_full_disk_costs_time_only(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    short, few = long_object(100)
    assert from_disk(folder, short, 3) == few[2]
    assert not folder.exists()
    folder.write_text("no folder: nothing can be written there")
    long, many = long_object(MANY)
    assert from_disk(folder, long, 3) == many[2]
