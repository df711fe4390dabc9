"""Forwarding from a running node to peers that take everything, refuse, hang up, are away, or are not to be asked."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
from isocenter.archive.routing import Rule, load_rules
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.index.jobs import Job, Wanted
from isocenter.index.sql import jobs_beside
from isocenter.index.sql_jobs import SqlJobs
from isocenter.known_peers import KnownPeer, load_peers
from isocenter.model import Scope
from isocenter.net.association import Association
from isocenter.server import Node
from isocenter.services.base import Refusal, Reply, Request
from isocenter.services.storage import StorageService
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from isocenter.store.filesystem import FileBlob, FileStore
from non_patient_objects import hanging_protocol
from peers import free_port
from skins.test_move_destinations import study_of
from skins.web_harness import saved

QUICK = {"jobs_retry_first": 0.2, "jobs_retry_longest": 0.4, "jobs_interval": 0.1}


def peer_at(port: int, aet: str = "THERE") -> KnownPeer:
    return KnownPeer("there", aet, "127.0.0.1", port)  # type: ignore[arg-type]


def sent(node: Node, objects: list[bytes], calling: str = "SCANNER") -> None:
    with isocenter.sync.connect(node.address, calling=calling) as pacs:
        assert {0} == {outcome.status for outcome in pacs.store(objects)}


def jobs_of(data: Path) -> list[Job]:
    with jobs_beside(data / "index.sqlite") as jobs:
        return jobs.listed()


def until(data: Path, fulfilled: Callable[[list[Job]], bool]) -> list[Job]:
    """The jobs of a data folder, when they are as wanted."""
    end = time.monotonic() + 60
    while not fulfilled(jobs := jobs_of(data)):
        assert time.monotonic() < end, jobs
        time.sleep(0.05)
    return jobs


def all_are(*states: str) -> Callable[[list[Job]], bool]:
    return lambda jobs: bool(jobs) and {job.state for job in jobs} <= set(states)


def data_sets(folder: Path) -> dict[str, bytes]:
    """SOP Instance UID to the bytes of the data set of every file."""
    found = {}
    for path in folder.rglob("*.dcm"):
        raw = path.read_bytes()
        meta = pydicom.filereader.read_file_meta_info(path)
        offset = 132 + 12 + meta.FileMetaInformationGroupLength
        found[str(meta.MediaStorageSOPInstanceUID)] = raw[offset:]
    return found


def data_set(raw: bytes) -> bytes:
    return raw[132 + 12 + int.from_bytes(raw[140:144], "little") :]


def test_what_comes_goes_on_byte_for_byte(tmp_path: Path) -> None:
    _, uids, objects = study_of(5)
    with ours.receiver(tmp_path / "there") as receiver:
        there = peer_at(receiver.port)
        with ours.node(tmp_path / "data", peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, objects)
            jobs = until(tmp_path / "data", all_are("done"))
        assert dict(zip(uids, map(data_set, objects), strict=True)) == data_sets(receiver.folder)
        assert {"ISOCENTER"} == {request.peer.calling for _, request in receiver.stored}
    assert 5 == sum(job.done for job in jobs)
    assert {("forward", "there", 0, "")} == {(job.kind, job.target, job.failed, job.last_error) for job in jobs}


def test_a_peer_that_is_away_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    _, uids, objects = study_of(20)
    port = free_port()
    there = peer_at(port)
    with ours.node(tmp_path / "data", peers=[there], rules=[Rule(there)], **QUICK) as node:
        sent(node, objects[:1])
        until(tmp_path / "data", lambda jobs: [job.state for job in jobs] == ["waiting"] and jobs[0].attempts > 1)
        sent(node, objects[1:])
        jobs = until(tmp_path / "data", lambda jobs: sum(job.total for job in jobs) == 20)
        assert len(jobs) <= 3, "they gather in the job that waits, and another only while that one runs"
        assert "127.0.0.1" in jobs[-1].last_error
        with ours.receiver(tmp_path / "there", dimse_port=port) as receiver:
            until(tmp_path / "data", all_are("done"))
            assert set(uids) == set(data_sets(receiver.folder))
            assert 20 == len(receiver.stored), "each once"


def test_what_waits_survives_a_restart(tmp_path: Path) -> None:
    _, uids, objects = study_of(3)
    port = free_port()
    there = peer_at(port)
    with ours.node(tmp_path / "data", peers=[there], rules=[Rule(there)], **QUICK) as node:
        sent(node, objects)
    jobs = jobs_of(tmp_path / "data")
    assert all_are("waiting")(jobs)
    assert 3 == sum(job.total for job in jobs)
    with ours.receiver(tmp_path / "there", dimse_port=port) as receiver:
        # The rule is gone, the job is not.
        with ours.node(tmp_path / "data", peers=[there], **QUICK):
            until(tmp_path / "data", all_are("done"))
        assert set(uids) == set(data_sets(receiver.folder))


def test_a_peer_that_is_no_longer_known_is_waited_for(tmp_path: Path) -> None:
    _, uids, objects = study_of(1)
    port = free_port()
    there = peer_at(port)
    with (
        ours.receiver(tmp_path / "there", dimse_port=port) as receiver,
        ours.node(tmp_path / "data", rules=[Rule(there)], **QUICK) as node,
    ):
        sent(node, objects)
        jobs = until(tmp_path / "data", lambda jobs: bool(jobs) and jobs[0].attempts > 0 and jobs[0].state == "waiting")
        assert "there is no [[peer]] named there" == jobs[0].last_error
        node.reload(node.settings, [there], [])
        until(tmp_path / "data", all_are("done"))
        assert set(uids) == set(data_sets(receiver.folder))


def test_rules_are_read_again(tmp_path: Path) -> None:
    first, second = study_of(1), study_of(1)
    with ours.receiver(tmp_path / "there") as receiver:
        file = tmp_path / "isocenter.toml"
        file.write_text(f'[[peer]]\nname = "there"\naet = "THERE"\nhost = "127.0.0.1"\nport = {receiver.port}\n')
        peers = load_peers(file)
        with ours.node(tmp_path / "data", peers=peers.values(), **QUICK) as node:
            sent(node, first[2])
            file.write_text(file.read_text() + '[[forward]]\nto = "there"\nwhen = { Modality = "CT" }\n')
            node.reload(node.settings, peers.values(), load_rules(file, peers))
            sent(node, second[2])
            until(tmp_path / "data", all_are("done"))
        assert set(second[1]) == set(data_sets(receiver.folder))


def test_nothing_goes_back_to_who_sent_it(tmp_path: Path) -> None:
    _, uids, objects = study_of(2)
    with ours.receiver(tmp_path / "there") as receiver:
        there = peer_at(receiver.port, aet="SCANNER")
        with ours.node(tmp_path / "data", peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, objects[:1])
            sent(node, objects[1:], calling="ANOTHER")
            until(tmp_path / "data", all_are("done"))
            assert 1 == sum(job.total for job in jobs_of(tmp_path / "data"))
        assert {uids[1]} == set(data_sets(receiver.folder))


def test_objects_of_no_patient_go_on_by_their_class_and_are_not_notified(tmp_path: Path) -> None:
    with ours.receiver(tmp_path / "there") as receiver:
        file = tmp_path / "isocenter.toml"
        file.write_text(
            f'[[peer]]\nname = "there"\naet = "THERE"\nhost = "127.0.0.1"\nport = {receiver.port}\nnotify = true\n'
            '[[forward]]\nto = "there"\nwhen = { SOPClassUID = "HangingProtocolStorage", Modality = "" }\n'
        )
        peers = load_peers(file)
        rules = load_rules(file, peers)
        with ours.node(tmp_path / "data", peers=peers.values(), rules=rules, **QUICK) as node:
            one = hanging_protocol(2, "Thorax a.p.", "CR")
            sent(node, [one])
            jobs = until(tmp_path / "data", all_are("done"))
        assert [data_set(one)] == list(data_sets(receiver.folder).values())
    assert [("forward", 1)] == [(job.kind, job.done) for job in jobs]


# --- peers with a will of their own


@contextlib.contextmanager
def scp(answer: Callable[[Request, int], Reply | None], *sop_classes: str) -> Iterator[tuple[int, list[str]]]:
    """A Storage SCP that answers the n-th request (from 1) as told, None: it aborts. Its port, and UIDs it was sent."""
    came: list[str] = []

    def sink(request: Request) -> Refusal:
        came.append(request.command["AffectedSOPInstanceUID"])
        reply = answer(request, len(came))
        if reply is None:
            request.invoker.abort("as the test wants it")  # type: ignore[attr-defined]
        return Refusal(reply or Reply())

    class Some(StorageService):
        def supports(self, abstract_syntax: str):  # type: ignore[no-untyped-def]
            return super().supports(abstract_syntax) if not sop_classes or abstract_syntax in sop_classes else None

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[int]:
        settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
        server = dimse_server((VerificationService(), Some(sink)), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        yield server.address[1]
        await server.close()

    with ours.background(make) as port:
        yield port, came


def test_temporary_refusals_are_tried_again(tmp_path: Path) -> None:
    _, uids, objects = study_of(3)

    def full_at_first(request: Request, number: int) -> Reply:
        return Reply(0xA700) if number <= 4 else Reply()

    with scp(full_at_first) as (port, came):
        there = peer_at(port)
        with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, objects)
            jobs = until(tmp_path, all_are("done"))
    assert 3 == sum(job.done for job in jobs)
    assert 4 + 3 == len(came)
    assert set(uids) == set(came[4:])


def test_a_full_peer_is_not_sent_everything_each_time(tmp_path: Path) -> None:
    _, uids, objects = study_of(30)
    with scp(lambda request, number: Reply(0xA700)) as (port, came):
        slow = {"jobs_retry_first": 60.0, "jobs_retry_longest": 60.0, "jobs_interval": 0.1}
        with ours.node(tmp_path, peers=[peer_at(port)], **slow) as node:
            sent(node, objects)
            with jobs_beside(tmp_path / "index.sqlite") as rows:
                rows.add([Wanted("forward", "there", items=uids)], time.time())
            jobs = until(tmp_path, lambda jobs: jobs[0].state == "waiting" and jobs[0].attempts == 1)
        # What was under way when the eighth refusal came reaches the peer too.
        assert len(came) in range(8, 8 + Settings().dimse_window)
    assert "C-STORE: A700 Refused: out of resources" == jobs[0].last_error


def test_what_is_refused_for_good_fails_and_the_others_go_on(tmp_path: Path) -> None:
    _, uids, objects = study_of(4)

    def picky(request: Request, number: int) -> Reply:
        return Reply(0xC000 if request.command["AffectedSOPInstanceUID"] == uids[1] else 0xB000)

    with scp(picky) as (port, came):
        there = peer_at(port)
        with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, objects)
            jobs = until(tmp_path, lambda jobs: sum(job.done + job.failed for job in jobs) == 4)
            until(tmp_path, all_are("done", "failed"))
        with jobs_beside(tmp_path / "index.sqlite") as rows:
            failures = [one for job in rows.listed(("failed",)) for one in rows.failures(job.id)]
    assert (3, 1) == (sum(job.done for job in jobs), sum(job.failed for job in jobs))
    assert [(uids[1], "C-STORE: C000 Error: cannot understand")] == failures
    assert set(uids) == set(came)


def test_a_class_that_the_peer_does_not_take_fails(tmp_path: Path) -> None:
    _, uids, objects = study_of(1)
    mr = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    mr.StudyInstanceUID = "1.2.3"
    with scp(lambda request, number: Reply(), "1.2.840.10008.5.1.4.1.1.2") as (port, came):
        there = peer_at(port)
        with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, [*objects, saved(mr)])
            jobs = until(
                tmp_path,
                lambda jobs: sum(job.done + job.failed for job in jobs) == 2 and all_are("done", "failed")(jobs),
            )
    assert uids == came
    assert ["no presentation context" in job.last_error for job in jobs if job.state == "failed"] == [True]


def test_an_object_that_the_peer_hangs_up_on_does_not_stop_the_others(tmp_path: Path) -> None:
    _, uids, objects = study_of(6)

    def poisoned(request: Request, number: int) -> Reply | None:
        return None if request.command["AffectedSOPInstanceUID"] == uids[0] else Reply()

    with scp(poisoned) as (port, came):
        there = peer_at(port)
        with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK, jobs_give_up=1.0) as node:
            sent(node, objects)
            jobs = until(tmp_path, lambda jobs: all_are("done", "failed")(jobs) and sum(job.done for job in jobs) == 5)
    assert [(1, 0)] == [(job.total - job.done, job.failed) for job in jobs if job.state == "failed"]
    assert all("given up" in job.last_error for job in jobs if job.state == "failed")
    assert set(uids) == set(came)


def test_what_was_deleted_meanwhile_is_not_sent(tmp_path: Path) -> None:
    study, uids, objects = study_of(3)
    port = free_port()
    there = peer_at(port)
    with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK) as node:
        sent(node, objects)
        until(tmp_path, lambda jobs: sum(job.total for job in jobs) == 3)

    async def delete() -> None:
        async with await isocenter.Archive.open(tmp_path) as archive:
            series = (await archive.select(Scope(study)))[0].series
            await archive.delete(Scope(study, series, uids[1]), "the test")

    asyncio.run(delete())
    with scp(lambda request, number: Reply()) as (back, came), ours.node(tmp_path, peers=[peer_at(back)], **QUICK):
        jobs = until(tmp_path, all_are("done"))
    assert {uids[0], uids[2]} == set(came)
    assert (2, 2) == (sum(job.total for job in jobs), sum(job.done for job in jobs))


class _Unreadable(FileBlob):
    """A file that the disk has the beginning of."""

    def peek(self, offset: int, length: int, count: int) -> bytearray | None:
        return None

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        if offset > 1 << 20:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(offset, length)


@pytest.mark.parametrize("trouble", ["cannot be read", "not as long as", "not there"])
def test_an_object_that_cannot_be_read_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    _, uids, objects = study_of(12)
    large = pydicom.dcmread(BytesIO(objects[3]))
    large.Rows, large.Columns, large.PixelData = 1024, 1024, bytes(2 << 20)
    objects[3] = saved(large)
    once = {"jobs_retry_first": 60.0, "jobs_retry_longest": 60.0, "jobs_interval": 0.1}
    with (
        ours.receiver(tmp_path / "there") as receiver,
        ours.node(tmp_path / "data", peers=[peer_at(receiver.port)], **once) as node,
    ):
        sent(node, objects)
        files = [path for path in (tmp_path / "data/objects").rglob("*") if path.is_file()]
        (file,) = [path for path in files if path.stat().st_size > 2 << 20]
        if trouble == "not there":
            file.unlink()
        elif trouble == "not as long as":
            os.truncate(file, file.stat().st_size - 512)
        opened = FileStore.open

        def unreadable(store: FileStore, name: str) -> FileBlob:
            blob = opened(store, name)
            return _Unreadable(os.dup(blob.fileno())) if blob.size > 2 << 20 else blob

        if trouble == "cannot be read":
            monkeypatch.setattr(FileStore, "open", unreadable)
        with jobs_beside(tmp_path / "data/index.sqlite") as rows:
            rows.add([Wanted("forward", "there", items=uids)], time.time())
        (job,) = until(tmp_path / "data", lambda jobs: jobs[0].attempts == 1 and jobs[0].state != "running")
        assert {*uids} - {uids[3]} == data_sets(receiver.folder).keys()
        with jobs_beside(tmp_path / "data/index.sqlite") as rows:
            ((failed, why),) = rows.failures(job.id)
    assert ("failed", 11, 1, uids[3]) == (job.state, job.done, job.failed, failed)
    assert trouble in why
    assert f"1 of 12 failed, the first: {why}" == job.last_error


def forwarded_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, trouble: Callable[[], None]
) -> tuple[Job, list[tuple[str, str]]]:
    """The job of `count` objects that all arrive, though `trouble` began when they were stored; and how its tries
    ended, with what was said of each."""
    _, uids, objects = study_of(count)
    troubles = []

    def ended(job: SqlJobs, number: int, state: str, *arguments: Any, **said: Any) -> None:
        troubles.append((state, said.get("error", "")))
        end(job, number, state, *arguments, **said)  # type: ignore[arg-type]

    end = SqlJobs.end
    monkeypatch.setattr(SqlJobs, "end", ended)
    with (
        ours.receiver(tmp_path / "there") as receiver,
        ours.node(tmp_path / "data", peers=[peer_at(receiver.port)], **QUICK) as node,
    ):
        sent(node, objects)
        trouble()
        with jobs_beside(tmp_path / "data/index.sqlite") as rows:
            rows.add([Wanted("forward", "there", items=uids)], time.time())
        (job,) = until(tmp_path / "data", all_are("done", "failed"))
        assert {*uids} == data_sets(receiver.folder).keys()
    return job, troubles


@pytest.mark.parametrize("short", [2, 9])
def test_a_shortage_of_our_own_is_not_the_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int) -> None:
    """Some wait for the next try while the others go; after many in a row the whole job does."""

    def no_descriptor(*_: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    opened, left = FileStore.open, [no_descriptor] * short

    def exhausted(store: FileStore, name: str) -> FileBlob:
        # What the system says when there are no descriptors left, by the way that this would take.
        with monkeypatch.context() as patch:
            if left:
                patch.setattr(os, "open", left.pop())
            return opened(store, name)

    job, troubles = forwarded_beside(
        tmp_path, monkeypatch, 12, lambda: monkeypatch.setattr(FileStore, "open", exhausted)
    )
    assert ("done", 12, 0) == (job.state, job.done, job.failed)
    assert ("waiting", "opening an object: Too many open files") == troubles[0]


@pytest.mark.parametrize("times", [1, 2])
def test_an_error_of_the_connection_is_not_the_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once, it waits for the next try; as often as no association comes to anything, the job says what of."""
    post, left = Association.post, [OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)) for _ in range(times)]

    async def breaking(*arguments: Any) -> None:
        if left:
            raise left.pop()
        await post(*arguments)

    job, troubles = forwarded_beside(
        tmp_path, monkeypatch, 3, lambda: monkeypatch.setattr(Association, "post", breaking)
    )
    assert ("done", 3, 0) == (job.state, job.done, job.failed)
    assert ("waiting", str(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))) == troubles[0]


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm"])
def test_what_the_peer_does_not_take_as_it_is_goes_uncompressed_where_that_can_be(tmp_path: Path, name: str) -> None:
    one = pydicom.dcmread(str(get_testdata_file(name)))

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[tuple[int, list[str]]]:
        from isocenter.ul.negotiation import Support

        settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
        syntaxes: list[str] = []

        def sink(request: Request) -> Refusal:
            syntaxes.append(request.context.transfer_syntax)
            return Refusal(Reply())

        class Plain(StorageService):
            def supports(self, abstract_syntax: str) -> Support | None:
                found = super().supports(abstract_syntax)
                return found and Support(frozenset({"1.2.840.10008.1.2"}))

        server = dimse_server((Plain(sink),), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        yield server.address[1], syntaxes
        await server.close()

    with ours.background(make) as (port, syntaxes):
        there = peer_at(port)
        with ours.node(tmp_path, peers=[there], rules=[Rule(there)], **QUICK) as node:
            sent(node, [saved(one)])
            jobs = until(tmp_path, all_are("done"))
    assert 1 == jobs[0].done
    assert ["1.2.840.10008.1.2"] == syntaxes
