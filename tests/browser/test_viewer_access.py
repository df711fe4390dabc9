"""The viewer for those who do not see, point or move much: names, focus, contrast, words for what changes, keys.

And for a battery: a page that is looked at does nothing.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from test_viewer_safety import STATIC
from viewer_page import Viewer, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STACK = "2.25.70001"
LEAST = 4.5  # WCAG 2.2, 1.4.3
SHEET = (STATIC / "css/app.css").read_text("utf-8")
TOKENS = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", SHEET))


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_of_text_is_read_on_every_ground() -> None:
    pairs = [*product(("text", "muted", "faint", "accent", "warn"), ("bg", "surface", "raised", "hover"))]
    pairs.append(("accent-text", "accent"))
    found = {pair: contrast(TOKENS[pair[0]], TOKENS[pair[1]]) for pair in pairs}
    assert {} == {pair: value for pair, value in found.items() if value < LEAST}
    assert 21 == pytest.approx(contrast("#000000", "#ffffff"))


UNNAMED = """() => [...document.querySelectorAll(
    'button, a[href], select, textarea, input:not([type=file]), [role=menu] > *, dialog, [tabindex="0"]')]
  .filter((e) => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || e.placeholder
    || e.labels?.[0]?.textContent.trim() || e.getAttribute('aria-labelledby')))
  .map((e) => e.outerHTML.slice(0, 120))"""
WRONG = """() => [
  ...[...document.querySelectorAll('[tabindex]')].filter((e) => e.tabIndex > 0),
  ...[...document.querySelectorAll('[id]')].filter((e, i, all) => all.some((o, k) => k < i && o.id === e.id)),
  ...document.querySelectorAll('img:not([alt]), [role=menuitem]:not([role=menu] *), ul > :not(li), ol > :not(li)'),
].filter((e) => e.checkVisibility()).map((e) => e.outerHTML.slice(0, 120))"""
# Text on grounds that are colours: those of pictures and gradients are nobody's to compute.
FAINT = """(least) => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const ground = (e) => {
    const found = [];
    for (let at = e; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c[3] > 0) found.push(c);
      if (c[3] === 1) break;
    }
    return found.reduceRight((below, c) => over(c, below), [10, 12, 15, 1]);
  };
  const light = (c) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = c.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    if (!e.checkVisibility({ opacityProperty: true })) continue;
    if (e.closest('.overlay, .shapes, :disabled, [aria-disabled=true], svg, noscript')) continue;
    const below = ground(e);
    const [a, b] = [light(over(parse(getComputedStyle(e).color), below)), light(below)].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.push([e.className || e.tagName, e.textContent.slice(0, 30), ratio]);
  }
  return found;
}"""


def sound(viewer: Viewer) -> None:
    """Every control has a name, nothing is out of order, and all text can be read."""
    assert [] == viewer.page.evaluate(UNNAMED)
    assert [] == viewer.page.evaluate(WRONG)
    assert [] == viewer.page.evaluate(FAINT, LEAST)
    assert 1 == viewer.page.locator("main:visible").count()
    assert viewer.page.evaluate("() => document.documentElement.lang")


@pytest.mark.browser
def test_every_control_has_a_name_and_every_text_contrast(viewer: Viewer) -> None:
    viewer.list()
    sound(viewer)
    viewer.open(STACK)
    sound(viewer)
    for name in ("Window", "Measure", "Layout"):
        viewer.page.locator(f".tool.wide[aria-label='{name}']").click()
        viewer.page.wait_for_selector(".menu:not([hidden])")
        sound(viewer)
        viewer.page.keyboard.press("Escape")
    viewer.page.locator(".viewport").focus()
    viewer.press("d")
    viewer.page.wait_for_selector(".header-panel td.tag")
    sound(viewer)
    viewer.page.locator(".viewport").focus()  # in the panel's field a question mark is one
    viewer.press("?")
    viewer.page.wait_for_selector("dialog.help[open]")
    sound(viewer)


@pytest.mark.browser
def test_focus_is_seen_stays_in_windows_and_comes_back(viewer: Viewer) -> None:
    viewer.open(STACK)
    seen = set()
    for _ in range(40):
        viewer.page.keyboard.press("Tab")
        name, visible = viewer.page.evaluate(
            """() => { const e = document.activeElement;
              const style = getComputedStyle(e), after = getComputedStyle(e, '::after');
              const thumb = getComputedStyle(e, '::-webkit-slider-thumb');
              const shown = style.outlineStyle !== 'none' || style.boxShadow !== 'none' || after.boxShadow !== 'none';
              return [e.getAttribute('aria-label') || e.textContent.slice(0, 20) || e.tagName,
                shown || e.tagName === 'BODY' || e.type === 'range' && thumb !== null]; }"""
        )
        seen.add(name)
        assert visible, name
    assert {"Window and level", "Pan", "Invert", "Window", "Measure", "Keyboard map"} <= seen
    viewer.page.locator(".viewport").focus()
    viewer.press("?")
    viewer.page.wait_for_selector("dialog.help[open]")
    for _ in range(8):
        viewer.page.keyboard.press("Tab")
        # Between the last and the first control of a window the browser's own bar has the focus, and no other control.
        assert viewer.page.evaluate("() => document.activeElement.matches('body, dialog, dialog *')")
    viewer.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")
    assert viewer.page.evaluate("() => document.activeElement.matches('.viewport')")


@pytest.mark.browser
def test_what_changes_is_said(viewer: Viewer) -> None:
    viewer.open(STACK)
    said = ".viewer-page .visually-hidden[role=status]"
    viewer.press("ArrowDown")
    viewer.page.wait_for_selector(f"{said}:has-text('image 2 of 12')", state="attached")
    viewer.press("2")
    viewer.page.wait_for_selector(f"{said}:has-text('W 1500')", state="attached")


@pytest.mark.browser
def test_nothing_moves_for_those_who_do_not_want_it(chromium: Browser, address: str) -> None:
    moving = """() => { const v = document.querySelector('.viewport'); v.classList.add('is-loading');
      return getComputedStyle(v, '::before').animationDuration; }"""
    for wish, expected in (("reduce", "0s"), ("no-preference", "1.1s")):
        with watched(chromium, address, reduced_motion=wish) as viewer:
            viewer.open(STACK)
            assert expected == viewer.page.evaluate(moving)


@pytest.mark.browser
def test_the_map_of_keys_is_that_of_the_keys(viewer: Viewer) -> None:
    viewer.open(STACK)
    bindings: list[dict[str, Any]] = viewer.page.evaluate(
        """async () => {
          const { viewerBindings } = await import('/js/viewerkeys.js');
          const { keyLabel } = await import('/js/keyboard.js');
          const bindings = viewerBindings(null);
          return bindings.map(({ keys, label, shown }) => ({ keys, label, shown, signs: keys.map(keyLabel) }));
        }"""
    )
    keys = [key for binding in bindings for key in binding["keys"]]
    assert len(keys) == len(set(keys)) > 60
    viewer.press("?")
    viewer.page.wait_for_selector("dialog.help[open]")
    rows: list[list[str]] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('dialog.help .help-row:has(kbd)')]
          .map((row) => ['dd', 'kbd'].flatMap((name) => [...row.querySelectorAll(name)].map((e) => e.textContent)))"""
    )
    # Every key stands in its row; where there are too many for it, in words that name the first and the last.
    assert [[b["label"], *([b["shown"]] if b["shown"] else b["signs"])] for b in bindings] == rows
    for binding in bindings:
        if binding["shown"]:
            assert binding["shown"].split(" – ") == [binding["keys"][0], binding["keys"][-1]]
    # What buttons say of their keys is true as well.
    viewer.press("Escape")
    viewer.page.wait_for_selector("dialog", state="detached")
    titles: list[str] = viewer.page.evaluate(
        "() => [...document.querySelectorAll('.viewer-page button[title]')].map((b) => b.title)"
    )
    named = [found[1] for title in titles if (found := re.search(r"\( ?([^()]{1,12}?) ?\)$", title))]
    assert len(named) > 15
    signs = {sign for binding in bindings for sign in binding["signs"]} | {"0 to 9"}
    assert set() == set(named) - signs


IDLE = """
  window.due = new Set(); window.asked = 0;
  const [later, never, frame, always] = [setTimeout, clearTimeout, requestAnimationFrame, setInterval];
  window.setTimeout = (run, ms, ...rest) => { window.asked += 1;
    const id = later((...a) => { window.due.delete(id); run(...a); }, ms, ...rest); window.due.add(id); return id; };
  window.clearTimeout = (id) => { window.due.delete(id); never(id); };
  window.requestAnimationFrame = (run) => { window.asked += 1; return frame(run); };
  window.setInterval = (...a) => { window.asked += 1; return always(...a); };
"""


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/", f"/view/{STACK}"], ids=["list", "stack"])
def test_a_page_that_is_looked_at_does_nothing(viewer: Viewer, path: str) -> None:
    """No timer and no animation frame once all is there: the processor sleeps."""
    viewer.page.add_init_script(IDLE)
    if path == "/":
        viewer.list()
    else:
        viewer.open(path.removeprefix("/view/"))
    # Playwright's own waiting would ask for frames: here it is Python that waits.
    for _ in range(100):
        before = viewer.page.evaluate("() => [window.due.size, window.asked]")
        viewer.page.wait_for_timeout(1000)
        after = viewer.page.evaluate("() => [window.due.size, window.asked]")
        if before == after and after[0] == 0:
            break
    else:
        pytest.fail(f"still {after} timers waiting and asked for")
    assert after[1] > 0  # the watch is on
