"""A Storage SCU that costs almost nothing, so that a benchmark measures the receiver.

It knows just enough of PS3.8 to associate, and sends one prepared run of P-DATA-TF PDUs again and again over plain
blocking sockets, with a new SOP Instance UID patched into command and data set each time. Like every classic SCU it
waits for the C-STORE-RSP before it sends the next object. One process per association; the clock starts when all
associations stand and some objects have been sent to warm up. It shares no code with Isocenter.

As a command it prints one JSON object: objects, seconds, rate, bytes per second, its own CPU seconds, statuses.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import objects

LARGEST_PDU = 1 << 20
STATUS_ELEMENT = b"\x00\x00\x00\x09\x02\x00\x00\x00"


# --- PS3.8 section 9.3, as little as will do ------------------------------------------------------------------------


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def associate_rq(called: str, sop_class: str, transfer_syntax: str) -> bytes:
    """An A-ASSOCIATE-RQ PDU proposing one presentation context, number 1."""
    context = b"\x01\x00\x00\x00" + _item(0x30, sop_class.encode()) + _item(0x40, transfer_syntax.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.826.0.1.3680043.10.1999.1")
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), b"BENCH".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BxI", 0x01, len(body)) + body


def accepted_length(pdu: bytes) -> int:
    """The Maximum Length of an A-ASSOCIATE-AC, 0 for no limit. ConnectionError when context 1 was not accepted."""
    if pdu[0] != 0x02:
        raise ConnectionError(f"association refused: PDU type {pdu[0]}, {pdu[6:].hex()[:24]}")
    position, length, accepted = 74, 0, False
    while position + 4 <= len(pdu):
        kind, size = struct.unpack_from(">BxH", pdu, position)
        if kind == 0x21:
            accepted = pdu[position + 6] == 0
        if kind == 0x50:
            position += 4
            continue
        if kind == 0x51:
            (length,) = struct.unpack_from(">I", pdu, position + 4)
        position += 4 + size
    if not accepted:
        raise ConnectionError("the presentation context was refused")
    return length


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def store_rq(sop_class: str, uid: str) -> bytes:
    """A C-STORE-RQ command set (PS3.7 section 9.3.1.1), Implicit VR Little Endian, Message ID 1."""
    pad = lambda text: text.encode() + b"\x00" * (len(text) % 2)  # noqa: E731
    body = b"".join(
        [
            _element(0x0002, pad(sop_class)),
            _element(0x0100, b"\x01\x00"),
            _element(0x0110, b"\x01\x00"),
            _element(0x0700, b"\x00\x00"),
            _element(0x0800, b"\x01\x00"),
            _element(0x1000, pad(uid)),
        ]
    )
    return _element(0x0000, struct.pack("<I", len(body))) + body


def p_data(content: bytes, control: int, largest: int) -> bytes:
    """P-DATA-TF PDUs, one PDV each, none longer than `largest`. `control` is 1 for a command, 0 for a data set."""
    step = largest - 6
    pdus = []
    for start in range(0, len(content), step):
        part = content[start : start + step]
        last = 2 if start + step >= len(content) else 0
        pdus.append(struct.pack(">BxIIBB", 0x04, len(part) + 6, len(part) + 2, 1, control | last) + part)
    return b"".join(pdus)


# --- one association ------------------------------------------------------------------------------------------------


class Association:
    """A connected association and its prepared message."""

    def __init__(self, host: str, port: int, aet: str, template: objects.Template) -> None:
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_rq(aet, objects.CT_IMAGE_STORAGE, objects.EXPLICIT_LITTLE))
        largest = min(accepted_length(self._pdu()) or LARGEST_PDU, LARGEST_PDU)
        command = store_rq(objects.CT_IMAGE_STORAGE, template.uid)
        message = p_data(command, 1, largest) + p_data(template.data_set, 0, largest)
        self.message = bytearray(message)
        uid = template.uid.encode()
        first = message.index(uid)
        second = message.index(uid, first + len(uid))
        self.places = (first, second)
        self.digits = len(uid) - objects.UID_DIGITS
        self.statuses: Counter[int] = Counter()

    def _pdu(self) -> bytes:
        header = self._exactly(6)
        return header + self._exactly(int.from_bytes(header[2:6], "big"))

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self.socket.recv(size - len(content))
            if not more:
                raise ConnectionError("the peer closed the connection")
            content += more
        return content

    def store(self, number: int) -> None:
        """Send object `number` and wait for its response."""
        digits = str(10 ** (objects.UID_DIGITS - 1) + number).encode()
        for place in self.places:
            start = place + self.digits
            self.message[start : start + len(digits)] = digits
        self.socket.sendall(self.message)
        answer = self._pdu()
        at = answer.find(STATUS_ELEMENT)
        if answer[0] != 0x04 or at < 0:
            raise ConnectionError(f"no response but PDU type {answer[0]}")
        self.statuses[int.from_bytes(answer[at + 8 : at + 10], "little")] += 1

    def release(self) -> None:
        """A-RELEASE, without which a peer logs an error."""
        self.socket.sendall(b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        self._pdu()
        self.socket.close()


def _child(options: argparse.Namespace, number: int, ready: int, go: int, done: int) -> None:
    template = objects.template(options.size, options.batch)
    association = Association(options.host, options.port, options.aet, template)
    share = options.count // options.associations
    first = number * (share + options.warmup)
    for index in range(first, first + options.warmup):
        association.store(index)
    association.statuses.clear()
    os.write(ready, b"r")
    os.read(go, 1)
    for index in range(first + options.warmup, first + options.warmup + share):
        association.store(index)
    finished = time.monotonic()
    association.release()
    times = os.times()
    report = {"finished": finished, "cpu": times.user + times.system, "statuses": dict(association.statuses)}
    os.write(done, json.dumps(report).encode() + b"\n")


def send_all(options: argparse.Namespace) -> dict[str, Any]:
    """Fork one child per association, start them together, gather what they report."""
    ready_out, ready_in = os.pipe()
    go_out, go_in = os.pipe()
    done_out, done_in = os.pipe()
    children = []
    for number in range(options.associations):
        pid = os.fork()
        if pid == 0:
            os.close(ready_out)
            os.close(done_out)
            try:
                _child(options, number, ready_in, go_out, done_in)
            except BaseException as error:  # noqa: BLE001 - a child must not return into the parent's code
                print(f"association {number + 1}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        children.append(pid)
    os.close(ready_in)
    os.close(done_in)
    waiting = options.associations
    while waiting and (got := os.read(ready_out, waiting)):
        waiting -= len(got)
    start = time.monotonic()
    os.write(go_in, b"g" * options.associations)
    text = b""
    while more := os.read(done_out, 65536):
        text += more
    failed = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(failed):
        raise SystemExit("an association failed")
    reports = [json.loads(line) for line in text.splitlines()]
    seconds = max(report["finished"] for report in reports) - start
    statuses: Counter[str] = Counter()
    for report in reports:
        statuses.update(report["statuses"])
    sent = (options.count // options.associations) * options.associations
    return {
        "objects": sent, "seconds": seconds, "rate": sent / seconds, "bytes_per_second": sent * options.size / seconds,
        "cpu_seconds": sum(report["cpu"] for report in reports),
        "statuses": {f"{int(status):04X}": number for status, number in statuses.items()},
    }  # fmt: skip


# --- for the benchmarks ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What to send: `count` objects of `size` bytes of pixels over so many `associations`."""

    size: int
    count: int
    associations: int

    @property
    def name(self) -> str:
        plural = "association" if self.associations == 1 else "associations"
        return f"{self.size // 1024} KiB, {self.associations} {plural}"


def rate(port: int, aet: str, load: Load, batch: int = 0) -> float:
    """Objects per second that the SCP at a loopback port acknowledges with 0000. RuntimeError for any other answer."""
    argv = [sys.executable, str(Path(__file__)), "--port", str(port), "--aet", aet, "--size", str(load.size),
            "--count", str(load.count), "--associations", str(load.associations), "--batch", str(batch)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the sender failed: {done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    if report["statuses"] != {"0000": report["objects"]}:
        raise RuntimeError(f"not all objects were stored: {report['statuses']}")
    return float(report["rate"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Send CT objects as fast as the receiver takes them.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aet", default="ANY-SCP")
    parser.add_argument("--size", type=int, default=512 * 1024, help="bytes of pixels")
    parser.add_argument("--count", type=int, default=500, help="objects in all")
    parser.add_argument("--associations", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=10, help="objects per association before the clock starts")
    parser.add_argument("--batch", type=int, default=0, help="another number gives other UIDs")
    print(json.dumps(send_all(parser.parse_args())))


if __name__ == "__main__":
    main()
