"""Fingers on a telephone's screen: one does what the tool says, two move and enlarge, a resting one reads the value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import viewer_objects as objects
import volume_page
from test_viewer_volume import crossing
from viewer_page import Viewer, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser

STACK = "2.25.70001"
WIDTH, HEIGHT = 390, 844
LEAST = 40  # CSS pixels a finger finds


@pytest.fixture
def phone(chromium: Browser, address: str) -> Iterator[Viewer]:
    with watched(chromium, address, WIDTH, HEIGHT, has_touch=True, is_mobile=True) as page:
        yield page


class Fingers:
    """Touches as the browser gets them from a screen."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._session = viewer.page.context.new_cdp_session(viewer.page)

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def down(self, *points: tuple[float, float]) -> None:
        self._send("touchStart", *points)

    def move(self, *points: tuple[float, float]) -> None:
        self._send("touchMove", *points)

    def up(self) -> None:
        self._send("touchEnd")
        self._viewer.settle()

    def drag(self, begin: tuple[float, float], dx: float, dy: float) -> None:
        """In moves that are no trembling. A page that hears late of the first takes the finger for one that rests, and
        does nothing else: then it is done once more."""
        for _ in range(20):
            self.down(begin)
            for step in range(1, 4):
                self.move((begin[0] + dx * step / 3, begin[1] + dy * step / 3))
            rested = self._viewer.page.locator(".held-value").count() > 0
            self.up()
            if not rested:
                return
        pytest.fail("the page is too slow for a finger that moves")


def middle(viewer: Viewer) -> tuple[float, float]:
    box = viewer.page.locator(".viewport").first.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def zoom(viewer: Viewer) -> int:
    return int(viewer.text("bottom-right").splitlines()[-1].split()[-2])


def test_one_finger_does_what_the_tool_says(phone: Viewer) -> None:
    phone.open(STACK)
    fingers = Fingers(phone)
    before = phone.text("bottom-right")
    fingers.drag(middle(phone), 60, 30)
    phone.until(lambda: before != phone.text("bottom-right"))
    assert "1 / 12" == phone.page.locator(".viewport .position").inner_text()
    scroll = phone.page.locator(".toolbar button[aria-label='Scroll']")
    scroll.click()
    expect(scroll).to_have_attribute("aria-pressed", "true", timeout=20_000)
    fingers.drag(middle(phone), 0, 72)
    phone.until(lambda: "1 / 12" != phone.page.locator(".viewport .position").inner_text())


def test_two_fingers_move_and_enlarge(phone: Viewer) -> None:
    phone.open(STACK)
    fingers = Fingers(phone)
    x, y = middle(phone)
    before, window = zoom(phone), phone.text("bottom-right").splitlines()[:-1]
    fingers.down((x - 40, y))
    fingers.down((x - 40, y), (x + 40, y))
    for step in range(1, 9):
        fingers.move((x - 40 - 5 * step, y), (x + 40 + 5 * step, y))
    fingers.up()
    assert zoom(phone) == pytest.approx(2 * before, rel=0.05)
    assert window == phone.text("bottom-right").splitlines()[:-1]  # the first finger had chosen nothing
    phone.page.wait_for_function("() => location.search.includes('zoom=')")
    fingers.down((x - 40, y))
    fingers.down((x - 40, y), (x + 40, y))
    for step in range(1, 9):
        fingers.move((x - 40, y + 5 * step), (x + 40, y + 5 * step))
    fingers.up()
    assert zoom(phone) == pytest.approx(2 * before, rel=0.05)
    phone.page.wait_for_function("() => Number(location.search.split('at=')[1]?.split(',')[1]) < 60")


def test_a_finger_that_rests_reads_the_value(phone: Viewer) -> None:
    phone.open(STACK)
    fingers = Fingers(phone)
    x, y = middle(phone)
    window = phone.text("bottom-right")
    fingers.down((x, y))
    value = phone.page.locator(".held-value")
    value.wait_for()
    first = value.inner_text()
    assert first.endswith(" HU")
    fingers.move((x + 60, y + 90))
    phone.page.wait_for_function("(first) => document.querySelector('.held-value').textContent !== first", arg=first)
    fingers.up()
    value.wait_for(state="detached")
    assert window == phone.text("bottom-right")  # nothing else was done


def test_a_length_is_drawn_by_finger(phone: Viewer) -> None:
    phone.open(STACK)
    phone.page.locator(".tool.wide[aria-label='Measure']").tap()
    phone.page.get_by_role("menuitem", name="Length M").tap()
    x, y = middle(phone)
    Fingers(phone).drag((x - 50, y), 100, 0)
    assert "mm" in (phone.page.locator(".shape-text").text_content() or "")


def small(viewer: Viewer) -> list[Any]:
    """Controls on the screen that are smaller than a finger, with their sizes."""
    found: list[Any] = viewer.page.evaluate(
        """(least) => [...document.querySelectorAll('button, a[href], select, input:not([type=file]), [role=menuitem]')]
          .filter((e) => e.checkVisibility() && !e.closest('[aria-hidden=true]') && !e.closest('tbody a'))
          .map((e) => [e.getAttribute('aria-label') || e.textContent || e.className, e.closest('label') ?? e])
          .map(([name, e]) => [name, e.getBoundingClientRect()])
          .map(([name, box]) => [name, Math.round(box.width), Math.round(box.height)])
          .filter(([, width, height]) => width < least || height < least)""",
        LEAST,
    )
    return found


def test_what_is_pressed_is_as_large_as_a_finger(phone: Viewer) -> None:
    phone.list()
    assert [] == small(phone)
    phone.open(STACK)
    assert [] == small(phone)
    for name in ("Window", "Measure", "Layout"):
        phone.page.locator(f".tool.wide[aria-label='{name}']").tap()
        phone.page.wait_for_selector(".menu:not([hidden])")
        assert [] == small(phone)
        menu = phone.page.locator(".menu:not([hidden])").bounding_box()
        assert menu
        assert menu["x"] >= 0
        assert menu["x"] + menu["width"] <= WIDTH
        phone.page.locator(f".tool.wide[aria-label='{name}']").tap()
    phone.page.locator(".toolbar button[aria-label='Keyboard map']").tap()
    phone.page.wait_for_selector("dialog[open]")
    assert [] == small(phone)


@pytest.fixture
def panes(chromium: Browser, volumes: str) -> Iterator[Viewer]:
    with watched(chromium, volumes, WIDTH, HEIGHT, has_touch=True, is_mobile=True) as page:
        page.page.add_init_script(volume_page.NO_WEBGL)
        yield page


def test_planes_by_finger(panes: Viewer) -> None:
    volume_page.go(panes, 2)
    for pane in panes.page.locator(".pane").all():
        box = pane.bounding_box()
        assert box
        assert 0 <= box["x"] <= box["x"] + box["width"] <= WIDTH
        assert 0 <= box["y"] <= box["y"] + box["height"] <= HEIGHT  # nothing is scrolled: fingers are for the planes
    fingers = Fingers(panes)
    x, y = crossing(panes, "axial")
    fingers.down((x - 45, y - 45))
    value = panes.page.locator(".held-value")
    value.wait_for()
    assert value.inner_text().endswith(" HU")
    fingers.up()
    value.wait_for(state="detached")
    # Near the crossing is near enough, for a finger.
    fingers.drag((x + 15, y + 12), 24, -16)
    volume_page.ready(panes)
    assert crossing(panes, "axial") == pytest.approx((x + 24, y - 16), abs=1.5)
    before = float(volume_page.state(panes, sagittal="")["sagittal"][-1])
    sx, sy = crossing(panes, "sagittal")
    fingers.down((sx - 30, sy - 60))
    fingers.down((sx - 30, sy - 60), (sx + 30, sy - 60))
    for step in range(1, 7):
        fingers.move((sx - 30 - 5 * step, sy - 60), (sx + 30 + 5 * step, sy - 60))
    fingers.up()
    panes.page.wait_for_function(
        "(before) => { const at = /sagittal:([^;]+)/.exec(location.search)?.[1].split(','); "
        "return at && Math.abs(Number(at.at(-1)) * 2 - before) < 0.05 * before }",
        arg=before,
    )


def test_planes_display_and_procedures_are_for_fingers(panes: Viewer) -> None:
    volume_page.go(panes, 2)
    assert [] == small(panes)
    assert WIDTH >= panes.page.evaluate("() => document.scrollingElement.scrollWidth")
    for path, shown in (("display", ".facts"), ("procedures", ".procedures-scroll[aria-busy=false]")):
        panes.page.goto(f"{panes.address}/{path}")
        panes.page.wait_for_selector(shown)
        assert [] == small(panes), path
        assert WIDTH >= panes.page.evaluate("() => document.scrollingElement.scrollWidth"), path


def test_nothing_is_wider_than_the_screen(phone: Viewer) -> None:
    for path in ("/", f"/view/{STACK}"):
        phone.page.goto(phone.address + path)
        phone.page.wait_for_selector("tbody tr, .viewport:not(.is-empty)")
        phone.settle()
        assert WIDTH >= phone.page.evaluate("() => document.scrollingElement.scrollWidth")
    # Every tool can be reached: the bar is scrolled by finger.
    last = phone.page.locator(".toolbar button").last
    last.scroll_into_view_if_needed()
    box = last.bounding_box()
    assert box
    assert box["x"] + box["width"] <= WIDTH
    assert objects.SLICES == int(phone.page.locator(".slices").get_attribute("max") or 0)


def test_the_list_is_sorted_without_heads_of_columns(chromium: Browser, address: str) -> None:
    def change(act: Callable[[], object], words: str, order: str) -> str:
        """The first row that comes in the order to be asked for: the list may look for news in the other."""
        with phone.page.expect_response(lambda answer: [order] == parse_qs(urlsplit(answer.url).query).get("orderby")):
            act()
        phone.page.wait_for_function("(words) => location.search === words", arg=words)
        phone.answered()
        return phone.page.locator("tbody tr .c-name").first.inner_text()

    screen = {"width": WIDTH, "height": HEIGHT, "has_touch": True, "is_mobile": True}
    with watched(chromium, address, tolerate="/thumbnail", **screen) as phone:  # of some nobody makes a picture
        phone.list()
        column, turn = phone.page.get_by_label("Sort by"), phone.page.locator(".order-turn")
        assert ("date", "Descending") == (column.input_value(), turn.get_attribute("aria-label"))
        first = change(lambda: column.select_option("name"), "?sort=name", "PatientName")
        assert "Ascending" == turn.get_attribute("aria-label")
        assert first != change(turn.tap, "?sort=-name", "-PatientName")
        assert ("name", "Descending") == (column.input_value(), turn.get_attribute("aria-label"))
        phone.page.set_viewport_size({"width": 1366, "height": 768})
        phone.page.locator(".order").wait_for(state="hidden")  # the heads of the columns do it
