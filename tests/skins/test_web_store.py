"""STOW-RS (PS3.18 section 10.5): what is stored, what is refused, and what the client is told."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from isocenter.errors import ArchiveBusy, DuplicateInstance, OutOfResources
from skins.web_harness import BOUNDARY, Web, copies, in_pieces, multipart, saved

REFERENCED, FAILED, OTHERS = "00081199", "00081198", "0008119A"
UID, REASON = "00081155", "00081197"


@pytest.fixture(scope="module")
def three() -> list[bytes]:
    return copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))


def uids(answer: dict[str, dict[str, list[dict[str, dict[str, list[str]]]]]], tag: str) -> list[str]:
    return [item[UID]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


def reasons(answer: dict[str, dict[str, list[dict[str, dict[str, list[int]]]]]], tag: str) -> list[int]:
    return [item[REASON]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


def test_all_stored(web: Web, three: list[bytes]) -> None:
    response = web.store(*three)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    answer = response.json()
    first = read(three[0])
    assert uids(answer, REFERENCED) == [read(data).SOPInstanceUID for data in three]
    assert answer["00081190"]["Value"] == [f"http://archive.test/dicomweb/studies/{first.StudyInstanceUID}"]
    item = answer[REFERENCED]["Value"][0]
    assert item["00081150"]["Value"] == [first.SOPClassUID]
    assert {FAILED, OTHERS}.isdisjoint(answer)
    for data, item in zip(three, answer[REFERENCED]["Value"], strict=True):
        assert web.get(item["00081190"]["Value"][0], "application/dicom").content == data


def test_the_study_of_the_path(web: Web, three: list[bytes]) -> None:
    study = read(three[0]).StudyInstanceUID
    other = read(three[2])
    other.StudyInstanceUID = generate_uid()
    response = web.store(three[0], saved(other), three[1], path=f"/dicomweb/studies/{study}")
    assert response.status_code == 202
    assert uids(response.json(), REFERENCED) == [read(data).SOPInstanceUID for data in three[:2]]
    assert (uids(response.json(), FAILED), reasons(response.json(), FAILED)) == ([other.SOPInstanceUID], [0xA900])
    assert len(web.get("/dicomweb/instances").json()) == 2
    assert web.store(saved(other), path=f"/dicomweb/studies/{study}").status_code == 409
    assert web.store(three[0], path="/dicomweb/studies/1..2").status_code == 400


def test_a_failing_part_leaves_the_others_stored(web: Web, three: list[bytes]) -> None:
    without_study = read(three[1])
    del without_study.StudyInstanceUID
    response = web.store(three[0], b"no DICOM", three[1][:-300], saved(without_study), three[2])
    answer = response.json()
    assert response.status_code == 202
    assert uids(answer, REFERENCED) == [read(three[0]).SOPInstanceUID, read(three[2]).SOPInstanceUID]
    assert uids(answer, FAILED) == [read(three[1]).SOPInstanceUID] * 2
    assert reasons(answer, FAILED) == [0xC000, 0xC001]
    assert reasons(answer, OTHERS) == [0xC000]
    said = response.headers["warning"]
    assert said.startswith("299 http://archive.test/dicomweb: 3 not stored: "), said
    assert said.count(";") == 2, "each reason in words, since the answer has numbers only"
    assert "warning" not in web.store(three[0]).headers
    assert len(web.get("/dicomweb/instances").json()) == 2


def test_the_data_set_says_which_object_a_file_is(web: Web, three: list[bytes]) -> None:
    wrong_meta = read(three[2])
    wrong_meta.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    output = BytesIO()
    pydicom.dcmwrite(output, wrong_meta)
    answer = web.store(output.getvalue()).json()
    assert uids(answer, REFERENCED) == [wrong_meta.SOPInstanceUID]
    (found,) = web.get("/dicomweb/instances").json()
    assert found["00080018"]["Value"] == [wrong_meta.SOPInstanceUID]


def test_the_same_again_is_success_and_other_bytes_are_a_warning(web: Web, three: list[bytes]) -> None:
    assert web.store(three[0]).status_code == 200
    again = web.store(three[0])
    assert again.status_code == 200
    assert "00081196" not in again.json()[REFERENCED]["Value"][0]
    changed = read(three[0])
    changed.PatientComments = "changed"
    response = web.store(saved(changed))
    assert response.status_code == 202
    assert response.json()[REFERENCED]["Value"][0]["00081196"]["Value"] == [0xB000]
    url = response.json()[REFERENCED]["Value"][0]["00081190"]["Value"][0]
    assert web.get(url, "application/dicom").content == three[0]


def test_a_single_object_as_the_body(web: Web, three: list[bytes]) -> None:
    response = web.request("POST", "/dicomweb/studies", content=three[0], headers={"content-type": "application/dicom"})
    assert response.status_code == 200
    assert uids(response.json(), REFERENCED) == [read(three[0]).SOPInstanceUID]


@pytest.mark.parametrize("size", [1, 37, 65536])
def test_however_the_body_is_cut(fake: Web, three: list[bytes], size: int) -> None:
    small = [data[:3000] for data in three]
    response = fake.request(
        "POST",
        "/dicomweb/studies",
        content=in_pieces(multipart(*small), size),
        headers={"content-type": f"multipart/related; type=application/dicom; boundary={BOUNDARY}"},
    )
    assert [bytes(incoming.data) for incoming in fake.archive.begun] == small
    assert response.status_code in (200, 400)


def test_memory_is_bounded_while_receiving(fake: Web) -> None:
    received = 0

    class Sink:
        def write(self, chunks: list[memoryview]) -> None:
            nonlocal received
            received += sum(map(len, chunks))

        def abandon(self) -> None:
            pass

        async def commit(self) -> None:
            raise OutOfResources("a sink keeps nothing")

    async def body() -> object:
        yield f"--{BOUNDARY}\r\n\r\n".encode()
        for _ in range(3 * 16):
            yield bytes(64 * 1024)
        yield f"\r\n--{BOUNDARY}--".encode()

    fake.archive.begin = lambda origin: Sink()
    tracemalloc.start()
    try:
        response = fake.request(
            "POST",
            "/dicomweb/studies",
            content=body(),
            headers={"content-type": f"multipart/related; boundary={BOUNDARY}"},
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.status_code == 507
    assert received == 3 * 1024 * 1024
    assert peak < 1024 * 1024


@pytest.mark.parametrize(
    ("status", "content_type", "content"),
    [
        (415, "application/octet-stream", b"x"),
        (415, "text/plain", b"x"),
        (415, "multipart/form-data; boundary=b", b"--b--"),
        (415, 'multipart/related; type="application/pdf"; boundary=b', b"--b--"),
        (415, 'multipart/related; type="text/xml"; boundary=b', b"--b--"),
        (415, None, b"x"),
        (400, "multipart/related; type=application/dicom", b"x"),
        (400, "multipart/related; type=application/dicom; boundary=", b"x"),
        (400, f"multipart/related; boundary={'x' * 71}", b"x"),
        (400, "nonsense", b"x"),
        (400, "multipart/related; boundary=b", b""),
        (400, "multipart/related; boundary=b", b"--b--"),
        (400, "multipart/related; boundary=b", b"no delimiter"),
        (400, "multipart/related; boundary=b", b"--b\r\nbad header\r\n\r\nx\r\n--b--"),
        (400, "multipart/related; boundary=b", b"--b\r\n\r\nunfinished"),
        (400, "multipart/related; boundary=b", b"--b\r\n\r\n\r\n--b--"),
        (400, "multipart/related; boundary=b", b"--b\r\n\r\nnot DICOM\r\n--b--"),
        (415, "multipart/related; boundary=b", b"--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--"),
        (415, "multipart/related; boundary=b", b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--"),
        (400, "application/dicom", b""),
        (400, "application/dicom", b"not DICOM"),
    ],
)
def test_requests_that_store_nothing(web: Web, status: int, content_type: str | None, content: bytes) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = web.request("POST", "/dicomweb/studies", content=content, headers=headers)
    assert response.status_code == status
    assert web.get("/dicomweb/instances").json() == []


def test_a_body_that_breaks_off_keeps_what_came_whole(web: Web, three: list[bytes]) -> None:
    content = multipart(*three)[: -len(three[2]) // 2]
    headers = {"content-type": f"multipart/related; boundary={BOUNDARY}"}
    response = web.request("POST", "/dicomweb/studies", content=content, headers=headers)
    assert response.status_code == 202
    assert uids(response.json(), REFERENCED) == [read(data).SOPInstanceUID for data in three[:2]]
    assert uids(response.json(), FAILED) == [read(three[2]).SOPInstanceUID]
    assert len(web.get("/dicomweb/instances").json()) == 2


def test_too_large_by_announcement_and_by_surprise(fake: Web) -> None:
    content = multipart(bytes(5 * 1024 * 1024))
    headers = {"content-type": f"multipart/related; boundary={BOUNDARY}"}
    announced = fake.request("POST", "/dicomweb/studies", content=content, headers=headers)
    assert (announced.status_code, fake.archive.begun) == (413, [])
    surprise = fake.request("POST", "/dicomweb/studies", content=in_pieces(content, 65536), headers=headers)
    assert surprise.status_code == 413
    assert [incoming.state for incoming in fake.archive.begun] == ["abandoned"]


@pytest.mark.parametrize(
    ("status", "reason", "refusal"),
    [
        (507, 0xA700, OutOfResources("full")),
        (503, 0xA700, ArchiveBusy("locked")),
        (409, 0x0111, DuplicateInstance("another")),
        (500, 0x0110, RuntimeError("secret of a patient")),
    ],
)
def test_refusals_of_the_archive(
    fake: Web, three: list[bytes], status: int, reason: int, refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fake.archive.refuse = refusal
    response = fake.store(*three)
    assert response.status_code == status
    assert reasons(response.json(), FAILED) == [reason] * 3
    assert "secret" not in response.text + caplog.text


def test_the_origin_is_recorded(fake: Web, three: list[bytes]) -> None:
    fake.store(three[0])
    assert [(o.kind, o.peer) for o in fake.archive.origins] == [("web", "127.0.0.1:40000")]


def test_an_answer_in_another_form_is_refused_before_anything_is_stored(web: Web, three: list[bytes]) -> None:
    assert web.store(three[0], headers={"accept": "text/html"}).status_code == 406
    assert web.get("/dicomweb/instances").json() == []
