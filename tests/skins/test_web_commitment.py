"""Storage commitment by HTTP (PS3.18 section 13)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import fault_objects
from isocenter.archive.archive import Archive
from isocenter.archive.commitments import COMMITMENT_WEB
from isocenter.wire.dicomxml import native_xml, read_native_xml
from skins.conftest import archived
from skins.web_harness import Web
from work_objects import Model, data_set

PATH = "/dicomweb/commitment-requests"
CT, MR = fault_objects.CT, "1.2.840.10008.5.1.4.1.1.4"


def begin(web: Web) -> Web:
    """Jobs are done, as `isocenter serve` does them."""

    async def start() -> None:
        archive: Archive = web.archive
        archive.jobs.start({COMMITMENT_WEB: archive.commitments})

    web.portal.call(start)
    return web


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with archived(tmp_path_factory.mktemp("committing") / "data") as client:
        assert client.store(*(fault_objects.data_set(f"1.9.1.1.{n}") for n in (1, 2, 3))).status_code == 200
        yield begin(client)


def asked(*objects: tuple[str, str], **values: str) -> Model:
    items = [{"ReferencedSOPClassUID": one, "ReferencedSOPInstanceUID": uid} for one, uid in objects]
    return data_set(ReferencedSOPSequence=items, **values)


def post(web: Web, uid: str, model: Model) -> httpx.Response:
    headers = {"content-type": "application/dicom+json"}
    return web.request("POST", f"{PATH}/{uid}", content=json.dumps(model).encode(), headers=headers)


def told(answer: Model) -> tuple[list[str], dict[str, int]]:
    good = [item["00081155"]["Value"][0] for item in answer.get("00081199", {}).get("Value", ())]
    bad = {
        item["00081155"]["Value"][0]: item["00081197"]["Value"][0]
        for item in answer.get("00081198", {}).get("Value", ())
    }
    return good, bad


def test_what_is_in_safekeeping_is_said(web: Web) -> None:
    objects = ((CT, "1.9.1.1.1"), (CT, "1.9.1.1.2"), (MR, "1.9.1.1.3"), (CT, "1.9.1.1.4"))
    answer = post(web, "1.5.1", asked(*objects, TransactionUID="1.5.1"))
    assert answer.status_code == 200
    assert answer.headers["content-location"] == f"http://archive.test{PATH}/1.5.1"
    assert told(answer.json()) == (["1.9.1.1.1", "1.9.1.1.2"], {"1.9.1.1.3": 0x0119, "1.9.1.1.4": 0x0112})
    assert answer.json()["00081195"]["Value"] == ["1.5.1"]
    again = web.get(f"{PATH}/1.5.1")
    assert (again.status_code, again.json()) == (200, answer.json())
    document = web.get(f"{PATH}/1.5.1", "application/dicom+xml")
    assert read_native_xml(document.content) == answer.json()
    repeated = post(web, "1.5.1", asked(*objects))
    assert (repeated.status_code, repeated.json()["error"]["code"]) == (409, "duplicate-step")


def test_what_was_damaged_is_not_committed(tmp_path: Path) -> None:
    with archived(tmp_path / "data") as client:
        assert client.store(fault_objects.data_set("1.9.2.1.1")).status_code == 200
        files = (path for path in (tmp_path / "data" / "objects").rglob("*") if path.is_file())
        (file,) = (path for path in files if path.stat().st_size > 0)  # others are names made ready
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        answer = post(begin(client), "1.5.2", asked((CT, "1.9.2.1.1")))
        assert told(answer.json()) == ([], {"1.9.2.1.1": 0x0110})


def test_a_request_by_xml(web: Web) -> None:
    headers = {"content-type": "application/dicom+xml", "accept": "application/dicom+xml"}
    content = native_xml(asked((CT, "1.9.1.1.1")))
    answer = web.request("POST", f"{PATH}/1.5.3", content=content, headers=headers)
    assert answer.status_code == 200
    assert told(read_native_xml(answer.content)) == (["1.9.1.1.1"], {})


def test_a_request_outlives_the_server_and_is_answered_later(tmp_path: Path) -> None:
    with archived(tmp_path / "data") as client:
        assert client.store(fault_objects.data_set("1.9.3.1.1")).status_code == 200
        answer = post(client, "1.5.4", asked((CT, "1.9.3.1.1")))  # nobody does jobs here
        assert answer.status_code == 202
        assert answer.headers["retry-after"].isdigit()
        assert answer.headers["location"] == f"http://archive.test{PATH}/1.5.4"
        assert "still looked at" in answer.headers["warning"]
        assert client.get(f"{PATH}/1.5.4").status_code == 202
    with archived(tmp_path / "data") as client:
        assert client.get(f"{PATH}/1.5.4").status_code == 202
        found = begin(client).portal.call(client.archive.commitments.result, "1.5.4", 20.0)
        assert told(found) == (["1.9.3.1.1"], {})
    with archived(tmp_path / "data") as client:
        assert client.get(f"{PATH}/1.5.4").json() == found


@pytest.mark.parametrize(
    ("uid", "model", "code"),
    [
        ("1.5.9", data_set(), "invalid-argument"),
        ("1.5.9", data_set(ReferencedSOPSequence=[]), "invalid-argument"),
        ("1.5.9", asked((CT, "")), "invalid-argument"),
        ("1.5.9", asked((CT, "1.2"), TransactionUID="1.5.8"), "bad-request"),
        ("1.5.9", data_set(ReferencedStudySequence=[]), "bad-request"),
        ("1.5.09", asked((CT, "1.2")), "bad-request"),
    ],
)
def test_what_cannot_be_asked(web: Web, uid: str, model: Model, code: str) -> None:
    answer = post(web, uid, model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert web.get(f"{PATH}/{uid}").status_code in {400, 404}


def test_limits_of_requests(tmp_path: Path) -> None:
    with archived(tmp_path / "data", commitment_references=2, commitment_pending=3, work_steps=2) as client:
        two = ((CT, "1.2"), (CT, "1.3"))
        assert post(client, "1.5.1", asked(*two, (CT, "1.4"))).json()["error"]["code"] == "limit-exceeded"
        assert post(client, "1.5.2", asked(*two)).status_code == 202
        full = post(client, "1.5.3", asked(*two))
        assert (full.status_code, full.json()["error"]["code"]) == (507, "out-of-resources")
        assert post(client, "1.5.4", asked((CT, "1.2"))).status_code == 202
        begin(client).portal.call(client.archive.commitments.result, "1.5.4", 20.0)
        assert post(client, "1.5.5", asked((CT, "1.2"))).json()["error"]["code"] == "out-of-resources"


def test_no_patient_in_the_audit_trail(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert post(web, "1.5.7", asked((CT, "1.9.1.1.1"))).status_code == 200
    assert "Procedure Record: asked for commitment step=1.5.7" in caplog.text
    assert "Procedure Record: reported commitment step=1.5.7" in caplog.text
    assert "Fault" not in caplog.text
