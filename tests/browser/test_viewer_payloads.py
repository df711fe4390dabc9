"""Sixty payloads in texts that pages show: each is read there as it was written, and none does anything."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import test_viewer_documents as documents
import viewer_objects as objects
from payloads import PAYLOADS, WATCH
from pydicom.dataset import Dataset
from viewer_page import Viewer, served, watched

import ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

STUDY = "2.25.7000801"
COUNT = len(PAYLOADS)
# What markup of a payload would leave on a page that makes none of these itself; checked beside what ran.
TRACES = (
    "img[src=x], embed, object, marquee, template:not(#later), math, audio, base, [onerror], [onload], [ontoggle],"
    " [onbegin], [onfocus], [onmouseover], [onpointerover], a[href^='javascript'], a[href^='data']"
)


def payload(number: int) -> str:
    return PAYLOADS[number % COUNT]


def named(number: int) -> str:
    """For a PN, where = and ^ divide (PS3.5 section 6.2.1)."""
    return payload(number).partition("=")[0]


def small(study: str, series: int, k: int) -> Dataset:
    """An image whose every text is a payload."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = objects.ct(
            80,
            payload(k + 1),
            SpecificCharacterSet="ISO_IR 192",
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.{series}",
            SOPInstanceUID=f"{study}.{series}.1",
            SeriesNumber=series,
            PatientName=named(k),
            PatientSex=payload(k + 2),
            PatientAge=payload(k + 3),
            StudyDescription=payload(k + 4),
            SeriesDescription=payload(k + 5),
            AccessionNumber=payload(k + 6),
            InstitutionName=payload(k + 7),
            ReferringPhysicianName=named(k + 8),
            StationName=payload(k + 9),
            ProtocolName=payload(k + 10),
            WindowCenterWidthExplanation=payload(k + 11),
            WindowCenter=40,
            WindowWidth=400,
            StudyDate="20240514",
            Rows=16,
            Columns=16,
            PixelData=np.arange(256, dtype="<i2").tobytes(),
        )
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def report() -> Dataset:
    ds = documents.report()
    ds.ConceptNameCodeSequence = documents.code(payload(0))
    ds.ContentSequence = [
        documents.item("TEXT", payload(k), TextValue=payload(k + 1))
        if k % 3
        else documents.item("CODE", payload(k), ConceptCodeSequence=documents.code(payload(k + 1)))
        for k in range(COUNT)
    ]
    return ds


def curves() -> Dataset:
    ds = pydicom.dcmread(objects.FOLDER / "waveform_ecg.dcm")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = documents.STUDY, f"{documents.STUDY}.30"
    ds.SeriesDescription = payload(3)
    notes = []
    for k in range(COUNT):
        note = Dataset()
        note.UnformattedTextValue = payload(k)
        notes.append(note)
    ds.WaveformAnnotationSequence = notes
    return ds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = [small(f"2.25.70008{k:03d}", 1, k) for k in range(COUNT)]
    made += [small(STUDY, k + 1, k) for k in range(COUNT)]
    made += [report(), curves()]
    files = [objects.encoded(ds) for ds in made]
    settings = {"web_open_scopes": "read,write,delete"}
    with ours.background(lambda: served(tmp_path_factory.mktemp("payloads"), files, **settings)) as url:
        yield url


@contextlib.contextmanager
def alarmed(chromium: Browser, address: str, tolerate: str) -> Iterator[Viewer]:
    """A page on which a payload that ran, a dialog and a trace of markup fail the test, besides what `watched` sees."""
    with watched(chromium, address, tolerate=tolerate) as page:
        page.page.context.add_init_script(WATCH)
        page.page.on("dialog", lambda dialog: (page.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        yield page
        nothing_ran(page)


@pytest.fixture
def viewer(chromium: Browser, address: str) -> Iterator[Viewer]:
    with alarmed(chromium, address, "status of 409") as page:
        yield page


def nothing_ran(viewer: Viewer) -> None:
    assert [] == viewer.page.evaluate("() => window.ran")
    assert [] == viewer.page.evaluate("(s) => [...document.querySelectorAll(s)].map((e) => e.outerHTML)", TRACES)


def text_of(viewer: Viewer, selector: str) -> str:
    found: str = viewer.page.evaluate(
        "(s) => [...document.querySelectorAll(s)].map((e) => e.textContent).join('\\n')", selector
    )
    return found


def missing(viewer: Viewer, selector: str, said: list[str] = PAYLOADS) -> list[str]:
    """Those of `said` that do not stand there as text. Space is as values keep it, without ends."""
    text = text_of(viewer, selector)
    return [one for one in said if one.strip() not in text]


def test_in_the_list(viewer: Viewer) -> None:
    viewer.list()
    # The list holds the rows on the screen alone: what stands in each column is gathered while it is scrolled.
    text = dict.fromkeys(("c-name", "c-id", "c-description", "c-accession"), "")
    expected = {name: [one.strip() for one in PAYLOADS] for name in text}
    expected["c-name"] = [named(k).strip() for k in range(COUNT)]

    def unseen() -> list[str]:
        return [one for name, all_ in expected.items() for one in all_ if one not in text[name]]

    for _ in range(100):
        for name in text:
            text[name] += text_of(viewer, f"tbody .{name}")
        if not unseen():
            break
        viewer.page.evaluate("() => { const list = document.querySelector('.list-scroll'); list.scrollTop += 240; }")
        viewer.settle()
    assert [] == unseen()
    nothing_ran(viewer)


def test_in_the_picture_its_header_and_the_strip(viewer: Viewer) -> None:
    viewer.open(f"{STUDY}/{STUDY}.1")
    viewer.page.wait_for_function("(n) => document.querySelectorAll('.series-card').length === n", arg=COUNT)
    assert [] == missing(viewer, ".series-strip")
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    for k in range(COUNT):
        if k:
            viewer.press("PageDown")
        # The description is the last to come: of another series until the pixels of this one are here.
        viewer.page.wait_for_function(
            "(text) => document.querySelector('.bottom-left').textContent.includes(text)", arg=payload(k + 5)
        )
        shown = text_of(viewer, ".corner")
        said = [payload(k + n).strip() for n in (1, 2, 3, 4, 5, 6, 7, 11)]
        assert [] == [one for one in [named(k).strip(), *said] if one not in shown]
        if k % 6 == 0:
            values = [payload(k + n) for n in (1, 4, 5, 6, 7, 9, 10, 11)]
            viewer.until(lambda values=values: not missing(viewer, ".header-panel .value", values))
            viewer.page.get_by_role("button", name="Window", exact=True).click()
            assert payload(k + 11) in text_of(viewer, ".menu:not([hidden])")
            viewer.page.keyboard.press("Escape")
            viewer.page.locator(".viewport").first.focus()
    nothing_ran(viewer)


def test_in_reports_and_curves(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.address}/view/{documents.STUDY}/{documents.STUDY}.1")
    viewer.page.wait_for_selector(".report")
    assert [] == missing(viewer, ".report-name")
    assert [] == missing(viewer, ".report-value")
    nothing_ran(viewer)
    viewer.page.goto(f"{viewer.address}/view/{documents.STUDY}/{documents.STUDY}.30")
    viewer.page.wait_for_selector(".waveform")
    assert [] == missing(viewer, ".is-waveform")


def test_in_peers_jobs_and_errors(viewer: Viewer) -> None:
    """What servers say, ours or one in between: names of peers, errors of jobs, messages of refusals."""
    peers = [{"name": one, "aet": payload(k + 1)} for k, one in enumerate(PAYLOADS)]
    job = {"kind": "send", "attempts": 1, "next_at": None, "updated_at": "2026-01-01T00:00:00Z"}
    jobs = [
        {
            **job,
            "id": k,
            "target": one,
            "state": "failed",
            "last_error": payload(k + 1),
            "total": 1,
            "done": 0,
            "failed": 1,
            "reasons": [{"why": payload(k + 2), "count": 1}],
        }
        for k, one in enumerate(PAYLOADS)
    ]
    everything = " | ".join(PAYLOADS)

    def answer(body: Any, status: int = 200) -> Any:
        return lambda route: route.fulfill(status=status, content_type="application/json", body=json.dumps(body))

    viewer.page.route("**/operation/peers", answer({"peers": peers}))
    viewer.page.route("**/operation/jobs?*", answer({"jobs": jobs, "counts": {"failed": COUNT}}))
    viewer.list()
    viewer.page.wait_for_selector(".studies-page[data-scopes]")
    viewer.press("ArrowDown", "m")
    viewer.page.get_by_role("menuitem", name="Send to a peer").click()
    viewer.page.wait_for_selector("dialog[open] .choice")
    assert [] == missing(viewer, "dialog[open] .choices")
    viewer.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")
    viewer.page.locator("button[aria-label='Storage and queue']").click()
    viewer.page.wait_for_selector("dialog[open] .queue tbody tr")
    assert [] == missing(viewer, "dialog[open] .queue")
    viewer.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")
    nothing_ran(viewer)
    refused = {"error": {"message": everything, "hint": everything}}
    viewer.page.route("**/series/*/metadata", answer(refused, 409))
    viewer.page.goto(f"{viewer.address}/view/{STUDY}/{STUDY}.1")
    viewer.page.wait_for_selector(".page-problem:visible h2")
    assert [] == missing(viewer, ".page-problem h2")
    assert [] == missing(viewer, ".page-problem p")


def test_the_payloads_would_run_where_markup_is_made(chromium: Browser) -> None:
    """The alarm works: on a page that makes markup of text some of them run, and leave the traces looked for."""
    page = chromium.new_page()
    page.add_init_script(WATCH)
    page.goto("data:text/html,<body></body>")
    page.evaluate("(all) => { document.body.innerHTML = all.join(''); }", PAYLOADS[6:40])
    page.wait_for_function("() => window.ran.length > 3")
    assert page.locator(TRACES).count() > 10
    page.close()


def test_no_payload_is_in_another() -> None:
    """Or a text that is missing would be found in another."""
    assert [] == [(one, other) for one, other in permutations(PAYLOADS, 2) if one in other]
