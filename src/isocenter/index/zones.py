"""Dates and times of stored objects as of another time zone: Timezone Query Adjustment (PS3.4 C.2.2.2, Table C.5-1).

An object that says its Timezone Offset From UTC (0008,0201) has its moments moved to the zone of the question; one that
does not keeps them as they are, since nobody knows what they mean. A date without its time stays too, and so does a
time without a date: neither is a moment. What is shown and matched is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from isocenter.model import TIME_OF, Equal, Match, Query, Range, zone_minutes

_ZONE = "00080201"
_FARTHEST = timedelta(days=2)  # between the dates of one moment in zones from -1200 to +1400, and a margin
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?", re.ASCII)
_DATE_TIME = re.compile(r"(\d{8})(\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?)", re.ASCII)
_PAIRS = tuple((f"{date:08X}", f"{time:08X}") for date, time in TIME_OF.items())


def shifted(attributes: Mapping[str, Any], zone: int) -> Mapping[str, Any]:
    """The attributes of an answer as of `zone` (minutes east of UTC), with that zone said in them."""
    values = attributes.get(_ZONE, {}).get("Value") or ("",)
    stored = zone_minutes(values[0]) if isinstance(values[0], str) else None
    if stored is None:
        return attributes
    moved = {**attributes, _ZONE: {"vr": "SH", "Value": [zone_text(zone)]}}
    by = timedelta(minutes=zone - stored)
    if not by:
        return moved
    for date, time in _PAIRS:
        moment = _moved(_only(attributes, date), _only(attributes, time), by)
        if moment is not None:
            moved[date] = {**attributes[date], "Value": [moment[0]]}
            moved[time] = {**attributes[time], "Value": [moment[1]]}
    for name, entry in attributes.items():
        if isinstance(entry, Mapping) and entry.get("vr") == "DT":
            moved[name] = {**entry, "Value": [_date_time(value, by) for value in entry.get("Value", ())]}
    return moved


def zone_text(minutes: int) -> str:
    """As the value of Timezone Offset From UTC."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _only(attributes: Mapping[str, Any], name: str) -> str:
    values: list[Any] = attributes.get(name, {}).get("Value") or []
    return values[0].strip(" ") if len(values) == 1 and isinstance(values[0], str) else ""


def _moved(date: str, time: str, by: timedelta) -> tuple[str, str] | None:
    """Date and time later by so much, to as many digits as they have; None if they are no moment."""
    found = _TIME.fullmatch(time)
    if found is None or len(date) != 8:
        return None
    hours, minutes, seconds, fraction = found.groups()
    try:
        moment = _moment(f"{date}{hours}{minutes or '00'}{seconds or '00'}") + by
    except (ValueError, OverflowError):
        return None
    digits = "%H%M%S" if seconds else "%H%M" if minutes or by.seconds % 3600 else "%H"
    return moment.strftime("%Y%m%d"), moment.strftime(digits) + (fraction or "")


def _moment(digits: str) -> datetime:
    return datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%z")


def _date_time(value: Any, by: timedelta) -> Any:
    """One that names no zone of its own."""
    found = _DATE_TIME.fullmatch(value.strip(" ")) if isinstance(value, str) else None
    moment = _moved(found[1], found[2], by) if found is not None else None
    return value if moment is None else "".join(moment)


def by_zone(query: Query, vr: str | None) -> bool:
    """Whether matches of this VR depend on the zone of the question."""
    return query.zone is not None and vr in ("DA", "TM", "DT")


def widened(match: Match) -> Match | None:
    """What a match of a date can say of dates as they are stored, in whichever zone; None if nothing."""
    if isinstance(match, Equal) and len(match.values) == 1:
        match = Range(match.tag, match.values[0], match.values[0])
    if not isinstance(match, Range):
        return None
    low, high = _days(match.low, -_FARTHEST), _days(match.high, _FARTHEST)
    return Range(match.tag, low, high) if low or high else None


def _days(date: str | None, by: timedelta) -> str | None:
    try:
        return (_moment(date.strip(" ") + "000000") + by).strftime("%Y%m%d") if date else None
    except (ValueError, OverflowError):
        return None
