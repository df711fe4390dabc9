"""C-GET by a peer that takes objects in a compressed form only: they are made for it, without loss."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import ours

pynetdicom = pytest.importorskip("pynetdicom")

pytestmark = pytest.mark.interop

GET = "1.2.840.10008.5.1.4.1.2.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
LOSSLESS = {
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
    "RLE": "1.2.840.10008.1.2.5",
}


@pytest.mark.parametrize("syntax", [*LOSSLESS.values(), "1.2.840.10008.1.2.4.50"], ids=[*LOSSLESS, "JPEG Baseline"])
def test_a_peer_that_takes_one_syntax_only(syntax: str, tmp_path: Path) -> None:
    from pynetdicom import AE, build_role, evt

    path = get_testdata_file("CT_small.dcm", download=False)
    assert path is not None
    original = pydicom.dcmread(path)
    came: list[pydicom.Dataset] = []

    def store(event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        came.append(ds)
        return 0x0000

    with ours.node(tmp_path / "data") as node:
        body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + Path(path).read_bytes() + b"\r\n--x--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=x'
        request = urllib.request.Request(f"{node.url}dicomweb/studies", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
        ae = AE()
        ae.add_requested_context(GET)
        ae.add_requested_context(CT, syntax)
        peer = ae.associate(
            *node.dimse, ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, store)]
        )
        assert peer.is_established
        wanted = pydicom.Dataset()
        wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", original.StudyInstanceUID
        statuses = [status.Status for status, _ in peer.send_c_get(wanted, GET)]
        peer.release()
    if syntax not in LOSSLESS.values():
        assert came == [], "it would have lost something"
        assert statuses[-1] != 0x0000
        return
    assert statuses[-1] == 0x0000
    (ds,) = came
    assert ds.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(original.pixel_array, ds.pixel_array)
    changed = {"PixelData", "DataSetTrailingPadding"}
    assert [one for one in original if one.keyword not in changed] == [one for one in ds if one.keyword not in changed]
