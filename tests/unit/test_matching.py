"""Matching of PS3.4 C.2.2.2, rule by rule, on the evaluator; and the SQL against it on random queries."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isocenter.errors import BadRequest
from isocenter.index.listing import typed
from isocenter.index.matching import fits, glob, key, matches
from isocenter.index.normal import bounds, date_time, name_groups, normal, time, words
from isocenter.index.sql import SqlIndex
from isocenter.model import DateTimeRange, Empty, Equal, InSequence, Level, Match, Query, Range, Wildcard
from isocenter.testing.index_suite import attributes, entry, put

NAME, PATIENT_ID, SEX = 0x00100010, 0x00100020, 0x00100040
DATE, TIME, DESCRIPTION = 0x00080020, 0x00080030, 0x00081030
REQUEST, STEP = 0x00400275, 0x00400009


def yes(match: Match, tag: int, value: Any, **how: bool) -> bool:
    return matches(match, attributes({tag: value}), **how)


@pytest.mark.parametrize(
    ("expected", "pattern", "text"),
    [
        (True, "a*c", "abc"), (True, "a*c", "ac"), (False, "a*c", "abcd"), (True, "a?c", "abc"), (False, "a?c", "ac"),
        (True, "*b*", "abc"), (True, "**", ""), (True, "a.c", "a.c"), (False, "a.c", "abc"), (True, "[a]", "[a]"),
        (False, "[a]", "a"), (True, "50%", "50%"), (False, "50%", "500"), (False, "a_c", "abc"), (True, "*a*a", "aa"),
        (False, "*ab*ab", "ab"), (True, "a*?", "ab"), (False, "a*?", "a"), (True, "?*?", "ab"), (True, "*a", "aaa"),
        (True, "a\nb*", "a\nbc"), (False, "ABC", "abc"), (True, "é*", "école"),
    ],
)  # fmt: skip
def test_wildcards(expected: bool, pattern: str, text: str) -> None:
    assert glob(pattern)(text) is expected


@pytest.mark.parametrize(
    ("expected", "dates", "times", "date", "time"),
    [
        (True, ("20240105", "20240107"), ("0900", "0100"), "20240105", "090000"),
        (False, ("20240105", "20240107"), ("0900", "0100"), "20240105", "085959"),
        (True, ("20240105", "20240107"), ("0900", "0100"), "20240106", "030000"),
        (True, ("20240105", "20240107"), ("0900", "0100"), "20240107", "010059"),
        (False, ("20240105", "20240107"), ("0900", "0100"), "20240107", "010100"),
        (False, ("20240105", "20240107"), ("0900", "0100"), "20240108", "000000"),
        (True, ("20240105", None), ("0900", "1000"), "20250101", "230000"),
        (False, ("20240105", None), ("0900", "1000"), "20240105", "080000"),
        (True, (None, "20240105"), (None, "1000"), "20240105", "100000"),
        (False, (None, "20240105"), (None, "1000"), "20240105", "100100"),
        (True, ("20240105", "20240105"), ("0900", "1000"), "20240105", ""),
        (False, ("20240105", "20240105"), ("0900", "1000"), "", "093000"),
    ],
)
def test_combined_date_and_time(
    expected: bool, dates: tuple[str | None, str | None], times: tuple[str | None, str | None], date: str, time: str
) -> None:
    match = DateTimeRange(Range(DATE, *dates), Range(TIME, *times))
    assert matches(match, attributes({DATE: date, TIME: time})) is expected


def test_hostile_patterns_take_no_time() -> None:
    assert not glob("*a" * 200 + "b")("a" * 20_000)


@pytest.mark.parametrize(
    ("expected", "match", "tag", "value"),
    [
        (True, Equal(PATIENT_ID, ("a",)), PATIENT_ID, "a"),
        (True, Equal(PATIENT_ID, ("a ",)), PATIENT_ID, " a"),
        (False, Equal(PATIENT_ID, ("a",)), PATIENT_ID, "A"),
        (True, Equal(PATIENT_ID, ("b", "a")), PATIENT_ID, "a"),
        (True, Equal(PATIENT_ID, ("",)), PATIENT_ID, "a"),
        (True, Equal(PATIENT_ID, ()), PATIENT_ID, ""),
        (False, Equal(PATIENT_ID, ("a",)), PATIENT_ID, ""),
        (True, Equal(0x00200013, ("7",)), 0x00200013, 7),
        (True, Equal(0x00200013, ("007",)), 0x00200013, "7"),
        (True, Equal(0x00281050, ("40.0",)), 0x00281050, [30, 40]),
        (True, Equal(0x00080008, ("PRIMARY",)), 0x00080008, ["ORIGINAL", "PRIMARY"]),
        (False, Equal(0x00080008, ("ORIGINAL\\PRIMARY",)), 0x00080008, ["ORIGINAL", "PRIMARY"]),
        (True, Equal(DATE, ("20240131",)), DATE, "2024.01.31"),
        (True, Equal(TIME, ("1015",)), TIME, "101500"),
        (False, Equal(TIME, ("1015",)), TIME, "101530"),
        (True, Empty(PATIENT_ID), PATIENT_ID, ""),
        (True, Empty(PATIENT_ID), SEX, "M"),
        (False, Empty(PATIENT_ID), PATIENT_ID, "a"),
        (True, Empty(NAME), NAME, ""),
        (False, Empty(NAME), NAME, "=ア"),
        (True, Wildcard(PATIENT_ID, "*"), SEX, "M"),
        (False, Wildcard(PATIENT_ID, "?*"), SEX, "M"),
        (True, Wildcard(DESCRIPTION, "100%*"), DESCRIPTION, "100% sure"),
        (False, Wildcard(DESCRIPTION, "100_*"), DESCRIPTION, "100% sure"),
        (True, Range(DATE, "20240101", "20240131"), DATE, "20240131"),
        (False, Range(DATE, "20240101", "20240131"), DATE, "20240201"),
        (True, Range(DATE, None, "2024"), DATE, "20241231"),
        (True, Range(DATE, "202402", None), DATE, "20240201"),
        (False, Range(DATE, "2024", None), DATE, ""),
        (True, Range(TIME, "0930", "1015"), TIME, "101559.5"),
        (False, Range(TIME, "0930", "1015"), TIME, "1016"),
        (True, Range(TIME, "10", "10"), TIME, "10"),
        (True, Range(TIME, None, None), SEX, "M"),
        (True, Range(0x0008002A, "202401", "20240131"), 0x0008002A, "20240131235959"),
        (True, Range(0x0008002A, "20240131230000+0000", None), 0x0008002A, "20240201000000+0100"),
    ],
)
def test_rules(expected: bool, match: Match, tag: int, value: Any) -> None:
    assert yes(match, tag, value) is expected


KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"


@pytest.mark.parametrize(
    ("expected", "match", "name"),
    [
        (True, Equal(NAME, ("hong^gildong",)), KOREAN),
        (True, Equal(NAME, ("洪^吉洞",)), KOREAN),
        (True, Equal(NAME, ("홍^길동",)), KOREAN),
        (True, Equal(NAME, (KOREAN,)), KOREAN),
        (True, Equal(NAME, ("=洪^吉洞",)), KOREAN),
        (False, Equal(NAME, ("=홍^길동",)), KOREAN),
        (False, Equal(NAME, ("Hong^Gildong=金",)), KOREAN),
        (True, Wildcard(NAME, "홍*"), KOREAN),
        (True, Wildcard(NAME, "HONG*=*=홍*"), KOREAN),
        (True, Equal(NAME, ("Doe^Jane",)), "DOE^JANE^^^"),
        (True, Equal(NAME, ("Doe ^ Jane ",)), "doe^jane"),
        (False, Equal(NAME, ("Doe",)), "Doe^Jane"),
        (True, Wildcard(NAME, "*jane"), "Doe^Jane"),
        (False, Equal(NAME, ("Muller",)), "Müller"),
        (True, Equal(NAME, ("MU\u0308LLER",)), "Müller"),
        (True, Equal(NAME, ("STRASSE",)), "Straße"),
    ],
)
def test_person_names(expected: bool, match: Match, name: str) -> None:
    assert yes(match, NAME, name) is expected


@pytest.mark.parametrize(
    ("expected", "wanted", "name"),
    [
        (True, "jane doe", "Doe^Jane"), (True, "muller", "Müller^Hans"), (True, "mül", "MULLER^Hans"),
        (False, "jan x", "Doe^Jane"), (True, "길동", KOREAN), (True, "do*", "Doe^Jane"), (False, "oe", "Doe^Jane"),
    ],
)  # fmt: skip
def test_fuzzy_person_names(expected: bool, wanted: str, name: str) -> None:
    assert yes(Equal(NAME, (wanted,)), NAME, name, fuzzy=True) is expected


def test_sequences_match_by_one_item() -> None:
    items = [{"00400009": {"vr": "SH", "Value": [step]}} for step in ("A", "B")]
    items[1]["00321060"] = {"vr": "LO", "Value": ["x"]}
    model = {key(REQUEST): {"vr": "SQ", "Value": items}}
    both = Equal(STEP, ("B",)), Equal(0x00321060, ("x",))
    assert matches(InSequence(REQUEST, both), model)
    assert not matches(InSequence(REQUEST, (Equal(STEP, ("A",)), both[1])), model)
    assert matches(InSequence(REQUEST, ()), {})
    assert not matches(InSequence(REQUEST, both), {})


def test_ranges_are_for_dates_and_times() -> None:
    for tag, low in ((PATIENT_ID, "1"), (NAME, "a"), (DATE, "yesterday"), (TIME, "25h"), (0x0008002A, "x")):
        with pytest.raises(BadRequest):
            yes(Range(tag, low, None), tag, "1")


def test_normal_forms() -> None:
    assert time("9") == "9"
    assert time("10:15:30") == "101530.000000"
    assert date_time("2024") == "20240101000000.000000"
    assert date_time("20240101000000+0100") == "20231231230000.000000"
    assert bounds("TM", "10", "10") == ("100000.000000", "105959.999999")
    assert bounds("DT", None, "2024") == (None, "20241231235959.999999")
    assert normal("IS", " 007 ") == "7"
    assert normal("DS", "1e2") == normal("DS", 100) == "100.0"
    assert normal("UI", "1.2\0") == "1.2"
    assert name_groups(" Doe ^Jane^^=x") == ("doe^jane", "x", "")
    assert words(["Müller-Lüdenscheidt^Hans"]) == ("muller", "ludenscheidt", "hans")


# --- the SQL against the evaluator -----------------------------------------------------------------------------------

# Few letters, so that things meet; the signs that SQL, GLOB, LIKE and DICOM find special among them.
TEXT = st.text(alphabet="aAbé%_[]!'\\ 1", min_size=1, max_size=4).map(lambda text: text.strip(" \\")).filter(bool)
PATTERN = st.text(alphabet="aAbé%_[]!'1*?", min_size=1, max_size=4)
PERSON = st.lists(st.text(alphabet="aAÄ洪^ ", max_size=3), min_size=1, max_size=3).map("=".join)
PERSON_PATTERN = st.text(alphabet="aAÄ洪^*?=", min_size=1, max_size=5)
DAY = st.sampled_from(["20240101", "20240131", "20240201", "2024.01.31", "20231231", "1"])
HOUR = st.sampled_from(["10", "1015", "101530", "101530.5", "235959.999999", "10:15", "noon"])
MODALITY = st.sampled_from(["CT", "MR", "SR"])
NUMBER = st.sampled_from([0, 1, 7, "007", "x"])

VALUES: dict[int, st.SearchStrategy[Any]] = {
    NAME: PERSON, 0x00080090: PERSON, PATIENT_ID: TEXT, 0x00100021: TEXT, DATE: DAY, TIME: HOUR, DESCRIPTION: TEXT,
    0x00080060: MODALITY, 0x0008103E: TEXT, 0x00181030: TEXT, 0x00080021: DAY, 0x00200011: NUMBER, 0x00200013: NUMBER,
    0x00080023: DAY, 0x00104000: TEXT, 0x00080008: st.lists(TEXT, min_size=1, max_size=2),
    REQUEST: st.lists(st.deferred(lambda: ITEM), min_size=1, max_size=2),
}  # fmt: skip
LEVELS = {Level.STUDY: 2, Level.SERIES: 3, Level.IMAGE: 4, Level.PATIENT: 1}
EXTRA = st.fixed_dictionaries({}, optional={tag: st.one_of(st.just(""), values) for tag, values in VALUES.items()})
UIDS = {0x0020000D: ["1.1", "1.2", "1.9"], 0x0020000E: ["1.1.1", "1.2.2"], 0x00080018: ["1.1.1.0", "1.2.1.1", "1.9"]}
IN_ITEM = (STEP, 0x00401001)
ITEM = st.fixed_dictionaries({}, optional=dict.fromkeys(IN_ITEM, TEXT)).map(attributes)
OBJECT = st.tuples(st.integers(1, 3), st.integers(1, 2), EXTRA)


def _match(tag: int) -> st.SearchStrategy[Match]:
    if tag in UIDS:
        return st.lists(st.sampled_from(UIDS[tag]), min_size=1, max_size=3).map(lambda uids: Equal(tag, tuple(uids)))
    if tag == REQUEST:
        inner = st.lists(st.sampled_from(IN_ITEM).flatmap(_match), min_size=1, max_size=2)
        return inner.map(lambda given: InSequence(REQUEST, tuple(given)))
    plain = PERSON if tag in (NAME, 0x00080090) else TEXT if tag in IN_ITEM else VALUES.get(tag, MODALITY)
    text = plain.map(lambda value: str(value[0] if isinstance(value, list) else value))
    wild = PERSON_PATTERN if tag in (NAME, 0x00080090) else PATTERN
    kinds: list[st.SearchStrategy[Match]] = [
        st.lists(text, min_size=1, max_size=2).map(lambda values: Equal(tag, tuple(values))),
        wild.map(lambda pattern: Wildcard(tag, pattern)),
        st.just(Empty(tag)),
    ]
    if tag in (DATE, 0x00080021, 0x00080023):
        end = st.one_of(st.none(), st.sampled_from(["20240101", "202401", "2024", "20240131"]))
        kinds.append(st.tuples(end, end).map(lambda ends: Range(tag, *ends)))
    if tag == DATE:
        end = st.sampled_from([None, "20240101", "2024", "20240131"])
        hour = st.sampled_from([None, "10", "1015", "12"])
        kinds.append(
            st.tuples(end, end, hour, hour).map(
                lambda ends: DateTimeRange(Range(DATE, *ends[:2]), Range(TIME, *ends[2:]))
            )
        )
    if tag == TIME:
        end = st.one_of(st.none(), st.sampled_from(["10", "1015", "101530.5", "12"]))
        kinds.append(st.tuples(end, end).map(lambda ends: Range(tag, *ends)))
    return st.one_of(kinds)


MATCH = st.sampled_from([*VALUES, *UIDS, 0x00080061]).flatmap(_match)
QUERY = st.builds(
    Query,
    st.sampled_from(list(LEVELS)),
    st.lists(MATCH, min_size=1, max_size=3).map(tuple),
    include=st.none(),
    fuzzy=st.booleans(),
    words=st.one_of(st.just(()), st.one_of(PATTERN, PERSON_PATTERN, TEXT).map(typed)),
    limit=st.one_of(st.none(), st.integers(0, 3)),
    offset=st.integers(0, 2),
)


@st.composite
def _about(draw: st.DrawFn, objects: list[tuple[int, int, dict[int, Any]]]) -> Query:
    """A query with one key that is likely to be fulfilled: made of what an object has."""
    number, (study, series, more) = draw(st.sampled_from(list(enumerate(objects))))
    own = {0x0020000D: f"1.{study}", 0x0020000E: f"1.{study}.{series}", 0x00080018: f"1.{study}.{series}.{number}"}
    tag, value = draw(st.sampled_from([*own.items(), *((tag, value) for tag, value in more.items() if value != "")]))
    if tag in UIDS:
        match: Match = Equal(tag, tuple(draw(st.permutations([value, *UIDS[tag]]))))
    elif tag == REQUEST:
        # Of both items, perhaps: what no single one of them fulfils does not match.
        inner = [Equal(at, (draw(st.sampled_from(value))[key(at)]["Value"][0],)) for at in _in_all(value)]
        match = InSequence(tag, tuple(inner))
    else:
        text = str(value[0] if isinstance(value, list) else value)
        at = draw(st.integers(0, len(text) - 1)) if text else 0
        end = draw(st.integers(at, len(text)))
        pattern = text[:at] + draw(st.sampled_from("*?")) + text[end:]
        match = draw(st.sampled_from([Equal(tag, (text,)), Wildcard(tag, pattern)]))
    return Query(draw(st.sampled_from([Level.STUDY, Level.SERIES, Level.IMAGE])), (match,), include=None)


def _in_all(items: list[dict[str, Any]]) -> list[int]:
    return [tag for tag in IN_ITEM if all(key(tag) in item for item in items)]


CASE = st.lists(OBJECT, min_size=1, max_size=8).flatmap(
    lambda objects: st.tuples(st.just(objects), st.lists(st.one_of(QUERY, _about(objects)), min_size=1, max_size=12))
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        SqlIndex(Path(folder, "empty.sqlite")).close()
        yield Path(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASE)
@example(case=([(1, 1, {NAME: "a=b"})], [Query(Level.STUDY, (Wildcard(NAME, "*=*=*"),), include=None)]))
def test_sql_equals_the_evaluator(
    folder: Path, case: tuple[list[tuple[int, int, dict[int, Any]]], list[Query]]
) -> None:
    objects, queries = case
    database = folder / "index.sqlite"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    database.write_bytes((folder / "empty.sqlite").read_bytes())  # migrating each time would take most of it
    index = SqlIndex(database)
    try:
        put(index, *(
            entry(f"1.{study}", f"1.{study}.{series}", f"1.{study}.{series}.{number}",
                  **{f"x{tag:08X}": value for tag, value in more.items()})
            for number, (study, series, more) in enumerate(objects)
        ))  # fmt: skip
        for asked in queries:
            query = replace(asked, words=()) if asked.level == Level.PATIENT else asked
            everything = list(index.find(Query(query.level, include=None)))
            wanted = [
                (one.study, one.series, one.instance)
                for one in everything
                if fits(_supported(query, one.attributes), one.attributes)
            ]
            whole = list(index.find(replace(query, limit=None, offset=0)))
            names = [(one.study, one.series, one.instance) for one in whole]
            if query.level == Level.PATIENT:
                _same_patients(query, names, whole, index)
                continue
            assert sorted(map(str, names)) == sorted(map(str, wanted))
            assert index.count(query) == len(wanted)
            cut = [(one.study, one.series, one.instance) for one in index.find(query)]
            assert cut == names[query.offset :][: len(names) if query.limit is None else query.limit]
    finally:
        index.close()


def _supported(query: Query, _: Any) -> Query:
    """The query without what the index knows nothing of at that level."""
    from isocenter.index.keys import known_tags

    known = known_tags(query.level)
    kept = tuple(match for match in query.matches if match.tag in known)
    return Query(query.level, kept, fuzzy=query.fuzzy, words=query.words)


def _same_patients(query: Query, names: list[Any], whole: list[Any], index: SqlIndex) -> None:
    """A patient is found when one study of the patient has patient attributes that fit."""
    from isocenter.index.keys import KEPT

    patient = {key(tag) for tag in KEPT[Level.PATIENT]}
    asked = _supported(query, None)
    studies = [
        {name: model for name, model in one.attributes.items() if name in patient}
        for one in index.find(Query(Level.STUDY, include=None))
    ]
    fitting = [model for model in studies if fits(asked, model)]
    assert index.count(query) == len(names)
    assert bool(fitting) == bool(names)
    assert all(fits(asked, one.attributes) for one in whole)
    assert len(names) <= len(fitting)
