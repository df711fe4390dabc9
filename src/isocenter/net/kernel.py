"""What goes to the kernel without the transport in between: bytes, and files that nobody reads on the way."""

from __future__ import annotations

import errno
import os
import socket

from isocenter.ul.connection import Buffer, FilePart, Payload

_PAGE = os.sysconf("SC_PAGE_SIZE")
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)


def write_at_once(descriptor: int, out: list[Payload]) -> None:
    """Write to a socket that does not block what it takes now, and take that out of `out`. That the connection is gone
    is for the transport to find out."""
    try:
        while out and _write_some(descriptor, out):
            """There may be room for more."""
    except OSError:
        return


def _write_some(descriptor: int, out: list[Payload]) -> bool:
    """One call's worth; whether the socket took it all."""
    first = out[0]
    if isinstance(first, FilePart) and not _head(first):
        offered, sent = first.length, os.sendfile(descriptor, first.descriptor, first.offset, first.length)
    elif len(out) == 1 and not isinstance(first, FilePart):
        offered, sent = len(first), os.write(descriptor, first)
    else:
        offered, sent = _write_buffers(descriptor, out)
    left = sent
    while out and left >= len(out[0]):
        left -= len(out.pop(0))
    if left:
        first = out[0]
        out[0] = first.part(left, len(first)) if isinstance(first, FilePart) else memoryview(first)[left:]
    return sent == offered


def _write_buffers(descriptor: int, out: list[Payload]) -> tuple[int, int]:
    """What stands before the first part of a file, and the beginning of that: bytes that there were, and that were
    taken. A header goes in one segment with what follows it, as the peer is not to be woken for it alone."""
    buffers: list[Buffer] = []
    for one in out[:_IOV_MAX]:
        if isinstance(one, FilePart):
            if head := _head(one):
                buffers.append(read(one.part(0, head)))
            break
        buffers.append(one)
    else:
        return sum(map(len, buffers)), os.writev(descriptor, buffers)
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        return sum(map(len, buffers)), borrowed.sendmsg(buffers, [], socket.MSG_MORE)
    finally:
        borrowed.detach()


def _head(part: FilePart) -> int:
    """Bytes before the first page that begins in a part of a file. They are copied: sendfile takes whole pages in two
    thirds of the time it needs for as many that lie across those of its packets (512 KiB: 70 us instead of 105)."""
    head = -part.offset % _PAGE
    return head if head < part.length else 0


def read(part: FilePart) -> bytes:
    """The bytes of a part of a file that the socket has no room for. Raises OSError, also where they are gone."""
    raw = os.pread(part.descriptor, part.length, part.offset)
    if len(raw) != part.length:
        raise OSError(errno.EIO, "a file is shorter than it was")
    return raw
