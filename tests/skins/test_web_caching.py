"""Entity tags, conditions, byte ranges, compression and ZIP: how answers travel (RFC 9110, PS3.18 section 8)."""

from __future__ import annotations

import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import imagecodecs
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from isocenter.wire.contentcoding import GzipJoiner, chosen_coding, gzip_piece
from skins.test_web_retrieve import DICOM, MULTIPART_DICOM, RLE, file, put, read
from skins.web_harness import Web, copies, parts_of, saved

FOREVER = "private, max-age=31536000, immutable"


@pytest.fixture
def slices(web: Web) -> list[str]:
    """Paths of three instances of one series."""
    return put(web, *copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3))


# --- what may be kept


def test_an_instance_and_its_frames_may_be_kept_for_good(web: Web, slices: list[str]) -> None:
    for path, accept in (
        (slices[0], DICOM),
        (slices[0], MULTIPART_DICOM),
        (f"{slices[0]}/frames/1", "*/*"),
        (f"{slices[0]}/bulkdata/7FE00010", "application/octet-stream"),
        (f"{slices[0]}/rendered", "image/png"),
    ):
        answer = web.get(path, accept)
        assert answer.headers["cache-control"] == FOREVER, path
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
        again = web.get(path, accept, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        assert web.get(path, accept, headers={"if-none-match": '"other"'}).status_code == 200


def test_where_objects_are_replaced_nothing_is_kept_unasked(replacing: Web) -> None:
    (path,) = put(replacing, file("CT_small.dcm"))
    first = replacing.get(path, DICOM)
    assert first.headers["cache-control"] == "private, no-cache"
    changed = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    changed.PatientName = "Other"
    output = BytesIO()
    changed.save_as(output)
    assert replacing.store(output.getvalue()).status_code == 200
    second = replacing.get(path, DICOM, headers={"if-none-match": first.headers["etag"]})
    assert second.status_code == 200
    assert read(second.content).PatientName == "Other"


def test_what_grows_is_asked_for_again(web: Web, slices: list[str]) -> None:
    study = slices[0].partition("/series/")[0]
    for path, accept in ((study, MULTIPART_DICOM), (f"{study}/metadata", "application/dicom+json")):
        answer = web.get(path, accept)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["etag"].startswith('W/"')
        known = {"if-none-match": f'"x", {answer.headers["etag"]}'}
        assert web.get(path, accept, headers=known).status_code == 304
        web.store(*copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 1))
        assert web.get(path, accept, headers=known).status_code == 200


def test_representations_have_tags_of_their_own(web: Web) -> None:
    (path,) = put(web, file("MR_small_RLE.dcm"))
    accepts = (DICOM, MULTIPART_DICOM, f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.1", "application/zip")
    assert len({web.get(path, accept).headers["etag"] for accept in accepts}) == 4
    metadata = [web.get(f"{path}/metadata", headers={"accept-encoding": coding}) for coding in ("", "gzip", "zstd")]
    assert len({answer.headers["etag"] for answer in metadata}) == 3


def test_if_match(web: Web, slices: list[str]) -> None:
    tag = web.get(slices[0], DICOM).headers["etag"]
    assert web.get(slices[0], DICOM, headers={"if-match": tag}).status_code == 200
    assert web.get(slices[0], DICOM, headers={"if-match": "*"}).status_code == 200
    refused = web.get(slices[0], DICOM, headers={"if-match": '"other"'})
    assert (refused.status_code, refused.json()["error"]["code"]) == (412, "precondition-failed")


def test_dates_decide_nothing(web: Web, slices: list[str]) -> None:
    """Without a Last-Modified, If-Modified-Since and If-Unmodified-Since must be ignored (RFC 9110 13.1.3, 13.1.4), and
    If-Range with a date is false (13.1.5)."""
    study, date = slices[0].partition("/series/")[0], "Fri, 31 Dec 2999 23:59:59 GMT"
    for path, accept in ((slices[0], DICOM), (study, MULTIPART_DICOM), (f"{study}/metadata", "application/dicom+json")):
        answer = web.get(path, accept, headers={"if-modified-since": date})
        assert (200, False) == (answer.status_code, "last-modified" in answer.headers)
        assert (
            200 == web.get(path, accept, headers={"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_code
        )
        both = {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT", "if-none-match": answer.headers["etag"]}
        assert 304 == web.get(path, accept, headers=both).status_code
    assert 200 == web.get(slices[0], DICOM, headers={"range": "bytes=0-9", "if-range": date}).status_code


# --- ranges


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=5-5", 206, slice(5, 6)),
        ("bytes=0-99999999", 206, slice(0, None)),
        ("bytes=-99999999", 206, slice(0, None)),
        ("bytes=0-1,4-5", 200, slice(0, None)),  # several: the whole
        ("bytes=9-5", 200, slice(0, None)),
        ("bytes=", 200, slice(0, None)),
        ("bytes=-", 200, slice(0, None)),
        ("bytes=a-b", 200, slice(0, None)),
        ("lines=1-2", 200, slice(0, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges_of_an_instance_and_of_bulk_data(web: Web, asked: str, status: int, expected: slice | None) -> None:
    stored = file("CT_small.dcm")
    (path,) = put(web, stored)
    pixels = read(stored).PixelData
    for url, accept, whole in (
        (path, DICOM, stored),
        (f"{path}/bulkdata/7FE00010", "application/octet-stream", pixels),
    ):
        answer = web.get(url, accept, headers={"range": asked})
        assert answer.status_code == status
        if expected is None:
            assert answer.headers["content-range"] == f"bytes */{len(whole)}"
            continue
        assert answer.content == whole[expected]
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["accept-ranges"] == "bytes"
        first, last, _ = expected.indices(len(whole))
        if status == 206:
            assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole)}"


def test_a_range_of_something_else_by_now(web: Web, slices: list[str]) -> None:
    tag = web.get(slices[0], DICOM).headers["etag"]
    fields = {"range": "bytes=0-9"}
    assert web.get(slices[0], DICOM, headers={**fields, "if-range": tag}).status_code == 206
    assert web.get(slices[0], DICOM, headers={**fields, "if-range": '"other"'}).status_code == 200
    assert web.get(slices[0], MULTIPART_DICOM, headers=fields).status_code == 200


# --- compression


def plain(data: bytes, coding: str | None) -> bytes:
    return {"gzip": gzip.decompress, "zstd": imagecodecs.zstd_decode, None: bytes}[coding](data)


@pytest.mark.parametrize(
    ("asked", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("*", "zstd"),
        ("gzip;q=0", None),
        ("br", None),
        ("identity, gzip;q=0.5", None),
        ("", None),
    ],
)
def test_json_is_compressed_for_who_takes_it(web: Web, asked: str, coding: str | None) -> None:
    assert chosen_coding(asked) == (coding or "")
    paths = put(web, *copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3))
    study = paths[0].partition("/series/")[0]
    for path in (f"{study}/metadata", f"{paths[0]}/metadata", f"{study}/instances?includefield=all"):
        expected = web.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in expected.headers
        for _ in range(2):  # made, and kept
            raw = _raw(web, path, asked)
            assert raw[0] == coding
            assert json.loads(plain(raw[1], coding)) == expected.json()


def _raw(web: Web, path: str, accept_encoding: str) -> tuple[str | None, bytes]:
    """Content-Encoding and the bytes as they are sent; httpx itself knows of the first zstd frame only."""

    async def ask() -> tuple[str | None, bytes]:
        request = web.client.build_request("GET", path, headers={"accept-encoding": accept_encoding})
        answer = await web.client.send(request, stream=True)
        data = b"".join([piece async for piece in answer.aiter_raw()])
        await answer.aclose()
        return answer.headers.get("content-encoding"), data

    return web.portal.call(ask)


def test_compressed_pieces_of_a_run_are_made_once(web: Web, slices: list[str]) -> None:
    series = f"{slices[0].partition('/instances/')[0]}/metadata"
    _raw(web, series, "gzip")
    kept = dict(web.archive._pieces._known)
    assert len(kept) == 1
    first = _raw(web, series, "gzip")
    assert dict(web.archive._pieces._known) == kept
    assert _raw(web, series, "gzip") == first


def test_what_is_kept_compressed_is_bounded() -> None:
    from isocenter.archive.metadata import Pieces

    pieces = Pieces(most_bytes=100)
    made = []
    for number in (0, 1, 2, 0, 3, 1):
        pieces.get(number, lambda number=number: made.append(number) or bytes(40), len)  # type: ignore[misc,func-returns-value]
    assert made == [0, 1, 2, 0, 3, 1]
    assert pieces.get(1, lambda: b"not made", len) == bytes(40)


@pytest.mark.parametrize(
    "texts", [[], [b""], [b"a"], [b"[", b"abc" * 70_000, b"", b"]"], [bytes([n]) for n in range(256)]]
)
def test_gzip_of_pieces_is_gzip(texts: list[bytes]) -> None:
    joiner = GzipJoiner()
    data = joiner.head() + b"".join(joiner.add(gzip_piece(text)) for text in texts) + joiner.end()
    assert gzip.decompress(data) == b"".join(texts)


# --- ZIP


def test_a_study_as_zip(web: Web, tmp_path: Path) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    stored = copies(data_set, 3) + copies(data_set, 2, SeriesInstanceUID=generate_uid())
    study = put(web, *stored)[0].partition("/series/")[0]
    answer = web.get(study, "application/zip")
    assert answer.headers["content-type"] == "application/zip"
    uid = study.rpartition("/")[2]
    assert answer.headers["content-disposition"] == f'attachment; filename="{uid}.zip"'
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert sorted(found.values()) == sorted(stored)
    for name, data in found.items():
        read_back = read(data)
        assert name == f"{uid}/{read_back.SeriesInstanceUID}/{read_back.SOPInstanceUID}.dcm"
    assert web.get(study, "application/zip").content == answer.content


def test_zip_in_another_transfer_syntax(web: Web) -> None:
    (path,) = put(web, file("MR_small_RLE.dcm"))
    for syntax in (RLE, "1.2.840.10008.1.2.1"):
        answer = web.get(path, f"application/zip; transfer-syntax={syntax}")
        with zipfile.ZipFile(BytesIO(answer.content)) as archive:
            (name,) = archive.namelist()
            assert read(archive.read(name)).file_meta.TransferSyntaxUID == syntax
    assert web.get(path, "application/zip; transfer-syntax=1.2.840.10008.1.2.2").status_code == 406


def test_a_preferred_packaging_wins(web: Web, slices: list[str]) -> None:
    def kind(accept: str) -> str:
        return web.get(slices[0], accept).headers["content-type"].partition(";")[0]

    assert kind("application/zip;q=0.9, application/dicom;q=0.5") == "application/zip"
    assert kind("application/zip;q=0.1, application/dicom;q=0.5") == "application/dicom"
    assert kind('application/zip, multipart/related; type="application/dicom"') == "application/zip"
    assert kind("*/*") == "multipart/related"


def test_xml_of_a_study_and_of_an_instance(web: Web, slices: list[str]) -> None:
    study = slices[0].partition("/series/")[0]
    parts = parts_of(web.get(f"{study}/metadata", 'multipart/related; type="application/dicom+xml"'))
    assert [headers["content-type"] for headers, _ in parts] == ["application/dicom+xml"] * 3
    alone = web.get(f"{slices[1]}/metadata", "application/dicom+xml")
    assert alone.headers["content-type"] == "application/dicom+xml"
    assert alone.content == parts[1][1]
    found = parts_of(web.get("/dicomweb/studies", 'multipart/related; type="application/dicom+xml"'))
    assert b'keyword="StudyInstanceUID"' in found[0][1]


# --- documents and video as themselves


def pdf(document: bytes) -> bytes:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"), stop_before_pixels=True)
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set.MIMETypeOfEncapsulatedDocument = "text/html"  # said, not believed
    data_set.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    data_set.EncapsulatedDocumentLength = len(document)
    return saved(data_set)


def test_a_document_is_rendered_as_itself(web: Web) -> None:
    document = b"%PDF-1.7 <script>alert(1)</script>!"
    assert len(document) % 2
    (path,) = put(web, pdf(document))
    for accept in ("application/pdf", "*/*"):
        answer = web.get(f"{path}/rendered", accept)
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content == document
        assert answer.headers["content-disposition"].startswith('inline; filename="')
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.get(f"{path}/rendered", headers={"range": "bytes=1-3"}).content == b"PDF"
    assert web.get(f"{path}/rendered", "image/png").status_code == 406


def video(fragments: list[bytes], syntax: str = "1.2.840.10008.1.2.4.102") -> bytes:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.NumberOfFrames = 25
    items = b"".join(b"\xfe\xff\x00\xe0" + len(one).to_bytes(4, "little") + one for one in [b"", *fragments])
    data_set.PixelData = items + b"\xfe\xff\xdd\xe0" + bytes(4)
    data_set["PixelData"].is_undefined_length = True
    data_set["PixelData"].VR = "OB"
    return saved(data_set)


@pytest.mark.parametrize("number", [1, 3])
def test_video_comes_as_one_stream_in_ranges(web: Web, number: int) -> None:
    fragments = [bytes([65 + n]) * (1000 + 2 * n) for n in range(number)]
    stream = b"".join(fragments)
    (path,) = put(web, video(fragments))
    for url in (f"{path}/rendered", f"{path}/bulkdata/7FE00010"):
        whole = web.get(url, "video/mp4")
        assert whole.headers["content-type"].startswith("video/mp4")
        assert whole.content == stream
        assert whole.headers["content-length"] == str(len(stream))
        for start, end in ((0, 10), (990, 1010), (999, 1000), (1000, len(stream)), (5, len(stream) - 5)):
            if start < end <= len(stream):
                part = web.get(url, "video/mp4", headers={"range": f"bytes={start}-{end - 1}"})
                assert (part.status_code, part.content) == (206, stream[start:end])
        assert web.get(url, "video/mp4", headers={"range": f"bytes={len(stream)}-"}).status_code == 416
    assert web.get(f"{path}/rendered", "image/jpeg").status_code == 406
    assert web.get(f"{path}/thumbnail", "image/jpeg").status_code in (406, 422)
