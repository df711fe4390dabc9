"""Planes of a volume in Chromium, pixel by pixel against numpy, and how they move together."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from viewer_page import Viewer
from volume_page import (
    FRAMES,
    NOTHING,
    OBLIQUE_TURN,
    POINT,
    SHAPE,
    SPACING,
    TILT,
    VIEW,
    Scanned,
    address,
    all_series,
    arrived,
    cut,
    go,
    greys,
    noise,
    pet,
    picture,
    ready,
    same,
    series,
    state,
)

from volume_objects import OBLIQUE, ct

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tilted() -> Scanned:
    return Scanned([ds for ds in all_series() if ds.PatientID == "TILTED"])


# --- planes


@pytest.mark.parametrize("turn", [(1.0, 0.0, 0.0, 0.0), OBLIQUE_TURN], ids=["straight", "oblique"])
def test_planes_of_a_tilted_stack_are_those_of_numpy(
    planes: Viewer, tilted: Scanned, turn: tuple[float, float, float, float]
) -> None:
    go(planes, 1, address(turn=turn))
    for name in FRAMES:
        shown = picture(planes, name)
        expected = cut(tilted, name, shown.shape[:2], point=POINT, centre=VIEW, field=44, turn=turn)
        same(shown, expected)
    words = planes.page.locator(".volume-words").inner_text()
    assert f"{SHAPE[0]} slices · Slices tilted by {TILT:.1f}°" == words
    assert ("oblique" in planes.page.locator(".pane.is-axial .top-left").inner_text()) == (turn[0] < 1)


@pytest.mark.parametrize("how", ["max", "min", "mean"])
def test_slabs_are_those_of_numpy(planes: Viewer, tilted: Scanned, how: str) -> None:
    go(planes, 1, address(f"slab:{how},7.5", OBLIQUE_TURN))
    shown = picture(planes, "coronal")
    expected = cut(
        tilted, "coronal", shown.shape[:2], point=POINT, centre=VIEW, field=44, turn=OBLIQUE_TURN, slab=(how, 7.5)
    )
    same(shown, expected)
    assert {"max": "MIP", "min": "MinIP", "mean": "Mean"}[how] + " 7.5 mm" in planes.page.locator(
        ".pane.is-coronal .bottom-left"
    ).inner_text()


def test_a_plane_on_a_slice_has_the_greys_of_the_stack(planes: Viewer) -> None:
    """One table for both: a pixel of the screen for a pixel of the slice, and the window of the header."""
    straight = [ds for ds in all_series() if ds.PatientID == "STRAIGHT"]
    planes.page.goto(f"{planes.address}/view/2.25.80002/2.25.80002.1?planes=on")
    ready(planes)
    height, width = picture(planes, "axial").shape[:2]
    # Every second column of the screen lies on a column of the image, and every fifth row on every second row.
    scale = SPACING[2] / 2
    centre = (-12.0 + (width - 1) / 2 * scale - 20, 20.0 + (height - 1) / 2 * scale - 20, 54.0)
    view = ",".join(f"{value:.3f}" for value in (1, 0, 0, 0, *centre, scale * min(height, width)))
    go(planes, 2, f"at:0,30,54;axial:{view}")
    shown = picture(planes, "axial")[..., 0]
    stored = np.frombuffer(straight[7].PixelData, np.int16).reshape(SHAPE[1:])
    first = 50  # columns and rows of the screen before the image's first pixel: 20 mm
    seen = shown[first : first + 10 * 6 : 5, first : first + 2 * 30 : 2]
    assert np.array_equal(greys(stored[:24:2, :30]), seen)


def test_missing_slices_are_left_empty_and_told(planes: Viewer) -> None:
    go(planes, 3)
    assert "8 slices · 2 slices are missing and left empty" in planes.page.locator(".volume-words").inner_text()
    made = series(3, "GAP", ct(10, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=noise))
    scanned = Scanned(made)
    scanned.stored[4:6] = np.nan
    shown = picture(planes, "coronal")
    middle = scanned.centre
    field = max(24 * 0.8, 10 * 2.0)
    # Without a word in the address planes go through the middle of the slice that was shown: here none, so the middle.
    expected = cut(scanned, "coronal", shown.shape[:2], point=middle, centre=middle, field=field)
    same(shown, expected)
    gap = np.isnan(expected[:, expected.shape[1] // 2])
    assert 0.1 < gap[len(gap) // 3 : -len(gap) // 3].mean() < 0.8


def test_slices_with_slopes_of_their_own_are_on_one_scale(planes: Viewer) -> None:
    go(planes, 4)
    made = pet()
    values = np.stack(
        [np.frombuffer(ds.PixelData, np.int16).reshape(20, 24) * float(ds.RescaleSlope) - 500 for ds in made]
    )
    scanned = Scanned(made, values)
    shown = picture(planes, "sagittal")
    field = max(20 * 1.0, 8 * 2.0)
    expected = cut(scanned, "sagittal", shown.shape[:2], point=scanned.centre, centre=scanned.centre, field=field)
    exact = ~np.isnan(expected)
    difference = np.abs(shown[..., 0].astype(int) - greys(expected, 1, 0))[exact]
    assert difference.max() <= 2
    assert difference.mean() < 0.2


def test_padding_is_black_and_leaves_no_seam(planes: Viewer) -> None:
    go(planes, 6, query="&invert=1")
    shown = picture(planes, "axial")[..., 0].astype(int)
    row = shown[shown.shape[0] // 2]
    inside = np.flatnonzero(row != NOTHING[0])
    third = inside[0] + (inside[-1] - inside[0] + 1) // 3
    assert {0} == set(row[inside[0] + 1 : third - 6])
    # Noise of -200 to 500 in the inverted window is 40 to 215; a seam of mixed values would be brighter than any.
    rest = row[third + 6 : inside[-1]]
    assert 20 < rest.min() < rest.max() < 225
    assert row[third - 6 : third + 6].max() < 225


def test_a_pane_is_busy_until_its_newest_plane_is_painted(planes: Viewer) -> None:
    """A new size has the old plane painted at once; whoever waits for the picture waits for the new one."""
    go(planes, 1, address("slab:mean,60", OBLIQUE_TURN))
    planes.page.evaluate(
        """() => {
          const pane = document.querySelector('.pane.is-coronal');
          window.busy = [];
          new MutationObserver((all) => window.busy.push(...all.map((one) => one.oldValue)))
            .observe(pane, { attributeFilter: ['aria-busy'], attributeOldValue: true });
        }"""
    )
    for width in (1400, 900, 1300):
        planes.page.set_viewport_size({"width": width, "height": 1000})
        planes.page.wait_for_function(
            "(width) => document.querySelector('.pane.is-coronal canvas').width > width / 3", arg=width
        )
        ready(planes)
    said = [*planes.page.evaluate("() => window.busy"), "false"]
    assert "true" in said
    assert ("false", "false") not in pairwise(said)


# --- linked


def crossing(viewer: Viewer, name: str) -> tuple[float, float]:
    """Where the lines of a plane cross, page coordinates."""
    found: list[float] = viewer.page.evaluate(
        """(name) => {
          const pane = document.querySelector(`.pane.is-${name}`);
          const box = pane.getBoundingClientRect();
          const rings = [...pane.querySelectorAll('.cross-line:first-child .cross-handle')];
          const ends = rings.map((ring) => [ring.cx.baseVal.value, ring.cy.baseVal.value]);
          return [box.left + (ends[0][0] + ends[1][0]) / 2, box.top + (ends[0][1] + ends[1][1]) / 2];
        }""",
        name,
    )
    return found[0], found[1]


def drag(viewer: Viewer, start: tuple[float, float], by: tuple[float, float], **options: Any) -> None:
    mouse = viewer.page.mouse
    mouse.move(*start)
    mouse.down(**options)
    for part in (0.3, 0.6, 1.0):
        mouse.move(start[0] + part * by[0], start[1] + part * by[1])
    mouse.up(**options)
    ready(viewer)


def test_dragging_the_crossing_moves_the_other_planes(planes: Viewer, tilted: Scanned) -> None:
    go(planes, 1, address())
    before = {name: crossing(planes, name) for name in FRAMES}
    height, width = picture(planes, "axial").shape[:2]
    scale = 44 / min(height, width)
    drag(planes, before["axial"], (60, -30))
    after = {name: crossing(planes, name) for name in FRAMES}
    assert np.allclose(np.subtract(after["axial"], before["axial"]), (60, -30), atol=0.1)
    assert np.allclose(np.subtract(after["coronal"], before["coronal"]), (60, 0), atol=0.1)
    assert np.allclose(np.subtract(after["sagittal"], before["sagittal"]), (-30, 0), atol=0.1)
    point = POINT + scale * np.array([60, -30, 0])
    at = [float(v) for v in state(planes, at=f"{round(point[0] * 100) / 100:g}")["at"]]
    assert at == pytest.approx(point, abs=0.006)
    shown = picture(planes, "sagittal")
    same(shown, cut(tilted, "sagittal", shown.shape[:2], point=point, centre=VIEW, field=44))


def test_wheel_line_and_double_click_move_a_plane(planes: Viewer) -> None:
    go(planes, 1, address())
    x, y = crossing(planes, "sagittal")
    planes.page.mouse.move(x + 40, y + 40)
    planes.page.mouse.wheel(0, 120)
    ready(planes)
    # Into the screen of a sagittal plane is towards the right, by a column.
    assert float(state(planes, at="0.7,")["at"][0]) == pytest.approx(POINT[0] - 0.8, abs=0.01)
    # The axial plane's line in the coronal: dragged along itself it stays, across it moves.
    x, y = crossing(planes, "coronal")
    drag(planes, (x + 80, y), (30, 25))
    height, width = picture(planes, "coronal").shape[:2]
    scale = 44 / min(height, width)
    assert np.allclose(crossing(planes, "coronal"), (x, y + 25), atol=0.2)
    planes.page.mouse.dblclick(x + 50, y - 60)
    ready(planes)
    # A double click comes in whole pixels.
    assert np.allclose(crossing(planes, "coronal"), (x + 50, y - 60), atol=1)
    arrived(planes, POINT[2] + 60 * scale, 1.5 * scale)


def test_turning_the_lines_turns_the_other_planes_and_not_this(planes: Viewer, tilted: Scanned) -> None:
    go(planes, 1, address())
    axial = picture(planes, "axial")
    # In one look: what comes late to the page may still move the panes between two.
    (cx, cy), (hx, hy) = planes.page.evaluate(
        """() => {
          const pane = document.querySelector('.pane.is-axial');
          const box = pane.getBoundingClientRect();
          const places = (which) => [...pane.querySelectorAll(`${which} .cross-handle`)]
            .map((ring) => [box.left + ring.cx.baseVal.value, box.top + ring.cy.baseVal.value]);
          const [a, b] = places('.is-coronal');
          return [[(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], a];
        }"""
    )
    angle = np.radians(25)
    dx, dy = hx - cx, hy - cy
    to = (cx + dx * np.cos(angle) - dy * np.sin(angle), cy + dx * np.sin(angle) + dy * np.cos(angle))
    drag(planes, (hx, hy), (to[0] - hx, to[1] - hy))
    assert np.array_equal(axial, picture(planes, "axial"))
    # The address may have been written in the middle of the drag, and a place on the screen is a whole pixel.
    planes.page.wait_for_function(
        "(w) => Math.abs(Number(/coronal:([^,]+)/.exec(location.search)?.[1]) - w) <= 0.5",
        arg=float(np.cos(angle / 2) * 1000),
    )
    words = state(planes)
    w, x, y, z = (float(v) for v in words["coronal"][:4])
    turn = (w, x, y, z)
    assert turn == pytest.approx([1000 * np.cos(angle / 2), 0, 0, 1000 * np.sin(angle / 2)], abs=0.5)
    assert words["sagittal"][:4] == words["coronal"][:4]
    assert words["axial"][:4] == ["1000", "0", "0", "0"]
    centre = np.array([float(v) for v in words["coronal"][4:7]])
    shown = picture(planes, "coronal")
    same(
        shown, cut(tilted, "coronal", shown.shape[:2], point=POINT, centre=centre, field=44, turn=turn), 0.1
    )  # its middle comes from the address, to 0.01 mm
    markers = planes.page.locator(".pane.is-coronal .edge").all_inner_texts()
    assert markers == ["H", "LP", "F", "RA"]


def test_along_the_slices_shows_them_as_they_were_taken(planes: Viewer) -> None:
    go(planes, 8)
    planes.press("g")
    ready(planes)
    assert "oblique" in planes.page.locator(".pane.is-axial .top-left").inner_text()
    made = [ds for ds in all_series() if ds.PatientID == "OBLIQUE"]
    scanned = Scanned(made)
    shown = picture(planes, "axial")
    frame = tuple(np.split(np.array(OBLIQUE), 2))
    expected = cut(
        scanned, "axial", shown.shape[:2], point=scanned.centre, centre=scanned.centre, field=24, frame=frame
    )
    same(shown, expected)


def test_keys_move_slab_and_enlarge(planes: Viewer) -> None:
    go(planes, 1, address())
    planes.page.locator(".pane.is-axial").focus()
    planes.press("ArrowDown", "ArrowDown", "ArrowUp")
    ready(planes)
    arrived(planes, POINT[2] + SPACING[0], 0.01)
    planes.press("m", "m", "]")
    assert state(planes, slab="min,15")["slab"] == ["min", "15"]
    assert planes.page.get_by_role("button", name="MinIP").get_attribute("aria-pressed") == "true"
    planes.press("[", "m", "m")
    ready(planes)
    planes.press("Enter")
    ready(planes)
    assert [False, True, True, True] == [
        planes.page.locator(f".pane[data-plane={name}]").is_hidden()
        for name in ("axial", "coronal", "sagittal", "scene")
    ]
    assert state(planes, big="axial")["big"] == ["axial"]
    planes.press("Escape")
    ready(planes)
    assert planes.page.locator(".pane:visible").count() == 4
    planes.press("?")
    assert "Drag a ring" in planes.page.locator("dialog.help").inner_text()
    planes.press("?")


def test_window_drag_and_presets(planes: Viewer) -> None:
    go(planes, 2)
    before = picture(planes, "coronal")
    planes.press("2")
    planes.settle()
    assert "Lung" in planes.page.locator(".pane.is-axial .bottom-right").inner_text()
    assert not np.array_equal(before, picture(planes, "coronal"))
    planes.press("0")
    planes.settle()
    assert np.array_equal(before, picture(planes, "coronal"))
    box = planes.page.locator(".pane.is-coronal").bounding_box()
    assert box
    drag(planes, (box["x"] + 60, box["y"] + 60), (40, 0))
    # Each move widens by a part of the width it finds, and a busy browser makes one of several.
    assert re.search(r"W 110\d {2}L 150", planes.page.locator(".pane.is-axial .bottom-right").inner_text())
    planes.page.wait_for_function("() => location.search.includes('window=150,110')")
