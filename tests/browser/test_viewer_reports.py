"""Marks as measurement reports and on colour images: read by others, and back onto their frames."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import httpx
import numpy as np
import pydicom
import pytest
import viewer_objects as objects
from PIL import ImageCms
from pydicom import Dataset
from test_viewer_measure import press, words
from viewer_page import Viewer, served, watched

import ours
import peers

pytestmark = pytest.mark.browser

STUDY = "2.25.700070"
SPACING = (0.5, 0.5)
COLOUR = pydicom.dcmread(objects.FOLDER / "examples_rgb_color.dcm")


def stored(address: str, study: str, modality: str) -> list[Dataset]:
    """The objects of a modality in a study."""
    root = f"{address}/dicomweb/studies/{study}"
    series = httpx.get(f"{root}/series?Modality={modality}", headers={"Accept": "application/dicom+json"})
    found = []
    for one in series.json() if series.status_code == 200 else []:
        for metadata in httpx.get(f"{root}/series/{one['0020000E']['Value'][0]}/metadata").json():
            path = f"{root}/series/{one['0020000E']['Value'][0]}/instances/{metadata['00080018']['Value'][0]}"
            answer = httpx.get(path, headers={"Accept": "application/dicom"})
            found.append(pydicom.dcmread(BytesIO(answer.content)))
    return found


def errors(ds: Dataset, file: Path) -> list[str]:
    """What dciodvfy calls an error."""
    peers.require("dciodvfy")
    ds.save_as(file)
    said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
    return [line for line in said.splitlines() if line.startswith("Error")]


def values(group: Any) -> dict[tuple[str, str], float]:
    """What a group measures, by the name and how it was derived."""
    return {
        (one.name.meaning, one.derivation.meaning if one.derivation else ""): float(one.value)
        for one in group.get_measurements()
    }


def test_measurements_are_a_report_that_others_read(chromium: Any, tmp_path: Path) -> None:
    image = objects.ct(70, "REPORTED", PixelSpacing=list(SPACING))
    pixels = image.pixel_array.astype(float) * float(image.RescaleSlope) + float(image.RescaleIntercept)
    with ours.background(lambda: served(tmp_path / "data", [objects.encoded(image)])) as address:
        with watched(chromium, address) as viewer:
            viewer.open(STUDY)
            for key, begin, end in (("m", (20, 20), (60, 20)), ("q", (20, 40), (50, 60)), ("e", (70, 40), (110, 60))):
                viewer.press(key)
                press(viewer, begin, end)
            viewer.press("g")
            press(viewer, (20, 80), (40, 100))
            press(viewer, (60, 80))
            viewer.press("b")
            press(viewer, (20, 100), (60, 100))
            press(viewer, (20, 120), (60, 110))
            viewer.press("k")
            press(viewer, (30.5, 30.5))
            viewer.press("n")
            press(viewer, (90, 90), (70, 70))
            viewer.page.keyboard.type("결절 <b>")
            viewer.press("Enter")
            before = words(viewer)
            assert 7 == len(before)
            viewer.page.get_by_role("button", name="Measure").click()
            viewer.page.get_by_role("menuitem", name="Save a measurement report").click()
            viewer.page.get_by_text("7 marks saved as a measurement report").wait_for()
        with watched(chromium, address) as viewer:
            viewer.open(f"{STUDY}/{STUDY}.1")
            viewer.page.wait_for_selector(".shape-text")
            assert before == words(viewer)
            viewer.page.locator(".series-open", has_text="Measurements").click()
            page = viewer.page.locator(".document .report")
            page.wait_for()
            assert "Imaging Measurement Report" == page.locator("h2").inner_text()
            assert "결절 <b>" in page.inner_text()
        (found,) = stored(address, STUDY, "SR")
    assert [] == errors(found, tmp_path / "report.dcm")

    report = hd.sr.ComprehensiveSR.from_dataset(found)
    assert isinstance(report.content, hd.sr.MeasurementReport)
    box, ellipse = report.content.get_planar_roi_measurement_groups()
    inside = pixels[40:60, 20:50]
    measured = values(box)
    assert measured[("Area", "")] == pytest.approx(30 * SPACING[1] * 20 * SPACING[0], rel=0.03)
    assert measured[("Attenuation Coefficient", "Mean")] == pytest.approx(inside.mean(), abs=8)
    assert measured[("Attenuation Coefficient", "Maximum")] == pytest.approx(inside.max(), abs=30)
    region = box.roi.value
    assert np.abs(np.array([region.min(0), region.max(0)]) - [[20, 40], [50, 60]]).max() < 0.5
    assert "ELLIPSE" == ellipse.roi.graphic_type.value
    others = report.content.get_image_measurement_groups()
    found_values = [value for group in others for value in values(group).items()]
    named = dict(found_values)
    assert named[("Length", "")] == pytest.approx(40 * SPACING[1], abs=0.3)
    legs = np.array([[-20 * SPACING[1], -20 * SPACING[0]], [20 * SPACING[1], -20 * SPACING[0]]])
    angle = np.degrees(np.arccos(legs[0] @ legs[1] / np.linalg.norm(legs[0]) / np.linalg.norm(legs[1])))
    assert named[("Angle", "")] == pytest.approx(angle, abs=1.5)
    assert named[("Cobb angle", "")] == pytest.approx(np.degrees(np.arctan2(10 * SPACING[0], 40 * SPACING[1])), abs=1.5)
    assert named[("Attenuation Coefficient", "")] == pixels[30, 30]


def on_frames(viewer: Viewer) -> list[list[str]]:
    """What stands on each of three frames, from the first one; the first is shown again."""
    found = []
    for key in ("Home", "ArrowDown", "ArrowDown"):
        viewer.press(key)
        viewer.shown()
        found.append(words(viewer))
    viewer.press("Home")
    viewer.shown()
    return found


@pytest.mark.parametrize(("modality", "item"), [("PR", "Save the marks"), ("SR", "Save a measurement report")])
def test_marks_that_name_no_frames_are_on_all(chromium: Any, tmp_path: Path, modality: str, item: str) -> None:
    """PS3.3 Tables 10-3 and C.18.4-1: frames are named unless a reference is about all of them."""
    one = objects.ct(71, "FRAMES", PixelSpacing=list(SPACING), NumberOfFrames=3)
    one.PixelData = one.PixelData * 3
    study, image = one.StudyInstanceUID, objects.encoded(one)
    with ours.background(lambda: served(tmp_path / "drawn", [image])) as address:
        with watched(chromium, address) as viewer:
            viewer.open(study)
            viewer.press("m")
            press(viewer, (20, 20), (60, 20))
            (mark,) = words(viewer)
            viewer.page.get_by_role("button", name="Measure", exact=True).click()
            viewer.page.get_by_role("menuitem", name=item).click()
            viewer.page.get_by_text("1 mark saved").wait_for()
        with watched(chromium, address) as viewer:
            viewer.open(f"{study}/{study}.1")
            viewer.page.wait_for_selector(".shape-text")
            assert [[mark], [], []] == on_frames(viewer)
        (made,) = stored(address, study, modality)

    named = []

    def without_frames(ds: Dataset, element: pydicom.DataElement) -> None:
        if element.keyword == "ReferencedFrameNumber":
            named.append(element.value)
            del ds[element.tag]

    made.walk(without_frames)
    assert [1] == named
    made.PresentationCreationDate = made.ContentDate = "20200101"  # what is saved later is newer
    with ours.background(lambda: served(tmp_path / "all", [image, objects.encoded(made)])) as address:
        with watched(chromium, address) as viewer:
            viewer.open(f"{study}/{study}.1")
            viewer.page.wait_for_selector(".shape-text")
            assert [[mark], [mark], [mark]] == on_frames(viewer)
            viewer.press("ArrowDown")
            viewer.shown()
            viewer.press("Delete")
            assert [[mark], [], [mark]] == on_frames(viewer)
            viewer.page.get_by_role("button", name="Measure", exact=True).click()
            viewer.page.get_by_role("menuitem", name="Save the marks").click()
            viewer.page.get_by_text("1 mark saved").wait_for()
        with watched(chromium, address) as viewer:
            viewer.open(f"{study}/{study}.1")
            viewer.page.wait_for_selector(".shape-text")
            assert [[mark], [], [mark]] == on_frames(viewer)
        states = stored(address, study, "PR")
    frames = [
        one.ReferencedImageSequence[0].get("ReferencedFrameNumber")
        for ds in states
        for one in ds.GraphicAnnotationSequence
    ]
    assert [1, 3] in frames


def test_marks_on_a_colour_image_are_saved_and_come_back(chromium: Any, tmp_path: Path) -> None:
    file = (objects.FOLDER / "examples_rgb_color.dcm").read_bytes()
    with ours.background(lambda: served(tmp_path / "data", [file])) as address:
        with watched(chromium, address) as viewer:
            viewer.open(COLOUR.StudyInstanceUID)
            viewer.press("m")
            press(viewer, (20, 20), (100, 20))
            before = words(viewer)
            assert 1 == len(before)
            viewer.page.get_by_role("button", name="Measure").click()
            viewer.page.get_by_role("menuitem", name="Save the marks").click()
            viewer.page.get_by_text("1 mark saved").wait_for()
        with watched(chromium, address) as viewer:
            viewer.open(f"{COLOUR.StudyInstanceUID}/{COLOUR.SeriesInstanceUID}")
            viewer.page.wait_for_selector(".shape-text")
            assert before == words(viewer)
        (state,) = stored(address, COLOUR.StudyInstanceUID, "PR")
    assert "1.2.840.10008.5.1.4.1.1.11.2" == state.SOPClassUID
    assert [] == errors(state, tmp_path / "state.dcm")
    # The profile is sRGB's: what it makes of colours is what Pillow's own makes of them.
    from PIL import Image

    ours_ = ImageCms.ImageCmsProfile(BytesIO(state.ICCProfile))
    ramp = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8))
    to = ImageCms.buildTransform(ours_, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    assert np.abs(np.array(ImageCms.applyTransform(ramp, to)).astype(int) - np.array(ramp)).max() <= 2
