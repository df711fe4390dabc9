"""The page of a volume: its address, what it refuses, what it shows while slices come, and the rendering."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Pillow
from test_viewer_language import english
from viewer_page import Viewer, watched
from volume_page import (
    BALL,
    FRAMES,
    NOTHING,
    Array,
    address,
    arrived,
    go,
    picture,
    ready,
    state,
    without_webgl,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


# --- addresses, refusals, loading


def test_a_link_opens_the_same_planes(planes: Viewer, chromium: Browser, volumes: str) -> None:
    go(planes, 1)
    planes.page.locator(".pane.is-sagittal").focus()
    planes.press("Shift+ArrowRight", "ArrowRight", "ArrowDown", "m", "+", "i")
    ready(planes)
    planes.page.wait_for_function(
        "() => location.search.includes('slab:max,10') && location.search.includes('invert=1')"
    )
    link = planes.page.url
    assert len(link) < 500
    with without_webgl(chromium, volumes) as other:
        other.page.goto(link)
        ready(other)
        for name in FRAMES:
            here, there = picture(planes, name).astype(int), picture(other, name)
            # The address is exact to a hundredth of a millimetre, the noise has no two neighbours alike.
            assert np.abs(here - there).mean() < 2
        assert "inverted" in other.page.locator(".pane.is-axial .bottom-right").inner_text()


def test_back_leads_to_the_slice_under_the_crossing(planes: Viewer) -> None:
    go(planes, 2, "at:0,30,54")
    planes.press("Escape")
    planes.shown()
    assert planes.page.url.endswith("/2.25.80002.1.8")
    planes.page.wait_for_selector("[aria-label='Planes and volume'][aria-disabled=false]")
    planes.press("c")
    ready(planes)
    arrived(planes, 54, 0.001)


def test_what_is_no_volume_is_refused_with_the_reason(planes: Viewer) -> None:
    reason = "its slices lie at irregular distances: after slice 4 of 5 come 10.5 mm"
    planes.open("2.25.80005")
    button = planes.page.get_by_label("Planes and volume")
    planes.page.wait_for_function(
        "() => document.querySelector('[aria-label=\"Planes and volume\"]').title.includes('irregular')"
    )
    assert (button.get_attribute("aria-disabled"), button.get_attribute("title")) == ("true", f"No volume: {reason}")
    button.click(force=True)
    assert planes.page.locator(".toast").inner_text() == f"No volume: {reason}"
    planes.page.goto(f"{planes.address}/view/2.25.80005/2.25.80005.1?planes=on")
    told = planes.page.locator(".page-problem").inner_text()
    assert "This series is no volume" in told
    assert f"I{reason[1:]}." in told
    planes.page.click("text=Back to the images")
    planes.shown()


def test_several_volumes_of_a_series(planes: Viewer) -> None:
    """The first shown is that of the image the address names; the others are in a list, and keep the place."""
    planes.page.goto(f"{planes.address}/view/2.25.80009/2.25.80009.1/2.25.80009.1.9?planes=on")
    ready(planes)
    choice = planes.page.locator(".volume-foot select")
    assert choice.locator("option").all_inner_texts() == ["Echo Time 1.5 · 6 slices", "Echo Time 4.5 · 6 slices"]
    assert choice.input_value() == "1"
    bright = picture(planes, "axial")
    planes.press("ArrowDown")
    arrived(planes, 6, 0.01)
    planes.press("ArrowUp")
    choice.select_option("0")
    planes.page.wait_for_function("() => location.pathname.endsWith('.1.1')")
    ready(planes)
    dark = picture(planes, "axial")
    inside = (bright != bright[0, 0]).any(axis=-1)
    assert 40 < (bright[inside].astype(float) - dark[inside]).mean() < 60


def test_the_planes_speak_korean(chromium: Browser, address: str) -> None:
    """Also where WebGL2 is missing; the text of data sets stays as it is."""
    with without_webgl(chromium, address, locale="ko-KR") as viewer:
        viewer.open("2.25.70001")
        viewer.press("c")
        ready(viewer)
        viewer.page.wait_for_selector(".pane.is-scene .viewport-message:has-text('WebGL2')")
        assert {"WebGL2", "Alt"} >= {word for text in english(viewer) for word in re.findall(r"[A-Za-z0-9]{3,}", text)}
        viewer.press("?")
        viewer.page.wait_for_selector("dialog.help")
        assert {"WebGL2", "Alt"} >= {word for text in english(viewer) for word in re.findall(r"[A-Za-z0-9]{3,}", text)}


def test_planes_are_shown_while_slices_come(planes: Viewer) -> None:
    """The last slices are held back: the planes are there, say what they lack, and sharpen."""
    held: list[Any] = []
    planes.page.route(re.compile(r"2\.25\.80001\.1\.(3|5|12)/frames"), lambda route: held.append(route))
    planes.page.goto(f"{planes.address}/view/2.25.80001/2.25.80001.1?planes={address()}")
    planes.page.wait_for_function("() => document.querySelector('.volume-words')?.textContent.startsWith('13 of 16')")
    planes.page.wait_for_function(
        "() => { const c = document.querySelector('.pane.is-coronal canvas'); "
        "return c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[2] !== 15 }"
    )
    assert planes.page.locator(".volume-progress").is_visible()
    rough = picture(planes, "coronal")
    for route in held:
        route.continue_()
    ready(planes)
    assert planes.page.locator(".volume-words").inner_text().startswith("16 slices")
    assert not np.array_equal(rough, picture(planes, "coronal"))


def test_a_slice_that_cannot_be_read_is_told_and_empty(chromium: Browser, volumes: str) -> None:
    with without_webgl(chromium, volumes, tolerate="status of 500") as viewer:
        viewer.page.route(re.compile(r"2\.25\.80002\.1\.8/frames"), lambda route: route.fulfill(status=500))
        go(viewer, 2, "at:0,30,54")
        words = viewer.page.locator(".volume-words").inner_text()
        assert "1 of 16 slices could not be read and are empty: The server answered 500" in words
        assert (picture(viewer, "axial") == NOTHING).all()


def test_what_is_too_big_is_reduced_or_refused(planes: Viewer) -> None:
    planes.list()
    found = planes.page.evaluate(
        """async () => {
          const { reductionFor, coarseFirst } = await import('/js/volume/data.js');
          const { VoxelVolume } = await import('/js/volume/reslice.js');
          const refused = (shape) => {
            try { return reductionFor(shape, 512 * 2 ** 20) } catch (error) { return error.message }
          };
          const real = [true, true];
          const volume = new VoxelVolume({ shape: [2, 5, 6], signed: true, reduce: 2, real, padding: null });
          const pixels = Int16Array.from({ length: 30 }, (_, i) => 10 * i - 100);
          const how = { signed: true, scale: 1, shift: 0 };
          for (const place of [0, 1]) volume.put(place, new Uint16Array(pixels.buffer), how);
          return {
            fits: reductionFor([300, 512, 512], 512 * 2 ** 20), half: reductionFor([2000, 512, 512], 512 * 2 ** 20),
            refused: refused([40000, 1024, 1024]), voxels: [...volume.voxels],
            order: coarseFirst(300),
          };
        }"""
    )
    assert (found["fits"], found["half"]) == (1, 2)
    assert found["refused"] == "40000 slices of 1024 × 1024 are more than a browser can hold (512 MB)."
    pixels = (10 * np.arange(30) - 100).reshape(5, 6)[:4]
    assert (
        found["voxels"] == 2 * np.floor(pixels.reshape(2, 2, 3, 2).mean(axis=(1, 3)) + 0.5).astype(int).ravel().tolist()
    )
    assert sorted(found["order"]) == list(range(300))
    assert max(np.diff(sorted(found["order"][:40]))) <= 16


# --- rendering


def seen(viewer: Viewer) -> Array:
    """The pane of the rendering as it is on the screen: (height, width, 3)."""
    viewer.page.wait_for_selector(".pane.is-scene[aria-busy=false]")
    viewer.settle()
    shot = viewer.page.locator(".pane.is-scene").screenshot()
    return np.array(Pillow.open(BytesIO(shot)).convert("RGB")).astype(int)


def bright(shown: Array) -> tuple[float, float]:
    """Middle of what is bright in the picture's middle part: right and down of its middle, in parts of its height."""
    height, width = shown.shape[:2]
    body = shown[40:-40, 40:-40].max(axis=2) > 110
    y, x = np.nonzero(body)
    assert len(x) > 50
    return (x.mean() + 40 - width / 2) / height, (y.mean() + 40 - height / 2) / height


def test_volume_rendering(chromium: Browser, volumes: str) -> None:
    """WebGL2 as Chromium computes it without a graphics card; reading its picture back is slow, and it says so."""
    with watched(chromium, volumes, 600, 500, tolerate="GPU stall due to ReadPixels") as viewer:
        viewer.page.goto(f"{volumes}/view/2.25.80007/2.25.80007.1?planes=on")
        front = seen(viewer)
        right, down = bright(front)
        # Seen from the front, the patient's left is on the right and the head above.
        scale = 1 / (1.1 * 44 * 2.5)
        assert (right, down) == pytest.approx((BALL[0] * scale, -BALL[2] * scale), abs=0.03)
        assert viewer.page.locator(".pane.is-scene .edge").all_inner_texts() == ["H", "L", "F", "R"]
        viewer.page.locator(".pane.is-scene select").select_option("mip")
        mip = seen(viewer)
        assert np.abs(mip - front).max() > 60
        # Half a turn: from behind, the patient's left is on the left.
        viewer.page.locator(".pane.is-scene select").select_option("bone")
        box = viewer.page.locator(".pane.is-scene").bounding_box()
        assert box
        size = min(box["width"], box["height"])
        x, y = box["x"] + box["width"] / 2 - size / 2, box["y"] + box["height"] / 2
        viewer.page.mouse.move(x, y)
        viewer.page.mouse.down()
        viewer.page.mouse.move(x + size, y, steps=4)
        viewer.page.mouse.up()
        behind = bright(seen(viewer))
        assert behind == pytest.approx((-BALL[0] * scale, -BALL[2] * scale), abs=0.04)
        assert viewer.page.locator(".pane.is-scene .edge").all_inner_texts() == ["H", "R", "F", "L"]
        assert state(viewer, scene="bone")["scene"][0] == "bone"


def test_without_webgl_the_planes_go_on(planes: Viewer) -> None:
    go(planes, 7)
    planes.page.wait_for_selector(".pane.is-scene .viewport-message:has-text('WebGL2')")
    assert planes.page.locator(".pane.is-scene select").is_hidden()
    assert len(np.unique(picture(planes, "axial"))) > 2
