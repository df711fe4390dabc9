"""A page of the viewer as a user sees it, and the server behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn
from PIL import Image as Pillow

from isocenter.archive.archive import Archive
from isocenter.errors import DataSetError
from isocenter.model import Origin
from isocenter.settings import Settings
from isocenter.web.app import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Seconds that anything waited for may take: two Chromiums and their servers share two cores, and only failing costs it
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def served(folder: Path, files: list[bytes], **rows: Any) -> AsyncIterator[str]:
    """Address of a server over an archive with `files`; what is no DICOM object is left out."""
    settings = Settings(archive_data=folder).replace(**rows)
    async with await Archive.open(folder, settings) as archive:
        for data in files:
            with contextlib.suppress(DataSetError):
                await archive.ingest([data], Origin("test"))
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(archive, settings), log_level="warning", lifespan="off"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            archive.feed.end()  # as the server does, or a list that listens would keep it
            server.should_exit = True
            await running


# Whether the frame that was asked for is on the canvas, and the viewer around it; and what there is where it is not
_SHOWN = """() => {
  const v = document.querySelector('.viewport');
  return v && !v.classList.contains('is-empty') && !v.classList.contains('is-loading')
    && v.querySelector('.bottom-right').textContent !== '' && !v.closest('[aria-busy]');
}"""
_INSTEAD = """() => [...document.querySelectorAll('#app > *, .viewport, .toast')].map(
  (element) => `${element.cloneNode().outerHTML} ${element.innerText.slice(0, 300)}`)"""


@dataclass
class Viewer:
    """A page of the viewer, with what a user can see of it."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def watch(self) -> None:
        self.page.on(
            "console",
            lambda m: self.problems.append(f"{m.text} {m.location['url']}") if m.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda r: None if self._own(r.url) else self.problems.append(f"outside: {r.url}"))

    def _own(self, url: str) -> bool:
        return url.startswith((f"{self.address}/", "data:", f"blob:{self.address}/"))

    def list(self, query: str = "") -> None:
        """Opens the study list and waits for all of its rows."""
        self.page.goto(f"{self.address}/{query}")
        self.page.wait_for_selector("tbody tr")
        self.answered()

    def answered(self) -> None:
        """Waits until the list has all of its rows: they come in parts."""
        self.page.wait_for_selector(".list-scroll[aria-busy=false]")
        self.settle()

    def rows(self) -> list[str]:
        """Patient IDs of the rows of the study list, from the top."""
        found: list[str] = self.page.locator("tbody tr .c-id").all_inner_texts()
        return found

    def open(self, path: str) -> None:
        """Opens an address below /view/ and waits for the picture."""
        self.page.goto(f"{self.address}/view/{path}")
        self.shown()

    def shown(self) -> None:
        """Waits until the frame that was asked for is on the canvas, and the viewer around it."""
        from playwright.sync_api import TimeoutError as Late

        try:
            self.page.wait_for_function(_SHOWN)
        except Late as error:
            what = self.page.evaluate(_INSTEAD)
            raise AssertionError(f"no picture at {self.page.url}: {what} {self.problems}") from error
        self.settle()

    def settle(self) -> None:
        """Waits for two animation frames: what was scheduled has been painted."""
        self.page.evaluate("() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r())))")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def until(self, true: Callable[[], object]) -> None:
        """Waits for what only Python sees, while the page goes on."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, "it did not happen"
            self.page.wait_for_timeout(50)

    def text(self, corner: str) -> str:
        """Text of "top-left", "top-right", "bottom-left" or "bottom-right"."""
        found: str = self.page.locator(f".viewport.is-active .{corner}, .viewport .{corner}").first.inner_text()
        return found

    def canvas(self, which: str = "canvas.picture") -> np.ndarray[Any, Any]:
        """What is painted: uint8, shape (height, width, 3)."""
        url: str = self.page.evaluate("(which) => document.querySelector(which).toDataURL('image/png')", which)
        return np.array(Pillow.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def pixels(self, rows: int, columns: int) -> np.ndarray[Any, Any]:
        """The picture at one screen pixel for one image pixel: uint8, shape (rows, columns, 3)."""
        self.press("a")
        painted = self.canvas()
        top = round_half_up(painted.shape[0] / 2 - rows / 2)
        left = round_half_up(painted.shape[1] / 2 - columns / 2)
        return painted[top : top + rows, left : left + columns]


def round_half_up(value: float) -> int:
    """JavaScript's Math.round."""
    return int(np.floor(value + 0.5))


@contextlib.contextmanager
def watched(
    chromium: Browser,
    address: str,
    width: int = 1366,
    height: int = 768,
    tolerate: str = "\0",
    locale: str = "en-GB",
    **options: Any,
) -> Iterator[Viewer]:
    """A page that is closed at the end; then every problem that does not contain `tolerate` fails the test. `options`
    are those of a browser context."""
    context = chromium.new_context(viewport={"width": width, "height": height}, locale=locale, **options)
    page = Viewer(context.new_page(), address)
    page.page.set_default_timeout(PATIENCE * 1000)
    page.watch()
    try:
        yield page
    finally:
        context.close()
    problems = [problem for problem in page.problems if tolerate not in problem]
    if problems:
        pytest.fail("the page reported:\n" + "\n".join(problems), pytrace=False)
