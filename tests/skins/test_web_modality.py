"""What modalities are to do and what they do (PS3.18 sections 14 and 15)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isocenter.wire.dicomxml import native_xml, read_native_xml
from skins.conftest import archived
from skins.web_harness import Web
from work_objects import Model, begun, data_set, ended, scheduled

SCHEDULED = "/dicomweb/modality-scheduled-procedure-steps"
PERFORMED = "/dicomweb/modality-performed-procedure-steps"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("modality") / "data", web_open_scopes="read,write,delete") as client:
        yield client


def post(web: Web, path: str, model: Model) -> httpx.Response:
    headers = {"content-type": "application/dicom+json"}
    return web.request("POST", path, content=json.dumps(model).encode(), headers=headers)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def status_of(web: Web, study: str) -> str:
    (step,) = web.get(f"{SCHEDULED}?StudyInstanceUID={study}").json()
    return str(step["00400100"]["Value"][0]["00400020"]["Value"][0])


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("listed") / "data") as client:
        for number in range(1, 5):
            model = scheduled(
                f"1.2.{number}",
                f"S{number}",
                Modality="MR" if number == 3 else "CT",
                ScheduledProcedureStepStartDate=f"2026112{number}",
                PatientName="Kim^Yuna" if number == 2 else "Hong^Gildong",
            )
            assert post(client, SCHEDULED, model).status_code == 201
        yield client


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", "1234"),
        ("PatientName=hong*", "134"),
        ("ScheduledProcedureStepSequence.Modality=MR", "3"),
        ("00400100.00400002=20261122-20261123&00400100.00080060=CT", "2"),
        ("00400100.ScheduledStationAETitle=CT1&limit=1&offset=2", "3"),
        ("ScheduledProcedureStepSequence.ScheduledProcedureStepID=S4", "4"),
        ("PatientID=99", ""),
    ],
)
def test_a_modality_finds_its_work(listed: Web, query: str, wanted: str) -> None:
    answer = listed.get(f"{SCHEDULED}?{query}")
    assert answer.status_code == 200
    assert [step["0020000D"]["Value"][0] for step in answer.json()] == [f"1.2.{number}" for number in wanted]


def test_a_step_is_scheduled_changed_and_taken_back(web: Web) -> None:
    first = post(web, SCHEDULED, scheduled("1.3.1", "A/1"))
    assert (first.status_code, first.headers["location"]) == (201, f"http://archive.test{SCHEDULED}/1.3.1/A%2F1")
    assert status_of(web, "1.3.1") == "SCHEDULED"
    assert post(web, SCHEDULED, scheduled("1.3.1", "A/1", Modality="MR")).status_code == 200
    (step,) = web.get(f"{SCHEDULED}?StudyInstanceUID=1.3.1").json()
    assert step["00400100"]["Value"][0]["00080060"]["Value"] == ["MR"]
    path = first.headers["location"].removeprefix("http://archive.test")
    assert web.request("DELETE", path).status_code == 204
    assert web.request("DELETE", path).status_code == 404
    assert web.get(f"{SCHEDULED}?StudyInstanceUID=1.3.1").json() == []


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"PatientID": None}, "attribute-value-missing"),
        ({"StudyInstanceUID": "no uid"}, "attribute-invalid"),
        ({"ScheduledStationAETitle": None}, "attribute-value-missing"),
        ({"ScheduledProcedureStepSequence": []}, "attribute-value-missing"),
        ({"ScheduledProcedureStepSequence": [{"Modality": "CT"}]}, "attribute-missing"),
    ],
)
def test_what_a_scheduled_step_has_to_say(web: Web, values: dict[str, Any], wanted: str) -> None:
    answer = post(web, SCHEDULED, scheduled("1.3.2", "S1", **values))
    assert (answer.status_code, code(answer)) == (400, wanted)


def test_a_modality_begins_goes_on_and_ends(web: Web) -> None:
    assert post(web, SCHEDULED, scheduled("1.4.1", "S1")).status_code == 201
    path = f"{PERFORMED}/1.4.9"
    created = post(web, path, begun("1.4.1", "S1"))
    assert (created.status_code, created.headers["location"]) == (201, f"http://archive.test{path}")
    assert status_of(web, "1.4.1") == "STARTED"
    again = post(web, path, begun())
    assert (again.status_code, code(again)) == (409, "duplicate-step")
    assert post(web, f"{path}?update", data_set(PerformedProcedureStepDescription="thorax")).status_code == 200
    early = post(web, f"{path}?update", data_set(PerformedProcedureStepStatus="COMPLETED"))
    assert (early.status_code, code(early)) == (400, "attribute-value-missing")
    kept = post(web, f"{path}?update", data_set(PatientID="18"))
    assert (kept.status_code, code(kept)) == (400, "attribute-invalid")
    assert post(web, f"{path}?update=true", ended()).status_code == 200
    late = post(web, f"{path}?update", data_set(PerformedProcedureStepDescription="x"))
    assert (late.status_code, code(late)) == (409, "performed-step-over")
    (step,) = web.get(path).json()
    assert step["00400252"]["Value"] == ["COMPLETED"]
    assert step["00400254"]["Value"] == ["thorax"]
    (some,) = web.get(f"{path}?includefield=00100010,PerformedProcedureStepStatus").json()
    assert list(some) == ["00100010", "00400252"]
    document = web.get(path, "application/dicom+xml")
    assert read_native_xml(document.content) == step
    assert web.get(f"{path}?includefield=all").json() == [step]


def test_a_modality_gives_up_by_xml(web: Web) -> None:
    path, headers = f"{PERFORMED}/1.4.10", {"content-type": "application/dicom+xml"}
    for query, model in (("", begun()), ("?update", ended("DISCONTINUED"))):
        answer = web.request("POST", f"{path}{query}", content=native_xml(model), headers=headers)
        assert answer.status_code in (200, 201), answer.text
    assert web.get(path).json()[0]["00400252"]["Value"] == ["DISCONTINUED"]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"PerformedProcedureStepStatus": "COMPLETED"}, "attribute-invalid"),
        ({"PerformedStationAETitle": None}, "attribute-value-missing"),
        ({"ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2"}]}, "attribute-missing"),
    ],
)
def test_what_a_performed_step_has_to_say(web: Web, values: dict[str, Any], wanted: str) -> None:
    answer = post(web, f"{PERFORMED}/1.4.11", begun(**values))
    assert (answer.status_code, code(answer)) == (400, wanted)
    assert web.get(f"{PERFORMED}/1.4.11").status_code == 404
    assert post(web, f"{PERFORMED}/1.4.11?update", ended()).status_code == 404
    assert post(web, f"{PERFORMED}/no-uid", begun()).status_code == 400


def test_there_is_an_end_to_steps(tmp_path: Path) -> None:
    with archived(tmp_path / "data", work_steps=1) as web:
        for first, second in (
            ((SCHEDULED, scheduled("1.1", "S1")), (SCHEDULED, scheduled("1.1", "S2"))),
            ((f"{PERFORMED}/1.1", begun()), (f"{PERFORMED}/1.2", begun())),
        ):
            assert post(web, *first).status_code == 201
            assert (post(web, *second).status_code, code(post(web, *second))) == (507, "out-of-resources")
