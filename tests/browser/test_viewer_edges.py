"""What stands at the edges of a narrow screen leaves room for what stands beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_viewer_touch import HEIGHT, STACK, WIDTH
from viewer_page import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_what_stands_at_the_edge_of_a_telephone_is_not_run_over(chromium: Browser, address: str) -> None:
    """A name in three writings leaves the direction above it free, and a notice its button."""
    box = "(which) => document.querySelector(which).getBoundingClientRect().toJSON()"
    with watched(chromium, address, WIDTH, HEIGHT, tolerate="net::ERR", has_touch=True, is_mobile=True) as phone:
        phone.open(STACK)
        above = phone.page.evaluate(box, ".edge.top")
        assert phone.page.evaluate(box, ".corner.top-left .person")["right"] < above["left"] - 4
        bar = phone.page.evaluate(box, ".bar .study-title")
        assert phone.page.evaluate(box, ".study-title .person")["right"] <= bar["right"]
        phone.page.goto(f"{phone.address}/procedures")
        phone.page.wait_for_selector(".procedures-scroll[aria-busy=false]")
        phone.page.route("**/dicomweb/workitems?*", lambda route: route.abort())
        phone.press("r")
        phone.page.wait_for_selector(".stale button")
        button = phone.page.locator(".stale button")
        assert button.evaluate("(element) => element.scrollWidth <= element.clientWidth")
