"""A Storage SCP that keeps nothing: the most any receiver could reach with the same sender on this machine.

Reads every byte, looks at nothing but PDU headers, and answers each data set with success. One process per
association. Prints nothing; runs until it is ended.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys

MAXIMUM_LENGTH = 1 << 20
# C-STORE-RSP, Message ID Being Responded To 1, no data set, status 0000 (PS3.7 section 9.3.1.2)
_FIELDS = b"".join(
    struct.pack("<HHIH", 0, element, 2, value)
    for element, value in ((0x0100, 0x8001), (0x0120, 1), (0x0800, 0x0101), (0x0900, 0))
)
_COMMAND = struct.pack("<HHII", 0, 0, 4, len(_FIELDS)) + _FIELDS
RESPONSE = struct.pack(">BxIIBB", 0x04, len(_COMMAND) + 6, len(_COMMAND) + 2, 1, 3) + _COMMAND
RELEASE_RP = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def associate_ac(request: bytes) -> bytes:
    """Accept presentation context 1 with its first transfer syntax."""
    at = request.index(b"\x40\x00")
    (length,) = struct.unpack_from(">H", request, at + 2)
    syntax = request[at : at + 4 + length]
    context = struct.pack(">BxHBxBx", 0x21, 4 + len(syntax), 1, 0) + syntax
    user = struct.pack(">BxHI", 0x51, 4, MAXIMUM_LENGTH)
    name = b"1.2.840.10008.3.1.1.1"
    body = request[6:74] + struct.pack(">BxH", 0x10, len(name)) + name + context
    body += struct.pack(">BxH", 0x50, len(user)) + user
    return struct.pack(">BxI", 0x02, len(body)) + body


def serve(connection: socket.socket) -> None:
    """One association to its end."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb", buffering=MAXIMUM_LENGTH)
    room = memoryview(bytearray(MAXIMUM_LENGTH))
    while header := stream.read(6):
        kind, length = struct.unpack(">BxI", header)
        if kind == 0x04:
            stream.readinto(room[:length])
            if room[5] & 3 == 2:
                connection.sendall(RESPONSE)
        elif kind == 0x01:
            connection.sendall(associate_ac(header + stream.read(length)))
        else:
            connection.sendall(RELEASE_RP)
            return


def main() -> None:
    """Listen on the loopback port of the command line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                serve(connection)
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    main()
