"""The sixty payloads in what is drawn: arrows of presentation states and reports, read and written, and all that a
measurement report of somebody else says."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
import viewer_objects as objects
from payloads import PAYLOADS
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from test_viewer_measure import press
from test_viewer_payloads import COUNT, alarmed, missing, nothing_ran, payload
from test_viewer_reports import stored
from viewer_page import Viewer, served

import ours
from isocenter.iod.presentation_state import Graphic, Label, presentation_state

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

READ, WRITTEN, LABELLED = "2.25.700091", "2.25.700092", "2.25.700093"
LONGEST = 120  # signs of an arrow's words


def state(image: Dataset) -> Dataset:
    """An arrow for each payload, and as many texts that belong to nothing drawn."""
    arrow = [Graphic("POLYLINE", [(8, 8), (30, 30)]), Label("here", anchor=(8, 8))]
    ds = presentation_state([image], label="MARKS", graphics=arrow)
    (one,) = ds.GraphicAnnotationSequence
    made = []
    for k in range(2 * COUNT):
        mark = copy.deepcopy(one)
        mark.TextObjectSequence[0].UnformattedTextValue = payload(k)
        mark.TextObjectSequence[0].AnchorPoint = [8.0, float(k)]
        mark.GraphicObjectSequence[0].GraphicData = [8.0, float(k), 30.0, float(k)]
        if k >= COUNT:
            del mark.GraphicObjectSequence
        made.append(mark)
    ds.GraphicAnnotationSequence = made
    return ds


def store(address: str, ds: Dataset) -> None:
    body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + objects.encoded(ds) + b"\r\n--part--\r\n"
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=part'}
    answer = httpx.post(f"{address}/dicomweb/studies", content=body, headers=headers)
    assert 200 == answer.status_code, answer.text


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    images = [objects.ct(number, f"MARKS{number}") for number in (91, 92, 93)]
    files = [objects.encoded(ds) for ds in (*images, state(images[0]))]
    settings = {"web_open_scopes": "read,write"}
    with ours.background(lambda: served(tmp_path_factory.mktemp("marks"), files, **settings)) as url:
        yield url


@pytest.fixture
def viewer(chromium: Browser, address: str) -> Iterator[Viewer]:
    with alarmed(chromium, address, "status of 4") as page:
        yield page


def test_arrows_of_a_state(viewer: Viewer) -> None:
    viewer.open(f"{READ}/{READ}.1")
    viewer.page.wait_for_function("(n) => document.querySelectorAll('.shape-text').length === n", arg=COUNT)
    assert [] == missing(viewer, ".shape-text")
    # And as the state itself shows them, which is a picture
    viewer.page.wait_for_selector("[aria-label='Segmentations and presentation states']:visible")
    viewer.press("Shift+O")
    viewer.page.locator(".layers-panel [role=radiogroup] input").last.click()
    viewer.page.wait_for_function("() => location.search.includes('state=')")
    viewer.shown()


def grouped() -> list[str]:
    """Payloads, as many in a line as an arrow's words can be."""
    made = [""]
    for one in PAYLOADS:
        together = f"{made[-1]} {one}".strip()
        if len(together) <= LONGEST:
            made[-1] = together
        else:
            made.append(one)
    return made


def test_arrows_that_are_typed_saved_and_read_back(viewer: Viewer) -> None:
    texts = grouped()
    assert all(any(one.strip() in text for text in texts) for one in PAYLOADS)
    viewer.open(f"{WRITTEN}/{WRITTEN}.1")
    viewer.press("n")
    for at, text in enumerate(texts):
        press(viewer, (70, 4 * at + 6), (50, 4 * at + 6))
        viewer.page.locator(".shape-words").fill(text)
        viewer.page.keyboard.press("Enter")
        viewer.page.wait_for_selector(".shape-words", state="detached")
    assert [] == missing(viewer, ".shape-text", texts)
    for how, said in (("Save the marks", "presentation state"), ("Save a measurement report", "measurement report")):
        viewer.page.get_by_role("button", name="Measure").click()
        viewer.page.get_by_role("menuitem", name=how).click()
        viewer.page.get_by_text(f"{len(texts)} marks saved as a {said}").wait_for()
    nothing_ran(viewer)
    (saved,) = stored(viewer.address, WRITTEN, "PR")
    assert texts == [one.TextObjectSequence[0].UnformattedTextValue for one in saved.GraphicAnnotationSequence]
    (report,) = stored(viewer.address, WRITTEN, "SR")
    assert texts == [one.TextValue for one in walked(report) if code(one) == "121106"]
    viewer.open(f"{WRITTEN}/{WRITTEN}.1")
    viewer.page.wait_for_function("(n) => document.querySelectorAll('.shape-text').length === n", arg=len(texts))
    assert [] == missing(viewer, ".shape-text", texts)
    nothing_ran(viewer)
    viewer.page.goto(f"{viewer.address}/view/{WRITTEN}/{report.SeriesInstanceUID}")
    viewer.page.wait_for_selector(".report")
    assert [] == missing(viewer, ".report-value", texts)


def walked(item: Dataset) -> Iterator[Dataset]:
    """A report's content items, itself first."""
    yield item
    for inner in item.get("ContentSequence", []):
        yield from walked(inner)


def code(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def labelled(report: Dataset) -> tuple[list[str], list[str]]:
    """Six times what the report measures, newer, in a series of its own, each word a payload: names, and values."""
    numbers = itertools.count()
    names: list[str] = []
    values: list[str] = []

    def into(words: list[str]) -> str:
        words.append(payload(next(numbers)))
        return words[-1]

    (section,) = (one for one in walked(report) if code(one) == "126010")
    section.ContentSequence = [copy.deepcopy(one) for _ in range(6) for one in section.ContentSequence]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # longer than a code may be
        for item in walked(report):
            for name in item.get("ConceptNameCodeSequence", []):
                name.CodeMeaning = into(names)
            for measured in item.get("MeasuredValueSequence", []):
                (unit,) = measured.MeasurementUnitsCodeSequence
                unit.CodeMeaning = payload(next(numbers))  # the code is shown, and in braces none (UCUM)
                unit.CodeValue = payload(next(numbers))
                values += [] if unit.CodeValue.startswith("{") else [unit.CodeValue]
            for coded in item.get("ConceptCodeSequence", []):
                coded.CodeMeaning = into(values)
            if "TextValue" in item:
                item.TextValue = into(values)
    report.SeriesInstanceUID = f"{LABELLED}.7"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    report.ContentDate = "20991231"  # the newest counts
    return names, values


def test_labels_of_a_measurement_report(viewer: Viewer) -> None:
    """TID 1500 with our codes, by which it is read as marks, and a payload wherever it has words."""
    viewer.open(f"{LABELLED}/{LABELLED}.1")
    ways = {
        "m": ((20, 10), (60, 10)),
        "q": ((20, 30), (50, 50)),
        "g": ((20, 80), (40, 100)),
        "n": ((110, 90), (90, 70)),
    }
    for key, (begin, end) in ways.items():
        viewer.press(key)
        press(viewer, begin, end)
        if key == "g":
            press(viewer, (60, 80))
    viewer.page.locator(".shape-words").fill("arrow")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector(".shape-words", state="detached")
    viewer.page.get_by_role("button", name="Measure").click()
    viewer.page.get_by_role("menuitem", name="Save a measurement report").click()
    viewer.page.get_by_text("4 marks saved as a measurement report").wait_for()
    (report,) = stored(viewer.address, LABELLED, "SR")
    names, values = labelled(report)
    assert len(names) + len(values) > COUNT
    store(viewer.address, report)
    viewer.open(f"{LABELLED}/{LABELLED}.1")
    arrows = [one.TextValue for one in walked(report) if code(one) == "121106"]
    viewer.page.wait_for_function("(n) => document.querySelectorAll('.shape-text').length === n", arg=4 * 6)
    assert [] == missing(viewer, ".shape-text", arrows)
    nothing_ran(viewer)
    viewer.page.goto(f"{viewer.address}/view/{LABELLED}/{LABELLED}.7")
    viewer.page.wait_for_selector(".report")
    assert [] == missing(viewer, ".report", names)
    assert [] == missing(viewer, ".report", values)
