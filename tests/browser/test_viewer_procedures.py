"""Scheduled procedures: what modalities and people are to do, in one table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from viewer_page import Viewer, served, watched

import ours
from work_objects import Model, scheduled, workitem

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

STEPS, ITEMS = "modality-scheduled-procedure-steps", "workitems"


def post(address: str, resource: str, model: Model) -> None:
    headers = {"content-type": "application/dicom+json"}
    answer = httpx.post(f"{address}/dicomweb/{resource}", content=json.dumps(model), headers=headers)
    assert answer.status_code == 201, answer.text


NOW = "2026-05-14T09:00:00"  # for the browser, wherever and whenever the test runs


@contextlib.contextmanager
def opened(chromium: Browser, address: str, tolerate: str = "\0", locale: str = "en-GB") -> Iterator[Viewer]:
    with watched(chromium, address, tolerate=tolerate, locale=locale, timezone_id="Asia/Seoul") as page:
        page.page.clock.set_fixed_time(f"{NOW}+09:00")
        yield page


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two steps of modalities and one work item today, one step in five days."""
    today, later = "20260514", "20260519"
    with ours.background(lambda: served(tmp_path_factory.mktemp("steps"), [])) as url:
        for number, (day, hour, modality) in enumerate(
            [(today, "1030", "CT"), (today, "0800", "MR"), (later, "0900", "CT")]
        ):
            step = {
                "ScheduledProcedureStepStartDate": day,
                "ScheduledProcedureStepStartTime": hour,
                "Modality": modality,
            }
            post(url, STEPS, scheduled(f"1.2.{number}", f"S{number}", **step))
        post(
            url, ITEMS, workitem(ScheduledProcedureStepStartDateTime=f"{today}093000", ProcedureStepLabel="Read the CT")
        )
        yield url


def times(page: Viewer) -> list[str]:
    found: list[str] = page.page.locator(".procedures tbody .p-time strong").all_inner_texts()
    return found


def chosen(page: Viewer, label: str) -> None:
    page.page.wait_for_selector(f".segments button[aria-pressed=true]:has-text('{label}')")
    page.page.wait_for_selector(".procedures-scroll[aria-busy=false]")


def test_the_steps_of_today_and_of_other_days(chromium: Browser, address: str) -> None:
    with opened(chromium, address) as page:
        page.page.goto(f"{address}/")
        page.page.wait_for_selector("text=The archive is empty")
        page.press("w")
        page.page.wait_for_selector(".procedures tbody tr")
        assert page.page.url == f"{address}/procedures"
        assert ["08:00", "09:30", "10:30"] == times(page)
        assert "3 procedures" == page.page.inner_text(".procedures-page .result-count")
        assert ["MR", "Work item", "CT"] == page.page.locator("td.p-modality").all_inner_texts()
        assert ["Scheduled"] * 3 == page.page.locator(".p-progress").all_inner_texts()
        page.page.fill(".procedures-page input[type=search]", "read ct")
        page.page.wait_for_function("() => document.querySelectorAll('.procedures tbody tr').length === 1")
        assert "Read the CT" == page.page.inner_text(".procedures td.p-what")
        page.page.fill(".procedures-page input[type=search]", "nobody")
        page.page.wait_for_selector("text=No procedure matches")
        page.press("Escape")  # clears
        page.page.wait_for_function("() => document.querySelectorAll('.procedures tbody tr').length === 3")
        page.page.click("text=Next 7 days")
        chosen(page, "Next 7 days")
        page.page.wait_for_function("() => document.querySelectorAll('.procedures tbody tr').length === 4")
        assert ["08:00", "09:30", "10:30", "09:00"] == times(page)
        page.page.keyboard.press("Escape")
        page.page.wait_for_selector(".studies-page:not([hidden])")
        assert page.page.url == f"{address}/"


def test_nothing_is_scheduled_and_the_server_is_gone(chromium: Browser, empty_address: str) -> None:
    with opened(chromium, empty_address, tolerate="net::ERR", locale="ko-KR") as page:
        page.page.route("**/dicomweb/workitems?*", lambda route: route.abort())
        page.page.goto(f"{empty_address}/procedures")
        page.page.wait_for_selector(".procedures-page .list-state button")
        page.page.unroute("**/dicomweb/workitems?*")
        page.page.click(".procedures-page .list-state button")
        page.page.wait_for_selector("text=오늘 예약된 검사가 없습니다")


def test_what_was_there_stays_when_it_cannot_be_asked_for_again(chromium: Browser, address: str) -> None:
    with opened(chromium, address, tolerate="net::ERR") as page:
        page.page.goto(f"{address}/procedures")
        page.page.wait_for_selector(".procedures tbody tr")
        page.page.route("**/dicomweb/workitems?*", lambda route: route.abort())
        page.page.clock.set_fixed_time("2026-05-14T09:20:00+09:00")
        page.press("r")
        stale = page.page.locator(".procedures-page .stale")
        stale.wait_for()
        assert stale.inner_text().startswith("As it was at 09:00:00: it may have changed since. The server cannot be")
        assert ["08:00", "09:30", "10:30"] == times(page)
        # What is of other days is not what is asked for.
        page.page.click("text=Next 7 days")
        page.page.wait_for_selector(".procedures-page .list-state button")
        assert [] == times(page)
        assert not stale.is_visible()
        page.page.unroute("**/dicomweb/workitems?*")
        page.page.click(".procedures-page .list-state button")
        page.page.wait_for_function("() => document.querySelectorAll('.procedures tbody tr').length === 4")
        page.page.route("**/dicomweb/workitems?*", lambda route: route.abort())
        page.press("r")
        stale.wait_for()
        page.page.unroute("**/dicomweb/workitems?*")
        stale.locator("button").click()
        stale.wait_for(state="hidden")
        assert 4 == len(times(page))
