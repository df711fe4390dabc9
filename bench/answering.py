"""A server of the benchmarks' own in a process of its own: what null_get.py and null_web.py stand on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def answering(port: int, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server in a process of its own that has `serve` take each connection, one after the other."""
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        pid = os.fork()
        if pid == 0:
            while True:
                connection, _ = listener.accept()
                with connection:
                    serve(connection)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
