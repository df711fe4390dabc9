"""STOW-RS of metadata with bulk data parts (PS3.18 section 10.5.1.1), and what strangers may send as such."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from isocenter.archive.archive import Archive
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.wire.dicomxml import native_xml
from isocenter.wire.multipart import MultipartWriter
from skins.conftest import HOSTS, archived
from skins.test_web_retrieve import DICOM, read
from skins.web_harness import BOUNDARY, Web, portal, web_of

JSON, XML = "application/dicom+json", "application/dicom+xml"
Part = tuple[dict[str, str], bytes]


def model_of(data_set: pydicom.Dataset, location: str = "bulk/1") -> dict[str, Any]:
    """The DICOM JSON with pixel data by reference, under a UID of its own."""
    data_set.SOPInstanceUID = generate_uid()
    model: dict[str, Any] = data_set.to_json_dict()
    model.pop("FFFCFFFC", None)
    if "7FE00010" in model:
        model["7FE00010"] = {"vr": model["7FE00010"]["vr"], "BulkDataURI": location}
    return model


def bulk(location: str, data: bytes, kind: str = "application/octet-stream") -> Part:
    return {"Content-Type": kind, "Content-Location": location}, data


def post(web: Web, kind: str, *parts: Part, path: str = "/dicomweb/studies") -> httpx.Response:
    writer = MultipartWriter(BOUNDARY)
    content = b"".join(writer.part(headers) + data for headers, data in parts) + writer.end()
    headers = {"content-type": f'multipart/related; type="{kind}"; boundary={BOUNDARY}'}
    return web.request("POST", path, content=content, headers=headers)


def stored(web: Web, answer: httpx.Response) -> list[pydicom.Dataset]:
    items = answer.json()["00081199"]["Value"]
    paths = [item["00081190"]["Value"][0].removeprefix("http://archive.test") for item in items]
    return [read(web.get(path, DICOM).content) for path in paths]


def ct() -> pydicom.Dataset:
    return pydicom.dcmread(get_testdata_file("CT_small.dcm"))


@pytest.mark.parametrize("kind", [JSON, XML])
def test_metadata_and_bulk_data_make_the_object(web: Web, kind: str) -> None:
    sources = [ct(), pydicom.dcmread(get_testdata_file("MR_small.dcm"))]
    models = [model_of(source, f"bulk/{number}") for number, source in enumerate(sources)]
    parts: list[Part] = [({"Content-Type": JSON}, json.dumps(models).encode())]
    if kind == XML:
        parts = [({"Content-Type": XML}, native_xml(model)) for model in models]
    parts += [bulk(f"bulk/{number}", source.PixelData) for number, source in enumerate(sources)]
    answer = post(web, kind, *parts)
    assert answer.status_code == 200, answer.text
    for expected, got in zip(sources, stored(web, answer), strict=True):
        assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert got.SOPInstanceUID == expected.SOPInstanceUID
        assert np.array_equal(got.pixel_array, expected.pixel_array)
        for element in expected:
            if element.tag.element and element.tag not in (0xFFFCFFFC, 0x00080005):
                assert got[element.tag].VR == element.VR
                if element.VR == "DS" and element.value is not None:
                    assert np.allclose(np.array(got[element.tag].value, float), np.array(element.value, float))
                else:
                    assert got[element.tag].value == element.value


def test_without_bulk_data_no_parts_are_needed(web: Web) -> None:
    data_set = ct()
    model = model_of(data_set)
    del model["7FE00010"]
    model["00091099"] = {"vr": "OB", "InlineBinary": "AQIDBA=="}
    for content in (json.dumps([model]), json.dumps(model)):
        answer = web.request("POST", "/dicomweb/studies", content=content, headers={"content-type": JSON})
        assert answer.status_code == 200, answer.text
    answer = web.request("POST", "/dicomweb/studies", content=native_xml(model), headers={"content-type": XML})
    (got,) = stored(web, answer)
    assert got[0x00091099].value == b"\1\2\3\4"


def test_compressed_frames_are_a_part_each(web: Web) -> None:
    movie = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    frames = list(pydicom.encaps.generate_frames(movie.PixelData, number_of_frames=30))
    expected = movie.pixel_array
    model = model_of(movie, "frames")
    for media_type in ("image/jpeg", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"):
        model["00080018"]["Value"] = [generate_uid()]
        answer = post(
            web, JSON, ({"Content-Type": JSON}, json.dumps([model]).encode()),
            *(bulk("frames", frame, media_type) for frame in frames),
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        (got,) = stored(web, answer)
        assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert np.array_equal(got.pixel_array, expected)


def test_a_video_is_one_stream(web: Web) -> None:
    model = model_of(ct())
    parts = [bulk("bulk/1", b"abc", "video/mp4"), bulk("bulk/1", b"defgh", "video/mp4")]
    answer = post(web, JSON, ({"Content-Type": JSON}, json.dumps([model]).encode()), *parts)
    (got,) = stored(web, answer)
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    (stream,) = pydicom.encaps.generate_fragments(got.PixelData[8:])
    assert stream == b"abcdefgh"


def test_each_instance_succeeds_or_fails_by_itself(web: Web) -> None:
    good, lost, bad, nameless = (model_of(ct(), f"bulk/{number}") for number in range(4))
    bad["00280010"]["Value"] = ["many"]
    del nameless["00080018"]
    pixels = ct().PixelData
    parts = [bulk(f"bulk/{number}", pixels) for number in (0, 2, 3)]
    answer = post(web, JSON, ({"Content-Type": JSON}, json.dumps([good, lost, bad, nameless]).encode()), *parts)
    assert answer.status_code == 202
    told = answer.json()
    assert [item["00081155"]["Value"] for item in told["00081199"]["Value"]] == [good["00080018"]["Value"]]
    failed = [(item["00081155"]["Value"], item["00081197"]["Value"]) for item in told["00081198"]["Value"]]
    assert failed == [(bad["00080018"]["Value"], [0xC000])]
    assert [item["00081197"]["Value"] for item in told["0008119A"]["Value"]] == [[0xC000], [0xC001]]


def test_the_study_of_the_path(web: Web) -> None:
    model = model_of(ct())
    parts = [({"Content-Type": JSON}, json.dumps([model]).encode()), bulk("bulk/1", ct().PixelData)]
    assert post(web, JSON, *parts, path="/dicomweb/studies/1.2.3").status_code == 409
    assert post(web, JSON, *parts, path=f"/dicomweb/studies/{ct().StudyInstanceUID}").status_code == 200


def test_large_bulk_data_in_any_order(web: Web) -> None:
    data_set = ct()
    data_set.Rows = data_set.Columns = 2048
    model = model_of(data_set)
    model["00420011"] = {"vr": "OB", "BulkDataURI": "http://archive.test/dicomweb/studies/bulk/2"}
    pixels, document = np.random.default_rng(5).bytes(2048 * 2048 * 2), bytes(4_000_001)
    parts = [bulk("bulk/2", document), bulk("bulk/1", pixels)]
    answer = post(web, JSON, ({"Content-Type": JSON}, json.dumps([model]).encode()), *parts)
    (got,) = stored(web, answer)
    assert got.PixelData == pixels
    assert got.EncapsulatedDocument == document + b"\0"


def whole() -> tuple[Part, Part]:
    """A CT as metadata and its pixel data."""
    return ({"Content-Type": JSON}, json.dumps([model_of(ct())]).encode()), bulk("bulk/1", ct().PixelData)


def test_bulk_data_wait_in_the_folder_of_the_archive_that_is_open(tmp_path: Path) -> None:
    """Not in that of the settings, which may name another, or one that is not there."""
    elsewhere = Settings(archive_data=tmp_path / "elsewhere", archive_minimum_free=0, web_hosts=HOSTS)
    with portal() as running:
        archive = running.call(Archive.open, tmp_path / "data", elsewhere)
        with web_of(create_app(archive, elsewhere), archive, running) as web:
            (got,) = stored(web, post(web, JSON, *whole()))
            assert got.PixelData == ct().PixelData
        running.call(archive.close)
    assert not elsewhere.archive_data.exists()


def test_memory_is_bounded_while_receiving_bulk_data(web: Web) -> None:
    """Bulk data pass through pieces, on their way in and when the object is put together."""
    model = model_of(ct())
    model["00280010"]["Value"] = model["00280011"]["Value"] = [3072]
    head = MultipartWriter(BOUNDARY)
    opening = head.part({"Content-Type": JSON}) + json.dumps([model]).encode()

    async def body() -> AsyncIterator[bytes]:
        yield opening + head.part({"Content-Type": "application/octet-stream", "Content-Location": "bulk/1"})
        for _ in range(18 * 16):
            yield bytes(64 * 1024)
        yield head.end()

    headers = {"content-type": f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'}
    tracemalloc.start()
    try:
        answer = web.request("POST", "/dicomweb/studies", content=body(), headers=headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (item,) = answer.json()["00081199"]["Value"]
    url = f"{item['00081190']['Value'][0]}/bulkdata/7FE00010"
    got = web.get(url, "application/octet-stream", headers={"range": "bytes=0-9"})
    assert got.headers["content-range"] == f"bytes 0-9/{3072 * 3072 * 2}"
    assert peak < 8 * 1024 * 1024


def test_bulk_data_keep_some_of_the_disk_free(tmp_path: Path) -> None:
    with archived(tmp_path / "data") as web:
        web.archive._minimum_free = 1 << 60
        assert post(web, JSON, *whole()).status_code == 507


DEEP = "[" * 100_000 + "]" * 100_000
SEQUENCES = '{"00081140": {"vr": "SQ", "Value": [' * 70 + "{}" + "]}}" * 70
HOSTILE: dict[str, tuple[str, Any]] = {
    "no JSON": (JSON, b"<xml/>"),
    "not UTF-8": (JSON, b'{"00100010": "\xff"}'),
    "a number": (JSON, b"5"),
    "an array of numbers": (JSON, b"[1, 2]"),
    "nothing": (JSON, b"[]"),
    "NaN": (JSON, b'{"00080018": NaN}'),
    "duplicate": (JSON, b'{"00080018": {"vr": "UI"}, "00080018": {"vr": "UI"}}'),
    "deep": (JSON, DEEP.encode()),
    "sequences": (JSON, SEQUENCES.encode()),
    "surrogates": (JSON, b'{"00080018": {"vr": "UI", "Value": ["\\ud800"]}}'),
    "no tag": (JSON, b'{"../../etc": {"vr": "UI"}}'),
    "attribute of text": (JSON, b'{"00080018": "1.2", "00080016": []}'),
    "huge integer": (JSON, b'{"00280010": {"vr": "US", "Value": [' + b"9" * 4000 + b"]}}"),
    "too huge an integer": (JSON, b'{"00280010": {"vr": "US", "Value": [' + b"9" * 5000 + b"]}}"),
    "bad base64": (JSON, b'{"00091001": {"vr": "OB", "InlineBinary": "***"}}'),
    "no XML": (XML, b"{}"),
    "entity": (XML, b'<!DOCTYPE x [<!ENTITY e "lol">]><NativeDicomModel>&e;</NativeDicomModel>'),
    "file": (XML, b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><NativeDicomModel>&e;</NativeDicomModel>'),
    "deep XML": (XML, b"<NativeDicomModel>" * 10_000),
    "empty": (XML, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata_end_in_4xx(web: Web, name: str) -> None:
    kind, content = HOSTILE[name]
    answers = (
        web.request("POST", "/dicomweb/studies", content=content, headers={"content-type": kind}),
        post(web, kind, ({"Content-Type": kind}, content)),
    )
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
    assert web.get("/dicomweb/studies").json() == []


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, {"Content-Type": "application/octet-stream"}),  # nowhere
        (400, {"Content-Type": "image/", "Content-Location": "bulk/1"}),
        (400, {"Content-Type": "application/octet-stream", "Content-Location": "http://[::1"}),
        (
            415,
            {
                "Content-Type": "application/octet-stream",
                "Content-Location": "bulk/1",
                "Content-Transfer-Encoding": "base64",
            },
        ),
        (415, {"Content-Type": "image/jpeg; transfer-syntax=1.2.3", "Content-Location": "bulk/1"}),
        (415, {"Content-Type": "image/jls; transfer-syntax=1.2.840.10008.1.2.4.50", "Content-Location": "bulk/1"}),
        (
            415,
            {
                "Content-Type": "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2",
                "Content-Location": "bulk/1",
            },
        ),
        (400, {"Content-Type": "application/octet-stream", "Content-Location": "another"}),
    ],
)
def test_bulk_data_that_cannot_be_taken(web: Web, status: int, fields: dict[str, str]) -> None:
    model = model_of(ct())
    answer = post(web, JSON, ({"Content-Type": JSON}, json.dumps([model]).encode()), (fields, ct().PixelData))
    assert answer.status_code == status, answer.text


def test_a_request_that_is_cut_off_stores_nothing(web: Web) -> None:
    writer = MultipartWriter(BOUNDARY)
    content = writer.part({"Content-Type": JSON}) + json.dumps([model_of(ct())]).encode()
    content += writer.part({"Content-Location": "bulk/1"}) + ct().PixelData[:1000]
    headers = {"content-type": f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'}
    assert web.request("POST", "/dicomweb/studies", content=content, headers=headers).status_code == 400
    assert web.get("/dicomweb/studies").json() == []


def test_the_answer_as_xml(web: Web) -> None:
    output = BytesIO()
    ct().save_as(output)
    answer = web.store(output.getvalue(), headers={"accept": XML})
    assert answer.headers["content-type"] == XML
    assert b'keyword="ReferencedSOPSequence"' in answer.content
