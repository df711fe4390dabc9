"""The durable queue: states, back-off on a clock of our own, restarts, and another process that interferes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from isocenter.archive.jobs import JobQueue, Performer, Wanted, Work, back_off
from isocenter.errors import BadRequest, ConnectFailed, DataFolderError, JobFailed, NotFound
from isocenter.index.jobs import Job, State
from isocenter.index.sql import SqlIndex, jobs_beside
from isocenter.settings import Settings

SETTINGS = Settings().replace(
    jobs_retry_first=10, jobs_retry_longest=100, jobs_give_up=1000, jobs_interval=0.05, jobs_history=3
)
Try = Callable[[Work], Awaitable[None]]


class Clock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A performer that does what it is told, one step a try; without a step left it does all items."""

    def __init__(self, *steps: Try) -> None:
        self.steps = list(steps)
        self.tries = 0
        self.at_once = self.most_at_once = 0

    async def perform(self, work: Work) -> None:
        self.tries += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.steps.pop(0) if self.steps else do_all)(work)
        finally:
            self.at_once -= 1


async def do_all(work: Work) -> None:
    while uids := await work.items(2):
        await work.save(done=uids)


async def peer_is_down(work: Work) -> None:
    raise ConnectFailed("nobody listens")


async def for_good(work: Work) -> None:
    raise JobFailed("never")


async def fault(work: Work) -> None:
    raise ZeroDivisionError


async def for_ever(work: Work) -> None:
    await asyncio.Event().wait()


def run(path: Path, test: Callable[[SqlIndex, Clock], Coroutine[Any, Any, None]]) -> None:
    index = SqlIndex(path)
    try:
        asyncio.run(test(index, Clock()))
    finally:
        index.close()


@asynccontextmanager
async def queue_of(
    index: SqlIndex, clock: Clock, performer: Performer, settings: Settings = SETTINGS
) -> AsyncIterator[JobQueue]:
    queue = JobQueue(index.jobs, settings, clock=clock)
    queue.start({"forward": performer, "notify": performer})
    try:
        yield queue
    finally:
        await queue.close()


async def until(queue: JobQueue, number: int, state: State, *, attempts: int | None = None) -> Job:
    """The job, once it is in `state` (after so many tries)."""
    async with asyncio.timeout(60):
        while True:
            job = await queue.get(number)
            if job.state == state and attempts in (None, job.attempts):
                return job
            await asyncio.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


# --- back-off


def test_the_wait_doubles_up_to_the_longest_half_of_it_by_chance() -> None:
    assert [10, 20, 40, 80, 100, 100] == [back_off(n, 10, 100, lambda: 1.0) for n in range(1, 7)]
    assert [5, 10, 20, 40, 50, 50] == [back_off(n, 10, 100, lambda: 0.0) for n in range(1, 7)]
    assert 100 == back_off(100_000, 10, 100, lambda: 1.0)


def test_a_peer_that_is_down_is_asked_again_later_and_later(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        script = Script(peer_is_down, peer_is_down, peer_is_down)
        async with queue_of(index, clock, script) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.2"]))
            for attempt, wait in ((1, 10), (2, 20), (3, 40)):
                job = await until(queue, number, "waiting", attempts=attempt)
                assert "nobody listens" == job.last_error
                assert wait / 2 <= job.next_at - clock.now <= wait
                assert attempt == script.tries
                clock.now = job.next_at - 0.001
                queue.wake()
                await asyncio.sleep(0.15)
                assert attempt == script.tries, "before its time"
                clock.now = job.next_at
                queue.wake()
            job = await until(queue, number, "done")
        assert (1, 1, 0, "") == (job.total, job.done, job.failed, job.last_error)

    run(path, test)


def test_one_job_calls_for_all_and_the_others_follow_it(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(*[peer_is_down] * 4)) as queue:
            numbers = await queue.add(*(Wanted("forward", "pacs", items=["1.2"]) for _ in range(3)))
            for number in numbers:
                await until(queue, number, "waiting", attempts=1)
            clock.now = max(job.next_at for job in index.jobs.listed())
            queue.wake()
            async with asyncio.timeout(60):
                while 2 not in [job.attempts for job in index.jobs.listed() if job.state == "waiting"]:
                    await asyncio.sleep(0.01)
                # The others are put off in a transaction of its own, behind that of the one that called.
                while 1 != len({job.next_at for job in index.jobs.listed()}):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            jobs = index.jobs.listed()
            assert [1, 1, 2] == sorted(job.attempts for job in jobs), "one calls for all"
            assert 1 == len({job.next_at for job in jobs})
            clock.now = jobs[0].next_at - 0.001
            [elsewhere] = await queue.add(Wanted("forward", "other", items=["1.2"]))
            await until(queue, elsewhere, "done")
            assert {"waiting": 3, "done": 1} == index.jobs.counts()
            # Another one gets through, and they follow though their time has not come.
            [fresh] = await queue.add(Wanted("forward", "pacs", items=["1.2"]))
            for number in (fresh, *numbers):
                assert 1 == (await until(queue, number, "done")).done

    run(path, test)


def test_what_got_through_begins_the_waiting_anew(path: Path) -> None:
    async def half(work: Work) -> None:
        [first] = await work.items(1)
        await work.save(done=[first])
        raise ConnectFailed("lost")

    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(peer_is_down, peer_is_down, half)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1", "1.2"]))
            for attempt in (1, 2):
                clock.now = (await until(queue, number, "waiting", attempts=attempt)).next_at
                queue.wake()
            job = await until(queue, number, "waiting", attempts=1)
            while job.done != 1:
                job = await until(queue, number, "waiting", attempts=1)
            assert job.next_at - clock.now <= 10
            assert clock.now == job.progressed_at
            clock.now = job.next_at
            queue.wake()
            assert 2 == (await until(queue, number, "done")).done

    run(path, test)


def test_a_job_of_which_nothing_can_be_done_is_given_up(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(peer_is_down, peer_is_down)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.2"]))
            await until(queue, number, "waiting", attempts=1)
            clock.now += SETTINGS.jobs_give_up
            queue.wake()
            job = await until(queue, number, "failed")
            assert "given up after 2 tries: nobody listens" == job.last_error
            # An operator knows better.
            assert "waiting" == (await queue.retry(number)).state
            await until(queue, number, "done")

    run(path, test)


# --- outcomes


@pytest.mark.parametrize(("step", "error"), [(for_good, "never"), (fault, "ZeroDivisionError")])
def test_failures(path: Path, step: Try, error: str) -> None:
    """What is no use is not tried again; a fault of ours is, as it may be the moment's."""

    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(step)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", payload={"a": [1]}))
            job = await until(queue, number, "failed" if step is for_good else "waiting", attempts=1)
        assert error in job.last_error
        assert {"a": [1]} == job.payload

    run(path, test)


def test_items_that_fail_leave_the_others_alone_and_can_be_retried(path: Path) -> None:
    async def some(work: Work) -> None:
        uids = await work.items()
        await work.save(done=uids[:2], failed={uids[2]: "refused"}, dropped=uids[3:4])

    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(some)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1", "1.2", "1.3", "1.4", "1.1"]))
            job = await until(queue, number, "failed")
            assert (3, 2, 1) == (job.total, job.done, job.failed)
            assert "1 of 3 failed, the first: refused" == job.last_error
            assert [("1.3", "refused")] == index.jobs.failures(number)
            await queue.retry(number)
            job = await until(queue, number, "done")
            assert (3, 3, 0) == (job.total, job.done, job.failed)

    run(path, test)


def test_what_a_try_left_is_tried_again(path: Path) -> None:
    async def one_of_two(work: Work) -> None:
        await work.save(done=(await work.items())[:1])
        work.trouble = "the peer is full"

    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(one_of_two)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1", "1.2"]))
            async with asyncio.timeout(60):
                while (job := await queue.get(number)).last_error != "the peer is full":
                    await asyncio.sleep(0.01)
            assert "waiting" == job.state
            clock.now = job.next_at
            queue.wake()
            await until(queue, number, "done")

    run(path, test)


def test_only_the_newest_that_are_over_are_kept(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script()) as queue:
            numbers = await queue.add(*(Wanted("forward", f"peer{n}", items=["1.2"]) for n in range(70)))
            async with asyncio.timeout(60):
                while index.jobs.listed(("waiting", "running")):
                    await asyncio.sleep(0.02)
            # The queue itself looks now and then, so that it is bounded and not exact.
            assert len(index.jobs.listed()) < 70
        index.jobs.prune(SETTINGS.jobs_history)
        assert numbers[:-4:-1] == [job.id for job in index.jobs.listed()]

    run(path, test)


# --- gathering


def test_items_gather_in_the_job_that_waits(path: Path) -> None:
    def wanted(uid: str, target: str = "pacs", key: str = "", gather: float = 50.0) -> Wanted:
        return Wanted("forward", target, items=[uid], key=key, gather=gather)

    index = SqlIndex(path)
    jobs = index.jobs
    first = jobs.add([wanted("1.1")], 100.0)[0]
    assert [first, first] == jobs.add([wanted("1.2"), wanted("1.1")], 110.0)
    assert 2 == jobs.get(first).total
    assert first not in jobs.add([wanted("1.3", target="other"), wanted("1.3", key="study")], 110.0)
    assert first != jobs.add([wanted("1.4")], 151.0)[0], "its time is half over"
    assert first not in jobs.add([wanted("1.5", gather=0.0)], 120.0)
    claimed = jobs.claim(200.0, ["forward"])
    assert claimed is not None
    assert first == claimed.id
    assert first not in jobs.add([wanted("1.6", gather=1000.0)], 201.0), "it runs"
    index.close()


def test_a_notification_waits_until_the_study_is_quiet(path: Path) -> None:
    index = SqlIndex(path)
    jobs = index.jobs

    def came(uid: str, at: float) -> int:
        return jobs.add([Wanted("notify", "ris", items=[uid], key="1.2", gather=1000.0, delay=60.0)], at)[0]

    number = came("1.2.1", 100.0)
    assert 160.0 == jobs.get(number).next_at
    assert number == came("1.2.2", 150.0)
    assert 210.0 == jobs.get(number).next_at
    assert jobs.claim(209.0, ["notify"]) is None
    claimed = jobs.claim(210.0, ["notify"])
    assert claimed is not None
    jobs.end(number, "waiting", 210.0, error="down", next_at=220.0)
    assert number == came("1.2.3", 215.0)
    assert 220.0 == jobs.get(number).next_at, "what was tried keeps its time"
    index.close()


# --- how many at a time


def test_one_of_a_kind_for_a_target_at_a_time_and_so_many_overall(path: Path) -> None:
    release = asyncio.Event()

    async def held(work: Work) -> None:
        await release.wait()
        await do_all(work)

    async def test(index: SqlIndex, clock: Clock) -> None:
        settings = SETTINGS.replace(jobs_concurrency=3)
        script = Script(*[held] * 20)

        async def begun(count: int) -> None:
            """So many are under way, and in a while no more."""
            async with asyncio.timeout(60):
                while script.at_once < count:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert count == script.at_once

        async with queue_of(index, clock, script, settings) as queue:
            await queue.add(*(Wanted("forward", "a", items=[f"1.{n}"]) for n in range(3)))
            await begun(1)
            await queue.add(*(Wanted(kind, target) for kind in ("notify", "forward") for target in "abcd"))
            await begun(3)
            release.set()
            async with asyncio.timeout(60):
                while index.jobs.counts() != {"done": 11}:
                    await asyncio.sleep(0.02)
        assert 3 == script.most_at_once

    run(path, test)


def test_kinds_that_nobody_performs_wait(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script()) as queue:
            [report] = await queue.add(Wanted("commitment-report", "pacs"))
            await asyncio.sleep(0.2)
            assert "waiting" == (await queue.get(report)).state
            queue.start({"commitment-report": Script()})
            await until(queue, report, "done")

    run(path, test)


# --- restarts and other processes


def test_what_ran_when_the_process_died_waits_again(path: Path) -> None:
    async def dies(index: SqlIndex, clock: Clock) -> None:
        index.jobs.add([Wanted("forward", "pacs", items=["1.1", "1.2"])], clock.now)
        job = index.jobs.claim(clock.now, ["forward"])
        assert job is not None
        assert index.jobs.progress(job.id, clock.now, done=["1.1"])

    async def comes_back(index: SqlIndex, clock: Clock) -> None:
        assert {"running": 1} == index.jobs.counts()
        async with queue_of(index, clock, Script()) as queue:
            job = await until(queue, 1, "done")
        assert (2, 2) == (job.total, job.done)

    run(path, dies)
    run(path, comes_back)


def test_a_job_that_takes_the_process_down_again_and_again_waits_longer(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        [number] = index.jobs.add([Wanted("forward", "pacs", items=["1.1"])], clock.now)
        waits = []
        for _ in range(4):
            job = index.jobs.claim(clock.now, ["forward"])
            assert job is not None
            JobQueue(index.jobs, SETTINGS, clock=clock)  # the next process
            waits.append(index.jobs.get(number).next_at - clock.now)
            clock.now += waits[-1]
        assert 0 == waits[0]
        assert all(5 * 2**n <= wait <= 10 * 2**n for n, wait in enumerate(waits[1:]))

    run(path, test)


def test_a_stop_puts_back_what_runs(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async with queue_of(index, clock, Script(for_ever)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1"]))
            await until(queue, number, "running")
        assert "waiting" == index.jobs.get(number).state
        assert clock.now == index.jobs.get(number).next_at

    run(path, test)


def test_a_clock_that_was_set_back_does_not_keep_jobs(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        index.jobs.add([Wanted("forward", "pacs", items=["1.1"], delay=86400.0)], clock.now)
        queue = JobQueue(index.jobs, SETTINGS, clock=clock)
        assert clock.now + SETTINGS.jobs_retry_longest == (await queue.get(1)).next_at

    run(path, test)


def test_another_process_cancels_what_runs_and_retries_it(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        stopped = asyncio.Event()

        async def until_stopped(work: Work) -> None:
            try:
                await for_ever(work)
            finally:
                stopped.set()

        async with queue_of(index, clock, Script(until_stopped)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1"]))
            await until(queue, number, "running")
            with jobs_beside(path) as beside:
                assert [number] == [job.id for job in beside.listed()]
                with pytest.raises(BadRequest, match="running"):
                    beside.retry(number, clock.now)
                assert "cancelled" == beside.cancel(number, clock.now).state
                await asyncio.wait_for(stopped.wait(), 60)
                with pytest.raises(BadRequest, match="cancelled"):
                    beside.cancel(number, clock.now)
                with pytest.raises(NotFound):
                    beside.cancel(number + 1, clock.now)
                assert "cancelled" == (await queue.get(number)).state
                beside.retry(number, clock.now)
            await until(queue, number, "done")

    run(path, test)


def test_the_outcome_of_a_job_that_was_cancelled_meanwhile_is_not_kept(path: Path) -> None:
    async def test(index: SqlIndex, clock: Clock) -> None:
        async def cancelled_under_it(work: Work) -> None:
            index.jobs.cancel(work.job.id, clock.now)
            await work.save(done=await work.items())
            raise AssertionError("save() has to end it")

        async with queue_of(index, clock, Script(cancelled_under_it)) as queue:
            [number] = await queue.add(Wanted("forward", "pacs", items=["1.1"]))
            job = await until(queue, number, "cancelled")
            await asyncio.sleep(0.1)
        assert ("cancelled", 0) == (index.jobs.get(number).state, job.done)

    run(path, test)


def test_nobody_else_migrates(path: Path) -> None:
    with pytest.raises(DataFolderError, match="not a data folder"), jobs_beside(path):
        pass
    index = SqlIndex(path)
    with index._writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    index.close()
    with pytest.raises(DataFolderError, match="schema 0001"), jobs_beside(path):
        pass


def test_ten_thousand_items_are_one_job(path: Path) -> None:
    index = SqlIndex(path)
    uids = [f"1.2.826.0.1.3680043.8.498.{n}" for n in range(10_000)]
    [number] = index.jobs.add([Wanted("forward", "pacs", items=uids)], 0.0)
    assert 10_000 == index.jobs.get(number).total
    seen: list[str] = []
    after = 0
    while found := index.jobs.items(number, after, 700):
        after = found[-1][0]
        seen += [uid for _, uid in found]
    assert uids == seen
    index.close()
