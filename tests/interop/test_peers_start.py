"""The peers themselves: they start on loopback, take an object from each other, and end.

When one of these fails, the fault is in the machine or in tests/peers.py, not in Isocenter.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import peers
import private_network

pytestmark = pytest.mark.interop

CT = str(get_testdata_file("CT_small.dcm"))
CT_INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


def test_storescp_takes_an_object_from_storescu(tmp_path: Path) -> None:
    with peers.storescp(tmp_path / "in", "+B") as scp:
        peers.run("storescu", "-aec", scp.aet, "127.0.0.1", str(scp.port), CT)
    assert [path.name for path in scp.folder.iterdir()] == [f"CT.{CT_INSTANCE}"]
    assert scp.server.process.returncode is not None


def test_orthanc_takes_an_object_and_answers_dicomweb(tmp_path: Path) -> None:
    with peers.orthanc(tmp_path / "orthanc") as orthanc:
        peers.run("storescu", "-aec", orthanc.aet, "127.0.0.1", str(orthanc.port), CT)
        found = orthanc.request("/dicom-web/instances")
    assert [instance["00080018"]["Value"] for instance in found] == [[CT_INSTANCE]]


def test_dcmqrscp_answers_echo_and_keeps_an_object(tmp_path: Path) -> None:
    with peers.dcmqrscp(tmp_path) as scp:
        peers.run("echoscu", "-aec", scp.aet, "127.0.0.1", str(scp.port))
        peers.run("storescu", "-aec", scp.aet, "127.0.0.1", str(scp.port), CT)
        assert len([path for path in scp.folder.iterdir() if path.name != "index.dat"]) == 1


def test_pynetdicom_answers_with_the_status_it_was_given(tmp_path: Path) -> None:
    with peers.pynetdicom_scp(status=0xA700) as (address, received):
        port = address.rpartition(":")[2]
        done = peers.run("storescu", "-v", "-aec", "PYNETDICOM", "127.0.0.1", port, CT, check=False)
    assert "Refused: OutOfResources" in done.stdout
    assert [one.sop_instance for one in received] == [CT_INSTANCE]


def test_a_missing_peer_names_the_package_that_has_it() -> None:
    with pytest.raises(peers.PeerUnavailable, match="apt-get install no-such-peer") as caught:
        peers.require("no-such-peer")
    assert caught.value.missing


def test_nothing_outside_can_be_reached() -> None:
    if not private_network.is_private():
        pytest.skip(f"no private network: {private_network.enter()}")
    interfaces = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
    assert interfaces == ["lo"]
