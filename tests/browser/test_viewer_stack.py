"""A study on the screen: scroll, window, view, cine, panels, addresses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import viewer_objects as objects
from viewer_page import Viewer, round_half_up

pytestmark = pytest.mark.browser

STACK = "2.25.70001"
CINE = objects.FOLDER / "examples_ybr_color.dcm"


def position(viewer: Viewer) -> str:
    found: str = viewer.page.locator(".scrub .position").inner_text()
    return found


def bright_slice(viewer: Viewer) -> int:
    """Which slice is painted, by the bright rows that only it has; from 1."""
    greys = viewer.pixels(128, 128)[..., 0].mean(axis=1)
    return int(np.argmax(greys)) // 8 + 1


def window(viewer: Viewer) -> tuple[int, int]:
    found = re.search(r"W (-?\d+)\s+L (-?\d+)", viewer.text("bottom-right"))
    assert found
    return int(found[1]), int(found[2])


def watch_position(viewer: Viewer) -> None:
    """From now on window.seen gathers the places in the stack."""
    viewer.page.evaluate(
        """() => {
          window.seen = [];
          const position = document.querySelector('.scrub .position');
          const seen = () => window.seen.push(parseInt(position.textContent));
          new MutationObserver(seen).observe(position, { childList: true });
        }"""
    )


def drag(viewer: Viewer, dx: int, dy: int, button: str = "left") -> None:
    box = viewer.page.locator(".viewport").first.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down(button=button)
    viewer.page.mouse.move(x + dx, y + dy, steps=4)
    viewer.page.mouse.up(button=button)
    viewer.settle()


def test_opening_a_study_shows_its_first_image_and_its_series(viewer: Viewer) -> None:
    viewer.list("?q=hong")
    viewer.page.click("tbody tr")
    viewer.shown()
    assert "1 / 12" == position(viewer)
    assert 1 == bright_slice(viewer)
    assert "Axial" in viewer.page.locator(".series-card").inner_text()
    viewer.page.wait_for_selector(".thumb.has-image")
    assert "Hong, Gildong" in viewer.text("top-left")
    assert "Chest with contrast" in viewer.text("top-right")


def test_scrolling_by_wheel_keys_and_slider(viewer: Viewer) -> None:
    viewer.open(STACK)
    box = viewer.page.locator(".viewport").bounding_box()
    assert box
    viewer.page.mouse.move(box["x"] + 300, box["y"] + 300)
    viewer.page.mouse.wheel(0, 120)
    viewer.page.mouse.wheel(0, 120)
    viewer.page.wait_for_function("() => document.querySelector('.scrub .position').textContent === '3 / 12'")
    viewer.shown()
    assert 3 == bright_slice(viewer)
    viewer.press("ArrowDown", "ArrowRight", "ArrowUp")
    assert "4 / 12" == position(viewer)
    viewer.press("End")
    viewer.shown()
    assert 12 == bright_slice(viewer)
    viewer.press("Home", "Shift+ArrowDown")
    assert "11 / 12" == position(viewer)
    viewer.page.locator(".slices").fill("7")
    viewer.shown()
    assert 7 == bright_slice(viewer)


def test_a_stack_is_fetched_from_the_shown_slice_outwards(viewer: Viewer) -> None:
    """Two ahead for one behind, until all are there; each once."""
    asked: list[int] = []
    viewer.page.on(
        "request", lambda one: asked.extend(int(number) for number in re.findall(r"\.1\.(\d+)/frames/1\?", one.url))
    )
    with viewer.page.expect_request(re.compile(r"\.1\.1/frames/1\?")):  # the last of them
        viewer.open(f"{STACK}/2.25.70001.1/2.25.70001.1.6")
    viewer.shown()
    assert [6, 7, 8, 5, 9, 10, 4, 11, 12, 3, 2, 1] == asked


def test_window_by_dragging(viewer: Viewer) -> None:
    viewer.open(STACK)
    assert (400, 40) == window(viewer)
    drag(viewer, 40, 20)
    width, center = window(viewer)
    assert 430 < width < 460
    assert 55 < center < 70
    drag(viewer, -400, 0)
    assert window(viewer)[0] < 250


def test_presets_header_windows_and_invert(viewer: Viewer) -> None:
    viewer.open(STACK)
    assert "SOFT" in viewer.text("bottom-right")
    background = viewer.pixels(128, 128)[-1, -1, 0]
    viewer.press("2")
    assert (1500, -600) == window(viewer)
    assert "Lung" in viewer.text("bottom-right")
    assert viewer.pixels(128, 128)[-1, -1, 0] > background
    viewer.press("i")
    inverted = viewer.pixels(128, 128)[-1, -1, 0]
    viewer.press("i")
    assert 255 == int(inverted) + int(viewer.pixels(128, 128)[-1, -1, 0])
    viewer.page.click(".tool.wide")
    viewer.page.click(".menu-item:has-text('AIR')")
    viewer.settle()
    assert (1500, -600) == window(viewer)
    viewer.press("0")
    assert (400, 40) == window(viewer)


def test_zoom_pan_turn_mirror_and_reset(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    whole = viewer.canvas()
    original = viewer.pixels(128, 128)
    viewer.press("t")
    assert np.array_equal(np.rot90(original, -1), viewer.pixels(128, 128))
    viewer.press("Shift+T", "h")
    assert np.array_equal(original[:, ::-1], viewer.pixels(128, 128))
    viewer.press("h", "v")
    assert np.array_equal(original[::-1], viewer.pixels(128, 128))
    viewer.press("r")
    assert np.array_equal(whole, viewer.canvas())
    drag(viewer, 0, -60, button="right")
    assert not np.array_equal(whole, viewer.canvas())
    viewer.press("f")
    assert np.array_equal(whole, viewer.canvas())
    viewer.press("a")
    drag(viewer, 50, 30, button="middle")
    height, width = whole.shape[:2]
    top, left = round(height / 2 - 64) + 30, round(width / 2 - 64) + 50
    assert np.array_equal(original, viewer.canvas()[top : top + 128, left : left + 128])


def test_markers_turn_with_the_picture(viewer: Viewer) -> None:
    def edges() -> list[str]:
        return [viewer.page.locator(f".edge.{side}").inner_text() for side in ("top", "right", "bottom", "left")]

    viewer.open(STACK)
    assert ["A", "L", "P", "R"] == edges()
    viewer.press("t")
    assert ["R", "A", "L", "P"] == edges()
    viewer.press("h")
    assert ["R", "P", "L", "A"] == edges()
    assert "cm" in viewer.page.locator(".scale-bar").inner_text()


def test_cine_plays_at_the_headers_rate(viewer: Viewer) -> None:
    import pydicom

    ds = pydicom.dcmread(CINE, stop_before_pixels=True)
    viewer.open(f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}")
    viewer.page.wait_for_selector("button[aria-label=Pause]")
    rate = viewer.page.locator(".rate").inner_text()
    assert f"{round(1000 / ds.FrameTime)} fps" == rate
    watch_position(viewer)
    viewer.page.wait_for_function("() => new Set(window.seen).size >= 4")
    viewer.press("Space")
    stopped = position(viewer)
    viewer.page.wait_for_timeout(200)
    assert stopped == position(viewer)
    viewer.press("]")
    assert rate != viewer.page.locator(".rate").inner_text()


def test_header_panel_filters(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    everything = viewer.page.locator(".header-panel tbody tr").count()
    viewer.page.keyboard.type("patient name")
    viewer.settle()
    rows = viewer.page.locator(".header-panel tbody tr")
    assert 1 == rows.count()
    assert everything > 50
    assert ["(0010,0010)", "Patient Name", "PN", "Hong^Gildong=洪^吉洞=홍^길동"] == rows.locator("td").all_inner_texts()
    viewer.page.locator(".header-panel input").fill("0028,1050")
    viewer.settle()
    assert "40\\-600" == rows.locator("td.value").inner_text()


def test_header_follows_the_slice(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.press("d")
    viewer.page.locator(".header-panel input").fill("instance number")
    value = viewer.page.locator(".header-panel td.value")
    assert "1" == value.inner_text()
    viewer.page.locator(".viewport").focus()
    viewer.press("End")
    viewer.page.wait_for_function("() => document.querySelector('.header-panel td.value').textContent === '12'")


def test_a_copied_address_opens_the_same_image(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.press("End", "ArrowUp", "2", "i")
    viewer.shown()
    before = viewer.pixels(128, 128)
    viewer.page.wait_for_url("**/view/2.25.70001/*/2.25.70001.1.11?window=-600,1500&invert=1&zoom=1:1")
    viewer.page.goto("about:blank")
    viewer.page.go_back()
    viewer.shown()
    assert "11 / 12" == position(viewer)
    assert np.array_equal(before, viewer.pixels(128, 128))


def test_an_address_of_a_frame(viewer: Viewer) -> None:
    import pydicom

    ds = pydicom.dcmread(CINE, stop_before_pixels=True)
    viewer.open(f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}?frame=17")
    assert "17 / 30" == position(viewer)


def test_keyboard_map_shows_every_key(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.press("?")
    dialog = viewer.page.locator("dialog.help")
    dialog.wait_for()
    text = dialog.inner_text()
    for words in ("Next image", "Presets of the modality", "Invert", "Play or pause", "Header", "Actual pixels"):
        assert words in text
    viewer.press("i")
    assert "inverted" not in viewer.text("bottom-right")
    viewer.press("Escape")
    dialog.wait_for(state="detached")
    assert "/view/" in viewer.page.url


def test_letters_work_under_a_korean_input_method(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.page.evaluate(
        "() => document.dispatchEvent(new KeyboardEvent('keydown', { key: 'ㅑ', code: 'KeyI', bubbles: true }))"
    )
    viewer.settle()
    assert "inverted" in viewer.text("bottom-right")


def test_an_object_without_picture(viewer: Viewer) -> None:
    import pydicom

    ds = pydicom.dcmread(objects.FOLDER / "rtplan.dcm", stop_before_pixels=True)
    viewer.page.goto(f"{viewer.address}/view/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}")
    viewer.page.wait_for_selector("text=No image")
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    assert viewer.page.locator(".header-panel tbody tr").count() > 20


def test_a_study_that_is_not_there(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.address}/view/1.2.3.4")
    viewer.page.wait_for_selector("text=There is no such study")
    viewer.page.click(".page-problem button")
    viewer.page.wait_for_selector("tbody tr")


def test_two_by_two(viewer: Viewer) -> None:
    viewer.open(STACK)
    viewer.press("l", "l")
    assert 4 == viewer.page.locator(".viewport").count()
    viewer.page.locator(".viewport").nth(2).click()
    viewer.page.locator(".series-open").click()
    viewer.page.wait_for_function(
        "() => document.querySelectorAll('.viewport')[2].querySelector('.bottom-right').textContent !== ''"
    )
    viewer.press("Shift+L", "Shift+L")
    assert 1 == viewer.page.locator(".viewport").count()


def test_text_belongs_to_the_picture_while_the_next_one_is_on_its_way(viewer: Viewer) -> None:
    """A slow answer must not put one slice's position beside another slice's picture."""
    held: list[Any] = []
    released = ["/2.25.70001.1.1/"]

    def answer(route: Any) -> None:
        if any(name in route.request.url for name in released):
            route.continue_()
        else:
            held.append(route)

    viewer.page.route(re.compile(r"/frames/1\?"), answer)
    viewer.open(f"{STACK}/2.25.70001.1/2.25.70001.1.1")
    viewer.press("End")
    assert "12 / 12" == position(viewer)
    assert "1 / 12" in viewer.text("bottom-left")
    assert 1 == bright_slice(viewer)
    viewer.until(lambda: any("/2.25.70001.1.12/" in route.request.url for route in held))
    released.append("/frames/")
    for route in held:
        route.continue_()
    viewer.shown()
    assert "12 / 12" in viewer.text("bottom-left")
    assert 12 == bright_slice(viewer)


def test_the_magnifying_glass_shows_the_pixels_around_the_pointer(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    original = viewer.pixels(128, 128)
    box = viewer.page.locator(".viewport").bounding_box()
    assert box
    factor = 2.5  # and one screen pixel for one of the image, since "a" was pressed
    x, y = box["x"] + round(box["width"] / 2) + 10, box["y"] + round(box["height"] / 2) - 20
    viewer.press("x")
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.settle()
    lens = viewer.canvas("canvas.lens")
    assert (240, 240, 3) == lens.shape
    left, top = round_half_up(box["width"] / 2 - 64), round_half_up(box["height"] / 2 - 64)
    column, row = x - box["x"] - left, y - box["y"] - top
    away = np.arange(-30, 31, 5)
    for dy in away:
        for dx in away:
            at = original[int(row + dy / factor), int(column + dx / factor)]
            # Smoothing between pixels is allowed, and no more than that.
            near = original[
                int(row + dy / factor - 1) : int(row + dy / factor + 2),
                int(column + dx / factor - 1) : int(column + dx / factor + 2),
            ]
            shown = lens[120 + dy, 120 + dx].astype(int)
            assert near.min() <= shown.min()
            assert shown.max() <= near.max(), at
    viewer.page.mouse.move(x + 30, y, steps=2)
    viewer.settle()
    assert not np.array_equal(lens, viewer.canvas("canvas.lens"))
    viewer.page.mouse.up()
    assert 0 == viewer.page.locator(".lens").count()


def test_true_size_asks_once_how_large_the_screen_is(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    viewer.press("Shift+A")
    viewer.page.locator("dialog .card-slider").fill("400")
    viewer.page.click("dialog .button.primary")
    spacing = 0.661468  # mm, CT_small
    pixel = 85.6 / 400
    viewer.page.wait_for_selector(f".bottom-right:has-text('{round(100 * spacing / pixel)} %')")
    viewer.press("f", "Shift+A")
    viewer.page.wait_for_selector(f".bottom-right:has-text('{round(100 * spacing / pixel)} %')")
    assert 0 == viewer.page.locator("dialog").count()


def test_cine_plays_a_part_of_the_stack(viewer: Viewer) -> None:
    viewer.open(f"{STACK}/2.25.70001.1/2.25.70001.1.4")
    viewer.press("{", "ArrowDown", "ArrowDown", "}")
    assert viewer.page.locator(".played").is_visible()
    watch_position(viewer)
    viewer.press("Space")
    viewer.page.wait_for_function("() => window.seen.length > 12")
    viewer.press("Space")
    assert {4, 5, 6} == set(viewer.page.evaluate("() => window.seen"))
    viewer.press("Home", "{", "End", "}")
    assert not viewer.page.locator(".played").is_visible()


def test_an_address_keeps_how_the_image_lies(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    viewer.press("t", "h")
    before = viewer.canvas()
    viewer.page.wait_for_function("() => location.search === '?turn=1&flip=y'")
    viewer.page.goto("about:blank")
    viewer.page.go_back()
    viewer.shown()
    assert np.array_equal(before, viewer.canvas())
