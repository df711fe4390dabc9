"""OHIF itself at /ohif/: its list, CT, MR, multi-frame ultrasound and JPEG 2000, drawn as the server draws them.

It runs in a Chromium of its own, with WebGL in software: without WebGL OHIF shows nothing.
"""

from __future__ import annotations

import base64
import time
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import viewer_objects as objects
from PIL import Image as Pillow
from viewer_page import Viewer, served, watched

import ours
import peers
from isocenter.net.identity import set_user
from prefixing_proxy import prefixing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OHIF = Path(__file__).resolve().parents[2] / "ohif"
ARGUMENTS = [
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--force-color-profile=srgb", "--disable-gpu", "--enable-unsafe-swiftshader"),
]
FILES = {"MR": "examples_overlay.dcm", "US": "examples_ybr_color.dcm", "J2K": "693_J2KI.dcm"}
PICTURE = "() => document.querySelector('.cornerstone-canvas')?.toDataURL('image/png') ?? ''"
PREFIX = "/hospital/pacs"
OWN = "outside: blob:"  # what a page made itself has an address without a path
PATIENCE = 90  # seconds that 25 MB of scripts, and WebGL in software, may take on a busy machine


def require_ohif() -> None:
    """Raise PeerUnavailable unless OHIF has been fetched, which tests cannot: their network is their own."""
    if not (OHIF / "index.html").is_file():
        raise peers.PeerUnavailable("OHIF is not here: make ohif, which needs npm", missing=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with OHIF and the studies that are opened, and one without a modality, which lists have to survive."""
    require_ohif()
    files = [(objects.FOLDER / name).read_bytes() for name in FILES.values()]
    files += [objects.encoded(ds) for ds in (*objects.stack(), objects.ct(95, "NO MODALITY", Modality=""))]
    with ours.background(lambda: served(tmp_path_factory.mktemp("ohif"), files, web_ohif=str(OHIF))) as url:
        yield url


@pytest.fixture(scope="module")
def webgl(chromium: Browser) -> Iterator[Browser]:
    browser = chromium.browser_type.launch(executable_path=peers.find_program("chromium"), args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def ohif(webgl: Browser, site: str) -> Iterator[Viewer]:
    """One page for all tests, so that scripts come from the cache; whatever it reports fails the test."""
    with watched(webgl, site) as page:
        page.page.set_default_timeout(PATIENCE * 1000)
        yield page


def shown(page: Viewer) -> np.ndarray[Any, Any]:
    """What is on the canvas in greys: float, shape (height, width); empty before there is any."""
    url: str = page.page.evaluate(PICTURE)
    if not url.startswith("data:image/png"):
        return np.zeros((0, 0))
    return np.asarray(Pillow.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"), float)


def expected(site: str, path: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The server's own picture of an instance or frame, as large as fits into a canvas of that shape."""
    with urllib.request.urlopen(f"{site}/dicomweb/{path}/rendered") as answer:
        picture = Pillow.open(BytesIO(answer.read())).convert("L")
    factor = min(shape[0] / picture.height, shape[1] / picture.width)
    picture = picture.resize(
        (round(picture.width * factor), round(picture.height * factor)), Pillow.Resampling.BILINEAR
    )
    canvas = Pillow.new("L", (shape[1], shape[0]))
    canvas.paste(picture, ((shape[1] - picture.width) // 2, (shape[0] - picture.height) // 2))
    return np.asarray(canvas, float)


def likeness(page: Viewer, site: str, path: str) -> float:
    """Correlation of what is shown with what should be; 0 for a canvas of one colour."""
    picture = shown(page)
    if picture.size == 0 or picture.std() == 0:
        return 0.0
    return float(np.corrcoef(picture.ravel(), expected(site, path, picture.shape).ravel())[0, 1])


def wait_for_picture(page: Viewer, site: str, path: str) -> None:
    """Waits until the canvas shows the instance or frame."""
    end = time.monotonic() + PATIENCE
    while (found := likeness(page, site, path)) < 0.9:
        assert [one for one in page.problems if OWN not in one] == []
        assert time.monotonic() < end, f"the picture is not that of {path}: correlation {found:.2f}"
        page.page.wait_for_timeout(200)


def instance(name: str) -> tuple[str, str]:
    """Study Instance UID of a file, and its instance's path."""
    ds = pydicom.dcmread(objects.FOLDER / name, stop_before_pixels=True)
    study = str(ds.StudyInstanceUID)
    return study, f"studies/{study}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def test_its_list_has_every_study_and_opens_them(ohif: Viewer, site: str, tmp_path: Path) -> None:
    ohif.page.goto(f"{site}/ohif/")
    ohif.page.wait_for_selector("text=ACC-4711")
    ohif.page.wait_for_selector("text=1-5 of 5")
    assert "Chest with contrast" in ohif.page.inner_text("body")
    ohif.page.screenshot(path=tmp_path / "list.png")
    assert ohif.problems == []


def test_a_ct_is_opened_from_our_list_and_scrolled(ohif: Viewer, site: str, tmp_path: Path) -> None:
    ohif.list("?q=stack")
    link = ohif.page.wait_for_selector(".c-ohif a:visible")
    assert link
    assert link.get_attribute("href") == f"{site}/ohif/viewer?StudyInstanceUIDs=2.25.70001"
    ohif.page.goto(str(link.get_attribute("href")))
    series = "studies/2.25.70001/series/2.25.70001.1/instances/2.25.70001.1"
    wait_for_picture(ohif, site, f"{series}.12")  # OHIF begins at the head
    for slice_number in (11, 10):
        ohif.page.hover(".cornerstone-canvas")
        ohif.page.mouse.wheel(0, 100)
        wait_for_picture(ohif, site, f"{series}.{slice_number}")
    ohif.page.screenshot(path=tmp_path / "ct.png")


@pytest.mark.parametrize("kind", FILES)
def test_pictures_are_those_of_the_server(ohif: Viewer, site: str, kind: str, tmp_path: Path) -> None:
    study, path = instance(FILES[kind])
    ohif.page.goto(f"{site}/ohif/viewer?StudyInstanceUIDs={study}")
    frames = 30 if kind == "US" else 1
    wait_for_picture(ohif, site, f"{path}/frames/1" if frames > 1 else path)
    ohif.page.screenshot(path=tmp_path / f"{kind}.png")
    if frames > 1:
        first = shown(ohif)
        ohif.page.hover(".cornerstone-canvas")
        for _ in range(5):
            ohif.page.mouse.wheel(0, 100)
        end = time.monotonic() + PATIENCE
        while np.array_equal(first, shown(ohif)):
            assert time.monotonic() < end, "the loop shows one frame only"
            ohif.page.wait_for_timeout(200)
        wait_for_picture(ohif, site, f"{path}/frames/6")
    assert ohif.problems == []


def test_who_has_to_sign_in_does_so_first(webgl: Browser, tmp_path: Path) -> None:
    """The session's cookie opens OHIF's files and its requests alike; without it, nothing of OHIF comes."""
    require_ohif()
    set_user(tmp_path / "users", "anna", "right")
    rows = {"web_users": str(tmp_path / "users"), "web_ohif": str(OHIF)}
    files = [objects.encoded(ds) for ds in objects.stack()]
    with (
        ours.background(lambda: served(tmp_path / "data", files, **rows)) as address,
        watched(webgl, address) as page,
    ):
        page.page.set_default_timeout(PATIENCE * 1000)
        page.page.goto(f"{address}/ohif/?patientName=hong")
        page.page.fill("#user", "anna")
        page.page.fill("#passcode", "right")
        page.page.click("#enter")
        page.page.wait_for_selector("text=ACC-4711")
        assert page.page.url.startswith(f"{address}/ohif/?")


@pytest.mark.parametrize("strip", [True, False])
def test_below_a_path_of_a_proxys(webgl: Browser, tmp_path: Path, strip: bool) -> None:
    """Page, scripts, workers and requests stay below it, from the list by OHIF's own routes to the picture, or the page
    that is watched says so; whether the proxy takes the path off and tells of it, or leaves it on."""
    require_ohif()
    study, path = instance(FILES["MR"])
    files = [(objects.FOLDER / FILES["MR"]).read_bytes()]
    rows = {"web_proxies": "127.0.0.1"} if strip else {"web_prefix": PREFIX}
    with (
        ours.background(lambda: served(tmp_path / "data", files, web_ohif=str(OHIF), **rows)) as server,
        prefixing(int(server.rpartition(":")[2]), PREFIX, strip=strip, tell=strip) as url,
        watched(webgl, url, tolerate=OWN) as page,
    ):
        page.page.set_default_timeout(PATIENCE * 1000)
        page.page.goto(f"{url}/ohif")
        page.page.wait_for_selector("text=1-1 of 1")
        assert page.page.url == f"{url}/ohif/"
        page.page.screenshot(path=tmp_path / "list.png")
        page.page.dblclick("text=abdomen^liver")
        wait_for_picture(page, url, path)
        assert page.page.url.startswith(f"{url}/ohif/viewer?")
        page.page.screenshot(path=tmp_path / "viewer.png")
