"""Four objects of one gigabyte at a time, and fifty clients of a study: the server's memory does not grow with what it
receives, nor with what it sends to clients that do not take it."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import peers
from certificates import Certificates
from command import started
from isocenter.services.storage import store_request
from isocenter.ul import events
from measured import peak
from raw_scu import CT, raw_scu

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GIGABYTE = 1 << 30
CHUNK = 1 << 20
LIMIT = 300 * 1000 * 1000


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """One element in explicit VR little endian with a short length."""
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


def data_set(uid: str) -> Iterator[bytes]:
    """A data set with a gigabyte of Pixel Data, in pieces."""
    yield (
        element(0x0008, 0x0016, b"UI", CT.encode())
        + element(0x0008, 0x0018, b"UI", uid.encode())
        + element(0x0010, 0x0020, b"LO", b"LARGE")
        + element(0x0020, 0x000D, b"UI", b"1.2.3")
        + element(0x0020, 0x000E, b"UI", b"1.2.3.4")
        + b"\xe0\x7f\x10\x00OW\0\0"
        + GIGABYTE.to_bytes(4, "little")
    )
    block = bytes(range(256)) * (CHUNK // 256)
    for _ in range(GIGABYTE // CHUNK):
        yield block


def test_four_gigabyte_objects_at_once(tmp_path: Path) -> None:
    statuses: list[object] = []

    def send(port: int, uid: str) -> None:
        with raw_scu(port) as scu:
            scu.socket.settimeout(300)
            scu.associate()
            scu.connection.peer_max_pdu = CHUNK
            scu.connection.send_message(1, store_request(1, CT, uid))
            for chunk in data_set(uid):
                scu.connection.send_data(1, chunk, last=False)
                scu.flush()
            scu.connection.send_data(1, b"", last=True)
            scu.flush()
            event = scu.event()
            assert isinstance(event, events.MessageStarted)
            statuses.append(event.command["Status"])

    options = ("--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json")
    with started("serve", "--data", tmp_path / "data", *options) as server:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["dimse"].rpartition(":")[2])
        threads = [threading.Thread(target=send, args=(port, f"1.2.3.4.{n}")) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [0, 0, 0, 0]
        assert peak(server.pid) < LIMIT
    shutil.rmtree(tmp_path / "data")


# --- fifty clients

LARGE = 64 * CHUNK
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def large_file(uid: str) -> bytes:
    """A Part 10 file with 64 MiB of Pixel Data."""
    meta = element(0x0002, 0x0002, b"UI", CT.encode()) + element(0x0002, 0x0003, b"UI", uid.encode())
    meta += element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1")
    length = b"\x02\0\0\0UL\4\0" + len(meta).to_bytes(4, "little")
    head = next(data_set(uid))[:-4] + LARGE.to_bytes(4, "little")
    return bytes(128) + b"DICM" + length + meta + head + bytes(range(256)) * (LARGE // 256)


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_fifty_clients_that_stop_reading(tmp_path: Path, secured: bool) -> None:
    """Each has begun a study of 64 MiB and takes no more of it; five go on to the end and have every byte."""
    options: tuple[object, ...] = ("--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json")
    context: ssl.SSLContext | None = None
    if secured:
        peers.require("openssl")
        made = Certificates(tmp_path)
        config = tmp_path / "isocenter.toml"
        files = f'certificate = "{made.server.certificate}"\nkey = "{made.server.key}"\nverify_peer = "off"\n'
        config.write_text(f"[web]\ntls = true\n[tls]\n{files}")
        options += ("--config", config)
        context = ssl.create_default_context(cafile=made.ca)
    file = large_file("1.2.3.4.5")
    with started("serve", "--data", tmp_path / "data", *options) as server:
        assert server.stdout is not None
        url = httpx.URL(json.loads(server.stdout.readline())["dicomweb"])
        stored = httpx.post(
            f"{url}/studies", content=file, headers={"content-type": "application/dicom"}, verify=context or True,
            timeout=60,
        )  # fmt: skip
        assert stored.status_code == 200, stored.text
        clients = []
        for _ in range(50):
            one = socket.create_connection((url.host, url.port or 0), timeout=60)
            if context is not None:
                one = context.wrap_socket(one, server_hostname="localhost")
            one.sendall(
                f"GET {url.path}/studies/1.2.3 HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT}\r\n\r\n".encode()
            )
            clients.append(one)
        begun = [one.recv(4096) for one in clients]
        assert all(first.startswith(b"HTTP/1.1 200") for first in begun)
        # Whoever asks now is answered after the server has sent all of them what their sockets take.
        for _ in range(3):
            assert httpx.get(f"{url}/studies", verify=context or True, timeout=60).status_code == 200
        for one, first in list(zip(clients, begun, strict=True))[::10]:
            received = bytearray(first)
            while len(received) < LARGE or not received.endswith(b"--\r\n"):
                piece = one.recv(CHUNK)
                assert piece, "the answer is cut short"
                received += piece
            at = received.index(b"\r\n\r\n", received.index(b"\r\n\r\n") + 4) + 4
            assert hashlib.sha256(received[at : at + len(file)]).digest() == hashlib.sha256(file).digest()
        assert peak(server.pid) < LIMIT
        for one in clients:
            one.close()
