"""Pages of documentation and their code blocks.

Every ```python and ```console block is run, page by page, top to bottom, in one folder. A block that cannot be run has
a comment on the line before it: <!-- not run: reason -->. In a console block `$ ` begins a command; what follows is
the expected output, compared with "..." standing for anything; no lines mean that any output is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block. `not_run` is the reason it is left out, or None."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None


@dataclass(frozen=True)
class Command:
    """One `$ ` line of a console block, continuation lines joined, with the output the page shows."""

    line: str
    expected: str


def pages() -> list[Path]:
    """README and its siblings, and everything below docs/ that is written by hand or made."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("bench/*.md")])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of one page that name a language."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = _NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        indent = len(match["indent"])
        content = "".join(row[indent:] if row[:indent].isspace() else row for row in match["text"].splitlines(True))
        found.append(Block(page, line, match["language"], content, before["reason"] if before else None))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        command = lines.pop(0)
        while command.endswith("\\") and lines:
            command = command[:-1] + lines.pop(0).removeprefix("> ").strip()
        yield Command(command, "\n".join(lines).strip())


def matches(expected: str, output: str) -> bool:
    """Whether output is what the page shows; "..." stands for anything, outer white space for nothing."""
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None
