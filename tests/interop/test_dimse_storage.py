"""C-ECHO and C-STORE between us and DCMTK and pynetdicom, both ways, in every transfer syntax the peer can propose."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
import peers
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

IMPLICIT = "1.2.840.10008.1.2"
# One packaged file for each transfer syntax that storescu can propose.
FILES = {
    "explicit-le": ("CT_small.dcm", "-xe"),
    "implicit-le": ("MR_small_implicit.dcm", "-xi"),
    "explicit-be": ("MR_small_bigendian.dcm", "-xb"),
    "jpeg-baseline": ("SC_rgb_jpeg_dcmtk.dcm", "-xy"),
    "jpeg-extended": ("JPEG-lossy.dcm", "-xx"),
    "jpeg-lossless-sv1": ("SC_rgb_jpeg_gdcm.dcm", "-xs"),
    "jpeg-ls": ("MR_small_jpeg_ls_lossless.dcm", "-xt"),
    "jpeg-ls-near": ("JPEGLSNearLossless_08.dcm", "-xu"),
    "jpeg-2000-lossless": ("MR_small_jp2klossless.dcm", "-xv"),
    "jpeg-2000": ("JPEG2000.dcm", "-xw"),
    "rle": ("MR_small_RLE.dcm", "-xr"),
    "deflated": ("image_dfl.dcm", "-xd"),
}


def packaged(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom's package has no {name}")
    return Path(str(path))


def data_set(path: Path | str) -> bytes:
    raw = Path(path).read_bytes()
    return raw[read_header(raw).data_set_offset :]


def values(dataset: pydicom.Dataset) -> dict[int, object]:
    return {int(element.tag): element.value for element in dataset}


@pytest.mark.interop(service="Verification", peer="DCMTK echoscu", role="SCP")
def test_echoscu(tmp_path: Path) -> None:
    with ours.receiver(tmp_path) as scp:
        peers.run("echoscu", "-aec", "ISOCENTER", "127.0.0.1", str(scp.port))


@pytest.mark.interop(service="Verification", peer="DCMTK echoscu", role="SCP")
def test_echoscu_with_128_contexts(tmp_path: Path) -> None:
    with ours.receiver(tmp_path) as scp:
        peers.run("echoscu", "-ppc", "128", "-pts", "38", "127.0.0.1", str(scp.port))


@pytest.mark.interop(service="Storage", peer="DCMTK storescu", role="SCP")
@pytest.mark.parametrize("syntax", FILES)
def test_storescu_to_us(syntax: str, tmp_path: Path) -> None:
    name, option = FILES[syntax]
    path = packaged(name)
    with ours.receiver(tmp_path / "in") as scp:
        peers.run("storescu", option, "-R", "127.0.0.1", str(scp.port), str(path))
        ((stored, request),) = scp.stored
    sent, kept = pydicom.dcmread(path), pydicom.dcmread(stored)
    sent.pop(0xFFFCFFFC, None)  # storescu reads the file anew and leaves Data Set Trailing Padding out
    assert sent.file_meta.TransferSyntaxUID == kept.file_meta.TransferSyntaxUID == request.context.transfer_syntax
    # Values, not VRs: storescu corrects an OW of encapsulated Pixel Data to OB.
    assert values(sent) == values(kept)


@pytest.mark.interop(service="Storage", peer="DCMTK storescp", role="SCU")
@pytest.mark.parametrize("syntax", FILES)
def test_we_to_storescp(syntax: str, tmp_path: Path) -> None:
    path = packaged(FILES[syntax][0])
    # storescp keeps the bytes with +B, but aborts when they are deflated.
    options = ("+xd",) if syntax == "deflated" else ("+B", "+xa")
    with peers.storescp(tmp_path / "in", *options) as scp, isocenter.sync.connect(scp.address) as pacs:
        pacs.echo()
        (outcome,) = pacs.store([path])
        assert (outcome.status, outcome.message) == (0, "")
        (stored,) = scp.folder.iterdir()
    if syntax == "deflated":
        assert values(pydicom.dcmread(path)) == values(pydicom.dcmread(stored))
    else:
        assert data_set(path) == data_set(stored)


@pytest.mark.interop(service="Storage", peer="pynetdicom", role="SCP")
def test_pynetdicom_to_us_and_back(tmp_path: Path) -> None:
    from pynetdicom import AE

    path = packaged("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    with ours.receiver(tmp_path) as scp:
        ae = AE("PYNETDICOM")
        ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", scp.port, ae_title="ISOCENTER")
        try:
            assert association.is_established
            assert association.send_c_echo().Status == 0
            assert association.send_c_store(dataset).Status == 0
        finally:
            association.release()
            ae.shutdown()
        ((stored, request),) = scp.stored
    assert pydicom.dcmread(stored) == dataset
    assert request.peer.calling == "PYNETDICOM"


@pytest.mark.interop(service="Storage", peer="pynetdicom", role="SCU")
def test_we_to_pynetdicom(tmp_path: Path) -> None:
    paths = [packaged(name) for name, _ in FILES.values()]
    with peers.pynetdicom_scp() as (address, received), isocenter.sync.connect(address, calling="US") as pacs:
        outcomes = list(pacs.store(paths))
        pacs.echo()
    assert [outcome.source for outcome in outcomes] == [str(path) for path in paths]
    stored = Counter(one.data_set for one in received)
    assert [outcome.status for outcome in outcomes] == [0] * len(paths)
    # An odd deflated stream gets the NUL that PS3.5 A.5 demands.
    assert stored == Counter(raw + b"\0" if len(raw) % 2 else raw for raw in map(data_set, paths))


@pytest.mark.interop(service="Storage", peer="pynetdicom", role="SCU")
def test_a_peers_refusal_is_an_outcome_not_an_exception(tmp_path: Path) -> None:
    with peers.pynetdicom_scp(status=0xA700) as (address, _), isocenter.sync.connect(address) as pacs:
        (outcome,) = pacs.store([packaged("CT_small.dcm")])
    assert (outcome.status, outcome.ok) == (0xA700, False)


def test_what_is_not_dicom_is_an_outcome_and_the_rest_goes_on(tmp_path: Path) -> None:
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"no DICOM" * 100)
    with ours.receiver(tmp_path / "in") as scp, isocenter.sync.connect(scp.address) as pacs:
        outcomes = list(pacs.store([junk, tmp_path / "absent", packaged("CT_small.dcm")]))
    assert [outcome.status for outcome in outcomes] == [None, None, 0]


def test_items_that_are_waited_for_do_not_hold_back_those_before(tmp_path: Path) -> None:
    stored = threading.Semaphore(0)

    def one_after_the_other() -> Iterator[Path | None]:
        for _ in range(3):
            yield packaged("CT_small.dcm")
            yield None
            assert stored.acquire(timeout=30), "what was given waits for what is to come"

    with ours.receiver(tmp_path / "in") as scp, isocenter.sync.connect(scp.address) as pacs:
        for outcome in pacs.store(one_after_the_other()):
            assert outcome.status == 0
            stored.release()
        assert len(scp.stored) == 3


def test_large_objects_are_streamed(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(packaged("CT_small.dcm"))
    dataset.Rows = dataset.Columns = 1500
    dataset.PixelData = bytes(range(250)) * (1500 * 1500 * 2 // 250)
    large = tmp_path / "large.dcm"
    dataset.save_as(large)
    with ours.receiver(tmp_path / "in") as scp, isocenter.sync.connect(scp.address) as pacs:
        (outcome,) = pacs.store([large])
        ((stored, _),) = scp.stored
    assert outcome.status == 0
    assert data_set(large) == data_set(stored)


def test_private_sop_classes_only_where_the_setting_says_so(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(packaged("CT_small.dcm"))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.3.46.670589.5.0.1"
    path = tmp_path / "private.dcm"
    dataset.save_as(path)
    for private, expected in ((False, None), (True, 0)):
        with (
            ours.receiver(tmp_path / str(private), private=private) as scp,
            isocenter.sync.connect(scp.address) as pacs,
        ):
            (outcome,) = pacs.store([path])
            assert outcome.status == expected
