"""How every command speaks: data on stdout, all else on stderr, colour and progress only for a terminal.

Rich is imported when something is drawn, not before: most of what a script calls draws nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
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
_BAR = 24  # columns of the bar itself, so that the numbers beside it have room on a terminal of 80
_GAP = 2  # columns between those of a table

# Control characters and direction marks, and where a keyword can be read as words
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_WITHIN = re.compile(r"(?<=[a-z])(?=[A-Z])")


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

    if not sys.stdout.isatty():
        write(json.dumps(value, ensure_ascii=False, default=str))
        return
    for line in json.dumps(value, ensure_ascii=False, indent=2, default=str).split("\n"):
        write(_UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line))


def printable(text: str) -> str:
    """`text` with control characters and direction marks written out: no file and no peer steers the terminal."""
    return _UNPRINTABLE.sub(
        lambda match: f"\\u{ord(match[0]):04x}" if ord(match[0]) > 255 else f"\\x{ord(match[0]):02x}", text
    )


def note(text: str) -> None:
    """A line for the person, on stderr."""
    print(_lines(text), file=sys.stderr)  # noqa: T201


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


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
    text = _lines(f"{subject}: {error}" if subject else str(error))
    print(f"{mark}error:{end} {text}", file=sys.stderr)  # noqa: T201
    if error.hint:
        note(f"       {error.hint}")


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, below: Sequence[str] = ()
) -> None:
    """A table on stdout; a cell that is a Text brings its own colour. On a terminal that is too narrow for it, the
    columns named in `below` have lines of their own under each row."""
    from rich.box import SIMPLE_HEAD
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
        drawn.add_row(*map(_shown, row))
    screen = console()
    needed = screen.measure(drawn, options=screen.options.update(max_width=_ENDLESS)).maximum
    if not sys.stdout.isatty():
        # Whoever reads a pipe line by line finds a whole row on each.
        screen.width = max(screen.width, needed)
    elif below and needed > screen.width:
        _print_stacked(screen, columns, [[_shown(cell) for cell in row] for row in rows], below)
        return
    screen.print(drawn)


def _shown(cell: str | Text) -> Text:
    from rich.text import Text

    return Text(printable(cell)) if isinstance(cell, str) else cell


def _print_stacked(
    screen: Console, columns: Sequence[str], rows: Sequence[Sequence[Text]], below: Sequence[str]
) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    beside = [at for at, name in enumerate(columns) if name not in below]
    under = [at for at, name in enumerate(columns) if name in below]
    # A heading is folded between words and never within one.
    heads = [Text(_WITHIN.sub(" ", columns[at]), "bold") for at in beside]
    least = [max(map(len, head.plain.split())) for head in heads]
    most = [max((row[at].cell_len for row in rows), default=0) for at in beside]
    room = screen.width - _GAP * len(beside)
    cap = next((cap for cap in range(max(most), 0, -1) if room >= sum(_widths(least, most, cap))), 1)
    widths = _widths(least, most, cap)

    def put(cells: Sequence[Text], others: Sequence[Text]) -> None:
        # One table for each row, since none of Rich's has cells across several columns.
        line = Table.grid(*(Column(width=width, overflow="fold") for width in widths), padding=(0, _GAP, 0, 0))
        line.add_row(*cells)
        screen.print(line)
        for one in others:
            if one.plain:
                screen.print(Text("  ") + one, overflow="fold")

    put(heads, [Text(columns[at], "bold") for at in under])
    for row in rows:
        put([row[at] for at in beside], [row[at] for at in under])


def _widths(least: Sequence[int], most: Sequence[int], cap: int) -> list[int]:
    """Of columns that get what they need up to `cap`."""
    return [max(low, min(high, cap)) for low, high in zip(least, most, strict=True)]


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
        self.failed = 0  # of those done
        self.remark = ""  # what else there is to say of it

    def advance(self, by: int = 1) -> None:
        self.done += by
        if not self.visible:
            return
        if self._progress is None:
            if time.monotonic() - self._begun < _PATIENCE:
                return
            self._start()
        if self._progress is not None and self._task is not None:
            rate = f"{self.done / (time.monotonic() - self._begun):.0f}/s{self.remark}"
            self._progress.update(self._task, completed=self.done, total=self.total, rate=rate)

    def _start(self) -> None:
        from rich import progress

        if self._bytes:
            amounts: list[progress.ProgressColumn] = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
        else:
            amounts = [progress.MofNCompleteColumn(), progress.TextColumn("{task.fields[rate]}")]
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(_BAR),
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
