"""Moments of stored objects as of another zone, and what a date may match before it is known (PS3.4 C.2.2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from isocenter.index.matching import fits
from isocenter.index.zones import shifted, widened, zone_text
from isocenter.model import DateTimeRange, Equal, Level, Query, Range, Wildcard, zone_minutes

DATE, TIME, ZONE = 0x00080020, 0x00080030, 0x00080201


def study(date: str, time: str, zone: str = "", **more: Any) -> dict[str, Any]:
    given = {"00080020": ("DA", date), "00080030": ("TM", time), "00080201": ("SH", zone)}
    return {name: {"vr": vr, "Value": [value]} for name, (vr, value) in given.items() if value} | more


@pytest.mark.parametrize(
    ("expected", "stored", "asked"),
    [
        (("20240106", "063000", "+0900"), ("20240105", "213000", "+0000"), "+0900"),
        (("20231231", "233000", "-0500"), ("20240101", "133000", "+0900"), "-0500"),
        (("20240105", "0015", "+0530"), ("20240104", "1845", "+0000"), "+0530"),
        (("20240105", "0030", "+0530"), ("20240104", "19", "+0000"), "+0530"),
        (("20240105", "04", "+0900"), ("20240104", "19", "+0000"), "+0900"),
        (("20240105", "000000.25", "+0100"), ("20240104", "230000.25", "+0000"), "+0100"),
        (("20240104", "2300", "+0100"), ("20240104", "2300", "+0100"), "+0100"),
        # no zone of its own, no moment, no time: nothing is known
        (("20240104", "2300", ""), ("20240104", "2300", ""), "+0100"),
        (("20240104", "", "+0100"), ("20240104", "", "+0000"), "+0100"),
        (("", "2300", "+0100"), ("", "2300", "+0000"), "+0100"),
        (("20240104", "25", "+0100"), ("20240104", "25", "+0000"), "+0100"),
        (("99991231", "2359", "+0100"), ("99991231", "2359", "+0000"), "+0100"),
    ],
)
def test_moments_move_as_far_as_they_are_known(
    expected: tuple[str, str, str], stored: tuple[str, str, str], asked: str
) -> None:
    minutes = zone_minutes(asked)
    assert minutes is not None
    assert study(*expected) == shifted(study(*stored), minutes)


def test_a_date_time_keeps_the_zone_it_names() -> None:
    entry = {"vr": "DT", "Value": ["20240104233000", "20240104233000+0200", "2024"]}
    moved = shifted(study("", "", "+0000", **{"0008002A": entry}), 60)
    assert ["20240105003000", "20240104233000+0200", "2024"] == moved["0008002A"]["Value"]


@pytest.mark.parametrize(
    ("expected", "match", "zone"),
    [
        (True, Equal(DATE, ("20240106",)), "+0900"),
        (False, Equal(DATE, ("20240105",)), "+0900"),
        (True, Equal(DATE, ("20240105",)), ""),
        (True, Range(TIME, "0600", "0700"), "+0900"),
        (False, Range(TIME, "2100", "2200"), "+0900"),
        (True, DateTimeRange(Range(DATE, "20240106", "20240106"), Range(TIME, "0600", "0700")), "+0900"),
    ],
)
def test_a_question_with_a_zone_is_about_its_own_days(expected: bool, match: Any, zone: str) -> None:
    query = Query(Level.STUDY, (match,), zone=zone_minutes(zone))
    assert expected == fits(query, study("20240105", "213000", "+0000"))


def test_dates_are_widened_by_as_much_as_zones_differ() -> None:
    assert Range(DATE, "20231230", "20240103") == widened(Equal(DATE, ("20240101",)))
    assert Range(DATE, "20240227", None) == widened(Range(DATE, "20240229", None))
    assert [None, None, None] == [
        widened(one) for one in (Equal(DATE, ("20240101", "20240102")), Wildcard(DATE, "2*"), Range(DATE, "x", None))
    ]


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(540, "+0900"), (-210, "-0330"), (0, "+0000"), (None, "0900"), (None, "+0960"), (None, "+1500")],
)
def test_zones_are_read_and_written(minutes: int | None, text: str) -> None:
    assert minutes == zone_minutes(text)
    assert minutes is None or text == zone_text(minutes)
