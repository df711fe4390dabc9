"""The canvas shows the greys the standard asks for, computed here in numpy, and the same as /rendered."""

from __future__ import annotations

import urllib.error
import urllib.request
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import viewer_objects as objects
from PIL import Image as Pillow
from viewer_page import Viewer, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

Greys = np.ndarray[Any, Any]


def stored() -> Greys:
    return objects._ct().pixel_array.astype(np.float64)


def linear(x: Greys, center: float, width: float) -> Greys:
    """PS3.3 C.11.2.1.2.1, to 0..255."""
    y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    y = np.where(x <= center - 0.5 - (width - 1) / 2, 0, y)
    return np.where(x > center - 0.5 + (width - 1) / 2, 255, y)


def test_ct_window(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    expected = np.rint(linear(stored() - 1024, 40, 400))
    assert np.array_equal(expected, viewer.pixels(128, 128)[..., 0])


def test_monochrome1(viewer: Viewer) -> None:
    viewer.open("2.25.700011")
    expected = np.rint(255 - linear(stored() - 1024, 40, 400))
    shown = viewer.pixels(128, 128)
    assert np.array_equal(expected, shown[..., 0])
    assert np.array_equal(shown[..., 0], shown[..., 2])


def test_the_modality_lut_of_an_angiogram_is_not_displayed(viewer: Viewer, address: str) -> None:
    viewer.open("2.25.700027")
    shown = viewer.pixels(128, 128)
    assert np.array_equal(np.rint(linear(stored(), 1000, 1500)), shown[..., 0])
    assert np.array_equal(rendered(viewer, address, "2.25.700027"), shown[..., 0])


def test_presentation_lut_shape_inverse(viewer: Viewer) -> None:
    viewer.open("2.25.700015")
    assert np.array_equal(np.rint(255 - linear(stored() - 1024, 40, 400)), viewer.pixels(128, 128)[..., 0])


def test_linear_exact(viewer: Viewer) -> None:
    viewer.open("2.25.700012")
    expected = np.rint(np.clip((stored() - 1024 - 40.5) / 333.3 + 0.5, 0, 1) * 255)
    assert np.array_equal(expected, viewer.pixels(128, 128)[..., 0])


def test_sigmoid(viewer: Viewer) -> None:
    viewer.open("2.25.700013")
    expected = np.rint(255 / (1 + np.exp(-4 * (stored() - 1024) / 600)))
    assert np.array_equal(expected, viewer.pixels(128, 128)[..., 0])


def test_voi_lut_goes_before_the_window(viewer: Viewer) -> None:
    viewer.open("2.25.700014")
    curve = (np.linspace(0, 1, 2000) ** 2 * 4095).astype(np.uint16)
    expected = np.rint(curve[np.clip(stored() - 1024 + 1000, 0, 1999).astype(int)] / 4095 * 255)
    assert "HOCKEY STICK" in viewer.text("bottom-right")
    assert np.array_equal(expected, viewer.pixels(128, 128)[..., 0])


def test_padding_is_black_in_monochrome1(viewer: Viewer) -> None:
    viewer.open("2.25.700016")
    padding = stored() == np.median(stored())
    shown = viewer.pixels(128, 128)[..., 0]
    assert padding.any()
    assert {0} == set(shown[padding])
    assert np.array_equal(np.rint(255 - linear(stored() - 1024, 40, 400))[~padding], shown[~padding])


def test_a_window_from_the_address(viewer: Viewer) -> None:
    viewer.open("2.25.700010?window=-600,1500")
    assert np.array_equal(np.rint(linear(stored() - 1024, -600, 1500)), viewer.pixels(128, 128)[..., 0])


def rendered(viewer: Viewer, address: str, study: str) -> Greys:
    path = f"/dicomweb/studies/{study}/series/{study}.1/instances/{study}.1.1/rendered"
    request = urllib.request.Request(address + path, headers={"Accept": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return np.array(Pillow.open(BytesIO(response.read())).convert("L"))


def test_display_shutters(viewer: Viewer, address: str) -> None:
    """Rectangle, circle and polygon at once, filled with the Shutter Presentation Value."""
    viewer.open("2.25.700020")
    shown = viewer.pixels(128, 128)[..., 0]
    expected = rendered(viewer, address, "2.25.700020")
    hidden = expected == round(0x6000 / 257)
    assert 3000 < np.count_nonzero(hidden) < 14000
    assert np.array_equal(expected, shown)


def test_overlays(viewer: Viewer, address: str) -> None:
    """Graphics, and the outline of a region of interest, stay white whatever the greys under them are."""
    viewer.open("2.25.700021?window=-600,1500")
    greys = np.rint(linear(stored() - 1024, -600, 1500))
    shown = viewer.pixels(128, 128)[..., 0]
    over = shown != greys
    assert {255} == set(shown[over])
    viewer.open("2.25.700021")
    again = viewer.pixels(128, 128)[..., 0]
    assert np.array_equal(rendered(viewer, address, "2.25.700021"), again)
    assert (again[over] == 255).all()
    assert 200 < np.count_nonzero(over) < 800


def test_a_presentation_state_is_shown(viewer: Viewer, address: str) -> None:
    """The image it is made for: 100 by 80 pixels of it, turned to 80 by 100, inverted, with a circle."""
    viewer.open("2.25.700010/2.25.700010.2")
    shown = viewer.pixels(100, 80)[..., 0]
    path = "/dicomweb/studies/2.25.700010/series/2.25.700010.2/instances/2.25.700010.2.1/rendered"
    request = urllib.request.Request(address + path, headers={"Accept": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        expected = np.array(Pillow.open(BytesIO(response.read())).convert("L"))
    assert np.array_equal(expected, shown)
    plain = np.rot90(np.rint(255 - linear(stored() - 1024, 40, 400))[20:100, 10:110], -1)
    drawn = shown != plain
    assert {255} == set(shown[drawn])
    assert 50 < np.count_nonzero(drawn) < 300


def pictures(viewer: Viewer) -> list[dict[str, Any]]:
    """Every image of the archive that is shown without resampling, as its metadata."""
    script = """async () => {
      const json = async (path) => (await fetch(path, {headers: {Accept: 'application/dicom+json'}})).json();
      const one = (d, tag) => d[tag]?.Value?.[0];
      const found = await json('/dicomweb/instances?limit=5000');
      const all = await Promise.all(found.map(async (d) => {
        const [study, series, instance] = ['0020000D', '0020000E', '00080018'].map((tag) => one(d, tag));
        const path = `/dicomweb/studies/${study}/series/${series}/instances/${instance}`;
        const [m] = await json(`${path}/metadata`);
        const s = m['00280030']?.Value ?? m['00181164']?.Value ?? m['00280034']?.Value ?? [1, 1];
        const [rows, columns] = [one(m, '00280010'), one(m, '00280011')];
        return {path, rows, columns, square: s[0] === s[1], view: `${study}/${series}/${instance}`};
      }));
      return all.filter((p) => p.rows && p.columns);
    }"""
    found: list[dict[str, Any]] = viewer.page.evaluate(script)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_image_is_the_same_as_the_servers_rendering(chromium: Browser, address: str) -> None:
    """All packaged files, compressed and not, grey, palette and colour: pixel by pixel."""
    # One neighbour in a stack cannot be decoded; fetching it ahead fails, and nobody looks at it.
    with watched(chromium, address, 1500, 1200, tolerate="status of 422") as viewer:
        viewer.list()
        seen = 0
        for picture in pictures(viewer):
            request = urllib.request.Request(
                f"{address}{picture['path']}/frames/1/rendered", headers={"Accept": "image/png"}
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    expected = np.array(Pillow.open(BytesIO(response.read())).convert("RGB"))
            except urllib.error.HTTPError:
                continue  # what the server cannot decode, it cannot show either
            if not picture["square"]:
                continue
            viewer.open(f"{picture['view']}?frame=1")
            shown = viewer.pixels(picture["rows"], picture["columns"])
            difference = np.abs(expected.astype(int) - shown)
            assert (0, 0) == (difference.max(), np.count_nonzero(difference)), picture["view"]
            seen += 1
        assert seen >= 40
