"""Several series of one patient beside each other: cells, scrolling together, lines, against geometry done by numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import viewer_objects as objects
from pydicom.dataset import Dataset
from viewer_page import Viewer, served

import ours

pytestmark = pytest.mark.browser

STUDY = "2.25.700040"
SPACING = 2.0  # mm, of all series here
SIZE = 64
TILT = np.radians(12)


def series(
    number: int, name: str, across: Any, down: Any, origins: list[Any], frame_of_reference: str
) -> list[Dataset]:
    made = []
    for k, origin in enumerate(origins):
        ds = objects.ct(
            40,
            "CELLS",
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Kim^Cheolsu=金^哲洙=김^철수",
            SeriesInstanceUID=f"{STUDY}.{number}",
            SOPInstanceUID=f"{STUDY}.{number}.{k + 1}",
            FrameOfReferenceUID=frame_of_reference,
            SeriesNumber=number,
            SeriesDescription=name,
            InstanceNumber=k + 1,
            Rows=SIZE,
            Columns=SIZE,
            PixelSpacing=[SPACING, SPACING],
            ImageOrientationPatient=[float(f"{v:.10g}") for v in (*across, *down)],
            ImagePositionPatient=[float(f"{v:.10g}") for v in origin],
            WindowCenter=40,
            WindowWidth=400,
            PixelData=np.full((SIZE, SIZE), 1024 + 10 * k, "<i2").tobytes(),
        )
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        made.append(ds)
    return made


def planes(across: Any, down: Any, start: Any, step: float, count: int) -> list[Any]:
    normal = np.cross(across, down)
    return [np.array(start) + k * step * normal for k in range(count)]


AXIAL = ([1, 0, 0], [0, 1, 0])
TILTED = ([1, 0, 0], [0, float(np.cos(TILT)), float(np.sin(TILT))])
SAGITTAL = ([0, 1, 0], [0, 0, -1])
GEOMETRY = {
    1: ("Axial", *AXIAL, planes(*AXIAL, [-64, -64, -40], 5, 16)),
    2: ("Tilted", *TILTED, planes(*TILTED, [-64, -70, -50], 3, 30)),
    3: ("Sagittal", *SAGITTAL, planes(*SAGITTAL, [30, -64, 64], -4, 16)),
    4: ("Elsewhere", *AXIAL, planes(*AXIAL, [-64, -64, -40], 5, 16)),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = [
        ds
        for number, (name, across, down, origins) in GEOMETRY.items()
        for ds in series(number, name, across, down, origins, f"{STUDY}.9" if number < 4 else f"{STUDY}.8")
    ]
    with ours.background(lambda: served(tmp_path_factory.mktemp("cells"), [objects.encoded(ds) for ds in made])) as url:
        yield url


def middle(number: int, k: int) -> Any:
    _, across, down, origins = GEOMETRY[number]
    half = (SIZE - 1) / 2 * SPACING
    return origins[k] + half * np.array(across) + half * np.array(down)


def nearest(number: int, to: Any) -> int:
    """Which slice of a series is nearest to a point, from 0."""
    _, across, down, origins = GEOMETRY[number]
    normal = np.cross(across, down)
    return int(np.argmin([abs(normal @ (to - origin)) for origin in origins]))


def opened(viewer: Viewer, cells: int) -> None:
    viewer.page.wait_for_function(
        "(n) => document.querySelectorAll('.viewport:not(.is-loading) .bottom-left .position').length === n", arg=cells
    )
    viewer.settle()


def four(viewer: Viewer) -> None:
    viewer.open(f"{STUDY}/{STUDY}.1")
    viewer.page.wait_for_selector(".series-card:nth-child(4)")
    viewer.press("l", "l")
    opened(viewer, 4)


def showing(viewer: Viewer, expected: list[str]) -> None:
    """Waits until each cell shows its place in its stack: "3 / 16"."""
    viewer.page.wait_for_function(
        "(expected) => JSON.stringify([...document.querySelectorAll('.viewport .bottom-left .position')]"
        ".map((e) => e.textContent)) === JSON.stringify(expected)",
        arg=expected,
    )


def test_cells_scroll_together_by_their_place_in_the_patient(viewer: Viewer) -> None:
    four(viewer)
    viewer.press("Home", *["ArrowDown"] * 6)
    tilted = nearest(2, middle(1, 6))
    # The sagittal series is not parallel and keeps its place; the last has another Frame of Reference.
    showing(viewer, ["7 / 16", f"{tilted + 1} / 30", "1 / 16", "1 / 16"])
    viewer.press("Shift+ArrowRight", "End")
    axial = nearest(1, middle(2, 29))
    showing(viewer, [f"{axial + 1} / 16", "30 / 30", "1 / 16", "1 / 16"])
    viewer.press("j", "Home")
    showing(viewer, [f"{axial + 1} / 16", "1 / 30", "1 / 16", "1 / 16"])


def lines(viewer: Viewer, cell: int, kind: str) -> list[list[float]]:
    """End points in image columns and rows: the canvas is turned back into the image by its fitted size."""
    found: list[list[float]] = viewer.page.evaluate(
        """([cell, kind]) => {
          const viewport = document.querySelectorAll('.viewport')[cell];
          const { clientWidth: w, clientHeight: h } = viewport;
          const zoom = Math.min(w, h) / 64;
          return [...viewport.querySelectorAll(kind)].map((line) => ['x1', 'y1', 'x2', 'y2'].map((name) => {
            const value = Number(line.getAttribute(name));
            return name[0] === 'x' ? (value - w / 2) / zoom + 32 : (value - h / 2) / zoom + 32;
          }));
        }""",
        [cell, kind],
    )
    return found


def expected_line(cut: tuple[int, int], on: tuple[int, int]) -> Any:
    """Where a slice cuts another: sampled on the cut slice's own grid, so that its extent counts; (2, 2) ends."""
    _, across, down, origins = GEOMETRY[on[0]]
    origin = origins[on[1]]
    normal = np.cross(across, down)
    _, u, v, others = GEOMETRY[cut[0]]
    u, v, start = np.array(u), np.array(v), others[cut[1]]
    step = np.linspace(-0.5, SIZE - 0.5, 2001) * SPACING
    points = []
    for k in step:  # along each row of the cut slice: where is it on the other's plane?
        a = start + k * v
        rate = normal @ u
        if abs(rate) < 1e-9:
            continue
        s = -(normal @ (a - origin)) / rate
        if -0.5 * SPACING <= s <= (SIZE - 0.5) * SPACING:
            points.append(a + s * u)
    found = np.array(points)
    columns = (found - origin) @ np.array(across) / SPACING + 0.5
    rows = (found - origin) @ np.array(down) / SPACING + 0.5
    inside = (columns >= 0) & (columns <= SIZE) & (rows >= 0) & (rows <= SIZE)
    at = np.stack([columns, rows], 1)[inside]
    return at[[0, -1]]


@pytest.mark.parametrize("source", [1, 2])
def test_a_line_shows_where_the_active_slice_cuts_the_others(viewer: Viewer, source: int) -> None:
    four(viewer)
    if source == 2:
        viewer.press("Shift+ArrowRight")
    viewer.press("Home", *["ArrowDown"] * 9)
    opened(viewer, 4)
    found = lines(viewer, 2, ".reference-line.is-active")
    assert 1 == len(found)
    ends = np.array(found[0]).reshape(2, 2)
    expected = expected_line((source, 9), (3, 0))
    for order in (expected, expected[::-1]):
        if np.abs(ends - order).max() < 0.15:
            break
    else:
        pytest.fail(f"{ends} is not {expected}")
    # First and last slice are there too; a parallel slice and another Frame of Reference cut nothing.
    assert 2 == len(lines(viewer, 2, ".reference-line.is-end"))
    assert [] == lines(viewer, 3, ".reference-line")
    viewer.press("y")
    assert [] == lines(viewer, 2, ".reference-line")


def test_the_address_keeps_the_cells(viewer: Viewer) -> None:
    four(viewer)
    viewer.press("Shift+ArrowRight", "End")
    axial = nearest(1, middle(2, 29))
    expected = [f"{axial + 1} / 16", "30 / 30", "1 / 16", "1 / 16"]
    showing(viewer, expected)
    viewer.page.wait_for_function("() => location.search.includes('grid=2x2&cell=2&in=')")
    viewer.page.wait_for_function(f"() => location.pathname.endsWith('{STUDY}.2.30')")
    viewer.page.goto("about:blank")
    viewer.page.go_back()
    opened(viewer, 4)
    showing(viewer, expected)
    assert 1 == viewer.page.locator(".viewport:nth-child(2).is-active").count()


def test_a_series_is_dragged_into_a_cell_and_begins_where_the_others_are(viewer: Viewer) -> None:
    viewer.open(f"{STUDY}/{STUDY}.1/{STUDY}.1.8")
    viewer.page.click(".toolbar button[aria-label=Layout]")
    viewer.page.click(".grid-picker button[aria-label='2 columns, 1 rows']")
    opened(viewer, 2)
    viewer.page.drag_and_drop(".series-card:nth-child(4)", ".viewport:nth-child(2)")
    viewer.page.wait_for_selector(".viewport:nth-child(2) .bottom-left:has-text('Elsewhere')")
    viewer.page.drag_and_drop(".series-card:nth-child(2)", ".viewport:nth-child(2)")
    viewer.page.wait_for_selector(".viewport:nth-child(2) .bottom-left:has-text('Tilted')")
    showing(viewer, ["8 / 16", f"{nearest(2, middle(1, 7)) + 1} / 30"])
    assert 1 == viewer.page.locator(".viewport:nth-child(2).is-active").count()
