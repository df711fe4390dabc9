"""Drawing on a picture: what is measured is what numpy finds in the same pixels, whichever way the picture lies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
import viewer_objects as objects
from pydicom import Dataset
from viewer_page import Viewer, served, watched

import ours

pytestmark = pytest.mark.browser

ROWS = COLUMNS = 128
SPACING = (0.8, 0.4)  # millimetres a row and a column: not square, so that a mix-up shows
Point = tuple[float, float]  # column and row


def measured() -> list[Dataset]:
    """Objects with different ways to say how long a pixel is."""
    bare = objects.ct(54, "BARE")
    del bare.PixelSpacing
    detector = objects.ct(55, "DETECTOR", ImagerPixelSpacing=[0.2, 0.2])
    del detector.PixelSpacing
    magnified = objects.ct(
        56, "MAGNIFIED", ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor="1.25"
    )
    del magnified.PixelSpacing
    film = objects.ct(62, "FILM", Modality="OT", NominalScannedPixelSpacing=[0.1, 0.1])
    del film.PixelSpacing
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1, region.RegionLocationMaxY1 = (
        0,
        0,
        127,
        63,
    )
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.05, -0.02
    return [
        objects.ct(51, "PATIENT", PixelSpacing=list(SPACING)),
        objects.ct(52, "CALIBRATED", PixelSpacing=[0.1, 0.1], ImagerPixelSpacing=[0.2, 0.2]),
        objects.ct(53, "UNCALIBRATED", PixelSpacing=[0.2, 0.2], ImagerPixelSpacing=[0.2, 0.2]),
        objects.ct(58, "GEOMETRY", Modality="DX", PixelSpacing=[0.1, 0.1], PixelSpacingCalibrationType="GEOMETRY"),
        objects.ct(
            59,
            "FIDUCIAL",
            Modality="DX",
            PixelSpacing=[0.1, 0.1],
            ImagerPixelSpacing=[0.1, 0.1],
            PixelSpacingCalibrationType="FIDUCIAL",
        ),
        film,
        objects.ct(63, "PROJECTION", Modality="CR", PixelSpacing=[0.1, 0.1]),
        bare,
        detector,
        magnified,
        objects.ct(57, "REGION", SequenceOfUltrasoundRegions=[region]),
    ]


@pytest.fixture(scope="module")
def measuring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    files = [objects.encoded(ds) for ds in measured()]
    files += [data for name, data in objects.packaged() if "rgb" in name.lower()]
    with ours.background(lambda: served(tmp_path_factory.mktemp("measures"), files)) as url:
        yield url


@pytest.fixture
def viewer(chromium: object, measuring: str) -> Iterator[Viewer]:
    with watched(chromium, measuring) as page:  # type: ignore[arg-type]
        yield page


def on_screen(viewer: Viewer, point: Point) -> Point:
    """Where a place of the image is on the page. The picture is fitted, as it is at first."""
    box = viewer.page.locator(".viewport").first.bounding_box()
    assert box
    tall = SPACING[0] / SPACING[1] if "2.25.700051" in viewer.page.url else 1.0
    if "2.25.700057" in viewer.page.url:
        tall = 1.0
    zoom = min(box["width"] / COLUMNS, box["height"] / (ROWS * tall))
    x = box["x"] + box["width"] / 2 + (point[0] - COLUMNS / 2) * zoom
    y = box["y"] + box["height"] / 2 + (point[1] - ROWS / 2) * zoom * tall
    return x, y


def press(viewer: Viewer, point: Point, to: Point | None = None) -> None:
    """A click, or a drag to another place of the image."""
    mouse = viewer.page.mouse
    mouse.move(*on_screen(viewer, point))
    mouse.down()
    if to is not None:
        mouse.move(*on_screen(viewer, to), steps=3)
    mouse.up()
    viewer.settle()


def words(viewer: Viewer) -> list[str]:
    """What stands beside the shapes, a text for each."""
    found: list[str] = viewer.page.evaluate(
        "() => [...document.querySelectorAll('.viewport.is-active .shape-text')]"
        ".map(t => [...t.querySelectorAll('tspan')].map(s => s.textContent).join('\\n'))"
    )
    return found


def numbers(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", text)]


def view(viewer: Viewer, number: int) -> None:
    viewer.open(f"2.25.7000{number}")


def hounsfield() -> np.ndarray:
    ds = pydicom.dcmread(objects.FOLDER / "CT_small.dcm")
    values: np.ndarray = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    return values


@pytest.mark.parametrize("turned", [(), ("t",), ("h",), ("t", "v")], ids=["upright", "turned", "mirrored", "both"])
def test_a_length_is_the_one_in_the_patient(viewer: Viewer, turned: tuple[str, ...]) -> None:
    view(viewer, 51)
    viewer.press("m")
    press(viewer, (20, 30), (80, 90))
    viewer.press("w", *turned)
    assert words(viewer)
    assert numbers(words(viewer)[0])[0] == pytest.approx(np.hypot(60 * SPACING[1], 60 * SPACING[0]), abs=0.35)


@pytest.mark.parametrize(
    ("number", "expected", "note"),
    [
        (52, 4.0, "calibrated"),
        (53, 8.0, "at detector"),
        (54, 40.0, "px"),
        (55, 8.0, "at detector"),
        (56, 6.4, "by estimated magnification"),
        (58, 4.0, "calibrated by geometry"),
        (59, 4.0, "calibrated by an object"),
        (62, 4.0, "on the scanned film"),
        (63, 4.0, "calibration not known"),
    ],
)
def test_a_length_says_what_it_goes_by(viewer: Viewer, number: int, expected: float, note: str) -> None:
    view(viewer, number)
    viewer.press("m")
    press(viewer, (30, 60), (70, 60))
    (text,) = words(viewer)
    assert numbers(text)[0] == pytest.approx(expected, rel=0.02)
    assert note in text
    assert ("mm" in text) == (note != "px")


def test_ultrasound_goes_by_the_region_that_a_shape_begins_in(viewer: Viewer) -> None:
    view(viewer, 57)
    viewer.press("m")
    press(viewer, (30, 20), (70, 20))
    press(viewer, (20, 20), (20, 50))
    press(viewer, (30, 100), (70, 100))
    across, down, outside = words(viewer)
    assert numbers(across)[0] == pytest.approx(40 * 0.5, rel=0.02)
    assert numbers(down)[0] == pytest.approx(30 * 0.2, rel=0.03)
    assert "px" in outside


def test_angles(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.press("g")
    press(viewer, (80, 40), (40, 40))
    press(viewer, (40, 80))
    press(viewer, (80, 90), (40, 90))
    press(viewer, (80, 70))
    viewer.press("b")
    press(viewer, (20, 20), (100, 20))
    press(viewer, (100, 100), (20, 110))
    right, slanted, cobb = (numbers(text)[0] for text in words(viewer))
    assert right == pytest.approx(90, abs=0.6)
    assert slanted == pytest.approx(np.degrees(np.arctan2(20 * SPACING[0], 40 * SPACING[1])), abs=0.8)
    assert cobb == pytest.approx(np.degrees(np.arctan2(10 * SPACING[0], 80 * SPACING[1])), abs=0.8)


@pytest.mark.parametrize("kind", ["q", "e"])
def test_a_region_has_the_statistics_that_numpy_finds(viewer: Viewer, kind: str) -> None:
    view(viewer, 51)
    viewer.press(kind)
    press(viewer, (40.2, 30.2), (90.2, 80.2))
    hu = hounsfield()
    row, column = np.mgrid[0:ROWS, 0:COLUMNS] + 0.5
    if kind == "q":
        inside = (abs(column - 65.2) < 25) & (abs(row - 55.2) < 25)
    else:
        inside = ((column - 65.2) / 25) ** 2 + ((row - 55.2) / 25) ** 2 <= 1
    mean, deviation, least, most, area = numbers(words(viewer)[0])[:5]
    # A screen pixel is a sixth of the image's: a pixel at the edge is in or out.
    assert mean == pytest.approx(hu[inside].mean(), abs=8)
    assert deviation == pytest.approx(hu[inside].std(), rel=0.02)
    assert (least, most) == (hu[inside].min(), hu[inside].max())
    assert "HU" in words(viewer)[0]
    factor = 1.0 if kind == "q" else np.pi / 4
    assert area == pytest.approx(50 * 50 * SPACING[0] * SPACING[1] * factor, rel=0.02)


def test_statistics_are_exact(viewer: Viewer) -> None:
    """The same functions with shapes in whole pixels, so that nothing depends on where the mouse was."""
    view(viewer, 51)
    found = viewer.page.evaluate(
        """async () => {
          const { statistics } = await import('/js/measure/shapes.js');
          const at = (c, r) => c === 4 && r === 3 ? null : 100000 + c * c - 7 * r;
          const values = { columns: 5, rows: 4, unit: '', at };
          const shape = (kind, points) => statistics({ id: 1, kind, points, text: '' }, values);
          return [shape('rectangle', [[0, 0], [5, 4]]), shape('rectangle', [[4, 3], [1, 1]]),
                  shape('ellipse', [[0, 0], [5, 4]]), shape('rectangle', [[-9, -9], [-2, -2]]),
                  shape('rectangle', [[4, 3], [5, 4]])];
        }"""
    )
    row, column = np.mgrid[0:4, 0:5]
    values = 100000.0 + column**2 - 7 * row
    there = np.ones((4, 5), bool)
    there[3, 4] = False
    box = (column >= 1) & (column < 4) & (row >= 1) & (row < 3)
    round_ = ((column + 0.5 - 2.5) / 2.5) ** 2 + ((row + 0.5 - 2) / 2) ** 2 <= 1
    for one, inside in zip(found, (there, box, round_ & there), strict=False):
        chosen = values[inside]
        expected = (chosen.size, chosen.mean(), chosen.std(), chosen.min(), chosen.max())
        assert tuple(one[name] for name in ("count", "mean", "deviation", "least", "most")) == pytest.approx(expected)
    assert found[3:] == [None, None]


def test_a_value_at_a_point(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.press("k")
    press(viewer, (64.5, 40.5))
    assert words(viewer) == [f"{hounsfield()[40, 64]:g} HU"]


def test_an_arrow_says_what_was_typed_and_nothing_else_happens(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.press("n")
    press(viewer, (60, 60), (80, 40))
    viewer.page.keyboard.type("<img src=x onerror=alert(1)> 결절 m")
    viewer.press("Enter")
    assert words(viewer) == ["<img src=x onerror=alert(1)> 결절 m"]
    assert viewer.page.locator(".shapes img").count() == 0
    press(viewer, (20, 20), (30, 20))
    viewer.press("Escape")  # of the text: nothing was written, nothing stays
    assert len(words(viewer)) == 1


def test_shapes_are_moved_changed_taken_back_and_deleted(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.press("m")
    press(viewer, (20, 64), (60, 64))
    first = words(viewer)
    viewer.press("w")
    press(viewer, (60, 64), (100, 64))  # its end
    assert numbers(words(viewer)[0])[0] == pytest.approx(80 * SPACING[1], abs=0.3)
    press(viewer, (50, 64), (50, 84))  # itself: as long as before
    assert numbers(words(viewer)[0])[0] == pytest.approx(80 * SPACING[1], abs=0.3)
    viewer.press("u", "u")
    assert words(viewer) == first
    viewer.press("Shift+U")
    assert numbers(words(viewer)[0])[0] == pytest.approx(80 * SPACING[1], abs=0.3)
    viewer.press("Delete")
    assert words(viewer) == []
    viewer.press("u")
    assert len(words(viewer)) == 1


def test_a_shape_under_way_is_given_up_by_escape(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.press("g")
    press(viewer, (20, 20), (60, 20))
    assert viewer.page.locator(".shape").count() == 1
    viewer.press("Escape")
    assert viewer.page.locator(".shape").count() == 0
    assert viewer.page.locator(".viewer-page").is_visible()


def test_shapes_belong_to_their_frame(chromium: object, address: str) -> None:
    with watched(chromium, address) as viewer:  # type: ignore[arg-type]
        viewer.open("2.25.70001")
        viewer.press("m")
        press(viewer, (20, 20), (60, 60))
        assert len(words(viewer)) == 1
        viewer.press("ArrowDown")
        viewer.shown()
        assert words(viewer) == []
        viewer.press("ArrowUp")
        viewer.shown()
        assert len(words(viewer)) == 1


def test_the_menu_names_all_and_chooses(viewer: Viewer, tmp_path: Path) -> None:
    view(viewer, 51)
    viewer.page.get_by_role("button", name="Measure").click()
    for label in (
        "Length",
        "Angle",
        "Cobb angle",
        "Rectangle",
        "Ellipse",
        "Value at a point",
        "Arrow with text",
        "Undo",
    ):
        assert viewer.page.get_by_role("menuitem", name=label, exact=False).first.is_visible()
    viewer.page.get_by_role("menuitem", name="Ellipse").click()
    press(viewer, (40, 40), (80, 80))
    assert "Mean" in words(viewer)[0]


def saved_states(address: str, study: str) -> list[Dataset]:
    """The presentation states of a study, the oldest first."""
    root = f"{address}/dicomweb/studies/{study}"
    series = httpx.get(f"{root}/series?Modality=PR", headers={"Accept": "application/dicom+json"})
    states = []
    for found in series.json() if series.status_code == 200 else []:
        uid = found["0020000E"]["Value"][0]
        (metadata,) = httpx.get(f"{root}/series/{uid}/metadata").json()
        instance = metadata["00080018"]["Value"][0]
        answer = httpx.get(f"{root}/series/{uid}/instances/{instance}", headers={"Accept": "application/dicom"})
        states.append(pydicom.dcmread(BytesIO(answer.content)))
    return states


def test_marks_are_saved_as_a_presentation_state_and_come_back(
    chromium: object, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = [objects.encoded(ds) for ds in objects.stack()]
    with ours.background(lambda: served(tmp_path / "data", files)) as address:
        with watched(chromium, address) as viewer:  # type: ignore[arg-type]
            viewer.open("2.25.70001")
            for key, begin, end in (("m", (20, 20), (60, 20)), ("q", (20, 40), (50, 60)), ("e", (70, 40), (110, 60))):
                viewer.press(key)
                press(viewer, begin, end)
            viewer.press("g")
            press(viewer, (20, 80), (40, 100))
            press(viewer, (60, 80))
            viewer.press("ArrowDown", "n")
            viewer.shown()
            press(viewer, (90, 90), (70, 70))
            viewer.page.keyboard.type("결절 1\\2?")
            viewer.press("Enter", "k")
            press(viewer, (30.5, 30.5))
            viewer.press("b")
            press(viewer, (20, 100), (60, 100))
            press(viewer, (20, 120), (60, 110))
            second = words(viewer)
            viewer.press("ArrowUp")
            viewer.shown()
            first = words(viewer)
            assert (len(first), len(second)) == (4, 3)
            viewer.page.get_by_role("button", name="Measure").click()
            viewer.page.get_by_role("menuitem", name="Save the marks").click()
            viewer.page.get_by_text("7 marks saved").wait_for()

        (state,) = saved_states(address, "2.25.70001")
        assert state.SOPClassUID == "1.2.840.10008.5.1.4.1.1.11.1"
        assert str(state.PatientName) == "Hong^Gildong=洪^吉洞=홍^길동"
        kinds = [
            graphic.GraphicType for one in state.GraphicAnnotationSequence for graphic in one.GraphicObjectSequence
        ]
        assert sorted(kinds) == sorted(["POLYLINE"] * 6 + ["ELLIPSE", "POINT"])
        assert state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue == first[0]
        file = tmp_path / "state.dcm"
        state.save_as(file)
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []

        with watched(chromium, address) as viewer:  # type: ignore[arg-type]
            viewer.open("2.25.70001")
            viewer.page.wait_for_selector(".shape-text")
            assert words(viewer) == first
            viewer.press("ArrowDown")
            viewer.shown()
            assert words(viewer) == second
            viewer.press("Delete", "Delete", "Delete", "ArrowUp")
            viewer.shown()
            viewer.page.wait_for_timeout(1100)  # a state is newer by its second
            viewer.page.get_by_role("button", name="Measure").click()
            viewer.page.get_by_role("menuitem", name="Save the marks").click()
            viewer.page.get_by_text("4 marks saved").wait_for()
        with watched(chromium, address) as viewer:  # type: ignore[arg-type]
            viewer.open("2.25.70001")
            viewer.page.wait_for_selector(".shape-text")
            assert words(viewer) == first
            viewer.press("ArrowDown")
            viewer.shown()
            assert words(viewer) == []  # what was deleted does not come back


def test_nothing_to_save_says_so(viewer: Viewer) -> None:
    view(viewer, 51)
    viewer.page.get_by_role("button", name="Measure").click()
    viewer.page.get_by_role("menuitem", name="Save the marks").click()
    viewer.page.get_by_text("Nothing is drawn").wait_for()


def test_lengths_follow_from_one_that_is_known(viewer: Viewer) -> None:
    view(viewer, 54)
    assert not viewer.page.locator(".scale-bar").is_visible()
    viewer.page.get_by_role("button", name="Measure").click()
    viewer.page.get_by_role("menuitem", name="Calibrate by").click()
    viewer.page.get_by_text("Draw a length along").wait_for()
    viewer.press("m")
    press(viewer, (20, 20), (60, 20))
    press(viewer, (20, 60), (50, 100))
    assert ["40.0 px", "50.0 px"] == [re.sub(r"\.\d px", ".0 px", one) for one in words(viewer)]
    drawn = [numbers(one)[0] for one in words(viewer)]
    viewer.page.get_by_role("button", name="Measure").click()
    viewer.page.get_by_role("menuitem", name="Calibrate by").click()
    viewer.page.get_by_label("Its length in mm").fill("12,5 mm")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector(".shape-text:has-text('calibrated by hand')")
    found = [numbers(one)[0] for one in words(viewer)]
    assert 12.5 == found[1]
    assert found[0] == pytest.approx(12.5 * drawn[0] / drawn[1], abs=0.15)
    assert "calibrated by hand" in viewer.page.locator(".scale-bar").inner_text()
