"""The data dictionary (PS3.6 sections 6 to 9) and the private dictionaries, read from two compact tables.

The tables are text of one line an attribute; a line is split only when somebody asks for it. Where PS3.6 leaves a
choice of VR, an entry names all ("US/SS", "OB/OW") and `vr_of` the one that implicit VR data are read with
(PS3.5 Annex A.1), as far as that can be told from the tag alone.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent


class Entry(NamedTuple):
    """One attribute. `vr` is "US/SS" and the like where PS3.6 leaves a choice, and empty for item delimiters."""

    vr: str
    vm: str
    keyword: str
    name: str
    retired: bool


# Words, where OW is one of the choices: PS3.5 A.1 has Pixel Data, Overlay Data and LUT Data in implicit VR as OW.
_CHOICE = {"OB/OW": "OW", "US/OW": "OW", "US/SS": "US", "US/SS/OW": "OW", "": "UN"}


class _Tables:
    """The public dictionary: lines by tag, and lines of repeating groups by (mask, tag with the varying digits 0)."""

    def __init__(self) -> None:
        self.lines: dict[int, str] = {}
        self.repeating: dict[int, dict[int, str]] = {}
        for line in (_FOLDER / "dictionary.tsv").read_text("utf-8").splitlines():
            head = line[:8]
            if "x" in head:
                mask = int("".join("0" if digit == "x" else "F" for digit in head), 16)
                self.repeating.setdefault(mask, {})[int(head.replace("x", "0"), 16)] = line
            else:
                self.lines[int(head, 16)] = line

    def find(self, tag: int) -> str | None:
        line = self.lines.get(tag)
        if line is None and not tag & 0x10000:
            for mask, table in self.repeating.items():
                line = table.get(tag & mask)
                if line is not None:
                    break
        return line


@cache
def _tables() -> _Tables:
    return _Tables()


@cache
def _keywords() -> dict[str, int]:
    tables = _tables()
    words = {line.split("\t", 4)[3]: tag for table in tables.repeating.values() for tag, line in table.items()}
    words.update((line.split("\t", 4)[3], tag) for tag, line in tables.lines.items())
    words.pop("", None)
    return words


# Bounded, here and below: received data choose the tags.
@lru_cache(maxsize=8192)
def entry_of(tag: int) -> Entry | None:
    """The entry of a standard attribute; None for private and unknown tags.

    Tags of repeating groups (60xx, 50xx and others) have the entry of their group. Group lengths other than those of
    groups 0000 and 0002 have none: use `vr_of` and `name_of`.
    """
    line = _tables().find(tag)
    if line is None:
        return None
    _, vr, vm, keyword, name, retired = line.split("\t")
    return Entry(vr, vm, keyword, name, retired == "R")


@lru_cache(maxsize=8192)
def vr_of(tag: int) -> str:
    """The VR an attribute has in implicit VR data: two letters, "UN" for what is not known.

    Private creators are LO, group lengths UL (PS3.5 sections 7.8.1, 7.2).
    """
    line = _tables().find(tag)
    if line is not None:
        vr = line.split("\t", 2)[1]
        return _CHOICE.get(vr, vr)
    element = tag & 0xFFFF
    if element == 0:
        return "UL"
    if tag & 0x10000 and 0x10 <= element <= 0xFF:
        return "LO"
    return "UN"


def keyword_of(tag: int) -> str:
    """The keyword ("PatientName"), or "" for private, unknown and nameless tags."""
    line = _tables().find(tag)
    return "" if line is None else line.split("\t", 4)[3]


def name_of(tag: int) -> str:
    """The name ("Patient's Name") for display; "" where there is none."""
    line = _tables().find(tag)
    if line is not None:
        return line.split("\t", 5)[4]
    element = tag & 0xFFFF
    if element == 0:
        return "Group Length"
    if tag & 0x10000 and 0x10 <= element <= 0xFF:
        return "Private Creator"
    return ""


def tag_of(keyword: str) -> int | None:
    """The tag of a keyword; of a repeating group that of its first (OverlayRows: 60000010). None if there is none."""
    return _keywords().get(keyword)


@cache
def sequence_tags() -> frozenset[int]:
    """Every standard tag whose VR is SQ, those of repeating groups included."""
    tables = _tables()
    found = {tag for tag, line in tables.lines.items() if line[9:11] == "SQ"}
    for mask, table in tables.repeating.items():
        for tag in (tag for tag, line in table.items() if line[9:11] == "SQ"):
            # Each number of the digits that vary: (number - 1) & varying is the next smaller one.
            varying = number = ~mask & 0xFFFFFFFF
            while number:
                found.add(tag | number)
                number = (number - 1) & varying
            found.add(tag)
    return frozenset(tag for tag in found if not tag & 0x10000)


class PrivateEntry(NamedTuple):
    """One private attribute as its owner, or those who looked at its files, describe it."""

    vr: str
    vm: str
    name: str


@cache
def _private() -> dict[str, dict[str, PrivateEntry]]:
    creators: dict[str, dict[str, PrivateEntry]] = {}
    table: dict[str, PrivateEntry] = {}
    for line in (_FOLDER / "private.tsv").read_text("utf-8").splitlines():
        if line.startswith("="):
            table = creators.setdefault(line[1:], {})
        else:
            mask, vr, vm, name = line.split("\t")
            table[mask] = PrivateEntry(vr, vm, name)
    return creators


def private_entry(tag: int, creator: str) -> PrivateEntry | None:
    """What is known of a private attribute of `creator` (the value of its block's Private Creator, unpadded)."""
    table = _private().get(creator)
    if table is None:
        return None
    group, element = tag >> 16, tag & 0xFFFF
    for mask in (
        f"{group:04X}{element:04X}",
        f"{group:04X}xx{element & 0xFF:02X}",  # in whichever block the creator has
        f"{group >> 8:02X}xxxx{element & 0xFF:02X}",  # in a repeating group
        f"{group:04X}{element >> 8:02X}xx",
    ):
        found = table.get(mask)
        if found is not None:
            return found
    return None
