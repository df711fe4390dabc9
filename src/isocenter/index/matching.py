"""Whether one answer fits a query: the slow, obvious evaluator of the Query tree (PS3.4 C.2.2.2).

The SQL of `sql_query` must give the same answers (a hypothesis test compares them), and what cannot be said in SQL is
decided here. Attributes are a DICOM JSON object (PS3.18 Annex F).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from isocenter.index.listing import is_pattern, listed
from isocenter.index.normal import bounds, is_single, name_groups, normal, vr_of_key, words
from isocenter.index.zones import shifted
from isocenter.model import DateTimeRange, Empty, Equal, InSequence, Match, Query, Range, Wildcard

Attributes = Mapping[str, Any]


def key(tag: int) -> str:
    """The name of an attribute in DICOM JSON."""
    return f"{tag:08X}"


def fits(query: Query, attributes: Attributes) -> bool:
    """Whether `attributes`, of one answer with its upper levels, fulfil every match of `query`."""
    if query.zone is not None:
        attributes = shifted(attributes, query.zone)
    text = listed(attributes) if query.words else ""
    return all(_has_word(word, text) for word in query.words) and all(
        matches(match, attributes, fuzzy=query.fuzzy) for match in query.matches
    )


def _has_word(word: str, text: str) -> bool:
    return glob(f"*{word}*")(text) if is_pattern(word) else word in text


def matches(match: Match, attributes: Attributes, *, fuzzy: bool = False) -> bool:
    """Whether one match is fulfilled."""
    attribute = attributes.get(key(match.tag), {})
    if isinstance(match, InSequence):
        items = [item for item in attribute.get("Value", ()) if isinstance(item, Mapping)]
        return not match.matches or any(
            all(matches(inner, item, fuzzy=fuzzy) for inner in match.matches) for item in items
        )
    if isinstance(match, DateTimeRange):
        return _moment(match, attributes)
    if is_universal(match):
        return True
    vr = vr_of_key(match.tag) or attribute.get("vr")
    raw = [value for value in attribute.get("Value", ()) if value is not None]
    if vr == "PN":
        raw = raw[:1] if is_single(match.tag) else raw
        return _name(match, [name_groups(value) for value in raw], fuzzy=fuzzy)
    if is_single(match.tag) and len(raw) > 1:
        raw = ["\\".join(map(str, raw))]
    values = [value for value in (normal(vr, value) for value in raw) if value]
    return _plain(match, vr, values)


def _moment(match: DateTimeRange, attributes: Attributes) -> bool:
    """On the first and last day the time counts; where it is not known, nothing speaks against it."""
    low, high = bounds("DA", match.date.low, match.date.high)
    earliest, latest = bounds("TM", match.time.low, match.time.high)
    dates, times = (
        [normal(vr, value) for value in attributes.get(key(tag), {}).get("Value", ()) if value]
        for vr, tag in (("DA", match.date.tag), ("TM", match.time.tag))
    )
    time = times[0] if times else ""
    return any(
        (low is None or date > low or (date == low and not (time and earliest and time < earliest)))
        and (high is None or date < high or (date == high and not (time and latest and time > latest)))
        for date in dates
    )


def is_universal(match: Match) -> bool:
    """Whether the match is fulfilled by everything, the absent attribute included (PS3.4 C.2.2.2.3, C.2.2.2.4)."""
    if isinstance(match, Equal):
        return not any(value.strip(" ") for value in match.values)
    if isinstance(match, Wildcard):
        return not match.pattern.strip("* ")
    if isinstance(match, Range):
        return not match.low and not match.high
    return isinstance(match, InSequence) and not match.matches


def _plain(match: Equal | Wildcard | Range | Empty, vr: str | None, values: list[str]) -> bool:
    if isinstance(match, Empty):
        return not values
    if isinstance(match, Equal):
        return any(normal(vr, wanted) in values for wanted in match.values)
    if isinstance(match, Wildcard):
        return any(glob(match.pattern.strip(" "))(value) for value in values)
    low, high = bounds(vr, match.low, match.high)
    return any((low is None or value >= low) and (high is None or value <= high) for value in values)


def _name(match: Equal | Wildcard | Range | Empty, names: list[tuple[str, str, str]], *, fuzzy: bool) -> bool:
    names = [name for name in names if any(name)]
    if isinstance(match, Empty):
        return not names
    if isinstance(match, Range):
        bounds("PN", match.low, match.high)
    wanted = match.values if isinstance(match, Equal) else (match.pattern,) if isinstance(match, Wildcard) else ()
    if fuzzy:
        return any(sounds_like(fuzzy_words(pattern), words(name)) for pattern in wanted for name in names)
    return any(_name_fits(pattern, name, isinstance(match, Wildcard)) for pattern in wanted for name in names)


def _name_fits(pattern: str, name: tuple[str, str, str], wild: bool) -> bool:
    """By component group: a pattern of one group may fit any group; of more, each that is given must fit its own."""
    fit = name_test(wild)
    groups = name_groups(pattern)
    if "=" not in pattern:
        return any(group and fit(groups[0], group) for group in name)
    return all(not wanted or fit(wanted, group) for wanted, group in zip(groups, name, strict=True))


def name_test(wild: bool) -> Callable[[str, str], bool]:
    """How a folded group is compared with a folded pattern."""
    if wild:
        return lambda wanted, group: glob(wanted)(group)
    return lambda wanted, group: wanted == group


def fuzzy_words(pattern: str) -> tuple[str, ...]:
    """The words a fuzzy person name key asks for; wildcards say nothing here."""
    return words([pattern.replace("*", " ").replace("?", " ")])


def sounds_like(wanted: tuple[str, ...], name: Iterable[str]) -> bool:
    """Fuzzy semantic matching (PS3.4 C.2.2.2.1.1 leaves it to us): each word wanted begins a word of the name, in any
    order, whatever the accents."""
    have = tuple(name)
    return all(any(word.startswith(prefix) for word in have) for prefix in wanted)


@lru_cache(maxsize=1024)
def glob(pattern: str) -> Callable[[str], bool]:
    """The test for a pattern of `*` and `?`; nothing else is special, letters count as they are.

    The runs between stars are looked for from left to right, each at its first place: that is enough, and takes no
    more than (pattern x text) steps whatever a peer sends.
    """
    runs = [re.compile(".".join(map(re.escape, run.split("?"))), re.DOTALL) for run in pattern.split("*")]
    if len(runs) == 1:
        return lambda text: runs[0].fullmatch(text) is not None
    first, *middle, last = runs
    tail = len(pattern) - pattern.rindex("*") - 1

    def test(text: str) -> bool:
        begin = first.match(text)
        if begin is None:
            return False
        at = begin.end()
        for run in middle:
            found = run.search(text, at)
            if found is None:
                return False
            at = found.end()
        return len(text) - tail >= at and last.fullmatch(text, len(text) - tail) is not None

    return test
