"""A web server that has nothing to do: the most any could reach with this asker on this machine.

It looks at no request. Each is answered with the same files so many times, a head before each as multipart has it, by
sendfile(2) out of the page cache. Plain blocking sockets, no code of Isocenter's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from answering import answering

_HEAD = b"\r\n--%032d\r\nContent-Type: application/dicom\r\nContent-Location: /%0150d\r\n\r\n" % (0, 0)


def _serve(connection: socket.socket, descriptors: list[int], size: int) -> None:
    """One connection to its end."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(descriptors) * (len(_HEAD) + size))
    received = b""
    while piece := connection.recv(65536):
        received += piece
        if not received.endswith(b"\r\n\r\n"):
            continue
        received = b""
        connection.sendall(answer)
        for descriptor in descriptors:
            connection.sendall(_HEAD, socket.MSG_MORE)
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), descriptor, sent, size - sent)


@contextlib.contextmanager
def null_web(port: int, size: int, count: int, folder: Path) -> Iterator[None]:
    """Listens in a process of its own: `count` files of `size` bytes for each request, made in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as files, contextlib.ExitStack() as stack:
        descriptors = []
        for number in range(count):
            path = Path(files) / str(number)
            path.write_bytes(os.urandom(size))
            descriptors.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, descriptors[-1])
        with answering(port, lambda connection: _serve(connection, descriptors, size)):
            yield
