"""Storage Commitment asked by a running node: for what it forwards, and for what somebody has it ask; reports that come
on the association of the request, to the node's own port, late, twice, after a restart, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import isocenter
import ours
from commitment_scu import QUICK, Clock, files, flip, jobs, objects, stored, until
from isocenter.archive.jobs import Job
from isocenter.archive.routing import Rule
from isocenter.dimse.commitment_request import COMMITMENT_REQUEST, wanted_for
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.index.sql import jobs_beside
from isocenter.known_peers import KnownPeer
from isocenter.net.address import Address
from isocenter.net.requestor import Proposal, associate
from isocenter.server import Node
from isocenter.services.base import Refusal, Reply
from isocenter.services.normalized import TRANSFER_SYNTAXES, Operation, encoded, normalized_request
from isocenter.services.storage import StorageService
from isocenter.services.storage_commitment import (
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
    StorageCommitmentService,
    read_request,
    report_model,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.wire.command import Verb
from peers import free_port

ASKING = {**QUICK, "commitment_ask_after": 0.0, "commitment_hold": 0.0, "commitment_ask_again": 3600.0}
LATER = 3600.0  # s after which the peer is asked where a test turns the clock to it, when all is as it wants it


def peer(port: int, name: str = "backup", **changes: object) -> KnownPeer:
    known = KnownPeer(name, name.upper(), "127.0.0.1", port)  # type: ignore[arg-type]
    return dataclasses.replace(known, **changes)


def committed(to: KnownPeer) -> list[Rule]:
    return [Rule(to, commit=True)]


def asking(node: Node) -> list[Job]:
    """The jobs that ask, the oldest first."""
    return [job for job in reversed(jobs(node)) if job.kind == COMMITMENT_REQUEST]


def over(node: Node) -> bool:
    found = jobs(node)
    return {"forward", COMMITMENT_REQUEST} <= {job.kind for job in found} and {"done", "failed"} >= {
        job.state for job in found
    }


def wanted(node: Node, count: int) -> bool:
    """Whether one request is to be made, of so many objects."""
    return [count] == [job.total for job in asking(node)]


def failures(data: Path, job: Job) -> dict[str, str]:
    with jobs_beside(data / "index.sqlite") as rows:
        return {item.split()[0]: why for item, why in rows.failures(job.id)}


class Archive:
    """An SCP that takes every object and every request, and reports when it is told to. `statuses` are what it answers
    to requests, then 0."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[CommitmentRequest] = []
        self._statuses = list(statuses)

    async def keep(self, operation: Operation) -> None:
        self.requests.append(read_request(operation.model(), 10_000))

    @property
    def service(self) -> StorageCommitmentService:
        archive = self

        class Answering(StorageCommitmentService):
            async def action(self, operation: Operation) -> Reply:
                reply = await super().action(operation)
                return Reply(archive._statuses.pop(0)) if archive._statuses else reply

        return Answering(self)


@contextlib.contextmanager
def listening(archive: Archive, port: int = 0, *, commitment: bool = True) -> Iterator[int]:
    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[int]:
        settings = Settings().replace(dimse_port=port, dimse_aet="BACKUP", dimse_drain_timeout=0.1)
        storage = StorageService(lambda request: Refusal(Reply()))
        server = dimse_server((storage, archive.service) if commitment else (storage,), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        yield server.address[1]
        await server.close()

    with ours.background(make) as bound:
        yield bound


def report(port: int, outcome: CommitmentReport, *, calling: str = "BACKUP", scp: bool = True) -> int:
    """The status that a report gets which an SCP makes on an association of its own; -1: the context was refused."""

    async def tell() -> int:
        proposal = Proposal(STORAGE_COMMITMENT_PUSH, TRANSFER_SYNTAXES, scp=scp)
        to = Address("ISOCENTER", "127.0.0.1", port)  # type: ignore[arg-type]
        association = await associate(to, [proposal], calling=calling, settings=Settings())
        try:
            contexts = association.contexts_for(STORAGE_COMMITMENT_PUSH, as_scp=scp)
            if not contexts:
                return -1
            command = normalized_request(
                Verb.N_EVENT_REPORT, 1, STORAGE_COMMITMENT_PUSH, WELL_KNOWN_INSTANCE, type_id=outcome.event_type
            )
            information = encoded(report_model(outcome, "BACKUP"), contexts[0].transfer_syntax, ())
            return (await association.request(contexts[0], command, [information])).status
        finally:
            await association.release()

    return asyncio.run(tell())


def all_of(request: CommitmentRequest, **failed: int) -> CommitmentReport:
    """The report that commits all of a request, but for those numbered in `failed` (n0=0x0112)."""
    lacking = {request.references[int(name[1:])]: reason for name, reason in failed.items()}
    return CommitmentReport(request.transaction, frozenset(request.references) - lacking.keys(), lacking)


# --- another Isocenter is asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [10.0, 0.0], ids=["same association", "new association"])
def test_what_was_forwarded_is_committed_by_the_peer(tmp_path: Path, hold: float) -> None:
    port = free_port()
    back = KnownPeer("sender", "ISOCENTER", "127.0.0.1", port)  # type: ignore[arg-type]
    theirs = {**QUICK, "dimse_aet": "BACKUP", "commitment_delay": 0.0 if hold else 0.3}
    with ours.node(tmp_path / "backup", peers=[back], **theirs) as backup:
        to = peer(backup.dimse[1])
        mine = {**ASKING, "commitment_hold": hold, "dimse_port": port}
        with ours.node(tmp_path / "data", peers=[to], rules=committed(to), **mine) as node:
            references = stored(node.address, objects(3))
            until(lambda: over(node))
            assert {("done", 0)} == {(job.state, job.failed) for job in jobs(node)}
            assert 3 == sum(job.done for job in jobs(node) if job.kind == "forward")
            assert 3 == sum(job.done for job in asking(node))
        with isocenter.sync.connect(backup.address) as pacs:
            assert frozenset(references) == pacs.commit(references).committed


def test_what_the_peer_damaged_or_lost_is_named_with_its_reason(tmp_path: Path) -> None:
    theirs = {**QUICK, "dimse_aet": "BACKUP"}
    with ours.node(tmp_path / "backup", **theirs) as backup:
        to = peer(backup.dimse[1])
        clock = Clock()
        mine = {**ASKING, "clock": clock, "commitment_ask_after": LATER, "commitment_hold": 10.0}
        with ours.node(tmp_path / "data", peers=[to], rules=committed(to), **mine) as node:
            references = stored(node.address, objects(4))
            until(lambda: len(files(tmp_path / "backup")) == 4 and wanted(node, 4))
            at_rest = files(tmp_path / "backup")
            flip(at_rest[references[1].instance])
            at_rest[references[2].instance].unlink()
            clock.ahead += LATER
            until(lambda: over(node))
            (job,) = asking(node)
    assert ("failed", 4, 2, 2) == (job.state, job.total, job.done, job.failed)
    assert job.last_error.startswith("2 of 4 failed, the first: 0110")
    assert {references[1].instance, references[2].instance} == failures(tmp_path / "data", job).keys()


# --- an SCP that does as it likes ------------------------------------------------------------------------------------


@contextlib.contextmanager
def forwarding(data: Path, archive: Archive, **settings: object) -> Iterator[tuple[Node, KnownPeer]]:
    with listening(archive) as port:
        to = peer(port)
        with ours.node(data, peers=[to], rules=committed(to), **{**ASKING, **settings}) as node:
            yield node, to


def test_a_report_to_our_own_port_ends_the_job_and_may_come_twice(tmp_path: Path) -> None:
    archive = Archive()
    with forwarding(tmp_path, archive) as (node, _):
        references = stored(node.address, objects(3))
        until(lambda: 3 == sum(len(one.references) for one in archive.requests))
        until(lambda: {"waiting"} == {job.state for job in asking(node)})
        assert {"asked; the report is awaited"} == {job.last_error for job in asking(node)}
        assert set(references) == {one for request in archive.requests for one in request.references}
        for request in archive.requests:
            assert [0, 0] == [report(node.dimse[1], all_of(request)) for _ in range(2)]
        until(lambda: over(node))
        assert {("done", 0)} == {(job.state, job.failed) for job in asking(node)}


def test_a_report_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    with forwarding(tmp_path, Archive()) as (node, _):
        unknown = CommitmentReport("1.2.3.4", frozenset({Reference("1.2", "1.3")}), {})
        assert 0x0115 == report(node.dimse[1], unknown)


def test_an_scp_that_does_not_negotiate_its_role_is_told_so(tmp_path: Path) -> None:
    archive = Archive()
    with forwarding(tmp_path, archive) as (node, _):
        stored(node.address, objects(1))
        until(lambda: bool(archive.requests))
        assert 0x0211 == report(node.dimse[1], all_of(archive.requests[0]), scp=False)
        # Not before the association that asked is over, which the report may have overtaken.
        until(lambda: "waiting" == asking(node)[0].state)
        assert "asked; the report is awaited" == asking(node)[0].last_error


def test_a_peer_that_may_ask_for_nothing_may_report(tmp_path: Path) -> None:
    archive = Archive()
    with listening(archive) as port:
        to = peer(port, services=frozenset({"echo"}))
        with ours.node(tmp_path, peers=[to], rules=committed(to), **ASKING) as node:
            stored(node.address, objects(1))
            until(lambda: bool(archive.requests))
            assert -1 == report(node.dimse[1], all_of(archive.requests[0]), scp=False)
            assert 0 == report(node.dimse[1], all_of(archive.requests[0]))
            until(lambda: over(node))


def test_reasons_are_kept_and_what_the_peer_cannot_do_now_is_asked_again(tmp_path: Path) -> None:
    archive, clock = Archive(), Clock()
    with forwarding(tmp_path, archive, clock=clock, commitment_ask_after=LATER) as (node, _):
        references = stored(node.address, objects(3))
        until(lambda: wanted(node, 3))
        clock.ahead += LATER
        until(lambda: bool(archive.requests))
        (first,) = archive.requests
        place = {reference: number for number, reference in enumerate(first.references)}
        reasons = {f"n{place[references[0]]}": 0x0112, f"n{place[references[1]]}": 0x0213}
        assert 0 == report(node.dimse[1], all_of(first, **reasons))
        (job,) = asking(node)
        assert ("waiting", 1, 1) == (job.state, job.done, job.failed)
        assert "not committed yet: 0213 Resource limitation" == job.last_error
        asyncio.run(node.archive.jobs.retry(job.id))
        until(lambda: 2 == len(archive.requests))
        assert first.transaction != archive.requests[1].transaction
        assert {references[0], references[1]} == set(archive.requests[1].references), "an operator's retry takes all"
        second = archive.requests[1]
        lacking = f"n{second.references.index(references[0])}"
        assert 0 == report(node.dimse[1], all_of(second, **{lacking: 0x0112}))
        until(lambda: over(node))
        (job,) = asking(node)
    assert ("failed", 3, 2, 1) == (job.state, job.total, job.done, job.failed)
    assert {references[0].instance: "0112 No such object instance"} == failures(tmp_path, job)


def test_without_a_report_the_peer_is_asked_again_and_a_late_one_counts(tmp_path: Path) -> None:
    archive = Archive()
    with forwarding(tmp_path, archive, commitment_ask_again=0.3) as (node, _):
        stored(node.address, objects(1))
        until(lambda: 3 <= len(archive.requests))
        assert len(archive.requests) == len({request.transaction for request in archive.requests})
        assert 0 == report(node.dimse[1], all_of(archive.requests[0]))
        until(lambda: over(node))
        assert 1 == asking(node)[0].done


def test_what_a_report_says_nothing_of_is_asked_again(tmp_path: Path) -> None:
    archive, clock = Archive(), Clock()
    settings = {"clock": clock, "commitment_ask_after": LATER, "commitment_ask_again": 0.3}
    with forwarding(tmp_path, archive, **settings) as (node, _):
        stored(node.address, objects(2))
        until(lambda: wanted(node, 2))
        clock.ahead += LATER
        until(lambda: bool(archive.requests))
        first = archive.requests[0]
        one, other = first.references
        assert 0 == report(node.dimse[1], CommitmentReport(first.transaction, frozenset({one}), {}))
        until(lambda: (other,) in [request.references for request in archive.requests])
        assert 0 == report(node.dimse[1], all_of(archive.requests[-1]))
        until(lambda: over(node))
        assert 2 == asking(node)[0].done


def test_a_report_after_a_restart_and_a_peer_that_was_down(tmp_path: Path) -> None:
    archive, away, port = Archive(), free_port(), free_port()
    to = peer(away)
    rows = {**ASKING, "dimse_port": port}
    with listening(archive, away), ours.node(tmp_path, peers=[to], rules=committed(to), **rows) as node:
        stored(node.address, objects(2))
        until(lambda: 2 == sum(len(one.references) for one in archive.requests))
        until(lambda: {"waiting"} == {job.state for job in asking(node)})
    with ours.node(tmp_path, peers=[to], **rows) as node:
        second = asyncio.run(node.archive.jobs.add(wanted_for("backup", [Reference("1.2", "1.3")])))
        until(lambda: bool(asking(node)[-1].last_error))
        for request in archive.requests:
            assert 0 == report(node.dimse[1], all_of(request))
        until(lambda: {"done"} == {job.state for job in asking(node) if job.id not in second})
    archive.requests.clear()
    with listening(archive, away), ours.node(tmp_path, peers=[to], **rows) as node:
        until(lambda: bool(archive.requests))
        assert 0 == report(node.dimse[1], all_of(archive.requests[0], n0=0x0122))
        until(lambda: "failed" == asking(node)[-1].state)
        assert "0122" in asking(node)[-1].last_error


def test_a_request_that_is_refused_now_is_made_again_and_one_refused_for_good_fails(tmp_path: Path) -> None:
    archive = Archive(0x0213, 0x0123)
    with forwarding(tmp_path, archive) as (node, _):
        stored(node.address, objects(1))
        until(lambda: over(node))
        (job,) = asking(node)
    assert ("failed", 0, 0) == (job.state, job.done, job.failed)
    assert "N-ACTION: 0123" in job.last_error
    assert 2 == len(archive.requests)


def test_a_peer_without_the_service_is_said_to_have_none(tmp_path: Path) -> None:
    with listening(Archive(), commitment=False) as port:
        to = peer(port)
        with ours.node(tmp_path, peers=[to], rules=committed(to), **ASKING) as node:
            stored(node.address, objects(1))
            until(lambda: any(job.last_error for job in asking(node)))
            assert "presentation context" in asking(node)[0].last_error


def test_a_cancelled_job_takes_the_report_and_stays_cancelled(tmp_path: Path) -> None:
    archive = Archive()
    with forwarding(tmp_path, archive) as (node, _):
        stored(node.address, objects(1))
        until(lambda: bool(archive.requests) and asking(node)[0].state == "waiting")
        asyncio.run(node.archive.jobs.cancel(asking(node)[0].id))
        assert 0 == report(node.dimse[1], all_of(archive.requests[0]))
        (job,) = asking(node)
        assert ("cancelled", 1) == (job.state, job.done)


def test_rules_without_commit_ask_nobody(tmp_path: Path) -> None:
    archive = Archive()
    with listening(archive) as port:
        to = peer(port)
        with ours.node(tmp_path, peers=[to], rules=[Rule(to)], **ASKING) as node:
            stored(node.address, objects(1))
            until(lambda: {"done"} == {job.state for job in jobs(node)})
            assert ["forward"] == [job.kind for job in jobs(node)]
    assert not archive.requests
