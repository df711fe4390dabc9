"""What pages ask for by themselves ends when nobody is there, and goes on with whoever comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from viewer_page import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

# Counts what is asked for, when it is.
COUNT = """(() => {
  window.asked = 0;
  const ask = window.fetch;
  window.fetch = (address, ...how) => {
    if (String(address).includes("ASKED")) window.asked += 1;
    return ask(address, ...how);
  };
})()"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.mark.parametrize("absence", ["left alone", "hidden"])
@pytest.mark.parametrize(
    ("path", "key", "shown", "asked", "every"),
    [
        ("procedures", "", ".procedures-scroll[aria-busy=false]", "/dicomweb/workitems?", 30_000),
        ("?q=STACK", "q", "dialog.status .figures", "/operation/jobs?", 2000),
    ],
)
def test_nothing_is_asked_for_nobody(
    chromium: Browser, address: str, path: str, key: str, shown: str, asked: str, every: int, absence: str
) -> None:
    """Or a screen that is left alone would keep its session for ever."""
    with watched(chromium, address) as viewer:
        page = viewer.page
        page.add_init_script(COUNT.replace("ASKED", asked))
        page.clock.install(time="2026-05-14T09:00:00+09:00")
        page.goto(f"{address}/{path}")
        if key:
            page.wait_for_selector(".studies-page[data-scopes]")
            viewer.press(key)
        page.wait_for_selector(shown)
        page.clock.pause_at("2026-05-14T10:00:00+09:00")
        page.mouse.move(200, 200)  # it is an hour later

        def times() -> int:
            return int(page.evaluate("() => asked"))

        def passed() -> None:
            page.clock.run_for(every)
            page.wait_for_timeout(100)  # an answer comes, and the next request is thought of

        for _ in range(2):
            before = times()
            viewer.until(lambda before=before: passed() or times() > before)  # type: ignore[misc]
        if absence == "hidden":
            page.evaluate(HIDE, True)
        else:
            page.clock.fast_forward(300_000)
        before = times()
        for _ in range(4):
            passed()
        if absence == "hidden":
            page.evaluate(HIDE, False)
        else:
            page.mouse.move(300, 300)
        viewer.until(lambda: times() > before)
        assert before + 1 == times()
