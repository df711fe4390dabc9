"""How every command speaks: data on stdout, all else on stderr, colour and progress only for a terminal.

Rich is imported when something is drawn, not before: most of what a script calls draws nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.errors import IsocenterError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Write data as JSON.")]

_ENDLESS = 1_000_000  # columns
_PATIENCE = 1.0  # seconds before a progress bar appears


def console(*, stderr: bool = False) -> Console:
    """Where tables and colours go; plain where it is no terminal, and never wrapped there."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), width=None if stream.isatty() else 200)


def write(text: str) -> None:
    """One line of data on stdout."""
    sys.stdout.write(text + "\n")


def write_json(value: Any) -> None:
    """One JSON document on stdout: indented on a terminal, else on one line, so that several make JSON Lines."""
    import json  # not before: most commands are not asked for it

    write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=str))


def note(text: str) -> None:
    """One line for the person, on stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def hush() -> None:
    """No log lines on stderr, for commands that tell in their own words what became of each object."""
    import logging

    logger = logging.getLogger("isocenter")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


def fail(error: IsocenterError, subject: str = "") -> None:
    """A typed error as message and hint on stderr; `subject` is the file or peer it is about."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    mark, end = ("\x1b[1;31m", "\x1b[0m") if coloured else ("", "")
    note(f"{mark}error:{end} {subject + ': ' if subject else ''}{error}")
    if error.hint:
        note(f"       {error.hint}")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """A table on stdout; a cell that is a Text brings its own colour."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Column, Table

    frame = SIMPLE_HEAD if sys.stdout.isatty() else None
    # Of a cell that does not fit nothing is cut off: half a UID is none.
    drawn = Table(
        *(Column(name, overflow="fold") for name in columns),
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=frame,
        pad_edge=False,
    )
    for row in rows:
        drawn.add_row(*(escape(cell) if isinstance(cell, str) else cell for cell in row))
    screen = console()
    if not sys.stdout.isatty():
        # Whoever reads a pipe line by line finds a whole row on each.
        endless = screen.options.update(max_width=_ENDLESS)
        screen.width = max(screen.width, screen.measure(drawn, options=endless).maximum)
    screen.print(drawn)


def amount(count: float) -> str:
    """A number of bytes for people, in decimal units."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


class Bar:
    """A progress bar on stderr that appears after a second, and only on a terminal."""

    def __init__(self, title: str, total: int | None, *, unit_is_bytes: bool = False) -> None:
        self._title = title
        self._bytes = unit_is_bytes
        self._begun = time.monotonic()
        self.visible = sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self.total = total
        self.done = 0

    def advance(self, by: int = 1) -> None:
        self.done += by
        if not self.visible:
            return
        if self._progress is None:
            if time.monotonic() - self._begun < _PATIENCE:
                return
            self._start()
        if self._progress is not None and self._task is not None:
            rate = f"{self.done / (time.monotonic() - self._begun):.0f}/s"
            self._progress.update(self._task, completed=self.done, total=self.total, rate=rate)

    def _start(self) -> None:
        from rich import progress

        if self._bytes:
            amounts: list[progress.ProgressColumn] = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
        else:
            amounts = [progress.MofNCompleteColumn(), progress.TextColumn("{task.fields[rate]}")]
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            *amounts,
            progress.TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=self.total, completed=self.done, rate="")

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextlib.contextmanager
def bar(title: str, total: int | None, *, unit_is_bytes: bool = False) -> Iterator[Bar]:
    """A Bar, closed at the end whatever happens. `total` None: not known (yet; set `.total` later)."""
    made = Bar(title, total, unit_is_bytes=unit_is_bytes)
    try:
        yield made
    finally:
        made.close()


def painter(colours: Mapping[str, str]) -> Callable[[str, str], str]:
    """A function (text, kind) that colours for a terminal by ANSI codes, and leaves text alone elsewhere."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, kind: text
    return lambda text, kind: f"\x1b[{colours[kind]}m{text}\x1b[0m" if colours.get(kind) and text else text
