"""Identifiers to Queries, and answers to Identifiers (PS3.4 C.2.2.2 and C.4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from data_sets import explicit, item, sequence
from isocenter.errors import BadRequest, DataSetError
from isocenter.index.keys import known_tags
from isocenter.model import DateTimeRange, Empty, Equal, Found, InSequence, Level, Match, Range, Wildcard
from isocenter.services.identifier import Answers, Options, Question, negotiate_options, negotiated, read_question
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.encode import encode_dataset
from isocenter.wire.limits import DEFAULT_LIMITS

EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
NAME, ID, DATE, TIME, STUDY, MODALITIES = 0x00100010, 0x00100020, 0x00080020, 0x00080030, 0x0020000D, 0x00080061
REQUEST, STEP = 0x00400275, 0x00400009
HANGING_PROTOCOL = "1.2.840.10008.5.1.4.38.1"
STUDY_LEVEL = explicit(0x00080052, "CS", b"STUDY ")
SERIES_LEVEL = explicit(0x00080052, "CS", b"SERIES")


def ask(
    *elements: bytes, root: Level = Level.STUDY, syntax: str = EXPLICIT, options: Options | None = None
) -> Question:
    return read_question(
        b"".join(elements),
        syntax,
        root=root,
        options=options or Options(),
        known=known_tags,
        limits=DEFAULT_LIMITS,
    )


@pytest.mark.parametrize(
    ("expected", "tag", "vr", "value"),
    [
        (Equal(NAME, ("Doe^Jane",)), NAME, "PN", b"Doe^Jane"),
        (Wildcard(NAME, "Doe*"), NAME, "PN", b"Doe* "),
        (Wildcard(NAME, "100%_?"), NAME, "PN", b"100%_?"),
        (Equal(ID, ("50%_off",)), ID, "LO", b"50%_off "),
        (None, NAME, "PN", b""),
        (None, NAME, "PN", b"* "),
        (None, STUDY, "UI", b"*\0"),
        (Equal(STUDY, ("1.2",)), STUDY, "UI", b"1.2\0"),
        (Equal(STUDY, ("1.2", "1.3")), STUDY, "UI", b"1.2\\1.3\0"),
        (Equal(MODALITIES, ("CT", "MR")), MODALITIES, "CS", b"CT\\MR "),
        (Wildcard(MODALITIES, "C?"), MODALITIES, "CS", b"C?"),
        (Equal(DATE, ("20240131",)), DATE, "DA", b"20240131"),
        (Range(DATE, "20240101", "20240131"), DATE, "DA", b"20240101-20240131 "),
        (Range(DATE, "20240101", None), DATE, "DA", b"20240101- "),
        (Range(DATE, None, "20240131"), DATE, "DA", b"-20240131 "),
        (Range(TIME, "1200", "130000.5"), TIME, "TM", b"1200-130000.5 "),
        (Equal(ID, ('""',)), ID, "LO", b'""'),
    ],
)
def test_one_key(expected: Match | None, tag: int, vr: str, value: bytes) -> None:
    question = ask(STUDY_LEVEL, explicit(tag, vr, value))
    assert question.query.matches == (() if expected is None else (expected,))
    assert question.query.include == (tag,)
    assert question.unsupported == ()


@pytest.mark.parametrize(
    ("expected", "terms", "value"),
    [
        ("홍^길동", b"\\ISO 2022 IR 149", b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"),
        ("=山田^太郎", b"\\ISO 2022 IR 87", b"=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("=张^小东", b"GB18030 ", "=张^小东".encode("gb18030")),
        ("=洪^吉洞=홍^길동", b"ISO_IR 192", "=洪^吉洞=홍^길동".encode()),
        ("Äneas", b"ISO_IR 100", "Äneas".encode("latin-1")),
    ],
)
def test_names_in_the_character_set_of_the_request(expected: str, terms: bytes, value: bytes) -> None:
    question = ask(explicit(0x00080005, "CS", terms), STUDY_LEVEL, explicit(NAME, "PN", value))
    assert question.query.matches == (Equal(NAME, (expected,)),)
    assert question.charset == tuple(terms.decode().strip().split("\\"))


def test_a_sequence_key_is_matched_by_one_item() -> None:
    key = explicit(STEP, "SH", b"S1*")
    returned = explicit(0x00401001, "SH")
    question = ask(
        SERIES_LEVEL, explicit(STUDY, "UI", b"1.2\0"), sequence(REQUEST, item(key, returned)), options=Options()
    )
    assert question.query.matches[-1] == InSequence(REQUEST, (Wildcard(STEP, "S1*"),))
    assert [key.name for key in question.keys[-1].inner] == ["00400009", "00401001"]
    universal = ask(SERIES_LEVEL, explicit(STUDY, "UI", b"1.2\0"), sequence(REQUEST))
    assert universal.query.matches == (Equal(STUDY, ("1.2",)),)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_every_transfer_syntax_and_back(syntax: str) -> None:
    model = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "00100020": {"vr": "LO", "Value": ["7*"]}}
    raw = encode_dataset(model, little=syntax != BIG, explicit=syntax != IMPLICIT, charset=())
    if syntax == DEFLATED:
        from isocenter.wire.deflate import deflate

        raw = deflate(raw)
    question = ask(raw, syntax=syntax)
    assert question.query.matches == (Wildcard(ID, "7*"),)
    found = Found("1.2", None, None, {"00100020": {"vr": "LO", "Value": ["77"]}})
    answer = dataset_json(Answers(question, syntax, "US")(found), syntax)
    assert answer["00100020"]["Value"] == ["77"]
    assert answer["00080052"]["Value"] == ["STUDY"]


def test_ranges_of_date_and_time_are_one_where_negotiated() -> None:
    keys = (STUDY_LEVEL, explicit(DATE, "DA", b"20240105-20240106 "), explicit(TIME, "TM", b"0900-01 "))
    date, time = Range(DATE, "20240105", "20240106"), Range(TIME, "0900", "01")
    assert ask(*keys).query.matches == (date, time)
    assert ask(*keys, options=Options(combined=True)).query.matches == (date, DateTimeRange(date, time))
    single = (STUDY_LEVEL, explicit(DATE, "DA", b"20240105"), explicit(TIME, "TM", b"0900-10 "))
    assert ask(*single, options=Options(combined=True)).query.matches == ask(*single).query.matches


def test_empty_and_multiple_values_need_negotiation() -> None:
    options = Options(empty_values=True, multiple_values=True)
    assert ask(STUDY_LEVEL, explicit(ID, "LO", b'""'), options=options).query.matches == (Empty(ID),)
    # C.2.2.2.8: each value has to be there, in attributes that may have several
    modalities = explicit(0x00080061, "CS", b"CT\\PT ")
    both = (Equal(0x00080061, ("CT",)), Equal(0x00080061, ("PT",)))
    assert ask(STUDY_LEVEL, modalities, options=options).query.matches == both
    assert ask(STUDY_LEVEL, modalities).query.matches == (Equal(0x00080061, ("CT", "PT")),)
    assert ask(STUDY_LEVEL, explicit(ID, "LO", b"a\\b "), options=options).query.matches == (Equal(ID, ("a", "b")),)


@pytest.mark.parametrize(
    ("offending", "root", "elements"),
    [
        ("(0008,0052)", Level.STUDY, ()),
        ("(0008,0052)", Level.STUDY, (explicit(0x00080052, "CS", b"PATIENT "),)),
        ("(0008,0052)", Level.STUDY, (explicit(0x00080052, "CS", b"FRAME "),)),
        ("(0020,000D)", Level.STUDY, (SERIES_LEVEL,)),
        ("(0020,000D)", Level.STUDY, (SERIES_LEVEL, explicit(STUDY, "UI"))),
        ("(0020,000D)", Level.STUDY, (SERIES_LEVEL, explicit(STUDY, "UI", b"1.2\\1.3\0"))),
        ("(0010,0020)", Level.PATIENT, (STUDY_LEVEL,)),
        ("(0010,0020)", Level.PATIENT, (STUDY_LEVEL, explicit(ID, "LO", b"7*"))),
        ("(0008,0020)", Level.STUDY, (STUDY_LEVEL, explicit(DATE, "DA", b"yesterday "))),
        ("(0020,000D)", Level.STUDY, (STUDY_LEVEL, explicit(STUDY, "UI", b"1..2"))),
        ("(0010,0010)", Level.STUDY, (STUDY_LEVEL, sequence(NAME, item(explicit(ID, "LO"))))),
        (
            "(0008,1032)",
            Level.STUDY,
            (STUDY_LEVEL, sequence(0x00081032, item(explicit(ID, "LO")), item(explicit(ID, "LO")))),
        ),
    ],
)
def test_what_is_wrong_is_refused_with_the_offending_element(
    offending: str, root: Level, elements: tuple[bytes, ...]
) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(*elements, root=root)
    assert refused.value.tag_path == offending
    assert refused.value.dimse_status == 0xA900


def test_relational_queries_need_no_upper_keys() -> None:
    question = ask(SERIES_LEVEL, explicit(ID, "LO", b"7 "), options=Options(relational=True))
    assert question.query.matches == (Equal(ID, ("7",)),)


def test_bytes_that_are_no_data_set() -> None:
    with pytest.raises(DataSetError):
        ask(STUDY_LEVEL, b"\x10\x00\x20\x00LO\xff\xffx")


def test_an_identifier_of_nothing_but_headers_is_refused() -> None:
    with pytest.raises(DataSetError):
        ask(STUDY_LEVEL, *(explicit(0x00110000 + n, "LO") for n in range(0x1000, 0xF000)))


def test_unsupported_keys_are_named_and_not_returned() -> None:
    question = ask(
        STUDY_LEVEL,
        explicit(0x00080018, "UI", b"1.2\0"),  # of a lower level
        explicit(0x00080054, "AE", b"ELSEWHERE "),
        explicit(ID, "LO"),
        explicit(0x00111001, "LO", b"private "),
    )
    assert question.unsupported == (0x00080018, 0x00080054, 0x00111001)
    assert [key.name for key in question.keys] == ["00100020"]


def test_a_zone_is_heeded_where_it_was_negotiated_and_never_answered_empty() -> None:
    zone = explicit(0x00080201, "SH", b"-0330 ")
    question = ask(STUDY_LEVEL, zone, options=Options(timezone=True))
    assert (question.query.zone, question.query.matches) == (-210, ())
    assert ask(STUDY_LEVEL, zone).query.zone is None
    with pytest.raises(BadRequest, match="offset from UTC"):
        ask(STUDY_LEVEL, explicit(0x00080201, "SH", b"CET "), options=Options(timezone=True))
    write = Answers(question, EXPLICIT, "US")
    zoned = {"00080201": {"vr": "SH", "Value": ["-0330"]}}
    with_zone, without = (dataset_json(write(Found("1.2", None, None, one)), EXPLICIT) for one in (zoned, {}))
    assert with_zone["00080201"]["Value"] == ["-0330"]
    assert "00080201" not in without


def test_a_view_that_was_not_negotiated_is_refused() -> None:
    for view in (b"ENHANCED", b"CLASSIC ", b"NONE"):
        with pytest.raises(BadRequest, match="not negotiated") as refused:
            ask(STUDY_LEVEL, explicit(0x00080053, "CS", view))
        assert (refused.value.dimse_status, refused.value.tag_path) == (0xA900, "(0008,0053)")
    assert ask(STUDY_LEVEL, explicit(0x00080053, "CS")).unsupported == (0x00080053,)


def test_a_view_that_was_negotiated_is_asked_for_and_answered() -> None:
    agreed = negotiated(negotiate_options(b"\0\0\0\0\1"))
    assert agreed == Options(views=True)
    for view in (b"ENHANCED", b"CLASSIC "):
        question = ask(STUDY_LEVEL, explicit(0x00080053, "CS", view), options=agreed)
        assert (question.view, question.unsupported) == (view.decode().strip(), ())
        answer = dataset_json(Answers(question, EXPLICIT, "US")(Found("1.2", None, None, {})), EXPLICIT)
        assert answer["00080053"] == {"vr": "CS", "Value": [question.view]}
    question = ask(STUDY_LEVEL, explicit(0x00080053, "CS"), options=agreed)
    assert (question.view, question.unsupported) == ("", ())
    assert "00080053" not in dataset_json(Answers(question, EXPLICIT, "US")(Found("1.2", None, None, {})), EXPLICIT)
    for view in (b"NONE", b"CLASSIC\\ENHANCED"):
        with pytest.raises(BadRequest, match="neither CLASSIC nor ENHANCED"):
            ask(STUDY_LEVEL, explicit(0x00080053, "CS", view), options=agreed)


def answer_to(attributes: dict[str, Any], *keys: bytes) -> dict[str, Any]:
    found = Found("1.2", None, None, attributes)
    raw = Answers(ask(*keys, STUDY_LEVEL, explicit(NAME, "PN"), explicit(0x00081030, "LO")), EXPLICIT, "US")(found)
    return {"raw": raw, **dataset_json(raw, EXPLICIT)}


def test_an_answer_has_the_keys_asked_for_and_no_others() -> None:
    answer = answer_to(
        {
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]},
            "00100020": {"vr": "LO", "Value": ["7"]},
            "0020000D": {"vr": "UI", "Value": ["1.2"]},
        }
    )
    raw = answer.pop("raw")
    assert b"ISO" not in raw
    assert answer == {
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "00080054": {"vr": "AE", "Value": ["US"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081030": {"vr": "LO"},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
    }


@pytest.mark.parametrize(
    ("written", "asked", "name"),
    [
        (b"\\ISO 2022 IR 149", b"\\ISO 2022 IR 149", "홍^길동"),
        (b"ISO_IR 192", b"ISO_IR 100", "홍^길동"),
        (b"ISO_IR 192", b"", "홍^길동"),
        (b"ISO_IR 100", b"ISO_IR 100", "Äneas"),
        (b"ISO_IR 192", b"NOBODY ", "Äneas"),
    ],
)
def test_the_character_set_of_the_answer_holds_its_names(written: bytes, asked: bytes, name: str) -> None:
    declared = (explicit(0x00080005, "CS", asked),) if asked else ()
    answer = answer_to({"00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}}, *declared)
    assert written in answer["raw"][:30]
    assert answer["00100010"]["Value"] == [{"Alphabetic": name}]


def test_extended_negotiation_answers_what_is_done() -> None:
    assert negotiate_options(b"\1\1\1\1\1\1\1\1") == b"\1\1\1\1\1\1\1"
    assert negotiate_options(b"\0\1") == b"\0\1"
    assert negotiate_options(b"") == b""
    assert negotiated(b"\1\0\1\0\0\1\1") == Options(True, False, True, False, False, True, True)
    assert negotiated(b"\0\0\0\1") == Options(timezone=True)
    assert negotiated(b"\0\1") == Options(combined=True)
    assert negotiated(b"") == Options()


def test_answers_in_a_row_have_each_its_own_values_and_character_set() -> None:
    question = ask(
        explicit(0x00080005, "CS", b"ISO_IR 100"),
        STUDY_LEVEL,
        explicit(NAME, "PN"),
        explicit(ID, "LO"),
    )
    write = Answers(question, EXPLICIT, "US")
    latin = {"vr": "PN", "Value": [{"Alphabetic": "Äneas"}]}
    korean = {"vr": "PN", "Value": [{"Alphabetic": "홍"}]}
    names = (latin, latin, korean, korean, latin, None, korean)
    for number, name in enumerate(names):
        attributes = {"00100020": {"vr": "LO", "Value": [str(number)]}} | ({"00100010": name} if name else {})
        raw = write(Found("1.2", None, None, attributes))
        answer = dataset_json(raw, EXPLICIT)
        assert answer["00100020"]["Value"] == [str(number)]
        assert answer["00100010"] == (name or {"vr": "PN"})
        assert (b"ISO_IR 192" in raw) == (name is korean)


def test_models_of_one_level_have_no_level_and_no_whereabouts() -> None:
    question = read_question(
        STUDY_LEVEL + explicit(0x00080054, "AE") + explicit(ID, "LO", b"P1") + explicit(0x00720002, "SH", b"Chest*"),
        EXPLICIT,
        root=Level.IMAGE,
        options=negotiated(b""),
        known=known_tags,
        limits=DEFAULT_LIMITS,
        sop_classes=(HANGING_PROTOCOL,),
    )
    query = question.query
    assert (query.level, query.sop_classes, query.bare) == (Level.IMAGE, (HANGING_PROTOCOL,), True)
    assert query.matches == (Wildcard(0x00720002, "Chest*"),)
    assert question.unsupported == (ID,)
    found = Found("", "", "1.2", {"00080018": {"vr": "UI", "Value": ["1.2"]}})
    assert dataset_json(Answers(question, EXPLICIT, "US")(found), EXPLICIT) == {
        "00080018": {"vr": "UI", "Value": ["1.2"]},
        "00720002": {"vr": "SH"},
    }
