"""The demo data: a chest whose tissues are where they belong, and files that an archive takes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from isocenter.demo.objects import PYDICOM_FILES, demo_objects
from isocenter.demo.phantom import FIRST, STEP, Phantom
from isocenter.wire.part10 import read_header


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """In half the resolution, for speed; the anatomy is the same."""
    return Phantom(size=256)


def around(phantom: Phantom, z: float, x: float, y: float) -> float:
    """Mean HU of the 4 mm around a place in the patient."""
    plane = phantom.plane(round((z - FIRST) / STEP))
    grid = phantom.grid
    return float(plane[grid.window(y - 2, y + 2), grid.window(x - 2, x + 2)].mean())


@pytest.mark.parametrize(
    ("tissue", "z", "x", "y", "low", "high"),
    [
        ("air outside", 0, 0, -160, -1024, -950),
        ("right lung", 40, -75, 0, -950, -700),
        ("trachea", 80, 0, 11, -1010, -900),
        ("descending aorta", 0, 25, 38, 130, 200),
        ("left ventricle", -30, 50, -38, 130, 200),
        ("liver", -120, -70, 10, 80, 180),
        ("stomach gas", -110, 52, -50, -1000, -850),
        ("stomach fluid", -110, 52, 0, 0, 50),
        ("fat under the skin", -50, 0, -104, -130, -70),
        ("muscle of the back", 20, 26, 100, 30, 90),
    ],
)
def test_tissues_are_where_they_belong(
    phantom: Phantom, tissue: str, z: float, x: float, y: float, low: float, high: float
) -> None:
    assert low < around(phantom, z, x, y) < high


def test_a_slice_does_not_depend_on_what_was_asked_before(phantom: Phantom) -> None:
    alone = Phantom(size=256).plane(30)
    phantom.plane(5)
    assert np.array_equal(alone, phantom.plane(30))


def test_there_is_bone_in_every_slice_and_noise_in_all(phantom: Phantom) -> None:
    for index in range(0, len(phantom.heights), 10):
        plane = phantom.plane(index)
        assert plane.max() > 350
        assert 1 < np.median(np.abs(np.diff(plane, axis=1))) < 20


def test_the_scan_covers_what_is_drawn() -> None:
    assert Phantom().heights[0] == FIRST
    assert len(Phantom().heights) == 60
    assert Phantom().step == STEP


def test_two_runs_give_the_same_files_and_no_uid_twice() -> None:
    first, second = (list(demo_objects(Phantom(size=64, slices=6))) for _ in range(2))
    assert len(first) == 6 + len(PYDICOM_FILES)
    assert len({read_header(file).sop_instance for file in first}) == len(first)
    assert [hashlib.sha256(file).digest() for file in first] == [hashlib.sha256(file).digest() for file in second]
