"""The study list: search, filter, sort, keys, the states with nothing to show, and upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import viewer_objects as objects
from viewer_page import Viewer, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def search(viewer: Viewer, words: str) -> None:
    """Types into the box and waits until the answer stands in the list."""
    viewer.page.fill("input[type=search]", words)
    viewer.page.wait_for_function("(words) => new URLSearchParams(location.search).get('q') === words", arg=words)
    viewer.answered()


@pytest.mark.parametrize(
    "words",
    [
        "hong",
        "gildong hong",
        "홍",
        "洪",
        "id:STACK",
        "acc:4711",
        "ACC-4711",
        "with contrast",
        "ct chest",
        "2024-05-14",
        "2024-05",
        "20240514",
        'name:"hong^gil"',
        "*G?ldong*",
    ],
)
def test_search_as_you_type_finds_the_study(viewer: Viewer, words: str) -> None:
    viewer.list()
    everything = len(viewer.rows())
    search(viewer, words)
    assert ["STACK"] == viewer.rows()
    assert everything > 5
    assert "1 study" in viewer.page.locator(".result-count").inner_text()


def test_search_stands_in_the_address_and_survives_a_visit_to_a_study(viewer: Viewer) -> None:
    viewer.list("?q=hong")
    assert ["STACK"] == viewer.rows()
    viewer.page.click("tbody tr")
    viewer.shown()
    viewer.press("Escape")
    viewer.page.wait_for_selector("tbody tr:visible")
    viewer.answered()
    assert viewer.page.url.endswith("/?q=hong")
    assert "hong" == viewer.page.input_value("input[type=search]")


def test_names_in_three_writings(viewer: Viewer) -> None:
    viewer.list("?q=hong")
    name = viewer.page.locator(".person").first
    assert "Hong, Gildong" == name.locator(".person-main").inner_text()
    assert "洪吉洞 · 홍길동" == name.locator(".person-other").inner_text()
    assert "ko" == name.get_attribute("lang")


def test_modality_chip(viewer: Viewer) -> None:
    viewer.list()
    chip = viewer.page.locator(".chip", has_text="MR").first
    expected = int(chip.locator(".chip-count").inner_text())
    chip.click()
    viewer.page.wait_for_url("**modality=MR*")
    viewer.answered()
    assert expected == len(viewer.rows())
    assert {"MR"} == {t for t in viewer.page.locator("tbody .badge").all_inner_texts() if t == "MR"}
    assert "modality=MR" in viewer.page.url


def test_sort_by_patient_id_both_ways(viewer: Viewer) -> None:
    def made() -> list[str]:
        return [row for row in viewer.rows() if row in {"EXACT", "LINEAR", "MONO1", "NARROW", "SIGMOID", "STACK"}]

    viewer.page.set_viewport_size({"width": 1366, "height": 4000})  # only rows on the screen are there
    # Of some of these odd files there is no picture, which Chromium tells on the console.
    viewer.page.route("**/thumbnail?*", lambda route: route.fulfill(status=204))
    viewer.list()
    viewer.answered()
    viewer.page.click("th.c-id button")
    viewer.answered()
    assert ["EXACT", "LINEAR", "MONO1", "NARROW", "SIGMOID", "STACK"] == made()
    assert "ascending" == viewer.page.get_attribute("th.c-id", "aria-sort")
    viewer.page.click("th.c-id button")
    viewer.answered()
    assert ["STACK", "SIGMOID", "NARROW", "MONO1", "LINEAR", "EXACT"] == made()
    assert "descending" == viewer.page.get_attribute("th.c-id", "aria-sort")


def test_keys_choose_and_open(viewer: Viewer) -> None:
    viewer.list()
    viewer.press("/")
    viewer.page.keyboard.type("hong")
    viewer.page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    viewer.press("ArrowDown", "Enter")
    viewer.shown()
    assert "/view/2.25.70001" in viewer.page.url


def test_nothing_found(viewer: Viewer) -> None:
    viewer.list()
    search(viewer, "there-is-no-such-patient")
    assert "No study matches" in viewer.page.locator(".list-state").inner_text()
    viewer.page.click("text=Clear the search")
    viewer.page.wait_for_selector("tbody tr")


def cut_off(viewer: Viewer, address: str) -> None:
    """Opens the list, which hears neither of studies nor that there is something new."""
    for path in ("studies", "events"):
        viewer.page.route(f"**/dicomweb/{path}?*", lambda route: route.abort())
    viewer.page.goto(f"{address}/")
    viewer.page.wait_for_selector("text=The server cannot be reached")


def test_a_server_that_is_gone(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="net::ERR") as viewer:
        cut_off(viewer, address)
        viewer.page.unroute("**/dicomweb/studies?*")
        viewer.page.click("button:has-text('Try again')")
        viewer.page.wait_for_selector("tbody tr")


def test_a_server_that_comes_back_is_seen(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="net::ERR") as viewer:
        cut_off(viewer, address)
        viewer.page.unroute("**/dicomweb/studies?*")
        viewer.page.unroute("**/dicomweb/events?*")
        viewer.page.wait_for_selector("tbody tr")


def test_an_empty_archive_is_filled_by_dropping_files(chromium: Browser, empty_address: str) -> None:
    with watched(chromium, empty_address) as viewer:
        viewer.page.goto(f"{empty_address}/")
        viewer.page.wait_for_selector("text=The archive is empty")
        slices = [objects.encoded(ds) for ds in objects.stack()[:3]]
        viewer.page.evaluate(
            """(files) => {
              const transfer = new DataTransfer();
              files.forEach((bytes, i) => transfer.items.add(new File([new Uint8Array(bytes)], `${i}.dcm`)));
              const drop = (name) => dispatchEvent(new DragEvent(name, { dataTransfer: transfer, cancelable: true }));
              ["dragenter", "dragover", "drop"].forEach(drop);
            }""",
            [[*data] for data in [*slices, b"not DICOM at all"]],
        )
        viewer.page.wait_for_selector("text=Upload finished")
        card = viewer.page.locator(".upload-card").inner_text()
        assert "3 objects stored" in card
        assert "1 refused" in card
        viewer.page.wait_for_selector("tbody tr")
        viewer.answered()
        assert ["STACK"] == viewer.rows()
        viewer.page.wait_for_function("() => parseInt(document.querySelector('tbody .c-images')?.textContent) === 3")


def test_newest_study_first(viewer: Viewer) -> None:
    """Whatever the precision of the times: 0930 is later in 2024 than 131313.13 in 2004."""
    viewer.list()
    dates = [text.split()[0][:10] for text in viewer.page.locator("tbody .c-date").all_inner_texts() if text.strip()]
    assert "2024-05-14" in dates
    assert sorted(dates, reverse=True) == dates


def test_a_study_has_a_small_picture_which_the_browser_keeps(viewer: Viewer) -> None:
    viewer.list("?q=hong")
    viewer.page.wait_for_selector(".study-picture.has-image img")
    assert viewer.page.evaluate("() => document.querySelector('.study-picture img').naturalWidth") == 96
    with viewer.page.expect_response("**/thumbnail?*") as again:
        viewer.page.reload()
    assert "private, no-cache" == again.value.headers["cache-control"]
    assert again.value.headers["etag"]
