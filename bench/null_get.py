"""A C-GET SCP that has nothing to do: the most any server could reach with this requestor on this machine.

It looks at no request and opens no file: each C-GET is answered with the same bytes so many times, each with the
command set it needs, and the response is awaited as the standard wants. Plain blocking sockets, no code of Isocenter's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import asker
import objects
from answering import answering
from sender import LARGEST_PDU, p_data, store_rq

_FINAL = {0x0002: asker.STUDY_GET, 0x0100: 0x8010, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0}


def _in_context(pdus: bytes, context: int) -> bytes:
    """One P-DATA-TF PDU with its presentation context changed."""
    return pdus[:10] + bytes([context]) + pdus[11:]


def _serve(connection: socket.socket, template: objects.Template, count: int) -> None:
    """One association to its end: C-GET in presentation context 1, objects in 3."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = asker.Reader(connection)
    _, content = reader.pdu()
    connection.sendall(asker.accept(bytes(content)))
    data_set = _in_context(p_data(template.data_set, 0, LARGEST_PDU), 3)
    command = _in_context(p_data(store_rq(objects.CT_IMAGE_STORAGE, template.uid), 1, LARGEST_PDU), 3)
    final = p_data(asker.command_set({**_FINAL, 0x1021: count}), 1, LARGEST_PDU)
    while reader.pdu()[0] == 0x04:
        reader.pdu()  # the identifier
        for _ in range(count):
            _send(connection, [command, data_set])
            reader.pdu()
        connection.sendall(final)
    connection.sendall(asker.RELEASE_RP)


def _send(connection: socket.socket, parts: list[bytes]) -> None:
    sent = connection.sendmsg(parts)
    if sent < sum(map(len, parts)):
        connection.sendall(b"".join(parts)[sent:])


@contextmanager
def null_scp(port: int, size: int, count: int) -> Iterator[None]:
    """Listens in a process of its own: `count` objects of about `size` bytes for each C-GET."""
    template = objects.template(size, 0)
    if len(template.data_set) + 6 > LARGEST_PDU:
        raise ValueError("one PDU for each object")
    with answering(port, lambda connection: _serve(connection, template, count)):
        yield
