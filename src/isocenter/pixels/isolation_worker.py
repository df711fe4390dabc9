"""The process in which codecs run for another one (isolation.py): python -m isocenter.pixels.isolation_worker

Arguments: the number of a socket, of the memory, the bytes of address space and the seconds a frame may take.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import sys
from typing import Any

import numpy as np

from isocenter.errors import IsocenterError, PixelError
from isocenter.pixels import codecs
from isocenter.pixels.decoded import Decoded
from isocenter.pixels.encoders import Loss
from isocenter.pixels.isolation import HEADER, LONGEST_MESSAGE
from isocenter.pixels.layout import Layout

_GRACE = 5.0  # seconds: whoever waits for us gives up first


def main(channel_number: int, memory: int, address_space: int, seconds: float) -> None:
    """Do what is asked for until the other side is gone."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would be full of somebody's pixels
    shared = _Shared(memory)
    with socket.socket(fileno=channel_number) as channel, channel.makefile("rb") as asked:
        while head := asked.read(HEADER.size):
            (size,) = HEADER.unpack(head)
            # Nobody may be left to end a frame that never ends. The signal's default kills us in native code, too.
            signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
            message = json.dumps(_answer(json.loads(asked.read(size)), shared)).encode()[:LONGEST_MESSAGE]
            signal.setitimer(signal.ITIMER_REAL, 0)
            channel.sendall(HEADER.pack(len(message)) + message)


class _Shared:
    """The memory that both have mapped; either makes it larger when it needs to."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._mapped = mmap.mmap(number, 0)

    def room(self, size: int) -> mmap.mmap:
        if len(self._mapped) < size:
            if os.fstat(self._number).st_size < size:
                os.ftruncate(self._number, size)
            self._mapped = mmap.mmap(self._number, 0)
        return self._mapped


def _answer(question: dict[str, Any], shared: _Shared) -> dict[str, object]:
    if not question:
        return {}  # asked only whether we are here
    size = question["size"]
    data = memoryview(shared.room(size))[:size]
    try:
        if "profiles" in question:
            return _codestream(_converted(data, question["profiles"], question["shape"]), shared)
        if "layout" not in question:
            return _codestream(codecs.kept(question["recompress"], question["source"], bytes(data)), shared)
        layout = Layout(**question["layout"])
        if "encode" in question:
            loss = None if question["loss"] is None else Loss(**question["loss"])
            pixels = np.frombuffer(data, question["dtype"]).reshape(layout.shape)
            return _codestream(codecs.encode(question["encode"], pixels, layout, loss), shared)
        return _frame(codecs.decode_codestream(data, layout), shared)
    except IsocenterError as error:
        return {
            "error": type(error).__name__,
            "message": error.message,
            "offset": error.offset if isinstance(error, PixelError) else None,
        }
    except MemoryError:
        return {"error": "PixelError", "message": "the frame needs more memory than a decoder may have"}


def _converted(data: memoryview, profiles: list[int], shape: list[int]) -> bytes:
    from isocenter.pixels.icc import converted  # few frames need it

    profile, target = profiles
    rgb = np.frombuffer(data, np.uint8, offset=profile + target).reshape(shape)
    return converted(rgb, bytes(data[:profile]), bytes(data[profile : profile + target])).tobytes()


def _codestream(data: bytes, shared: _Shared) -> dict[str, object]:
    shared.room(len(data))[: len(data)] = data
    return {"length": len(data)}


def _frame(decoded: Decoded, shared: _Shared) -> dict[str, object]:
    pixels = decoded.pixels
    np.frombuffer(shared.room(pixels.nbytes), np.uint8, pixels.nbytes)[:] = pixels.reshape(-1).view(np.uint8)
    return {
        "dtype": str(pixels.dtype),
        "bits": decoded.bits,
        "photometric": decoded.photometric,
        "warnings": [warning[:500] for warning in decoded.warnings[:10]],
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
