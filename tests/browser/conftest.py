"""The viewer in Chromium over a real archive: create_app, uvicorn, files of pydicom's.

Every page is watched: an error on the console, a script error, a broken security policy or a request to anywhere but
our own server fails the test that caused it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ours
import peers

sys.path.insert(0, str(Path(__file__).parent))

import viewer_objects as objects
import volume_page
from viewer_page import Viewer, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--force-color-profile=srgb"),
]


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over packaged and made objects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on its own odd files
        made = [*objects.stack(), *objects.greys(), objects.hostile()]
        files = [data for _, data in objects.packaged()] + [objects.encoded(ds) for ds in made]
    with ours.background(lambda: served(tmp_path_factory.mktemp("viewer"), files)) as url:
        yield url


@pytest.fixture
def empty_address(tmp_path: Path) -> Iterator[str]:
    """A server over an empty archive."""
    with ours.background(lambda: served(tmp_path, [])) as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    peers.require("chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=peers.find_program("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def viewer(chromium: Browser, address: str) -> Iterator[Viewer]:
    """A fresh page on a laptop's screen; fails the test on whatever went wrong unseen."""
    with watched(chromium, address) as page:
        yield page


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over series that are volumes, and some that nearly are."""
    files = [objects.encoded(ds) for ds in volume_page.all_series()]
    with ours.background(lambda: served(tmp_path_factory.mktemp("volumes"), files)) as url:
        yield url


@pytest.fixture
def planes(chromium: Browser, volumes: str) -> Iterator[Viewer]:
    """A fresh page for planes, without WebGL2."""
    with volume_page.without_webgl(chromium, volumes) as page:
        yield page
