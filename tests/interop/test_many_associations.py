"""Ten thousand associations that end in every way, and what is left of them in `isocenter serve`: nothing.

Peers are plain sockets that send bytes made beforehand, fifty at a time, so that the server is what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import isocenter
from command import started
from isocenter.services.storage import store_request
from isocenter.services.verification import echo_request
from isocenter.ul.connection import Connection
from isocenter.wire import pdu
from raw_scu import CT, ECHO, EXPLICIT

pytestmark = pytest.mark.interop

ASSOCIATIONS = 10_000
AT_A_TIME = 50
GROWTH = 5 << 20  # bytes of resident memory

RQ = pdu.encode_associate_rq(
    pdu.AssociateRQ(
        "ISOCENTER",
        "MANY",
        (pdu.ProposedContext(1, ECHO, (EXPLICIT,)), pdu.ProposedContext(3, CT, (EXPLICIT,))),
        pdu.UserInformation(max_length=16384),
    )
)


def message(context: int, command: dict[str, object], data: bytes | None = None) -> bytes:
    """A message as P-DATA-TF PDUs; `data` is a first part of a data set, of which more would follow."""
    connection = Connection(requestor=True, now=0)
    connection.associate(pdu.AssociateRQ("A", "B", (), pdu.UserInformation()))
    connection.transport_connected(0)
    accepted = (pdu.ContextResult(context, 0, EXPLICIT),)
    connection.receive_data(pdu.encode_associate_ac(pdu.AssociateAC("A", "B", accepted, pdu.UserInformation())), 0)
    connection.next_event()
    connection.data_to_send()
    connection.send_message(context, command)
    if data is not None:
        connection.send_data(context, data, last=False)
    return b"".join(connection.data_to_send())


ECHO_RQ = message(1, dict(echo_request(1)))
HALF_AN_OBJECT = message(3, {**store_request(1, CT, "1.2.3"), "CommandDataSetType": 1}, bytes(4096))
ABORT = pdu.encode_abort(pdu.Abort(0, 0))


def receive(peers: list[socket.socket], kind: int) -> None:
    """One whole PDU of `kind` from each."""
    for peer in peers:
        got = b""
        while len(got) < 6 or len(got) < 6 + pdu.PDU_HEADER.unpack_from(got)[1]:
            part = peer.recv(65536)
            assert part, "the server closed the connection"
            got += part
        assert got[0] == kind


def send(peers: list[socket.socket], raw: bytes) -> None:
    for peer in peers:
        peer.sendall(raw)


def associated(peers: list[socket.socket]) -> None:
    send(peers, RQ)
    receive(peers, pdu.A_ASSOCIATE_AC)


def echo_and_release(peers: list[socket.socket]) -> None:
    associated(peers)
    send(peers, ECHO_RQ)
    receive(peers, pdu.P_DATA_TF)
    send(peers, pdu.A_RELEASE_RQ_PDU)
    receive(peers, pdu.A_RELEASE_RP)


def abort(peers: list[socket.socket]) -> None:
    associated(peers)
    send(peers, ABORT)


def vanish(peers: list[socket.socket]) -> None:
    associated(peers)
    send(peers, ECHO_RQ)  # whose answer nobody reads


def reset(peers: list[socket.socket]) -> None:
    associated(peers)
    for peer in peers:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_a_request(peers: list[socket.socket]) -> None:
    send(peers, RQ[: len(RQ) // 2])


def half_an_object(peers: list[socket.socket]) -> None:
    associated(peers)
    send(peers, HALF_AN_OBJECT)


def nonsense(peers: list[socket.socket]) -> None:
    associated(peers)
    send(peers, b"\x77" * 64)
    receive(peers, pdu.A_ABORT)


def nothing(peers: list[socket.socket]) -> None:
    """Connect, and go."""


WAYS: list[Callable[[list[socket.socket]], None]] = [
    echo_and_release,
    abort,
    echo_and_release,
    vanish,
    reset,
    half_a_request,
    half_an_object,
    nonsense,
    nothing,
]


def run(port: int, count: int) -> None:
    for number in range(count // AT_A_TIME):
        peers = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(AT_A_TIME)]
        try:
            WAYS[number % len(WAYS)](peers)
        finally:
            for peer in peers:
                peer.close()


def targets(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(link)


def process(pid: int) -> dict[str, int]:
    """Resident bytes, threads and descriptors, apart from the empty files that the store keeps ready."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "resident": int(status["VmRSS"].split()[0]) * 1024,
        "threads": int(status["Threads"]),
        "descriptors": sum("/objects/" not in target for target in targets(pid)),
    }


def at_rest(pid: int, port: int) -> dict[str, int]:
    """The same, when the server has noticed all ends: it answers an echo, and for a second nothing changes."""
    deadline = time.monotonic() + 60
    seen: list[int] = []
    while len(seen) < 6 or len(set(seen[-6:])) > 1:
        assert time.monotonic() < deadline, f"descriptors: {seen}"
        with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{port}") as peer:
            peer.echo()
        time.sleep(0.2)
        seen.append(process(pid)["descriptors"])
    return process(pid)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setenv("ISOCENTER_LOG_LEVEL", "error")  # nobody reads its log here
    options = ("--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json")
    with started("serve", "-d", tmp_path / "data", *options) as running:
        assert running.stdout is not None
        yield running.pid, int(json.loads(running.stdout.readline())["dimse"].rpartition(":")[2])


def test_nothing_is_left_of_ten_thousand_associations(server: tuple[int, int]) -> None:
    pid, port = server
    run(port, 2 * AT_A_TIME * len(WAYS))  # what is made once is there: buffers, threads, spare files
    before = at_rest(pid, port)
    run(port, ASSOCIATIONS)
    after = at_rest(pid, port)
    assert after["descriptors"] == before["descriptors"]
    assert after["threads"] == before["threads"]
    assert after["resident"] - before["resident"] < GROWTH
    print(f"resident {before['resident'] >> 10} KiB, then {after['resident'] >> 10} KiB")
