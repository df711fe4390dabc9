"""The web skin behind its real HTTP server: broken connections, announced sizes, memory."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file

import ours
from skins.web_harness import BOUNDARY, copies, multipart

TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    with ours.node(tmp_path / "data", archive_minimum_free=0, web_max_upload=4 * 1024 * 1024) as node:
        yield node.web


def found(address: tuple[str, int]) -> int:
    return len(httpx.get(f"http://{address[0]}:{address[1]}/dicomweb/instances").json())


def alone(address: tuple[str, int]) -> bool:
    """Whether no request is being answered but the one that asks."""
    text = httpx.get(f"http://{address[0]}:{address[1]}/metrics", timeout=60).text
    return "isocenter_http_requests_open 1.0" in text


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_client_that_goes_away_within_a_part(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    files = copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), 3)
    body = multipart(*files)
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + body[: len(body) - 20_000])
        until(lambda: found(address) == 2)
    until(lambda: alone(address))
    assert found(address) == 2
    assert not [record for record in caplog.records if record.name == "isocenter.web"]


def test_too_large_is_said_before_the_body_is_sent(address: tuple[str, int]) -> None:
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.putrequest("POST", "/dicomweb/studies")
    connection.putheader("Content-Type", TYPE)
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert found(address) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /dicomweb/studies HTTP/1.1\r\n\r\n",
        b"GET /dicomweb/studies HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /dicomweb/studies HTTP/1.0\r\n\r\n",
        b"GET /dicomweb/studies\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /dicomweb/studies HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x01\x00\x00\x00\x00\xcd",  # an A-ASSOCIATE-RQ for the other port
    ],
)
def test_what_is_no_request_gets_no_answer_but_an_error(address: tuple[str, int], raw: bytes) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer == b"" or answer.split(b" ", 2)[1] == b"400"
    assert found(address) == 0
