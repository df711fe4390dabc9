"""WADO-RS (PS3.18 section 10.4): instances, metadata, frames, bulk data and renderings."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from isocenter.errors import IntegrityError
from skins.web_harness import Web, copies, parts_of, saved

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
RLE, J2K, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"
DICOM = "application/dicom"
MULTIPART_DICOM = 'multipart/related; type="application/dicom"'


def file(name: str) -> bytes:
    with open(str(get_testdata_file(name)), "rb") as opened:
        return opened.read()


def fifteen_frames() -> bytes:
    """10 by 10 pixels of 32 bits; the packaged file has one SOP Instance UID in its header and another inside."""
    data_set = pydicom.dcmread(get_testdata_file("rtdose.dcm"))
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return saved(data_set)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(data))


def put(web: Web, *objects: bytes) -> list[str]:
    """Stores the objects; the paths of the instances."""
    response = web.store(*objects)
    assert response.status_code == 200, response.text
    items = response.json()["00081199"]["Value"]
    return [item["00081190"]["Value"][0].removeprefix("http://archive.test") for item in items]


# --- instances


def test_an_instance_alone_and_as_a_part(web: Web) -> None:
    stored = file("CT_small.dcm")
    (path,) = put(web, stored)
    alone = web.get(path, DICOM)
    assert alone.status_code == 200
    assert alone.content == stored
    assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert alone.headers["content-length"] == str(len(stored))
    uid = read(stored).SOPInstanceUID
    assert alone.headers["content-disposition"] == f'attachment; filename="{uid}.dcm"'
    together = web.get(path)
    assert together.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    ((headers, body),) = parts_of(together)
    assert body == stored
    assert headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert headers["content-location"] == f"http://archive.test{path}"


def test_a_study_and_a_series_come_whole(web: Web) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    first, second = (copies(data_set, 3, SeriesInstanceUID=generate_uid()) for _ in range(2))
    paths = put(web, *first, *second)
    study = paths[0].partition("/series/")[0]
    series = paths[3].partition("/instances/")[0]
    answer = web.get(study, MULTIPART_DICOM)
    assert sorted(body for _, body in parts_of(answer)) == sorted(first + second)
    assert answer.headers["content-length"] == str(len(answer.content))
    assert sorted(body for _, body in parts_of(web.get(series))) == sorted(second)
    assert web.get(study, DICOM).status_code == 406
    head = web.request("HEAD", study)
    assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "MR_small_implicit.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
    ],
)
def test_explicit_little_endian_on_request(web: Web, name: str) -> None:
    stored = file(name)
    (path,) = put(web, stored)
    as_stored = web.get(path, DICOM)
    assert as_stored.content == stored
    response = web.get(path, f"application/dicom; transfer-syntax={EXPLICIT}")
    assert response.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    got, expected = read(response.content), read(stored)
    assert got.file_meta.TransferSyntaxUID == EXPLICIT
    assert got.SOPInstanceUID == expected.SOPInstanceUID
    same = {element.tag for element in expected} - {0x00280004, 0x00280006, 0x7FE00010}
    assert all(got[tag] == expected[tag] for tag in same)
    if "jpeg" in name:
        # Two decoders round the colour transform differently.
        assert got.PhotometricInterpretation == "RGB"
        assert np.abs(got.pixel_array.astype(int) - expected.pixel_array.astype(int)).max() <= 2
    else:
        assert np.array_equal(got.pixel_array, expected.pixel_array)


def test_a_mixed_study_uncompressed(web: Web) -> None:
    study = generate_uid()
    files = []
    for name in ("MR_small_RLE.dcm", "MR_small.dcm"):
        data_set = pydicom.dcmread(get_testdata_file(name))
        data_set.StudyInstanceUID = study
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        files.append(saved(data_set))
        put(web, files[-1])
    parts = parts_of(web.get(f"/dicomweb/studies/{study}", f"{MULTIPART_DICOM}; transfer-syntax={EXPLICIT}"))
    assert [headers["content-type"] for headers, _ in parts] == [f"application/dicom; transfer-syntax={EXPLICIT}"] * 2
    assert np.array_equal(read(parts[0][1]).pixel_array, read(files[0]).pixel_array)
    assert parts[1][1] == files[1]
    assert (
        web.get(f"/dicomweb/studies/{study}", f"{MULTIPART_DICOM}; transfer-syntax=1.2.840.10008.1.2.4.102").status_code
        == 406
    )


def test_a_broken_frame_is_an_error_and_no_half_object(web: Web) -> None:
    data_set = pydicom.dcmread(get_testdata_file("JPEG2000.dcm"))
    data_set.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(50)])
    (path,) = put(web, saved(data_set))
    response = web.get(path, f"application/dicom; transfer-syntax={EXPLICIT}")
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "pixel-data"
    assert web.get(f"{path}/frames/1", "application/octet-stream").status_code == 422
    assert web.get(f"{path}/rendered").status_code == 422


# --- metadata


def test_metadata_at_three_levels(web: Web) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    files = copies(data_set, 3)
    paths = put(web, *files)
    for path in (paths[0].partition("/series/")[0], paths[0].partition("/instances/")[0]):
        response = web.get(f"{path}/metadata")
        assert response.headers["content-type"] == "application/dicom+json"
        uids = {read(f).SOPInstanceUID for f in files}
        assert {m["00080018"]["Value"][0] for m in response.json()} == uids
    (one,) = web.get(f"{paths[1]}/metadata", "application/json").json()
    assert one["00080018"]["Value"] == [read(files[1]).SOPInstanceUID]
    assert one["7FE00010"]["BulkDataURI"] == f"http://archive.test{paths[1]}/bulkdata/7FE00010"
    assert web.get(f"{paths[0]}/metadata", "application/pdf").status_code == 406


def bulk_uris(model: dict[str, Any]) -> list[str]:
    found = []
    for entry in model.values():
        if "BulkDataURI" in entry:
            found.append(entry["BulkDataURI"])
        for item in entry.get("Value", []):
            if entry["vr"] == "SQ":
                found += bulk_uris(item)
    return found


@pytest.mark.parametrize("accept", ["application/octet-stream", 'multipart/related; type="application/octet-stream"'])
def test_every_bulk_data_uri_works(web: Web, accept: str) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    item = pydicom.Dataset()
    item.add_new(0x00420011, "OB", bytes(range(256)) * 16)
    item.add_new(0x00420010, "ST", "inner")
    data_set.add_new(0x00081140, "SQ", [pydicom.Dataset(), item])
    data_set.add_new(0x00091010, "OB", b"\1\2" * 5000)
    data_set.add_new(0x00090010, "LO", "ISOCENTER TEST")
    (path,) = put(web, saved(data_set))
    (model,) = web.get(f"{path}/metadata").json()
    expected = {
        f"{path}/bulkdata/00081140/2/00420011": bytes(range(256)) * 16,
        f"{path}/bulkdata/00091010": b"\1\2" * 5000,
        f"{path}/bulkdata/00431029": data_set[0x00431029].value,
        f"{path}/bulkdata/7FE00010": data_set.PixelData,
    }
    assert sorted(bulk_uris(model)) == sorted(f"http://archive.test{uri}" for uri in expected)
    for uri, value in expected.items():
        response = web.get(uri, accept)
        assert response.status_code == 200
        body = response.content if accept.startswith("application") else parts_of(response)[0][1]
        assert body == value


def test_bulk_data_of_compressed_pixels(web: Web) -> None:
    stored = file("SC_rgb_rle_16bit_2frame.dcm")
    (path,) = put(web, stored)
    uri = f"{path}/bulkdata/7FE00010"
    frames = pydicom.encaps.generate_frames(read(stored).PixelData, number_of_frames=2)
    as_stored = web.get(uri, 'multipart/related; type="image/dicom-rle"')
    assert [body for _, body in parts_of(as_stored)] == list(frames)
    ((_, whole),) = parts_of(web.get(uri))
    assert whole == read(stored).pixel_array.tobytes()


def test_bulk_data_of_deflated_and_big_endian_objects(web: Web) -> None:
    for name in ("image_dfl.dcm", "MR_small_bigendian.dcm"):
        stored = file(name)
        (path,) = put(web, stored)
        ((_, body),) = parts_of(web.get(f"{path}/bulkdata/7FE00010"))
        little = read(stored).pixel_array
        assert body == little.astype(little.dtype.newbyteorder("<")).tobytes()


# --- frames


def test_native_frames_are_the_bytes_of_the_pixel_data(web: Web) -> None:
    stored = fifteen_frames()
    (path,) = put(web, stored)
    pixels = read(stored).PixelData
    size = 10 * 10 * 4
    response = web.get(f"{path}/frames/3,1", 'multipart/related; type="application/octet-stream"')
    parts = parts_of(response)
    assert [body for _, body in parts] == [pixels[2 * size : 3 * size], pixels[:size]]
    assert parts[0][0]["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    assert parts[0][0]["content-location"].endswith("/frames/3")
    single = web.get(f"{path}/frames/15", "application/octet-stream")
    assert single.content == pixels[14 * size : 15 * size]
    assert single.headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"


def signed_codestream() -> tuple[bytes, np.ndarray]:
    """A CT whose JPEG 2000 codestream has signed samples and whose header says that they are unsigned."""
    data_set = read(file("CT_small.dcm"))
    pixels = data_set.pixel_array.astype(np.int16) - 1024
    data_set.PixelRepresentation = 0
    del data_set.PixelPaddingValue
    data_set.WindowCenter, data_set.WindowWidth, data_set.RescaleIntercept = "40", "400", "0"
    codestream = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True))
    data_set.PixelData = pydicom.encaps.encapsulate([codestream])
    data_set["PixelData"].VR, data_set["PixelData"].is_undefined_length = "OB", True
    data_set.file_meta.TransferSyntaxUID = J2K
    return saved(data_set), pixels


def test_samples_that_the_metadata_would_have_misread_say_what_they_are(web: Web) -> None:
    stored, pixels = signed_codestream()
    (path,) = put(web, stored)
    assert web.get(f"{path}/metadata").json()[0]["00280103"]["Value"] == [0], "the metadata are the object's"
    said = "; bits-allocated=16; bits-stored=16; high-bit=15; pixel-representation=1"
    alone = web.get(f"{path}/frames/1", "application/octet-stream")
    assert alone.headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}{said}"
    ((headers, body),) = parts_of(web.get(f"{path}/frames/1", 'multipart/related; type="application/octet-stream"'))
    assert headers["content-type"] == alone.headers["content-type"]
    np.testing.assert_array_equal(np.frombuffer(body, "<i2").reshape(pixels.shape), pixels)
    assert alone.content == body
    whole = read(web.get(path, f"application/dicom; transfer-syntax={EXPLICIT}").content)
    np.testing.assert_array_equal(whole.pixel_array, pixels)
    picture = imagecodecs.png_decode(web.get(f"{path}/rendered", "image/png").content)
    assert picture[pixels < -160].max() == 0
    assert picture[pixels > 240].min() == 255


@pytest.mark.parametrize(
    ("name", "media_type", "syntax"),
    [
        ("MR_small_RLE.dcm", "image/dicom-rle", RLE),
        ("JPEG2000.dcm", "image/jp2", "1.2.840.10008.1.2.4.91"),
        ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", JPEG),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls", "1.2.840.10008.1.2.4.80"),
    ],
)
def test_compressed_frames_as_stored_and_decoded(web: Web, name: str, media_type: str, syntax: str) -> None:
    stored = file(name)
    (path,) = put(web, stored)
    (codestream,) = pydicom.encaps.generate_frames(read(stored).PixelData, number_of_frames=1)
    for accept in (f'multipart/related; type="{media_type}"', 'multipart/related; type="*/*"; transfer-syntax=*'):
        ((headers, body),) = parts_of(web.get(f"{path}/frames/1", accept))
        assert body == codestream
        assert headers["content-type"] == f"{media_type}; transfer-syntax={syntax}"
    octets = web.get(f"{path}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert octets.content == codestream
    assert octets.headers["content-type"] == f"application/octet-stream; transfer-syntax={syntax}"
    decoded = web.get(f"{path}/frames/1")
    ((headers, body),) = parts_of(decoded)
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    expected = read(stored).pixel_array
    if media_type != "image/jpeg":
        assert body == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
    assert len(body) == expected.nbytes


@pytest.mark.parametrize(
    ("status", "frames", "accept"),
    [
        (404, "16", None),
        (404, "1,16", None),
        (404, "9999999", None),
        (400, "0", None),
        (400, "1,", None),
        (400, "one", None),
        (400, "1-3", None),
        (400, "-1", None),
        (400, "99999999999999999999", None),
        (406, "1", "video/mp4"),
        (406, "1,2", "application/octet-stream"),
        (406, "1", f'multipart/related; type="application/octet-stream"; transfer-syntax={JPEG}'),
        (200, "1,1,1", None),
    ],
)
def test_frame_lists(web: Web, status: int, frames: str, accept: str | None) -> None:
    (path,) = put(web, fifteen_frames())
    response = web.get(f"{path}/frames/{frames}", accept)
    assert response.status_code == status


# --- renderings


def picture(data: bytes) -> np.ndarray:
    return np.asarray(imagecodecs.imread(data) if data[:4] == b"\x89PNG" else imagecodecs.jpeg_decode(data))


@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
@pytest.mark.parametrize("level", ["study", "series", "instance", "frame"])
def test_pictures_at_all_levels(web: Web, resource: str, level: str) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    (path, *_) = put(web, *copies(data_set, 3))
    paths = {
        "study": path.partition("/series/")[0],
        "series": path.partition("/instances/")[0],
        "instance": path,
        "frame": f"{path}/frames/1",
    }
    response = web.get(f"{paths[level]}/{resource}")
    assert response.headers["content-type"] == "image/jpeg"
    assert picture(response.content).shape == (128, 128)
    png = web.get(f"{paths[level]}/{resource}", "image/png")
    assert png.headers["content-type"] == "image/png"
    assert imagecodecs.png_decode(png.content).shape == (128, 128)


def test_window_viewport_and_quality(web: Web) -> None:
    (path,) = put(web, file("CT_small.dcm"))
    url = f"{path}/rendered?accept=image/png"
    values = read(file("CT_small.dcm")).pixel_array.astype(int) - 1024
    black = imagecodecs.png_decode(web.get(f"{url}&window=5000,10,linear", "*/*").content)
    assert (black == 0).all()
    narrow = imagecodecs.png_decode(web.get(f"{url}&window=100,1,linear", "*/*").content)
    assert np.array_equal(narrow == 255, values >= 100)
    small = imagecodecs.png_decode(web.get(f"{url}&viewport=64,32", "*/*").content)
    assert small.shape == (32, 32)
    who = [web.get(f"{path}/{what}?annotation=patient").status_code for what in ("rendered", "thumbnail")]
    assert who == [200, 400], "section 10.4.3.3.4: a thumbnail does not say whose it is"
    low, high = (len(web.get(f"{path}/rendered?quality={q}").content) for q in (10, 95))
    assert low < high


@pytest.mark.parametrize(
    "query",
    [
        "window=1",
        "window=1,2",
        "window=a,b,linear",
        "window=1,2,cubic",
        "window=1,0,linear",
        "window=1,nan,sigmoid",
        "viewport=0,5",
        "viewport=5",
        "viewport=99999,5",
        "viewport=10,10,1,1,500,5",
        "quality=0",
        "quality=101",
        "quality=high",
    ],
)
def test_malformed_rendering_parameters(web: Web, query: str) -> None:
    (path,) = put(web, file("CT_small.dcm"))
    assert web.get(f"{path}/rendered?{query}").status_code == 400


def test_a_frame_is_rendered_by_its_number(web: Web) -> None:
    (path,) = put(web, fifteen_frames())
    first, middle, whole = (
        web.get(f"{path}{frame}/rendered", "image/png").content for frame in ("/frames/1", "/frames/8", "")
    )
    assert first != middle
    assert whole == middle
    assert web.get(f"{path}/frames/16/rendered").status_code == 404
    assert web.get(f"{path}/frames/1,2/rendered").status_code == 400
    assert web.get(f"{path}/frames/0/thumbnail").status_code == 400


def test_what_has_no_pixels_cannot_be_rendered(web: Web) -> None:
    (report,) = put(web, file("reportsi.dcm"))
    assert web.get(f"{report}/rendered").status_code == 422
    assert web.get(f"{report}/frames/1").status_code == 422
    assert web.get(report, f"application/dicom; transfer-syntax={EXPLICIT}").status_code == 200


def test_the_representative_instance_is_one_with_pixels(web: Web) -> None:
    study = generate_uid()
    files = []
    for name in ("reportsi.dcm", "CT_small.dcm", "reportsi.dcm"):
        data_set = pydicom.dcmread(get_testdata_file(name))
        data_set.StudyInstanceUID = study
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        files.append(saved(data_set))
    put(web, *files)
    assert web.get(f"/dicomweb/studies/{study}/thumbnail").status_code == 200


# --- errors


ABSENT = "/dicomweb/studies/1.2.3/series/1.2.4/instances/1.2.5"


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies/1.2.3",
        "/dicomweb/studies/1.2.3/series/1.2.4",
        ABSENT,
        "/dicomweb/studies/1.2.3/metadata",
        "/dicomweb/studies/1.2.3/series/1.2.4/metadata",
        f"{ABSENT}/metadata",
        f"{ABSENT}/frames/1",
        f"{ABSENT}/bulkdata/7FE00010",
        f"{ABSENT}/rendered",
        f"{ABSENT}/thumbnail",
        f"{ABSENT}/frames/1/rendered",
        "/dicomweb/studies/1.2.3/thumbnail",
        "/dicomweb/studies/1.2.3/series/1.2.4/rendered",
    ],
)
def test_nothing_there(web: Web, path: str) -> None:
    response = web.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies/..%2f..%2fetc%2fpasswd",
        "/dicomweb/studies/..",
        "/dicomweb/studies/1.2.3%00",
        "/dicomweb/studies/1.2.3%0d%0aX:%20y/metadata",
        "/dicomweb/studies/<script>/metadata",
        "/dicomweb/studies/1.02.3",
        f"/dicomweb/studies/{'1' * 65}",
        "/dicomweb/studies/1.2.3/series/x/metadata",
        "/dicomweb/studies/1.2.3/series/1.2/instances/../metadata",
        f"{ABSENT}/bulkdata/../../x",
        f"{ABSENT}/bulkdata/7FE0001",
        f"{ABSENT}/bulkdata/7FE00010/",
        f"{ABSENT}/frames/1/rendered/x",
    ],
)
def test_path_tricks(web: Web, path: str) -> None:
    response = web.get(path)
    assert response.status_code in (400, 404)
    assert "x" not in response.headers
    assert response.headers["content-type"] == "application/json"


def test_bulk_data_that_is_not_there(web: Web) -> None:
    (path,) = put(web, file("CT_small.dcm"))
    assert web.get(f"{path}/bulkdata/00091234").status_code == 404
    assert web.get(f"{path}/bulkdata/7FE00010", "image/png").status_code == 406


def test_damage_found_before_and_after_the_headers(fake: Web) -> None:
    ds = pydicom.dcmread(BytesIO(file("CT_small.dcm")))
    ds.Rows, ds.Columns, ds.PixelData = 1024, 1536, bytes(1024 * 1536 * 2)
    large = BytesIO()
    ds.save_as(large)
    stored = large.getvalue()
    (path,) = put(fake, stored)
    fake.archive.fail_reading = IntegrityError("digest differs")
    assert fake.get(path).status_code == 500
    fake.archive.fail_reading = None
    (ref,) = fake.archive.refs.values()
    fake.archive.blobs[ref.blob] = stored[:1000]
    assert fake.get(path).status_code == 500
    fake.archive.blobs[ref.blob] = stored[:-1000]
    assert fake.get(path).status_code == 500
    fake.archive.told_size = len(stored)
    with pytest.raises(AssertionError):  # the answer ends without its end, and the client's transport objects
        fake.get(path)
