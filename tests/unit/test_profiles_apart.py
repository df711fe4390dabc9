"""ICC profiles are read where codecs run: a profile that LittleCMS does not survive costs one frame its colours."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from isocenter.errors import PixelError
from isocenter.pixels import icc
from isocenter.pixels.isolation import Bounds, Pool, isolated
from isocenter.pixels.render import render
from pixel_objects import data_set, element, image
from unit.test_pixel_isolation import stopped

COLOURS = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
PROFILE, SRGB = icc.space("adobergb"), icc.space("srgb")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with isolated(1) as started:
        yield started


def coloured(profile: bytes, notes: list[str]) -> np.ndarray:
    extra = element(0x00282000, "OB", profile + b"\0" * (len(profile) % 2))
    found = image(data_set(COLOURS.tobytes(), rows=40, columns=50, samples=3, photometric="RGB", planar=0, extra=extra))
    return render(found, notes=notes)


def test_colours_are_those_that_are_made_in_place(pool: Pool) -> None:
    there = icc.convert(COLOURS, PROFILE, SRGB)
    np.testing.assert_array_equal(there, icc.converted(COLOURS, PROFILE, SRGB))
    assert not np.array_equal(there, COLOURS)
    there[0] = 1  # an array of the caller's own
    assert len(pool.processes()) == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_costs_the_frame_its_colours(pool: Pool, number: int) -> None:
    icc.convert(COLOURS, PROFILE, SRGB)
    (pid,) = pool.processes()
    stopped(pid)
    notes: list[str] = []
    pictures: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: pictures.append(coloured(PROFILE, notes)))
    thread.start()
    while pool._idle.qsize():  # until the worker is taken
        time.sleep(0.001)
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    thread.join(30)
    np.testing.assert_array_equal(pictures[0], COLOURS)
    assert notes == [f"colours are shown without their ICC profile: the codec crashed (signal {number}) at (0028,2000)"]
    assert not np.array_equal(coloured(PROFILE, notes), COLOURS), "the next frame has them"


def test_hostile_profiles_are_refused_or_applied(pool: Pool) -> None:
    """Bytes of header, tag table and tags changed at random, and lengths that lie: nothing worse comes of it."""
    rng = np.random.default_rng(11)
    refused = applied = 0
    for turn in range(300):
        profile = bytearray(PROFILE)
        for place in rng.integers(20, len(profile), int(rng.integers(1, 9))):
            profile[place] = int(rng.integers(0, 256))
        if turn % 3 == 0:  # number of tags, or where a tag lies and how long it is
            place = 128 + 4 * int(rng.integers(0, 12))
            profile[place : place + 4] = int(rng.integers(0, 1 << 32)).to_bytes(4, "big")
        if turn % 5 == 0:
            del profile[int(rng.integers(130, len(profile))) :]
        try:
            shown = icc.convert(COLOURS, bytes(profile), SRGB)
        except PixelError as error:
            refused += 1
            assert error.tag_path == "(0028,2000)"
        else:
            applied += 1
            assert shown.shape == COLOURS.shape
            assert shown.dtype == np.uint8
    assert refused
    assert applied


def test_a_profile_that_takes_too_long_or_too_much_is_noted() -> None:
    notes: list[str] = []
    with isolated(1, Bounds(memory=300 << 20)) as started:
        icc.convert(COLOURS, PROFILE, SRGB)
        large = element(0x00282000, "OB", PROFILE + bytes((8 << 20) - len(PROFILE) + 2))
        found = image(data_set(bytes(72), samples=3, photometric="RGB", planar=0, extra=large))
        render(found, notes=notes)
        (pid,) = started.processes()
        stopped(pid)
        started._bounds = Bounds(seconds=0.2)
        np.testing.assert_array_equal(coloured(PROFILE, notes), COLOURS)
    assert ["too long" in notes[0], "took over 0.2 seconds" in notes[1]] == [True, True]
