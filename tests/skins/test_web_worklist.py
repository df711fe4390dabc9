"""Worklist Service (PS3.18 section 11): steps are created, claimed, changed, completed, canceled, and found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from isocenter.wire.dicomxml import native_xml, read_native_xml
from skins.conftest import archived
from skins.web_harness import BOUNDARY, Web, multipart
from work_objects import CODE, Model, data_set, performed, state, workitem

JSON = {"content-type": "application/dicom+json"}
LOCK = "1.2.826.99.1"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("work") / "data") as client:
        yield client


def send(web: Web, method: str, path: str, model: Model | None = None, **options: Any) -> httpx.Response:
    body = {} if model is None else {"content": json.dumps(model).encode(), "headers": JSON}
    return web.request(method, f"/dicomweb/workitems{path}", **{**body, **options})


def create(web: Web, uid: str = "", **values: Any) -> str:
    answer = send(web, "POST", f"?workitem={uid}" if uid else "", workitem(**values))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rpartition("/")[2]


def claimed(web: Web, **values: Any) -> str:
    uid = create(web, **values)
    assert send(web, "PUT", f"/{uid}/state", state("IN PROGRESS", LOCK)).status_code == 200
    return uid


def step(web: Web, uid: str) -> Model:
    (model,) = web.get(f"/dicomweb/workitems/{uid}").json()
    return dict(model)


def said(model: Model, keyword: str) -> Any:
    return (
        next(iter(data_set(**{keyword: None}))) in model
        and model[next(iter(data_set(**{keyword: None})))].get("Value", [None])[0]
    )


def test_a_step_is_created_claimed_filled_in_and_completed(web: Web) -> None:
    answer = send(web, "POST", "?1.2.826.5.1", workitem())
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"] == "http://archive.test/dicomweb/workitems/1.2.826.5.1"
    assert "warning" not in answer.headers
    uid = "1.2.826.5.1"
    model = step(web, uid)
    assert said(model, "ProcedureStepState") == "SCHEDULED"
    assert said(model, "SOPClassUID") == "1.2.840.10008.5.1.4.34.6.1"
    assert said(model, "ScheduledProcedureStepModificationDateTime")
    assert send(web, "PUT", f"/{uid}/state", state("IN PROGRESS", LOCK)).status_code == 200
    assert said(step(web, uid), "ProcedureStepState") == "IN PROGRESS"
    unfinished = send(web, "PUT", f"/{uid}/state", state("COMPLETED", LOCK))
    assert (unfinished.status_code, unfinished.json()["error"]["code"]) == (409, "step-unfinished")
    assert "(0074,1216)" in unfinished.json()["error"]["message"]
    assert send(web, "POST", f"/{uid}?{LOCK}", performed()).status_code == 200
    assert send(web, "PUT", f"/{uid}/state", state("COMPLETED", LOCK)).status_code == 200
    after = step(web, uid)
    assert said(after, "ProcedureStepState") == "COMPLETED"
    assert said(after, "UnifiedProcedureStepPerformedProcedureSequence")
    assert "00081195" not in after  # nobody but whoever performs a step knows its lock
    again = send(web, "PUT", f"/{uid}/state", state("COMPLETED", LOCK))
    assert again.status_code == 200
    assert again.headers["warning"].endswith("The UPS is already in the requested state of COMPLETED.")


def test_uids_of_new_steps(web: Web) -> None:
    assert create(web, "1.2.826.6.1") == "1.2.826.6.1"
    named = send(web, "POST", "?AffectedSOPInstanceUID=1.2.826.6.2", workitem())
    assert named.headers["location"].endswith("/1.2.826.6.2")
    inside = send(web, "POST", "", workitem(SOPInstanceUID="1.2.826.6.3"))
    assert inside.headers["location"].endswith("/1.2.826.6.3")
    assert create(web).startswith("2.25.")
    twice = send(web, "POST", "?workitem=1.2.826.6.1", workitem())
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "duplicate-step")
    for query in ("?workitem=x", "?1.2&1.3", "?workitem=1.2.840.10008.5.1.4.34.5"):
        assert send(web, "POST", query, workitem()).status_code == 400


def test_a_step_without_a_label_gets_one_and_that_is_said(web: Web) -> None:
    answer = send(web, "POST", "", workitem(WorklistLabel=None))
    assert answer.status_code == 201
    assert answer.headers["warning"].endswith("The Workitem was created with modifications.")
    assert said(step(web, answer.headers["location"].rpartition("/")[2]), "WorklistLabel") == "DEFAULT"


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("ScheduledProcedureStepPriority", None, "attribute-value-missing"),
        ("ScheduledProcedureStepPriority", "URGENT", "attribute-invalid"),
        ("InputReadinessState", "PERHAPS", "attribute-invalid"),
        ("ProcedureStepState", "IN PROGRESS", "step-not-scheduled"),
        ("ProcedureStepProgressInformationSequence", [{"ProcedureStepProgress": "5"}], "attribute-invalid"),
        ("TransactionUID", "1.2.3", "attribute-invalid"),
        ("ScheduledProcedureStepStartDateTime", "tomorrow", "attribute-invalid"),
        ("ScheduledProcedureStepStartDateTime", "2026-2027", "attribute-invalid"),
    ],
)
def test_what_a_new_step_cannot_be_like(web: Web, keyword: str, value: Any, code: str) -> None:
    answer = send(web, "POST", "", workitem(**{keyword: value}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert "Hong" not in answer.text


@pytest.mark.parametrize("keyword", ["ScheduledProcedureStepPriority", "PatientName", "ReferencedRequestSequence"])
def test_what_a_new_step_has_to_have(web: Web, keyword: str) -> None:
    model = workitem()
    del model[next(iter(data_set(**{keyword: None})))]
    answer = send(web, "POST", "", model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "attribute-missing")


# PS3.4 Table CC.1.1-2: state before, state asked for, whose transaction; status, code and the end of the Warning
_INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
TRANSITIONS = [
    ("SCHEDULED", "IN PROGRESS", None, 409, "transaction-missing", "The Transaction UID is missing."),
    ("SCHEDULED", "SCHEDULED", LOCK, 409, "step-not-renewed", _INCONSISTENT),
    ("SCHEDULED", "COMPLETED", LOCK, 409, "step-unclaimed", _INCONSISTENT),
    ("SCHEDULED", "CANCELED", LOCK, 409, "step-unclaimed", _INCONSISTENT),
    ("SCHEDULED", "CANCELED", None, 409, "transaction-missing", "The Transaction UID is missing."),
    ("IN PROGRESS", "IN PROGRESS", LOCK, 409, "step-claimed", _INCONSISTENT),
    ("IN PROGRESS", "IN PROGRESS", "1.9", 409, "transaction-incorrect", "The Transaction UID is incorrect."),
    ("IN PROGRESS", "COMPLETED", "1.9", 409, "transaction-incorrect", "The Transaction UID is incorrect."),
    ("IN PROGRESS", "COMPLETED", LOCK, 409, "step-unfinished", _INCONSISTENT),
    ("IN PROGRESS", "SCHEDULED", LOCK, 409, "step-not-renewed", _INCONSISTENT),
    ("IN PROGRESS", "CANCELED", LOCK, 200, "", ""),
    ("CANCELED", "CANCELED", LOCK, 200, "", "The UPS is already in the requested state of CANCELED."),
    ("CANCELED", "CANCELED", "1.9", 409, "transaction-incorrect", "The Transaction UID is incorrect."),
    ("CANCELED", "IN PROGRESS", LOCK, 409, "step-over", _INCONSISTENT),
    ("CANCELED", "COMPLETED", LOCK, 409, "step-over", _INCONSISTENT),
    ("IN PROGRESS", "DONE", LOCK, 400, "attribute-invalid", ""),
]


@pytest.mark.parametrize(("before", "wanted", "transaction", "status", "code", "warning"), TRANSITIONS)
def test_each_change_of_state(
    web: Web, before: str, wanted: str, transaction: str | None, status: int, code: str, warning: str
) -> None:
    uid = create(web)
    for on_the_way in {"SCHEDULED": (), "IN PROGRESS": ("IN PROGRESS",), "CANCELED": ("IN PROGRESS", "CANCELED")}[
        before
    ]:
        assert send(web, "PUT", f"/{uid}/state", state(on_the_way, LOCK)).status_code == 200
    answer = send(web, "PUT", f"/{uid}/state", state(wanted, transaction))
    assert answer.status_code == status
    assert (answer.json()["error"]["code"] if status != 200 else "") == code
    assert answer.headers.get("warning", "").endswith(warning)
    assert said(step(web, uid), "ProcedureStepState") == (wanted if status == 200 else before)


def test_a_canceled_step_says_when_and_why(web: Web) -> None:
    uid = claimed(web)
    assert send(web, "PUT", f"/{uid}/state", state("CANCELED", LOCK)).status_code == 200
    progress = said(step(web, uid), "ProcedureStepProgressInformationSequence")
    assert said(progress, "ProcedureStepCancellationDateTime")
    assert said(said(progress, "ProcedureStepDiscontinuationReasonCodeSequence"), "CodeValue") == "110513"


def test_who_may_change_a_step(web: Web) -> None:
    uid = create(web)
    assert send(web, "POST", f"/{uid}", data_set(ProcedureStepLabel="Read again")).status_code == 200
    early = send(web, "POST", f"/{uid}?{LOCK}", data_set(ProcedureStepLabel="x"))
    assert (early.status_code, early.json()["error"]["code"]) == (409, "step-unclaimed")
    assert early.headers["warning"].endswith("The target URI did not reference a claimed Workitem.")
    assert send(web, "PUT", f"/{uid}/state", state("IN PROGRESS", LOCK)).status_code == 200
    change = data_set(ProcedureStepLabel="Read at last")
    for query in ("", "?1.9", "?transaction-uid=1.9"):
        refused = send(web, "POST", f"/{uid}{query}", change)
        assert (refused.status_code, refused.json()["error"]["code"][:11]) == (400, "transaction")
    assert said(step(web, uid), "ProcedureStepLabel") == "Read again"
    for query, model in ((f"?{LOCK}", change), (f"?transaction-uid={LOCK}", change)):
        assert send(web, "POST", f"/{uid}{query}", model).status_code == 200
    inside = data_set(ProcedureStepLabel="Read in the end", TransactionUID=LOCK)
    assert send(web, "POST", f"/{uid}", inside).status_code == 200
    assert said(step(web, uid), "ProcedureStepLabel") == "Read in the end"
    assert send(web, "PUT", f"/{uid}/state", state("CANCELED", LOCK)).status_code == 200
    over = send(web, "POST", f"/{uid}?{LOCK}", change)
    assert (over.status_code, over.json()["error"]["code"]) == (400, "step-over")


def test_what_of_a_step_stays_as_it_is(web: Web) -> None:
    uid = create(web)
    for change in ({"PatientName": "Doe^Jane"}, {"ProcedureStepState": "COMPLETED"}, {"ReferencedRequestSequence": []}):
        refused = send(web, "POST", f"/{uid}", data_set(**change))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "attribute-invalid")
    emptied = send(web, "POST", f"/{uid}", data_set(ScheduledProcedureStepStartDateTime=None))
    assert (emptied.status_code, emptied.json()["error"]["code"]) == (400, "attribute-value-missing")
    same = data_set(PatientName="Hong^Gildong", ExpectedCompletionDateTime="20261122120000")
    assert send(web, "POST", f"/{uid}", same).status_code == 200
    assert said(step(web, uid), "ExpectedCompletionDateTime") == "20261122120000"


def test_cancellation_is_asked_for(web: Web) -> None:
    uid = create(web)
    why = data_set(ReasonForCancellation="wrong side", ProcedureStepDiscontinuationReasonCodeSequence=[CODE])
    assert send(web, "POST", f"/{uid}/cancelrequest", why).status_code == 202
    model = step(web, uid)
    assert said(model, "ProcedureStepState") == "CANCELED"
    progress = said(model, "ProcedureStepProgressInformationSequence")
    assert said(progress, "ReasonForCancellation") == "wrong side"
    assert said(said(progress, "ProcedureStepDiscontinuationReasonCodeSequence"), "CodeValue") == "110005"
    again = send(web, "POST", f"/{uid}/cancelrequest")
    assert again.status_code == 202
    assert again.headers["warning"].endswith("The UPS is already in the requested state of CANCELED.")
    alone = send(web, "POST", f"/{claimed(web)}/cancelrequest")
    assert (alone.status_code, alone.json()["error"]["code"]) == (409, "performer-unreachable")
    assert alone.headers["warning"].endswith("The performer cannot be contacted.")
    done = claimed(web)
    send(web, "POST", f"/{done}?{LOCK}", performed())
    assert send(web, "PUT", f"/{done}/state", state("COMPLETED", LOCK)).status_code == 200
    late = send(web, "POST", f"/{done}/cancelrequest")
    assert (late.status_code, late.headers["warning"][-29:]) == (409, "The UPS is already COMPLETED.")


@pytest.mark.parametrize("path", ["/1.2.3", "/1.2.3/state", "/1.2.3/cancelrequest", "/1.2.3/subscribers/WATCHER"])
def test_what_is_not_there(web: Web, path: str) -> None:
    method = {"/1.2.3": "GET", "/1.2.3/state": "PUT"}.get(path, "POST")
    answer = send(web, method, path, state("IN PROGRESS", LOCK) if method == "PUT" else None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no-such-step")
    assert send(web, method, path.replace("1.2.3", "no-uid"), state("IN PROGRESS", LOCK)).status_code == 400


def uids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [said(model, "SOPInstanceUID") for model in answer.json()]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("listed") / "data", web_default_limit=50) as client:
        names = ["Hong^Gildong", "Kim^Yuna", "Müller^Jürgen"]
        for number in range(1, 7):
            create(
                client,
                f"1.2.7.{number}",
                PatientName=names[number % 3],
                PatientID=str(number % 3),
                ScheduledProcedureStepStartDateTime=f"2026112{number}0900",
                ScheduledProcedureStepPriority="HIGH" if number == 4 else "LOW",
            )
        assert send(client, "PUT", "/1.2.7.3/state", state("IN PROGRESS", LOCK)).status_code == 200
        yield client


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", "123456"),
        ("ProcedureStepState=SCHEDULED", "12456"),
        ("00741000=IN%20PROGRESS", "3"),
        ("PatientID=1&ScheduledProcedureStepPriority=HIGH", "4"),
        ("PatientName=kim*", "14"),
        ("PatientName=jurgen&fuzzymatching=true", "25"),
        ("ScheduledProcedureStepStartDateTime=20261122-20261124", "234"),
        ("ScheduledProcedureStepStartDateTime=-202611220900", "12"),
        ("ScheduledWorkitemCodeSequence.CodeValue=110005", "123456"),
        ("ReferencedRequestSequence.AccessionNumber=A1?", "123456"),
        ("ReferencedRequestSequence.AccessionNumber=B*", ""),
        ("SOPInstanceUID=1.2.7.2,1.2.7.5", "25"),
        ("limit=2&offset=3", "45"),
        ("PatientID=0&limit=1", "3"),
        ("offset=9", ""),
    ],
)
def test_searches_match_as_those_for_studies(listed: Web, query: str, wanted: str) -> None:
    assert uids(listed.get(f"/dicomweb/workitems?{query}")) == [f"1.2.7.{number}" for number in wanted]


def test_what_a_search_answers(listed: Web) -> None:
    answer = listed.get("/dicomweb/workitems?limit=2")
    assert answer.headers["x-total-count"] == "6"
    assert answer.headers["warning"].endswith("There are 4 additional results that can be requested")
    model = answer.json()[0]
    assert {"00741000", "00404041", "00741200", "00404005", "00100010", "00080018"} <= model.keys()
    assert "00404010" in model
    assert "00081195" not in model
    assert "00404011" not in model
    (more,) = listed.get("/dicomweb/workitems?SOPInstanceUID=1.2.7.3&includefield=all").json()
    assert more == step(listed, "1.2.7.3")
    lock = listed.get(f"/dicomweb/workitems?TransactionUID={LOCK}&NoSuchKeyword=1")
    assert len(lock.json()) == 6  # and not the one step that has it
    assert "NoSuchKeyword" in lock.headers["warning"]
    for bad in (
        "ScheduledProcedureStepStartDateTime=x",
        "limit=-1",
        "ProcedureStepState.PatientID=1",
        "PatientID=1&PatientID=2",
    ):
        assert listed.get(f"/dicomweb/workitems?{bad}").status_code == 400


def test_xml_in_and_out(web: Web) -> None:
    document = native_xml(workitem(PatientName="홍^길동"))
    answer = web.request(
        "POST", "/dicomweb/workitems?1.2.8.1", content=document, headers={"content-type": "application/dicom+xml"}
    )
    assert answer.status_code == 201, answer.text
    alone = web.get("/dicomweb/workitems/1.2.8.1", "application/dicom+xml")
    assert alone.headers["content-type"] == "application/dicom+xml"
    assert read_native_xml(alone.content) == step(web, "1.2.8.1")
    found = web.get("/dicomweb/workitems?SOPInstanceUID=1.2.8.1", 'multipart/related; type="application/dicom+xml"')
    assert found.headers["content-type"].startswith("multipart/related")
    part = found.content[found.content.index(b"<?xml") :].partition(b"\r\n--")[0]
    assert ElementTree.fromstring(part).tag.endswith("NativeDicomModel")
    assert web.get("/dicomweb/workitems/1.2.8.1", "application/dicom").status_code == 406


def test_a_data_set_in_one_part(web: Web) -> None:
    content = multipart(json.dumps(workitem()).encode(), part_type="application/dicom+json")
    headers = {"content-type": f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'}
    assert web.request("POST", "/dicomweb/workitems?1.2.8.2", content=content, headers=headers).status_code == 201
    two = multipart(*[json.dumps(workitem()).encode()] * 2, part_type="application/dicom+json")
    assert web.request("POST", "/dicomweb/workitems", content=two, headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/dicom+json", 400),
        (b"{", "application/dicom+json", 400),
        (b"[]", "application/dicom+json", 400),
        (b"[{},{}]", "application/dicom+json", 400),
        (b'{"00100010": 5}', "application/dicom+json", 400),
        (b'{"00100010": {"vr": "XX"}}', "application/dicom+json", 400),
        (b'{"00404005": {"vr": "DT", "BulkDataURI": "file:///etc/passwd"}}', "application/dicom+json", 400),
        (b"{}", "text/plain", 415),
        (b"<!DOCTYPE x><x/>", "application/dicom+xml", 400),
        (b'{"00404021": ' * 100 + b"}" * 100, "application/dicom+json", 400),
        (b'{"a":' * 200_000, "application/dicom+json", 413),
    ],
)
def test_hostile_data_sets(web: Web, content: bytes, kind: str, status: int) -> None:
    answer = web.request("POST", "/dicomweb/workitems", content=content, headers={"content-type": kind})
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_limits(tmp_path: Path) -> None:
    with archived(tmp_path / "data", work_steps=2, work_step_bytes=4096) as web:
        create(web, "1.1")
        large = send(web, "POST", "/1.1", data_set(CommentsOnTheScheduledProcedureStep="x" * 5000))
        assert (large.status_code, large.json()["error"]["code"]) == (413, "limit-exceeded")
        create(web)
        full = send(web, "POST", "", workitem())
        assert (full.status_code, full.json()["error"]["code"]) == (507, "out-of-resources")
