"""A reverse proxy that has a server below a path of its own, https://host/pacs/ -> us, one request a connection."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def prefixing(
    port: int, prefix: str, *, strip: bool, tell: bool, context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Everything below `prefix` of the URL that is yielded is the server's at `port`, and anything else is nobody's.
    `strip`: the prefix is taken off the path. `tell`: X-Forwarded-Prefix says it. `context`: it speaks TLS."""

    connections: set[socket.socket] = set()

    class Handler(socketserver.BaseRequestHandler):
        def setup(self) -> None:
            self.request.settimeout(60)
            connections.add(self.request)

        def finish(self) -> None:
            connections.discard(self.request)

        def handle(self) -> None:
            received = b""
            while b"\r\n\r\n" not in received:
                piece = self._received()
                if not piece:
                    return
                received += piece
            line, _, rest = received.partition(b"\r\n")
            method, target, version = line.split(b" ")
            if not target.startswith(f"{prefix}/".encode()) and (strip or target != prefix.encode()):
                self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            head, _, body = rest.partition(b"\r\n\r\n")
            fields = head.split(b"\r\n")
            if strip:
                target = target[len(prefix) :]
            if tell:
                fields.append(f"X-Forwarded-Prefix: {prefix}".encode())
            lengths = [int(one.split(b":")[1]) for one in fields if one.lower().startswith(b"content-length:")]
            upgrade = any(one.lower().startswith(b"upgrade:") for one in fields)
            if not upgrade:
                fields = [one for one in fields if not one.lower().startswith(b"connection:")] + [b"Connection: close"]
            with socket.create_connection(("127.0.0.1", port), timeout=60) as there:
                request = b"\r\n".join([b" ".join((method, target, version)), *fields])
                there.sendall(request + b"\r\n\r\n" + body)
                left = sum(lengths) - len(body)
                while left > 0 and (piece := self.request.recv(min(left, 65536))):
                    there.sendall(piece)
                    left -= len(piece)
                if upgrade:
                    threading.Thread(target=_pass_on, args=(self.request, there)).start()
                _pass_on(there, self.request)
                with contextlib.suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)  # which ends the other direction, too

        def _received(self) -> bytes:
            """What comes, b"" from one that is gone: browsers open connections that they do not use."""
            with contextlib.suppress(OSError):
                piece: bytes = self.request.recv(65536)
                return piece
            return b""

    class Server(socketserver.ThreadingTCPServer):
        block_on_close = True  # no handler is left behind

        def get_request(self) -> tuple[socket.socket, Any]:
            one, address = super().get_request()
            if context is not None:
                one = context.wrap_socket(one, server_side=True, do_handshake_on_connect=False)
            return one, address

    with Server(("127.0.0.1", 0), Handler) as server:
        running = threading.Thread(target=server.serve_forever, args=(0.05,))
        running.start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}{prefix}"
        finally:
            server.shutdown()
            running.join()
            for one in list(connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """All that comes, until either side has gone."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
