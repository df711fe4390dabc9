"""C-MOVE to receivers that hang up, go away or are slow, and to one that needs more presentation contexts than an
association has."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from certificates import Certificates
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.dimse.retrieve import per_association
from isocenter.dimse.sending import Sender
from isocenter.known_peers import KnownPeer
from isocenter.model import InstanceRef
from isocenter.net.retrieve import Progress
from isocenter.net.server import DimseServer
from isocenter.services.base import Refusal, Reply, Request
from isocenter.services.storage import StorageService
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_SOP_CLASSES
from skins.web_harness import saved


def study_of(count: int) -> tuple[str, list[str], list[bytes]]:
    study, series, uids = generate_uid(), generate_uid(), [generate_uid() for _ in range(count)]
    objects = []
    for uid in uids:
        one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid
        objects.append(saved(one))
    return study, uids, objects


@contextlib.asynccontextmanager
async def hangs_up(every: int) -> AsyncIterator[int]:
    """A Storage SCP that aborts the association instead of answering each `every`-th object."""
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
    seen = 0

    def sink(request: Request) -> Refusal:
        nonlocal seen
        seen += 1
        if seen % every == 0:
            request.invoker.abort("as the test wants it")  # type: ignore[attr-defined]
        return Refusal(Reply())

    server = dimse_server((StorageService(sink),), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield server.address[1]
    await server.close()


def moved(data: Path, every: int, count: int) -> tuple[list[str], Progress]:
    """One object at a time; tests/skins/test_window_retrieve.py has several under way."""
    study, uids, objects = study_of(count)
    with ours.background(lambda: hangs_up(every)) as port:
        there = KnownPeer("there", "THERE", "127.0.0.1", port)  # type: ignore[arg-type]
        with ours.node(data, peers=[there], dimse_window=1) as node, isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
            *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=study)
    return uids, last


def test_a_lost_association_costs_one_object_and_is_opened_again(tmp_path: Path) -> None:
    uids, last = moved(tmp_path, every=3, count=7)
    assert (0xB000, 5, 2) == (last.status, last.completed, last.failed)
    assert (uids[2], uids[5]) == last.failed_instances


def test_a_receiver_that_takes_nothing_twice_is_left_alone(tmp_path: Path) -> None:
    uids, last = moved(tmp_path, every=1, count=5)
    assert (0xA702, 0, 5) == (last.status, last.completed, last.failed)
    assert set(uids) == set(last.failed_instances)


def test_a_defect_of_ours_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> AsyncIterator[Any]:
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(Sender, "send", fails)
    _, last = moved(tmp_path, every=10, count=2)
    assert (0xA702, 0, 2) == (last.status, last.completed, last.failed)
    assert "ZeroDivisionError" in caplog.text


@contextlib.asynccontextmanager
async def goes_away(after: int) -> AsyncIterator[int]:
    """A Storage SCP that is no more when it has answered `after` objects."""
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0)
    closing: list[asyncio.Task[None]] = []
    seen = 0

    def sink(request: Request) -> Refusal:
        nonlocal seen
        seen += 1
        if seen > after and not closing:
            closing.append(asyncio.create_task(server.close()))
        return Refusal(Reply() if seen <= after else Reply(0xA700))

    server = dimse_server((StorageService(sink),), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield server.address[1]
    await asyncio.gather(*closing)


def test_a_destination_that_goes_away_midway_gives_b000_with_the_failed_list(tmp_path: Path) -> None:
    """One object at a time: of several under way, answers that were given are lost with the connection."""
    study, uids, objects = study_of(60)
    alone = {"dimse_window": 1, "dimse_move_associations": 1}
    with ours.background(lambda: goes_away(20)) as port:
        there = KnownPeer("there", "THERE", "127.0.0.1", port)  # type: ignore[arg-type]
        with ours.node(tmp_path, peers=[there], **alone) as node, isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
            *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=study)
            pacs.echo()
    assert (0xB000, 20, 40) == (last.status, last.completed, last.failed)
    assert 40 == len(set(last.failed_instances) & set(uids))


@dataclass
class Slow:
    """What a Storage SCP saw that takes its time for each object."""

    server: DimseServer
    stored: list[str] = field(default_factory=list)
    associations: set[Any] = field(default_factory=set)
    most: int = 0
    waiting: int = 0

    @property
    def port(self) -> int:
        return self.server.address[1]


@contextlib.asynccontextmanager
async def slow(hang_up_at: int = 0, seconds: float = 0.01, **rows: Any) -> AsyncIterator[Slow]:
    """Takes `seconds` for an object."""
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1, **rows)

    class Sink(Refusal):
        def __init__(self, request: Request) -> None:
            super().__init__(Reply())
            self.request = request

        async def finish(self) -> Reply:  # type: ignore[override]
            seen.associations.add(self.request.invoker)
            seen.waiting += 1
            seen.most = max(seen.most, seen.waiting)
            await asyncio.sleep(seconds)
            seen.waiting -= 1
            seen.stored.append(self.request.command["AffectedSOPInstanceUID"])
            if len(seen.stored) == hang_up_at:
                self.request.invoker.abort("as the test wants it")  # type: ignore[attr-defined]
            return Reply()

    server = dimse_server((StorageService(Sink),), settings)
    seen = Slow(server)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield seen
    await server.close()


def moved_to_slow(data: Path, seen: Slow, requests: int = 1, **rows: Any) -> tuple[list[str], list[list[Progress]]]:
    """The UIDs of 100 objects, and what each of so many C-MOVEs at a time was told."""
    study, uids, objects = study_of(100)
    there = KnownPeer("there", "THERE", "127.0.0.1", seen.port)  # type: ignore[arg-type]

    async def move(address: str) -> list[Progress]:
        async with isocenter.connect(address) as pacs:
            return [step async for step in pacs.move("THERE", "STUDY", StudyInstanceUID=study)]

    async def all_of_them(address: str) -> list[list[Progress]]:
        return list(await asyncio.gather(*(move(address) for _ in range(requests))))

    with ours.node(data, peers=[there], dimse_window=1, **rows) as node:
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
        return uids, asyncio.run(all_of_them(node.address))


def test_associations_share_the_work_and_the_counters_stay_true(tmp_path: Path) -> None:
    with ours.background(slow) as seen:
        uids, ((*pending, last),) = moved_to_slow(tmp_path, seen, dimse_move_associations=3)
    assert sorted(uids) == sorted(seen.stored)
    assert (3, 3) == (len(seen.associations), seen.most)
    assert (0, 100, 0) == (last.status, last.completed, last.failed)
    assert [(99 - n, n + 1) for n in range(99)] == [(step.remaining, step.completed) for step in pending]


def test_requests_to_one_destination_share_its_associations(tmp_path: Path) -> None:
    with ours.background(slow) as seen:
        _, answers = moved_to_slow(tmp_path, seen, requests=4, dimse_move_associations=4)
    assert [(0, 100)] * 4 == [(steps[-1].status, steps[-1].completed) for steps in answers]
    assert seen.most <= 4 + 3  # each request has one, whatever there is already


def test_a_destination_that_takes_one_association_gets_all_on_it(tmp_path: Path) -> None:
    with ours.background(lambda: slow(dimse_max_associations=1)) as seen:
        uids, ((*_, last),) = moved_to_slow(tmp_path, seen)
    assert (0, 100, 1) == (last.status, last.completed, len(seen.associations))
    assert sorted(uids) == sorted(seen.stored)


def test_one_of_several_associations_that_is_lost_costs_one_object(tmp_path: Path) -> None:
    with ours.background(lambda: slow(hang_up_at=50)) as seen:
        uids, ((*_, last),) = moved_to_slow(tmp_path, seen)
    assert (0xB000, 99, 1) == (last.status, last.completed, last.failed)
    assert (seen.stored[49],) == last.failed_instances
    assert sorted(uids) == sorted(seen.stored)


def test_a_large_object_goes_by_tls_where_the_peer_says_so_and_never_without(
    tmp_path: Path, certificates: Certificates
) -> None:
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    one.PixelData = os.urandom(9_000_000)  # in pieces, from the disk while it is sent
    rows = {"tls_ca": certificates.ca}
    with ours.receiver(tmp_path / "in", **rows, **certificates.server.settings) as receiver:
        ports = {"SECURE": int(receiver.tls_address.rpartition(":")[2]), "PLAIN": receiver.port}
        known = [KnownPeer(aet.lower(), aet, "127.0.0.1", port, True) for aet, port in ports.items()]  # type: ignore[arg-type]
        with (
            ours.node(tmp_path / "data", peers=known, **rows, **certificates.client.settings) as node,
            isocenter.sync.connect(node.address) as pacs,
        ):
            assert [0] == [outcome.status for outcome in pacs.store([saved(one)])]
            *_, last = pacs.move("PLAIN", "STUDY", StudyInstanceUID=one.StudyInstanceUID)
            assert (0xA702, 1, []) == (last.status, last.failed, receiver.stored)
            *_, last = pacs.move("SECURE", "STUDY", StudyInstanceUID=one.StudyInstanceUID)
            assert last.ok, last.message
        ((path, _),) = receiver.stored
        assert one.PixelData == pydicom.dcmread(path).PixelData


def test_no_association_is_asked_for_more_contexts_than_there_are() -> None:
    syntaxes = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5")
    refs = [
        InstanceRef("1", "2", f"3.{number}", sop_class, syntax, "", 0, 0, "", "")
        for number, (sop_class, syntax) in enumerate((c, s) for s in syntaxes for c in list(STORAGE_SOP_CLASSES)[:60])
    ]
    groups = list(per_association(refs))
    assert sorted(ref.instance for ref in refs) == sorted(ref.instance for _, group in groups for ref in group)
    for proposals, group in groups:
        assert len(proposals) <= 128
        offered = {(proposal.abstract_syntax, uid) for proposal in proposals for uid in proposal.transfer_syntaxes}
        assert {(ref.sop_class, ref.transfer_syntax) for ref in group} <= offered
        assert {(ref.sop_class, "1.2.840.10008.1.2") for ref in group} <= offered
