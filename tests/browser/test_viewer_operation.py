"""What is done with studies from the list: menu, download, sending, deleting, and the state of disk and queue."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pydicom
import pytest
import viewer_objects as objects
from pydicom.data import get_testdata_file
from viewer_page import Viewer, watched

import isocenter
import ours
from isocenter.server import Node
from skins.test_forwarding import data_set, data_sets, free_port, peer_at

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ours.Receiver]:
    with ours.receiver(tmp_path_factory.mktemp("there")) as found:
        yield found


@pytest.fixture
def node(tmp_path: Path, receiver: ours.Receiver) -> Iterator[Node]:
    """A server with two studies and two peers, of which one is away; everybody may delete."""
    away = peer_at(free_port(), "AWAY")
    peers = [peer_at(receiver.port), isocenter.known_peers.KnownPeer("workstation", away.aet, away.host, away.port)]
    with ours.node(
        tmp_path, peers=peers, web_open_scopes="read,write,delete", jobs_retry_first=60, jobs_retry_longest=60
    ) as running:
        files = [objects.encoded(ds) for ds in objects.stack()[:4]]
        files.append(Path(get_testdata_file("MR_small.dcm")).read_bytes())
        with isocenter.sync.connect(running.address) as pacs:
            assert {0} == {outcome.status for outcome in pacs.store(files)}
        yield running


@pytest.fixture
def page(chromium: Browser, node: Node) -> Iterator[Viewer]:
    with watched(chromium, node.url.rstrip("/"), tolerate="status of 409") as viewer:
        viewer.list("?q=STACK")
        viewer.page.wait_for_selector(".studies-page[data-scopes]")
        yield viewer


def items(page: Viewer) -> list[str]:
    found: list[str] = page.page.locator(".menu.floating .menu-item > span:first-child").all_inner_texts()
    return found


def test_the_menu_of_a_study_by_mouse_and_keyboard(page: Viewer, tmp_path: Path) -> None:
    page.page.click(".c-more button")
    assert ["Open", "Download as ZIP", "Download as DICOMDIR", "Send to a peer…", "Delete…"] == items(page)
    page.page.screenshot(path=tmp_path / "menu.png")
    page.press("ArrowDown", "ArrowUp", "ArrowUp")
    assert "Delete…" in page.page.evaluate("() => document.activeElement.textContent")
    page.press("Escape")
    assert not page.page.is_visible(".menu.floating")
    page.page.click("tbody tr .c-description", button="right")
    assert page.page.is_visible(".menu.floating")
    page.page.click(".studies th >> nth=0")
    page.page.wait_for_selector(".menu.floating", state="hidden")
    page.press("ArrowDown", "m")
    page.page.click(".menu-item >> nth=0")
    page.shown()


def test_a_study_is_downloaded_as_it_was_stored(page: Viewer, tmp_path: Path) -> None:
    page.press("ArrowDown")
    with page.page.expect_download() as waiting:
        page.press("d")
    waiting.value.save_as(tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip") as file:
        uids = {str(pydicom.dcmread(BytesIO(file.read(name))).SOPInstanceUID) for name in file.namelist()}
    assert {str(ds.SOPInstanceUID) for ds in objects.stack()[:4]} == uids
    assert waiting.value.suggested_filename.endswith(".zip")


def test_a_study_is_downloaded_as_a_file_set(page: Viewer, tmp_path: Path) -> None:
    page.press("ArrowDown")
    with page.page.expect_download() as waiting:
        page.press("Shift+D")
    assert waiting.value.suggested_filename.endswith("-dicomdir.zip")
    waiting.value.save_as(tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip") as file:
        directory = pydicom.dcmread(BytesIO(file.read("DICOMDIR")))
        listed = [
            "/".join(one.ReferencedFileID) for one in directory.DirectoryRecordSequence if "ReferencedFileID" in one
        ]
        assert [*listed, "DICOMDIR"] == file.namelist()
    assert 4 == len(listed)


def test_a_study_is_sent_and_the_queue_is_watched(page: Viewer, receiver: ours.Receiver, tmp_path: Path) -> None:
    page.press("ArrowDown", "s")
    page.page.wait_for_selector(".choice >> nth=1")
    assert ["there\nTHERE", "workstation\nAWAY"] == page.page.locator(".choice").all_inner_texts()
    page.page.screenshot(path=tmp_path / "send.png")
    page.page.click("dialog.send footer .primary")
    page.page.wait_for_selector(".toast")
    assert "4 objects on the way to there" in page.page.inner_text(".toast")
    page.page.click(".toast button")
    page.page.wait_for_selector(".queue .state.is-done")
    page.press("Escape")
    page.page.wait_for_selector("dialog", state="detached")
    sent = {str(ds.SOPInstanceUID): data_set(objects.encoded(ds)) for ds in objects.stack()[:4]}
    assert sent == {uid: raw for uid, raw in data_sets(receiver.folder).items() if uid in sent}

    page.press("s")
    page.page.click(".choice >> nth=1")
    page.page.click("dialog.send footer .primary")
    page.page.wait_for_selector("dialog.send", state="detached")  # a toast may still be that of the first one
    page.press("q")
    page.page.wait_for_selector(".queue .state.is-waiting")
    page.page.wait_for_selector(".queue td .error")
    page.page.screenshot(path=tmp_path / "status.png")
    page.page.click(".queue tr:has(.is-waiting) button, .queue tr:has(.is-running) button")
    page.page.wait_for_selector(".queue tr .state.is-cancelled")
    assert "Try again" == page.page.inner_text(".queue tr:has(.is-cancelled) button")


def test_a_study_is_deleted_for_a_reason_and_not_while_it_is_wanted(page: Viewer, node: Node, tmp_path: Path) -> None:
    with httpx.Client(base_url=node.url.rstrip("/")) as web:
        study = str(objects.stack()[0].StudyInstanceUID)
        assert web.post("/operation/jobs", json={"peer": "workstation", "study": study}).status_code == 202
    page.page.wait_for_selector(".has-image")  # else it would be asked for in vain
    page.press("ArrowDown", "Delete")
    page.page.wait_for_selector("dialog.delete")
    assert page.page.is_disabled("dialog.delete .danger")
    page.page.click("dialog.delete .chip >> nth=1")
    assert "Duplicate" == page.page.input_value("dialog.delete .field")
    page.page.screenshot(path=tmp_path / "delete.png")
    page.page.click("dialog.delete footer .danger")
    page.page.wait_for_selector(".problem button")
    page.page.screenshot(path=tmp_path / "wanted.png")
    page.page.click(".problem button")
    page.page.wait_for_selector(".list-state:visible")
    assert "No study matches" in page.page.inner_text(".list-state")
    with httpx.Client(base_url=node.url.rstrip("/")) as web:
        (gone,) = [one for one in web.get("/dicomweb/changes").json()["changes"] if one["kind"] == "deleted"]
        assert (gone["study"], gone["reason"]) == (study, "Duplicate")


def test_what_one_may_not_do_is_not_offered(chromium: Browser, address: str) -> None:
    with watched(chromium, address) as page:
        page.list("?q=STACK")
        page.page.wait_for_selector(".studies-page[data-scopes]")
        page.page.click(".c-more button")
        assert ["Open", "Download as ZIP", "Download as DICOMDIR", "Send to a peer…"] == items(page)
        page.press("Escape", "ArrowDown", "Delete")
        assert page.page.locator("dialog").count() == 0
        page.press("s")
        page.page.wait_for_selector(".choices p")
        assert "No peer is configured" in page.page.inner_text(".choices")


def test_what_keeps_the_status_from_being_seen_is_told_until_it_is_over(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="net::ERR") as viewer:
        viewer.list("?q=STACK")
        viewer.page.wait_for_selector(".studies-page[data-scopes]")
        viewer.page.route("**/operation/storage", lambda route: route.abort())
        viewer.press("q")
        viewer.page.wait_for_selector("dialog.status .problem:has-text('The server cannot be reached')")
        viewer.page.unroute("**/operation/storage")
        viewer.page.wait_for_selector("dialog.status .figures")
        viewer.page.wait_for_function(
            "() => [...document.querySelectorAll('dialog .problem')].every((p) => !p.textContent)"
        )


def test_the_queue_says_which_day_something_happened_and_why_objects_failed(chromium: Browser, address: str) -> None:
    job = {"kind": "forward", "target": "there", "attempts": 1, "next_at": None, "total": 4, "done": 1}
    rows: list[dict[str, object]] = [
        {
            "state": "waiting",
            "updated_at": "2026-05-13T23:05:09.000Z",  # today, there
            "last_error": "It is away.",
            "failed": 2,
            "reasons": [{"why": "It cannot be read.", "count": 2}],
        },
        {
            "state": "failed",
            "updated_at": "2026-05-13T14:59:59.000Z",
            "last_error": "2 of 4 failed, the first: It cannot be read.",
            "failed": 3,
            "reasons": [{"why": "It is refused.", "count": 2}, {"why": "It cannot be read.", "count": 1}],
        },
    ]
    jobs = [{**job, **row, "id": number} for number, row in enumerate(rows)]
    with watched(chromium, address, timezone_id="Asia/Seoul") as viewer:
        viewer.page.clock.set_fixed_time("2026-05-14T09:00:00+09:00")
        viewer.page.route(
            "**/operation/jobs?*",
            lambda route: route.fulfill(json={"jobs": jobs, "counts": {"failed": 1, "waiting": 1}}),
        )
        viewer.list("?q=STACK")
        viewer.page.wait_for_selector(".studies-page[data-scopes]")
        viewer.press("q")
        viewer.page.wait_for_selector("dialog.status .queue td")
        times = viewer.page.locator(".queue time")
        assert ["08:05:09", "2026-05-13 23:59"] == times.all_inner_texts()
        titles = [one.get_attribute("title") for one in times.all()]
        assert ["2026-05-14 08:05:09 UTC+09:00", "2026-05-13 23:59:59 UTC+09:00"] == titles
        errors = [
            row.locator("td:nth-child(2) .error").all_inner_texts() for row in viewer.page.locator(".queue tr").all()
        ]
        assert [
            ["It is away.", "It cannot be read. (2)"],
            ["It is refused. (2)", "It cannot be read."],
        ] == errors
        assert ["2 failed", "3 failed"] == viewer.page.locator(".queue .amount .error").all_inner_texts()
