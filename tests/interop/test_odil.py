"""odil's tools ask our archive, store into it and retrieve from it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO

import ours
import peers

pytestmark = pytest.mark.interop

FILE = Path(str(get_testdata_file("CT_small.dcm", download=False)))
CT = pydicom.dcmread(FILE)
ROOTS = {
    "patient": ("PATIENT", f"PatientID={CT.PatientID}"),
    "study": ("STUDY", f"StudyInstanceUID={CT.StudyInstanceUID}"),
}


class Odil:
    """The program, calling one node of ours."""

    def __init__(self, node: ours.Node) -> None:
        self._node = node

    def __call__(self, command: str, *arguments: object) -> str:
        aet, _, place = self._node.address.partition("@")
        host, _, port = place.rpartition(":")
        done = subprocess.run(
            ["odil", command, host, port, "ODIL", aet, *map(str, arguments), "-v", "info"],
            capture_output=True, text=True, timeout=60, check=False, env=peers.ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ours.Node]:
    peers.require("odil")
    with ours.node(tmp_path / "data") as value:
        yield value


@pytest.mark.interop(service="Verification", peer="odil", role="SCP")
def test_echo(node: ours.Node) -> None:
    assert "C-ECHO successful" in Odil(node)("echo")


@pytest.mark.interop(service="Storage", peer="odil", role="SCP")
def test_what_it_stores_is_there(node: ours.Node) -> None:
    Odil(node)("store", FILE)
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    url = f"{node.url}dicomweb/studies/{CT.StudyInstanceUID}"
    answer = httpx.get(url, headers={"accept": accept})
    answer.raise_for_status()
    stored = pydicom.dcmread(DicomBytesIO(answer.content.partition(b"\r\n\r\n")[2]))
    assert stored.PixelData == CT.PixelData
    # odil writes numbers anew, and leaves the padding out.
    assert [e for e in CT if e.VR != "DS" and e.tag != 0xFFFCFFFC and stored.get(e.tag) != e] == []
    for element in CT:
        if element.VR == "DS" and element.value is not None:
            assert np.ravel(stored[element.tag].value).tolist() == pytest.approx(np.ravel(element.value).tolist())


@pytest.mark.interop(service="C-FIND, Patient Root", peer="odil", role="SCP")
@pytest.mark.interop(service="C-FIND, Study Root", peer="odil", role="SCP")
@pytest.mark.parametrize("root", ROOTS)
def test_find(node: ours.Node, root: str) -> None:
    odil = Odil(node)
    odil("store", FILE)
    level, key = ROOTS[root]
    answers = odil("find", root, f"QueryRetrieveLevel={level}", key, "PatientName")
    assert "1 answer\n" in answers
    assert str(CT.PatientName) in answers
    assert "0 answer" in odil("find", root, f"QueryRetrieveLevel={level}", "PatientID=nobody")


@pytest.mark.interop(service="C-GET, Patient Root", peer="odil", role="SCP")
@pytest.mark.interop(service="C-GET, Study Root", peer="odil", role="SCP")
@pytest.mark.parametrize("root", ROOTS)
def test_get(node: ours.Node, root: str, tmp_path: Path) -> None:
    odil = Odil(node)
    odil("store", FILE)
    level, key = ROOTS[root]
    (tmp_path / "out").mkdir()
    assert "Completed: 1" in odil("get", "-d", tmp_path / "out", root, f"QueryRetrieveLevel={level}", key)
    (file,) = (tmp_path / "out").iterdir()
    got = pydicom.dcmread(file)
    assert (got.SOPInstanceUID, got.PixelData) == (CT.SOPInstanceUID, CT.PixelData)
