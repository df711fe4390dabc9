"""A thousand instances, cancelled midway: what was begun ends, it is counted, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.known_peers import KnownPeer
from isocenter.model import Level
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, associate
from isocenter.net.retrieve import Progress, identifier_of, progress
from isocenter.net.server import DimseServer
from isocenter.server import Node, running
from isocenter.services.base import Refusal, Reply, Request, Services
from isocenter.services.retrieve import Selection, get_request, move_request
from isocenter.services.storage import StorageService
from isocenter.settings import Settings
from isocenter.std.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from skins.web_harness import saved

COUNT = 1000
MIDWAY = 300
CT = "1.2.840.10008.5.1.4.1.1.2"


def descriptors() -> int:
    """Those that are open, but for the index's: its connections are kept in a pool, up to a fixed number."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            count += "index.sqlite" not in os.readlink(f"/proc/self/fd/{name}")
    return count


@dataclass
class Destination:
    """A Storage SCP that answers `most` objects, and no further one until it may: so that a C-MOVE is not over before
    whoever cancels it has a turn."""

    server: DimseServer
    most: float = math.inf
    stored: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def destination() -> AsyncIterator[Destination]:
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)

    class Sink(Refusal):
        def __init__(self, request: Request) -> None:
            super().__init__(Reply())
            self.uid = request.command["AffectedSOPInstanceUID"]

        async def finish(self) -> Reply:  # type: ignore[override]
            while len(made.stored) >= made.most:
                await asyncio.sleep(0.01)
            made.stored.append(self.uid)
            return Reply()

    made = Destination(dimse_server((StorageService(Sink),), settings))
    for listener in dimse_listeners(settings):
        await made.server.listen(listener.socket, listener.tls)
    yield made
    await made.server.close()


@dataclass
class Place:
    node: Node
    loop: asyncio.AbstractEventLoop
    receiver: Destination
    study: str

    @property
    def address(self) -> str:
        return f"ISOCENTER@127.0.0.1:{self.node.dimse[1]}"

    def remains(self) -> tuple[int, int, int, int]:
        """Tasks, descriptors, threads that are none of a pool, and associations at the receiver."""
        tasks = sum(1 for task in asyncio.all_tasks(self.loop) if not task.done())
        pooled = ("asyncio_", "isocenter-")  # they wait for work, up to a fixed number
        threads = sum(1 for thread in threading.enumerate() if not thread.name.startswith(pooled))
        return tasks, descriptors(), threads, self.receiver.server.associations


def objects(study: str) -> Iterator[bytes]:
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    one.StudyInstanceUID, one.SeriesInstanceUID = study, generate_uid()
    one.Rows = one.Columns = 8
    one.PixelData = bytes(128)
    for number in range(COUNT):
        one.InstanceNumber = number
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        yield saved(one)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cancelled")
    study = generate_uid()
    with ours.background(destination) as receiver:
        there = KnownPeer("there", "THERE", "127.0.0.1", receiver.server.address[1])  # type: ignore[arg-type]
        settings = Settings().replace(archive_data=folder / "data", dimse_port=0, web_port=0, dimse_drain_timeout=1.0)

        @contextlib.asynccontextmanager
        async def make() -> AsyncIterator[Place]:
            async with running(settings, [there]) as node:
                yield Place(node, asyncio.get_running_loop(), receiver, study)

        with ours.background(make) as value:
            with isocenter.sync.connect(value.address) as pacs:
                assert {outcome.status for outcome in pacs.store(objects(study))} == {0}
            yield value


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


async def cancelled(
    place: Place, stored: list[str], sop_class: str, *, performing: int = 1, hang_up: bool = False
) -> Progress:
    """A retrieval that is cancelled when MIDWAY sub-operations are done; its last response. Of a C-GET there are up to
    `performing` under way; of a C-MOVE, as many as the receiver and the archive agree to."""

    def sink(request: Request) -> Refusal:
        stored.append(request.command["AffectedSOPInstanceUID"])
        return Refusal(Reply())

    association = await associate(
        parse_address(place.address),
        [Proposal(sop_class, (EXPLICIT_VR_LITTLE_ENDIAN,)), Proposal(CT, (EXPLICIT_VR_LITTLE_ENDIAN,), scp=True)],
        calling="TEST",
        settings=Settings(),
        services=Services((StorageService(sink),)),
        performing=performing,
    )
    context = association.context_for(sop_class)
    request = get_request(1, sop_class) if sop_class == STUDY_ROOT_GET else move_request(1, sop_class, "THERE")
    identifier = identifier_of(Selection(Level.STUDY, "", (place.study,)), context.transfer_syntax)
    last, over = None, False
    place.receiver.most = len(place.receiver.stored) + (COUNT + MIDWAY) // 2
    async for last in progress(association, context, request, identifier):
        if last.done >= MIDWAY and not over:
            over = True
            if hang_up:
                association.abort()
                place.receiver.most = math.inf
                return last
            association.cancel(context, 1)
            place.receiver.most = math.inf
    assert last is not None
    await association.release()
    return last


def no_more(now: tuple[int, ...], before: tuple[int, ...]) -> bool:
    """Less may be there than before, when that was still at work on what came earlier."""
    return all(one <= other for one, other in zip(now, before, strict=True))


def total(last: Progress) -> int:
    assert last.remaining is not None
    return last.done + last.remaining


@pytest.mark.parametrize(("sop_class", "performing"), [(STUDY_ROOT_GET, 1), (STUDY_ROOT_GET, 8), (STUDY_ROOT_MOVE, 1)])
def test_what_is_cancelled_midway_leaves_nothing_running(place: Place, sop_class: str, performing: int) -> None:
    before = place.remains()
    for _ in range(3):
        got: list[str] = []
        seen = len(place.receiver.stored)
        last = asyncio.run(cancelled(place, got, sop_class, performing=performing))
        moved = len(place.receiver.stored) - seen
        assert (0xFE00, 0, COUNT) == (last.status, last.failed, total(last))
        assert MIDWAY <= (last.completed or 0) < COUNT
        assert (last.completed, 0) == ((len(got), moved) if sop_class == STUDY_ROOT_GET else (moved, len(got)))
    assert eventually(lambda: no_more(place.remains(), before)), (before, place.remains())


@pytest.mark.parametrize("sop_class", [STUDY_ROOT_GET, STUDY_ROOT_MOVE])
def test_neither_does_a_requestor_that_hangs_up(place: Place, sop_class: str) -> None:
    before = place.remains()
    seen = len(place.receiver.stored)
    for _ in range(3):
        asyncio.run(cancelled(place, [], sop_class, performing=8, hang_up=True))
    assert eventually(lambda: no_more(place.remains(), before)), (before, place.remains())
    assert len(place.receiver.stored) - seen < 3 * COUNT
