"""TLS contexts: what the rows of the settings make, and what is said of files that cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

import peers
from certificates import Certificates
from isocenter.errors import SettingsError
from isocenter.net.tls import client_context, server_context
from isocenter.settings import Settings


def settings(certificates: Certificates, **rows: object) -> Settings:
    return Settings().replace(**{**certificates.server.settings, "tls_ca": certificates.ca, **rows})


def test_without_a_certificate_there_is_no_listener() -> None:
    assert server_context(Settings()) is None
    with pytest.raises(SettingsError, match=r"tls\.only"):
        server_context(Settings().replace(tls_only=True))


@pytest.mark.parametrize("profile", ["bcp195", "modified"])
def test_only_what_rfc_9325_allows(profile: str, certificates: Certificates) -> None:
    chosen = settings(certificates, tls_profile=profile)
    for context in (server_context(chosen), client_context(chosen)):
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        suites = context.get_ciphers()
        assert all(suite["aead"] for suite in suites)
        assert {"kx-ecdhe", "kx-any"} == {suite["kea"] for suite in suites}
        assert {"TLSv1.2", "TLSv1.3"} == {suite["protocol"] for suite in suites}


@pytest.mark.parametrize(("word", "mode"), [("required", 2), ("optional", 1), ("off", 0)])
def test_verification_of_those_who_connect(word: str, mode: int, certificates: Certificates) -> None:
    context = server_context(settings(certificates, tls_verify_peer=word))
    assert context is not None
    assert mode == context.verify_mode


def test_host_names_are_verified_unless_told_otherwise(certificates: Certificates) -> None:
    assert client_context(settings(certificates)).check_hostname
    lenient = client_context(settings(certificates, tls_verify_host=False))
    assert (lenient.check_hostname, lenient.verify_mode) == (False, ssl.CERT_REQUIRED)


def test_the_key_may_stand_in_the_file_of_the_certificate(tmp_path: Path, certificates: Certificates) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.server.certificate.read_bytes() + certificates.server.key.read_bytes())
    assert server_context(settings(certificates, tls_certificate=str(both), tls_key="")) is not None


def test_files_that_cannot_be_used(tmp_path: Path, certificates: Certificates) -> None:
    encrypted, nonsense = tmp_path / "encrypted.key", tmp_path / "nonsense"
    peers.run("openssl", "pkey", "-in", certificates.server.key, "-aes256", "-passout", "pass:x", "-out", encrypted)
    nonsense.write_text("nonsense")
    for rows, expected in (
        ({"tls_key": str(certificates.client.key)}, "does not belong to the certificate"),
        ({"tls_key": str(encrypted)}, "encrypted"),
        ({"tls_key": str(tmp_path / "absent")}, r"tls\.key = .*No such file"),
        ({"tls_certificate": str(tmp_path / "absent")}, r"tls\.certificate = .*No such file"),
        ({"tls_key": str(nonsense)}, "PEM"),
        ({"tls_certificate": str(nonsense)}, "PEM"),
        ({**certificates.weak.settings}, "too weak"),
        ({"tls_ca": ""}, r"tls\.ca has to name"),
        ({"tls_ca": str(nonsense)}, r"tls\.ca = .*no certificate"),
        ({"tls_ca": str(tmp_path / "absent")}, r"tls\.ca = .*No such file"),
    ):
        with pytest.raises(SettingsError, match=expected):
            server_context(settings(certificates, **rows))
    with pytest.raises(SettingsError, match=r"without tls\.certificate"):
        client_context(Settings().replace(tls_key=str(certificates.server.key)))
