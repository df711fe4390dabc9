"""Frames by number: native offsets, offset tables, fragments, and what is missing."""

from __future__ import annotations

import gc
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from isocenter.errors import DataSetError, LimitExceeded, NoSuchFrame, PixelError
from isocenter.pixels import frames
from isocenter.pixels.image import Image
from isocenter.wire.elements import LITTLE
from isocenter.wire.fragments import items, places
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from isocenter.wire.part10 import read_header
from pixel_objects import (
    BIG_ENDIAN,
    ENCAPSULATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    RLE,
    data_set,
    element,
    encapsulated,
    fragments,
    image,
    offset_table,
)

DEFLATED = "1.2.840.10008.1.2.1.99"
# Three frames of four by six bytes each, as Encapsulated Uncompressed has them: any byte is a pixel.
FRAMES = [bytes(range(100 * n, 100 * n + 24)) for n in range(3)]


def frames_of(pixels: bytes, **more: object) -> list[bytes]:
    found = image(data_set(pixels, frames=3, **more), ENCAPSULATED)  # type: ignore[arg-type]
    return [found.frame_bytes(n) for n in (1, 2, 3)]


def test_native_frames_lie_one_after_the_other() -> None:
    found = image(data_set(b"".join(FRAMES), frames=3))
    assert [found.frame_bytes(n) for n in (1, 2, 3)] == FRAMES
    assert found.frame(2).tolist() == np.arange(100, 124, dtype=np.uint8).reshape(4, 6).tolist()


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("bits", [15, 24, 30])
def test_one_bit_frames_need_not_begin_on_a_byte(bits: int, little: bool) -> None:
    """PS3.5 section 8.1.1: frames of 15 bits follow each other without padding, first pixel in the lowest bit."""
    rng = np.random.default_rng(bits)
    expected = rng.integers(0, 2, (7, 1, bits), np.uint8)
    packed = np.packbits(expected.reshape(-1), bitorder="little").tobytes()
    packed += b"\0" * (len(packed) % 2)
    if not little:
        packed = np.frombuffer(packed, ">u2").astype("<u2").tobytes()
    raw = data_set(packed, rows=1, columns=bits, allocated=1, frames=7, little=little)
    found = image(raw, *([] if little else [BIG_ENDIAN]))
    assert [found.frame(n).tolist() for n in range(1, 8)] == expected.tolist()
    bare = found.frame_bytes(3)
    assert np.unpackbits(np.frombuffer(bare, np.uint8), bitorder="little")[:bits].tolist() == expected[2, 0].tolist()


def test_big_endian_bytes_in_words_change_places() -> None:
    """8-bit samples in OW, an odd number a frame: the second frame begins in the middle of a word."""
    frames = [bytes(range(15)), bytes(range(20, 35))]
    value = b"".join(frames)
    swapped = np.frombuffer(value, ">u2").astype("<u2").tobytes()
    found = image(data_set(swapped, rows=3, columns=5, frames=2, little=False), BIG_ENDIAN)
    assert [found.frame_bytes(1), found.frame_bytes(2)] == frames


def test_frame_bytes_are_little_endian_whatever_the_object_is() -> None:
    values = np.arange(24, dtype=">u2") * 257
    found = image(data_set(values.tobytes(), allocated=16, little=False), BIG_ENDIAN)
    assert found.frame_bytes(1) == values.astype("<u2").tobytes()
    assert found.frame(1).tolist() == values.reshape(4, 6).tolist()


def test_implicit_little_endian() -> None:
    found = image(data_set(b"".join(FRAMES), frames=3, explicit=False), IMPLICIT)
    assert found.frame_bytes(3) == FRAMES[2]


@pytest.mark.parametrize("table", [offset_table(*FRAMES), b""], ids=["basic table", "no table"])
def test_one_fragment_a_frame(table: bytes) -> None:
    assert frames_of(encapsulated(table, *FRAMES)) == FRAMES


def test_extended_offset_table_and_its_lengths() -> None:
    """C.7.6.3.1.8: lengths leave out the padding of an odd frame."""
    odd = [frame + b"\x77" for frame in FRAMES]
    offsets = struct.pack("<3Q", 0, 34, 68)
    lengths = struct.pack("<3Q", 25, 25, 25)
    tables = element(0x7FE00001, "OV", offsets) + element(0x7FE00002, "OV", lengths)
    assert frames_of(encapsulated(b"", *odd), last=tables) == odd


def test_several_fragments_a_frame_with_a_table() -> None:
    parts = [part for frame in FRAMES for part in (frame[:10], frame[10:])]
    each = (8 + 10) + (8 + 14)
    assert frames_of(encapsulated(struct.pack("<3I", 0, each, 2 * each), *parts)) == FRAMES


def test_several_fragments_a_frame_without_a_table_are_told_by_their_codestreams() -> None:
    streams = [b"\xff\xd8\xff\xe0" + bytes([n]) * 10 + b"\xff\xd9" for n in range(3)]
    parts = [part for stream in streams for part in (stream[:6], stream[6:])]
    found = image(data_set(encapsulated(b"", *parts), frames=3), JPEG)
    assert [found.frame_bytes(n) for n in (1, 2, 3)] == streams


def jpeg(*rest: int) -> bytes:
    return b"\xff\xd8\xff" + bytes(rest)


def rle(*rest: int) -> bytes:
    return struct.pack("<II", 1, 64) + bytes(rest)


WALKS = {
    "each is a frame": [jpeg(1), jpeg(2, 2), jpeg(3), jpeg(4), jpeg(5)],
    "too few": [jpeg(1), jpeg(2), jpeg(3)],
    "too many": [jpeg(n) for n in range(8)],
    "the third frame in two": [jpeg(1), jpeg(2), jpeg(3), b"3333", jpeg(4), jpeg(5)],
    "the first frame in two": [jpeg(1), b"11", jpeg(2), jpeg(3), jpeg(4), jpeg(5)],
    "as many fragments as frames, one of which does not begin so": [jpeg(1), jpeg(2), b"3333", jpeg(4), jpeg(5)],
    "an empty one": [jpeg(1), b"", jpeg(2), jpeg(3), jpeg(4)],
    "RLE": [rle(n, n) for n in range(5)],
    "RLE, too few, and one that is broken": [rle(1), rle(2), b"broken  ", rle(4)],
    "RLE in fragments against the rule": [rle(1), rle(2), b"continued ", rle(3), rle(4), rle(5)],
    "nothing that tells": [b"a ", b"b ", b"c ", b"d ", b"e "],
    "nothing that tells, too many": [b"a ", b"b ", b"c ", b"d ", b"e ", b"f "],
}


@pytest.mark.parametrize("cut", [0, 9, 20])
@pytest.mark.parametrize("parts", WALKS.values(), ids=WALKS.keys())
def test_who_asks_for_one_frame_is_told_what_the_walk_to_the_end_says(parts: list[bytes], cut: int) -> None:
    """Nothing after the fragment that follows the frame's can change whose it is: so it is not looked at."""
    pixels = encapsulated(b"", *(part + b"\0" * (len(part) % 2) for part in parts))
    raw = data_set(pixels[: len(pixels) - cut], frames=5)
    for number in range(1, 6):
        answers: list[object] = []
        for first in (number, 5):
            found = image(raw, JPEG)
            for asked in (first, number):
                try:
                    answer: object = found.frame_bytes(asked)
                except PixelError as error:
                    answer = str(error)
            answers.append(answer)
        assert answers[0] == answers[1]


def test_a_frame_is_reached_without_a_walk_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 frames without a table those up to the one asked for are walked over, and the one after it."""
    walked: list[int] = []

    def counted(*arguments: Any) -> Any:
        found = places(*arguments)
        walked.append(len(found[0]))
        return found

    monkeypatch.setattr(frames, "places", counted)
    parts = [jpeg(n, n, 0) for n in range(200)]
    found = image(data_set(encapsulated(b"", *parts), frames=200), JPEG)
    for number in (50, 7, 50, 60, 200, 1):
        assert found.frame_bytes(number) == parts[number - 1]
    assert walked == [51, 200]


@pytest.mark.parametrize("number", [50, 200])
def test_nothing_of_a_walk_keeps_the_file_mapped(number: int, tmp_path: Path) -> None:
    path = tmp_path / "walked.dcm"
    path.write_bytes(data_set(encapsulated(b"", *(jpeg(n, n, 0) for n in range(200)))[:-8], frames=200))
    gc.disable()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buf:
            found = Image.of(memoryview(buf), JPEG, 0)
            assert found.frame_bytes(number) == jpeg(number - 1, number - 1, 0)
            del found
    finally:
        gc.enable()


def test_several_fragments_that_nothing_tells_apart_are_refused() -> None:
    found = image(data_set(encapsulated(b"", *FRAMES, *FRAMES), frames=3), RLE)
    with pytest.raises(PixelError, match="frame 2: 6 fragments for 3 frames"):
        found.frame_bytes(2)


def test_all_fragments_belong_to_a_single_frame() -> None:
    found = image(data_set(encapsulated(b"", b"\xff\xd8\xff\xe0", b"abcd", b"\xff\xd9")), JPEG)
    assert found.frame_bytes(1) == b"\xff\xd8\xff\xe0abcd\xff\xd9"


@pytest.mark.parametrize(
    "offsets",
    [(0, 31, 64), (0, 0, 0), (0, 32, 1 << 31), (32, 0, 64), (8, 40, 72), (0, 32, 65)],
    ids=["beside an item", "all the same", "outside", "out of order", "from the table's start", "last beside"],
)
def test_a_table_that_cannot_be_true_is_ignored(offsets: tuple[int, int, int]) -> None:
    found = image(data_set(encapsulated(struct.pack("<3I", *offsets), *FRAMES), frames=3), ENCAPSULATED)
    assert [found.frame_bytes(n) for n in (1, 2, 3)] == FRAMES
    assert "offset-table-ignored" in found.flags


def test_a_frame_is_reached_without_reading_the_others() -> None:
    """With a table, what stands in other frames' fragments does not matter, not even their item headers."""
    value = bytearray(encapsulated(offset_table(*FRAMES), *FRAMES))
    second = value.index(FRAMES[1])
    value[second - 8 : second] = b"\xde\xad\xbe\xef\xde\xad\xbe\xef"
    found = image(data_set(bytes(value), frames=3), ENCAPSULATED)
    assert found.frame_bytes(1) == FRAMES[0]
    assert found.frame_bytes(3) == FRAMES[2]
    with pytest.raises(PixelError, match="frame 2"):
        found.frame_bytes(2)


@pytest.mark.parametrize("number", [0, -1, 4, 1 << 40])
@pytest.mark.parametrize("pixels", [b"".join(FRAMES), encapsulated(b"", *FRAMES)], ids=["native", "encapsulated"])
def test_there_is_no_such_frame(number: int, pixels: bytes) -> None:
    syntax = ENCAPSULATED if pixels[0] == 0xE0 else "1.2.840.10008.1.2.1"
    found = image(data_set(pixels, frames=3), syntax)
    with pytest.raises(NoSuchFrame):
        found.frame_bytes(number)
    with pytest.raises(NoSuchFrame):
        found.frame(number)


def test_short_native_data_fail_the_frames_they_lack() -> None:
    raw = data_set(b"".join(FRAMES), frames=3)
    found = image(raw[:-10])
    assert found.frame_bytes(2) == FRAMES[1]
    assert "pixel-data-short" in found.flags
    with pytest.raises(PixelError, match="frame 3: pixel data have 62 bytes, 72 are needed"):
        found.frame(3)


@pytest.mark.parametrize("table", [offset_table(*FRAMES), b""], ids=["basic table", "no table"])
def test_a_cut_off_file_still_gives_its_whole_frames(table: bytes) -> None:
    raw = data_set(encapsulated(table, *FRAMES), frames=3)
    found = image(raw[: raw.index(FRAMES[2]) + 5], ENCAPSULATED)
    assert [found.frame_bytes(1), found.frame_bytes(2)] == FRAMES[:2]
    with pytest.raises(PixelError, match="frame 3: a fragment of 24 bytes reaches beyond the end"):
        found.frame_bytes(3)


def test_an_empty_fragment_is_an_error_of_its_frame() -> None:
    found = image(data_set(encapsulated(b"", FRAMES[0], b"", FRAMES[2]), frames=3), ENCAPSULATED)
    assert found.frame_bytes(3) == FRAMES[2]
    with pytest.raises(PixelError, match="frame 2: the frame has no bytes"):
        found.frame(2)


def test_a_missing_delimiter_loses_nothing() -> None:
    assert frames_of(encapsulated(b"", *FRAMES, delimiter=False)) == FRAMES


def test_a_codestream_without_items_is_found() -> None:
    stream = b"\xff\xd8\xff\xe0abcdefgh\xff\xd9"
    found = image(data_set(element(0x7FE00010, "OB", stream)), JPEG)
    assert found.frame_bytes(1) == stream
    assert "not-encapsulated" in found.flags


@pytest.mark.parametrize("tables", ["basic", "extended", "none", "native"])
def test_a_memory_map_can_be_closed_while_the_image_lives(tables: str, tmp_path: Path) -> None:
    offsets = struct.pack("<3Q", 0, 32, 64)
    extended = element(0x7FE00001, "OV", offsets) + element(0x7FE00002, "OV", struct.pack("<3Q", 24, 24, 24))
    pixels = {
        "basic": encapsulated(offset_table(*FRAMES), *FRAMES),
        "extended": encapsulated(b"", *FRAMES),
        "none": encapsulated(b"", *FRAMES),
        "native": b"".join(FRAMES),
    }[tables]
    file = tmp_path / "object"
    file.write_bytes(data_set(pixels, frames=3, last=extended if tables == "extended" else b""))
    with file.open("rb") as handle:
        mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        with memoryview(mapped) as view:
            found = Image.of(view, ENCAPSULATED if tables != "native" else EXPLICIT, 0)
            frame = found.frame(2)
        mapped.close()
    assert frame.tobytes() == FRAMES[1]
    assert found.number_of_frames == 3


def test_a_frame_of_your_own() -> None:
    """Arrays do not hold the buffer: a memory map can be closed under them, and they can be written."""
    found = image(data_set(b"".join(FRAMES), frames=3))
    first = found.frame(1)
    first[0, 0] = 255
    assert found.frame(1)[0, 0] == 0


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 15, 16, 17, 31, 40])
def test_the_quick_walk_over_fragments_sees_what_the_careful_one_sees(cut: int) -> None:
    parts = [bytes([n]) * (2 * n) for n in range(6)]
    whole = fragments(b"", *parts)
    data = whole[: len(whole) - cut]
    offsets, lengths, error = places(data, 0, len(data), LITTLE, DEFAULT_LIMITS)
    careful: list[tuple[int, int]] = []
    message = None
    try:
        careful.extend(items(data, 0, len(data), LITTLE, DEFAULT_LIMITS))
    except DataSetError as reason:
        message = str(reason)
    assert list(zip(offsets, lengths, strict=True)) == [item for item in careful if item[1] >= 0]
    assert (None if error is None else str(error)) == message


def test_no_more_fragments_are_walked_than_there_may_be() -> None:
    data = fragments(b"", *(b"\0\0" for _ in range(200)))
    offsets, _, error = places(data, 0, len(data), LITTLE, Limits(elements=100))
    assert len(offsets) <= 100
    assert isinstance(error, LimitExceeded)


@pytest.mark.parametrize("explicit", [True, False])
def test_sequences_of_undefined_length_before_the_pixels_are_passed(explicit: bool) -> None:
    """Functional groups of many frames: a regular sequence is found to its end in one loop, an odd one by walking."""
    inner = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    value = 300 * inner + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if explicit:
        groups = b"\x00\x52\x30\x92SQ\0\0\xff\xff\xff\xff" + value
    else:
        groups = b"\x00\x52\x30\x92\xff\xff\xff\xff" + value
    syntax = EXPLICIT if explicit else IMPLICIT
    found = image(data_set(b"".join(FRAMES), frames=3, explicit=explicit, last=groups), syntax)
    assert found.frame_bytes(3) == FRAMES[2]
    assert found.attributes.count(0x52009230) == 300


def test_where_a_frame_lies_whole_are_its_bytes() -> None:
    """Over pydicom's own files, which have every form; what has to be made has no such place."""
    whole = made = 0
    for path in sorted(Path(get_testdata_file("CT_small.dcm")).parent.glob("*.dcm")):
        data = path.read_bytes()
        try:
            header = read_header(data)
            found = Image.of(data, header.transfer_syntax, header.data_set_offset)
            bare = [found.frame_bytes(n) for n in range(1, min(found.number_of_frames, 4) + 1)]
        except DataSetError:
            continue  # no image, or one that is damaged
        if header.transfer_syntax == DEFLATED:
            continue  # its places are those in a buffer of its own
        for number, frame in enumerate(bare, 1):
            place = found.whole_place(number)
            if place is None:
                made += 1
            else:
                whole += 1
                assert data[place[0] : sum(place)] == frame, path.name
    assert whole > 50
    assert made > 3


def test_a_place_is_of_frames_that_are_there() -> None:
    found = image(data_set(b"".join(FRAMES), frames=3))
    for number in (0, 4):
        with pytest.raises(NoSuchFrame):
            found.whole_place(number)
    assert image(data_set(b"".join(FRAMES)[:60], frames=3)).whole_place(3) is None
