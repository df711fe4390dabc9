"""Signing in: the page that asks who it is, the session it makes, and the way out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import viewer_objects as objects
from viewer_page import Viewer, served, watched

import ours
from isocenter.net.identity import set_user
from isocenter.web.site_tokens import issue

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
ASKED = re.compile(r"/login\?next=")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of a server with users and tokens, and a token that may only read."""
    folder = tmp_path_factory.mktemp("site")
    _, token = issue(folder / "tokens", "reader", ["read"])
    set_user(folder / "users", "anna", "right")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = [objects.encoded(ds) for ds in objects.stack()]
    rows = {"web_tokens": str(folder / "tokens"), "web_users": str(folder / "users")}
    with ours.background(lambda: served(folder / "data", files, **rows)) as url:
        yield url, token


def signed_in(page: Viewer, user: str, passcode: str) -> None:
    page.page.wait_for_selector("#user:visible")
    page.page.fill("#user", user)
    page.page.fill("#passcode", passcode)
    page.page.click("#enter")


def test_who_is_not_known_is_asked_and_led_back(chromium: Browser, site: tuple[str, str], tmp_path: Path) -> None:
    address, _ = site
    with watched(chromium, address, tolerate="status of 401") as page:
        page.page.goto(f"{address}/?q=stack&modality=CT")
        page.page.wait_for_url(ASKED)
        page.page.wait_for_selector("#user:visible")
        page.page.screenshot(path=tmp_path / "login.png")
        assert page.page.evaluate("() => document.activeElement.id") == "user"
        signed_in(page, "anna", "wrong")
        page.page.wait_for_selector("#problem:not(:empty)")
        assert page.page.inner_text("#problem") == "User or passcode are wrong."
        signed_in(page, "anna", "right")
        page.page.wait_for_selector(".studies-page")
        assert page.page.url == f"{address}/?q=stack&modality=CT"
        assert page.page.input_value("input[type=search]") == "stack"
        page.page.wait_for_selector(".account")
        assert page.page.inner_text(".account") == "anna"
        assert page.page.is_visible(".bar-end .primary"), "anna may store"
        assert page.page.evaluate("() => document.cookie") == "", "no script sees the session"
        page.list()
        page.page.locator("tbody tr").first.click()
        page.shown()
        page.page.goto(f"{address}/")
        page.page.wait_for_selector(".account")
        page.page.screenshot(path=tmp_path / "signed-in.png")
        page.page.click("[aria-label='Sign out']")
        page.page.wait_for_url("**/login")
        page.page.goto(f"{address}/")
        page.page.wait_for_url(ASKED)


def test_a_token_signs_in_and_what_it_may_not_do_is_not_offered(chromium: Browser, site: tuple[str, str]) -> None:
    address, token = site
    with watched(chromium, address, tolerate="status of 401") as page:
        page.page.goto(f"{address}/login?next=//evil.example/")
        page.page.click("#other")
        page.page.fill("#token", "isocenter_00000000_x")
        page.page.press("#token", "Enter")
        page.page.wait_for_selector("#problem:not(:empty)")
        page.page.fill("#token", token)
        page.page.press("#token", "Enter")
        page.page.wait_for_selector("tbody tr")
        assert page.page.url == f"{address}/", "nobody is led elsewhere"
        page.page.wait_for_selector(".account")
        assert not page.page.is_visible(".bar-end .primary")
        # Signed in already: whoever comes to that page goes on.
        page.page.goto(f"{address}/login?next=/%3Fq%3Dx")
        page.page.wait_for_url(f"{address}/?q=x")


def test_a_session_that_ends_leads_to_where_one_signs_in(chromium: Browser, site: tuple[str, str]) -> None:
    address, _ = site
    with watched(chromium, address, tolerate="status of 401") as page:
        # A list that heard of news would look by itself, and be led away before anything is typed.
        page.page.route("**/dicomweb/events?*", lambda route: None)
        page.page.goto(f"{address}/")
        signed_in(page, "anna", "right")
        page.page.wait_for_selector("tbody tr")
        page.page.context.clear_cookies()
        page.page.fill("input[type=search]", "another")
        page.page.wait_for_selector("#user:visible")
        assert ASKED.search(page.page.url)
        signed_in(page, "anna", "right")
        page.page.wait_for_selector(".studies-page")
        assert "/login" not in page.page.url
