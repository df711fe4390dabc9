"""Limits of what one key may ask, and that an index takes all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from isocenter.errors import BadRequest
from isocenter.index.sql import SqlIndex
from isocenter.model import UNIQUE_KEY, Level, Match, Query
from isocenter.testing.index_suite import entry, put
from isocenter.wire.criteria import LONGEST_VALUE, MOST_UIDS, MOST_VALUES, match_of

STUDY, SOP_CLASSES, SOP_CLASS, NAME, MODALITIES = 0x0020000D, 0x00080062, 0x00080016, 0x00100010, 0x00080061


def uids(count: int) -> str:
    return "\\".join(f"1.2.{number}" for number in range(count))


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (STUDY, uids(MOST_UIDS + 1)),
        (SOP_CLASSES, uids(MOST_VALUES + 1)),
        (SOP_CLASS, uids(MOST_VALUES + 1)),
        (NAME, "\\".join("a" * (MOST_VALUES + 1))),
        (MODALITIES, "\\".join("A" * (MOST_VALUES + 1))),
        (NAME, "a" * (LONGEST_VALUE + 1)),
    ],
)
def test_what_is_too_much_is_refused(tag: int, value: str) -> None:
    with pytest.raises(BadRequest):
        match_of(tag, value)


def longest() -> Iterator[Match]:
    """Every key with as much as it may have."""
    for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
        yield match_of(UNIQUE_KEY[level], uids(MOST_UIDS)) or pytest.fail("no match")
    for tag in (SOP_CLASSES, SOP_CLASS):
        yield match_of(tag, uids(MOST_VALUES)) or pytest.fail("no match")
    for tag in (NAME, 0x00080090, 0x00100020, 0x00080060, MODALITIES):
        yield match_of(tag, "\\".join(f"V{number}" for number in range(MOST_VALUES))) or pytest.fail("no match")
    yield match_of(0x00081030, "*?" * (LONGEST_VALUE // 2)) or pytest.fail("no match")


def test_an_index_takes_all_that_may_be_asked_at_once(tmp_path: Path) -> None:
    index = SqlIndex(tmp_path / "index.sqlite")
    try:
        put(index, entry("1.2.1", "1.2.2", "1.2.3"))
        assert list(index.find(Query(Level.IMAGE, tuple(longest())))) == []
        wanted = match_of(STUDY, uids(MOST_UIDS))
        assert wanted is not None
        assert [found.instance for found in index.find(Query(Level.IMAGE, (wanted,)))] == ["1.2.3"]
    finally:
        index.close()
