"""The sixty payloads in what is typed, in addresses, in names of layers and in a worklist: text there as elsewhere."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import highdicom as hd
import numpy as np
import pytest
import test_viewer_layers as layers
import viewer_objects as objects
from payloads import PAYLOADS
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from test_viewer_payloads import COUNT, alarmed, missing, nothing_ran, payload
from viewer_page import Viewer, served

import ours
from isocenter.iod.presentation_state import presentation_state
from work_objects import scheduled

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def segmentation() -> Dataset:
    """A segment for each payload, called like it."""
    images = layers.images()[:1]
    names = [
        hd.seg.SegmentDescription(
            k + 1, f"S{k}", codes.SCT.Organ, codes.SCT.Organ, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for k in range(COUNT)
    ]
    masks = np.arange(layers.SIZE**2).reshape(1, layers.SIZE, layers.SIZE, 1) % COUNT == np.arange(COUNT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = hd.seg.Segmentation(
            images,
            masks,
            "BINARY",
            names,
            series_instance_uid=f"{layers.STUDY}.10",
            series_number=10,
            sop_instance_uid=f"{layers.STUDY}.10.1",
            instance_number=1,
            manufacturer="Isocenter",
            manufacturer_model_name="Tests",
            software_versions="1",
            device_serial_number="1",
            series_description="Organs",
        )
        for k, segment in enumerate(ds.SegmentSequence):
            segment.SegmentLabel = payload(k)
        ds.ContentDescription = ds.SeriesDescription = payload(0)
    return ds


def state(k: int) -> Dataset:
    ds = presentation_state(layers.images()[:1], label="STATE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.ContentDescription, ds.ContentLabel = payload(k), payload(k + 1)
    ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{layers.STUDY}.20", f"{layers.STUDY}.20.{k + 1}"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = [*layers.images()[:1], segmentation(), *(state(k) for k in range(COUNT))]
    files = [objects.encoded(ds) for ds in made]
    settings = {"web_open_scopes": "read,write,delete"}
    with ours.background(lambda: served(tmp_path_factory.mktemp("typed"), files, **settings)) as url:
        yield url


@pytest.fixture
def viewer(chromium: Browser, address: str) -> Iterator[Viewer]:
    with alarmed(chromium, address, "status of 4") as page:
        yield page


def answer(body: Any, status: int = 200) -> Any:
    return lambda route: route.fulfill(status=status, content_type="application/json", body=json.dumps(body))


def test_names_of_segments_and_states(viewer: Viewer) -> None:
    viewer.open(f"{layers.STUDY}/{layers.STUDY}.1")
    viewer.page.wait_for_selector("[aria-label='Segmentations and presentation states']:visible")
    viewer.press("Shift+O")
    viewer.page.wait_for_selector(".layers-panel .layer")
    viewer.page.locator(".layer.is-head").first.click()
    viewer.page.wait_for_selector(".layers-panel .swatch:visible")
    assert [] == missing(viewer, ".layers-panel .legend")
    assert [] == missing(viewer, ".layers-panel [role=radiogroup]")


def test_what_is_searched_for(viewer: Viewer) -> None:
    viewer.list()
    box = viewer.page.locator("input[type=search]")
    for one in PAYLOADS:
        box.fill(one)
        viewer.page.wait_for_function("(q) => new URLSearchParams(location.search).get('q') === q", arg=one.strip())
        assert one == box.input_value()
    nothing_ran(viewer)
    viewer.page.goto(f"{viewer.address}/?q={quote(' '.join(PAYLOADS[:20]))}&modality={quote(payload(20))}")
    viewer.page.wait_for_selector(".studies-page[data-scopes]")
    assert " ".join(PAYLOADS[:20]) == box.input_value()


def test_what_an_address_says(viewer: Viewer) -> None:
    for k in range(0, COUNT, 4):
        one, two, three, four = (quote(payload(k + n), safe="") for n in range(4))
        said = f"window={two}&state={three}&grid={four}&in={one}&planes={two}&at={three}"
        for path in (f"{one}/{two}?{said}", f"{layers.STUDY}/{one}?{said.replace('planes', 'frame')}"):
            viewer.page.goto(f"{viewer.address}/view/{path}")
            viewer.page.wait_for_selector(".toast")
            nothing_ran(viewer)


def test_why_a_study_is_deleted(viewer: Viewer) -> None:
    everything = " | ".join(PAYLOADS)
    refused = {"error": {"message": everything, "hint": everything}}
    viewer.page.route(
        "**/dicomweb/studies/*",
        lambda route: answer(refused, 422)(route) if route.request.method == "DELETE" else route.fallback(),
    )
    viewer.list()
    viewer.page.wait_for_selector(".studies-page[data-scopes]")
    viewer.press("ArrowDown", "Delete")
    viewer.page.wait_for_selector("dialog.delete")
    reason = viewer.page.locator("dialog.delete input")
    for one in PAYLOADS:
        reason.fill(one)
        assert one == reason.input_value()
    viewer.page.click("dialog.delete footer .danger")
    viewer.page.wait_for_selector("dialog.delete .problem:not(:empty)")
    assert [] == missing(viewer, "dialog.delete .problem")


def test_what_is_scheduled(viewer: Viewer) -> None:
    steps = []
    for k in range(COUNT):
        step = scheduled(f"2.25.{k + 1}", f"S{k}")
        inner = step["00400100"]["Value"][0]
        inner["00400007"] = {"vr": "LO", "Value": [payload(k)]}
        inner["00400010"] = {"vr": "SH", "Value": [payload(k + 1)]}
        inner["00400020"] = {"vr": "CS", "Value": [payload(k + 2)]}
        inner["00080060"] = {"vr": "CS", "Value": [payload(k + 3)]}
        step["00100020"] = {"vr": "LO", "Value": [payload(k + 4)]}
        step["00080050"] = {"vr": "SH", "Value": [payload(k + 5)]}
        step["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": payload(k)}]}
        steps.append(step)
    viewer.page.route("**/modality-scheduled-procedure-steps?*", answer(steps))
    viewer.page.route("**/workitems?*", answer([]))
    viewer.page.goto(f"{viewer.address}/procedures")
    viewer.page.wait_for_function("(n) => document.querySelectorAll('.procedures tbody tr').length === n", arg=COUNT)
    for place in ("p-id", "p-what", "p-modality", "p-accession", "p-state"):
        assert [] == missing(viewer, f".{place}"), place
