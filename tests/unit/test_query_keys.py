"""Keywords and values of a caller as an Identifier, and the words of `isocenter find`."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from isocenter.cli.find import parse_keys
from isocenter.errors import UsageError
from isocenter.services.keys import question, tag_named
from isocenter.wire.dicomjson import dataset_json

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


@pytest.mark.parametrize("name", ["PatientID", "00100020", "0010,0020", "(0010,0020)"])
def test_names_of_tags(name: str) -> None:
    assert tag_named(name) == 0x00100020


@pytest.mark.parametrize("name", ["patientid", "0010002", "", "(0010,00zz)"])
def test_names_of_nothing(name: str) -> None:
    with pytest.raises(UsageError):
        tag_named(name)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    ("expected", "key", "value"),
    [
        ({"vr": "LO", "Value": ["12*"]}, "PatientID", "12*"),
        ({"vr": "LO"}, "PatientID", ""),
        ({"vr": "LO"}, "PatientID", None),
        ({"vr": "PN", "Value": [{"Alphabetic": "Hong", "Phonetic": "홍"}]}, "PatientName", "Hong==홍"),
        ({"vr": "DA", "Value": ["20240131"]}, "StudyDate", date(2024, 1, 31)),
        ({"vr": "UI", "Value": ["1.2", "1.3"]}, "StudyInstanceUID", ["1.2", "1.3"]),
        ({"vr": "IS", "Value": [7]}, "InstanceNumber", 7),
        ({"vr": "US", "Value": [512]}, "Rows", "512"),
        ({"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}]}, "RequestAttributesSequence",
         {"ScheduledProcedureStepID": "S1"}),
        ({"vr": "SQ"}, "RequestAttributesSequence", ""),
    ],
)  # fmt: skip
def test_values(syntax: str, expected: dict[str, Any], key: str, value: object) -> None:
    model = dataset_json(question("STUDY", {key: value}, syntax), syntax)
    assert model.pop("00080005")["Value"] == ["ISO_IR 192"]
    assert model.pop("00080052")["Value"] == ["STUDY"]
    if key != "StudyInstanceUID":
        assert model.pop("0020000D") == {"vr": "UI"}  # the level's unique key, always asked for
    assert list(model.values()) == [expected]


def test_the_character_set_is_the_callers() -> None:
    assert b"\\ISO 2022 IR 149" in question("STUDY", {"PatientName": "홍"}, EXPLICIT, charset="\\ISO 2022 IR 149")
    assert b"ISO" not in question("STUDY", {"PatientName": "Hong"}, EXPLICIT, charset="")


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("FRAME", {}),
        ("STUDY", {"NoSuchKeyword": ""}),
        ("STUDY", {"PatientID": {"PatientName": ""}}),
        ("STUDY", {"RequestAttributesSequence": "S1"}),
        ("STUDY", {"Rows": "many"}),
    ],
)
def test_what_cannot_be_asked(level: str, keys: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        question(level, keys, EXPLICIT)


def test_a_name_outside_the_character_set_cannot_be_asked() -> None:
    with pytest.raises(UsageError):
        question("STUDY", {"PatientName": "홍"}, EXPLICIT, charset="ISO_IR 100")


def test_words_of_the_command_line() -> None:
    assert parse_keys(["PatientName=HONG*", "0008,0020=20240101-", "PatientID", "00111001="]) == {
        "PatientName": "HONG*",
        "StudyDate": "20240101-",
        "PatientID": "",
        "00111001": "",
    }
    step = "RequestAttributesSequence."
    assert parse_keys([f"{step}ScheduledProcedureStepID=S1", f"{step}00401001"]) == {
        "RequestAttributesSequence": {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": ""}
    }
    with pytest.raises(UsageError):
        parse_keys(["PatientID=1", "00100020=2"])
    with pytest.raises(UsageError):
        parse_keys(["RequestAttributesSequence=1", "RequestAttributesSequence.RequestedProcedureID=2"])
