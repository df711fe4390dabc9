"""WADO-URI (PS3.18 section 9) and rendering parameters: regions, captions, ICC profiles, presentation states."""

from __future__ import annotations

from urllib.parse import urlencode

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from skins.test_web_caching import pdf
from skins.test_web_retrieve import DICOM, file, put, read
from skins.web_harness import Web, saved


def query(path: str, **parameters: str) -> str:
    _, _, study, _, series, _, instance = path.removeprefix("/dicomweb").split("/")
    given = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance, **parameters}
    return f"/dicomweb/wado?{urlencode(given)}"


@pytest.fixture
def path(web: Web) -> str:
    return put(web, file("CT_small.dcm"))[0]


def png(web: Web, url: str) -> np.ndarray:
    answer = web.get(url)
    assert answer.status_code == 200, answer.text
    return np.asarray(imagecodecs.png_decode(answer.content))


def test_what_an_object_comes_as(web: Web, path: str) -> None:
    def kind(accept: str | None = None, **parameters: str) -> str:
        answer = web.get(query(path, **parameters), accept)
        assert answer.status_code == 200, answer.text
        return answer.headers["content-type"].partition(";")[0]

    assert kind() == "image/jpeg"
    assert kind("*/*") == "image/jpeg"
    assert kind("image/png") == "image/png"
    assert kind(contentType="image/png") == "image/png"
    assert kind("image/*", contentType="image/png, image/jpeg") == "image/png"
    assert kind(contentType="application/dicom") == DICOM
    assert kind(contentType="application/dicom+json") == "application/dicom+json"
    assert kind(contentType="application/dicom+xml") == "application/dicom+xml"
    assert web.get(query(path, contentType="application/dicom")).content == file("CT_small.dcm")
    (several,) = put(web, file("SC_rgb_rle_2frame.dcm"))
    assert web.get(query(several)).headers["content-type"].startswith(DICOM)
    (document,) = put(web, pdf(b"%PDF-"))
    assert web.get(query(document, contentType="application/pdf")).content == b"%PDF-"


def test_transfer_syntax(web: Web, path: str) -> None:
    expected = read(file("CT_small.dcm")).pixel_array
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"):
        got = read(web.get(query(path, contentType=DICOM, transferSyntax=syntax)).content)
        assert got.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(got.pixel_array, expected)
        again = web.get(path, f"application/dicom; transfer-syntax={syntax}")
        assert again.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
        assert read(again.content).file_meta.TransferSyntaxUID == syntax


def test_frames_in_other_media_types(web: Web, path: str) -> None:
    expected = read(file("CT_small.dcm")).pixel_array
    decoders = {
        "image/jls": imagecodecs.jpegls_decode,
        "image/jp2": imagecodecs.jpeg2k_decode,
        "image/jpx": imagecodecs.jpeg2k_decode,
        "image/jphc": imagecodecs.jpeg2k_decode,
        "image/jxl": imagecodecs.jpegxl_decode,
        "image/jpeg": imagecodecs.ljpeg_decode,
    }
    for kind, decode in decoders.items():
        answer = web.get(f"{path}/frames/1", kind)
        assert answer.status_code == 200, answer.text
        got = np.asarray(decode(answer.content))
        assert np.array_equal(got.astype(np.uint16), expected.astype(np.uint16)), kind
    lossy = web.get(f"{path}/frames/1", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.81")
    assert lossy.headers["content-type"] == "image/jls; transfer-syntax=1.2.840.10008.1.2.4.81"


def test_what_was_lost_makes_another_instance(web: Web) -> None:
    (path,) = put(web, file("SC_rgb_rle.dcm"))
    lossy = "1.2.840.10008.1.2.4.50"
    first, second = (web.get(path, f"{DICOM}; transfer-syntax={lossy}").content for _ in range(2))
    assert first == second
    got, stored = read(first), read(file("SC_rgb_rle.dcm"))
    assert got.SOPInstanceUID == got.file_meta.MediaStorageSOPInstanceUID != stored.SOPInstanceUID
    assert got.LossyImageCompression == "01"


def test_parameters_of_pictures(web: Web, path: str) -> None:
    whole = png(web, query(path, contentType="image/png"))
    assert png(web, query(path, contentType="image/png", rows="64", columns="32")).shape == (32, 32)
    assert png(web, query(path, contentType="image/png", rows="64")).shape == (64, 64)
    part = png(web, query(path, contentType="image/png", region="0.25,0.5,0.75,1"))
    assert np.array_equal(part, whole[64:128, 32:96])
    black = png(web, query(path, contentType="image/png", windowCenter="5000", windowWidth="10"))
    assert (black == 0).all()
    low, high = (len(web.get(query(path, imageQuality=q)).content) for q in ("5", "95"))
    assert low < high
    written = png(web, query(path, contentType="image/png", annotation="patient,technique"))
    assert not np.array_equal(written, whole)
    assert written.shape == whole.shape
    (several,) = put(web, file("SC_rgb_rle_2frame.dcm"))
    frames = [png(web, query(several, contentType="image/png", frameNumber=n)) for n in ("1", "2")]
    assert not np.array_equal(*frames)


@pytest.mark.parametrize(
    ("status", "parameters"),
    [
        (400, {"requestType": "wado"}),
        (400, {"requestType": ""}),
        (400, {"studyUID": "../../etc/passwd"}),
        (400, {"objectUID": ""}),
        (404, {"objectUID": "1.2.3"}),
        (404, {"studyUID": "1.2.3"}),
        (400, {"contentType": "image/*"}),
        (406, {"contentType": "text/html"}),
        (406, {"contentType": "video/mp4"}),
        (406, {"charset": "ISO-8859-7"}),
        (406, {"anonymize": "yes"}),
        (400, {"windowCenter": "5"}),
        (400, {"windowCenter": "5", "windowWidth": "0"}),
        (400, {"rows": "0"}),
        (400, {"columns": "many"}),
        (400, {"region": "0,0,1"}),
        (400, {"region": "0,0,2,2"}),
        (400, {"region": "nan,0,1,1"}),
        (400, {"region": "0.5,0,0.5,1"}),
        (400, {"imageQuality": "101"}),
        (400, {"annotation": "<script>"}),
        (400, {"frameNumber": "0"}),
        (400, {"frameNumber": "²"}),
        (404, {"frameNumber": "2"}),
        (400, {"presentationUID": "1.2"}),
        (404, {"presentationUID": "1.2", "presentationSeriesUID": "1.3"}),
        (400, {"transferSyntax": "1.2.3", "contentType": "application/dicom"}),
        (406, {"transferSyntax": "1.2.840.10008.1.2.2", "contentType": "application/dicom"}),
        (400, {"rows": "5", "contentType": "application/dicom"}),
    ],
)
def test_requests_that_cannot_be_met(web: Web, path: str, status: int, parameters: dict[str, str]) -> None:
    answer = web.get(query(path, **parameters))
    assert answer.status_code == status, answer.text
    assert web.get(query(path) + "&studyUID=1.2").status_code == 400


# --- the same of the Studies Service


def test_regions_of_a_viewport(web: Web, path: str) -> None:
    url = f"{path}/rendered?accept=image/png"
    whole = png(web, url)
    assert np.array_equal(png(web, f"{url}&viewport=40,30,10,20,40,30"), whole[20:50, 10:50])
    assert np.array_equal(png(web, f"{url}&viewport=40,30,10,20,-40,30"), whole[20:50, 10:50][:, ::-1])
    assert png(web, f"{url}&viewport=80,60,10,20,40,30").shape == (60, 80)
    assert png(web, f"{url}&viewport=64,64,64,,,").shape == (64, 32)
    for wrong in ("1,1,0,0,500,1", "1,1,-1,0,5,5", "1,1,0,0,0.2,5", "1,1,x,0,5,5", "1,1,1"):
        assert web.get(f"{path}/rendered?viewport={wrong}").status_code == 400


def test_captions(web: Web, path: str) -> None:
    url = f"{path}/rendered?accept=image/png&viewport=512,512"
    whole, named = png(web, url), png(web, f"{url}&annotation=patient")
    both = png(web, f"{url}&annotation=patient,technique")
    changed = np.argwhere(named != whole)
    assert len(changed) > 100
    assert changed[:, 0].max() < 200
    assert np.argwhere(both != whole)[:, 0].max() > changed[:, 0].max()
    assert web.get(f"{url}&annotation=all").status_code == 400


def test_icc_profiles(web: Web) -> None:
    (path,) = put(web, file("SC_rgb_rle.dcm"))
    srgb = imagecodecs.cms_profile("srgb")
    for kind in ("image/png", "image/jpeg"):
        plain = web.get(f"{path}/rendered?iccprofile=no", kind)
        for asked in ("yes", "srgb"):
            profiled = web.get(f"{path}/rendered?iccprofile={asked}", kind)
            decode = imagecodecs.png_decode if kind == "image/png" else imagecodecs.jpeg_decode
            assert np.array_equal(decode(profiled.content), decode(plain.content))
            if kind == "image/jpeg":
                embedded = profiled.content.partition(b"ICC_PROFILE\0\1\1")[2][: len(srgb)]
                assert embedded[36:] == srgb[36:]  # the header before has the time when it was made
            else:
                assert profiled.content[37:41] == b"iCCP"
    assert web.get(f"{path}/rendered?iccprofile=cmyk").status_code == 400


def state_for(data_set: pydicom.Dataset) -> bytes:
    """A greyscale state that shows the image inverted."""
    state = Dataset()
    state.file_meta = pydicom.dataset.FileMetaDataset()
    state.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    state.SOPClassUID = state.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"
    state.SOPInstanceUID = state.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    state.StudyInstanceUID, state.SeriesInstanceUID = data_set.StudyInstanceUID, generate_uid()
    state.Modality, state.PatientID, state.PatientName = "PR", data_set.PatientID, data_set.PatientName
    image, series = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = data_set.SOPClassUID, data_set.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedImageSequence = data_set.SeriesInstanceUID, Sequence([image])
    state.ReferencedSeriesSequence = Sequence([series])
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [128, 128]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    state.DisplayedAreaSelectionSequence = Sequence([area])
    window = Dataset()
    window.WindowCenter, window.WindowWidth = "40", "400"
    state.SoftcopyVOILUTSequence = Sequence([window])
    state.RescaleIntercept, state.RescaleSlope, state.RescaleType = "-1024", "1", "HU"
    state.PresentationLUTShape = "INVERSE"
    return saved(state)


def test_a_presentation_state_is_rendered_as_the_image_by_it(web: Web, path: str) -> None:
    (state,) = put(web, state_for(read(file("CT_small.dcm"))))
    windowed = png(web, f"{path}/rendered?accept=image/png&window=40,400,linear")
    shown = png(web, f"{state}/rendered?accept=image/png")
    assert np.abs(shown.astype(int) - (255 - windowed.astype(int))).max() <= 1
    _, _, _, _, series, _, instance = state.removeprefix("/dicomweb").split("/")
    by_uri = query(path, contentType="image/png", presentationUID=instance, presentationSeriesUID=series)
    assert np.array_equal(png(web, by_uri), shown)
    itself = path.rsplit("/", 1)[1]
    wrong = query(path, presentationUID=itself, presentationSeriesUID=path.split("/")[5])
    assert web.get(wrong).status_code == 400
