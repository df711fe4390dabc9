"""The first image comes with the page: what a browser asks for before it, in which order, and what it keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import numpy as np
import pytest
import viewer_objects as objects
from test_viewer_touch import Fingers
from viewer_page import Viewer, served, watched

import ours
from isocenter.net.identity import set_user
from isocenter.web import pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request, Route

pytestmark = pytest.mark.browser

STUDY = "2.25.70001"
FIRST_MARK = "() => performance.getEntriesByName('isocenter-first-image').length > 0"
BUSY = "main[aria-busy] canvas.picture"
READY = "main.viewer-page:not([aria-busy]) .toolbar"
FRAME = re.compile(r"/instances/[0-9.]+/frames/1\?accept=")
BOX = "() => document.querySelector('canvas.picture').getBoundingClientRect().toJSON()"


@dataclass
class Asked:
    """Paths that a page asked its server for, in their order."""

    paths: list[str] = field(default_factory=list)

    def note(self, request: Request) -> None:
        self.paths.append(urlsplit(request.url).path)

    def modules(self) -> set[str]:
        return {path.split("/js/")[1] for path in self.paths if "/js/" in path}

    def index(self, end: str) -> int:
        return next(i for i, path in enumerate(self.paths) if path.endswith(end))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine finds the first image, too, which a page otherwise leaves out."""
    monkeypatch.setattr(pages, "PATIENCE", 60.0)


@pytest.fixture
def asked(viewer: Viewer) -> Asked:
    asked = Asked()
    viewer.page.on("request", asked.note)
    return asked


class Held:
    """Requests whose answers do not come before `release`."""

    def __init__(self, viewer: Viewer, pattern: str) -> None:
        self.routes: list[Route] = []
        self._open = False
        viewer.page.route(pattern, self._come)

    def _come(self, route: Route) -> None:
        if self._open:
            route.continue_()
        else:
            self.routes.append(route)

    def release(self) -> None:
        self._open = True
        for route in self.routes:
            route.continue_()


def test_the_frame_is_asked_for_before_any_module_has_come(viewer: Viewer, asked: Asked) -> None:
    """The browser knows of it from the page itself: it goes out while every module is held back."""
    modules = Held(viewer, "**/js/**")
    with viewer.page.expect_response(FRAME) as frame:
        viewer.page.goto(f"{viewer.address}/view/{STUDY}", wait_until="commit")
    assert "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1" == frame.value.headers["content-type"]
    viewer.until(lambda: modules.routes)
    assert not any(path.endswith("/series") for path in asked.paths)
    modules.release()
    viewer.shown()
    assert 1 == sum("/frames/1" in path for path in asked.paths[: asked.index("/series")])
    assert 1 == sum(path.endswith(f"{STUDY}.1.1/frames/1") for path in asked.paths), "it is fetched once"


def test_the_first_rows_of_the_list_are_asked_for_before_any_module_has_come(viewer: Viewer, asked: Asked) -> None:
    """And once: what the page names is letter by letter what the list asks for."""
    modules = Held(viewer, "**/js/**")
    with viewer.page.expect_response("**/dicomweb/studies?*") as rows, viewer.page.expect_response("**/tally?"):
        viewer.page.goto(f"{viewer.address}/", wait_until="commit")
    assert "application/dicom+json" == rows.value.headers["content-type"]
    with viewer.page.expect_response("**/dicomweb/events?*"):
        modules.release()
        viewer.page.wait_for_selector("tbody tr .c-id")
    before = asked.paths[: asked.index("/dicomweb/events")]  # then the list looks what came meanwhile
    assert (1, 1) == tuple(sum(path.endswith(end) for path in before) for end in ("/dicomweb/studies", "/tally"))


def test_the_image_does_not_wait_for_the_viewer_around_it(viewer: Viewer, asked: Asked) -> None:
    """Nor for the series it is in; both come to where it is, and nothing moves."""
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_function(FIRST_MARK)
    viewer.page.wait_for_selector(BUSY)
    for module in ("viewer.js", "tools.js", "measure/book.js", "panels/series.js", "volume/offer.js", "layout.js"):
        assert module not in asked.modules() or asked.index("/js/first.js") < asked.index(f"/js/{module}")
    before, painted = viewer.page.evaluate(BOX), viewer.canvas()
    assert painted.max() > 100
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.shown()
    assert 1 == viewer.page.locator("canvas.picture").count()
    assert before == viewer.page.evaluate(BOX)
    assert (painted == viewer.canvas()).all()
    assert "1 / " in viewer.text("bottom-left")


@pytest.mark.parametrize(
    "study",
    [
        *("2.25.700010", "2.25.700011", "2.25.700012", "2.25.700016", "2.25.700017", "2.25.700019"),  # numbers say all
        *("2.25.700014", "2.25.700020", "2.25.700021"),  # the server makes the picture: a table, a shutter, overlays
    ],
)
def test_the_first_image_is_what_the_viewer_shows(viewer: Viewer, study: str) -> None:
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.goto(f"{viewer.address}/view/{study}")
    viewer.page.wait_for_selector(BUSY)
    viewer.page.wait_for_function(FIRST_MARK)
    painted = viewer.canvas()
    assert len(np.unique(painted)) > 1
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.shown()
    assert (painted == viewer.canvas()).all()


def test_keys_that_come_before_the_viewer_are_kept_for_it(viewer: Viewer) -> None:
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_function(FIRST_MARK)
    for key in ("ArrowDown", "ArrowDown", "x", "ArrowDown", "i"):
        viewer.page.keyboard.press(key)
    upright = viewer.canvas()
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.page.locator("output.position", has_text=f"4 / {objects.SLICES}").wait_for()
    viewer.shown()
    assert not (upright == viewer.canvas()).all()
    viewer.press("ArrowDown")
    viewer.page.locator("output.position", has_text=f"5 / {objects.SLICES}").wait_for()


def test_the_wheel_that_turns_before_the_viewer_is_kept_for_it_with_the_keys(viewer: Viewer) -> None:
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.add_init_script("window.turned = 0; addEventListener('wheel', () => { window.turned += 1; }, true);")
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_function(FIRST_MARK)
    viewer.page.mouse.move(700, 400)
    for turned in range(1, 4):
        viewer.page.mouse.wheel(0, 100)
        viewer.page.wait_for_function("(turned) => window.turned === turned", arg=turned)
        if turned == 1:
            viewer.page.keyboard.press("End")
        elif turned == 2:
            viewer.page.keyboard.press("Home")
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.page.locator("output.position", has_text=f"2 / {objects.SLICES}").wait_for()
    viewer.page.mouse.wheel(0, 100)
    viewer.page.locator("output.position", has_text=f"3 / {objects.SLICES}").wait_for()


def greys(viewer: Viewer) -> str:
    """The window as it stands beside the picture; "" as long as there is none."""
    told = str(viewer.page.evaluate("() => document.querySelector('.viewport .bottom-right')?.innerText ?? ''"))
    return next((line for line in told.splitlines() if line.startswith("W ")), "")


def dragged(chromium: Browser, address: str, *ways: tuple[tuple[int, int], ...]) -> str:
    """The window after drags with a viewer that is there."""
    with watched(chromium, address) as viewer:
        viewer.open(STUDY)
        for way in ways:
            viewer.page.mouse.move(*way[0])
            viewer.page.mouse.down()
            for x, y in way[1:]:
                viewer.page.mouse.move(x, y)
            viewer.page.mouse.up()
        viewer.settle()
        return greys(viewer)


def test_a_drag_that_begins_before_the_viewer_goes_on_with_it(chromium: Browser, viewer: Viewer) -> None:
    way, further = ((600, 300), (650, 400), (500, 320), (670, 335)), (720, 360)
    begun, gone_on = dragged(chromium, viewer.address, way), dragged(chromium, viewer.address, (*way, further))
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_function(FIRST_MARK)
    mouse = viewer.page.mouse
    mouse.move(*way[0])
    mouse.down()
    for x, y in way[1:]:
        mouse.move(x, y)
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.until(lambda: greys(viewer) == begun)
    mouse.move(*further)
    viewer.until(lambda: greys(viewer) == gone_on)
    mouse.up()
    mouse.move(500, 500)
    viewer.settle()
    assert greys(viewer) == gone_on


def test_drags_that_end_before_the_viewer_are_kept_for_it_in_their_order(viewer: Viewer) -> None:
    """One before and one behind keys that choose another tool, with the right button between: no menu comes."""
    rest = Held(viewer, "**/js/viewer.js")
    viewer.page.add_init_script(
        "window.menus = [];"
        "addEventListener('contextmenu', (event) => setTimeout(() => menus.push(event.defaultPrevented)));"
    )
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_function(FIRST_MARK)
    before = viewer.canvas()
    buttons: list[tuple[str, Literal["left", "right"]]] = [("s", "left"), ("w", "right")]
    for key, button in buttons:
        viewer.page.keyboard.press(key)
        viewer.page.mouse.move(600, 300)
        viewer.page.mouse.down(button=button)
        viewer.page.mouse.move(600, 400)
        viewer.page.mouse.up(button=button)
    rest.release()
    viewer.page.wait_for_selector(READY)
    viewer.page.wait_for_function("() => menus.length > 0")
    assert [True] == viewer.page.evaluate("() => menus")
    there = viewer.page.locator("output.position")
    viewer.until(lambda: int(there.inner_text().split()[0]) > 3)
    viewer.shown()
    zoomed = viewer.text("bottom-right").splitlines()[-1]
    viewer.press("f")
    assert zoomed != viewer.text("bottom-right").splitlines()[-1]
    assert not (before == viewer.canvas()).all()


def test_fingers_that_come_before_the_viewer_are_kept_for_it(chromium: Browser, address: str) -> None:
    """One that is lifted meanwhile, and one that goes on; the browser keeps neither for itself."""
    first, second = ((600, 300), (640, 310), (660, 330)), ((600, 300), (640, 320), (670, 340))
    reference = dragged(chromium, address, first, second)
    with watched(chromium, address, has_touch=True) as viewer:
        rest = Held(viewer, "**/js/viewer.js")
        viewer.page.goto(f"{viewer.address}/view/{STUDY}")
        viewer.page.wait_for_function(FIRST_MARK)
        fingers = Fingers(viewer)
        fingers.down(first[0])
        fingers.move(first[1])
        fingers.move(first[2])
        fingers.up()
        fingers.down(second[0])
        fingers.move(second[1])
        rest.release()
        viewer.page.wait_for_selector(READY)
        viewer.shown()
        fingers.move(second[2])
        viewer.until(lambda: greys(viewer) == reference)
        fingers.up()
        viewer.press("ArrowDown")
        viewer.page.locator("output.position", has_text=f"2 / {objects.SLICES}").wait_for()


@pytest.mark.parametrize(
    "path", [f"{STUDY}/{STUDY}.1/{STUDY}.1.6", f"{STUDY}/{STUDY}.1", f"{STUDY}/{STUDY}.1/{STUDY}.1.6?window=300,1500"]
)
def test_any_address_of_an_image_shows_it_as_before(viewer: Viewer, asked: Asked, path: str) -> None:
    viewer.open(path)
    assert ("6 / " if "1.6" in path else "1 / ") in viewer.text("bottom-left")
    frames = [one for one in asked.paths if one.endswith((f"{STUDY}.1.6/frames/1", f"{STUDY}.1.1/frames/1"))]
    assert len(frames) == len(set(frames))


def test_what_is_stored_and_no_image_that_the_browser_greys_is_not_foretold(viewer: Viewer) -> None:
    for study in ("1.2.3.4.5.6.7", "2.25.1", "x"):
        page = viewer.page.request.get(f"{viewer.address}/view/{study}").text()
        assert "data-first" not in page
        assert 'as="fetch"' not in page


def test_the_frame_that_fails_is_told_of_by_the_viewer(viewer: Viewer) -> None:
    viewer.page.route(FRAME, lambda route: route.fulfill(status=500, body="{}"))
    viewer.page.goto(f"{viewer.address}/view/{STUDY}")
    viewer.page.wait_for_selector(".viewport-message:visible")
    viewer.page.wait_for_selector(READY)
    viewer.problems.clear()  # the failed requests themselves
    viewer.page.unroute(FRAME)
    viewer.page.click(".viewport-message .button")
    viewer.shown()


def test_a_second_visit_asks_for_no_file_again(viewer: Viewer) -> None:
    def came() -> dict[str, int]:
        """Bytes that came over the network for each file of the viewer that is here by now."""
        found: list[tuple[str, int]] = viewer.page.evaluate(
            "() => performance.getEntriesByType('resource').map((e) => [new URL(e.name).pathname, e.transferSize])"
        )
        return {path: size for path, size in found if path.startswith("/static/")}

    viewer.open(STUDY)
    first = came()
    assert any(path.endswith("/js/first.js") and size for path, size in first.items())
    viewer.page.goto("about:blank")
    viewer.open(STUDY)
    again = came()
    assert any(path.endswith("/js/first.js") for path in again)
    assert {} == {path: size for path, size in again.items() if size and path in first}


def test_a_page_from_before_an_upgrade_goes_on(viewer: Viewer) -> None:
    """Its version's modules are gone: it gets those of now for what it has not loaded yet."""
    old = "0123456789abcdef"
    viewer.page.route("**/view/*", lambda route: _aged(route, old))
    viewer.open(STUDY)
    assert old in viewer.page.evaluate("() => document.querySelector('script').src")
    viewer.press("?")
    viewer.page.wait_for_selector(".dialog, dialog")
    viewer.press("Escape", "d")
    viewer.page.wait_for_selector(".header-panel td.tag")


def _aged(route: Route, version: str) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=re.sub(r"static/[0-9a-f]{16}/", f"static/{version}/", answer.text()))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that asks who one is."""
    folder = tmp_path_factory.mktemp("guarded")
    set_user(folder / "users", "anna", "right")
    files = [objects.encoded(ds) for ds in objects.stack()]
    with ours.background(lambda: served(folder / "data", files, web_users=str(folder / "users"))) as url:
        yield url


def test_who_signed_in_gets_the_first_image_with_the_page_too(chromium: Browser, guarded: str, tmp_path: Path) -> None:
    with watched(chromium, guarded, tolerate="status of 401") as page:
        asked = Asked()
        page.page.on("request", asked.note)
        page.page.goto(f"{guarded}/view/{STUDY}")
        page.page.wait_for_selector("#user:visible")
        assert not any("/dicomweb/" in path for path in asked.paths), "nobody tells a stranger what there is"
        page.page.fill("#user", "anna")
        page.page.fill("#passcode", "right")
        refused: list[int] = []
        page.page.on("response", lambda answer: refused.append(answer.status) if answer.status >= 400 else None)
        page.page.click("#enter")
        page.shown()
        assert [] == refused
        assert 1 == sum(path.endswith(f"{STUDY}.1.1/frames/1") for path in asked.paths)
        assert asked.index("/frames/1") < asked.index("/series")
