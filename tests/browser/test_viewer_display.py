"""Calibration of the display: the viewer has the server's tables, and paints what `render --display` makes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import viewer_objects as objects
from PIL import Image as Pillow
from test_viewer_language import english
from viewer_page import Viewer, served, watched

import command
import ours
from isocenter.display.calibration import Characteristic, assess, read_characteristic, write_characteristic
from isocenter.display.gsdf import jnd_index, luminance
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.wire.part10 import read_header

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.browser

NAME = "Left <b>1</b>"
# What a photometer says of 18 levels of a display of gamma 2.4 and 0.4 to 320 cd/m2, as one reads it
READINGS = [float(f"{0.4 + 319.6 * (i / 17) ** 2.4:.3g}") for i in range(18)]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """By Study Instance UID."""
    made = [*objects.greys(), objects.deep(), objects.stack()[0]]
    return {str(ds.StudyInstanceUID): objects.encoded(ds) for ds in made if ds.Modality != "PR"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> Iterator[str]:
    with ours.background(lambda: served(tmp_path_factory.mktemp("display"), list(files.values()))) as url:
        yield url


def open_page(viewer: Viewer) -> None:
    viewer.page.goto(f"{viewer.address}/display")
    viewer.page.wait_for_selector(".facts")


def type_display(
    viewer: Viewer, black: str = "0.3", white: str = "250", gamma: str = "2.2", ambient: str = "0.2"
) -> None:
    """Calibrates by typed numbers."""
    open_page(viewer)
    for name, value in {"black": black, "white": white, "gamma": gamma, "ambient": ambient}.items():
        viewer.page.fill(f".display-typed input[name={name}]", value)
    viewer.page.click(".display-typed button")
    viewer.page.wait_for_selector(".display-verdict.is-calibrated")


def exported(viewer: Viewer, folder: Path) -> Path:
    with viewer.page.expect_download() as download:
        viewer.page.get_by_role("button", name="Export").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def curves() -> dict[str, Characteristic]:
    levels = np.round(np.linspace(0, 255, 18)).astype(np.int64)
    measured = np.array(READINGS)
    flat = measured.copy()
    flat[:4] = flat[3]  # crushed blacks: a quarter of the levels look alike
    flat[-3:] = flat[-3]
    return {
        "gamma": Characteristic.of_gamma(0.3, 250.0, 2.2, 0.2),
        "bright": Characteristic.of_gamma(1.1, 1000.0, 1.8, 0.0),
        "the whole function": Characteristic.of_gamma(0.05, 3993.0, 2.6),
        "measured": Characteristic(levels, measured, 0.35),
        "flat at both ends": Characteristic(levels, flat, 0.1),
        "two levels": Characteristic(np.array([0, 255]), np.array([0.5, 400.0]), 0.0),
        "five levels": Characteristic(np.array([0, 3, 64, 200, 255]), np.array([0.41, 0.5, 13.9, 159.8, 300.0]), 0.5),
        "seven bits": Characteristic(np.arange(128), 0.2 + np.linspace(0, 1, 128) ** 2 * 180, 0.3),
        "follows already": Characteristic(
            np.arange(256), luminance(np.linspace(*(float(one) for one in jnd_index([0.4, 350.0])), 256)), 0.0
        ),
    }


def test_tables_are_the_servers_to_the_last_value(viewer: Viewer, tmp_path: Path) -> None:
    open_page(viewer)
    script = """async (text) => {
      const { assess, read, write } = await import('/js/display/curve.js');
      const { curve, label } = read(text);
      const again = read(write(curve, { name: 'A', day: '2026-01-02', kind: 'measured' }));
      const base64 = (array) => {
        const bytes = new Uint8Array(array.buffer);
        return btoa(Array.from({ length: bytes.length }, (_, i) => String.fromCharCode(bytes[i])).join(''));
      };
      return { ddls: base64(curve.ddls), same: base64(again.curve.ddls) === base64(curve.ddls),
        seen: base64(curve.seen), label: again.label, own: assess(curve.asItIs), corrected: assess(curve.corrected) };
    }"""
    for name, curve in curves().items():
        path = tmp_path / "curve.lut"
        write_characteristic(path, curve)
        curve = read_characteristic(path)  # as it is written: six places after the point
        found: dict[str, Any] = viewer.page.evaluate(script, path.read_text("utf-8"))
        ddls = np.frombuffer(base64.b64decode(found["ddls"]), np.uint16)
        assert np.array_equal(curve.ddls, ddls), (name, np.count_nonzero(curve.ddls != ddls))
        assert np.frombuffer(base64.b64decode(found["seen"]), np.float64) == pytest.approx(curve.seen, rel=1e-9)
        assert found["same"], name
        assert {"name": "A", "day": "2026-01-02", "kind": "measured"} == found["label"]
        corrected = curve.seen[curve.ddls[:: 65535 // 17]]
        if bool(np.all(np.diff(corrected) > 0)):
            judged = assess(corrected)
            assert (judged.deviation, judged.ratio, judged.jnds) == pytest.approx(
                (found["corrected"]["deviation"], found["corrected"]["ratio"], found["corrected"]["jnds"]), rel=1e-6
            ), name


def test_what_is_painted_is_what_render_makes_for_the_display(
    viewer: Viewer, files: dict[str, bytes], tmp_path: Path
) -> None:
    """Every way from stored value to grey, shutters, overlays, padding, and what the server greys itself."""
    viewer.page.clock.set_fixed_time("2026-05-14T12:00:00Z")  # the day does not end within the test
    type_display(viewer)
    curve = exported(viewer, tmp_path)
    characteristic = read_characteristic(curve)
    for study, data in files.items():
        viewer.open(study)
        assert "Calibrated 2026-05-14" == viewer.page.inner_text(".display-badge")
        with memoryview(data) as view:
            meta = read_header(view)
            image = Image.of(view, meta.transfer_syntax, meta.data_set_offset)
            expected = render(image, display=characteristic)
            plain = render(image)
            if image.layout.bits_stored == 32:
                # The server's picture has P-Values of 8 bits, and the display's table comes after it.
                expected = characteristic.ddls[plain.astype(np.int64) * 257].astype(np.uint8)
        shown = viewer.pixels(image.rows, image.columns)
        assert np.array_equal(expected, shown[..., 0]), study
        assert {*plain.flat} <= {0, 255} or not np.array_equal(plain, shown[..., 0]), study
    viewer.press("i")
    assert np.array_equal(
        characteristic.ddls[(255 - plain.astype(np.int64)) * 257], viewer.pixels(*plain.shape)[..., 0]
    )
    scan, picture = tmp_path / "scan.dcm", tmp_path / "scan.png"
    scan.write_bytes(files["2.25.700010"])
    made = command.isocenter("render", scan, "--display", curve, "-o", picture)
    assert 0 == made.returncode, made.stderr
    viewer.open("2.25.700010")
    assert np.array_equal(np.array(Pillow.open(picture)), viewer.pixels(128, 128)[..., 0])


def test_a_measurement_is_led_through(viewer: Viewer, tmp_path: Path) -> None:
    open_page(viewer)
    assert "Not calibrated" == viewer.page.inner_text(".display-verdict")
    viewer.page.fill(".is-name input", NAME)
    viewer.page.get_by_role("button", name="Measure").click()
    field = viewer.page.locator("dialog .field")
    step = viewer.page.locator("dialog .full-form strong")
    for i, value in enumerate(READINGS):
        viewer.page.wait_for_function(
            "(i) => document.querySelector('dialog .full-form strong').textContent.startsWith(`${i} of 18`)", arg=i + 1
        )
        shown = viewer.canvas("dialog canvas")
        assert {153} == set(shown[0].reshape(-1)) | set(shown[-1].reshape(-1))
        assert {15 * i} == set(shown[shown.shape[0] // 2, shown.shape[1] // 2])
        assert np.count_nonzero(shown[..., 0] == 15 * i) == pytest.approx(shown[..., 0].size / 10, rel=0.02)
        if i == 5:
            for wrong in ("dark", "", "-1", "0.1"):
                field.fill(wrong)
                viewer.page.keyboard.press("Enter")
                assert viewer.page.locator("dialog .full-problem").inner_text()
                assert "6 of 18 · level 75" == step.inner_text()
        field.fill(str(value).replace(".", ",") if i % 2 else str(value))
        viewer.page.keyboard.press("Enter")
    assert "Light of the room" == step.inner_text()
    field.fill("0.35")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector(".display-verdict.is-calibrated")
    viewer.page.wait_for_selector("dialog", state="detached")
    assert f"{NAME} · Measured" in viewer.page.inner_text(".display-state")
    assert "Good for primary diagnosis (AAPM TG18)" == viewer.page.inner_text(".verdict")
    curve = read_characteristic(exported(viewer, tmp_path))
    assert READINGS == curve.measured.tolist()
    assert list(range(0, 256, 15)) == curve.levels.tolist()
    assert 0.35 == curve.ambient
    assert 0 == viewer.page.locator(".display-page b").count()


def test_a_calibration_comes_goes_and_ages(viewer: Viewer, tmp_path: Path) -> None:
    def take(text: str) -> None:
        path = tmp_path / "from-elsewhere.lut"
        path.write_text(text, "utf-8")
        viewer.page.set_input_files("input[type=file]", path)

    rows = "0 0.4\n100 40\n255 300\n"
    open_page(viewer)
    for wrong, said in {
        "max 255\n0 0.4\n": "greatest level",
        "0 1\n255 0.5\n": "has to grow",
        "0 0.4\n1024 300\n": "256 levels",
        "0 0.4\nwhite 300\n": "no level and its luminance: 2",
        "0 0\n255 300\n": "0.05 to 3,993",
        "0 0.4\n0x10 3\n255 300\n": "no level and its luminance: 2",
    }.items():
        take(wrong)
        viewer.page.wait_for_function(
            "(said) => document.querySelector('.display-side .display-problem').textContent.includes(said)", arg=said
        )
    assert "Not calibrated" == viewer.page.inner_text(".display-verdict")
    take(f"# date: 2020-02-03\n{rows}")
    viewer.page.wait_for_selector(".display-verdict.is-old")
    assert "Calibrated 2020-02-03" == viewer.page.inner_text(".display-verdict")
    assert "calibrate again" in viewer.page.inner_text(".display-state")
    viewer.open("2.25.700010")
    badge = viewer.page.locator(".display-badge")
    assert "Calibrated 2020-02-03" == badge.inner_text()
    assert "from-elsewhere · Older than a year: calibrate again" == badge.get_attribute("title")
    assert "is-old" in str(badge.get_attribute("class"))
    # The viewer writes its address late: not over that of a page whose code is still on its way.
    held: list[Route] = []
    viewer.page.route("**/js/display/page.js", lambda route: held.append(route))
    viewer.press("i")
    badge.click()
    viewer.page.wait_for_timeout(800)
    assert viewer.page.url.endswith("/display")
    for route in held:
        route.continue_()
    viewer.page.wait_for_selector(".facts")
    assert viewer.page.url.endswith("/display")
    viewer.page.select_option(".display-choice", "")
    viewer.page.wait_for_selector(".display-verdict:not(.is-old)")
    viewer.page.select_option(".display-choice", "from-elsewhere")
    viewer.page.wait_for_selector(".display-verdict.is-old")
    viewer.page.get_by_role("button", name="Forget").click()
    viewer.page.wait_for_selector(".display-verdict:not(.is-old)")
    assert 0 == viewer.page.locator(".display-choice").count()
    viewer.press("Escape")
    viewer.shown()
    assert "Not calibrated" == badge.inner_text()


def test_another_window_and_another_screen_are_noticed(viewer: Viewer) -> None:
    viewer.open("2.25.700010")
    before = viewer.pixels(128, 128)
    beside = Viewer(viewer.page.context.new_page(), viewer.address)
    type_display(beside)
    viewer.page.wait_for_selector(".display-badge.is-calibrated")
    viewer.settle()
    assert not np.array_equal(before, viewer.pixels(128, 128))
    # A screen of another size is another display.
    viewer.page.evaluate(
        "() => { Object.defineProperty(screen, 'width', {value: 3000}); dispatchEvent(new Event('resize')); }"
    )
    viewer.page.wait_for_selector(".display-badge:not(.is-calibrated)")
    viewer.settle()
    assert np.array_equal(before, viewer.pixels(128, 128))
    beside.page.close()


def test_the_pattern_has_what_one_looks_for(viewer: Viewer) -> None:
    type_display(viewer)
    viewer.press("p")
    viewer.page.wait_for_selector("dialog canvas")
    corrected = viewer.canvas("dialog canvas")[..., 0]
    viewer.page.keyboard.press("t")
    viewer.page.wait_for_function(
        "() => document.querySelector('.full-foot span').textContent === 'Without the calibration'"
    )
    plain = viewer.canvas("dialog canvas")[..., 0]
    curve = Characteristic.of_gamma(0.3, 250.0, 2.2, 0.2)
    assert np.array_equal(curve.ddls[plain.astype(np.int64) * 257], corrected)
    height, width = plain.shape
    assert (768, 1366) == plain.shape
    assert {*range(256)} == set(plain[:, round(0.06 * width)]) & set(range(256))  # all levels in the ramp
    middle = plain[round(0.49 * height)]
    for outer, inner, place in ((0, 13, 0.19), (255, 242, 0.81)):
        around = middle[round((place - 0.06) * width) : round((place + 0.06) * width)]
        assert {outer, inner} == set(around)
    pairs = plain[round(0.42 * height), round(0.30 * width) : round(0.38 * width)].astype(int)
    assert {255} == set(np.abs(np.diff(pairs)))
    steps = {int(plain[round(y * height), round((0.16 + 0.085 * i) * width)]) for y in (0.16, 0.82) for i in range(9)}
    assert set(range(0, 256, 15)) == steps
    assert 255 == plain[0].min() == plain[-1].min() == plain[:, 0].min() == plain[:, -1].min()
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")


def test_the_page_is_korean_in_a_korean_browser(chromium: Browser, address: str) -> None:
    with watched(chromium, address, locale="ko-KR") as viewer:
        open_page(viewer)
        assert set() == english(viewer)
        viewer.press("?")
        viewer.page.wait_for_selector("dialog.help")
        assert set() == english(viewer)
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_selector("dialog", state="detached")
        viewer.press("m")
        viewer.page.wait_for_selector("dialog.display-full")
        assert set() == english(viewer)
