"""Whatever strangers put into paths, parameters, headers and objects: a 4xx, or data that stay data."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from skins.test_web_retrieve import put
from skins.web_harness import BOUNDARY, Web, saved

TAGS = ("script", "img", "svg", "iframe", "body", "input", "video", "details", "math", "object")
XSS = [
    *(f"<{tag} onerror=alert(1) src=x>" for tag in TAGS),
    *(f'"><{tag}/onload=alert(1)>' for tag in TAGS),
    *(f"'><{tag}\tonfocus=alert(1) autofocus>" for tag in TAGS),
    *(f"</title><{tag}>alert(1)</{tag}>" for tag in TAGS),
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)",
    "<!--<script>-->alert(1)", "<scr<script>ipt>alert(1)</scr</script>ipt>", "%3Cscript%3Ealert(1)%3C/script%3E",
    "\u003cscript\u003ealert(1)", "&lt;script&gt;alert(1)", "&#60;script&#62;", "{{constructor.constructor('a')()}}",
    "${alert(1)}", "<%= 7*7 %>", "`;alert(1)//", "';alert(1)//", '";alert(1)//', "<a href=javascript:alert(1)>x</a>",
    "<style>@import'//evil'</style>", "<base href=//evil>", "<meta http-equiv=refresh content=0;url=//evil>",
    "\ufeff<script>alert(1)</script>", "+ADw-script+AD4-alert(1)",
]  # fmt: skip
assert len(XSS) >= 60
DATA_TYPES = (
    *("application/json", "application/dicom", "application/vnd", "application/zip"),
    *("multipart/related", "image/"),
)


def is_data(answer: httpx.Response) -> bool:
    """Nothing a browser would run: a data type that it may not guess anew, and a policy that lets nothing load."""
    return (
        answer.headers.get("content-type", "application/json").startswith(DATA_TYPES)
        and answer.headers["x-content-type-options"] == "nosniff"
        and "default-src 'none'" in answer.headers["content-security-policy"]
    )


@pytest.mark.parametrize("payload", XSS)
def test_payloads_in_requests(fake: Web, payload: str) -> None:
    said = quote(payload, safe="")
    questions = (
        f"/dicomweb/studies/{said}",
        f"/dicomweb/studies/{said}/metadata",
        f"/dicomweb/studies/1.2/series/{said}/instances/1.3/rendered",
        f"/dicomweb/studies/1.2/series/1.3/instances/1.4/frames/{said}",
        f"/dicomweb/studies/1.2/series/1.3/instances/1.4/bulkdata/{said}",
        f"/dicomweb/{said}",
        f"/dicomweb/wado?requestType={said}",
        f"/dicomweb/studies?limit={said}",
        f"/dicomweb/studies?accept={said}",
        f"/dicomweb/changes?since={said}",
    )
    for url in questions:
        answer = fake.get(url)
        assert 400 <= answer.status_code < 500, url
        assert is_data(answer)
        assert payload not in answer.text
    searched = fake.get(f"/dicomweb/studies?{said}={said}&PatientName={said}")
    assert searched.status_code in (200, 400)
    assert is_data(searched)
    assert payload not in str(searched.headers)


def test_payloads_in_objects_stay_text(web: Web) -> None:
    """What is stored comes back as it is, in types that are never a page."""
    for payload in XSS[::7]:
        data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
        data_set.SpecificCharacterSet = "ISO_IR 192"
        data_set.StudyDescription = payload.replace("\\", "")[:64]
        (path,) = put(web, saved(data_set))
        study = path.partition("/series/")[0]
        for url, accept in (
            (f"{path}/metadata", "application/dicom+json"),
            (f"{path}/metadata", "application/dicom+xml"),
            (f"/dicomweb/studies?StudyInstanceUID={data_set.StudyInstanceUID}", "application/dicom+json"),
            (study, "application/zip"),
        ):
            answer = web.get(url, accept)
            assert answer.status_code == 200
            assert is_data(answer)
            if accept.endswith("xml"):
                assert b"<script" not in answer.content
                assert b"<img" not in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies/../../etc/passwd",
        "/dicomweb/studies/..%2f..%2fetc%2fpasswd",
        "/dicomweb/studies/%2e%2e/%2e%2e/etc/passwd",
        "/dicomweb/studies/1.2%00.3",
        "/dicomweb/studies/1.2%0d%0aSet-Cookie:%20a=b",
        "/dicomweb/studies/1.2/series/1.3/instances/1.4/bulkdata/../../../../../index.sqlite",
        "/dicomweb/studies/1.2/series/1.3/instances/1.4/bulkdata/..%2f..%2findex.sqlite",
        "/dicomweb/studies/1.2/series/1.3/instances/1.4/bulkdata/%2fetc%2fpasswd",
        "/dicomweb/studies/1.2/series/1.3/instances/1.4/frames/1%0d%0aX:%20y",
        "/dicomweb//etc/passwd",
        "/dicomweb/studies/" + "1." * 5000 + "1",
        "/js/../../web/app.py",
        "/js/..%2f..%2fapp.py",
        "/api.html%00.js",
    ],
)
def test_path_tricks(web: Web, path: str) -> None:
    answer = web.get(path)
    assert 400 <= answer.status_code < 500
    assert "set-cookie" not in answer.headers
    assert "x" not in answer.headers
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_nothing_received_becomes_a_header(web: Web) -> None:
    """Values that would end a header field, in everything that an answer's header fields are made of."""
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    (path,) = put(web, saved(data_set))
    evil = "a\r\nSet-Cookie: a=b"
    for url, headers in (
        (f"/dicomweb/studies?{quote(evil)}=1", {}),
        (f"/dicomweb/studies?includefield={quote(evil)}", {}),
        (f"{path}?accept={quote(evil)}", {}),
        (f"{path}/rendered?iccprofile={quote(evil)}", {}),
        (path, {"if-none-match": '"a", "b\tc"'}),
        (path, {"range": "bytes=0-1, 5-6\t"}),
    ):
        answer = web.get(url, headers=headers)
        assert answer.status_code < 500
        assert "set-cookie" not in answer.headers
        assert not any("\r" in value or "\n" in value for value in answer.headers.values())


PART = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
MALFORMED = {
    "no boundary in it": b"nothing",
    "no end": PART + b"x",
    "header without colon": b"--b\r\nContent-Type\r\n\r\nx\r\n--b--",
    "header twice": b"--b\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\nx\r\n--b--",
    "header with NUL": b"--b\r\nContent-Type: a\0b\r\n\r\nx\r\n--b--",
    "endless header": b"--b\r\nX: " + b"a" * 20_000,
    "delimiter with more": b"--bb\r\n\r\nx\r\n--b--",
    "folded": b"--b\r\nContent-Type: application/dicom;\r\n\tx=" + b"y" * 17_000 + b"\r\n\r\nx\r\n--b--",
    "only an end": b"--b--",
    "empty": b"",
    "part of rubbish": PART + b"rubbish\r\n--b--",
    "nested": PART + b"--c\r\n\r\nx\r\n--c--\r\n--b--",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_multipart(web: Web, name: str) -> None:
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = web.request("POST", "/dicomweb/studies", content=MALFORMED[name], headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert web.get("/dicomweb/studies").json() == []


@pytest.mark.parametrize("boundary", ["", '"', "a" * 201, "a\tb", '"a\\"', "é", '"a b "', "a;b=c;boundary=d"])
def test_boundaries_that_are_none(web: Web, boundary: str) -> None:
    headers = {"content-type": f'multipart/related; type="application/dicom"; boundary={boundary}'.encode("latin-1")}
    content = f"--{BOUNDARY}--".encode()
    answer = web.request("POST", "/dicomweb/studies", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
