"""Text from a data set is text, and nothing comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import viewer_objects as objects
from viewer_page import Viewer

import isocenter.web

STATIC = Path(isocenter.web.__file__).parent / "static"
SOURCES = sorted(p for p in STATIC.rglob("*") if p.suffix in (".js", ".html", ".css", ".svg"))
# What turns text into markup or code; the viewer does without all of them.
FORBIDDEN = re.compile(
    r"\.(?:innerHTML|outerHTML|srcdoc)\b|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    r"|javascript:|setAttribute\(\"(?:on|style)|<style|\sstyle=|<script(?! type=\"module\" src=)"
)
# Addresses that are names, not places.
NAMES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")


@pytest.mark.browser
def test_hostile_text_is_shown_and_not_run(viewer: Viewer) -> None:
    viewer.list("?q=uid:2.25.700090")  # the list holds the rows on the screen alone
    row = viewer.page.locator("tr[data-study='2.25.700090']")
    assert "<script>window[" in row.inner_text()
    row.click()
    viewer.shown()
    assert "<script>window[" in viewer.text("top-left")
    assert "<iframe srcdoc=" in viewer.text("top-right")
    viewer.page.locator(".series-open").hover()
    viewer.page.click(".tool.wide")
    assert "<details open ontoggle=" in viewer.page.locator(".menu:not([hidden])").inner_text()
    viewer.page.keyboard.press("Escape")
    viewer.page.locator(".viewport").focus()
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    viewer.page.wait_for_timeout(300)
    assert not viewer.page.evaluate("(mark) => mark in window", objects.MARK)
    assert 0 == viewer.page.locator("img[src=x], iframe, details, .header-panel a, .overlay a").count()


@pytest.mark.browser
def test_hostile_addresses(viewer: Viewer) -> None:
    for path in ("view/%3Cscript%3E", "?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&modality=%22%3E%3Cb%3E"):
        viewer.page.goto(f"{viewer.address}/{path}")
        viewer.page.wait_for_selector("tbody tr, .list-state:visible")
        assert 0 == viewer.page.locator("img[src=x], b").count()


@pytest.mark.browser
def test_the_policy_has_no_unsafe_word(viewer: Viewer) -> None:
    response = viewer.page.goto(f"{viewer.address}/")
    assert response
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(STATIC)))
def test_sources_make_no_markup_and_name_no_other_host(source: Path) -> None:
    text = source.read_text("utf-8")
    assert [] == FORBIDDEN.findall(text)
    assert set() == set(re.findall(r"(?:https?:)?//[\w.]+\.\w{2,}[^\s\"'`)]*", text)) - set(NAMES)


def test_every_module_is_small_and_typed() -> None:
    for source in STATIC.rglob("*.js"):
        text = source.read_text("utf-8")
        assert text.startswith("// @ts-check\n"), source
        assert text.count("\n") <= 500, source
