"""axe-core on every page, panel and window, in both languages: what a program can find wrong for those who use a
screen reader, keys alone, or see little contrast. What it cannot find is in test_viewer_access.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
import test_viewer_documents as documents
import viewer_objects as objects
import volume_page
from test_viewer_display import type_display
from viewer_page import Viewer, served, watched

import ours
from work_objects import scheduled

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed").AXE_SCRIPT

pytestmark = pytest.mark.browser

STACK = "2.25.70001"
ECG = objects.FOLDER / "waveform_ecg.dcm"
# Every rule, those of good practice, too. Only what is wrong is computed to its end.
RUN = """async () => (await axe.run(document, { resultTypes: ['violations'], iframes: false })).violations
  .map(({ id, help, nodes }) => [id, help, nodes.map((one) => [one.html.slice(0, 160), one.failureSummary])])"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stack, a volume, a report and curves; everybody may do everything."""
    made = [*objects.stack(), documents.report()]
    made += [ds for ds in volume_page.all_series() if ds.PatientID == "STRAIGHT"]
    files = [*(objects.encoded(ds) for ds in made), ECG.read_bytes()]
    settings = {"web_open_scopes": "read,write,delete"}
    with ours.background(lambda: served(tmp_path_factory.mktemp("axe"), files, **settings)) as url:
        yield url


class Auditor:
    """Gathers what is wrong on the states of a page that are looked at."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.found: dict[str, Any] = {}
        self.looked: list[str] = []

    def look(self, name: str) -> None:
        page = self.viewer.page
        # What fades in has no contrast yet
        page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))")
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE)
        wrong = page.evaluate(RUN)
        self.looked.append(name)
        if wrong:
            self.found[name] = wrong


def answer(body: Any) -> Any:
    return lambda route: route.fulfill(content_type="application/json", body=json.dumps(body))


@pytest.fixture(params=["en-GB", "ko-KR"])
def auditor(request: pytest.FixtureRequest, chromium: Browser, address: str) -> Iterator[Auditor]:
    with watched(chromium, address, locale=request.param) as viewer:
        auditor = Auditor(viewer)
        yield auditor
    assert {} == auditor.found
    assert auditor.looked


def closed(viewer: Viewer) -> None:
    viewer.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")


def test_the_list_and_its_windows(auditor: Auditor) -> None:
    viewer = auditor.viewer
    job = {"kind": "forward", "attempts": 1, "next_at": None, "updated_at": "2026-01-01T00:00:00Z", "failed": 1}
    job["reasons"] = [{"why": "It cannot be read.", "count": 1}]
    jobs = [
        {**job, "id": at, "target": "A", "state": state, "last_error": "It is away.", "total": 4, "done": at}
        for at, state in enumerate(("waiting", "running", "done", "failed", "cancelled"))
    ]
    viewer.page.route("**/operation/peers", answer({"peers": [{"name": "there", "aet": "THERE"}]}))
    viewer.page.route("**/operation/jobs?*", answer({"jobs": jobs, "counts": {"failed": 1, "done": 1}}))
    viewer.list()
    viewer.page.wait_for_selector(".studies-page[data-scopes]")
    auditor.look("list")
    viewer.press("ArrowDown", "m")
    viewer.page.wait_for_selector(".menu.floating:not([hidden])")
    auditor.look("menu of a study")
    viewer.press("Escape", "s")
    viewer.page.wait_for_selector("dialog.send .choice")
    auditor.look("send")
    closed(viewer)
    viewer.press("Delete")
    viewer.page.wait_for_selector("dialog.delete")
    auditor.look("delete")
    closed(viewer)
    viewer.press("q")
    viewer.page.wait_for_selector("dialog.status .queue td")
    auditor.look("storage and queue")
    closed(viewer)
    viewer.page.locator(".studies-page input[type=search]").fill("nobody is called so")
    viewer.page.wait_for_selector(".list-state:visible")
    auditor.look("nothing found")
    viewer.page.set_viewport_size({"width": 390, "height": 844})
    viewer.list("?sort=name")
    viewer.page.wait_for_selector(".order-turn")
    auditor.look("list on a telephone")


def test_procedures(auditor: Auditor) -> None:
    viewer = auditor.viewer
    steps = [scheduled(f"1.2.{at}", f"S{at}") for at in range(3)]
    for step, state in zip(steps, ("SCHEDULED", "STARTED", "DEPARTED"), strict=True):
        step["00400100"]["Value"][0]["00400020"] = {"vr": "CS", "Value": [state]}
    viewer.page.route("**/modality-scheduled-procedure-steps?*", answer(steps))
    viewer.page.route("**/workitems?*", answer([]))
    viewer.page.goto(f"{viewer.address}/procedures")
    viewer.page.wait_for_selector(".procedures tbody tr")
    auditor.look("procedures")
    viewer.press("?")
    viewer.page.wait_for_selector("dialog.help[open]")
    auditor.look("keys of procedures")


def test_the_viewer_and_its_panels(auditor: Auditor) -> None:
    viewer = auditor.viewer
    viewer.open(STACK)
    auditor.look("viewer")
    for at in range(viewer.page.locator(".toolbar .tool.wide").count()):
        viewer.page.locator(".toolbar .tool.wide").nth(at).click()
        viewer.page.wait_for_selector(".menu:not([hidden])")
        auditor.look(f"menu {at}")
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_selector(".menu:not([hidden])", state="detached")
    viewer.page.locator(".viewport").focus()
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    auditor.look("header")
    viewer.page.locator(".viewport").focus()
    viewer.press("?")
    viewer.page.wait_for_selector("dialog.help[open]")
    auditor.look("keys")
    closed(viewer)
    viewer.page.goto(f"{viewer.address}/view/{documents.STUDY}/{documents.STUDY}.1")
    viewer.page.wait_for_selector(".report")
    auditor.look("report")
    viewer.page.goto(f"{viewer.address}/view/{pydicom.dcmread(ECG, stop_before_pixels=True).StudyInstanceUID}")
    viewer.page.wait_for_selector(".waveform")
    auditor.look("electrocardiogram")
    viewer.page.goto(f"{viewer.address}/view/2.25.404")
    viewer.page.wait_for_selector(".page-problem:visible h2")
    auditor.look("no such study")


def test_planes_and_the_display(auditor: Auditor) -> None:
    viewer = auditor.viewer
    viewer.page.add_init_script(volume_page.NO_WEBGL)
    volume_page.go(viewer, 2)
    auditor.look("planes")
    viewer.page.locator(".toolbar .tool.wide").first.click()
    viewer.page.wait_for_selector(".menu:not([hidden])")
    auditor.look("windows of planes")
    viewer.page.goto(f"{viewer.address}/display")
    viewer.page.wait_for_selector(".facts")
    auditor.look("display, as it is")
    type_display(viewer)
    auditor.look("display, calibrated")
