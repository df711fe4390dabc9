"""What 3D Slicer asks, replayed with the library that it asks with, and what people ask with curl."""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

import ours
import peers
from isocenter.net.identity import set_user
from isocenter.server import Node
from isocenter.web.site_tokens import issue
from skins.web_harness import copies, saved

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' own
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session_from_user_pass

pytestmark = pytest.mark.interop

Model = dict[str, Any]


def scans() -> Iterator[bytes]:
    """Five studies: a CT in two series with a name in three writings, and one object each of other kinds."""
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data_set.SpecificCharacterSet, data_set.PatientName = "ISO_IR 192", "Hong^Gildong=洪^吉洞=홍^길동"
    for number in (1, 2):
        yield from copies(data_set, 3, SeriesInstanceUID=generate_uid(), SeriesNumber=number)
    for name in ("MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm", "test-SR.dcm"):
        yield Path(get_testdata_file(name)).read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scans")
    paths = []
    for number, data in enumerate(scans()):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(data)
    return paths


# --- 3D Slicer


@pytest.fixture(scope="module")
def slicer(tmp_path_factory: pytest.TempPathFactory, files: list[Path]) -> Iterator[DICOMwebClient]:
    """The client that its modules make, for a server with few answers at a time; what it sent is there."""
    folder = tmp_path_factory.mktemp("slicer")
    set_user(folder / "users", "slicer", "3D")
    rows = {"web_users": str(folder / "users"), "web_user_scopes": "read,write,delete", "web_default_limit": 2}
    with ours.node(folder / "data", archive_minimum_free=0, web_delete_reason=False, **rows) as node:
        client = DICOMwebClient(f"{node.url}dicomweb", session=create_session_from_user_pass("slicer", "3D"))
        for path in files:  # DICOMProcesses.py, _sendOneFileWithDICOMWeb
            client.store_instances(datasets=[pydicom.dcmread(path)])
        yield client


def cell(model: Model, tag: str) -> str:
    """As its table of studies shows an attribute: values are texts that are joined, of names the alphabetic group."""
    values = model[tag].get("Value", [])
    return ", ".join(value["Alphabetic"] for value in values) if model[tag]["vr"] == "PN" else ", ".join(values)


@pytest.mark.interop(service="QIDO-RS", peer="3D Slicer's requests", role="SCP")
@pytest.mark.interop(service="STOW-RS", peer="3D Slicer's requests", role="SCP")
def test_slicer_browses(slicer: DICOMwebClient) -> None:
    """DICOMwebBrowser.py: connectToServer, studySelected."""
    studies: list[Model] = []
    while subset := slicer.search_for_studies(offset=len(studies)):
        assert subset[0] not in studies, "a server that does not heed offset"
        studies += subset
    assert len(studies) == 5
    shown = {tuple(cell(study, tag) for tag in ("00100010", "00100020", "00080061", "00080020")) for study in studies}
    assert ("Hong^Gildong", "1CT1", "CT", "20040119") in shown
    (ct,) = (study for study in studies if cell(study, "00080061") == "CT")
    series = [pydicom.Dataset.from_json(one) for one in slicer.search_for_series(cell(ct, "0020000D"))]
    assert [(one.Modality, one.SeriesNumber, one.NumberOfSeriesRelatedInstances) for one in series] == [
        ("CT", 1, 3),
        ("CT", 2, 3),
    ]


@pytest.mark.interop(service="WADO-RS", peer="3D Slicer's requests", role="SCP")
def test_slicer_downloads(slicer: DICOMwebClient, files: list[Path], tmp_path: Path) -> None:
    """DICOMwebBrowser.py, downloadSelectedSeries: instance by instance, written to files."""
    expected = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, files)}
    wanted = pydicom.dcmread(files[0])
    study, series = wanted.StudyInstanceUID, wanted.SeriesInstanceUID
    found: list[Model] = []
    while page := slicer.search_for_instances(study_instance_uid=study, series_instance_uid=series, offset=len(found)):
        found += page
    assert len(found) == 3
    for one in found:
        uid = one["00080018"]["Value"][0]
        got = slicer.retrieve_instance(study_instance_uid=study, series_instance_uid=series, sop_instance_uid=uid)
        pydicom.dcmwrite(tmp_path / "one.dcm", got, enforce_file_format=True)
        assert pydicom.dcmread(tmp_path / "one.dcm") == expected[uid]
    for path in files[6:]:  # compressed ones come as they are stored
        ds = pydicom.dcmread(path)
        got = slicer.retrieve_instance(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert got == ds
        assert got.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID


@pytest.mark.interop(service="WADO-RS", peer="3D Slicer's requests", role="SCP")
def test_slicer_imports_a_study(slicer: DICOMwebClient, files: list[Path], tmp_path: Path) -> None:
    """DICOMUtils.py, importFromDICOMWeb: series by series, their metadata to know what there is already."""
    study = pydicom.dcmread(files[0]).StudyInstanceUID
    saved_as = []
    for one in slicer.search_for_series(study_instance_uid=study):
        series = one["0020000E"]["Value"][0]
        metadata = slicer.retrieve_series_metadata(study_instance_uid=study, series_instance_uid=series)
        announced = {model["00080018"]["Value"][0] for model in metadata}
        for instance in slicer.iter_series(study_instance_uid=study, series_instance_uid=series):
            announced.remove(instance.SOPInstanceUID)
            saved_as.append(tmp_path / f"{len(saved_as)}.dcm")
            instance.save_as(saved_as[-1])
        assert not announced
    expected = sorted(files[:6], key=lambda path: str(pydicom.dcmread(path).SOPInstanceUID))
    got = sorted(saved_as, key=lambda path: str(pydicom.dcmread(path).SOPInstanceUID))
    assert [pydicom.dcmread(path) for path in got] == [pydicom.dcmread(path) for path in expected]


def test_slicer_deletes_a_series(slicer: DICOMwebClient) -> None:
    """DICOMwebBrowser.py gives no reason, which web.delete_reason = false lets it."""
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    (data,) = copies(data_set, 1, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid())
    slicer.store_instances([pydicom.dcmread(DicomBytesIO(data))])
    slicer.delete_series(data_set.StudyInstanceUID, data_set.SeriesInstanceUID)
    with pytest.raises(requests.HTTPError, match="404"):
        slicer.retrieve_series_metadata(data_set.StudyInstanceUID, data_set.SeriesInstanceUID)


# --- curl


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """A node, and a token for it."""
    folder = tmp_path_factory.mktemp("site")
    token = issue(folder / "tokens", "curl", ("read", "write", "delete"))[1]
    with ours.node(folder / "data", archive_minimum_free=0, web_tokens=str(folder / "tokens")) as node:
        yield node, token


class Curl:
    """curl with a token; what it writes to its output, and the status with the header fields it saw."""

    def __init__(self, site: tuple[Node, str], folder: Path) -> None:
        node, self.token = site
        self.base, self.folder = f"{node.url}dicomweb", folder
        self.status, self.fields = 0, dict[str, str]()

    def __call__(self, *words: str) -> bytes:
        peers.require("curl")
        head = self.folder / "head"
        fixed = ("--silent", "--max-time", "60", "--oauth2-bearer", self.token, "--dump-header", str(head))
        made = subprocess.run(["curl", *fixed, *words], capture_output=True, check=True)
        *_, last = head.read_bytes().decode("latin-1").strip().split("\r\n\r\n")  # after 100 Continue
        first, *lines = last.splitlines()
        self.status = int(first.split()[1])
        self.fields = dict(line.lower().split(": ", 1) for line in lines)
        return made.stdout


@pytest.fixture
def curl(site: tuple[Node, str], tmp_path: Path) -> Curl:
    return Curl(site, tmp_path)


STORED = "00081199"


@pytest.mark.interop(service="STOW-RS", peer="curl", role="SCP")
def test_curl_stores(curl: Curl, files: list[Path], tmp_path: Path) -> None:
    """A file as the body; files as a form that is said to be something else, as manuals of archives show it."""
    one = ("--header", "Content-Type: application/dicom", "--data-binary", f"@{files[0]}")
    answer = json.loads(curl(*one, f"{curl.base}/studies"))
    assert (curl.status, len(answer[STORED]["Value"])) == (200, 1)
    forms = [word for path in files for word in ("--form", f"file{path.stem}=@{path};type=application/dicom")]
    related = ("--header", 'Content-Type: multipart/related; type="application/dicom"')
    answer = json.loads(curl("--request", "POST", *related, *forms, f"{curl.base}/studies"))
    assert (curl.status, len(answer[STORED]["Value"])) == (200, len(files))
    large = pydicom.dcmread(files[0])
    large.SOPInstanceUID = large.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    large.Rows = large.Columns = 1024
    large.PixelData = bytes(2 * 1024 * 1024)  # over what it sends without having asked with Expect: 100-continue
    (tmp_path / "large.dcm").write_bytes(saved(large))
    for chunked in ((), ("--header", "Transfer-Encoding: chunked")):
        words = ("--header", "Content-Type: application/dicom", "--data-binary", f"@{tmp_path / 'large.dcm'}")
        curl(*words, *chunked, f"{curl.base}/studies/{large.StudyInstanceUID}")
        assert curl.status == 200
    xml = ("--header", "Accept: application/dicom+xml")
    assert b"<NativeDicomModel" in curl(*one, *xml, f"{curl.base}/studies")
    refused = json.loads(curl("--form", f"file=@{files[0]}", f"{curl.base}/studies"))["error"]
    assert (curl.status, refused["code"]) == (415, "unsupported-media-type")
    assert "application/dicom" in refused["message"]


@pytest.fixture
def filled(curl: Curl, files: list[Path]) -> Curl:
    for path in files:
        curl("--header", "Content-Type: application/dicom", "--data-binary", f"@{path}", f"{curl.base}/studies")
        assert curl.status == 200
    return curl


@pytest.mark.interop(service="QIDO-RS", peer="curl", role="SCP")
def test_curl_searches(filled: Curl) -> None:
    curl = filled
    found = json.loads(
        curl("--get", "--data-urlencode", "PatientName=*홍^길동*", "--data", "limit=1", f"{curl.base}/studies")
    )
    assert [one["00100010"]["Value"][0]["Phonetic"] for one in found] == ["홍^길동"]
    plain = curl(f"{curl.base}/instances?includefield=all")
    for coding in ("gzip", "zstd"):
        assert curl("--header", f"Accept-Encoding: {coding}", f"{curl.base}/instances?includefield=all") != plain
        assert curl.fields["content-encoding"] == coding
    assert curl("--compressed", f"{curl.base}/instances?includefield=all") == plain
    xml = curl("--header", 'Accept: multipart/related; type="application/dicom+xml"', f"{curl.base}/studies?limit=2")
    assert xml.count(b"<NativeDicomModel") == 2
    assert curl.fields["x-total-count"] == "5"
    assert curl.fields["warning"].endswith("there are 3 additional results that can be requested")
    curl("--head", f"{curl.base}/studies")
    assert (curl.status, curl.fields["content-type"]) == (200, "application/dicom+json")
    assert b"<application" in curl("--request", "OPTIONS", curl.base)


@pytest.mark.interop(service="WADO-RS", peer="curl", role="SCP")
@pytest.mark.interop(service="WADO-URI", peer="curl", role="SCP")
def test_curl_retrieves(filled: Curl, files: list[Path], tmp_path: Path) -> None:
    curl, data = filled, files[0].read_bytes()
    ds = pydicom.dcmread(files[0])
    url = f"{curl.base}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    single = ("--header", "Accept: application/dicom; transfer-syntax=*")
    assert curl(*single, url) == data
    # A download that broke off goes on where it was, and one that is there already is not made again.
    part = tmp_path / "part.dcm"
    part.write_bytes(data[:1000])
    curl(*single, "--continue-at", "-", "--output", str(part), url)
    assert (curl.status, part.read_bytes()) == (206, data)
    tag = ("--etag-save", str(tmp_path / "tag"))
    assert curl(*single, *tag, url) == data
    assert curl(*single, "--etag-compare", str(tmp_path / "tag"), url) == b""
    assert curl.status == 304
    # The name of a file is made of the UID, so that --remote-header-name cannot be led elsewhere.
    curl(*single, "--remote-name", "--remote-header-name", "--output-dir", str(tmp_path), url)
    assert (tmp_path / f"{ds.SOPInstanceUID}.dcm".lower()).read_bytes() == data
    octets = ("--header", "Accept: application/octet-stream")
    assert curl(*octets, f"{url}/frames/1") == ds.PixelData
    assert curl(*octets, "--range", "-100", f"{url}/bulkdata/7FE00010") == ds.PixelData[-100:]
    assert curl(f"{url}/rendered?accept=image/png&viewport=64,64").startswith(b"\x89PNG")
    assert curl("--header", "Accept: application/zip", f"{curl.base}/studies/{ds.StudyInstanceUID}").startswith(b"PK")
    question = f"requestType=WADO&studyUID={ds.StudyInstanceUID}&seriesUID={ds.SeriesInstanceUID}"
    wado = f"{curl.base}/wado?{question}&objectUID={ds.SOPInstanceUID}"
    assert curl(wado).startswith(b"\xff\xd8")
    assert curl(f"{wado}&contentType=application/dicom") == data
    listening = ["curl", "--silent", "--no-buffer", "--max-time", "60", "--oauth2-bearer", curl.token]
    with subprocess.Popen([*listening, f"{curl.base}/events?since=0"], stdout=subprocess.PIPE) as told:
        assert told.stdout is not None
        assert b"event: stored\n" in iter(told.stdout.readline, b"")
        told.terminate()
