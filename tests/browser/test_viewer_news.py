"""A study list that is looked at hears of what is stored and deleted meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import viewer_objects as objects
from viewer_page import Viewer, served, watched

import ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request

pytestmark = pytest.mark.browser


@pytest.fixture
def deleting(tmp_path: Path) -> Iterator[str]:
    """A server over an empty archive that lets everybody delete."""
    with ours.background(lambda: served(tmp_path, [], web_open_scopes="read,write,delete")) as url:
        yield url


SIGN = ".list-news button"


def store(address: str, study: str, *numbers: int) -> None:
    """Images of one study, of its own patient."""
    for number in numbers:
        ds = objects.stack()[number]
        ds.StudyInstanceUID, ds.PatientID = f"2.25.{study}", f"P{study}"
        ds.SeriesInstanceUID = f"2.25.{study}.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{study}.1.{number}"
        answer = httpx.post(
            f"{address}/dicomweb/studies",
            content=objects.encoded(ds),
            headers={"content-type": "application/dicom"},
            timeout=60,
        )
        assert 200 == answer.status_code


def listening(viewer: Viewer, query: str = "") -> None:
    """Opens the list, and waits until it hears and has looked at what came before that: an answer that is still on its
    way would tell of what the test stores next."""
    asked: list[Request] = []
    answered: list[Request] = []
    viewer.page.on("request", lambda request: asked.append(request))
    viewer.page.on("requestfinished", lambda request: answered.append(request))
    with viewer.page.expect_response("**/dicomweb/events?*") as heard:
        viewer.page.goto(f"{viewer.address}/{query}")
    assert 200 == heard.value.status

    def looked() -> bool:
        since = itertools.dropwhile(lambda request: "/dicomweb/events?" not in request.url, asked)
        return any("/dicomweb/studies?" in request.url and request in answered for request in since)

    viewer.until(looked)


def test_an_empty_list_fills_by_itself(chromium: Browser, empty_address: str) -> None:
    with watched(chromium, empty_address) as viewer:
        listening(viewer)
        viewer.page.wait_for_selector("text=The archive is empty")
        store(empty_address, "1", 0)
        viewer.page.wait_for_selector("tbody tr .c-id:has-text('P1')")
        assert not viewer.page.locator(".list-state").is_visible()
        assert 0 == viewer.page.locator(SIGN).count()


def test_new_studies_wait_until_they_are_wanted(chromium: Browser, deleting: str) -> None:
    store(deleting, "1", 0)
    with watched(chromium, deleting) as viewer:
        listening(viewer)
        viewer.page.wait_for_selector("tbody tr .c-id:has-text('P1')")
        store(deleting, "2", 0)
        viewer.page.wait_for_selector(f"{SIGN}:has-text('1 new study')")
        store(deleting, "3", 0)
        viewer.page.wait_for_selector(f"{SIGN}:has-text('2 new studies')")
        assert ["P1"] == viewer.rows()
        viewer.press("n")
        viewer.page.wait_for_selector(SIGN, state="detached")
        viewer.page.wait_for_selector("tbody tr .c-id:has-text('P3')")
        assert {"P1", "P2", "P3"} == set(viewer.rows())
        viewer.page.wait_for_selector("tr[data-study='2.25.2'] .has-image")  # else it would be asked for in vain
        # What one sees is kept in sight also where it goes: the list says so, and shows it when that is wanted.
        assert 204 == httpx.delete(f"{deleting}/dicomweb/studies/2.25.2?reason=test", timeout=60).status_code
        viewer.page.wait_for_selector(f"{SIGN}:has-text('The list has changed')")
        viewer.page.click(SIGN)
        viewer.page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 2")
        viewer.page.wait_for_selector("tbody tr:first-child a:focus")  # the button is gone, and its place is not lost


def test_a_search_says_what_is_new_in_it(chromium: Browser, empty_address: str) -> None:
    store(empty_address, "1", 0)
    with watched(chromium, empty_address, locale="ko-KR") as viewer:
        listening(viewer, "?q=id:P2")
        viewer.page.wait_for_selector(".list-state h2")
        store(empty_address, "3", 0)
        store(empty_address, "2", 0)
        viewer.page.wait_for_selector("tbody tr .c-id:has-text('P2')")  # an empty answer has no place to lose
        store(empty_address, "21", 0)
        viewer.page.wait_for_selector(f"{SIGN}:has-text('새 검사 1건')")
        assert ["P2"] == viewer.rows()


def test_more_images_of_a_study_stand_in_its_row(chromium: Browser, empty_address: str) -> None:
    store(empty_address, "1", 0)
    with watched(chromium, empty_address) as viewer:
        listening(viewer)
        viewer.page.wait_for_selector("tbody tr a")
        viewer.page.locator("tbody tr a").first.focus()
        store(empty_address, "1", 1, 2)
        viewer.page.wait_for_selector("tbody tr .c-images:has-text('3')")
        assert 0 == viewer.page.locator(SIGN).count()
        assert viewer.page.evaluate("() => document.activeElement.closest('tr') !== null")


def test_a_list_that_is_not_on_the_screen_holds_no_connection(chromium: Browser, empty_address: str) -> None:
    store(empty_address, "1", 0)
    with watched(chromium, empty_address) as viewer:
        ended: list[Request] = []
        viewer.page.on("requestfailed", lambda request: ended.append(request))
        listening(viewer)
        viewer.page.wait_for_selector("tbody tr a")
        viewer.press("ArrowDown", "Enter")
        viewer.shown()
        viewer.until(lambda: any("/events?" in request.url for request in ended))
        store(empty_address, "2", 0)
        with viewer.page.expect_response("**/dicomweb/events?*"):
            viewer.press("Escape")
        viewer.page.wait_for_selector("tbody tr .c-id:has-text('P2')")


def test_nobody_is_told_who_is_not_there(chromium: Browser, empty_address: str) -> None:
    """Or a screen that is left alone would keep its session for ever."""
    store(empty_address, "1", 0)
    with watched(chromium, empty_address) as viewer:
        viewer.page.add_init_script(
            "window.later = 0; const now = performance.now.bind(performance); performance.now = () => now() + later;"
        )
        ended: list[Request] = []
        viewer.page.on("requestfailed", lambda request: ended.append(request))
        listening(viewer)
        viewer.page.wait_for_selector("tbody tr a")
        viewer.page.evaluate("() => { later = 300001; }")
        store(empty_address, "2", 0)
        viewer.until(lambda: any("/events?" in request.url for request in ended))
        assert 0 == viewer.page.locator(SIGN).count()
        with viewer.page.expect_response("**/dicomweb/events?*"):
            viewer.page.mouse.move(300, 300)
        viewer.page.wait_for_selector(f"{SIGN}:has-text('1 new study')")
