"""Reports, documents, curves and videos in the place of a picture."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import viewer_objects as objects
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian
from viewer_page import Viewer, served, watched

import ours
import peers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

pytestmark = pytest.mark.browser

STUDY = "2.25.700050"
ECG = pydicom.dcmread(objects.FOLDER / "waveform_ecg.dcm")
MP4 = "1.2.840.10008.1.2.4.102"


def alone(
    number: int, sop_class: str, modality: str, syntax: str = ExplicitVRLittleEndian, **values: object
) -> Dataset:
    """An object without pixels of its own in a series of its own."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"{STUDY}.{number}"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.{number}.1"
    ds.PatientName, ds.PatientID = "Hong^Gildong=洪^吉洞=홍^길동", "DOCUMENTS"
    ds.StudyDate, ds.StudyTime, ds.Modality, ds.SeriesNumber, ds.InstanceNumber = (
        "20240514",
        "0930",
        modality,
        number,
        1,
    )
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def item(value_type: str, name: str, relation: str = "CONTAINS", **values: object) -> Dataset:
    ds = Dataset()
    ds.RelationshipType, ds.ValueType, ds.ConceptNameCodeSequence = relation, value_type, code(name)
    for attribute, value in values.items():
        setattr(ds, attribute, value)
    return ds


def reference(uid: str) -> list[Dataset]:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    return [ds]


def report() -> Dataset:
    size = Dataset()
    size.NumericValue, size.MeasurementUnitsCodeSequence = "12.5", code("millimetre", "mm", "UCUM")
    image = item("IMAGE", "Source", "INFERRED FROM", ReferencedSOPSequence=reference("2.25.700050.9.1"))
    number = item("NUM", "Diameter", MeasuredValueSequence=[size], ContentSequence=[image])
    back = Dataset()
    back.RelationshipType, back.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 2, 1]
    findings = item(
        "CONTAINER",
        "Findings",
        ContinuityOfContent="SEPARATE",
        ContentSequence=[
            number,
            item("TEXT", "Impression", TextValue="오른쪽 폐 결절 <b>5 mm</b>", ContentSequence=[back]),
        ],
    )
    observer = item("PNAME", "Person Observer Name", "HAS OBS CONTEXT", PersonName="Kim^Younghee")
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "2.25.700050.9", reference("2.25.700050.9.1")
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = STUDY, [series]
    return alone(
        1,
        "1.2.840.10008.5.1.4.1.1.88.22",
        "SR",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=code("Chest CT Report"),
        ContinuityOfContent="SEPARATE",
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        ContentDate="20240515",
        ContentTime="101500",
        CurrentRequestedProcedureEvidenceSequence=[evidence],
        ContentSequence=[observer, findings],
    )


def image() -> Dataset:
    ds = objects.ct(50, "DOCUMENTS", SeriesInstanceUID=f"{STUDY}.9", SOPInstanceUID=f"{STUDY}.9.1", SeriesNumber=9)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def pdf() -> Dataset:
    text = b"BT /F1 28 Tf 72 700 Td (Discharge letter) Tj ET 1 0 0 rg 72 600 200 60 re f"
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data = b"%PDF-1.4\n"
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    data += b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        len(data),
    )
    kind = "1.2.840.10008.5.1.4.1.1.104.1"
    ds = alone(2, kind, "DOC", DocumentTitle="Letter", MIMETypeOfEncapsulatedDocument="application/pdf")
    ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = data + b"\0" * (len(data) % 2), len(data)
    return ds


def video(folder: Path) -> Dataset:
    peers.require("ffmpeg")
    path = folder / "video.mp4"
    command = [
        *(peers.find_program("ffmpeg") or "ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i"),
        *("color=c=0x20C040:size=128x96:rate=10:duration=2", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
        *("-movflags", "faststart", str(path)),
    ]
    subprocess.run(command, check=True)
    ds = alone(3, "1.2.840.10008.5.1.4.1.1.77.1.1.1", "ES", MP4)
    ds.StudyInstanceUID = f"{STUDY}.30"  # of its own: nobody makes a picture of it, so that its thumbnail fails
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 96, 128, 3, "YBR_PARTIAL_420"
    ds.PlanarConfiguration, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 0, 8, 8, 7, 0
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = 20, 100, 0x00181063
    data = path.read_bytes()
    ds.PixelData = encapsulate([data + b"\0" * (len(data) % 2)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = [report(), image(), pdf(), video(tmp_path_factory.mktemp("video"))]
    files = [*(objects.encoded(ds) for ds in made), (objects.FOLDER / "waveform_ecg.dcm").read_bytes()]
    files.append((objects.FOLDER / "test-SR.dcm").read_bytes())
    with ours.background(lambda: served(tmp_path_factory.mktemp("documents"), files)) as url:
        yield url


def test_a_report_is_read_as_a_page(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.address}/view/{STUDY}/{STUDY}.1")
    page = viewer.page.locator(".document .report")
    page.wait_for()
    assert "Chest CT Report" == page.locator("h2").inner_text()
    assert "홍길동" in page.locator("header").inner_text()
    assert "Findings" == page.locator("h3").inner_text()
    items = [" ".join(text.split()) for text in page.locator(".report-item").all_inner_texts()]
    assert "Person Observer NameKim, Younghee" == items[0]
    assert items[1].startswith("Diameter12.5 mm")
    assert any("오른쪽 폐 결절 <b>5 mm</b>" in text for text in items)  # markup in a report is text
    assert 0 == page.locator("b").count()
    assert "see 1.2.1" in page.inner_text()
    facts = page.locator(".report-facts").inner_text()
    assert "complete, unverified" in facts
    assert "2024-05-15 10:15" in facts
    page.locator(".report-link", has_text="Image").click()
    viewer.shown()
    assert "128 × 128" in viewer.text("bottom-right")
    assert 0 == viewer.page.locator(".document").count()


def test_every_kind_of_item_of_a_report_is_shown(viewer: Viewer) -> None:
    ds = pydicom.dcmread(objects.FOLDER / "test-SR.dcm")
    viewer.page.goto(f"{viewer.address}/view/{ds.StudyInstanceUID}")
    page = viewer.page.locator(".document .report")
    page.wait_for()

    def count(items: Any) -> int:
        return sum(1 + count(one.get("ContentSequence", [])) for one in items)

    assert count(ds.ContentSequence) == page.locator(".report-item, .report-section").count()
    # Keys scroll the page.
    top = viewer.page.evaluate("() => document.querySelector('.document').scrollTop")
    viewer.press("ArrowDown", "ArrowDown")
    assert top < viewer.page.evaluate("() => document.querySelector('.document').scrollTop")


def test_a_video_plays_and_can_be_sought(chromium: Browser, address: str) -> None:
    asked: list[str] = []

    def answered(response: Response) -> None:
        if response.url.endswith("/rendered"):
            asked.append(f"{response.status} {response.headers.get('content-type')}")

    with watched(chromium, address, tolerate="/thumbnail") as viewer:
        viewer.page.on("response", answered)
        viewer.page.goto(f"{address}/view/{STUDY}.30")
        viewer.page.wait_for_function("() => document.querySelector('.document video')?.readyState >= 2")
        found = viewer.page.evaluate(
            """async () => {
              const video = document.querySelector('.document video');
              video.pause();
              const sought = new Promise((done) => video.addEventListener('seeked', done, { once: true }));
              video.currentTime = 1.45;
              await sought;
              const canvas = document.createElement('canvas');
              canvas.width = video.videoWidth;
              canvas.height = video.videoHeight;
              const context = canvas.getContext('2d');
              context.drawImage(video, 0, 0);
              return [video.videoWidth, video.videoHeight, video.duration, ...context.getImageData(60, 40, 1, 1).data];
            }"""
        )
    assert [128, 96] == found[:2]
    assert abs(found[2] - 2) < 0.15
    assert np.abs(np.array(found[3:6]) - [0x20, 0xC0, 0x40]).max() < 12
    assert {"206 video/mp4"} == set(asked)


def test_a_pdf_is_shown_by_the_browsers_own_reader(chromium: Browser, address: str) -> None:
    # The reader is an extension of the browser: its own parts come from nowhere else.
    with watched(chromium, address, tolerate="outside: chrome") as viewer:
        viewer.page.goto(f"{address}/view/{STUDY}/{STUDY}.2")
        viewer.page.wait_for_selector(".document iframe[title=Letter]")
        viewer.until(lambda: np.count_nonzero(red(picture(viewer))) > 2000)


def red(painted: Any) -> Any:
    return (painted[..., 0] > 200) & (painted[..., 1] < 60) & (painted[..., 2] < 60)


def picture(viewer: Viewer) -> Any:
    from io import BytesIO

    from PIL import Image

    return np.array(Image.open(BytesIO(viewer.page.screenshot())).convert("RGB")).astype(int)


def test_an_electrocardiogram_is_drawn_to_scale(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.address}/view/{ECG.StudyInstanceUID}")
    paper = viewer.page.locator(".waveform .paper").first
    paper.wait_for()
    viewer.settle()
    assert "25 mm/s   10 mm/mV   1000 Hz" in str(paper.get_attribute("aria-label"))
    box = paper.bounding_box()
    assert box
    ink = viewer.canvas(".waveform .paper").astype(int).max(axis=2) < 120
    mm = box["width"] / 268  # 12 before, 250 for ten seconds, 6 after

    def trace(x: float, top: float, bottom: float) -> float:
        """Height of the curve at a column, in mm from the top; both in mm."""
        column = ink[round(top * mm) : round(bottom * mm), round(x * mm)]
        return float(top + np.flatnonzero(column).mean() / mm)

    # The pulse: from 3 to 8 mm, a millivolt high, in the first row whose zero is 8 + 13 mm from the top.
    assert abs(trace(5.5, 4, 16) - 11) < 0.4
    values = ECG.waveform_array(0)  # microvolts
    for row, lead, column in ((0, "I", 0), (1, "aVL", 1), (2, "V3", 2), (3, "II", None)):
        index = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"].index(lead)
        start = 0.0 if column is None else column * 2.5
        for seconds in np.arange(start + 0.5, start + 2.4, 0.11):
            x = 12 + seconds * 25
            viewer.page.mouse.move(box["x"] + x * mm, box["y"] + (8 + 26 * (row + 0.5)) * mm)
            said = viewer.page.locator(".paper-readout").first.inner_text()
            found = re.fullmatch(r"(\S+)\s+([\d.]+) s\s+(-?[\d.]+) mV", said)
            assert found
            assert lead == found[1]
            assert abs(seconds - float(found[2])) < 0.005
            near = values[round(float(found[2]) * 1000) + np.arange(-2, 3), index] / 1000
            assert near.min() - 0.001 <= float(found[3]) <= near.max() + 0.001
            around = values[round(seconds * 1000) + np.arange(-8, 9), index] / 1000
            if np.ptp(around) < 0.05:  # where the curve is steep, a column has many heights
                y = trace(x, 8 + 26 * row + 6, 8 + 26 * (row + 1))
                assert abs(y - (8 + 26 * (row + 0.5) - 10 * float(np.mean(around)))) < 0.6
    viewer.page.click(".paper-controls button:has-text('12 × 1') >> nth=0")
    viewer.settle()
    rows = viewer.page.locator(".waveform .paper").first.bounding_box()
    assert rows
    assert abs(rows["height"] / mm - (16 + 12 * 26)) < 1
