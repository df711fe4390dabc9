"""Segmentations by highdicom over the images they are of, and presentation states chosen from those of the study."""

from __future__ import annotations

import urllib.request
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import viewer_objects as objects
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from viewer_page import Viewer, round_half_up, served

import ours
from isocenter.iod.presentation_state import Graphic, presentation_state

pytestmark = pytest.mark.browser

STUDY = "2.25.700060"
SIZE, SLICES, SPACING, STEP = 64, 6, 2.0, 5.0
LIVER = (60.0, 50.0, 30.0)  # L*, a*, b*


def images() -> list[Dataset]:
    made = []
    for k in range(SLICES):
        ds = objects.ct(
            60,
            "LAYERS",
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Hong^Gildong",
            StudyDate="20240514",
            SOPInstanceUID=f"{STUDY}.1.{k + 1}",
            FrameOfReferenceUID=f"{STUDY}.9",
            InstanceNumber=k + 1,
            Rows=SIZE,
            Columns=SIZE,
            PixelSpacing=[SPACING, SPACING],
            SliceThickness=STEP,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[-64, -64, STEP * k],
            WindowCenter=0,
            WindowWidth=400,
            PixelData=(np.arange(SIZE * SIZE) % 400 + 800).astype("<i2").tobytes(),
        )
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        made.append(ds)
    return made


def masks() -> Any:
    """Two segments that do not meet: bool, shape (slices, rows, columns, 2)."""
    k, row, column = np.mgrid[:SLICES, :SIZE, :SIZE]
    ball = (column - 20.0) ** 2 + (row - 24) ** 2 + (4 * (k - 2)) ** 2 < 150
    box = (column > 40) & (column < 56) & (row > 30) & (row < 50) & (k >= 1)
    return np.stack([ball, box], -1)


def segments() -> list[hd.seg.SegmentDescription]:
    names = (("Liver", codes.SCT.Liver, hd.color.CIELabColor(*LIVER)), ("Tumour", codes.SCT.Neoplasm, None))
    return [
        hd.seg.SegmentDescription(
            number, name, codes.SCT.Organ, kind, hd.seg.SegmentAlgorithmTypeValues.MANUAL, display_color=colour
        )
        for number, (name, kind, colour) in enumerate(names, 1)
    ]


def segmentation(number: int, name: str, pixels: Any, kind: str, count: int = 2, **geometry: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hd.seg.Segmentation(
            images(),
            pixels,
            kind,
            segments()[:count],
            series_instance_uid=f"{STUDY}.{number}",
            series_number=number,
            sop_instance_uid=f"{STUDY}.{number}.1",
            instance_number=1,
            manufacturer="Isocenter",
            manufacturer_model_name="Tests",
            software_versions="1",
            device_serial_number="1",
            series_description=name,
            **geometry,
        )


def coarse() -> Dataset:
    """A map of fractions on pixels twice as large, whose planes are those of slices 2 and 3."""
    half = np.zeros((2, SIZE // 2, SIZE // 2), np.float32)
    half[:, 10:20, 4:14] = 0.5
    return segmentation(
        11,
        "Coarse",
        half,
        "FRACTIONAL",
        1,
        pixel_measures=hd.PixelMeasuresSequence((2 * SPACING, 2 * SPACING), STEP),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", (1, 0, 0, 0, 1, 0)),
        plane_positions=[hd.PlanePositionSequence("PATIENT", (-63, -63, STEP * k)) for k in (1, 2)],
    )


def state() -> Dataset:
    mark = Graphic("CIRCLE", [(32, 32), (44, 32)])
    ds = presentation_state(
        images()[:3], label="TURNED", description="By the surgeon", rotation=90, invert=True, graphics=[mark]
    )
    ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{STUDY}.20", f"{STUDY}.20.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    labels = masks() @ np.array([1, 2], np.uint8)
    made = [
        *images(),
        segmentation(10, "Organs", masks(), "BINARY"),
        coarse(),
        segmentation(12, "Map", labels, "LABELMAP"),
        state(),
    ]
    with ours.background(
        lambda: served(tmp_path_factory.mktemp("layers"), [objects.encoded(ds) for ds in made])
    ) as url:
        yield url


def opened(viewer: Viewer, number: int) -> None:
    viewer.open(f"{STUDY}/{STUDY}.1/{STUDY}.1.{number}")
    viewer.page.wait_for_selector("[aria-label='Segmentations and presentation states']:visible")
    viewer.press("a", "Shift+O")
    viewer.page.wait_for_selector(".layers-panel .layer")
    viewer.settle()


def cover(viewer: Viewer) -> Any:
    """What lies over the image, at one screen pixel for one of it: uint8, shape (rows, columns, RGBA)."""
    url: str = viewer.page.evaluate("() => document.querySelector('canvas.segment-cover').toDataURL('image/png')")
    import base64

    found = np.array(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))
    top, left = (round_half_up(n / 2 - SIZE / 2) for n in found.shape[:2])
    return found[top : top + SIZE, left : left + SIZE]


def covered(viewer: Viewer, expected: Any) -> Any:
    """Waits until these pixels are covered, and no others; gives what is there."""
    shown = "canvas.segment-cover:visible"
    if not expected.any():
        viewer.until(lambda: viewer.page.locator(shown).count() == 0)
        return None
    viewer.until(
        lambda: viewer.page.locator(shown).count() == 1 and np.array_equal(expected, cover(viewer)[..., 3] > 0)
    )
    return cover(viewer)


def srgb(lab: tuple[float, float, float]) -> Any:
    """As LittleCMS has it: Pillow's CIELab is of D50, with 8 bits a channel."""
    light, a, b = lab
    one = Image.fromarray(np.array([[[round(light * 2.55), round(a) % 256, round(b) % 256]]], np.uint8), "LAB")
    to = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return np.array(ImageCms.applyTransform(one, to))[0, 0].astype(int)


@pytest.mark.parametrize("name", ["Organs", "Map"])
def test_segments_lie_on_their_slices_in_their_colours(viewer: Viewer, name: str) -> None:
    opened(viewer, 3)
    assert 0 == viewer.page.locator("canvas.segment-cover").count()
    viewer.page.locator(".layer.is-head", has_text=name).click()
    for number in (3, 5):
        mask = masks()[number - 1]
        found = covered(viewer, mask.any(-1))
        ball = mask[..., 0]
        if ball.any():
            edge = found[ball & (found[..., 3] == 255)]
            assert np.abs(edge[:, :3].astype(int) - srgb(LIVER)).max() <= 4
            assert 0 < (found[ball][:, 3] < 128).sum() < ball.sum()  # inside of the edge the image is seen
        assert not (set(map(tuple, found[ball][:, :3])) & set(map(tuple, found[mask[..., 1]][:, :3])))
        viewer.press("ArrowDown", "ArrowDown")
    behind = viewer.page.locator("canvas.segment-cover").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert "rgba(0, 0, 0, 0)" == behind  # what is not covered is seen
    viewer.page.locator(".layer", has_text="Tumour").locator("visible=true").click()
    viewer.press("Home", "ArrowDown", "ArrowDown")
    covered(viewer, masks()[2, ..., 0])


def test_a_segmentation_of_other_pixels_is_placed_by_its_geometry(viewer: Viewer) -> None:
    opened(viewer, 2)
    viewer.page.locator(".layer.is-head", has_text="Coarse").click()
    expected = np.zeros((SIZE, SIZE), bool)
    expected[20:40, 8:28] = True
    covered(viewer, expected)
    viewer.press("Home")
    covered(viewer, expected & False)


def test_a_state_is_listed_and_applied(viewer: Viewer, address: str) -> None:
    opened(viewer, 2)
    before = viewer.pixels(SIZE, SIZE)
    row = viewer.page.locator(".layer", has_text="By the surgeon")
    row.click()
    viewer.page.wait_for_selector(".bottom-right:has-text('By the surgeon')")
    viewer.settle()
    query = f"requestType=WADO&studyUID={STUDY}&seriesUID={STUDY}.1&objectUID={STUDY}.1.2&contentType=image/png"
    query += f"&presentationSeriesUID={STUDY}.20&presentationUID={STUDY}.20.1"
    with urllib.request.urlopen(f"{address}/dicomweb/wado?{query}") as answer:
        expected = np.array(Image.open(answer).convert("RGB"))
    assert (SIZE, SIZE, 3) == expected.shape
    assert np.array_equal(expected, viewer.pixels(SIZE, SIZE))
    assert not np.array_equal(before, expected)
    # The state is of three images only; markers of the image as stored would be wrong.
    assert "2 / 3" in viewer.text("bottom-left")
    assert "" == viewer.page.locator(".edge.left").inner_text()
    viewer.page.locator(".layer", has_text="None").click()
    viewer.page.wait_for_selector(".bottom-left:has-text('2 / 6')")
    assert np.array_equal(before, viewer.pixels(SIZE, SIZE))
