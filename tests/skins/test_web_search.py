"""QIDO-RS at all path forms (PS3.18 section 10.6)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from query_objects import objects
from skins.conftest import archived
from skins.web_harness import Web, copies

SERIES_COUNT, INSTANCES = 2, 3


@pytest.fixture
def filled(web: Web) -> tuple[Web, list[str]]:
    """Two studies of two series of three instances each; the UIDs of the studies."""
    studies = []
    for patient, date in (("Doe^Jane", "20240102"), ("Hong^Gildong=洪^吉洞=홍^길동", "20240315")):
        data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        data_set.SpecificCharacterSet = "ISO_IR 192"
        data_set.PatientName, data_set.PatientID = patient, f"ID-{date}"
        data_set.StudyDate, data_set.StudyInstanceUID = date, generate_uid()
        studies.append(str(data_set.StudyInstanceUID))
        for number in range(1, SERIES_COUNT + 1):
            files = copies(data_set, INSTANCES, SeriesInstanceUID=generate_uid(), SeriesNumber=number)
            assert web.store(*files).status_code == 200
    return web, studies


def values(answers: list[dict[str, dict[str, list[object]]]], tag: str) -> list[object]:
    return [answer[tag]["Value"][0] for answer in answers]


@pytest.mark.parametrize(
    ("count", "path"),
    [
        (2, "/studies"),
        (4, "/series"),
        (12, "/instances"),
        (2, "/studies/{study}/series"),
        (6, "/studies/{study}/instances"),
        (3, "/studies/{study}/series/{series}/instances"),
        (1, "/studies?PatientName=doe*"),
        (1, "/studies?PatientName=*길동"),
        (1, "/studies?StudyDate=20240301-"),
        (2, "/studies?StudyDate=20240101-20241231"),
        (1, "/studies?StudyInstanceUID={study}"),
        (2, "/studies?StudyInstanceUID={study},{other}"),
        (6, "/instances?00100020=ID-20240102"),
        (2, "/instances?InstanceNumber=2&StudyInstanceUID={study}"),
        (2, "/studies?limit=2"),
        (1, "/studies?limit=1"),
        (1, "/studies?offset=1"),
        (0, "/studies?offset=2"),
        (2, "/studies?ModalitiesInStudy=CT"),
        (0, "/studies?ModalitiesInStudy=MR"),
        (0, "/studies?PatientID=nobody"),
        (0, "/studies/1.2.3/series"),
        (1, "/studies?fuzzymatching=true&PatientName=jane"),
    ],
)
def test_how_many_answers(filled: tuple[Web, list[str]], count: int, path: str) -> None:
    web, (study, other) = filled
    series = web.get(f"/dicomweb/studies/{study}/series").json()[0]["0020000E"]["Value"][0]
    response = web.get("/dicomweb" + path.format(study=study, other=other, series=series))
    assert response.status_code == 200
    assert len(response.json()) == count
    assert response.headers["content-type"] == "application/dicom+json"


def test_a_study_has_the_attributes_of_table_10_6_3_3(filled: tuple[Web, list[str]]) -> None:
    web, studies = filled
    first = web.get("/dicomweb/studies").json()[0]
    assert first["0020000D"]["Value"] == [studies[0]]
    assert first["00201206"]["Value"] == [SERIES_COUNT]
    assert first["00201208"]["Value"] == [SERIES_COUNT * INSTANCES]
    assert first["00080061"]["Value"] == ["CT"]
    assert first["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert first["00081190"]["Value"] == [f"http://archive.test/dicomweb/studies/{studies[0]}"]
    assert first["00080056"]["Value"] == ["ONLINE"]
    assert first["00080050"] == {"vr": "SH"}  # required, and without a value in these objects
    assert list(first) == sorted(first)
    assert "0020000E" not in first


def test_series_and_instances_carry_the_levels_the_path_leaves_open(filled: tuple[Web, list[str]]) -> None:
    web, (study, _) = filled
    assert "00100010" in web.get("/dicomweb/series").json()[0]
    within_study = web.get(f"/dicomweb/studies/{study}/series").json()[0]
    assert "00100010" not in within_study
    assert within_study["00201209"]["Value"] == [INSTANCES]
    series = within_study["0020000E"]["Value"][0]
    assert {"00100010", "00080060"} <= set(web.get("/dicomweb/instances").json()[0])
    assert "00080060" in web.get(f"/dicomweb/studies/{study}/instances").json()[0]
    instance = web.get(f"/dicomweb/studies/{study}/series/{series}/instances").json()[0]
    assert "00080060" not in instance
    assert (instance["0020000D"]["Value"], instance["0020000E"]["Value"]) == ([study], [series])
    assert instance["00280010"]["Value"] == [128]
    uid = instance["00080018"]["Value"][0]
    url = f"http://archive.test/dicomweb/studies/{study}/series/{series}/instances/{uid}"
    assert instance["00081190"]["Value"] == [url]
    assert web.get(url).status_code == 200


def test_matched_and_included_attributes_are_answered(filled: tuple[Web, list[str]]) -> None:
    web, _ = filled
    answer = web.get(
        "/dicomweb/studies?PatientSex=O&includefield=PatientAge,00101030&includefield=StudyDescription"
    ).json()
    assert {"00100040", "00101010", "00101030", "00081030"} <= set(answer[0])
    assert len(web.get("/dicomweb/instances?includefield=all").json()[0]) > len(
        web.get("/dicomweb/instances").json()[0]
    )


def test_the_order_is_that_of_storing_and_pages_join(filled: tuple[Web, list[str]]) -> None:
    web, _ = filled
    whole = web.get("/dicomweb/instances").json()
    pages = [web.get(f"/dicomweb/instances?limit=5&offset={start}").json() for start in (0, 5, 10)]
    assert list(chain(*pages)) == whole


def test_a_cut_answer_says_how_much_is_left(filled: tuple[Web, list[str]]) -> None:
    web, _ = filled
    response = web.get("/dicomweb/instances?limit=5&offset=2")
    assert response.headers["warning"] == (
        "299 http://archive.test/dicomweb: There are 5 additional results that can be requested"
    )
    assert "warning" not in web.get("/dicomweb/instances?limit=5&offset=7").headers


def test_what_is_not_supported_is_named_in_a_warning(filled: tuple[Web, list[str]]) -> None:
    web, _ = filled
    response = web.get("/dicomweb/studies?Nonsense=1&InstanceNumber=7&x%0d%0aSet-Cookie:%20y=1")
    assert len(response.json()) == 2
    assert response.headers["warning"].endswith("ignored: (unprintable), InstanceNumber, Nonsense")
    assert "set-cookie" not in response.headers
    assert "warning" not in web.get("/dicomweb/studies?charset=UTF-8").headers
    assert web.get("/dicomweb/studies?charset=iso-8859-1").headers["warning"].endswith("ignored: charset")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Six studies in several scripts, two of them of two modalities."""
    with archived(tmp_path_factory.mktemp("many") / "data") as web:
        assert web.store(*objects()).status_code == 200
        yield web


@pytest.mark.parametrize(
    ("patients", "query"),
    [
        # Sections 8.3.4.5 and 8.3.4.6, PS3.4 C.2.2.2.7 and C.2.2.2.8
        ("KR JP CN DE 100%_A 100XYA", 'ReferringPhysicianName=""&emptyvaluematching=true'),
        ("", 'ReferringPhysicianName=""'),
        ("", 'PatientID=""&emptyvaluematching=true'),
        ("KR JP CN 100%_A 100XYA", "ModalitiesInStudy=CT,MR"),
        ("100%_A", "ModalitiesInStudy=CT,MR&multiplevaluematching=true"),
        ("100%_A", "ModalitiesInStudy=MR%5CCT&multiplevaluematching=true"),
        ("JP", "multiplevaluematching=true&00080061=SR%5CMR"),
        ("KR CN 100%_A 100XYA", "ModalitiesInStudy=CT&multiplevaluematching=true"),
        ("KR DE", "PatientID=KR%5CDE&multiplevaluematching=true"),  # it has one value: any of these
        # Section 8.3.4.2
        ("KR", "PatientName=gildong&fuzzymatching=true"),
        ("", "PatientName=gildong&fuzzymatching=false"),
        ("JP", "PatientName=%E5%B1%B1%E7%94%B0*"),
        ("100%_A", "PatientName=percent*&PatientID=100%25*"),
        ("KR 100%_A", "StudyDate=20240105"),
    ],
)
def test_ways_of_matching(many: Web, patients: str, query: str) -> None:
    url = f"/dicomweb/studies?{query}"
    response = many.get(url)
    assert values(response.json(), "00100020") == patients.split()
    assert response.headers["x-total-count"] == str(len(patients.split()))
    xml = many.get(url, 'multipart/related; type="application/dicom+xml"')
    assert xml.content.count(b"<NativeDicomModel") == len(patients.split())


def test_pages_join_while_others_store(filled: tuple[Web, list[str]]) -> None:
    """Section 8.3.4.4: what was there stays where it was; what comes in, also into what was there, comes at the end."""
    web, (study, _) = filled
    before = values(web.get("/dicomweb/instances").json(), "00080018")
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, generate_uid()
    others = [*copies(data_set, 20), *copies(data_set, 20, StudyInstanceUID=generate_uid(), PatientID="1")]
    pages: list[list[object]] = []

    def turn_pages() -> None:
        while not pages or pages[-1]:
            url = f"/dicomweb/instances?limit=2&offset={sum(map(len, pages))}"  # the last one may have been half full
            pages.append(values(web.get(url).json(), "00080018"))

    reader = threading.Thread(target=turn_pages)
    reader.start()
    for one in others:
        assert web.store(one).status_code == 200
    reader.join()
    seen = list(chain(*pages))
    assert seen[: len(before)] == before
    assert len(set(seen)) == len(seen)
    after = values(web.get("/dicomweb/instances").json(), "00080018")
    assert seen == after[: len(seen)]
    assert len(after) == len(before) + len(others)
    assert values(web.get("/dicomweb/studies").json(), "0020000D")[0] == study


@pytest.mark.parametrize(
    ("status", "path", "accept"),
    [
        (400, "/studies?limit=-1", None),
        (400, "/studies?StudyDate=yesterday", None),
        (400, "/studies/not-a-uid/series", None),
        (400, "/studies/1.2/series/1..2/instances", None),
        (400, "/studies?PatientName=a&PatientName=b", None),
        (406, "/studies", "application/dicom+xml"),
        (200, "/studies", 'multipart/related; type="application/dicom+xml"'),
        (406, "/instances", "image/png"),
        (200, "/studies", "application/json"),
        (200, "/studies", "application/dicom+xml, application/dicom+json;q=0.1"),
        (200, "/studies?accept=application/dicom%2Bjson", "text/html, */*"),
        (200, "/studies?accept=application/dicom+json", "*/*"),
        (400, "/studies?accept=*/*", "*/*"),
    ],
)
def test_statuses(web: Web, status: int, path: str, accept: str | None) -> None:
    response = web.get(f"/dicomweb{path}", accept)
    assert response.status_code == status
    if status != 200:
        assert response.json()["error"]["status"] == status
