"""The Non-Patient Instance Service (PS3.18 section 12)."""

from __future__ import annotations

from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from isocenter.std.non_patient import RESOURCE_OF, RESOURCES
from isocenter.wire.part10 import read_header
from non_patient_objects import PALETTES, ROOT, UID_OF, hanging_protocol, item, made, one_of_each, read
from skins.web_harness import Web, copies, parts_of

HANGING, PALETTE = "/dicomweb/hanging-protocols", "/dicomweb/color-palettes"
BASE = "http://archive.test"
REFERENCED, FAILED, UID, REASON, URL = "00081199", "00081198", "00081155", "00081197", "00081190"


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


def values(answer: dict[str, Any], sequence: str, tag: str) -> list[Any]:
    return [one[tag]["Value"][0] for one in answer.get(sequence, {}).get("Value", [])]


@pytest.fixture
def filled(web: Web) -> Web:
    """An archive with one study, and three hanging protocols among the other kinds."""
    files = {keyword: [file] for keyword, file in one_of_each().items()}
    files["HangingProtocolStorage"] += [hanging_protocol(2, "Thorax", "CR"), hanging_protocol(3, "Head 50%", "CT")]
    for keyword, some in files.items():
        response = web.store(*some, path=f"/dicomweb/{RESOURCE_OF[UID_OF[keyword]]}")
        assert response.status_code == 200
    assert web.store(*copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1)).status_code == 200
    return web


@pytest.mark.parametrize("name", RESOURCES)
def test_each_kind_is_stored_found_and_retrieved(web: Web, name: str) -> None:
    files = {str(read(one).SOPInstanceUID): one for one in one_of_each().values()}
    mine = {uid: file for uid, file in files.items() if read(file).SOPClassUID in RESOURCES[name]}
    answer = web.store(*files.values(), path=f"/dicomweb/{name}")
    assert answer.status_code == 202
    told = answer.json()
    assert dict(zip(values(told, REFERENCED, UID), values(told, REFERENCED, URL), strict=True)) == {
        uid: f"{BASE}/dicomweb/{name}/{uid}" for uid in mine
    }
    assert dict.fromkeys(values(told, FAILED, UID), 0xA900) == dict.fromkeys(files.keys() - mine.keys(), 0xA900)
    assert URL not in told
    found = {one["00080018"]["Value"][0]: one for one in web.get(f"/dicomweb/{name}").json()}
    assert found.keys() == mine.keys()
    for uid, file in mine.items():
        assert found[uid][URL]["Value"] == [f"{BASE}/dicomweb/{name}/{uid}"]
        assert found[uid]["00080056"]["Value"] == ["ONLINE"]
        assert data_set(web.get(found[uid][URL]["Value"][0]).content) == data_set(file)


def test_they_are_in_no_study(filled: Web) -> None:
    for path in ("studies", "series", "instances"):
        assert len(filled.get(f"/dicomweb/{path}").json()) == 1
    uid = f"{ROOT}.38.1.1"
    assert filled.get(f"/dicomweb/instances?SOPInstanceUID={uid}").json() == []
    assert (
        filled.get(f"/dicomweb/studies?includefield=all&SOPClassesInStudy={UID_OF['HangingProtocolStorage']}").json()
        == []
    )
    text = filled.get("/metrics").text
    assert 'isocenter_archive{what="studies"} 1.0' in text
    assert 'isocenter_archive{what="instances"} 12.0' in text
    assert 'isocenter_archive{what="non_patient"} 11.0' in text


@pytest.mark.parametrize(
    ("expected", "query"),
    [
        ({1, 2, 3}, ""),
        ({2}, "HangingProtocolName=Tho*"),
        ({3}, "00720002=*50%25"),
        ({3}, "HangingProtocolDefinitionSequence.Modality=CT"),
        ({1, 3}, f"SOPInstanceUID={ROOT}.38.1.1,{ROOT}.38.1.3,{ROOT}.39.1.1"),
        ({2, 3}, "HangingProtocolCreationDateTime=20240102-"),
        ({2}, "limit=1&offset=1"),
        (set(), "HangingProtocolLevel=MANUFACTURER"),
    ],
)
def test_searching(filled: Web, expected: set[int], query: str) -> None:
    response = filled.get(f"{HANGING}?{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    assert {int(one["00080018"]["Value"][0].rpartition(".")[2]) for one in response.json()} == expected


def test_what_an_answer_holds(filled: Web) -> None:
    response = filled.get(f"{HANGING}?limit=1&PatientID=P1")
    assert response.headers.get_list("warning") == [
        f"299 {BASE}/dicomweb: These parameters or attributes are not supported and were ignored: PatientID",
        f"299 {BASE}/dicomweb: There are 2 additional results that can be requested",
    ]
    (answer,) = response.json()
    assert list(answer) == sorted(answer)
    assert answer["00080016"]["Value"] == [UID_OF["HangingProtocolStorage"]]
    assert answer["00720002"]["Value"] == ["Mammo"]
    assert answer["0072000C"]["Value"][0]["00080060"]["Value"] == ["MG"]
    assert {"0020000D", "0020000E", "00200013", "00100020"}.isdisjoint(answer)
    named = filled.get(f"{HANGING}?limit=1&includefield=NumberOfScreens").json()[0]
    assert named["00720100"] == {"vr": "US"}


def test_the_forms_of_an_instance(web: Web) -> None:
    file = PALETTES[0].read_bytes()
    uid = str(read(file).SOPInstanceUID)
    web.store(file, path=PALETTE)
    path = f"{PALETTE}/{uid}"
    for accept in (None, "*/*", "application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"):
        response = web.get(path, accept)
        assert response.headers["content-type"].startswith("application/dicom;")
        assert int(response.headers["content-length"]) == len(response.content)
        assert data_set(response.content) == data_set(file)
    ((headers, body),) = parts_of(web.get(path, 'multipart/related; type="application/dicom"'))
    assert (headers["content-location"], data_set(body)) == (f"{BASE}{path}", data_set(file))
    response = web.get(path, "application/dicom+json")
    (answer,) = response.json()
    assert answer["00700080"]["Value"] == [str(read(file).ContentLabel)]
    profile = web.get(answer["00282000"]["BulkDataURI"], "application/octet-stream")
    assert profile.content == read(file).ICCProfile
    assert web.get(path, "image/png").status_code == 406
    assert web.request("HEAD", path).status_code == 200


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (404, "GET", f"{HANGING}/1.2.3"),
        (404, "GET", f"{PALETTE}/{ROOT}.38.1.1"),
        (404, "GET", f"{PALETTE}/{ROOT}.38.1.1/bulkdata/00282000"),
        (400, "GET", f"{HANGING}/1.02.3"),
        (400, "POST", f"{HANGING}/1.02.3"),
        (400, "GET", f"{HANGING}?HangingProtocolCreationDateTime=x-"),
        (403, "DELETE", HANGING),
        (405, "PUT", f"{HANGING}/{ROOT}.38.1.1"),
        (404, "GET", "/dicomweb/hanging-protocol"),
        (404, "GET", f"/dicomweb/studies/1.2/series/1.3/instances/{ROOT}.38.1.1"),
    ],
)
def test_what_is_not_there(filled: Web, status: int, method: str, path: str) -> None:
    assert filled.request(method, path).status_code == status


def test_storing_under_a_uid(web: Web) -> None:
    first, second = hanging_protocol(1, "Mammo", "MG"), hanging_protocol(2, "Thorax", "CR")
    uid = str(read(first).SOPInstanceUID)
    answer = web.store(second, first, path=f"{HANGING}/{uid}")
    assert answer.status_code == 202
    assert values(answer.json(), REFERENCED, UID) == [uid]
    assert values(answer.json(), FAILED, REASON) == [0xA900]
    alone = web.request("POST", f"{HANGING}/{uid}", content=first, headers={"content-type": "application/dicom"})
    assert alone.status_code == 200


def test_the_same_uid_with_other_bytes_is_kept_aside(web: Web) -> None:
    web.store(hanging_protocol(1, "Mammo", "MG"), path=HANGING)
    answer = web.store(hanging_protocol(1, "Another", "MG"), path=HANGING)
    assert (answer.status_code, values(answer.json(), REFERENCED, "00081196")) == (202, [0xB000])
    (found,) = web.get(HANGING).json()
    assert found["00720002"]["Value"] == ["Mammo"]


def test_among_images_they_are_stored_and_in_a_study_they_are_not(web: Web) -> None:
    images = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1)
    study = str(read(images[0]).StudyInstanceUID)
    palette, claims = PALETTES[0].read_bytes(), hanging_protocol(1, "Mammo", "MG", StudyInstanceUID=study)
    answer = web.store(palette, *images)
    assert answer.status_code == 200
    palette_uid = str(read(palette).SOPInstanceUID)
    assert values(answer.json(), REFERENCED, URL)[0] == f"{BASE}{PALETTE}/{palette_uid}"
    answer = web.store(PALETTES[1].read_bytes(), claims, *images, path=f"/dicomweb/studies/{study}")
    assert answer.status_code == 202
    assert values(answer.json(), FAILED, REASON) == [0xA900, 0xA900]
    assert web.get(HANGING).json() == []


def test_an_image_is_no_hanging_protocol(web: Web) -> None:
    images = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1)
    answer = web.store(*images, path=HANGING)
    assert (answer.status_code, values(answer.json(), FAILED, REASON)) == (409, [0xA900])
    assert web.get("/dicomweb/studies").json() == []


def test_long_objects_are_looked_into_as_far_as_needed(web: Web) -> None:
    template = made("GenericImplantTemplateStorage", HPGLDocumentSequence=[item(HPGLDocument=bytes(2 << 20))])
    assert web.store(template, path="/dicomweb/implant-templates").status_code == 200
    assert web.store(template, path=HANGING).status_code == 409
