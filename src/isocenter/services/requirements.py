"""What a normalized SOP class asks of its attributes, as a table (PS3.4 section 5.4.2, and the tables of each class).

A line of a table has an attribute's keyword, after as many `>` as it is deep in sequences, and three codes:

    create   1 present with a value; 2 present; 3 as one likes; e present and empty; n not by whoever asks
    set      3 as one likes; n not by whoever asks (to say again what is there already changes nothing)
    final    R with a value when the step is over; P when it is completed, X when it is canceled or discontinued;
             p present when it is completed; - nothing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from isocenter.errors import AttributeInvalid, AttributeMissing, AttributeValueMissing
from isocenter.std.dictionary import tag_of
from isocenter.wire.elements import path_of

Path = tuple[int | str, ...]


class Row(NamedTuple):
    """One attribute; `items` are those in the items of a sequence."""

    tag: int
    create: str
    set: str
    final: str
    items: tuple[Row, ...]

    @property
    def key(self) -> str:
        return f"{self.tag:08X}"


def read_table(text: str) -> tuple[Row, ...]:
    """The rows of a table as above."""
    rows, rest = _rows([line.split() for line in text.strip().splitlines()], 0)
    assert not rest
    return rows


def _rows(lines: list[list[str]], depth: int) -> tuple[tuple[Row, ...], list[list[str]]]:
    rows: list[Row] = []
    while lines and _depth(lines[0][0]) >= depth:
        name, create, change, final = lines[0]
        items, lines = _rows(lines[1:], depth + 1)
        tag = tag_of(name.lstrip(">"))
        assert tag is not None, name
        rows.append(Row(tag, create, change, final, items))
    return tuple(rows), lines


def _depth(name: str) -> int:
    return len(name) - len(name.lstrip(">"))


def has_value(model: Mapping[str, Any], key: str) -> bool:
    """Whether an attribute is there and not empty."""
    entry = model.get(key)
    if not isinstance(entry, Mapping):
        return False
    return bool(entry.get("InlineBinary")) or any(value not in (None, "", {}) for value in entry.get("Value", ()))


def check_created(rows: tuple[Row, ...], model: Mapping[str, Any], path: Path = ()) -> None:
    """Raises AttributeMissing, AttributeValueMissing or AttributeInvalid for what a new instance may not be like."""
    for row in rows:
        where = path_of((*path, row.tag))
        if row.create in ("1", "2", "e") and row.key not in model:
            raise AttributeMissing("an attribute is required", tag_path=where)
        if row.create == "1" and not has_value(model, row.key):
            raise AttributeValueMissing("an attribute has to have a value", tag_path=where)
        if row.create in ("e", "n") and has_value(model, row.key):
            raise AttributeInvalid("an attribute has to be empty at first", tag_path=where)
        for number, item in items_of(model, row.key):
            check_created(row.items, item, (*path, row.tag, f"[{number}]"))


def check_set(rows: tuple[Row, ...], model: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Raises AttributeInvalid for what may not be set, or would lose a value that it has to have."""
    for row in rows:
        if row.key not in model or model[row.key] == before.get(row.key):
            continue
        where = path_of((row.tag,))
        if row.set == "n":
            raise AttributeInvalid("an attribute is not to be changed", tag_path=where)
        if row.create == "1" and not has_value(model, row.key):
            raise AttributeValueMissing("an attribute has to have a value", tag_path=where)


def lacking(rows: tuple[Row, ...], model: Mapping[str, Any], codes: str, path: Path = ()) -> str | None:
    """The tag path of the first attribute that lacks what its final code asks for, of the codes that apply; None if
    nothing does."""
    for row in rows:
        here = (*path, row.tag)
        if row.final in codes and (row.key not in model if row.final == "p" else not has_value(model, row.key)):
            return path_of(here)
        for number, item in items_of(model, row.key):
            found = lacking(row.items, item, codes, (*here, f"[{number}]"))
            if found is not None:
                return found
    return None


def items_of(model: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The items of a sequence with their numbers, from 0."""
    entry = model.get(key)
    if isinstance(entry, Mapping) and entry.get("vr") == "SQ":
        for number, item in enumerate(entry.get("Value") or ()):
            if isinstance(item, Mapping):
                yield number, item
