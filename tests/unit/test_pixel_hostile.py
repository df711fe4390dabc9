"""Header combinations that lie, over every codec: a typed error or a picture, in two seconds and bounded memory.

Each row is what an attacker or a broken writer may send. It may take two seconds of a processor, and have the peak of
the memory grow by a few frames' worth.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hostile_pixels import BOMB_FRAMES, CERTAIN, HARMLESS, NATIVE, TABLE, stream
from isocenter.errors import DataSetError, IsocenterError, PixelError
from isocenter.pixels import isolation
from isocenter.pixels.isolation import isolated
from isocenter.pixels.render import render
from isocenter.pixels.transcode import Wanted, transcoded
from isocenter.wire.limits import DEFAULT_LIMITS
from measured import Spent, peak
from pixel_objects import (
    BIG_ENDIAN,
    DEFLATED_FRAME,
    ENCAPSULATED,
    EXPLICIT,
    J2K,
    RLE,
    data_set,
    element,
    encapsulated,
    image,
    sequence,
)


@pytest.mark.parametrize(("what", "pixels", "header", "uid"), TABLE, ids=[row[0] for row in TABLE])
def test_a_lie_is_a_typed_error(what: str, pixels: bytes, header: dict[str, Any], uid: str) -> None:
    spent = Spent()
    try:
        found = image(data_set(pixels, **header), uid)
        result = found.decode(1)
    except PixelError as error:
        assert str(error)
    else:
        # Noise may be a picture by chance where a format cannot tell; then it has the shape that was announced.
        assert result.pixels.shape == found.layout.shape
        chance = uid in (DEFLATED_FRAME, RLE, ENCAPSULATED) and what not in CERTAIN
        assert "noise" in what or chance or what in HARMLESS, "this lie was believed"
    assert spent.seconds < 2
    assert spent.memory < 64 << 20


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 40
    assert len({row[0] for row in TABLE}) == len(TABLE)


def test_no_lie_kills_a_decoder_of_the_server() -> None:
    """Each in the process that had all before it: the last one is the first one still."""
    with isolated(1) as pool:
        isolation.warm()
        (pid,) = pool.processes()
        for what, pixels, header, uid in TABLE:
            spent = Spent([pid])
            try:
                image(data_set(pixels, **header), uid).decode(1)
            except PixelError as error:
                assert "crashed" not in str(error), what
            assert spent.seconds < 2, what
        assert pool.processes() == [pid]
        assert peak(pid) < 300 << 20


@pytest.mark.parametrize("target", [J2K, RLE, EXPLICIT])
def test_no_lie_is_transcoded(target: str) -> None:
    """A typed error before the first piece, or a picture by chance as above."""
    for what, pixels, header, uid in TABLE:
        if uid == target or (target == EXPLICIT and uid in (EXPLICIT, BIG_ENDIAN)):
            continue  # copied as it is
        spent = Spent()
        try:
            pieces = list(transcoded(data_set(pixels, **header), 0, uid, Wanted(target), DEFAULT_LIMITS))
        except DataSetError:
            pass
        else:
            assert pieces
            assert "noise" in what or uid in (DEFLATED_FRAME, RLE, ENCAPSULATED) or what in HARMLESS, what
        assert spent.seconds < 2, what


@pytest.mark.parametrize("pixels", [NATIVE, encapsulated(b"", stream(J2K))], ids=["native", "encapsulated"])
def test_a_thousand_million_frames_cost_nothing(pixels: bytes) -> None:
    spent = Spent()
    found = image(data_set(pixels, **BOMB_FRAMES), J2K if pixels is not NATIVE else EXPLICIT)
    assert found.decode(1).pixels.shape == (8, 8)
    with pytest.raises(PixelError, match="frame 999999999"):
        found.frame(999_999_999)
    assert spent.seconds < 1
    assert spent.memory < 16 << 20


BROKEN_LOOKS = {
    "window that is no number": element(0x00281050, "DS", "abc") + element(0x00281051, "DS", "1"),
    "slope that is no number": element(0x00281052, "DS", "0") + element(0x00281053, "DS", "x"),
    "VOI LUT without data": sequence(0x00283010, element(0x00283002, "US", [256, 0, 8])),
    "VOI LUT of 65,536 entries in 2 bytes": sequence(
        0x00283010, element(0x00283002, "US", [0, 0, 16]) + element(0x00283006, "OW", b"\0\0")
    ),
    "VOI LUT of 40-bit entries": sequence(
        0x00283010, element(0x00283002, "US", [2, 0, 40]) + element(0x00283006, "OW", b"\0\0\0\0")
    ),
    "Modality LUT with two descriptors": sequence(0x00283000, element(0x00283002, "US", [1, 2])),
    "VOI LUT sequence that ends early": element(0x00283010, "SQ", b"\xfe\xff\x00\xe0\xff\x00\x00\x00"),
}


@pytest.mark.parametrize("what", BROKEN_LOOKS)
def test_tables_that_lie_are_typed_errors(what: str) -> None:
    found = image(data_set(NATIVE, rows=8, columns=8, extra=BROKEN_LOOKS[what]))
    with pytest.raises(IsocenterError):
        render(found)


BROKEN_PALETTES = {
    "no palette": b"",
    "one channel": element(0x00281101, "US", [2, 0, 8]) + element(0x00281201, "OW", b"\1\2"),
    "a segment that fills four times over": b"".join(element(0x00281101 + c, "US", [4, 0, 16]) for c in range(3))
    + b"".join(element(0x00281221 + c, "OW", struct.pack("<4H", 0, 65535, 1, 1)) for c in range(3)),
    "segments that copy themselves": b"".join(element(0x00281101 + c, "US", [0, 0, 16]) for c in range(3))
    + b"".join(element(0x00281221 + c, "OW", struct.pack("<4H", 2, 65535, 0, 0) * 5000) for c in range(3)),
    "segments of no length": b"".join(element(0x00281101 + c, "US", [0, 0, 16]) for c in range(3))
    + b"".join(element(0x00281221 + c, "OW", bytes(60000)) for c in range(3)),
}


@pytest.mark.parametrize("what", BROKEN_PALETTES)
def test_palettes_that_lie_are_typed_errors(what: str) -> None:
    spent = Spent()
    extra = BROKEN_PALETTES[what]
    found = image(data_set(NATIVE, rows=8, columns=8, photometric="PALETTE COLOR", extra=extra))
    with pytest.raises(PixelError):
        render(found)
    assert spent.seconds < 2
