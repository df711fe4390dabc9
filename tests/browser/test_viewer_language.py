"""The interface in Korean: chosen by the browser or by the user, and complete on the pages that are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import viewer_objects as objects
from test_viewer_safety import STATIC
from viewer_page import Viewer, served, watched

import ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KOREAN = {
    english: korean
    for path in sorted((STATIC / "js/words").glob("*.js"))
    for english, korean in re.findall(r'^  "((?:[^"\\]|\\.)*)": "(.*)",$', path.read_text("utf-8"), re.M)
}
# What is written alike in both: names of the standard, of keys and of things, and codes.
ALIKE = re.compile(
    r"\b(?:Isocenter|English|DICOM|DICOMDIR|OHIF|PDF|ZIP|GSPS|CTRL|Ctrl|Shift|Alt|Esc|Enter|Space|Home|End|Del|Delete|Backspace"
    r"|Page up|Page down|Cobb|MIP|MinIP|fps|mouse|CT|HU|Storage Commitment|L.max|L.min|AAPM TG18|JND)\b"
)
SAID = """() => {
  // Text of data sets stays as it is.
  const data = 'td, .said, .person, .study-title, .series-title, .corner, .edge, .scale-bar, .thumb, .chip, .probe, '
    + 'kbd';
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    if (element.closest(data) || element.closest('noscript, script, style')) continue;
    if (!element.checkVisibility()) continue;
    for (const name of ['aria-label', 'title', 'placeholder']) {
      const value = element.getAttribute(name);
      if (value && !element.matches('.series-open, .viewport')) found.push(value);
    }
    for (const node of element.childNodes) if (node.nodeType === 3 && node.data.trim()) found.push(node.data.trim());
  }
  return found;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    files = [objects.encoded(ds) for ds in [*objects.stack(), objects.state(), objects.greys()[0]]]
    with ours.background(lambda: served(tmp_path_factory.mktemp("language"), files)) as url:
        yield url


def english(viewer: Viewer) -> set[str]:
    """What is said on the page in Latin letters."""
    said: list[str] = viewer.page.evaluate(SAID)
    assert len(said) > 10
    return {text for text in said if re.search(r"[A-Za-z]{3,}", ALIKE.sub("", text))}


@pytest.mark.browser
def test_the_pages_are_korean_in_a_korean_browser(chromium: Browser, address: str) -> None:
    with watched(chromium, address, locale="ko-KR") as viewer:
        viewer.list()
        assert "ko" == viewer.page.evaluate("() => document.documentElement.lang")
        assert set() == english(viewer)
        viewer.press("?")
        viewer.page.wait_for_selector("dialog.help")
        assert set() == english(viewer)
        viewer.press("Escape")
        viewer.page.wait_for_selector("dialog.help", state="detached")
        viewer.page.wait_for_selector(".studies-page[data-scopes]")
        viewer.press("q")
        viewer.page.wait_for_selector("dialog.status .figures")
        assert set() == english(viewer)
        viewer.open("2.25.70001")
        assert set() == english(viewer)
        for button in ("윈도우", "측정", "배치"):
            viewer.page.locator(f".tool.wide[aria-label='{button}']").click()
            viewer.settle()
            assert {"SOFT", "AIR"} >= english(viewer)
            viewer.page.keyboard.press("Escape")
        viewer.page.locator(".viewport").focus()
        viewer.press("?")
        viewer.page.wait_for_selector("dialog.help")
        assert set() == english(viewer)
        viewer.press("Escape", "d")
        viewer.page.wait_for_selector(".header-panel td.tag")
        assert set() == english(viewer)


@pytest.mark.browser
def test_the_language_is_chosen_and_kept(chromium: Browser, address: str) -> None:
    with watched(chromium, address) as viewer:
        viewer.list()
        assert "en" == viewer.page.evaluate("() => document.documentElement.lang")
        viewer.page.click("button.language[lang=ko]")
        viewer.page.wait_for_selector("button.language[lang=en]")
        viewer.page.wait_for_selector("tbody tr")
        viewer.open("2.25.70001")
        assert "ko" == viewer.page.evaluate("() => document.documentElement.lang")
        assert viewer.page.locator(".toolbar[aria-label='도구']").is_visible()
        # A patient's name is not the interface's, in whichever language.
        assert "Hong, Gildong" in viewer.text("top-left")
        viewer.press("?")
        viewer.page.click("dialog button.language[lang=en]")
        viewer.page.wait_for_selector(".toolbar[aria-label='Tools']")


def test_what_an_upload_was_refused_for_is_said_in_korean() -> None:
    upload, unzip = ((STATIC / name).read_text("utf-8") for name in ("js/upload.js", "js/unzip.js"))
    reasons = re.findall(r'^  0x[0-9a-f]{4}: "(.*)",$', upload, re.M) + re.findall(r'new NotAZip\("(.*?)"\)', unzip)
    assert len(reasons) > 10
    assert [] == [reason for reason in reasons if reason not in KOREAN]


@pytest.mark.parametrize("name", ["js/panels/status.js", "js/procedures/page.js"])
def test_kinds_and_states_are_said_in_korean(name: str) -> None:
    tables = re.findall(r"^const (?:KINDS|STATES) = \{(.*)\};$", (STATIC / name).read_text("utf-8"), re.M)
    said = [english for table in tables for english in re.findall(r': "(.*?)"', table)]
    assert len(said) > 8
    assert [] == [english for english in said if english not in KOREAN]


def test_placeholders_survive_translation() -> None:
    assert len(KOREAN) > 300
    for words, korean in KOREAN.items():
        assert sorted(re.findall(r"\{\d\}", words)) == sorted(re.findall(r"\{\d\}", korean)), words
        assert korean.strip(), words
