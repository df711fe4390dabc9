"""What goes to the kernel without the transport in between: bytes, and files that nobody reads on the way."""

from __future__ import annotations

import errno
import os
import socket

from isocenter.ul.connection import Buffer, FilePart, Payload

_PAGE = os.sysconf("SC_PAGE_SIZE")
_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)


class Outlet:
    """The socket of a transport, which does not block, to be written to beside it."""

    __slots__ = ("_borrowed", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._borrowed: _Borrowed | None = None

    def write(self, out: list[Payload]) -> None:
        """Write what the socket takes now, and take that out of `out`. That the connection is gone is for the transport
        to find out."""
        try:
            while out:
                first = out[0]
                if isinstance(first, FilePart):
                    if first.offset % _PAGE and copied(first):
                        if not self._write_buffers(out):
                            return
                        continue
                    offered = first.length
                    sent = os.sendfile(self._descriptor, first.descriptor, first.offset, offered)
                elif len(out) == 1:
                    offered, sent = len(first), os.write(self._descriptor, first)
                elif len(out) == 2 and isinstance(part := out[1], FilePart) and not part.offset % _PAGE:
                    offered, sent = len(first), (self._borrowed or self._borrow()).send(first, socket.MSG_MORE)
                elif self._write_buffers(out):
                    continue
                else:
                    return
                if sent != offered:
                    _drop(out, sent)
                    return
                del out[0]
        except OSError:
            return

    def _write_buffers(self, out: list[Payload]) -> bool:
        """What stands before the first part of a file, and the beginning of that; whether the socket took it all. A
        header goes in one segment with what follows it, as the peer is not to be woken for it alone."""
        buffers: list[Buffer] = []
        flags = 0
        for one in out[:_IOV_MAX]:
            if isinstance(one, FilePart):
                if head := copied(one):
                    buffers.append(one.known if len(one.known) == head else read(one.part(0, head)))
                flags = socket.MSG_MORE
                break
            buffers.append(one)
        sent = (self._borrowed or self._borrow()).sendmsg(buffers, [], flags)
        _drop(out, sent)
        return sent == sum(map(len, buffers))

    def _borrow(self) -> _Borrowed:
        self._borrowed = _Borrowed(socket.AF_INET, socket.SOCK_STREAM, 0, self._descriptor)
        return self._borrowed


class _Borrowed(socket.socket):
    """A descriptor as an object, without which there are no flags; made once, as to make it takes as long as to send
    a header. It is not closed with it: it is the transport's."""

    def __del__(self) -> None:
        self.detach()


def _drop(out: list[Payload], sent: int) -> None:
    """Take the first bytes out."""
    while out:
        first = out[0]
        length = first.length if isinstance(first, FilePart) else len(first)
        if sent < length:
            if sent:
                out[0] = first.part(sent, length) if isinstance(first, FilePart) else memoryview(first)[sent:]
            return
        del out[0]
        sent -= length


def copied(part: FilePart) -> int:
    """Bytes before the first page that begins in a part of a file, which are copied: sendfile takes whole pages in two
    thirds of the time it needs for as many that lie across those of its packets (512 KiB: 70 us instead of 105)."""
    head = -part.offset % _PAGE
    return head if head < part.length else 0


def read(part: FilePart) -> bytes:
    """The bytes of a part of a file that the socket has no room for. Raises OSError, also where they are gone."""
    raw = os.pread(part.descriptor, part.length, part.offset)
    if len(raw) != part.length:
        raise OSError(errno.EIO, "a file is shorter than it was")
    return raw
