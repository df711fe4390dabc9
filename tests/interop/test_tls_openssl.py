"""Our TLS against `openssl s_client` and `s_server`: versions, suites, certificates, downgrades, and what is said."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import isocenter
import peers
from certificates import Certificates, Pair
from isocenter.errors import (
    AssociationAborted,
    CertificateExpired,
    CertificateRequired,
    NetworkError,
    NotTls,
    TlsError,
    TlsNegotiationFailed,
    UntrustedCertificate,
    WrongHostName,
)
from isocenter.settings import Settings
from isocenter.wire import pdu
from ours import receiver

pytestmark = pytest.mark.interop

ECHO = pdu.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
REQUEST = pdu.encode_associate_rq(pdu.AssociateRQ("ISOCENTER", "OPENSSL", (ECHO,), pdu.UserInformation(16384)))
CONVERSATION = REQUEST + pdu.encode_abort(pdu.Abort(0, 0))
EVERYTHING = ["-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]


def s_client(port: int, *options: str) -> tuple[bool, str]:
    """Whether an association was accepted through `openssl s_client`, and what that said."""
    peers.require("openssl")
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", "-verify_return_error", *options],
        input=CONVERSATION,
        capture_output=True,
        timeout=20,
        check=False,
    )
    accepted = b"\x02\x00" in done.stdout and b"ISOCENTER       OPENSSL" in done.stdout
    return accepted, (done.stdout + done.stderr).decode("latin-1")


@contextmanager
def tls_server(tmp_path: Path, certificates: Certificates, pair: Pair, **settings: object) -> Iterator[int]:
    rows = {**pair.settings, "tls_ca": certificates.ca, "tls_only": True, "dimse_artim_timeout": 5.0, **settings}
    with receiver(tmp_path / "in", **rows) as server:
        yield server.tls_port


# what: options of the client; key of the server's certificate; suite or version that was agreed
AGREED = {
    "1.2": (["-tls1_2"], "server", "TLSv1.2"),
    "1.3": (["-tls1_3"], "server", "TLSv1.3"),
    "the best of both": ([], "server", "TLSv1.3"),
    "the best, offered everything": (EVERYTHING, "server", "TLSv1.3"),
    "1.2 ecdsa aes128": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "server", "TLSv1.2"),
    "1.2 ecdsa aes256": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "server", "TLSv1.2"),
    "1.2 rsa aes128": (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa", "TLSv1.2"),
    "1.2 rsa aes256": (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], "rsa", "TLSv1.2"),
    "1.2 offered everything": (["-tls1_2", *EVERYTHING], "rsa", "ECDHE-RSA-AES128-GCM-SHA256"),
    "1.3 aes128": (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "server", "TLS_AES_128_GCM_SHA256"),
    "1.3 aes256": (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "rsa", "TLS_AES_256_GCM_SHA384"),
    "1.3 chacha20": (["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "server", "TLS_CHACHA20_POLY1305_SHA256"),
    "p-384": (["-curves", "P-384"], "server", "TLSv1.3"),
    "1.2 x25519": (["-tls1_2", "-curves", "X25519:P-256"], "rsa", "TLSv1.2"),
}


@pytest.mark.interop(service="TLS", peer="openssl s_client", role="SCP")
@pytest.mark.parametrize("case", AGREED)
def test_what_we_agree_to_as_server(case: str, tmp_path: Path, certificates: Certificates) -> None:
    options, pair, expected = AGREED[case]
    with tls_server(tmp_path, certificates, getattr(certificates, pair)) as port:
        accepted, said = s_client(port, *options, "-CAfile", certificates.ca, *certificates.client.s_client)
    assert accepted, said
    assert expected in said
    assert "Compression: NONE" in said
    assert "Secure Renegotiation IS NOT supported" not in said or "TLSv1.3" in said


NO_VERSION = "no version of TLS that we do"
NO_SUITE = "no cipher suite of RFC 9325"
# what: options of the client; key of the server's certificate; what our log says
REFUSED = {
    "1.1": (["-tls1_1", *EVERYTHING], "server", NO_VERSION),
    "1.0": (["-tls1", *EVERYTHING], "server", NO_VERSION),
    "a fallback although both do 1.3": (["-tls1_2", "-fallback_scsv"], "server", "downgrade"),
    "static rsa": (["-tls1_2", "-cipher", "AES256-GCM-SHA384"], "rsa", NO_SUITE),
    "cbc": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], "server", NO_SUITE),
    "dhe": (["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"], "rsa", NO_SUITE),
    "null": (["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"], "rsa", NO_SUITE),
    "anonymous": (["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], "rsa", NO_SUITE),
    "chacha20 in 1.2": (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "server", NO_SUITE),
    "an rsa suite for an elliptic certificate": (
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
        "server",
        NO_SUITE,
    ),
}


@pytest.mark.interop(service="TLS", peer="openssl s_client", role="SCP")
@pytest.mark.parametrize("case", REFUSED)
def test_what_we_refuse_as_server(
    case: str, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    options, pair, expected = REFUSED[case]
    caplog.set_level(logging.INFO, "isocenter")
    with tls_server(tmp_path, certificates, getattr(certificates, pair)) as port:
        accepted, said = s_client(port, *options, "-CAfile", certificates.ca, *certificates.client.s_client)
    assert not accepted
    assert "alert" in said, "the peer is told why"
    assert expected in caplog.text


VERSIONS = ("-tls1_2", "-tls1_3")
# what: certificate of the client; tls.verify_peer; what our log says, or None where it is admitted
CLIENTS: dict[str, tuple[str | None, str, str | None]] = {
    "signed": ("client", "required", None),
    "signed, rsa": ("rsa", "required", None),
    "none": (None, "required", "showed no certificate"),
    "of a foreign authority": ("foreign", "required", "not trusted"),
    "self-signed": ("lonely", "required", "self-signed"),
    "expired": ("expired", "required", "has expired"),
    "signed, optional": ("client", "optional", None),
    "none, optional": (None, "optional", None),
    "of a foreign authority, optional": ("foreign", "optional", "not trusted"),
    "none, off": (None, "off", None),
    "expired, off": ("expired", "off", None),
}


@pytest.mark.interop(service="TLS", peer="openssl s_client", role="SCP")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CLIENTS)
def test_certificates_of_clients(
    case: str, version: str, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    pair, verify, expected = CLIENTS[case]
    caplog.set_level(logging.INFO, "isocenter")
    shown = [] if pair is None else getattr(certificates, pair).s_client
    with tls_server(tmp_path, certificates, certificates.server, tls_verify_peer=verify) as port:
        accepted, said = s_client(port, version, "-CAfile", certificates.ca, *shown)
    assert accepted is (expected is None), said
    if expected is not None:
        assert "alert" in said, "the peer is told why"
        assert expected in caplog.text


def test_the_modified_profile_has_chacha20_and_the_strongest_first(tmp_path: Path, certificates: Certificates) -> None:
    shown = ["-CAfile", certificates.ca, *certificates.client.s_client, "-tls1_2"]
    with tls_server(tmp_path, certificates, certificates.server, tls_profile="modified") as port:
        accepted, said = s_client(port, *shown, "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
        assert accepted, said
        accepted, said = s_client(port, *shown, *EVERYTHING)
        assert accepted
        assert "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in said
        assert not s_client(port, *shown, "-cipher", "ECDHE-ECDSA-AES256-SHA384")[0]


def test_renegotiation_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    with tls_server(tmp_path, certificates, certificates.server) as port:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", *certificates.client.s_client],
            input=b"R\n",
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert b"no renegotiation" in done.stderr


# --- we as client --------------------------------------------------------------------------------------------------


@contextmanager
def s_server(tmp_path: Path, pair: Pair, *options: str) -> Iterator[int]:
    """`openssl s_server`, which shakes hands and then hangs up."""
    peers.require("openssl")
    port = peers.free_port()
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-naccept", "1", *pair.s_client, *options]
    with peers.running(argv, log=tmp_path / "s_server.log", ports=[port]):
        yield port


def call(port: int, **rows: object) -> NetworkError:
    """What connecting with TLS ends with; nobody here accepts an association."""

    async def work() -> None:
        settings = Settings().replace(dimse_connect_timeout=30.0, **rows)
        async with isocenter.connect(f"THEM@127.0.0.1:{port}", settings=settings, tls=True):
            pytest.fail("there is nobody who could accept an association")

    with pytest.raises(NetworkError) as failed:
        asyncio.run(work())
    return failed.value


# what: options of the server; key of its certificate; our rows; error and what it says
SERVERS: dict[str, tuple[list[str], str, dict[str, object], type[NetworkError], str]] = {
    "1.2": (["-tls1_2"], "server", {}, AssociationAborted, "without an"),
    "1.3": (["-tls1_3"], "server", {}, AssociationAborted, "without an"),
    "1.1 only": (["-tls1_1", *EVERYTHING], "server", {}, TlsNegotiationFailed, "no version"),
    "cbc only": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], "server", {}, TlsNegotiationFailed, "in common"),
    "expired": ([], "expired", {}, CertificateExpired, "has expired"),
    "self-signed": ([], "lonely", {}, UntrustedCertificate, "self-signed"),
    "a foreign authority": ([], "foreign", {}, UntrustedCertificate, "not trusted"),
    "weak": (["-cipher", "ALL:@SECLEVEL=0"], "weak", {}, UntrustedCertificate, "too weak"),
    "another host": ([], "elsewhere", {}, WrongHostName, "127.0.0.1"),
    "another host, not verified": ([], "elsewhere", {"tls_verify_host": False}, AssociationAborted, "without an"),
    "expired, host not verified": ([], "expired", {"tls_verify_host": False}, CertificateExpired, "has expired"),
    "wants a certificate, 1.2": (["-tls1_2", "-Verify", "1"], "server", {}, CertificateRequired, "wants a certificate"),
    "wants a certificate, 1.3": (["-tls1_3", "-Verify", "1"], "server", {}, CertificateRequired, "wants a certificate"),
}


@pytest.mark.interop(service="TLS", peer="openssl s_server", role="SCU")
@pytest.mark.parametrize("case", SERVERS)
def test_servers_we_call(case: str, tmp_path: Path, certificates: Certificates) -> None:
    options, pair, rows, error, expected = SERVERS[case]
    with s_server(tmp_path, getattr(certificates, pair), *options) as port:
        failed = call(port, tls_ca=certificates.ca, **rows)
    assert type(failed) is error, failed
    assert expected in str(failed)
    assert failed.hint or error is AssociationAborted


@pytest.mark.parametrize(
    ("shown", "error"), [("client", AssociationAborted), ("foreign", TlsError), ("expired", TlsError)]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_our_certificate_is_shown_and_judged(
    shown: str, error: type[NetworkError], version: str, tmp_path: Path, certificates: Certificates
) -> None:
    options = ["-Verify", "1", "-verify_return_error", "-CAfile", certificates.ca, version]
    with s_server(tmp_path, certificates.server, *options) as port:
        failed = call(port, tls_ca=certificates.ca, **getattr(certificates, shown).settings)
    assert isinstance(failed, error), failed


def test_without_an_authority_of_ours_the_systems_count(tmp_path: Path, certificates: Certificates) -> None:
    with s_server(tmp_path, certificates.server) as port:
        assert isinstance(call(port), UntrustedCertificate)


def test_a_server_that_answers_without_tls(tmp_path: Path, certificates: Certificates) -> None:
    with receiver(tmp_path / "in") as server:
        failed = call(server.port, tls_ca=certificates.ca)
    assert isinstance(failed, NotTls), failed
    assert "without TLS (an abort)" in str(failed)


def test_a_server_that_hangs_up(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        async def work() -> None:
            loop = asyncio.get_running_loop()
            gone = loop.run_in_executor(None, lambda: listener.accept()[0].close())
            with pytest.raises(TlsNegotiationFailed):
                async with isocenter.connect(f"THEM@127.0.0.1:{port}", tls=True):
                    pytest.fail("nobody is there")
            await gone

        asyncio.run(work())
