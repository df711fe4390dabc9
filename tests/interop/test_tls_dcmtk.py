"""DIMSE over TLS with DCMTK in both directions: certificates, plain against TLS, and objects that arrive whole."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import peers
from certificates import Certificates
from command import isocenter as run_isocenter
from command import started
from isocenter.errors import AssociationAborted, NetworkError, NotTls
from isocenter.settings import Settings
from ours import receiver

pytestmark = pytest.mark.interop

CT = Path(str(get_testdata_file("CT_small.dcm")))
TO_US = ("-aec", "ISOCENTER", "-ta", "5", "127.0.0.1")


def rows(certificates: Certificates, **more: object) -> dict[str, object]:
    return {**certificates.server.settings, "tls_ca": certificates.ca, "dimse_artim_timeout": 5.0, **more}


# what: options of echoscu; tls.verify_peer; whether it works
CALLERS: dict[str, tuple[list[str], str, bool]] = {
    "mutual": (["CLIENT", "+cf", "CA"], "required", True),
    "bcp 195": (["CLIENT", "+cf", "CA", "+px"], "required", True),
    "bcp 195, extended": (["CLIENT", "+cf", "CA", "+pz"], "required", True),
    "aes profile of old": (["CLIENT", "+cf", "CA", "+pa"], "required", False),
    "no encryption": (["CLIENT", "+cf", "CA", "+pn"], "required", False),
    "does not know our authority": (["CLIENT"], "required", False),
    "does not care": (["CLIENT", "-ic"], "required", True),
    "has no certificate": (["+tla", "+cf", "CA"], "required", False),
    "has no certificate and needs none": (["+tla", "+cf", "CA"], "off", True),
    "foreign certificate": (["FOREIGN", "+cf", "CA"], "required", False),
    "expired certificate": (["EXPIRED", "+cf", "CA"], "required", False),
    "no tls": ([], "required", False),
}


@pytest.mark.interop(service="TLS", peer="DCMTK echoscu", role="SCP")
@pytest.mark.parametrize("case", CALLERS)
def test_echoscu_calls(case: str, tmp_path: Path, certificates: Certificates) -> None:
    options, verify, works = CALLERS[case]
    words = {
        "CLIENT": certificates.client.dcmtk,
        "FOREIGN": certificates.foreign.dcmtk,
        "EXPIRED": certificates.expired.dcmtk,
        "CA": [certificates.ca],
    }
    argv = [part for word in options for part in words.get(word, [word])]
    with receiver(tmp_path / "in", **rows(certificates, tls_verify_peer=verify)) as server:
        done = peers.run("echoscu", *argv, *TO_US, str(server.tls_port), timeout=20, check=False)
    assert works is (done.returncode == 0), done.stdout


def test_echoscu_with_tls_at_the_port_without(tmp_path: Path, certificates: Certificates) -> None:
    with receiver(tmp_path / "in", **rows(certificates)) as server:
        argv = [*certificates.client.dcmtk, "-ic", *TO_US, str(server.port)]
        assert peers.run("echoscu", *argv, timeout=20, check=False).returncode != 0
        assert peers.run("echoscu", *TO_US, str(server.port)).returncode == 0


@pytest.mark.interop(service="TLS", peer="DCMTK storescu", role="SCP")
def test_storescu_stores(tmp_path: Path, certificates: Certificates) -> None:
    with receiver(tmp_path / "in", **rows(certificates, tls_only=True)) as server:
        assert server.server.address[1] == server.tls_port, "there is no port without TLS"
        peers.run("storescu", *certificates.client.dcmtk, "+cf", certificates.ca, *TO_US, str(server.tls_port), CT)
        [(path, _)] = server.stored
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(CT).PixelData


@pytest.mark.interop(service="TLS", peer="DCMTK storescp", role="SCU")
def test_we_store_at_storescp(tmp_path: Path, certificates: Certificates) -> None:
    here, there = certificates.client, certificates.server
    with peers.storescp(tmp_path / "in", "+B", *there.dcmtk, "+cf", certificates.ca) as peer:
        ours = ("--ca", certificates.ca, "--cert", here.certificate, "--key", here.key)
        done = run_isocenter("store", "--tls", *ours, peer.address, CT)
        assert done.returncode == 0, done.stderr
        echo = run_isocenter("echo", "--tls", *ours, peer.address)
        assert echo.returncode == 0, echo.stderr
        nameless = run_isocenter("echo", "--tls", "--ca", certificates.ca, peer.address)
        assert (nameless.returncode, "a certificate of ours" in nameless.stderr) == (3, True), nameless.stderr
        unknown = run_isocenter("echo", "--tls", *ours[2:], peer.address)
        assert (unknown.returncode, "nobody vouches for" in unknown.stderr) == (3, True), unknown.stderr
        assert "--ca" in unknown.stderr, "what to do is said"
    [stored] = (tmp_path / "in").iterdir()
    assert pydicom.dcmread(stored).PixelData == pydicom.dcmread(CT).PixelData


@pytest.mark.parametrize("tls", [True, False])
def test_the_wrong_kind_of_port_ends_soon(
    tls: bool, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def call(address: str) -> None:
        settings = Settings().replace(tls_ca=certificates.ca, dimse_connect_timeout=90.0)
        async with asyncio.timeout(60), isocenter.connect(address, settings=settings, tls=tls):
            pytest.fail("one side speaks TLS, the other does not")

    caplog.set_level(logging.INFO, "isocenter")
    patient = rows(certificates, dimse_artim_timeout=90.0)  # neither side's patience ends it
    with receiver(tmp_path / "in", **patient) as server, pytest.raises(NetworkError) as failed:
        asyncio.run(call(server.address if tls else server.tls_address))
    assert type(failed.value) is (NotTls if tls else AssociationAborted)
    if not tls:
        assert "is TLS spoken on both sides" in str(failed.value)
        assert "without TLS (an association request)" in caplog.text


def test_receive_as_a_command(tmp_path: Path, certificates: Certificates) -> None:
    pair, port = certificates.server, peers.free_port()
    options = ("--tls-port", port, "--cert", pair.certificate, "--key", pair.key, "--ca", certificates.ca)
    with started("receive", tmp_path / "in", "--listen", "127.0.0.1:0", "--workers", 1, *options) as server:
        assert server.stderr is not None
        assert f"@127.0.0.1:{port} (TLS)" in server.stderr.readline()
        peers.run("storescu", *certificates.client.dcmtk, "+cf", certificates.ca, *TO_US, str(port), CT)
    assert len(list((tmp_path / "in").iterdir())) == 1


def test_serve_as_a_command_says_what_is_wrong_with_certificates(tmp_path: Path, certificates: Certificates) -> None:
    server, client = certificates.server, certificates.client
    options = ("--data", tmp_path / "data", "--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tls-port", 0)
    for pair, expected in (
        (("--cert", server.certificate, "--key", client.key), "does not belong to the certificate"),
        (("--cert", server.certificate, "--key", server.key), "tls.ca has to name"),
        (("--cert", tmp_path / "absent", "--key", server.key), "No such file"),
    ):
        done = run_isocenter("serve", *options, *pair)
        assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
