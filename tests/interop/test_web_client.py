"""Our DICOMweb client, and the commands with a URL, against our server and against Orthanc's DICOMweb plugin."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
import peers
from certificates import Certificates
from command import isocenter as command
from isocenter.errors import ConnectFailed, NotAcceptable, NotFound, UsageError
from isocenter.net.web_client import WebClient
from isocenter.settings import Settings
from isocenter.web.site_tokens import issue
from prefixing_proxy import prefixing
from skins.web_harness import copies

pytestmark = pytest.mark.interop

RLE = get_testdata_file("MR_small_RLE.dcm")


@pytest.fixture(scope="module", params=["isocenter", "orthanc"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("data")
    if request.param == "isocenter":
        with ours.node(folder, archive_minimum_free=0) as node:
            yield f"{node.url}dicomweb"
    else:
        with peers.orthanc(folder) as peer:
            yield f"{peer.url}/dicom-web"


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slices")
    made = []
    for number, data in enumerate(copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3)):
        path = folder / f"{number}.dcm"
        path.write_bytes(data)
        made.append(path)
    return made


@pytest.fixture(scope="module")
def client(url: str, slices: list[Path]) -> Iterator[WebClient]:
    with isocenter.web_client(url) as made:
        outcomes = list(made.store([*slices, Path(RLE).read_bytes()]))
        assert [one.stored for one in outcomes] == [True] * 4
        assert {one.sop_instance for one in outcomes} >= {pydicom.dcmread(path).SOPInstanceUID for path in slices}
        yield made


def digests(paths: list[Path]) -> list[bytes]:
    """Of the data sets: a server may write a header of its own."""
    return sorted(hashlib.sha256(pydicom.dcmread(path).PixelData).digest() for path in paths)


@pytest.mark.interop(service="QIDO-RS", peer="Orthanc", role="SCU")
def test_find(client: WebClient) -> None:
    found = list(client.find("STUDY", PatientID="1CT1", StudyDate="20040119", StudyDescription=""))
    assert [str(match.StudyDescription) for match in found] == ["e+1"]
    assert len(list(client.find("STUDY"))) == 2
    assert len(list(client.find("STUDY", limit=1))) == 1
    assert list(client.find("STUDY", PatientName="Nobody")) == []
    study = found[0].StudyInstanceUID
    (series,) = client.find("SERIES", StudyInstanceUID=study)
    assert len(list(client.find("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series.SeriesInstanceUID))) == 3
    with pytest.raises(UsageError):
        list(client.find("PATIENT"))


@pytest.mark.interop(service="WADO-RS", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="STOW-RS", peer="Orthanc", role="SCU")  # what it gets was stored by the fixture
def test_get(client: WebClient, slices: list[Path], tmp_path: Path) -> None:
    expected = pydicom.dcmread(slices[0])
    where = expected.StudyInstanceUID, expected.SeriesInstanceUID, expected.SOPInstanceUID
    assert digests(list(client.get(tmp_path / "study", where[0]))) == digests(slices)
    (one,) = client.get(tmp_path / "one", *where)
    assert pydicom.dcmread(one).SOPInstanceUID == where[2]
    rle = pydicom.dcmread(RLE)
    (plain,) = client.get(tmp_path, rle.StudyInstanceUID, transfer_syntax="1.2.840.10008.1.2.1")
    assert pydicom.dcmread(plain).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    with pytest.raises(NotFound):
        list(client.get(tmp_path, "1.2.3"))
    with pytest.raises(UsageError):
        list(client.get(tmp_path, "../../etc"))
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_what_cannot_be_had_or_reached(client: WebClient, url: str, tmp_path: Path) -> None:
    study = pydicom.dcmread(RLE).StudyInstanceUID
    if "dicom-web" not in url:  # Orthanc gives what it has
        with pytest.raises(NotAcceptable):
            list(client.get(tmp_path, study, transfer_syntax="1.2.840.10008.1.2.4.102"))
    with isocenter.web_client("http://127.0.0.1:9/dicomweb") as nobody, pytest.raises(ConnectFailed):
        list(nobody.find())
    for wrong in ("ftp://x/dicomweb", "https://", "http://x:y/"):
        with pytest.raises(UsageError):
            isocenter.web_client(wrong)


def test_commands(client: WebClient, url: str, slices: list[Path], tmp_path: Path) -> None:
    found = command("find", url, "PatientID=1CT1", "--json")
    (line,) = found.stdout.splitlines()
    study = json.loads(line)["0020000D"]["Value"][0]
    table = command("find", url, "--level", "SERIES", f"StudyInstanceUID={study}").stdout
    assert "CT" in table
    got = command("get", url, tmp_path / "got", "--study", study, "--json")
    files = [Path(json.loads(line)["file"]) for line in got.stdout.splitlines()]
    assert digests(files) == digests(slices)
    stored = json.loads(command("store", url, *slices, "--json").stdout)
    assert stored["stored"] == 3
    for wrong in (
        ("find", url, "--level", "PATIENT"),
        ("find", url, "--relational"),
        ("get", url, tmp_path, "--instance", "1.2"),
        ("store", url, slices[0], "--commit"),
    ):
        assert command(*wrong).returncode == 2


def test_https_with_a_token(certificates: Certificates, slices: list[Path], tmp_path: Path) -> None:
    """Commands and Python find, store and get at https://host/dicomweb; what cannot be trusted is said in words."""
    token = issue(tmp_path / "tokens", "anna", ["read", "write"])[1]
    (tmp_path / "token").write_text(token + "\n")
    rows = {"web_tls": True, "web_tokens": str(tmp_path / "tokens"), "archive_minimum_free": 0}
    trusting = ("--ca", certificates.ca, "--token-file", tmp_path / "token")
    study = pydicom.dcmread(slices[0]).StudyInstanceUID
    with ours.node(tmp_path / "data", tls_verify_peer="off", **certificates.server.settings, **rows) as node:
        url = f"{node.url}dicomweb"
        stored = json.loads(command("store", url, *slices, *trusting, "--json").stdout)
        assert stored["stored"] == 3
        found = command("find", url, "PatientID=1CT1", *trusting, "--json").stdout.splitlines()
        assert [json.loads(line)["0020000D"]["Value"] for line in found] == [[study]]
        got = command("get", url, tmp_path / "got", "--study", study, *trusting, "--json").stdout.splitlines()
        assert digests([Path(json.loads(line)["file"]) for line in got]) == digests(slices)
        with isocenter.web_client(url, token=token, settings=Settings().replace(tls_ca=certificates.ca)) as client:
            assert [match.StudyInstanceUID for match in client.find(PatientID="1CT1")] == [study]
        for said, words in (
            ("401: nobody is let in here without saying who it is. A token,", (url, *trusting[:2])),
            ("certificate is not trusted: unable to get local issuer certificate", (url, *trusting[2:])),
            ("the connection broke", (url.replace("https", "http"), *trusting)),
        ):
            refused = command("find", *words)
            assert (refused.returncode, said in refused.stderr) == (3, True), refused.stderr
    with ours.node(tmp_path / "data", tls_verify_peer="off", **certificates.elsewhere.settings, **rows) as node:
        refused = command("find", f"{node.url}dicomweb", *trusting)
        assert refused.returncode == 3
        assert "IP address mismatch" in refused.stderr
        assert command("find", f"{node.url}dicomweb", *trusting, "--no-verify-host").returncode == 0
    with ours.node(tmp_path / "open", archive_minimum_free=0) as node:
        refused = command("find", f"{node.url}dicomweb".replace("http", "https"), *trusting)
        assert refused.returncode == 3
        assert "does not speak TLS" in refused.stderr


def test_what_is_of_dimse_alone_says_so(tmp_path: Path) -> None:
    url = "https://pacs.example.org/dicomweb"
    for words in (("echo",), ("move", "--to", "X", "--study", "1.2"), ("commit", RLE)):
        refused = command(words[0], url, *words[1:])
        assert refused.returncode == 2
        assert "is a DICOMweb service" in refused.stderr
        assert "AET@HOST:PORT" in refused.stderr
    with pytest.raises(UsageError, match="web_client"):
        isocenter.sync.connect(url)


def test_what_a_service_warns_of_is_told(client: WebClient, url: str) -> None:
    """A key that is not heeded does not narrow the answer, and whoever asked has to know."""
    list(client.find("STUDY", Modality="NM"))
    if "dicom-web" in url:  # Orthanc takes that for one of ModalitiesInStudy
        assert client.warnings == []
        return
    (said,) = client.warnings
    assert said.startswith("These parameters or attributes are not supported and were ignored: ")
    assert len(list(client.find("STUDY", limit=1))) == 1
    assert client.warnings == []
    told = command("find", url, "Modality=NM").stderr
    assert f"the service warns: {said}\n" in told


def test_why_an_object_was_refused_is_told_in_words(tmp_path: Path, slices: list[Path]) -> None:
    whole, cut = slices[0].read_bytes(), slices[1].read_bytes()[:-4000]
    with ours.node(tmp_path) as node, isocenter.web_client(f"{node.url}dicomweb") as made:
        assert [True] == [one.stored for one in made.store([whole])]
        assert [] == made.warnings
        assert sorted(one.stored for one in made.store([whole, cut])) == [False, True]
        (told,) = made.warnings
        assert told.startswith("1 not stored: "), told


def test_what_is_not_stored_as_it_was_sent_is_told(tmp_path: Path, slices: list[Path]) -> None:
    """Other bytes under a UID that is there: the first ones stay, and a Warning Reason says so (PS3.18 Table I.2-1)."""
    other = pydicom.dcmread(slices[0])
    other.PatientComments = "other bytes"
    other.save_as(tmp_path / "other.dcm")
    with (
        ours.node(tmp_path / "data", archive_minimum_free=0) as node,
        isocenter.web_client(f"{node.url}dicomweb") as made,
    ):
        assert [None] == [one.warning for one in made.store([slices[0]])]
        assert [(True, 0xB000)] == [(one.stored, one.warning) for one in made.store([tmp_path / "other.dcm"])]
        told = command("store", f"{node.url}dicomweb", tmp_path / "other.dcm", slices[1])
        assert 0 == told.returncode, told.stderr
        assert "2 stored, 0 already there, 1 of them with a warning of the server, 0 refused" in told.stdout
        said = f"stored with a warning: Coercion of data elements (B000) (1)\n  {tmp_path / 'other.dcm'}\n"
        assert said in told.stderr


def test_orthanc_by_https_below_a_path_with_a_passcode(
    certificates: Certificates, slices: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sites have it, with a proxy that speaks TLS for it; Debian's own does not survive a handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"anna": "open sesame"}}
    asking = ("--user", "anna", "--ca", certificates.ca)
    study = pydicom.dcmread(slices[0]).StudyInstanceUID
    with (
        peers.orthanc(tmp_path / "orthanc", **users) as peer,
        prefixing(int(peer.url.rpartition(":")[2]), "/pacs", strip=True, tell=False, context=context) as proxy,
    ):
        url = f"{proxy}/dicom-web"
        assert url.startswith("https://127.0.0.1:")
        monkeypatch.setenv("ISOCENTER_PASSCODE", "open sesame")
        assert 3 == json.loads(command("store", url, *slices, *asking, "--json").stdout)["stored"]
        (line,) = command("find", url, "PatientID=1CT1", *asking, "--json").stdout.splitlines()
        assert [study] == json.loads(line)["0020000D"]["Value"]
        got = command("get", url, tmp_path / "got", "--study", study, *asking, "--json").stdout.splitlines()
        assert digests([Path(json.loads(line)["file"]) for line in got]) == digests(slices)
        monkeypatch.setenv("ISOCENTER_PASSCODE", "something else")
        refused = command("find", url, *asking)
        assert (3, True) == (refused.returncode, "401" in refused.stderr), refused.stderr
