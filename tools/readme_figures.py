"""The table of the README: some rows of bench/README.md, the missed ones among them, and not a figure of its own."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BENCHES = ROOT / "bench" / "README.md"
_BEGIN = "<!-- Made by tools/generate_docs.py from bench/README.md -->"
_END = "<!-- end of the figures -->"

_EXACT = 100  # a larger ratio is told in whole numbers

# Table of bench/README.md, what its row begins with, and what that is in a word
_ROWS = (
    ("serve", "512 KiB, 1 association", "Receive and keep 512 KiB, durably, 1 association"),
    ("serve", "39 KiB, 4 associations", "Receive and keep 39 KiB, durably, 4 associations"),
    ("receive", "512 KiB, 4 associations", "Receive 512 KiB into files, 4 associations"),
    ("store", "4000 files of 39 KiB, 1 association", "Send 39 KiB"),
    ("retrieve", "C-GET, beside Orthanc", "C-GET, 512 KiB"),
    ("retrieve", "C-MOVE, beside dcmqrscp", "C-MOVE, 512 KiB"),
    ("dicomweb", "QIDO-RS, 1,000 instances, warm", "QIDO-RS, 1,000 instances"),
    ("dicomweb", "metadata of 1,000 instances, warm", "Metadata of 1,000 instances"),
    ("dicomweb", "study of 100 slices", "WADO-RS of a study"),
    ("dicomweb", "single frames", "WADO-RS of a frame, 512 KiB"),
    ("dicomweb", "STOW-RS", "STOW-RS, 512 KiB"),
    ("scan", "keys of CT_small", "Index keys from a header"),
    ("frames", "a file, Basic Offset Table: frame 5,000 of 10,000, beside", "Frame 5,000 of 10,000"),
    ("render", "a CT of 512 x 512 to PNG", "A CT as PNG"),
    ("viewer", "first image of 300 slices, nothing in the cache", "First image in the browser"),
)


def readme_page() -> str:
    """The README with the table made anew."""
    before, begin, rest = (ROOT / "README.md").read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    if not begin or not after:
        raise SystemExit("README.md has lost the marks of its table")
    return "".join([before, begin, "\n", *(f"{line}\n" for line in _table()), _END, after])


def _table() -> list[str]:
    text = _BENCHES.read_text("utf-8")
    lines = ["", "| what | Isocenter | the best peer | ratio | goal |", "|---|---|---|---|---|"]
    for section, beginning, name in _ROWS:
        table = text.partition(f"<!-- {section}: made by")[2].partition(f"<!-- {section}: end")[0]
        row = next((line for line in table.splitlines() if line.startswith(f"| {beginning}")), None)
        if row is None:
            raise SystemExit(f"bench/README.md has no row {beginning!r} among those of {section}")
        _, unit, ours, peers, ratio, goal, reached = (cell.strip() for cell in row.strip("| ").split(" | ", 6))
        wanted = f"{goal} {reached.strip(' |')}".strip()
        median = ours.partition(" (")[0]
        peer = _best(peers, _number(median), float(ratio))
        ratio = ratio if float(ratio) < _EXACT else f"{float(ratio):,.0f}"
        lines.append(f"| {name} | {median} {unit} | {peer} | {ratio} | {wanted} |")
    return [*lines, ""]


def _best(peers: str, ours: float, ratio: float) -> str:
    """The peer of a row with which its ratio was made."""
    found = re.findall(r"(?:^|<br>)(.*?) ([\d,.]+)(?=<br>|$)", peers)

    def off(figure: str) -> float:
        theirs = _number(figure)
        return min(abs(theirs / ours - ratio), abs(ours / theirs - ratio))

    name, figure = min(found, key=lambda peer: off(peer[1]))
    return f"{name.strip()} {figure}"


def _number(figure: str) -> float:
    return float(figure.replace(",", ""))
