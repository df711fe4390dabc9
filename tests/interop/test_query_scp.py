"""Our C-FIND SCP asked by DCMTK's findscu and by pynetdicom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
import peers
from query_objects import STUDIES, objects
from skins.web_harness import saved

pytestmark = pytest.mark.interop

PATIENT_ROOT, STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Our node with the studies of query_objects."""
    with ours.node(tmp_path_factory.mktemp("query")) as node:
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects())} == {0}
        yield node.dimse[1]


def findscu(port: int, *keys: str, root: str = "-S", options: Sequence[str] = (), check: bool = True) -> str:
    arguments = [argument for key in keys for argument in ("-k", key)]
    found = peers.run("findscu", root, *options, *arguments, "127.0.0.1", str(port), check=check)
    return str(found.stdout)


def patients(output: str) -> set[str]:
    """The Patient IDs of findscu's answers; those of the request stand under "Request Identifiers"."""
    answers = output.partition("Find Response")[2]
    return {found.strip() for found in re.findall(r"\(0010,0020\) LO \[([^\]]*)\]", answers)}


@pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK findscu", role="SCP")
@pytest.mark.parametrize(
    ("expected", "key"),
    [
        (set(STUDIES), "PatientName=*"),
        (set(STUDIES), "StudyDate="),
        ({"KR"}, "PatientName=hong*"),
        ({"100%_A"}, "PatientID=100%_A"),
        ({"100%_A", "100XYA"}, "PatientID=100??A"),
        (set(), "PatientID=100%A"),
        ({"100%_A"}, "PatientName=*Under_*"),
        ({"KR", "100%_A"}, "StudyDate=20240105"),
        ({"KR", "100%_A", "100XYA"}, "StudyDate=20240101-20240131"),
        ({"JP", "CN"}, "StudyDate=20240201-"),
        ({"DE"}, "StudyDate=-20231231"),
        ({"JP", "KR", "100XYA"}, "StudyTime=0000-093000"),
        ({"JP", "100%_A"}, "ModalitiesInStudy=MR"),
        ({"JP", "100%_A", "DE"}, "ModalitiesInStudy=MR\\US"),
        ({"CN"}, "AccessionNumber=A-CN"),
        (set(), "AccessionNumber=A-?"),
    ],
)
def test_findscu_at_study_level(port: int, expected: set[str], key: str) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "PatientID") if "PatientID" not in key else ("QueryRetrieveLevel=STUDY",)
    assert patients(findscu(port, *keys, key)) == expected


@pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK findscu", role="SCP")
@pytest.mark.interop(service="C-FIND, Patient Root", peer="DCMTK findscu", role="SCP")
def test_findscu_with_each_of_its_transfer_syntaxes_and_roots(port: int) -> None:
    for option in ("-xe", "-xb", "-xi", "-xd"):
        output = findscu(port, "QueryRetrieveLevel=STUDY", "PatientID=JP", "StudyDate", options=[option])
        assert "[20240210]" in output, option
    output = findscu(port, "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", root="-P")
    assert patients(output) == set(STUDIES)


@pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK findscu", role="SCP")
def test_findscu_asks_for_an_item_of_a_sequence(tmp_path: Path) -> None:
    file = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    file.RequestAttributesSequence = []
    for request, step in (("R_1", "S%1"), ("R_2", "S%2")):
        item = pydicom.Dataset()
        item.RequestedProcedureID, item.ScheduledProcedureStepID = request, step
        file.RequestAttributesSequence.append(item)
    item_key = "RequestAttributesSequence[0]."
    with ours.node(tmp_path) as node:
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store([saved(file)])} == {0}
        keys = ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={file.StudyInstanceUID}", "PatientID")
        for request, step, found in (("R_1", "S%1", 1), ("R_?", "S%2", 1), ("R_1", "S%2", 0), ("R%", "S%1", 0)):
            both = (f"{item_key}RequestedProcedureID={request}", f"{item_key}ScheduledProcedureStepID={step}")
            assert len(patients(findscu(node.dimse[1], *keys, *both))) == found, both


@pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK findscu", role="SCP")
def test_findscu_is_told_what_is_wrong(port: int) -> None:
    output = findscu(port, "QueryRetrieveLevel=SERIES", "SeriesInstanceUID", options=["-v"], check=False)
    assert "Error: DataSetDoesNotMatchSOPClass" in output  # what DCMTK calls A900


def ask(
    port: int, identifier: pydicom.Dataset, *, root: str = STUDY_ROOT, syntax: str = EXPLICIT, extended: bytes = b""
) -> tuple[list[Any], list[pydicom.Dataset]]:
    """pynetdicom's C-FIND: the statuses, and the identifiers of the answers."""
    from pynetdicom import AE
    from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

    entity = AE()
    entity.add_requested_context(root, syntax)
    negotiation = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = root
        item.service_class_application_information = extended
        negotiation.append(item)
    association = entity.associate("127.0.0.1", port, ext_neg=negotiation)
    assert association.is_established
    answers = list(association.send_c_find(identifier, root))
    association.release()
    return [status for status, _ in answers], [one for _, one in answers if one is not None]


def identifier(level: str, charset: str | list[str] | None = None, **keys: Any) -> pydicom.Dataset:
    data_set = pydicom.Dataset()
    data_set.QueryRetrieveLevel = level
    if charset is not None:
        data_set.SpecificCharacterSet = charset
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize(
    ("patient", "charset", "name"),
    [
        ("KR", ["", "ISO 2022 IR 149"], "*=*=홍^길동"),
        ("KR", ["", "ISO 2022 IR 149"], "홍*"),
        ("KR", "ISO_IR 192", "=洪^吉洞"),
        ("KR", "ISO_IR 192", "=*=*길동"),
        ("JP", ["", "ISO 2022 IR 87"], "山田*"),
        ("JP", ["", "ISO 2022 IR 87"], "==やまだ^たろう"),
        ("CN", "GB18030", "张^小东"),
        ("CN", "ISO_IR 192", "张*"),
        ("DE", "ISO_IR 100", "äneas*"),
    ],
)
def test_names_are_found_by_any_group_and_come_back_in_the_character_set_of_the_request(
    port: int, patient: str, charset: str | list[str], name: str
) -> None:
    statuses, (answer,) = ask(port, identifier("STUDY", charset, PatientName=name, PatientID=""))
    assert [status.Status for status in statuses] == [0xFF00, 0]
    assert answer.PatientID == patient
    assert str(answer.PatientName) == STUDIES[patient][0]
    assert answer.SpecificCharacterSet == charset


def test_a_character_set_that_lacks_the_name_is_answered_with_utf_8(port: int) -> None:
    _, (answer,) = ask(port, identifier("STUDY", "ISO_IR 100", PatientID="KR", PatientName=""))
    assert (answer.SpecificCharacterSet, str(answer.PatientName)) == ("ISO_IR 192", STUDIES["KR"][0])


@pytest.mark.interop(service="C-FIND, Patient Root", peer="pynetdicom", role="SCP")
def test_the_hierarchy_from_patient_to_image(port: int) -> None:
    _, (patient,) = ask(
        port, identifier("PATIENT", PatientID="JP", NumberOfPatientRelatedInstances=""), root=PATIENT_ROOT
    )
    assert patient.NumberOfPatientRelatedInstances == 3
    keys = {"ModalitiesInStudy": "", "NumberOfStudyRelatedSeries": "", "SOPClassesInStudy": "", "PatientID": "JP"}
    _, (study,) = ask(port, identifier("STUDY", StudyInstanceUID="", **keys), root=PATIENT_ROOT)
    assert (sorted(study.ModalitiesInStudy), study.NumberOfStudyRelatedSeries) == (["MR", "SR"], 2)
    assert study.SOPClassesInStudy == "1.2.840.10008.5.1.4.1.1.2"
    assert (study.RetrieveAETitle, study.InstanceAvailability) == ("ISOCENTER", "ONLINE")
    uid = study.StudyInstanceUID
    _, series = ask(port, identifier("SERIES", StudyInstanceUID=uid, Modality="", NumberOfSeriesRelatedInstances=""))
    assert {one.Modality: one.NumberOfSeriesRelatedInstances for one in series} == {"MR": 2, "SR": 1}
    mr = next(one.SeriesInstanceUID for one in series if one.Modality == "MR")
    _, images = ask(port, identifier("IMAGE", StudyInstanceUID=uid, SeriesInstanceUID=mr, InstanceNumber=""))
    assert [one.InstanceNumber for one in images] == [1, 2]
    assert {element.keyword for element in images[0]} == {
        "QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability", "StudyInstanceUID", "SeriesInstanceUID",
        "SOPInstanceUID", "InstanceNumber",
    }  # fmt: skip


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
def test_statuses(port: int) -> None:
    (wrong,), _ = ask(port, identifier("SERIES", SeriesInstanceUID=""))
    assert (wrong.Status, wrong.OffendingElement) == (0xA900, 0x0020000D)
    statuses, answers = ask(port, identifier("STUDY", PatientID="KR", InstanceNumber=""))
    assert [status.Status for status in statuses] == [0xFF01, 0]
    assert "InstanceNumber" not in answers[0]


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
def test_what_needs_extended_negotiation(port: int) -> None:
    relational = identifier("IMAGE", PatientID="JP", InstanceNumber="")
    assert ask(port, relational)[0][0].Status == 0xA900
    assert len(ask(port, relational, extended=b"\1")[1]) == 3
    moment = identifier("STUDY", PatientID="", StudyDate="20240105-20240106", StudyTime="0900-0100")
    assert ask(port, moment)[1] == []
    assert {one.PatientID for one in ask(port, moment, extended=b"\0\1")[1]} == {"100%_A", "100XYA"}
    fuzzy = identifier("STUDY", PatientName="gildong", PatientID="")
    assert ask(port, fuzzy)[1] == []
    assert [one.PatientID for one in ask(port, fuzzy, extended=b"\0\0\1")[1]] == ["KR"]


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_pynetdicom_in_every_transfer_syntax(port: int, syntax: str) -> None:
    _, (answer,) = ask(port, identifier("STUDY", "ISO_IR 192", PatientID="KR", PatientName=""), syntax=syntax)
    assert str(answer.PatientName) == STUDIES["KR"][0]


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
def test_the_zone_of_who_asks(port: int) -> None:
    """The objects are made of one of the zone -0500."""
    for date, expected in (("20240105", {"KR"}), ("20240106", {"100%_A", "100XYA"})):
        asked = identifier("STUDY", StudyDate=date, StudyTime="", PatientID="", TimezoneOffsetFromUTC="+0900")
        statuses, found = ask(port, asked, extended=b"\0\0\0\1")
        assert {0xFF00, 0} == {status.Status for status in statuses}
        assert expected == {one.PatientID for one in found}
        assert {(date, "+0900")} == {(one.StudyDate, one.TimezoneOffsetFromUTC) for one in found}
    asked.TimezoneOffsetFromUTC = "9"
    assert [0xA900] == [status.Status for status in ask(port, asked, extended=b"\0\0\0\1")[0]]
