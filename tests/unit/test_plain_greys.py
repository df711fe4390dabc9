"""What a page is told of an image's greys is all that it takes to show them as `render` does, or it is told nothing."""

from __future__ import annotations

import numpy as np
import pytest

from isocenter.pixels.plain import PlainGreys, plain_greys
from isocenter.pixels.render import render
from isocenter.pixels.voi import Window
from pixel_objects import data_set, element, image, sequence

VALUES = np.linspace(-700, 900, 24).astype(np.int16)
WINDOW = element(0x00281050, "DS", 40) + element(0x00281051, "DS", 400)
RESCALE = element(0x00281052, "DS", -50.5) + element(0x00281053, "DS", 1.25)
PADDING = element(0x00280120, "SS", int(VALUES[7])) + element(0x00280121, "SS", int(VALUES[3]))
SIGMOID = element(0x00281056, "CS", "SIGMOID")
TABLE = element(0x00283002, "US", [2, 0, 8]) + element(0x00283006, "OW", b"\0\0\xff\0")
SHUTTER = element(0x00181600, "CS", "RECTANGULAR") + b"".join(
    element(tag, "IS", edge) for tag, edge in ((0x00181602, 1), (0x00181604, 4), (0x00181606, 1), (0x00181608, 2))
)


def shown(plain: PlainGreys, values: np.ndarray[tuple[int], np.dtype[np.int16]], window: Window) -> list[int]:
    """Greys by nothing but the numbers, after PS3.3 C.11.1 and C.11.2."""
    units = values * plain.rescale.slope + plain.rescale.intercept
    c, w = window.center, window.width
    if window.function == "SIGMOID":
        levels = 1 / (1 + np.exp(-4 * (units - c) / w))
    elif window.function == "LINEAR":
        levels = (units - (c - 0.5)) / (w - 1) + 0.5
    else:
        levels = (units - c) / w + 0.5
    levels = np.clip(levels, 0, 1)
    if plain.inverse:
        levels = 1 - levels
    if plain.padding is not None:
        levels[(values >= plain.padding[0]) & (values <= plain.padding[1])] = 0
    found: list[int] = np.rint(levels * 255).astype(int).tolist()
    return found


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "extra",
    [
        WINDOW,
        WINDOW + RESCALE,
        WINDOW + SIGMOID,
        WINDOW + element(0x00281056, "CS", "LINEAR_EXACT"),
        PADDING + WINDOW + RESCALE,
        WINDOW + element(0x20500020, "CS", "INVERSE"),
    ],
)
def test_the_numbers_are_enough(photometric: str, extra: bytes) -> None:
    found = image(data_set(VALUES.tobytes(), allocated=16, signed=1, photometric=photometric, extra=extra))
    plain = plain_greys(found, 1)
    assert plain is not None
    assert plain.window is not None
    assert shown(plain, VALUES, plain.window) == render(found).reshape(-1).tolist()
    assert (16, 16, True) == (plain.bits_allocated, plain.bits_stored, plain.signed)


def test_without_a_window_in_the_header_the_page_finds_it() -> None:
    plain = plain_greys(image(data_set(VALUES.tobytes(), allocated=16, signed=1, extra=RESCALE)), 1)
    assert plain is not None
    assert plain.window is None
    assert (1.25, -50.5) == (plain.rescale.slope, plain.rescale.intercept)


@pytest.mark.parametrize(
    "extra",
    [
        sequence(0x00283000, TABLE),  # Modality LUT
        WINDOW + sequence(0x00283010, TABLE),  # VOI LUT
        WINDOW + sequence(0x20500010, TABLE),  # Presentation LUT
        SHUTTER + WINDOW,
        element(0x00089205, "CS", "COLOR") + WINDOW,
        WINDOW + element(0x00281053, "DS", "inf") + element(0x00281052, "DS", 0),
        WINDOW + element(0x00281056, "CS", "SIGMOID") + element(0x00281052, "DS", "x"),
    ],
)
def test_what_takes_more_is_not_told_of(extra: bytes) -> None:
    assert plain_greys(image(data_set(VALUES.tobytes(), allocated=16, signed=1, extra=extra)), 1) is None


def test_an_overlay_is_more_than_numbers() -> None:
    plane = b"".join(
        [
            *(element(0x60000000 | n, "US", v) for n, v in ((0x10, 4), (0x11, 6))),
            element(0x60000040, "CS", "G"),
            element(0x60000050, "SS", [1, 1]),
            *(element(0x60000000 | n, "US", v) for n, v in ((0x100, 1), (0x102, 0))),
            element(0x60003000, "OW", b"\xff\xff\xff\0"),
        ]
    )
    assert plain_greys(image(data_set(VALUES.tobytes(), allocated=16, signed=1, extra=WINDOW + plane)), 1) is None


@pytest.mark.parametrize(
    "other",
    [
        {"allocated": 32, "signed": 1},
        {"allocated": 8, "samples": 3, "photometric": "RGB"},
        {"allocated": 8, "photometric": "PALETTE COLOR"},
        {"allocated": 16, "stored": 12, "high": 15},
    ],
)
def test_other_pixels_are_not_told_of(other: dict[str, int | str]) -> None:
    size = 24 * int(other["allocated"]) // 8 * int(other.get("samples", 1))
    assert plain_greys(image(data_set(bytes(size), extra=WINDOW, **other)), 1) is None  # type: ignore[arg-type]
