"""Query parameters to a Query (PS3.18 sections 8.3.4 and 10.6.1.2)."""

from __future__ import annotations

import pytest

from isocenter.errors import BadRequest
from isocenter.model import Empty, Equal, InSequence, Level, Match, Range, Wildcard
from isocenter.settings import Settings
from isocenter.web.query import MAX_PARAMETERS, Search, parse_search

SETTINGS = Settings(web_default_limit=100, web_max_limit=5000)


def search(*parameters: tuple[str, str], level: Level = Level.IMAGE, within: tuple[Match, ...] = ()) -> Search:
    return parse_search(level, parameters, SETTINGS, within)


NAME, ID, DATE, TIME, MODALITY = 0x00100010, 0x00100020, 0x00080020, 0x00080030, 0x00080060
STUDY, ACCESSION, REQUEST, STEP = 0x0020000D, 0x00080050, 0x00400275, 0x00400009


@pytest.mark.parametrize(
    ("expected", "name", "value"),
    [
        (Equal(NAME, ("Doe^Jane",)), "PatientName", "Doe^Jane"),
        (Equal(NAME, ("Doe^Jane",)), "00100010", "Doe^Jane"),
        (Wildcard(NAME, "Doe*"), "PatientName", "Doe*"),
        (Wildcard(NAME, "D?e"), "PatientName", "D?e"),
        (Equal(NAME, ("홍길동",)), "PatientName", "홍길동"),
        (None, "PatientName", ""),
        (None, "PatientName", "*"),
        (None, "StudyDate", "*"),
        (Equal(NAME, ('""',)), "PatientName", '""'),
        (Equal(ID, ("a,b",)), "PatientID", "a,b"),
        (Equal(ID, ("a", "b")), "PatientID", "a\\b"),
        (Equal(DATE, ("20240131",)), "StudyDate", "20240131"),
        (Range(DATE, "20240101", "20240131"), "StudyDate", "20240101-20240131"),
        (Range(DATE, "20240101", None), "StudyDate", "20240101-"),
        (Range(DATE, None, "20240131"), "StudyDate", "-20240131"),
        (Range(TIME, "1200", "130000.5"), "StudyTime", "1200-130000.5"),
        (Equal(TIME, ("12",)), "StudyTime", "12"),
        (Equal(0x0040A032, ("20240101120000-0500",)), "ObservationDateTime", "20240101120000-0500"),
        (Range(0x0040A032, "2023", "2024"), "ObservationDateTime", "2023-2024"),
        (Range(0x0040A032, "20240101-0500", "20240102+0900"), "ObservationDateTime", "20240101-0500-20240102+0900"),
        (Equal(STUDY, ("1.2",)), "StudyInstanceUID", "1.2"),
        (Equal(STUDY, ("1.2", "1.3")), "StudyInstanceUID", "1.2,1.3"),
        (Equal(STUDY, ("1.2", "1.3")), "StudyInstanceUID", "1.2\\1.3"),
        (Equal(MODALITY, ("CT", "MR")), "Modality", "CT,MR"),
        (Equal(0x00200013, ("7",)), "InstanceNumber", "7"),
        (InSequence(REQUEST, (Equal(STEP, ("S1",)),)), "RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
        (InSequence(REQUEST, (Wildcard(STEP, "S*"),)), "00400275.00400009", "S*"),
    ],
)
def test_one_attribute(expected: Match | None, name: str, value: str) -> None:
    found = search((name, value))
    assert found.query.matches == (() if expected is None else (expected,))
    assert found.warnings == ()
    assert len(found.returned) == 1


def test_empty_value_matching_needs_to_be_asked_for() -> None:
    assert search(("PatientID", '""'), ("emptyvaluematching", "true")).query.matches == (Empty(ID),)
    assert search(("emptyvaluematching", "false"), ("PatientID", '""')).query.matches == (Equal(ID, ('""',)),)


def test_keys_of_one_sequence_must_be_met_by_one_item() -> None:
    found = search(
        ("RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
        ("PatientID", "7"),
        ("RequestAttributesSequence.RequestedProcedureID", "R1"),
    )
    sequence = InSequence(REQUEST, (Equal(STEP, ("S1",)), Equal(0x00401001, ("R1",))))
    assert found.query.matches == (Equal(ID, ("7",)), sequence)


def test_what_the_path_says_is_matched_too() -> None:
    within = (Equal(STUDY, ("1.2",)),)
    assert search(("Modality", "CT"), within=within).query.matches == (*within, Equal(MODALITY, ("CT",)))


def test_includefield_repeats_and_lists() -> None:
    found = search(("includefield", "PatientName,00100020"), ("includefield", "Modality"), ("StudyDate", "20240101"))
    assert found.returned == {NAME, ID, MODALITY, DATE}
    assert found.query.include == tuple(sorted(found.returned))
    assert not found.all_fields


def test_includefield_all() -> None:
    found = search(("includefield", "all"))
    assert found.all_fields
    assert found.query.include is None


@pytest.mark.parametrize(
    ("limit", "offset", "parameters"),
    [
        (100, 0, []),
        (7, 0, [("limit", "7")]),
        (0, 0, [("limit", "0")]),
        (5000, 0, [("limit", "999999")]),
        (100, 30, [("offset", "30")]),
    ],
)
def test_paging(limit: int, offset: int, parameters: list[tuple[str, str]]) -> None:
    query = search(*parameters).query
    assert (query.limit, query.offset) == (limit, offset)


def test_fuzzy() -> None:
    assert search(("fuzzymatching", "true")).query.fuzzy
    assert not search(("fuzzymatching", "false")).query.fuzzy


@pytest.mark.parametrize(
    "name", ["Nonsense", "00091001", "MilitaryRank", "_", "Nonsense.PatientName", "FrameTimeVector"]
)
def test_what_is_not_supported_is_left_out_with_a_warning(name: str) -> None:
    found = search((name, "1"), ("PatientID", "7"))
    assert found.query.matches == (Equal(ID, ("7",)),)
    (warning,) = found.warnings
    assert "not supported" in warning


def test_attributes_of_lower_levels_are_not_supported_above() -> None:
    found = search(("InstanceNumber", "7"), ("includefield", "SOPInstanceUID"), level=Level.STUDY)
    assert found.query.matches == ()
    (warning,) = found.warnings
    assert (
        warning == "These parameters or attributes are not supported and were ignored: InstanceNumber, SOPInstanceUID"
    )


def test_a_warning_repeats_nothing_that_could_end_its_line() -> None:
    (warning,) = search(("x\r\nSet-Cookie: y", "1"), ("<script>", "1")).warnings
    assert warning.endswith("ignored: (unprintable)")


@pytest.mark.parametrize(
    "parameters",
    [
        [("limit", "-1")],
        [("limit", "x")],
        [("limit", "")],
        [("limit", "٣")],
        [("offset", "1.5")],
        [("limit", "1"), ("limit", "2")],
        [("fuzzymatching", "yes")],
        [("StudyDate", "2024")],
        [("StudyDate", "20240101-20240102-20240103")],
        [("StudyDate", "-")],
        [("StudyDate", "2024*")],
        [("StudyTime", "noon")],
        [("StudyInstanceUID", "1.2*")],
        [("StudyInstanceUID", "1..2")],
        [("StudyInstanceUID", "1.2,")],
        [("InstanceNumber", "one")],
        [("PatientName", "A"), ("00100010", "B")],
        [("PatientName", "x" * 5000)],
        [("Modality", "C?,MR")],
        [("PatientName.PatientID", "7")],
        [("RequestAttributesSequence", "7")],
        [(".".join(["RequestAttributesSequence"] * 9), "7")],
        [("includefield", "PatientName.PatientID")],
        [(f"_{i}", "") for i in range(MAX_PARAMETERS + 1)],
    ],
)
def test_what_is_malformed_is_refused(parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest):
        search(*parameters)
