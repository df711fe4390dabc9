"""The viewer below a path of a proxy's: https://host/pacs/ -> us."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import viewer_objects as objects
from viewer_page import served, watched

import ours
from prefixing_proxy import prefixing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
PREFIX = "/hospital/pacs"


def test_list_images_and_pages_are_there(chromium: Browser, tmp_path: Path) -> None:
    """Every request stays below the path, or the page that is watched says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = [objects.encoded(ds) for ds in objects.stack()]
    with (
        ours.background(lambda: served(tmp_path, files, web_prefix=PREFIX)) as server,
        prefixing(int(server.rpartition(":")[2]), PREFIX, strip=False, tell=False) as url,
        watched(chromium, url, tolerate="outside: blob:") as page,
    ):
        page.list()
        page.page.locator("tbody tr").first.click()
        page.shown()
        assert page.page.url.startswith(f"{url}/view/")
        page.page.reload()
        page.shown()
        page.page.goto(f"{url}/procedures")
        page.page.wait_for_selector("main")
