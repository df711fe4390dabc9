"""What goes to the kernel without the transport in between: bytes, and files that nobody reads on the way."""

from __future__ import annotations

import errno
import os
import socket

from isocenter.ul.connection import Buffer, FilePart, Payload

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
    if isinstance(first, FilePart):
        sent = os.sendfile(descriptor, first.descriptor, first.offset, first.length)
    elif len(out) == 1:
        sent = os.write(descriptor, first)
    else:
        sent = _write_buffers(descriptor, out)
        while out and sent >= len(out[0]):
            sent -= len(out.pop(0))
        if not sent:
            return True
        first = out[0]
    if sent == len(first):
        del out[0]
        return True
    out[0] = first.part(sent, len(first)) if isinstance(first, FilePart) else memoryview(first)[sent:]
    return False


def _write_buffers(descriptor: int, out: list[Payload]) -> int:
    """What stands before the first part of a file; a header in one segment with what follows it, as the peer is not to
    be woken for it alone."""
    buffers: list[Buffer] = []
    for one in out[:_IOV_MAX]:
        if isinstance(one, FilePart):
            break
        buffers.append(one)
    else:
        return os.writev(descriptor, buffers)
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        return borrowed.sendmsg(buffers, [], socket.MSG_MORE)
    finally:
        borrowed.detach()


def read(part: FilePart) -> bytes:
    """The bytes of a part of a file that the socket has no room for. Raises OSError, also where they are gone."""
    raw = os.pread(part.descriptor, part.length, part.offset)
    if len(raw) != part.length:
        raise OSError(errno.EIO, "a file is shorter than it was")
    return raw
