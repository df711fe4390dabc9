"""A list of thousands of studies: only the rows on the screen are in the page, and order and search are the server's.

The rows are made straight in the index: nothing here needs the objects behind them. How long it takes with 100,000 is
measured in bench/list.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from viewer_page import Viewer, served, watched

import ours
from isocenter.index.sql import SqlIndex
from isocenter.testing.index_suite import entry

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

STUDIES = 3000
MODALITIES = ("CT", "MR", "SR")


def study(number: int) -> dict[str, str]:
    """What study `number` says: the newest is 0, descriptions go another way, and each tenth has none."""
    return {
        "x00100010": f"Family^Given{number:04d}",
        "x00100020": f"P{number:04d}",
        "x00080020": f"{date(2025, 12, 31) - timedelta(number):%Y%m%d}",
        "x00080060": MODALITIES[number % 3],
        "x00081030": "" if number % 10 == 0 else f"Head {(number * 7) % STUDIES:04d}",
    }


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("long")
    with ours.background(lambda: served(folder, [])) as url:
        index = SqlIndex(folder / "index.sqlite")
        made = [entry(f"2.25.{n + 1}", f"2.25.{n + 1}.1", f"2.25.{n + 1}.1.1", **study(n)) for n in range(STUDIES)]
        index.apply(made, "keep-first")
        index.close()
        yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Viewer]:
    # There is no object behind the rows that a picture could be made of.
    with watched(chromium, address, tolerate="/thumbnail") as viewer:
        viewer.list()
        viewer.page.wait_for_selector(".list-scroll[aria-busy=false]")
        yield viewer


def row(page: Viewer, index: int) -> str:
    """Patient ID of the row at a place, once it has come."""
    cell = page.page.locator(f"tr[data-index='{index}'][data-study] .c-id")
    found: str = cell.inner_text()
    return found


def sort(page: Viewer, column: str, way: str) -> None:
    page.page.click(f"th.c-{column} button")  # from now on the list is busy
    page.page.wait_for_selector(f"th.c-{column}[aria-sort={way}]")
    page.page.wait_for_selector(".list-scroll[aria-busy=false]")


def test_only_what_is_on_the_screen_is_in_the_page(page: Viewer) -> None:
    assert "3,000 studies" == page.page.locator(".result-count").inner_text()
    assert "3001" == page.page.get_attribute("table.studies", "aria-rowcount")
    assert "P0000" == row(page, 0)
    page.page.evaluate("() => { const list = document.querySelector('.list-scroll'); list.scrollTop = 1500 * 48; }")
    assert "P1500" == row(page, 1500)
    assert "1502" == page.page.get_attribute("tr[data-index='1500']", "aria-rowindex")
    assert page.page.locator("tbody tr").count() < 60
    assert 0 == page.page.locator("tr[data-index='0']").count()
    below = page.page.evaluate(
        "() => document.querySelector('tr[data-index=\"1500\"]').getBoundingClientRect().top"
        " - document.querySelector('th.c-name').getBoundingClientRect().bottom"
    )
    assert abs(below) <= 1


def test_keys_go_through_all_of_it(page: Viewer) -> None:
    page.press("End")
    assert "P2999" == row(page, 2999)
    page.page.wait_for_selector("tr.is-selected[data-index='2999']")
    page.page.wait_for_function("() => document.activeElement.getAttribute('href')?.endsWith('/view/2.25.3000')")
    page.press("ArrowUp")
    page.page.wait_for_selector("tr.is-selected[data-index='2998']")
    page.press("Home", "PageDown")
    chosen = int(page.page.get_attribute("tr.is-selected", "data-index") or 0)
    assert 5 < chosen < 20
    page.press("PageUp")
    page.page.wait_for_selector("tr.is-selected[data-index='0']")


def test_order_and_search_are_those_of_all_studies(page: Viewer) -> None:
    sort(page, "id", "ascending")
    assert ["P0000", "P0001"] == [row(page, 0), row(page, 1)]
    sort(page, "id", "descending")
    assert ["P2999", "P2998"] == [row(page, 0), row(page, 1)]
    descriptions = sorted((study(n)["x00081030"], study(n)["x00100020"]) for n in range(STUDIES) if n % 10)
    sort(page, "description", "ascending")
    assert [patient for _, patient in descriptions[:3]] == [row(page, index) for index in range(3)]
    page.press("End")
    assert "P2990" == row(page, 2999)  # one without a description
    sort(page, "description", "descending")
    assert descriptions[-1][1] == row(page, 0)
    page.press("End")
    assert "0" == row(page, 2999)[-1]
    page.page.click(".chip:has-text('SR')")
    page.page.wait_for_function("() => document.querySelector('.result-count').textContent === '1,000 studies'")
    page.page.fill("input[type=search]", "family given299")
    page.page.wait_for_function("() => document.querySelector('.result-count').textContent === '4 studies'")
    page.page.wait_for_function("() => document.querySelector('.chip-count').textContent === '4'")
    assert ["P2999", "P2996", "P2993", "P2990"] == [row(page, index) for index in range(4)]


def test_a_press_on_a_filter_counts_though_the_list_is_read_meanwhile(page: Viewer) -> None:
    page.page.hover(".chip:has-text('SR')")
    page.page.mouse.down()
    with page.page.expect_response("**/tally?*"):
        page.press("r")
    page.page.wait_for_selector(".list-scroll[aria-busy=false]")
    page.page.mouse.up()
    page.page.wait_for_function("() => document.querySelector('.result-count').textContent === '1,000 studies'")


def test_a_page_that_does_not_come_is_told_and_comes_later(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="net::ERR") as viewer:
        viewer.page.route("**/thumbnail*", lambda route: route.abort())
        viewer.list()
        viewer.page.route("**/dicomweb/studies?*", lambda route: route.abort())
        viewer.page.evaluate("() => { document.querySelector('.list-scroll').scrollTop = 800 * 48; }")
        viewer.page.wait_for_selector(".toast:has-text('The server cannot be reached')")
        viewer.page.unroute("**/dicomweb/studies?*")
        viewer.page.evaluate("() => { document.querySelector('.list-scroll').scrollTop += 48; }")
        assert "P0801" == row(viewer, 801)


def test_the_order_stands_in_the_address(page: Viewer, chromium: Browser, address: str) -> None:
    assert "sort=" not in page.page.url
    sort(page, "description", "ascending")
    page.page.wait_for_function("() => location.search === '?sort=description'")
    sort(page, "description", "descending")
    page.page.wait_for_function("() => location.search === '?sort=-description'")
    first = row(page, 0)
    page.page.fill("input[type=search]", "head")
    page.page.wait_for_function("() => location.search === '?q=head&sort=-description'")
    with watched(chromium, address, tolerate="/thumbnail") as other:
        other.list("?q=head&sort=-description")
        assert first == row(other, 0)
        assert "descending" == other.page.get_attribute("th.c-description", "aria-sort")
        assert "none" == other.page.get_attribute("th.c-date", "aria-sort")
        # The usual one is not told, and what is none is said.
        sort(other, "date", "descending")
        other.page.wait_for_function("() => location.search === '?q=head'")
        other.list("?sort=colour")
        other.page.wait_for_selector(".toast:has-text('sort')")
        assert "P0000" == row(other, 0)


def at_the_top(page: Viewer, index: int, patient: str) -> None:
    """Waits until the study stands in the place that is the first below the head."""
    page.page.wait_for_function(
        """([index, patient]) => {
          const row = document.querySelector(`tr[data-index='${index}'][data-study]`);
          const head = document.querySelector('th.c-name').getBoundingClientRect().bottom;
          return row?.querySelector('.c-id').textContent === patient
            && Math.abs(row.getBoundingClientRect().top - head) <= 1;
        }""",
        arg=[index, patient],
    )


# How often the list has been read anew, from now on
COUNT_READING = """() => {
  window.read = 0;
  const list = document.querySelector('.list-scroll');
  const seen = () => { if (list.getAttribute('aria-busy') === 'false') window.read += 1; };
  new MutationObserver(seen).observe(list, { attributeFilter: ['aria-busy'] });
}"""


def test_studies_that_come_meanwhile_hide_none(chromium: Browser, tmp_path: Path) -> None:
    """Pages that were fetched before and after do not fit together: the list is read again, and stays where it is."""
    with ours.background(lambda: served(tmp_path, [])) as url:
        index = SqlIndex(tmp_path / "index.sqlite")

        def come(number: int, **attributes: str) -> None:
            uid = f"2.25.{number + 1}"
            index.apply([entry(uid, f"{uid}.1", f"{uid}.1.1", **study(number) | attributes)], "keep-first")

        for number in range(350):
            come(number)
        with watched(chromium, url, tolerate="/thumbnail") as viewer:
            viewer.list()
            assert "P0000" == row(viewer, 0)
            for number in (9001, 9002):
                come(number, x00080020="20260101", x00100020=f"N{number}")
            scroll = "(to) => { document.querySelector('.list-scroll').scrollTop = to * 48; }"
            viewer.page.evaluate(COUNT_READING)
            viewer.page.evaluate(scroll, 150)
            # All of it with these two: one that comes before would be in it already.
            viewer.page.wait_for_function("() => window.read === 1")
            at_the_top(viewer, 150, "P0148")
            assert "352 studies" == viewer.page.locator(".result-count").inner_text()
            come(9003, x00080020="20260102", x00100020="N9003")
            viewer.page.evaluate(scroll, 195)
            # What stood at the top of the screen stands there, one place further down.
            at_the_top(viewer, 196, "P0193")
            viewer.page.wait_for_function("() => document.querySelector('.result-count').textContent === '353 studies'")
            viewer.page.evaluate(scroll, 0)
            assert ["N9003", "N9002"] == [row(viewer, 0), sorted([row(viewer, 1), row(viewer, 2)])[1]]
        index.close()
