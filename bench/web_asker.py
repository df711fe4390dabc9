"""An HTTP/1.1 client that costs almost nothing, so that a benchmark measures the server; of its own code.

Bodies are read to their end and thrown away; with `discard` the kernel throws them away where they lie (tcp(7),
MSG_TRUNC), which is the same for every server.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence

_BUFFER = 1 << 20
_ENOUGH = 128 << 10  # bytes that are worth waking up for in the middle of a large body


class Asker:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._view = memoryview(bytearray(_BUFFER))
        self._have = b""

    def get(self, path: str, accept: str, *, discard: bool = False) -> int:
        """The bytes of the body. RuntimeError for anything but 200."""
        return self._ask(_request(path, accept), discard)

    def post(self, path: str, content_type: str, accept: str, body: bytes) -> None:
        """The same with a body of our own."""
        fields = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        self._ask(_request(path, accept, "POST", fields) + body, discard=False)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _ask(self, request: bytes, discard: bool) -> int:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=600)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        head = self._until(b"\r\n\r\n")
        status, fields = _head(head)
        if status == b"100":
            status, fields = _head(self._until(b"\r\n\r\n"))
        if status != b"200":
            raise RuntimeError(f"{request[:100]!r}: HTTP {status.decode()}")
        ends = b"close" in fields.get(b"connection", b"").lower()
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            self._skip(size, discard)
        elif fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            size = 0
            while chunk := int(self._until(b"\r\n").split(b";")[0], 16):
                self._skip(chunk + 2, discard)
                size += chunk
            self._until(b"\r\n")
        else:
            size, ends = len(self._have), True
            self._have = b""
            while got := self._socket.recv_into(self._view, 0, socket.MSG_TRUNC if discard else 0):
                size += got
        if ends:
            self.close()
        return size

    def _until(self, end: bytes) -> bytes:
        assert self._socket is not None
        while end not in self._have:
            got = self._socket.recv(65536)
            if not got:
                raise RuntimeError("the server closed the connection")
            self._have += got
        found, _, self._have = self._have.partition(end)
        return found

    def _skip(self, size: int, discard: bool) -> None:
        assert self._socket is not None
        taken = min(size, len(self._have))
        self._have, left = self._have[taken:], size - taken
        patient = left >= _ENOUGH
        if patient:
            self._wake_for(_ENOUGH)
        while left:
            if patient and left < 2 * _ENOUGH:
                patient = False
                self._wake_for(1)
            got = self._socket.recv_into(self._view[: min(left, _BUFFER)], 0, socket.MSG_TRUNC if discard else 0)
            if not got:
                raise RuntimeError("the answer is cut short")
            left -= got

    def _wake_for(self, size: int) -> None:
        """To be woken for each packet would cost the server more than us: it is its processor that rings for ours."""
        assert self._socket is not None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


def crowd(port: int, path: str, accept: str, clients: int) -> tuple[float, int]:
    """As many at once ask for the same and throw it away: seconds until the last has all, and the bytes of all."""
    request = _request(path, accept, more="Connection: close\r\n")
    selector = selectors.DefaultSelector()
    begun = time.perf_counter()
    for _ in range(clients):
        one = socket.create_connection(("127.0.0.1", port), timeout=600)
        one.sendall(request)
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ, bytearray())
    view, size = memoryview(bytearray(_BUFFER)), 0
    while selector.get_map():
        for key, _ in selector.select():
            one, head = key.fileobj, key.data
            assert isinstance(one, socket.socket)
            if len(head) < 12:
                head += one.recv(12 - len(head))
                if len(head) == 12 and not head.endswith(b" 200"):
                    raise RuntimeError(f"{path}: {bytes(head)!r}")
                continue
            got = one.recv_into(view, 0, socket.MSG_TRUNC)
            size += got
            if not got:
                selector.unregister(one)
                one.close()
    return time.perf_counter() - begun, size


def multipart(files: Sequence[bytes], boundary: str) -> bytes:
    """The body of a Store request."""
    parts = [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n" for one in files]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _request(path: str, accept: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n{more}\r\n".encode()


def _head(text: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    first, *lines = text.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    return first.split(b" ")[1], {name.lower(): value.strip() for name, _, value in fields}
