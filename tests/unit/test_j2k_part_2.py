"""JPEG 2000 Part 2: what uses nothing of it is read and written, and what it adds is refused and never left out."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from isocenter.errors import CodecMissing
from isocenter.pixels.codecs import decode, encode
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Layout
from isocenter.pixels.transcode import Wanted, can_transcode, loses, transcoded
from isocenter.wire.limits import DEFAULT_LIMITS
from pixel_objects import EXPLICIT, HTJ2K, J2K, data_set, gradient

LOSSLESS, LOSSY, PART_1_LOSSY = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.91"

GREY, COLOUR = Layout(20, 30, 1, 16, 12, 11), Layout(20, 30, 3, photometric="RGB")


def test_a_part_2_codestream_that_uses_nothing_of_part_2() -> None:
    pixels = gradient(20, 30, 1, 12)
    data = bytearray(encode(J2K, pixels, GREY))
    data[6:8] = b"\x80\x00"  # Rsiz: extensions of Part 2 may be there (T.801 A.1)
    result = decode(LOSSLESS, bytes(data), GREY)
    np.testing.assert_array_equal(result.pixels, pixels)


@pytest.mark.parametrize("marker", [0xFF74, 0xFF75, 0xFF77, 0xFF78, 0xFF70, 0xFF72, 0xFF76, 0xFF79])
@pytest.mark.parametrize("uid", [J2K, HTJ2K, LOSSLESS])
def test_what_part_2_adds_is_refused_and_not_left_out(uid: str, marker: int) -> None:
    """OpenJPEG skips these segments and decodes as if they changed nothing."""
    pixels = gradient(20, 30, 3, 8)
    data = bytearray(encode(HTJ2K if uid == HTJ2K else J2K, pixels, COLOUR))
    data[6] |= 0x80
    start = data.index(b"\xff\x90")
    data[start:start] = struct.pack(">HH", marker, 8) + bytes(6)
    with pytest.raises(CodecMissing, match=f"extension of JPEG 2000 Part 2 .marker {marker:04X}"):
        decode(uid, bytes(data), COLOUR)


def test_a_component_transform_of_part_2_is_refused() -> None:
    pixels = gradient(20, 30, 3, 8)
    data = bytearray(encode(J2K, pixels, COLOUR))
    data[data.index(b"\xff\x52") + 8] = 2  # array-based (T.801 Table A.14)
    with pytest.raises(CodecMissing, match="component transform of JPEG 2000 Part 2"):
        decode(LOSSY, bytes(data), COLOUR)


def coded(source: str, data: bytes, target: str, loss: Loss | None = None) -> bytes:
    return b"".join(transcoded(data, 0, source, Wanted(target, loss, "1.2.3"), DEFAULT_LIMITS))


def three_frames() -> tuple[bytes, np.ndarray]:
    frames = np.stack([gradient(20, 30, 1, 12, seed=seed) for seed in range(3)])
    return data_set(frames.tobytes(), rows=20, columns=30, allocated=16, stored=12, frames=3), frames


@pytest.mark.parametrize("uid", [LOSSLESS, LOSSY])
def test_each_frame_is_a_component_collection_of_its_own(uid: str) -> None:
    """PS3.5 section A.4.4: a fragment has data of one collection only; here of one frame, with nothing of Part 2."""
    data, frames = three_frames()
    image = Image.of(coded(EXPLICIT, data, uid), uid, 0)
    for number, frame in enumerate(frames, 1):
        stream = image.frame_bytes(number)
        assert stream[:4] == b"\xff\x4f\xff\x51"
        assert stream[6:8] == b"\0\0"  # Rsiz: a decoder of Part 1 is enough
        assert (read_codestream(stream).samples, len(image.frame_places(number)[0])) == (1, 1)
        np.testing.assert_array_equal(image.frame(number), frame)


def test_codestreams_of_part_1_are_kept() -> None:
    data, frames = three_frames()
    lossless, lossy = coded(EXPLICIT, data, J2K), coded(EXPLICIT, data, PART_1_LOSSY, Loss(ratio=6))
    for source, stored, target in ((J2K, lossless, LOSSLESS), (J2K, lossless, LOSSY), (PART_1_LOSSY, lossy, LOSSY)):
        assert not loses(source, target)
        before, after = Image.of(stored, source, 0), Image.of(coded(source, stored, target), target, 0)
        assert [before.frame_bytes(n) for n in (1, 2, 3)] == [after.frame_bytes(n) for n in (1, 2, 3)]
    back = coded(LOSSLESS, coded(J2K, lossless, LOSSLESS), J2K)
    np.testing.assert_array_equal(np.stack([Image.of(back, J2K, 0).frame(n) for n in (1, 2, 3)]), frames)
    assert can_transcode(PART_1_LOSSY, LOSSLESS)  # as any samples are, and what is lost stays lost


def test_a_loss_is_told_as_that_of_part_1() -> None:
    data, frames = three_frames()
    lossy = coded(EXPLICIT, data, LOSSY, Loss(psnr=60))
    assert b"ISO_15444_1" in lossy
    assert b"1.2.3\0" in lossy
    difference = np.abs(Image.of(lossy, LOSSY, 0).frame(2).astype(int) - frames[1])
    assert 0 < difference.max() < 50
