"""An address is the view: opened anywhere it shows the same images in the same way, and a bad one is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import viewer_objects as objects
from viewer_page import Viewer, served, watched

import ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

STACK = "2.25.70001"
LINEAR = "2.25.700010"
STATE = "2.25.700010.2.1"
TABLES = "2.25.700061"
LONG = "2.25.700062"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    curve = (np.linspace(0, 1, 2000) ** 2 * 4095).astype(np.uint16)
    items = [objects.lut_item(-1000, curve, 12), objects.lut_item(-1000, curve[::-1].copy(), 12)]
    tables = objects.ct(61, "TABLES", VOILUTSequence=items)
    sigmoid = objects.ct(63, "SIGMOID", WindowCenter=0, WindowWidth=600, VOILUTFunction="SIGMOID")
    second = objects.ct(10, "LINEAR", WindowCenter=100, WindowWidth=300, SeriesDescription="Second")
    second.SeriesInstanceUID = "2.25.700010.3"
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "2.25.700010.3.1"
    long = []
    for k in range(80):
        ds = objects.ct(62, "LONG", InstanceNumber=k + 1)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{LONG}.1.{k + 1}"
        long.append(ds)
    made = [*objects.stack(), objects.greys()[0], objects.state(), second, tables, sigmoid, *long]
    files = [objects.encoded(ds) for ds in made]
    with ours.background(lambda: served(tmp_path_factory.mktemp("addresses"), files)) as url:
        yield url


def remembered(viewer: Viewer, *words: str) -> str:
    """The address, when it has come to say these words and what was done last; below the server's name."""
    # Longer than ADDRESS_DELAY of viewer.js: a timer that was set before is over by then, however slow the page is.
    viewer.page.evaluate("() => new Promise((done) => setTimeout(done, 500))")
    viewer.page.wait_for_function(
        "(words) => words.every((word) => (location.pathname + location.search).includes(word))", arg=list(words)
    )
    return viewer.page.url.removeprefix(f"{viewer.address}/view/")


def canvases(viewer: Viewer) -> list[np.ndarray[Any, Any]]:
    viewer.settle()
    count = viewer.page.locator("canvas.picture").count()
    return [viewer.canvas(f".grid > :nth-child({k + 1}) canvas.picture") for k in range(count)]


def said(viewer: Viewer) -> list[str]:
    found: list[str] = viewer.page.locator(".viewport .bottom-left, .viewport .bottom-right").all_inner_texts()
    return found


def same(first: list[np.ndarray[Any, Any]], second: list[np.ndarray[Any, Any]], exact: bool) -> None:
    """A zoom has six digits in the address: where pixels are resampled a grey may round the other way."""
    assert [one.shape for one in first] == [one.shape for one in second]
    for one, other in zip(first, second, strict=True):
        assert one.max() > one.min()
        difference = np.abs(one.astype(int) - other)
        assert difference.max() <= (0 if exact else 1)


def drag(viewer: Viewer, dx: float, dy: float, button: Any = "left") -> None:
    box = viewer.page.locator(".viewport.is-active").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down(button=button)
    viewer.page.mouse.move(x + dx, y + dy, steps=4)
    viewer.page.mouse.up(button=button)
    viewer.settle()


@pytest.mark.parametrize("exact", [True, False], ids=["pixel by pixel", "resampled"])
def test_an_address_opens_the_same_picture_on_a_fresh_page(chromium: Browser, address: str, exact: bool) -> None:
    with watched(chromium, address) as viewer:
        viewer.open(STACK)
        viewer.press("End", "ArrowUp", "i", "t", "h")
        viewer.shown()
        if exact:
            viewer.press("a", "=", "=", "a")
        else:
            drag(viewer, 0, -37, "right")
        drag(viewer, 61, -23, "middle")
        drag(viewer, 33, 17)
        zoom = "zoom=1:1" if exact else "zoom=1."
        path = remembered(viewer, f"{STACK}.1.11", "window=", "invert=1", "turn=1", "flip=y", zoom, "at=")
        before, words = canvases(viewer), said(viewer)
    with watched(chromium, address) as viewer:
        viewer.open(path)
        same(before, canvases(viewer), exact)
        assert words == said(viewer)
        # The address stays what it was: nothing is rounded twice.
        viewer.press("ArrowDown", "ArrowUp")
        viewer.shown()
        assert path == remembered(viewer, f"{STACK}.1.11")


def test_every_cell_is_opened_as_it_was_shown(chromium: Browser, address: str) -> None:
    with watched(chromium, address) as viewer:
        viewer.open(LINEAR)
        viewer.press("l")
        viewer.page.wait_for_selector(".viewport:nth-child(2):not(.is-loading) .bottom-right:has-text('128')")
        viewer.press("2", "a", "t")
        viewer.press("Shift+ArrowRight", "5", "v")
        drag(viewer, 20, 30, "middle")
        path = remembered(
            viewer, "grid=2x1", "cell=2", ";window:-600,1500;turn:1;zoom:1:1", "window=40,80", "flip=y", "at="
        )
        before, words = canvases(viewer), said(viewer)
    with watched(chromium, address) as viewer:
        viewer.open(path)
        viewer.page.wait_for_function(
            "(n) => document.querySelectorAll('.viewport:not(.is-loading) .scale-bar:not([hidden])').length === n",
            arg=2,
        )
        viewer.page.wait_for_function(
            "(words) => JSON.stringify([...document.querySelectorAll(':is(.bottom-left, .bottom-right)')]"
            ".map((e) => e.innerText)) === JSON.stringify(words)",
            arg=words,
        )
        same(before, canvases(viewer), exact=False)
        assert path == remembered(viewer, "cell=2")


def test_a_presentation_state_is_in_the_address(chromium: Browser, address: str) -> None:
    with watched(chromium, address) as viewer:
        viewer.open(f"{LINEAR}/{LINEAR}.1")
        viewer.page.wait_for_selector(".toolbar button[aria-label^='Segmentations']:not([hidden])")
        plain = canvases(viewer)
        viewer.press("Shift+O")
        viewer.page.locator(".layers-panel input[type=radio]").nth(1).check()
        viewer.shown()
        viewer.press("Shift+O")  # the panel is not of the view
        path = remembered(viewer, f"state={STATE}")
        viewer.shown()
        before, words = canvases(viewer), said(viewer)
        assert not np.array_equal(plain[0], before[0])
    with watched(chromium, address) as viewer:
        viewer.open(path)
        same(before, canvases(viewer), exact=True)
        assert words == said(viewer)


@pytest.mark.parametrize(
    ("study", "press", "words"),
    [(TABLES, "menu", "lut=2"), ("2.25.700063", "drag", ",SIGMOID")],
    ids=["second table", "sigmoid"],
)
def test_the_kind_of_greys_is_kept(chromium: Browser, address: str, study: str, press: str, words: str) -> None:
    with watched(chromium, address) as viewer:
        viewer.open(study)
        first = canvases(viewer)
        if press == "menu":
            viewer.page.get_by_role("button", name="Window", exact=True).click()
            viewer.page.get_by_role("menuitem", name="HOCKEY STICK").nth(1).click()
        else:
            drag(viewer, 40, 12)
        # Another table may be on its way.
        viewer.until(lambda: not np.array_equal(first[0], canvases(viewer)[0]))
        path = remembered(viewer, words)
        before = canvases(viewer)
    with watched(chromium, address) as viewer:
        viewer.open(path)
        same(before, canvases(viewer), exact=True)


def test_another_screen_shows_the_same_part(chromium: Browser, address: str) -> None:
    middle = """() => { const box = document.querySelector('.shapes').getBoundingClientRect();
      const zoom = document.querySelector('.bottom-right').innerText.match(/(\\d+) %/)[1];
      return zoom / Math.min(box.width, box.height); }"""
    found = []
    for width, height in ((1366, 768), (900, 1100)):
        with watched(chromium, address, width, height) as viewer:
            viewer.open(f"{LINEAR}/{LINEAR}.1?zoom=3&at=40,90.5")
            found.append(viewer.page.evaluate(middle))
            assert "at=40,90.5" in viewer.page.url
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_scrolling_replaces_the_address_and_costs_nothing_a_frame(viewer: Viewer) -> None:
    viewer.page.add_init_script(
        "window.calls = {push: 0, replace: 0}; for (const name of ['push', 'replace']) {"
        " const own = history[`${name}State`]; history[`${name}State`] = function (...a) { window.calls[name] += 1;"
        " return own.apply(this, a); }; }"
    )
    viewer.open(LONG)
    remembered(viewer, f"{LONG}.1.1")
    before = viewer.page.evaluate("() => window.calls")
    # All within one task for each: no pause in which somebody could think that scrolling has ended.
    viewer.page.evaluate(
        """async () => {
          const target = document.querySelector('.viewport');
          for (let k = 0; k < 60; k += 1) {
            target.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }));
            if (k % 10 === 9) await new Promise(requestAnimationFrame);
          }
        }"""
    )
    remembered(viewer, f"{LONG}.1.61")
    after = viewer.page.evaluate("() => window.calls")
    assert before["push"] == after["push"]
    # One at the end; a slow machine may pause between the six frames.
    assert 1 <= after["replace"] - before["replace"] <= 6


IN_VAIN = [
    ("view/%3Cscript%3E", "This address names nothing here"),
    ("view/", "This address names nothing here"),
    (f"view/{STACK}?window=wide&zoom=-1&at=5", "left out: window, zoom, at"),
    (f"view/{STACK}?turn=9&flip=z&invert=maybe&frame=0&state=%3Cb%3E", "frame, invert, turn, flip, state"),
    (f"view/{STACK}/x%22onload", "left out: series"),
    (f"view/{STACK}/{STACK}.1/{STACK}.1.99", "is not in this series"),
    (f"view/{LINEAR}?state=1.2.3", "is not of this image"),
    (f"view/{LINEAR}?grid=2x1&in=&in=<b>/1", "left out: in"),
    (f"view/{LINEAR}?grid=9x9", "left out: grid"),
]


def test_what_an_address_says_in_vain_is_told(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="404 (Not Found)") as viewer:  # for the image that is not there
        for path, told in IN_VAIN:
            viewer.page.goto(f"{viewer.address}/{path}")
            viewer.page.wait_for_selector(f".toast:has-text({told!r})")
            if path.startswith("view/2"):
                viewer.shown()
            else:
                viewer.page.wait_for_selector("tbody tr")


def test_a_series_that_is_not_there(chromium: Browser, address: str) -> None:
    with watched(chromium, address, tolerate="404") as viewer:
        viewer.page.goto(f"{viewer.address}/view/{STACK}/1.2.3.4")
        viewer.page.wait_for_selector(".toast:has-text('is not in this study')")
        viewer.shown()
        assert not viewer.page.locator(".page-problem").is_visible()
        # In a cell beside another it is told, and the other stays.
        viewer.page.goto(f"{viewer.address}/view/{LINEAR}/{LINEAR}.1?grid=2x1&in=&in=1.2.3.4/1.2.3.5")
        viewer.page.wait_for_selector(".toast.is-problem")
        viewer.shown()
        assert not viewer.page.locator(".page-problem").is_visible()
