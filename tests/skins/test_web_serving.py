"""The real HTTP server: TLS, where it refuses to listen, and clients that take their time."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import ours
import peers
from certificates import Certificates
from command import isocenter, started
from isocenter.errors import SettingsError
from isocenter.settings import Settings
from isocenter.web.serving import WebServer, require_protection
from isocenter.web.site_tokens import issue, revoke

QUICK = {"archive_minimum_free": 0, "web_header_timeout": 2.0, "web_idle_timeout": 2.0}
AUTH = {"web_tokens": "tokens"}
TLS = {"web_tls": True, "tls_certificate": "x"}


@pytest.mark.parametrize(
    ("rows", "lacks"),
    [
        ({}, "TLS|authentication"),
        (AUTH, "TLS"),
        (TLS, "authentication"),
        ({"web_proxies": "10.0.0.1"}, "authentication"),
        ({"tls_certificate": "x", **AUTH}, "TLS"),
        (AUTH | TLS, ""),
        ({"web_proxies": "10.0.0.1", "web_users": "users"}, ""),
        ({"web_tls": True, "web_jwt": True}, ""),
        ({"web_listen_unprotected": True}, ""),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "pacs.example", "127.0.0.1", "::1", "localhost"])
def test_where_it_refuses_to_listen(host: str, rows: dict[str, Any], lacks: str) -> None:
    settings = Settings().replace(web_host=host, **rows)
    if not lacks or host in ("127.0.0.1", "::1", "localhost"):
        require_protection(settings)
        return
    with pytest.raises(SettingsError) as refusal:
        require_protection(settings)
    for word in ("TLS", "authentication"):
        assert (f"no {word}" in str(refusal.value)) == (word in lacks)
    assert "web.listen_unprotected = true" in str(refusal.value)


def test_a_server_that_would_be_open_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"web\.host = 0\.0\.0\.0"), ours.node(tmp_path, web_host="0.0.0.0"):
        pass
    with pytest.raises(SettingsError, match=r"web\.proxies: proxy\.example"):
        WebServer(lambda: None, Settings().replace(web_proxies="proxy.example"))  # type: ignore[arg-type, misc]
    with pytest.raises(SettingsError, match=r"web\.tls = true"):
        WebServer(lambda: None, Settings().replace(web_tls=True))  # type: ignore[arg-type, misc]


def test_tls_by_our_profile(tmp_path: Path) -> None:
    peers.require("openssl")
    made = Certificates(tmp_path)
    token, secret = issue(tmp_path / "tokens", "anna", ["read"])
    rows = QUICK | {"web_tls": True, "web_tokens": str(tmp_path / "tokens"), "dimse_host": "127.0.0.1"}
    with ours.node(tmp_path / "data", tls_verify_peer="off", **made.server.settings, **rows) as node:
        assert node.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=made.ca)
        studies = f"{node.url}dicomweb/studies"
        with httpx.Client(verify=trusting) as client:
            assert client.get(studies).status_code == 401
            answer = client.get(studies, headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            port = node.web[1]
            session = client.post(f"{node.url}session", json={"token": secret}, headers={"origin": node.url[:-1]})
            assert session.headers["set-cookie"].startswith("__Host-isocenter=")
            assert client.get(studies).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(studies)  # nobody vouches for the certificate
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        old = ssl.create_default_context(cafile=made.ca)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES256-SHA256")  # without forward secrecy: RFC 9325 section 4.2
        with pytest.raises(httpx.ConnectError):
            httpx.get(studies, verify=old)
        # Tokens and certificate are exchanged while it runs; what cannot be used changes nothing.
        revoke(tmp_path / "tokens", token.id)
        other = {"tls_certificate": str(made.rsa.certificate), "tls_key": str(made.rsa.key)}
        with pytest.raises(SettingsError):
            node.reload(node.settings.replace(**{**other, "tls_key": made.server.key}), (), ())
        node.reload(node.settings.replace(**other), (), ())
        assert httpx.get(studies, verify=trusting, headers={"authorization": f"Bearer {secret}"}).status_code == 401
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        assert shown.strip() in made.rsa.certificate.read_text()


def test_what_a_declared_proxy_says_is_believed(tmp_path: Path) -> None:
    _, secret = issue(tmp_path / "tokens", "anna", ["read"])
    forwarded = {
        "authorization": f"Bearer {secret}",
        "x-forwarded-for": "203.0.113.7",
        "host": "pacs.example",
    }
    rows = QUICK | {"web_tokens": str(tmp_path / "tokens"), "web_hosts": "pacs.example"}
    with ours.node(tmp_path / "data", web_proxies="127.0.0.0/8", **rows) as node:
        studies = f"{node.url}dicomweb/studies"
        assert httpx.get(studies, headers=forwarded).status_code == 401, "the client came in the clear"
        by_tls = httpx.get(studies, headers=forwarded | {"x-forwarded-proto": "https"})
        assert by_tls.status_code == 200
        assert "strict-transport-security" in by_tls.headers
    with ours.node(tmp_path / "data", **rows) as node:
        answer = httpx.get(f"{node.url}dicomweb/studies", headers=forwarded | {"x-forwarded-proto": "https"})
        assert answer.status_code == 200, "without a proxy it is this machine that asks"
        assert "strict-transport-security" not in answer.headers


def test_serve_with_its_settings_file(tmp_path: Path) -> None:
    token, secret = issue(tmp_path / "tokens", "anna", ["read"])
    config = tmp_path / "isocenter.toml"
    web = f'[web]\nport = 0\ntokens = "{tmp_path / "tokens"}"\n[dimse]\nport = 0\n'
    config.write_text(web)
    with started("serve", "-d", tmp_path / "data", "-c", config, "--json") as server:
        assert server.stdout is not None
        studies = f"{json.loads(server.stdout.readline())['dicomweb']}/studies"

        def status() -> int:
            return httpx.get(studies, headers={"authorization": f"Bearer {secret}"}).status_code

        assert (httpx.get(studies).status_code, status()) == (401, 200)
        revoke(tmp_path / "tokens", token.id)
        assert status() == 200, "not before SIGHUP"
        config.write_text(web.replace('/tokens"', '/absent"'))
        server.send_signal(signal.SIGHUP)
        assert server.stderr is not None
        while "nothing was reloaded" not in (line := server.stderr.readline()):
            assert line, "the server has ended"
        assert status() == 200
        config.write_text(web)
        server.send_signal(signal.SIGHUP)
        assert within(20, lambda: status() == 401)
    config.write_text(web.replace("port = 0\ntokens", 'host = "0.0.0.0"\nport = 0\ntokens'))
    refused = isocenter("serve", "-d", tmp_path / "data", "-c", config)
    assert refused.returncode != 0
    assert "there is no TLS (web.tls with tls.certificate" in refused.stderr
    assert "and no authentication" not in refused.stderr


def test_what_was_seen_is_written_down_before_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter.audit")
    with ours.node(tmp_path / "data", **QUICK) as node:
        assert httpx.get(f"{node.url}dicomweb/studies").status_code == 200
        assert "Query" not in caplog.text
    assert "Query user=? from=127.0.0.1 requests=1" in caplog.text


# --- clients that take their time


def ends_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def send_slowly(connection: socket.socket, text: bytes, pause: float) -> bool:
    """Whether the other side ended it before all was sent."""
    try:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(pause)
    except OSError:
        return True
    return False


def test_slow_clients_are_ended_and_others_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter.web")
    head = "POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
    rows = QUICK | {"web_header_timeout": 4.0, "web_idle_timeout": 4.0}  # this process may sleep for some of it
    with ours.node(tmp_path / "data", **rows) as node:

        def opened() -> socket.socket:
            return socket.create_connection(node.web, timeout=10)

        with opened() as silent, opened() as crawling, opened() as body:
            body.sendall(f"{head}Content-Length: 1000000\r\n\r\nabc".encode())
            assert send_slowly(crawling, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 600, 0.1)
            assert ends_within(silent, 30)
            assert ends_within(body, 30)
        with opened() as good:
            good.sendall(f"{head}Content-Length: 10000\r\n\r\n".encode())
            for _ in range(10):
                time.sleep(0.5)
                good.sendall(b"x" * 1000)
            assert good.recv(65536).startswith(b"HTTP/1.1 400")  # no DICOM object, but a request
            assert httpx.get(f"{node.url}healthz").status_code == 200
        said = caplog.text
        assert "no request came" in said
        assert "the body does not come" in said


def test_a_client_that_does_not_take_its_answer_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    caplog.set_level("INFO", "isocenter.web")
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.add_new(0x00091010, "OB", b"\0" * 40_000_000)
    from skins.web_harness import saved

    with ours.node(tmp_path / "data", **QUICK) as node:
        stored = httpx.post(
            f"{node.url}dicomweb/studies", content=saved(ds), headers={"content-type": "application/dicom"}, timeout=60
        )
        assert stored.status_code == 200
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(node.web)
            request = f"GET /dicomweb/studies/{ds.StudyInstanceUID} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            slow.sendall(request.encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
            assert within(30, lambda: "does not take its answer" in caplog.text)
        assert httpx.get(f"{node.url}healthz").status_code == 200


def within(seconds: float, test: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not test() and time.monotonic() < until:
        time.sleep(0.05)
    return test()


def test_one_address_does_not_keep_others_out(tmp_path: Path) -> None:
    rows = QUICK | {"web_header_timeout": 30.0, "web_max_connections_per_address": 20}
    with ours.node(tmp_path / "data", **rows) as node:
        silent = [socket.create_connection(node.web, timeout=10) for _ in range(60)]
        try:
            assert httpx.get(f"{node.url}healthz").status_code == 200
            assert all(ends_within(one, 20) for one in silent[:40]), "the oldest go first"
            assert not all(ends_within(one, 0.1) for one in silent[40:])
        finally:
            for one in silent:
                one.close()


@pytest.mark.parametrize("in_one_piece", [True, False])
def test_a_head_that_does_not_end(tmp_path: Path, in_one_piece: bool) -> None:
    with ours.node(tmp_path / "data", **QUICK, web_max_headers=16384) as node:
        with socket.create_connection(node.web, timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            line = b"X-Long: " + b"x" * 1000 + b"\r\n"
            try:
                if in_one_piece:
                    connection.sendall(line * 50 + b"\r\n")
                else:
                    for _ in range(100_000):
                        connection.sendall(line)
            except OSError:
                return  # ended while it was still coming
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 431")


def test_whoever_sends_on_after_the_answer_gets_it_first(tmp_path: Path) -> None:
    with ours.node(tmp_path / "data", **QUICK, web_tokens=str(tokens(tmp_path))) as node:
        connection = http.client.HTTPConnection(*node.web, timeout=20)
        connection.putrequest("POST", "/dicomweb/studies")
        connection.putheader("Content-Type", "application/dicom")
        connection.putheader("Content-Length", str(4_000_000))
        connection.endheaders()
        for _ in range(40):
            connection.send(b"\0" * 100_000)
        assert connection.getresponse().status == 401
        connection.close()


def tokens(folder: Path) -> Path:
    issue(folder / "tokens", "anna", ["write"])
    return folder / "tokens"
