"""Modality and VOI LUTs against the formulas of PS3.3 C.11, restated here value by value."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.errors import PixelError
from isocenter.pixels.voi import Rescale, Table, Window, automatic, counted, modality, voi
from pixel_objects import data_set, element, image, sequence


def linear(x: float, c: float, w: float) -> float:
    """C.11.2.1.2.1, output from 0 to 1."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 1
    return (x - (c - 0.5)) / (w - 1) + 0.5


def linear_exact(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.2, output from 0 to 1."""
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 1
    return (x - c) / w + 0.5


def sigmoid(x: float, c: float, w: float) -> float:
    """C.11.2.1.3.1, output from 0 to 1."""
    return 1 / (1 + math.exp(-4 * (x - c) / w))


FORMULAS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}
SOME_WINDOWS = [(40, 400), (0, 1), (0.5, 1), (2048, 4096), (-600, 1500), (127.5, 255), (10, 2)]


@pytest.mark.parametrize("function", FORMULAS)
@pytest.mark.parametrize(("center", "width"), SOME_WINDOWS)
def test_window_is_the_formula_of_the_standard(function: str, center: float, width: float) -> None:
    values = np.arange(-3000, 5000, 0.5)
    with np.errstate(over="raise"):
        result = Window(center, width, function).apply(values)
    clipped = np.clip(-4 * (values - center) / width, -690, 690)
    expected = [
        FORMULAS[function](float(x), center, width) if function != "SIGMOID" else 1 / (1 + math.exp(e))
        for x, e in zip(values, clipped, strict=True)
    ]
    np.testing.assert_allclose(result, expected, atol=1e-12)


@given(
    st.floats(-1e5, 1e5), st.floats(1, 1e5), st.sampled_from(list(FORMULAS)), st.lists(st.floats(-1e6, 1e6), min_size=2)
)
def test_a_window_never_leaves_its_range_and_never_turns_back(
    center: float, width: float, function: str, values: list[float]
) -> None:
    result = Window(center, width, function).apply(np.sort(np.array(values)))
    assert result.min() >= 0
    assert result.max() <= 1
    assert (np.diff(result) >= -1e-12).all()


def test_the_example_of_the_standard() -> None:
    """C.11.2.1.2.1, note: centre 2048 and width 4096 select the range 0 to 4095; width 1 is a threshold."""
    window = Window(2048, 4096)
    assert window.apply(np.array([0.0, 4095.0])).tolist() == [0, 1]
    assert window.apply(np.array([1.0]))[0] > 0
    assert Window(100, 1).apply(np.array([99.0, 99.5, 100.0])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("width", "function"), [(0.5, "LINEAR"), (0, "LINEAR_EXACT"), (-1, "SIGMOID"), (math.nan, "LINEAR"), (1, "CUBIC")]
)
def test_windows_that_cannot_be_are_refused(width: float, function: str) -> None:
    with pytest.raises(PixelError):
        Window(0, width, function)


@pytest.mark.parametrize("text", ["nan", "inf", "1e999"])
def test_numbers_that_are_none_hide_nothing_without_a_word(text: str) -> None:
    """A window of them is passed over, as an empty one is; with a rescale of them there is nothing to be shown."""
    number = text.encode()
    for center, width in ((b"40", number), (number, b"400")):
        assert voi(look(element(0x00281050, "DS", center) + element(0x00281051, "DS", width)), True) is None
    for tag in (0x00281052, 0x00281053):
        with pytest.raises(PixelError, match="finite"):
            modality(look(element(tag, "DS", number)), True)


def test_table_takes_its_ends_for_what_is_outside() -> None:
    table = Table(10, np.array([5, 6, 7], np.uint16), 8)
    assert table.look_up(np.array([-1000, 9, 10, 11, 12, 13, 70000])).tolist() == [5, 5, 5, 6, 7, 7, 7]


def test_rescale() -> None:
    assert Rescale(2.0, -1024.0).apply(np.array([0, 1, 100], np.uint16)).tolist() == [-1024, -1022, -824]


def look(extra: bytes, **more: int) -> object:
    return image(data_set(bytes(24), extra=extra, **more)).attributes


def lut(descriptor: list[int], data: bytes, vr: str = "US") -> bytes:
    first = struct.pack("<Hh" if descriptor[1] < 0 else "<HH", descriptor[0], descriptor[1])
    return element(0x00283002, vr, first + struct.pack("<H", descriptor[2])) + element(0x00283006, "OW", data)


def test_modality_lut_sequence() -> None:
    found = modality(look(sequence(0x00283000, lut([3, -1, 16], struct.pack("<3H", 100, 200, 300), "SS"))), False)
    assert isinstance(found, Table)
    assert found.look_up(np.array([-2, -1, 0, 1, 2])).tolist() == [100, 100, 200, 300, 300]


@pytest.mark.parametrize("signed", [False, True])
def test_first_value_without_a_sign_of_its_own_takes_that_of_the_input(signed: bool) -> None:
    found = voi(look(sequence(0x00283010, lut([2, 0xFFFF, 8], b"\1\2"))), signed)
    assert isinstance(found, Table)
    assert found.first == (-1 if signed else 65535)


def test_bytes_as_entries() -> None:
    found = voi(look(sequence(0x00283010, lut([4, 0, 8], bytes([0, 85, 170, 255])))), False)
    assert isinstance(found, Table)
    assert found.apply(np.arange(4)).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_table_goes_before_a_window() -> None:
    window = element(0x00281050, "DS", "40\\50") + element(0x00281051, "DS", "400\\300")
    both = window + sequence(0x00283010, lut([2, 0, 8], b"\1\2"))
    assert isinstance(voi(look(both), False), Table)
    assert voi(look(window), False) == Window(40, 400)
    assert voi(look(window), False, 1) == Window(50, 300)
    assert voi(look(window), False, 2) is None


@pytest.mark.parametrize(
    ("name", "expected"), [("SIGMOID", "SIGMOID"), ("LINEAR_EXACT", "LINEAR_EXACT"), ("OTHER", "LINEAR")]
)
def test_voi_lut_function(name: str, expected: str) -> None:
    window = element(0x00281050, "DS", "40") + element(0x00281051, "DS", "400") + element(0x00281056, "CS", name)
    assert voi(look(window), False) == Window(40, 400, expected)


@pytest.mark.parametrize("width", ["0", "0.5", "-100"])
def test_a_window_without_width_is_none(width: str) -> None:
    assert voi(look(element(0x00281050, "DS", "40") + element(0x00281051, "DS", width)), False) is None


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("size", [1, 2, 3, 199, 200, 201, 10_007])
@pytest.mark.parametrize("slope", [1.0, -0.75])
def test_counted_values_have_the_same_window(dtype: type[np.integer[Any]], size: int, slope: float) -> None:
    rng, whole = np.random.default_rng(size), np.iinfo(dtype)
    values = rng.integers(whole.min, whole.max, size, dtype, endpoint=True)
    values[rng.random(size) < 0.3] = whole.min
    found = counted(values)
    assert found is not None
    expected = automatic(values * slope + 3)
    window = automatic(found[0] * slope + 3, found[1])
    assert (window.center, window.width) == pytest.approx((expected.center, expected.width), rel=1e-12)
    assert found[1].sum() == size


def test_what_is_not_counted() -> None:
    assert [counted(np.zeros(3, kind)) for kind in (np.float32, np.int32)] == [None, None]
    assert counted(np.array([], np.int16)) is None


def test_automatic_window_leaves_out_the_outermost_values() -> None:
    values = np.concatenate([np.arange(1000.0), [1e9, -1e9]])
    window = automatic(values)
    assert window.center == pytest.approx(499.5, abs=1)
    assert window.width == pytest.approx(992, abs=2)
    assert automatic(np.full(10, 7.0)).apply(np.array([7.0]))[0] == 0.5
    assert automatic(np.array([])).width == 1
    assert automatic(np.array([np.nan, 1.0, 2.0, np.inf])).center == pytest.approx(1.5)
