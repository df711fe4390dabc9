"""Our viewer beside OHIF, in one Chromium on one server: `isocenter serve --ohif`, with the OHIF of `make ohif`.

Both are measured from outside, in the same way. Each round is one visit with a browser that has nothing in its cache:
it opens the study, scrolls, changes the window, and opens the study again; another such browser opens the large image,
and a third the list of studies. A visit begins in a tab that has come to rest: Chromium starts a process for a new one,
and what that takes is no page's. A picture is there when the viewer's canvas, looked at in each animation frame, is not
black any more; a list when a row of a table has the patient's name. Bytes are what came over the network until then, as
Chromium counts them, without the frame itself: scripts, pages, and what was asked of DICOMweb beside it. A scroll turns
the wheel from one end of the series to the other, as fast as the page takes it, once the viewer has what it asks for
ahead of time; a frame's time is the one between two of them.

What a change of the window costs is said twice: by our viewer's own clock around its painting (User Timing), and as the
processor time of the page's main thread for each step of a drag (Chromium's TaskDuration in thread ticks). The latter
holds all of it, the mouse, the texts, putting the page together, and the asking itself, for both viewers; what WebGL in
software does for OHIF in another process is not in it.

The study is a computed phantom of 300 slices of 512 by 512 with 16 bits, and an image of 4,096 by 3,500. Where a goal
is a figure of its own, it stands as "wanted", and OHIF beside it for information.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

import harness
import isocenter
from harness import peers

SLICES, SIDE = 300, 512
LARGE = (4096, 3500)
GOAL_FIRST = 10.0
LONGEST_FRAME, REPAINT, BYTES = 50.0, 4.0, 300.0  # ms, ms, kB
DRAG = 120  # steps
SCREEN = {"width": 1366, "height": 768}
PATIENCE = 120_000  # ms
QUIET = 1500  # ms without a new frame: the viewer has what it wants
REST = 500  # ms in which Chromium has made a tab, whoever's page comes into it
PATIENT = "PHANTOM"
CHROMIUM = [
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--force-color-profile=srgb", "--disable-gpu", "--enable-unsafe-swiftshader"),
]
OHIF = harness.ROOT / "ohif"

# Looks in each animation frame; `bench.light` is the mean of the canvas, 0 to 255.
LOOK = """(() => {
  performance.setResourceTimingBufferSize(5000);
  const small = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
  const context = small.getContext("2d", { willReadFrequently: true });
  const bench = { first: 0, light: 0, looking: true };
  window.bench = bench;
  bench.look = () => {
    const canvas = document.querySelector("SELECTOR");
    if (!canvas || !canvas.width || !canvas.height) return 0;
    context.drawImage(canvas, 0, 0, 32, 32);
    const values = context.getImageData(0, 0, 32, 32).data;
    let sum = 0;
    for (let i = 0; i < values.length; i += 4) sum += values[i];
    return (bench.light = sum / 1024);
  };
  const each = () => {
    if (bench.look() > 0) bench.first = performance.now();
    else requestAnimationFrame(each);
  };
  requestAnimationFrame(each);
})()"""
# The same for the first row of a list.
LIST = """(() => {
  const bench = { first: 0 };
  window.bench = bench;
  const each = () => {
    const rows = [...document.querySelectorAll("tr")];
    if (rows.some((row) => row.textContent.includes("PATIENT"))) bench.first = performance.now();
    else requestAnimationFrame(each);
  };
  requestAnimationFrame(each);
})()"""
FRAMES = "() => performance.getEntriesByType('resource').filter((e) => e.name.includes('/frames/')).length"
# Times between animation frames, from now on until there is no list for them.
RECORD = """() => {
  bench.frames = [];
  let last = performance.now();
  const each = (now) => {
    if (!bench.frames) return;
    bench.frames.push(now - last);
    last = now;
    requestAnimationFrame(each);
  };
  requestAnimationFrame(each);
}"""
# The next animation frame; milliseconds of our viewer's last painting.
TICK = """() => new Promise((done) => requestAnimationFrame(() =>
  done(performance.getEntriesByName("isocenter-paint")[0]?.duration ?? 0)))"""


@dataclass(frozen=True)
class Viewer:
    """Where a viewer shows a study, on which canvas, and what lies over it for who comes for the first time."""

    path: Callable[[str], str]
    canvas: str
    listing: str
    notices: tuple[str, ...] = ()


OURS = Viewer(lambda study: f"view/{study}", "canvas.picture", "")
THEIRS = Viewer(
    lambda study: f"ohif/viewer?StudyInstanceUIDs={study}",
    ".cornerstone-canvas",
    "ohif/",
    ("Skip all", "Confirm and hide"),
)


@dataclass
class Traffic:
    """What came over the network: each answer's address, bytes and when it ended, in seconds of Chromium's clock."""

    session: CDPSession
    asked: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, int, float]] = field(default_factory=list)
    offset: float = 0.0  # of that clock to the wall's

    def __post_init__(self) -> None:
        self.session.on("Network.requestWillBeSent", self._sent)
        self.session.on("Network.loadingFinished", self._finished)
        self.session.send("Network.enable")

    def _sent(self, event: dict[str, Any]) -> None:
        self.asked[event["requestId"]] = event["request"]["url"]
        self.offset = event["wallTime"] - event["timestamp"]

    def _finished(self, event: dict[str, Any]) -> None:
        url = self.asked.get(event["requestId"], "")
        self.answers.append((url, int(event["encodedDataLength"]), event["timestamp"]))

    def until(self, wall: float) -> int:
        """Bytes of what ended before a time of the wall clock, without frames."""
        return sum(size for url, size, end in self.answers if end + self.offset <= wall and "/frames/" not in url)


@dataclass
class Visit:
    """What was found out in one browser that had nothing in its cache; milliseconds and kB."""

    first: float
    kilobytes: float
    again: float
    longest_frame: float
    main_thread: float
    painting: float
    large: float
    listed: float


class Bench:
    """A running server and browser. One visit gives a figure for each row, since most of it is waiting: the rows take
    theirs from it one after the other."""

    def __init__(self, browser: Browser, address: str, stack: str, large: str) -> None:
        self._browser, self._address = browser, address
        self._stack, self._large = stack, large
        self._visits: dict[Viewer, list[Visit]] = {OURS: [], THEIRS: []}
        self._taken: Counter[tuple[Viewer, str]] = Counter()

    def figure(self, viewer: Viewer, name: str) -> float:
        """The figure of a row's next round."""
        number = self._taken[viewer, name]
        self._taken[viewer, name] += 1
        visits = self._visits[viewer]
        if number == len(visits):
            visits.append(self._visit(viewer))
        return float(getattr(visits[number], name))

    def _visit(self, viewer: Viewer) -> Visit:
        with self._opened() as (page, session):
            page.add_init_script(LOOK.replace("SELECTOR", viewer.canvas))
            traffic = Traffic(session)
            first = self._show(page, viewer.path(self._stack))
            wall = float(page.evaluate("() => performance.timeOrigin")) / 1000 + first / 1000
            page.wait_for_timeout(200)  # what Chromium still has to tell of answers before
            kilobytes = traffic.until(wall) / 1000
            self._ready(page, viewer)
            longest = self._scroll(page, viewer)
            main_thread, painting = self._drag(page, session, viewer)
            page.goto("about:blank")
            again = self._show(page, viewer.path(self._stack))
        with self._opened() as (page, _):
            page.add_init_script(LOOK.replace("SELECTOR", viewer.canvas))
            large = self._show(page, viewer.path(self._large))
        with self._opened() as (page, _):
            page.add_init_script(LIST.replace("PATIENT", PATIENT))
            listed = self._show(page, viewer.listing)
        return Visit(first, kilobytes, again, longest, main_thread, painting, large, listed)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Page, CDPSession]]:
        """A page in a browser with an empty cache."""
        context = self._browser.new_context(viewport=SCREEN)  # type: ignore[arg-type]
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            yield page, context.new_cdp_session(page)
        finally:
            context.close()

    def _show(self, page: Page, path: str) -> float:
        """Milliseconds from the address to the picture, or to the first row."""
        page.wait_for_timeout(REST)
        page.goto(f"{self._address}/{path}", wait_until="commit")
        page.wait_for_function("() => window.bench?.first > 0")
        return float(page.evaluate("() => bench.first"))

    @staticmethod
    def _scroll(page: Page, viewer: Viewer) -> float:
        """Milliseconds of the longest frame of a scroll through all slices, of which the first and last are bright."""
        page.hover(viewer.canvas)
        page.evaluate(RECORD)
        for number in range(1, SLICES):
            page.mouse.wheel(0, 100)
            if number == SLICES // 2:
                page.wait_for_function("() => bench.look() < 128")
        page.wait_for_function("() => bench.look() > 128")
        return float(page.evaluate("() => Math.max(...bench.frames)"))

    @staticmethod
    def _drag(page: Page, session: CDPSession, viewer: Viewer) -> tuple[float, float]:
        """Milliseconds for one of many changes of the window: the main thread's, and by the viewer's clock."""
        page.evaluate("() => { bench.frames = null; }")
        for _ in range(SLICES // 3):
            page.mouse.wheel(0, -100)
        page.wait_for_function("() => bench.look() < 128")
        box = page.locator(viewer.canvas).first.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before, light = _task_time(session), page.evaluate("() => bench.look()")
        own = []
        for step in range(DRAG):
            page.mouse.move(x + step, y + step / 2)
            own.append(float(page.evaluate(TICK)))
        after = _task_time(session)
        page.mouse.up()
        if page.evaluate("() => bench.look()") == light:
            raise RuntimeError("dragging did not change the window")
        return (after - before) * 1000 / DRAG, statistics.median(own)

    @staticmethod
    def _ready(page: Page, viewer: Viewer) -> None:
        """Waits until the viewer asks for no more frames, and puts away what would lie over the picture."""
        known, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET / 1000:
            page.wait_for_timeout(100)
            count = page.evaluate(FRAMES)
            if count != known:
                known, since = count, time.monotonic()
        for text in viewer.notices:
            page.get_by_text(text).first.click()


def _task_time(session: CDPSession) -> float:
    """Seconds of processor time of the page's main thread."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


# --- what is shown --------------------------------------------------------------------------------------------------


def _phantom(number: int) -> np.ndarray[Any, Any]:
    """A disc with noise in a black surround; the first and the last slice are bright."""
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    noise = np.random.default_rng(number).normal(0, 20, (SIDE, SIDE))
    body = np.hypot(rows, columns * 0.8) < 0.7 + 0.1 * np.sin(number / 30)
    inner = np.hypot(rows - 0.3 * np.sin(number / 20), columns) < 0.2
    values = np.where(inner, 300, np.where(body, 40, -1000)) + noise
    if number in (0, SLICES - 1):
        values = 1000 + noise
    return values.astype(np.int16)


def _write(folder: Path) -> tuple[str, str]:
    """Files of both studies; their Study Instance UIDs."""
    folder.mkdir()
    stack = isocenter.create(
        np.stack([_phantom(number) for number in range(SLICES)]),
        modality="CT",
        patient_name=PATIENT,
        pixel_spacing=(0.8, 0.8),
        slice_thickness=1.0,
        spacing_between_slices=1.0,
        window=(40, 400),
        uid_seed="bench of the viewer, stack",
    )
    wide = np.linspace(500, 16000, LARGE[1])[None, :] + np.random.default_rng(1).normal(0, 60, LARGE)
    large = isocenter.create(
        wide.clip(0, 16383).astype(np.uint16),
        modality="OT",
        patient_name=PATIENT,
        window=(8192, 16384),
        uid_seed="bench of the viewer, large",
    )
    for number, ds in enumerate([*stack, large]):
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return str(stack[0].StudyInstanceUID), str(large.StudyInstanceUID)


def comparisons(bench: Bench) -> list[harness.Comparison]:
    """The rows."""

    def rounds(name: str) -> tuple[harness.Round, dict[str, harness.Round]]:
        return lambda: bench.figure(OURS, name), {"OHIF": lambda: bench.figure(THEIRS, name)}

    def beside(text: str, name: str, goal: float | None) -> harness.Comparison:
        ours, theirs = rounds(name)
        return harness.Comparison(text, "ms", ours, theirs, goal, "lower")

    def wanted(text: str, unit: str, name: str, most: float) -> harness.Comparison:
        ours, theirs = rounds(name)
        return harness.Comparison(text, unit, ours, {"wanted": lambda: most}, 1.0, "lower", theirs)

    painting = "painting 512 by 512 after a change of the window, own clock"
    return [
        beside("first image of 300 slices, nothing in the cache", "first", GOAL_FIRST),
        beside("first image of 300 slices, second visit", "again", GOAL_FIRST),
        beside("first paint of 14 megapixels", "large", None),
        beside("first row of the study list, nothing in the cache", "listed", None),
        wanted("loaded before the first image, without it", "kB", "kilobytes", BYTES),
        wanted("longest frame of a scroll through 300 slices", "ms", "longest_frame", LONGEST_FRAME),
        harness.Comparison(painting, "ms", rounds("painting")[0], {"wanted": lambda: REPAINT}, 1.0, "lower"),
        beside("main thread for a change of the window", "main_thread", None),
    ]


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    peers.require("chromium")
    if not (OHIF / "index.html").is_file():
        raise SystemExit("OHIF is not here: make ohif")
    harness.enter_private_network()
    dimse, web = peers.free_port(), peers.free_port()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        stack, large = _write(folder / "files")
        data = folder / "data"
        harness.run_isocenter("import", folder / "files", "--data", data)
        serve = ["serve", "--data", data, "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{web}", "--ohif", OHIF]
        with (
            harness.isocenter(*serve, ports=[dimse, web], log=folder / "isocenter.log"),
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=peers.find_program("chromium"), args=CHROMIUM)
            bench = Bench(browser, f"http://127.0.0.1:{web}", stack, large)
            harness.run("viewer", "The viewer", comparisons(bench), options, folder)
            browser.close()


if __name__ == "__main__":
    main()
