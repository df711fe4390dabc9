"""Codecs in processes of their own: the same frames, and a crash, a hang or a bomb that costs one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pytest

from isocenter.errors import PixelError
from isocenter.pixels import isolation
from isocenter.pixels.codecs import CODECS, decode, encode, kept
from isocenter.pixels.encoders import Loss
from isocenter.pixels.isolation import Bounds, Pool, isolated
from isocenter.pixels.layout import Layout
from pixel_objects import HTJ2K, J2K, JPEG, JPEG_LS, RLE, data_set, encapsulated, gradient, image

LOSSY = "1.2.840.10008.1.2.4.91"
LAYOUT = Layout(64, 80, 1, 16, 12, 11, True)
PIXELS = gradient(64, 80, 1, 12, signed=True)
FRAME = encode(HTJ2K, PIXELS, LAYOUT)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with isolated(1) as started:
        yield started


def test_every_codestream_comes_back_as_it_does_in_place() -> None:
    made = {}
    for uid, codec in CODECS.items():
        if codec.encoder is None or not codec.needs:
            continue
        lossy = codec.encoder.loses == "always"
        layout = Layout(64, 80) if lossy else LAYOUT
        pixels = gradient(64, 80, 1, 8) if lossy else PIXELS
        data = encode(uid, pixels, layout)
        made[uid] = (data, layout, decode(uid, data, layout))
    colour = gradient(16, 24, 3, 8)
    data, layout = bytes(imagecodecs.jpeg8_encode(colour, level=95)), Layout(16, 24, 3, photometric="YBR_FULL_422")
    made["colour"] = (data, layout, decode(JPEG, data, layout))
    precise = Layout(64, 80, 1, 16, 10, 9, True)  # the codestream says 12: what was followed is told
    made["told"] = (FRAME, precise, decode(HTJ2K, FRAME, precise))
    with isolated(2) as started:
        for name, (data, layout, here) in made.items():
            there = decode(name if name in CODECS else JPEG, data, layout)
            np.testing.assert_array_equal(here.pixels, there.pixels)
            assert here.pixels.dtype == there.pixels.dtype
            assert (here.photometric, here.bits, here.warnings) == (there.photometric, there.bits, there.warnings)
            there.pixels[0] = 1  # an array of the caller's own
        assert 0 < len(started.processes()) <= 2
    assert decode(HTJ2K, FRAME, precise).warnings


def test_every_encoder_writes_what_it_writes_in_place() -> None:
    colour, wide = gradient(16, 24, 3, 8), Layout(16, 24, 3, photometric="RGB")
    asked: list[tuple[str, np.ndarray, Layout, Loss | None]] = [
        (uid, gradient(64, 80, 1, 8), Layout(64, 80), None)
        for uid, codec in CODECS.items()
        if codec.encoder is not None
    ]
    asked += [
        (HTJ2K, PIXELS, LAYOUT, None),
        (J2K, PIXELS[::-1], LAYOUT, None),  # not in one piece
        (RLE, PIXELS, LAYOUT, None),
        (JPEG, colour, wide, Loss(quality=70)),
        (LOSSY, colour, wide, Loss(ratio=9)),
    ]
    here = [encode(*one) for one in asked]
    with isolated(2) as started:
        assert [encode(*one) for one in asked] == here
        assert started.processes()
        with pytest.raises(PixelError, match="more than JPEG-LS has"):  # found out by the encoder
            encode("1.2.840.10008.1.2.4.81", PIXELS.view(np.uint16), Layout(64, 80, 1, 16, 8, 7), Loss(near=200))


def test_a_jpeg_is_recompressed_and_restored_as_in_place(pool: Pool) -> None:
    recompressed = "1.2.840.10008.1.2.4.111"
    jpeg = bytes(imagecodecs.jpeg8_encode(gradient(16, 24, 3, 8), level=80))
    packed = kept(recompressed, JPEG, jpeg)
    assert CODECS[recompressed].same[JPEG](jpeg) == packed
    assert kept(JPEG, recompressed, packed) == jpeg
    with pytest.raises(PixelError, match="cannot be recompressed"):
        kept(recompressed, JPEG, b"\xff\xd8\xff")
    assert len(pool.processes()) == 1


def test_errors_are_those_of_the_decoder(pool: Pool) -> None:
    with pytest.raises(PixelError, match="cut off"):
        decode(HTJ2K, FRAME[:-30], LAYOUT)
    with pytest.raises(PixelError, match=r"64 by 80 where Rows by Columns is 4 by 6 .*frame 2|frame 2.*64 by 80"):
        image(data_set(encapsulated(b"", FRAME, FRAME), frames=2), HTJ2K).frame(2)
    assert len(pool.processes()) == 1


def test_what_is_not_native_code_stays_here() -> None:
    with isolated(1) as started:
        data = encode(RLE, PIXELS, LAYOUT)
        np.testing.assert_array_equal(decode(RLE, data, LAYOUT).pixels, PIXELS)
        assert started.processes() == []


def stopped(pid: int) -> None:
    """Stop a process, and wait until it has stopped: the frame it is then given is one in the middle of which it is."""
    os.kill(pid, signal.SIGSTOP)
    while True:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.001)


@pytest.mark.parametrize("encoding", [False, True], ids=["decoding", "encoding"])
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_in_the_middle_of_a_frame_costs_that_frame(pool: Pool, number: int, encoding: bool) -> None:
    decode(HTJ2K, FRAME, LAYOUT)
    (pid,) = pool.processes()
    stopped(pid)
    failures: list[PixelError] = []

    def frame() -> None:
        try:
            if encoding:
                encode(HTJ2K, PIXELS, LAYOUT)
            else:
                image(data_set(encapsulated(b"", FRAME), rows=64, columns=80, allocated=16, stored=12), HTJ2K).frame(1)
        except PixelError as error:
            failures.append(error)

    thread = threading.Thread(target=frame)
    thread.start()
    while pool._idle.qsize():  # until the worker is taken
        time.sleep(0.001)
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    thread.join(30)
    (failure,) = failures
    assert f"{'' if encoding else 'frame 1: '}the codec crashed (signal {number})" == str(failure)
    np.testing.assert_array_equal(decode(HTJ2K, FRAME, LAYOUT).pixels, PIXELS)
    assert pool.processes() != [pid]
    assert len(pool.processes()) == 1


def test_a_frame_that_never_ends_costs_that_frame() -> None:
    with isolated(1, Bounds(seconds=0.5)) as started:
        for _ in range(20):  # the interpreter may take longer than that to start
            try:
                decode(HTJ2K, FRAME, LAYOUT)
                break
            except PixelError:
                started._bounds = Bounds(seconds=20)
        started._bounds = Bounds(seconds=0.5)
        (pid,) = started.processes()
        stopped(pid)
        with pytest.raises(PixelError, match=r"took over 0\.5 seconds"):
            decode(HTJ2K, FRAME, LAYOUT)
        started._bounds = Bounds(seconds=20)
        np.testing.assert_array_equal(decode(HTJ2K, FRAME, LAYOUT).pixels, PIXELS)


def test_a_bomb_ends_at_the_bound_of_memory() -> None:
    """16 MP of blank JPEG 2000: OpenJPEG wants four times the frame."""
    big = np.zeros((4000, 4000), np.uint16)
    layout = Layout(4000, 4000, 1, 16, 16, 15)
    data = encode(J2K, big, layout)
    with isolated(1):
        assert not decode(J2K, data, layout).pixels.any()
    with isolated(1, Bounds(memory=300 << 20)):
        with pytest.raises(PixelError):
            decode(J2K, data, layout)
        np.testing.assert_array_equal(decode(HTJ2K, FRAME, LAYOUT).pixels, PIXELS)


def test_several_threads_get_each_their_own_frame() -> None:
    frames = [gradient(64, 80, 1, 12, signed=True, seed=n) for n in range(24)]
    coded = [encode(JPEG_LS, frame, LAYOUT) for frame in frames]
    wrong: list[int] = []
    with isolated(2) as started:

        def some(first: int) -> None:
            for number in range(first, 24, 4):
                if not np.array_equal(decode(JPEG_LS, coded[number], LAYOUT).pixels, frames[number]):
                    wrong.append(number)

        threads = [threading.Thread(target=some, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pids = started.processes()
    assert wrong == []
    assert 1 <= len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert isolation.current() is not started


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"dtype": "object", "bits": 12, "photometric": "MONOCHROME2", "warnings": []},
        {"dtype": "float64", "bits": 12, "photometric": "MONOCHROME2", "warnings": []},
        {"dtype": "int16", "bits": 999, "photometric": "MONOCHROME2", "warnings": []},
        {"dtype": "int16", "bits": 12, "photometric": "<script>", "warnings": []},
        {"dtype": "int16", "bits": 12, "photometric": "MONOCHROME2", "warnings": "x"},
    ],
)
def test_nothing_that_a_worker_says_is_believed(pool: Pool, reply: dict[str, object]) -> None:
    decode(HTJ2K, FRAME, LAYOUT)
    (worker,) = pool._all
    with pytest.raises(PixelError, match="nonsense"):
        isolation._frame(reply, worker, LAYOUT)
    huge = Layout(60000, 60000, 1, 16, 12, 11, True)
    with pytest.raises(PixelError, match="nonsense"):
        isolation._frame({"dtype": "int16", "bits": 12, "photometric": "MONOCHROME2", "warnings": []}, worker, huge)
    with pytest.raises(PixelError, match="nonsense"):
        isolation._octets(reply | {"length": 1 << 40}, worker)
    with pytest.raises(PermissionError):  # sealed: nobody can cut off what the other one reads
        os.ftruncate(worker.memory, 0)


def test_a_large_frame_leaves_no_memory_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_LARGEST_KEPT", 2 << 20)
    big, layout = np.zeros((1200, 1000), np.uint16), Layout(1200, 1000, 1, 16, 16, 15)
    data = encode(HTJ2K, big, layout)
    with isolated(1) as started:
        decode(HTJ2K, FRAME, LAYOUT)
        first = started.processes()
        decode(HTJ2K, FRAME, LAYOUT)
        assert started.processes() == first
        assert not decode(HTJ2K, data, layout).pixels.any()
        assert started.processes() == []
        np.testing.assert_array_equal(decode(HTJ2K, FRAME, LAYOUT).pixels, PIXELS)


def test_whoever_waits_for_a_decoder_is_told_when_there_will_be_none() -> None:
    failures: list[str] = []

    def frame() -> None:
        try:
            decode(HTJ2K, FRAME, LAYOUT)
        except PixelError as error:
            failures.append(str(error))

    with isolated(1) as started:
        started.warm()
        (pid,) = started.processes()
        stopped(pid)
        threads = [threading.Thread(target=frame) for _ in range(3)]
        for thread in threads:
            thread.start()
        while started._idle.qsize():
            time.sleep(0.001)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    # One was in the middle of it, the others waited, or came when there was no pool any more and decoded in place
    assert "the codec crashed (signal 9)" in failures
    assert set(failures) <= {"the codec crashed (signal 9)", "the codecs have ended"}
