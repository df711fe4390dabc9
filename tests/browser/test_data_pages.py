"""What of DICOMweb a person may open in a browser: the page of its resources, and whatever somebody had him click."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from viewer_page import Viewer

from skins.test_web_hostile import XSS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_the_page_of_resources(viewer: Viewer) -> None:
    """It shows all that the OpenAPI document has, and its long paths break before a step on a narrow screen."""
    page = viewer.page
    described = page.request.get(f"{viewer.address}/dicomweb/openapi.json").json()["paths"]
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{viewer.address}/api.html")
    page.wait_for_selector("section details")
    shown = [" ".join(row.split("\n")[:2]) for row in page.locator("summary").all_inner_texts()]
    assert sorted(shown) == sorted(f"{method.upper()} {path}" for path, rows in described.items() for method in rows)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    longest = page.locator("summary code", has_text="/frames/{frames}/thumbnail")
    longest.scroll_into_view_if_needed()
    # Each line begins with a step: no step is in two pieces.
    lines = longest.evaluate(
        "(code) => Array.from(code.childNodes, (step) => {"
        "  const range = document.createRange();"
        "  range.selectNodeContents(step);"
        "  return range.getClientRects().length; })"
    )
    assert max(lines) == 1
    page.locator("summary", has_text="Search for all studies").click()
    assert "multiplevaluematching = true | false" in page.locator("details[open]").inner_text()


def test_no_payload_runs(chromium: Browser, address: str) -> None:
    """Links that carry something to run, opened as a person would: refused, and shown as text if at all."""
    page = chromium.new_page()
    ran: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    try:
        for number, payload in enumerate(XSS):
            said = quote(payload, safe="")
            paths = (f"studies/{said}", f"studies?limit={said}", f"wado?requestType={said}", said)
            answer = page.goto(f"{address}/dicomweb/{paths[number % len(paths)]}")
            assert answer is not None
            assert 400 <= answer.status < 500
            assert page.locator("script, iframe, svg, a").count() == 0
    finally:
        page.close()
    assert ran == []
