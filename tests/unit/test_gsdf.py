"""PS3.14: the standard function, its inverse, tables that make a display conform; DCMTK's dcmdspfn is the oracle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peers
from isocenter.display.calibration import (
    Characteristic,
    assess,
    read_characteristic,
    standard_luminances,
    write_characteristic,
)
from isocenter.display.gsdf import GREATEST_LUMINANCE, LEAST_LUMINANCE, jnd_index, luminance
from isocenter.errors import UsageError


def test_ends_and_places_of_table_b_1() -> None:
    # PS3.14 Table B-1: JND index and luminance in cd/m2
    known = {1: 0.0500, 2: 0.0547, 3: 0.0594, 1022: 3967.5470, 1023: 3993.4040}
    found = luminance(list(known))
    assert found == pytest.approx(list(known.values()), rel=2e-3)
    assert found[[0, -1]] == pytest.approx([LEAST_LUMINANCE, GREATEST_LUMINANCE], rel=5e-4)


@given(st.floats(1, 1023))
def test_the_inverse_is_one(jnd: float) -> None:
    assert float(jnd_index(luminance(jnd))) == pytest.approx(jnd, abs=1e-3)


def test_it_grows_everywhere() -> None:
    assert bool(np.all(np.diff(luminance(np.linspace(1, 1023, 100_001))) > 0))


@pytest.mark.parametrize("jnd", [0.99, 1023.1, float("nan"), -5.0])
def test_indices_outside_are_refused(jnd: float) -> None:
    with pytest.raises(UsageError):
        luminance(jnd)


@pytest.mark.parametrize("value", [0.01, 5000.0, 0.0, -1.0, float("nan")])
def test_luminances_outside_are_refused(value: float) -> None:
    with pytest.raises(UsageError):
        jnd_index([value])


# --- beside dcmdspfn -------------------------------------------------------------------------------------------------


def _dcmdspfn(folder: Path, *arguments: object) -> np.ndarray:
    out = folder / "curve.txt"
    peers.require("dcmdspfn")
    command = ["dcmdspfn", *map(str, arguments), "+Og", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    lines = [line.split() for line in out.read_text().splitlines() if line[:1].isdigit()]
    return np.array(lines, np.float64)


@pytest.mark.parametrize(("black", "white"), [(0.05, 3993.404), (0.5, 250.0), (1.0, 400.0), (0.1, 1000.0)])
def test_the_function_is_dcmtks(black: float, white: float, tmp_path: Path) -> None:
    theirs = _dcmdspfn(tmp_path, "+Il", black, white, "+Cd", 1024)
    ours = standard_luminances(Characteristic(np.array([0, 1]), np.array([black, white])), 1024)
    # DCMTK inverts with the standard's polynomial, which is half an index off at the dark end.
    assert ours == pytest.approx(theirs[:, 1], rel=4e-3)


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.6])
@pytest.mark.parametrize("ambient", [0.0, 1.0])
def test_the_table_is_dcmtks(gamma: float, ambient: float, tmp_path: Path) -> None:
    curve = Characteristic.of_gamma(0.4, 300.0, gamma, ambient)
    file = tmp_path / "monitor.lut"
    write_characteristic(file, curve)
    theirs = _dcmdspfn(tmp_path, "+Im", file)
    assert curve.seen == pytest.approx(theirs[:, 1], abs=2e-6)
    table = curve.table(256).astype(int)
    levels = np.searchsorted(curve.seen, theirs[:, 3] - 1e-5)
    assert np.abs(table - levels).max() <= 1
    assert (table == levels).mean() > 0.97
    wanted = standard_luminances(curve, 256)
    assert np.abs(curve.seen[table] - wanted).sum() <= np.abs(theirs[:, 3] - wanted).sum() + 1e-4


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_display_that_follows_the_function_is_left_alone() -> None:
    levels = np.arange(256)
    curve = Characteristic(levels, luminance(np.linspace(60, 600, 256)))
    assert np.array_equal(curve.table(256), levels)


def test_a_table_makes_a_gamma_display_conform() -> None:
    curve = Characteristic.of_gamma(0.5, 350.0)
    steps = np.linspace(0, 65535, 18).astype(int)
    before = assess(curve.seen[(steps / 257).round().astype(int)])
    after = assess(curve.seen[curve.table()[steps]])
    assert not before.primary
    assert after.primary
    assert after.ratio == pytest.approx(700.0)
    assert after.jnds == pytest.approx(curve.range[1] - curve.range[0])


def test_a_table_reaches_both_ends_and_never_turns_back() -> None:
    for p_values in (2, 256, 1024, 65536):
        table = Characteristic.of_gamma(0.2, 120.0, ambient=0.3).table(p_values)
        assert (table[0], table[-1]) == (0, 255)
        assert bool(np.all(np.diff(table.astype(int)) >= 0))


def test_eighteen_measurements_do_for_all_levels() -> None:
    whole = Characteristic.of_gamma(0.4, 300.0)
    some = np.linspace(0, 255, 18).astype(int)
    sparse = Characteristic(some, whole.measured[some])
    assert len(sparse.seen) == 256
    assert sparse.seen[some] == pytest.approx(whole.measured[some], rel=1e-4)
    # What 18 measurements say suffices for a table that conforms on the display as it really is.
    steps = np.linspace(0, 65535, 18).astype(int)
    assert assess(whole.seen[sparse.table()[steps]]).primary


@pytest.mark.parametrize(
    ("levels", "measured", "ambient"),
    [
        ([0], [1.0], 0.0),
        ([0, 1], [1.0, 0.5], 0.0),
        ([0, 0], [1.0, 2.0], 0.0),
        ([1, 2], [1.0, 2.0], 0.0),
        ([0, 70_000], [1.0, 2.0], 0.0),
        ([0, 1], [1.0, float("nan")], 0.0),
        ([0, 1], [1.0, 1.0], 0.0),
        ([0, 1], [0.0, 100.0], 0.0),
        ([0, 1], [1.0, 5000.0], 0.0),
        ([0, 1], [1.0, 2.0], -1.0),
        ([0, 1, 2], [1.0, 2.0], 0.0),
    ],
)
def test_curves_that_are_none(levels: list[int], measured: list[float], ambient: float) -> None:
    with pytest.raises(UsageError):
        Characteristic(np.array(levels), np.array(measured), ambient)


def test_a_black_screen_in_a_lit_room_is_measured_with_the_room() -> None:
    assert Characteristic(np.array([0, 255]), np.array([0.0, 200.0]), 0.5).range[0] > 1


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_back(tmp_path: Path) -> None:
    curve = Characteristic(np.array([0, 100, 255]), np.array([0.25, 40.5, 300.125]), 0.75)
    write_characteristic(tmp_path / "a.lut", curve)
    again = read_characteristic(tmp_path / "a.lut")
    assert (again.levels == curve.levels).all()
    assert (again.measured == curve.measured).all()
    assert again.ambient == curve.ambient


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max 255\n0 0.5\n", "level 255"),
        ("0 0.5\n255 none\n", "line 2"),
        ("0 0.5 7\n", "line 1"),
        ("", "at least two"),
        ("# only a comment", "at least two"),
        ("0 5\n255 1\n", "grow"),
    ],
)
def test_files_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.lut"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_characteristic(file)
