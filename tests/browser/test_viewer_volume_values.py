"""Planes of a volume on a calibrated display, and what their pixels measure: uptake and real world values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
import viewer_objects as objects
from pydicom import Dataset
from test_viewer_display import type_display
from test_viewer_uptake import INJECTED, by_weight, injected, mapping
from viewer_page import Viewer, served
from volume_page import (
    OBLIQUE_TURN,
    POINT,
    SPACING,
    VIEW,
    WINDOW,
    Array,
    Scanned,
    address,
    all_series,
    cut,
    go,
    greys,
    noise,
    pet,
    picture,
    same,
    series,
    without_webgl,
)

import ours
from isocenter.display.calibration import Characteristic
from volume_objects import INTERCEPT, SLOPE, ct

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("how", "inverted"), [("max", False), ("mean", True)], ids=["MIP", "mean, inverted"])
def test_oblique_slabs_on_a_calibrated_display_are_those_of_numpy(planes: Viewer, how: str, inverted: bool) -> None:
    """The whole way of a value: cut out of tilted slices, joined, windowed, and driven as the display wants it."""
    type_display(planes)
    curve = Characteristic.of_gamma(0.3, 250.0, 2.2, 0.2)

    def driven(stored: Array) -> Array:
        center, width = WINDOW
        level = np.clip((stored * SLOPE + INTERCEPT - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        p_values = np.rint(np.nan_to_num(1 - level if inverted else level) * 65535).astype(np.int64)
        return np.asarray(curve.ddls[p_values], np.int64)

    go(planes, 1, address(f"slab:{how},7.5", OBLIQUE_TURN), "&invert=1" if inverted else "")
    tilted = Scanned([ds for ds in all_series() if ds.PatientID == "TILTED"])
    for name in ("axial", "sagittal"):
        shown = picture(planes, name)
        view = {"point": POINT, "centre": VIEW, "field": 44.0, "turn": OBLIQUE_TURN, "slab": (how, 7.5)}
        expected = cut(tilted, name, shown.shape[:2], **view)
        same(shown, expected, to=driven, part=0.03)
        inside = ~np.isnan(expected)
        assert np.abs(driven(expected) - greys(expected))[inside].mean() > 5  # the display is no sRGB screen


# --- what pixels measure

STEP = 2.01  # of the one scale, 16 bits, that holds all that slices of these slopes could have
LEAST, MOST = 0, 1600  # stored values that the mapping reaches: about the lower half of the noise


def made() -> list[Dataset]:
    plain = {"spacing": SPACING, "origin": (0, 0, 0), "value": noise}
    uptake = [injected(ds) for ds in renumbered(pet(), 41)]
    light = [injected(ds) for ds in renumbered(pet(), 42)]
    for ds in light:
        del ds.PatientWeight
    mapped = series(43, "MAPPED", ct(8, (20, 24), **plain))
    for ds in mapped:
        ds.RealWorldValueMappingSequence = [mapping(2e-6, 1e-4, LEAST, MOST)]
    # One line of the modality's values, by slopes of each slice's own; and one that is another in each
    sloped, odd = renumbered(pet(), 44), renumbered(pet(), 45)
    for ds in (*sloped, *odd):
        ds.Modality = "MR"
        per_value = 2e-6 if ds in sloped else 1e-6 * int(ds.InstanceNumber)
        line = (per_value * float(ds.RescaleSlope), per_value * float(ds.RescaleIntercept) + 3e-3)
        ds.RealWorldValueMappingSequence = [mapping(*line, -32768, 32767)]
    return [*uptake, *light, *mapped, *sloped, *odd]


def renumbered(images: list[Dataset], number: int) -> list[Dataset]:
    return series(number, f"VALUES{number}", images)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    files = [objects.encoded(ds) for ds in made()]
    with ours.background(lambda: served(tmp_path_factory.mktemp("values"), files)) as url:
        yield url


@pytest.fixture
def measured(chromium: Browser, values: str) -> Iterator[Viewer]:
    with without_webgl(chromium, values) as page:
        yield page


def activity() -> Scanned:
    """The modality's values of `pet`, in thousandths: planes are cut to whole numbers."""
    images = pet()
    stored = [np.frombuffer(ds.PixelData, np.int16).reshape(20, 24) * float(ds.RescaleSlope) - 500 for ds in images]
    return Scanned(images, 1000 * np.stack(stored))


def probe(viewer: Viewer, x: int, y: int) -> str:
    """What is said of the middle of a pixel of the sagittal plane, which goes through all slices."""
    box = viewer.page.locator(".pane.is-sagittal canvas").bounding_box()
    assert box
    viewer.page.mouse.move(box["x"] + 1, box["y"] + 1)
    before = viewer.page.locator(".volume-probe").inner_text()
    viewer.page.mouse.move(box["x"] + x + 0.5, box["y"] + y + 0.5)
    viewer.page.wait_for_function(
        "(before) => document.querySelector('.volume-probe').textContent !== before", arg=before
    )
    return viewer.page.locator(".volume-probe").inner_text()


def sagittal(viewer: Viewer, scanned: Scanned) -> tuple[Array, list[tuple[int, int]]]:
    """The plane that is shown, and some places in it."""
    height, width = picture(viewer, "sagittal").shape[:2]
    middle = scanned.centre
    plane = cut(scanned, "sagittal", (height, width), point=middle, centre=middle, field=20.0)
    places = [(width // 2 + dx, height // 2 + dy) for dx, dy in ((-70, -30), (-31, 44), (12, -61), (66, 23), (90, 70))]
    return plane, places


def said(text: str) -> tuple[float, str]:
    """Number and unit of a probe."""
    number, _, unit = text.partition(" mm   ")[2].partition(" ")
    return float(number), unit


def test_the_probe_of_planes_is_in_suv(measured: Viewer) -> None:
    go(measured, 41)
    factor = by_weight(INJECTED)
    plane, places = sagittal(measured, activity())
    for x, y in places:
        number, unit = said(probe(measured, x, y))
        assert unit == "SUVbw"
        assert number == pytest.approx(plane[y, x] / 1000 * factor, abs=STEP * factor + 0.006)
    assert " SUVbw" in measured.page.locator(".pane.is-axial .bottom-right").inner_text()


def test_planes_of_activity_without_a_weight_say_why_there_is_no_suv(measured: Viewer) -> None:
    go(measured, 42)
    assert "no SUV: Patient's Weight is missing" in measured.page.locator(".pane.is-axial .bottom-right").inner_text()
    plane, places = sagittal(measured, activity())
    for x, y in places:
        assert (pytest.approx(plane[y, x] / 1000, abs=STEP), "Bq/ml") == said(probe(measured, x, y))


def test_the_probe_of_planes_is_in_real_world_values_as_far_as_they_reach(measured: Viewer) -> None:
    go(measured, 43)
    images = series(43, "MAPPED", ct(8, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=noise))
    plane, _ = sagittal(measured, Scanned(images))
    inside, outside = (np.argwhere(which & ~np.isnan(plane)) for which in (plane < MOST - 40, plane > MOST + 40))
    for y, x in (*inside[:: len(inside) // 4], *outside[:: len(outside) // 4]):
        text = probe(measured, int(x), int(y))
        if plane[y, x] > MOST:
            assert text.endswith(" mm")
        else:
            assert (pytest.approx(plane[y, x] * 2e-6 + 1e-4, rel=0.006), "mm2/s") == said(text)


def test_mappings_of_each_slice_are_one_quantity_or_none(measured: Viewer) -> None:
    plane, places = None, []
    for number in (44, 45):
        go(measured, number)
        plane, places = sagittal(measured, activity())
        for x, y in places:
            modality = plane[y, x] / 1000
            found, unit = said(probe(measured, x, y))
            if number == 44:
                assert (pytest.approx(modality * 2e-6 + 3e-3, abs=STEP * 2e-6 + 6e-6), "mm2/s") == (found, unit)
            else:  # what a mixture of slices measures nobody said
                assert (pytest.approx(modality, abs=STEP), "HU") == (found, unit)
