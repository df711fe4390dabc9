"""A reverse proxy that has a server below a path of its own, https://host/pacs/ -> us, one request a connection."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def prefixing(port: int, prefix: str, *, strip: bool, tell: bool) -> Iterator[str]:
    """Everything below `prefix` of the URL that is yielded is the server's at `port`, and anything else is nobody's.
    `strip`: the prefix is taken off the path. `tell`: X-Forwarded-Prefix says it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(60)
            received = b""
            while b"\r\n\r\n" not in received:
                piece = self.request.recv(65536)
                if not piece:
                    return
                received += piece
            line, _, rest = received.partition(b"\r\n")
            method, target, version = line.split(b" ")
            if target != prefix.encode() and not target.startswith(f"{prefix}/".encode()):
                self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            head, _, body = rest.partition(b"\r\n\r\n")
            fields = head.split(b"\r\n")
            if strip:
                target = target[len(prefix) :] or b"/"
            if tell:
                fields.append(f"X-Forwarded-Prefix: {prefix}".encode())
            if b"\r\nupgrade:" not in received.lower():
                fields = [one for one in fields if not one.lower().startswith(b"connection:")] + [b"Connection: close"]
            with socket.create_connection(("127.0.0.1", port), timeout=60) as there:
                request = b"\r\n".join([b" ".join((method, target, version)), *fields])
                there.sendall(request + b"\r\n\r\n" + body)
                onward = threading.Thread(target=_pass_on, args=(self.request, there))
                onward.start()
                _pass_on(there, self.request)
                with contextlib.suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)  # which ends the other direction, too
                onward.join()

    class Server(socketserver.ThreadingTCPServer):
        block_on_close = True  # no thread is left behind

    with Server(("127.0.0.1", 0), Handler) as server:
        running = threading.Thread(target=server.serve_forever, args=(0.05,))
        running.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        finally:
            server.shutdown()
            running.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """All that comes, until either side has gone."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
