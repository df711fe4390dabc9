"""Native codecs in processes of their own: a crash, a hang or a bomb costs one frame.

`isolated()` starts a pool; while it runs, every codestream of this process is decoded, encoded and recompressed there
(`decode_codestream`, `encode` and `kept` of codecs.py look for it), and every ICC profile of an image is read there
(`convert` of icc.py). `isocenter serve` always has one, library users have it by that call. What is not native code
(native frames, deflate) or as little as PackBits stays where it is called.

A worker is a fresh interpreter (isolation_worker.py) with limits on address space and time, and one thread of ours
waits for it at a time. Codestream and samples go through memory that both have mapped; requests and replies are short
messages beside it. Nothing that a worker says is believed: shape and dtype must be those of the Layout, and the memory
is sealed against shrinking, as reading beyond its end would kill us.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from queue import Empty, LifoQueue
from struct import Struct
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import CodecMissing, PixelError
from isocenter.pixels.decoded import Decoded
from isocenter.pixels.layout import Array, Layout, integer_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from isocenter.pixels.encoders import Loss

HEADER = Struct("<I")
LONGEST_MESSAGE = 1 << 16
_SEAL_SHRINK = 0x0002  # F_SEAL_SHRINK; the fcntl module has the number from Python 3.12 on only in some builds
_ADD_SEALS = 1033  # F_ADD_SEALS
_PAGE = 1 << 20
_LARGEST_KEPT = 128 << 20  # bytes of a worker's memory
_TYPES = frozenset(str(integer_dtype(8 * size, signed)) for size in (1, 2, 4, 8) for signed in (False, True))
_PHOTOMETRICS = frozenset({"RGB", "YBR_FULL"})
T = TypeVar("T")
Message = dict[str, object]
_NONSENSE = "the codec answered with nonsense"


# numpy's threads would wait there for nothing. And a heap that is given back after each frame is cleared anew for the
# next one, which costs as much as a fast codec does: a worker keeps up to 256 MiB.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 28),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one frame may take: seconds, and bytes of the worker's address space."""

    seconds: float = 60.0
    memory: int = 6 << 30


DEFAULT_BOUNDS = Bounds()


class Crashed(Exception):
    """A worker is gone in the middle of a frame; the text says how."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One process. `send` and `receive` raise Crashed; after that the worker is dead."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    memory: int
    mapped: mmap.mmap | None = field(default=None)

    @classmethod
    def start(cls, bounds: Bounds) -> _Worker:
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("isocenter-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(memory, _PAGE)
            fcntl.fcntl(memory, _ADD_SEALS, _SEAL_SHRINK)
            arguments = [str(theirs.fileno()), str(memory), str(bounds.memory), str(bounds.seconds)]
            process = subprocess.Popen(
                [sys.executable, "-m", "isocenter.pixels.isolation_worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,  # a Ctrl-C at the terminal is for the server
            )
        except BaseException:
            ours.close()
            os.close(memory)
            raise
        finally:
            theirs.close()
        return cls(process, ours, memory)

    def room(self, size: int) -> mmap.mmap:
        """The memory, of at least `size` bytes; it never shrinks."""
        if self.mapped is None or len(self.mapped) < size:
            if self.size() < size:
                os.ftruncate(self.memory, -(-size // _PAGE) * _PAGE)
            self.mapped = mmap.mmap(self.memory, 0)
        return self.mapped

    def size(self) -> int:
        """Bytes of the memory; either side makes it larger."""
        return os.fstat(self.memory).st_size

    def ask(self, message: bytes, seconds: float) -> bytes:
        try:
            self.channel.settimeout(seconds)
            self.channel.sendall(HEADER.pack(len(message)) + message)
            (size,) = HEADER.unpack(self._receive(HEADER.size))
            if size > LONGEST_MESSAGE:
                raise Crashed(_NONSENSE)
            return self._receive(size)
        except TimeoutError:
            raise Crashed(f"the codec took over {seconds:g} seconds") from None
        except OSError:
            raise Crashed(self._how()) from None

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.channel.recv(size - len(data))
            if not piece:
                raise Crashed(self._how())
            data += piece
        return bytes(data)

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(1)
            return f"the codec crashed (signal {-code})" if code < 0 else "the codec ended unasked"
        return "the codec hung up"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.channel.close()
        os.close(self.memory)


class Pool:
    """At most `processes` workers, started when they are needed and again when one has crashed. Thread-safe."""

    def __init__(self, processes: int, bounds: Bounds) -> None:
        self._bounds = bounds
        self._idle: LifoQueue[_Worker | None] = LifoQueue()  # None: one may be started
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        for _ in range(processes):
            self._idle.put(None)

    def decode(self, data: bytes | memoryview, layout: Layout) -> Decoded:
        """As `codecs.decode_codestream` in this process; PixelError also for a frame on which the decoder crashed."""
        question: Message = {"layout": asdict(layout)}
        return self._done(data, question, lambda reply, worker: _frame(reply, worker, layout))

    def encode(self, transfer_syntax: str, pixels: Array, layout: Layout, loss: Loss | None) -> bytes:
        """As the encoder of `transfer_syntax` in this process; PixelError also where it crashed."""
        samples = np.ascontiguousarray(pixels)
        question: Message = {
            "encode": transfer_syntax,
            "dtype": samples.dtype.str,
            "layout": asdict(layout),
            "loss": None if loss is None else asdict(loss),
        }
        return self._done(samples.reshape(-1).view(np.uint8).data, question, _octets)

    def recompress(self, transfer_syntax: str, source: str, data: bytes) -> bytes:
        """As `same[source]` of the row of `transfer_syntax` in this process; PixelError also where it crashed."""
        return self._done(data, {"recompress": transfer_syntax, "source": source}, _octets)

    def convert(self, rgb: NDArray[np.uint8], profile: bytes, target: bytes) -> NDArray[np.uint8]:
        """As `icc.converted` in this process; PixelError also for a profile on which the library crashed."""
        question: Message = {"profiles": [len(profile), len(target)], "shape": rgb.shape}
        found = self._done(profile + target + rgb.tobytes(), question, _octets)
        if len(found) != rgb.size:
            raise PixelError(_NONSENSE)
        return np.frombuffer(bytearray(found), np.uint8).reshape(rgb.shape)

    def _done(self, data: bytes | memoryview, question: Message, result: Callable[[Message, _Worker], T]) -> T:
        """`result` of what a worker answers to `question` about `data`."""
        worker = self._take()
        try:
            reply = self._ask(worker, data, question)
        except Crashed as error:
            self._lose(worker)
            raise PixelError(str(error)) from None
        except BaseException:
            self._lose(worker)  # whatever it was at, its answer must not be taken for another frame's
            raise
        try:
            _raise_told(reply)
            return result(reply, worker)
        finally:
            self._give_back(worker)

    def _take(self) -> _Worker:
        worker = self._idle.get()
        if self._closed.is_set():
            self._idle.put(None)  # for the next one that waits
            raise PixelError("the codecs have ended")
        if worker is None:
            try:
                worker = _Worker.start(self._bounds)
            except OSError as error:
                self._idle.put(None)
                raise PixelError(f"no process for the codec: {error.strerror}") from None
            with self._lock:
                self._all.add(worker)
            if self._closed.is_set():  # meanwhile
                self._lose(worker)
                raise PixelError("the codecs have ended")
        return worker

    def _ask(self, worker: _Worker, data: bytes | memoryview, question: Message) -> Message:
        memory = worker.room(len(data))
        memory[: len(data)] = data
        message = json.dumps({"size": len(data)} | question).encode()
        try:
            found = json.loads(worker.ask(message, self._bounds.seconds))
        except ValueError:
            raise Crashed(_NONSENSE) from None
        if not isinstance(found, dict):
            raise Crashed(_NONSENSE)
        return found

    def _lose(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.kill()
        self._idle.put(None)

    def _give_back(self, worker: _Worker) -> None:
        """For the next frame; a worker whose memory has become large is not kept, as memory never shrinks."""
        if self._closed.is_set() or worker.size() > _LARGEST_KEPT:
            self._lose(worker)
        else:
            self._idle.put(worker)

    def warm(self) -> None:
        """Start one worker if it has none, and wait until it is ready. Raises PixelError if it cannot be."""
        worker = self._take()
        try:
            worker.ask(b"{}", self._bounds.seconds)
        except Crashed as error:
            self._lose(worker)
            raise PixelError(str(error)) from None
        self._give_back(worker)

    def processes(self) -> list[int]:
        """Process ids of the workers there are."""
        with self._lock:
            return [worker.process.pid for worker in self._all]

    def close(self) -> None:
        """End all workers; frames under way fail, and those that wait for a worker."""
        self._closed.set()
        with self._lock:
            workers, self._all = self._all, set()
        for worker in workers:
            worker.process.kill()
        with contextlib.suppress(Empty):
            while True:
                idle = self._idle.get_nowait()
                if idle is not None:
                    idle.kill()
        self._idle.put(None)


def _raise_told(reply: Message) -> None:
    """The error that the reply tells of, if it does."""
    kind = reply.get("error")
    if kind is not None:
        offset = reply.get("offset")
        raise (CodecMissing if kind == "CodecMissing" else PixelError)(
            str(reply.get("message", "")), offset=offset if isinstance(offset, int) else None
        )


def _octets(reply: Message, worker: _Worker) -> bytes:
    """The codestream that the reply announces."""
    length = reply.get("length")
    if not isinstance(length, int) or not 0 < length <= worker.size():
        raise PixelError(_NONSENSE)
    return bytes(memoryview(worker.room(length))[:length])


def _frame(reply: Message, worker: _Worker, layout: Layout) -> Decoded:
    """The frame that the reply announces."""
    dtype, bits, photometric = str(reply.get("dtype")), reply.get("bits"), str(reply.get("photometric"))
    warnings = reply.get("warnings")
    if (
        dtype not in _TYPES
        or not isinstance(bits, int)
        or not isinstance(warnings, list)
        or not 0 < bits <= 64
        or photometric not in {layout.photometric, *_PHOTOMETRICS}
    ):
        raise PixelError(_NONSENSE)
    count = layout.rows * layout.columns * layout.samples
    size = count * np.dtype(dtype).itemsize
    if worker.size() < size:
        raise PixelError(_NONSENSE)
    pixels = np.frombuffer(worker.room(size), dtype, count).reshape(layout.shape).copy()
    return Decoded(pixels, photometric, bits, tuple(str(warning) for warning in warnings))


_pools: list[Pool] = []


def current() -> Pool | None:
    """The pool that decodes for this process, None where decoders run in place."""
    return _pools[-1] if _pools else None


@contextlib.contextmanager
def isolated(processes: int = 0, bounds: Bounds = DEFAULT_BOUNDS) -> Iterator[Pool]:
    """Decode codestreams of this process in others while the context lasts; 0 processes: one a core, at most four."""
    pool = Pool(processes or min(4, os.cpu_count() or 1), bounds)
    _pools.append(pool)
    try:
        yield pool
    finally:
        _pools.remove(pool)
        pool.close()


def warm() -> None:
    """Start a worker of the current pool, so that its first frame does not wait for an interpreter; blocking."""
    pool = current()
    if pool is not None:
        with contextlib.suppress(PixelError):  # it is tried again, and told, when a frame needs it
            pool.warm()
