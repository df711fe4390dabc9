"""A peer that is away for a day and longer, on a clock that the test turns: forwarding, reports of Storage Commitment,
and requests for it. Nothing is given up before its time, the peer is not called more often than the back-off says, and
what waited goes out when it is back, though the server was restarted in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ours
from commitment_scu import Clock, Heard, asked_and_released, jobs, modality, objects, stored
from commitment_scu import listening as scu_listening
from isocenter.archive.jobs import Job
from isocenter.archive.routing import Rule
from isocenter.dimse.commitment import COMMITMENT
from isocenter.dimse.commitment_request import COMMITMENT_REQUEST, wanted_for
from isocenter.known_peers import KnownPeer
from isocenter.server import Node
from isocenter.settings import Settings
from peers import free_port
from skins.test_commitment_asked import Archive, all_of, listening, peer, report

DAY, DEFAULTS = 86400.0, Settings()
# All times that count are those of the settings table; only how often rows of other processes are looked at is ours.
ROWS = {"jobs_interval": 0.05, "commitment_delay": 0.0, "commitment_hold": 0.0}


class Site:
    """A node that can be stopped and started on the same folder, port and clock."""

    def __init__(self, data: Path, peers: list[KnownPeer], rules: list[Rule]) -> None:
        self.clock = Clock()
        self._turned = 0.0  # when the clock was, as it is now: what was tried last began after that
        self.port = free_port()
        self._arguments: dict[str, Any] = {
            "data": data, "peers": peers, "rules": rules, "clock": self.clock, "dimse_port": self.port, **ROWS,
        }  # fmt: skip
        self._running: contextlib.AbstractContextManager[Node] | None = None

    def start(self) -> None:
        self._running = ours.node(**self._arguments)
        self.node = self._running.__enter__()

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    def job(self, kind: str) -> Job:
        (job,) = [one for one in jobs(self.node) if one.kind == kind]
        return job

    def until(self, kind: str, true: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + 60
        while not true(job := self.job(kind)):
            assert time.monotonic() < deadline, job
            time.sleep(0.005)
        return job

    def turn_to(self, at: float) -> None:
        self.clock.ahead += max(0.0, at - self.clock())
        self._turned = self.clock()
        self.node.archive.jobs.wake()

    def next_try(self, kind: str) -> tuple[float, float]:
        """Turn the clock to when the job is due, and let it be tried once. For how long it had waited then, at least
        and at most: nobody knows how long the try before took."""
        job = self.until(kind, lambda job: job.state == "waiting")
        least, most = job.next_at - self.clock(), job.next_at - self._turned
        self.turn_to(job.next_at)
        self.until(kind, lambda now: now.attempts > job.attempts and now.state == "waiting")
        return least, most


@contextlib.contextmanager
def site(data: Path, known: KnownPeer, *rules: Rule) -> Iterator[Site]:
    there = Site(data, [known], list(rules))
    there.start()
    try:
        yield there
    finally:
        there.stop()


def a_day(there: Site, kind: str) -> None:
    """24 hours without the peer, restarted at noon; each wait is what the back-off says."""
    begun, restarted = there.clock(), False
    tries = there.until(kind, lambda job: job.state == "waiting" and job.attempts > 0).attempts
    while there.clock() < begun + DAY:
        least, most = there.next_try(kind)
        whole = min(DEFAULTS.jobs_retry_longest, DEFAULTS.jobs_retry_first * 2 ** (tries - 1))
        assert least <= whole
        assert whole / 2 <= most
        tries += 1
        if not restarted and there.clock() > begun + DAY / 2:
            restarted = True
            there.stop()
            there.start()
    assert restarted
    job = there.job(kind)
    assert tries == job.attempts
    assert ("waiting", 0, 0) == (job.state, job.done, job.failed)
    assert DAY / DEFAULTS.jobs_retry_longest <= tries <= 2 * DAY / DEFAULTS.jobs_retry_longest + 16


def back(there: Site, kind: str) -> Job:
    """The peer is there again: it has what waited within the longest wait."""
    job = there.until(kind, lambda job: job.state == "waiting")
    assert job.next_at - there.clock() <= DEFAULTS.jobs_retry_longest
    there.turn_to(job.next_at)
    return there.until(kind, lambda job: job.state in ("done", "failed"))


def test_forwarding(tmp_path: Path) -> None:
    port, archive = free_port(), Archive()
    to = peer(port)
    with site(tmp_path, to, Rule(to)) as there:
        stored(there.node.address, objects(1))
        a_day(there, "forward")
        with listening(archive, port):
            job = back(there, "forward")
    assert ("done", 1) == (job.state, job.done)


def test_a_report_of_storage_commitment(tmp_path: Path) -> None:
    port, heard = free_port(), Heard()
    with site(tmp_path, modality(port)) as there:
        references = stored(there.node.address, objects(2))
        asked_and_released(there.node, references)
        a_day(there, COMMITMENT)
        with scu_listening(heard, port):
            job = back(there, COMMITMENT)
    assert "done" == job.state
    assert [frozenset(references)] == [one.committed for one in heard.reports]


def test_a_request_for_storage_commitment_to_a_peer_that_is_down(tmp_path: Path) -> None:
    port, archive = free_port(), Archive()
    with site(tmp_path, peer(port)) as there:
        references = stored(there.node.address, objects(2))
        asyncio.run(there.node.archive.jobs.add(wanted_for("backup", references)))
        a_day(there, COMMITMENT_REQUEST)
        with listening(archive, port):
            job = there.until(COMMITMENT_REQUEST, lambda job: job.state == "waiting")
            there.turn_to(job.next_at)
            there.until(COMMITMENT_REQUEST, lambda job: job.last_error.startswith("asked"))
            assert 0 == report(there.port, all_of(archive.requests[0]))
            assert 2 == there.until(COMMITMENT_REQUEST, lambda job: job.state == "done").done


def test_a_peer_that_is_up_and_does_not_report_for_a_day(tmp_path: Path) -> None:
    """It is asked every four hours, and not at once because of a restart; its report on the first request counts."""
    archive = Archive()
    with listening(archive) as port, site(tmp_path, peer(port)) as there:
        references = stored(there.node.address, objects(2))
        asyncio.run(there.node.archive.jobs.add(wanted_for("backup", references)))
        begun = there.clock()
        kind = COMMITMENT_REQUEST
        there.until(kind, lambda job: job.last_error.startswith("asked"))
        while there.clock() < begun + DAY:
            least, most = there.next_try(kind)
            assert least <= DEFAULTS.commitment_ask_again <= most
            if len(archive.requests) == 4:
                there.stop()
                there.start()
        assert 7 == len(archive.requests) == len({request.transaction for request in archive.requests})
        assert 0 == report(there.port, all_of(archive.requests[0]))
        assert 2 == there.until(kind, lambda job: job.state == "done").done


@pytest.mark.parametrize("kind", ["forward", COMMITMENT_REQUEST])
def test_nothing_is_given_up_before_a_week_and_then_it_is(tmp_path: Path, kind: str) -> None:
    to = peer(free_port())
    with site(tmp_path, to, *([Rule(to)] if kind == "forward" else [])) as there:
        references = stored(there.node.address, objects(1))
        if kind == COMMITMENT_REQUEST:
            asyncio.run(there.node.archive.jobs.add(wanted_for("backup", references)))
        made = there.until(kind, lambda job: job.state == "waiting" and job.attempts == 1).progressed_at
        there.turn_to(made + DEFAULTS.jobs_give_up - 60)
        there.until(kind, lambda job: job.state == "waiting" and job.attempts == 2)
        there.turn_to(made + DEFAULTS.jobs_give_up + 60)
        job = there.until(kind, lambda job: job.state != "waiting" and job.state != "running")
    assert "failed" == job.state
    assert job.last_error.startswith("given up after 3 tries")
