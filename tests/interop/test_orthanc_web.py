"""Orthanc's DICOMweb plugin as our client: it searches, fetches, stores, retrieves and deletes by its /servers."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

import ours
import peers
from isocenter.server import Node
from isocenter.web.site_tokens import issue
from skins.web_harness import copies

pytestmark = pytest.mark.interop

FILES = ("MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm", "test-SR.dcm")


@dataclass
class Both:
    """A node of ours that wants a token, and an Orthanc that has it."""

    node: Node
    peer: peers.OrthancPeer

    def ask(self, verb: str, body: dict[str, Any], server: str = "isocenter") -> Any:
        return self.peer.request(f"/dicom-web/servers/{server}/{verb}", body)

    def instances(self) -> dict[str, str]:
        """What Orthanc has: its identifier by SOP Instance UID."""
        found = self.peer.request("/instances?expand")
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in found}

    def pixels(self, instance: str) -> Any:
        """The pixel data as Orthanc keeps it."""
        data = self.peer.request(f"/instances/{self.instances()[instance]}/file")
        return pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)).get("PixelData")


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """Three CT slices, and single objects of other kinds, by SOP Instance UID."""
    files = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3)
    files += [Path(get_testdata_file(name)).read_bytes() for name in FILES]
    return {str(header(data).SOPInstanceUID): data for data in files}


def header(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, objects: dict[str, bytes]) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    token = issue(folder / "tokens", "orthanc", ("read", "write", "delete"))[1]
    rows = {"web_tokens": str(folder / "tokens"), "web_delete_reason": False, "archive_minimum_free": 0}
    with ours.node(folder / "data", **rows) as node:
        server = {"Url": f"{node.url}dicomweb/", "HasDelete": True, "HttpHeaders": {"Authorization": f"Bearer {token}"}}
        servers = {
            "isocenter": {**server, "ChunkedTransfers": True},
            "unchunked": {**server, "ChunkedTransfers": False},
            "nobody": {"Url": server["Url"]},
        }
        with peers.orthanc(folder / "orthanc", DicomWeb={"Enable": True, "Servers": servers}) as peer:
            made = Both(node, peer)
            for data in objects.values():
                peer.request("/instances", data)
            yield made


@pytest.fixture(scope="module")
def stored(both: Both) -> Both:
    """All of Orthanc's objects are with us, sent in two ways."""
    first, *others = both.peer.request("/studies")
    for server, studies in (("isocenter", others), ("unchunked", [first])):
        done = both.ask("stow", {"Resources": studies, "Synchronous": True}, server)
        assert int(done["InstancesCount"]) >= len(studies)
    return both


@pytest.mark.interop(service="STOW-RS", peer="Orthanc", role="SCP")
@pytest.mark.interop(service="QIDO-RS", peer="Orthanc", role="SCP")
def test_stores_and_searches(stored: Both, objects: dict[str, bytes]) -> None:
    found = stored.ask("qido", {"Uri": "/instances", "Arguments": {"includefield": "PatientID"}})
    assert {one["00080018"]["Value"] for one in found} == set(objects)
    ct = header(next(iter(objects.values())))
    (study,) = stored.ask("qido", {"Uri": "/studies", "Arguments": {"PatientID": "1C*", "StudyDate": "20040101-"}})
    # It makes a form of its own of the answer, which keeps values that are texts.
    assert study["0020000D"]["Value"] == str(ct.StudyInstanceUID)
    assert study["00081190"]["Value"] == f"{stored.node.url}dicomweb/studies/{ct.StudyInstanceUID}"
    (series,) = stored.ask("qido", {"Uri": f"/studies/{ct.StudyInstanceUID}/series", "Arguments": {}})
    assert series["00080060"]["Value"] == "CT"
    assert stored.ask("qido", {"Uri": "/studies", "Arguments": {"PatientName": "Nobody*"}}) == []


@pytest.mark.interop(service="WADO-RS", peer="Orthanc", role="SCP")
def test_gets_what_it_is_asked_for(stored: Both, objects: dict[str, bytes]) -> None:
    uid, data = next(iter(objects.items()))
    ct = header(data)
    path = f"/studies/{ct.StudyInstanceUID}/series/{ct.SeriesInstanceUID}/instances/{uid}"
    (model,) = stored.ask("get", {"Uri": f"{path}/metadata"})
    assert model["00080018"]["Value"] == [uid]
    assert model["7FE00010"]["BulkDataURI"] == f"{stored.node.url}dicomweb{path}/bulkdata/7FE00010"
    png = stored.ask("get", {"Uri": f"{path}/rendered", "HttpHeaders": {"Accept": "image/png"}})
    assert png.startswith(b"\x89PNG")
    (found,) = stored.ask("get", {"Uri": "/studies", "Arguments": {"PatientID": "1CT1"}})
    assert found["00100020"]["Value"] == ["1CT1"]


@pytest.mark.interop(service="WADO-RS", peer="Orthanc", role="SCP")
def test_retrieves(stored: Both, objects: dict[str, bytes]) -> None:
    """A series, an instance and whole studies, back into an Orthanc that has nothing."""
    headers = {uid: header(data) for uid, data in objects.items()}
    for study in stored.peer.request("/studies"):
        stored.peer.request(f"/studies/{study}", method="DELETE")
    first, second, third, *others = headers
    ct = headers[first]
    one = {"Study": ct.StudyInstanceUID, "Series": ct.SeriesInstanceUID, "Instance": first}
    assert retrieved(stored, one) == 1
    assert set(stored.instances()) == {first}
    assert retrieved(stored, {"Study": ct.StudyInstanceUID, "Series": ct.SeriesInstanceUID}) == 3
    assert set(stored.instances()) == {first, second, third}
    assert retrieved(stored, *({"Study": headers[uid].StudyInstanceUID} for uid in others)) == len(others)
    assert set(stored.instances()) == set(objects)
    for uid, data_set in headers.items():
        assert stored.pixels(uid) == data_set.get("PixelData")


def retrieved(both: Both, *resources: dict[str, Any]) -> int:
    wanted = [{level: str(uid) for level, uid in one.items()} for one in resources]
    return int(both.ask("retrieve", {"Resources": wanted, "Synchronous": True})["ReceivedInstancesCount"])


def test_deletes(stored: Both, objects: dict[str, bytes]) -> None:
    sr = header(list(objects.values())[-1])
    study = {"Level": "Study", "StudyInstanceUID": str(sr.StudyInstanceUID)}
    stored.ask("delete", study)
    question = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": study["StudyInstanceUID"]}}
    assert stored.ask("qido", question) == []


@pytest.mark.interop(service="Bearer token", peer="Orthanc", role="SCP")
def test_is_refused_without_its_token(both: Both) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        both.ask("qido", {"Uri": "/studies", "Arguments": {}}, "nobody")
    with refused.value:
        assert json.load(refused.value)["HttpStatus"] in (401, 500)
    assert "401" in both.peer.server.output()
