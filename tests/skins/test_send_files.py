"""Data sets that go from their file to the socket and are read by nobody in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

import isocenter
import ours
from data_sets import explicit
from isocenter.errors import AssociationAborted
from isocenter.known_peers import KnownPeer
from isocenter.net import kernel
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.server import Node
from isocenter.services.base import Refusal, Reply, Request
from isocenter.services.storage import store_request
from isocenter.settings import Settings
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.store.filesystem import FileBlob
from isocenter.ul.connection import FilePart, Payload

CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES = generate_uid()
MIB = 1024 * 1024
SIZES = [*[2000] * 9, MIB // 2, MIB - 1000, MIB, 3 * MIB + 10]  # more than are read in a thread, to begin with


class Hashed(Refusal):
    """Takes an object for its digest, at leisure."""

    def __init__(self, into: dict[str, str], request: Request, pause: float = 0.0) -> None:
        super().__init__(Reply())
        self._into, self._name, self._pause = into, request.command["AffectedSOPInstanceUID"], pause
        self._digest = hashlib.sha256()

    def write(self, views: Iterable[memoryview]) -> None:  # type: ignore[override]
        time.sleep(self._pause)
        for view in views:
            self._digest.update(view)

    def finish(self) -> Reply:
        self._into[self._name] = self._digest.hexdigest()
        return super().finish()


def ct(study: str, uid: str, size: int) -> bytes:
    """A data set of about so many bytes."""
    texts = {0x00080016: CT, 0x00080018: uid, 0x0020000D: study, 0x0020000E: SERIES}
    body = {tag: ("UI", text.encode() + b"\0" * (len(text) % 2)) for tag, text in texts.items()}
    body |= {0x00080060: ("CS", b"CT"), 0x7FE00010: ("OW", random.Random(size).randbytes(size // 2 * 2))}
    return b"".join(explicit(tag, vr, value) for tag, (vr, value) in sorted(body.items()))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each sendfile was asked for, on a file system that says what is in the page cache (tmpfs does not)."""
    asked: list[int] = []
    sendfile = os.sendfile

    def counted(out: int, file: int, offset: int, count: int) -> int:
        asked.append(count)
        return sendfile(out, file, offset, count)

    monkeypatch.setattr(FileBlob, "peek", lambda self, offset, length, count: self.read(offset, count))
    monkeypatch.setattr(kernel.os, "sendfile", counted)
    return asked


@pytest.fixture
def stored() -> tuple[str, dict[str, bytes]]:
    study = generate_uid()
    return study, {uid: ct(study, uid, size) for size, uid in zip(SIZES, iter(generate_uid, None), strict=False)}


def digests(objects: dict[str, bytes]) -> dict[str, str]:
    return {uid: hashlib.sha256(raw).hexdigest() for uid, raw in objects.items()}


def fill(node: Node, objects: dict[str, bytes]) -> str:
    address = f"ISOCENTER@127.0.0.1:{node.dimse[1]}"

    async def store() -> None:
        association = await opened(address)
        context = association.context_for(CT)
        answers = [
            (await association.request(context, store_request(number, CT, uid), [raw])).status
            for number, (uid, raw) in enumerate(objects.items(), 1)
        ]
        await association.release()
        assert {0} == set(answers)

    asyncio.run(store())
    return address


async def opened(address: str) -> Requestor:
    proposals = [Proposal(CT, (EXPLICIT_VR_LITTLE_ENDIAN,))]
    return await associate(parse_address(address), proposals, calling="TEST", settings=Settings())


def got(address: str, study: str, **settings: int) -> dict[str, str]:
    came: dict[str, str] = {}
    with isocenter.sync.connect(address, settings=Settings().replace(**settings)) as pacs:
        *_, last = pacs.get("STUDY", into=lambda request: Hashed(came, request), StudyInstanceUID=study)
    assert last.ok
    return came


def test_what_is_got_is_what_is_stored(tmp_path: Path, stored: tuple[str, dict[str, bytes]], sent: list[int]) -> None:
    study, objects = stored
    with ours.node(tmp_path) as node:
        address = fill(node, objects)
        assert digests(objects) == got(address, study)
    assert MIB // 2 < max(sent) < MIB
    large = [raw for raw in objects.values() if len(raw) > 4096]
    assert sum(sent) >= sum(map(len, large)) - (len(large) + 3) * 4096  # the first page of each part is copied


def test_a_peer_of_short_pdus_gets_bytes(tmp_path: Path, stored: tuple[str, dict[str, bytes]], sent: list[int]) -> None:
    study, objects = stored
    with ours.node(tmp_path) as node:
        address = fill(node, objects)
        assert digests(objects) == got(address, study, dimse_max_pdu=128 * 1024)
    assert [] == sent


def test_what_is_moved_is_what_is_stored(tmp_path: Path, stored: tuple[str, dict[str, bytes]], sent: list[int]) -> None:
    study, objects = stored
    with ours.receiver(tmp_path / "moved") as receiver:
        there = KnownPeer("there", "THERE", "127.0.0.1", receiver.port)  # type: ignore[arg-type]
        with ours.node(tmp_path / "data", peers=[there]) as node:
            address = fill(node, objects)
            with isocenter.sync.connect(address) as pacs:
                *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=study)
        assert (0, len(objects)) == (last.status, last.completed)
        for path, request in receiver.stored:
            assert Path(path).read_bytes().endswith(objects[request.command["AffectedSOPInstanceUID"]])
    assert sent


# --- one data set ---------------------------------------------------------------------------------------------------


def sending(address: str, make: Callable[[], Iterable[Payload]]) -> bool:
    """Send one; whether the association is usable afterwards."""

    async def send() -> bool:
        association = await opened(address)
        assert association.sends_files
        try:
            response = await association.request(association.context_for(CT), store_request(1, CT, "1.2.3"), make())
            assert response.status == 0
        finally:
            usable = association.usable
            association.abort()
        return usable

    return asyncio.run(send())


def test_a_slow_reader_gets_all_of_it(tmp_path: Path) -> None:
    """The socket takes a part of a part; the rest is read, and waits in the transport."""
    raw = random.Random(7).randbytes(24 * MIB)
    (tmp_path / "file").write_bytes(b"head" + raw)
    came: dict[str, str] = {}
    shorts: list[int] = []
    read = kernel.read

    def counted(part: FilePart) -> bytes:
        shorts.append(len(part))
        return read(part)

    with (
        ours.sinking(lambda request: Hashed(came, request, 0.02)) as address,
        open(tmp_path / "file", "rb") as file,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("isocenter.net.link.read", counted)
        parts = [FilePart(file.fileno(), at + 4, 2 * MIB) for at in range(0, len(raw), 2 * MIB)]
        assert sending(address, lambda: parts)
    assert {"1.2.3": hashlib.sha256(raw).hexdigest()} == came
    assert shorts


def test_a_file_that_is_shorter_than_it_was_ends_the_association(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    with ours.receiver(tmp_path / "in") as receiver, open(tmp_path / "file", "rb") as file:
        with pytest.raises((OSError, AssociationAborted), match="shorter than it was"):
            sending(receiver.address, lambda: [FilePart(file.fileno(), 0, MIB), FilePart(file.fileno(), MIB, MIB)])
        assert [] == receiver.stored
