"""Four objects of one gigabyte at a time: the server's memory does not grow with what it receives."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import started
from isocenter.services.storage import store_request
from isocenter.ul import events
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


def peak(pid: int) -> int:
    """The most resident memory process `pid` has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


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
