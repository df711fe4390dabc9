"""The durable queue of what is to be done for peers: forwarding, notifications, storage commitment in both roles.

A job is a row of the index (isocenter.index.jobs). It is performed while this process lives, and waits in its row
otherwise: after `kill -9` what was running waits again. Who performs a kind of job is handed in by the composition
root, so that the archive knows nothing of associations.

    waiting -> running -> done
       ^         |  \\--> failed      refused for good, or nothing achieved for jobs.give_up
       |         v
       +----- trouble: 5 s, 10 s, 20 s, ... up to 15 min, half of it by chance; or as long as the peer may think
    any of them -> cancelled, failed or cancelled -> waiting   (`isocenter jobs`)

The chance keeps a hundred archives from calling a peer that came back all in one moment. Of the jobs for a peer that
cannot be reached, one calls it for all, and when it gets through the others follow at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from isocenter.errors import (
    AssociationRejected,
    ConnectFailed,
    IsocenterError,
    JobFailed,
    NotFound,
    PeerTimeout,
    TlsError,
)
from isocenter.index.jobs import Job, State, Wanted
from isocenter.index.sql_jobs import SqlJobs
from isocenter.settings import Settings

__all__ = ["Job", "JobFailed", "JobQueue", "Performer", "Wanted", "Work", "back_off"]

log = logging.getLogger("isocenter.jobs")
_PRUNE_EVERY = 32  # jobs
_ALL = 1 << 62


# No association can be had, whatever the job
_UNREACHABLE = (ConnectFailed, AssociationRejected, PeerTimeout, TlsError)


class Performer(Protocol):
    """Does the work of one kind of job."""

    async def perform(self, work: Work) -> None:
        """Try once. To return is to be done, unless items of the job are left, which are tried again later.

        Raise any IsocenterError to have all that is left tried again later, and JobFailed if that is no use. The
        message goes to the row and to the log: no patient data. When the job is cancelled or the server stops, the
        task is cancelled. May be called again for what was done already, after a crash: it must do no harm twice.
        """
        ...


class Work:
    """A job that runs: what a performer sees of it."""

    def __init__(self, job: Job, rows: SqlJobs, clock: Callable[[], float]) -> None:
        self.job = job
        self.trouble = ""
        """Why some items are left; shown with the job when the performer returns without having done them all."""
        self.pause = 0.0
        """Seconds until the next try of what is left when the performer returns, where that is not for the back-off to
        say: the peer owes an answer."""
        self._rows = rows
        self._clock = clock
        self._after = 0

    async def items(self, most: int = 500) -> list[str]:
        """The next items in the order they came, each once in this try; [] at the end."""
        found = await asyncio.to_thread(self._rows.items, self.job.id, self._after, most)
        if found:
            self._after = found[-1][0]
        return [uid for _, uid in found]

    async def save(
        self,
        *,
        done: Collection[str] = (),
        failed: Mapping[str, str] | None = None,
        dropped: Collection[str] = (),
        then: Sequence[Wanted] = (),
    ) -> None:
        """Keep durably what became of some items: done, not to be tried again (and why), or without object by now; and
        with it the jobs that follow from it."""
        if not (done or failed or dropped):
            return
        outcome: dict[str, Any] = {"done": done, "failed": failed, "dropped": dropped, "then": then}
        if not await asyncio.to_thread(self._rows.progress, self.job.id, self._clock(), **outcome):
            raise _NotOurs

    async def asked(self, transaction: str) -> None:
        """Keep durably that what JobQueue.reported() gets under this Transaction UID is about items of this job."""
        if not await asyncio.to_thread(self._rows.asked, self.job.id, transaction, self._clock()):
            raise _NotOurs


class _NotOurs(Exception):
    """Somebody cancelled the job."""


def back_off(attempts: int, first: float, longest: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after so many tries in a row without success; `chance` gives 0 to 1."""
    whole = min(longest, first * 2.0 ** min(attempts - 1, 60))
    return whole / 2 * (1 + chance())


class JobQueue:
    """The jobs of one data folder. Used from one event loop; `wake` may be called from any thread."""

    def __init__(self, rows: SqlJobs, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """What another process was performing waits again; blocking. The caller holds the data folder's lock."""
        self._rows = rows
        self._settings = settings
        self._clock = clock
        self._performers: dict[str, Performer] = {}
        self._working: dict[int, tuple[Job, asyncio.Task[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._scheduler: asyncio.Task[None] | None = None
        self._closing = False
        self._settling: set[int] = set()  # jobs of which only the outcome is still to be written
        self._outcomes = asyncio.Lock()  # a report and the end of the try that asked for it see each other
        # The first interruption is most likely not the job's fault.
        interrupted = self._recover(lambda attempts: self._delay(attempts - 1) if attempts > 1 else 0.0)
        if interrupted:
            log.info("%d jobs were interrupted and wait again", interrupted)

    def _recover(self, delay: Callable[[int], float]) -> int:
        longest, asked = self._settings.jobs_retry_longest, self._settings.commitment_ask_again
        return self._rows.recover(self._clock(), delay, longest, asked)

    def _delay(self, attempts: int) -> float:
        return back_off(attempts, self._settings.jobs_retry_first, self._settings.jobs_retry_longest)

    # --- what everybody may ask

    async def add(self, *wanted: Wanted) -> list[int]:
        """Write jobs; they are durable when their numbers are returned, and begun by themselves."""
        numbers = await asyncio.to_thread(self._rows.add, wanted, self._clock())
        self.wake()
        return numbers

    async def get(self, number: int) -> Job:
        """One job; NotFound without it."""
        return await asyncio.to_thread(self._rows.get, number)

    async def listed(self, states: Collection[State] = (), limit: int = 1000) -> list[Job]:
        """The newest jobs first, in any of `states` (none given: all)."""
        return await asyncio.to_thread(self._rows.listed, states, limit)

    async def reasons(self, jobs: Iterable[Job]) -> dict[int, dict[str, int]]:
        """Why items of these jobs will not be tried again, and how many for each reason, the commonest first."""
        numbers = [job.id for job in jobs if job.failed]
        return await asyncio.to_thread(self._rows.reasons, numbers) if numbers else {}

    async def counts(self) -> dict[str, int]:
        """How many jobs there are in each state that any is in."""
        return await asyncio.to_thread(self._rows.counts)

    async def unfinished(self, kind: str, key: str) -> list[Job]:
        """The jobs of a kind and key that wait or run, the oldest first."""
        return await asyncio.to_thread(self._rows.unfinished, kind, key)

    async def owed(self, kind: str) -> int:
        """How many items the jobs of a kind have that wait or run."""
        return await asyncio.to_thread(self._rows.owed, kind)

    async def left(self, number: int) -> list[str]:
        """The items of a job that are still to be done, in the order they came."""
        return [uid for _, uid in await asyncio.to_thread(self._rows.items, number, 0, _ALL)]

    async def retry(self, number: int) -> Job:
        """Try a failed, cancelled or waiting job again, now. NotFound; BadRequest if it runs or is done."""
        job = await asyncio.to_thread(self._rows.retry, number, self._clock())
        self.wake()
        return job

    async def cancel(self, number: int) -> Job:
        """Do not perform a job any more, or stop performing it. NotFound; BadRequest if it is over."""
        job = await asyncio.to_thread(self._rows.cancel, number, self._clock())
        self.wake()
        return job

    async def reported(
        self, transaction: str, *, done: Collection[str], failed: Mapping[str, str], trouble: str = ""
    ) -> Job | None:
        """Keep durably what a peer reports on items of the job that asked it (Work.asked); `trouble` is why others have
        to be asked for again. The job as it is then; None if no job asked."""
        save = self._rows.reported
        async with self._outcomes:
            job = await asyncio.to_thread(save, transaction, self._clock(), done=done, failed=failed, error=trouble)
        self.wake()
        return job

    def wake(self) -> None:
        """Look at the rows now; from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop ended: the rows wait for the next start
                self._loop.call_soon_threadsafe(self._woken.set)

    # --- performing

    def start(self, performers: Mapping[str, Performer]) -> None:
        """Perform jobs of these kinds from now on, until close(); others wait in their rows."""
        self._performers.update(performers)
        self._loop = asyncio.get_running_loop()
        if self._scheduler is None:
            self._scheduler = asyncio.create_task(self._schedule())
        self.wake()

    async def close(self) -> None:
        """Stop performing. What ran waits in its row and is begun at the next start."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is None:
            return
        # It ends by itself, for a job that is being claimed in a thread is claimed, whoever is cancelled meanwhile.
        self._closing = True
        self._woken.set()
        await scheduler
        tasks = {number: task for number, (_, task) in self._working.items()}
        for number, task in tasks.items():
            if number not in self._settling:
                task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        with contextlib.suppress(IsocenterError):  # else they are found at the next start
            await asyncio.to_thread(self._recover, lambda attempts: 0.0)

    async def _schedule(self) -> None:
        while not self._closing:
            self._woken.clear()
            wait = self._settings.jobs_interval
            try:
                await self._stop_cancelled()
                await self._begin_due()
                due = await asyncio.to_thread(self._rows.due_at, tuple(self._performers), self._busy())
                if due is not None and len(self._working) < self._settings.jobs_concurrency:
                    wait = min(wait, max(0.0, due - self._clock()))
            except IsocenterError as error:
                log.warning("jobs cannot be looked at: %s", error)
            except Exception:  # a fault of ours must not end it
                log.exception("jobs cannot be looked at")
            # Not wait_for(): before Python 3.12 it can lose a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _stop_cancelled(self) -> None:
        """Another process may have cancelled what we perform."""
        if self._working:
            running = await asyncio.to_thread(self._rows.running)
            for number, (_, task) in self._working.items():
                if number not in running and number not in self._settling:
                    task.cancel()

    def _busy(self) -> list[tuple[str, str]]:
        counts = Counter((job.kind, job.target) for job, _ in self._working.values())
        return [pair for pair, count in counts.items() if count >= self._settings.jobs_per_target]

    async def _begin_due(self) -> None:
        while len(self._working) < self._settings.jobs_concurrency and not self._closing:
            kinds, working = tuple(self._performers), tuple(self._working)
            job = await asyncio.to_thread(self._rows.claim, self._clock(), kinds, self._busy(), working)
            if job is None:
                return
            self._working[job.id] = job, asyncio.create_task(self._perform(job))

    async def _perform(self, job: Job) -> None:
        try:
            await self._try(job)
        finally:
            del self._working[job.id]
            self._settling.discard(job.id)
            self._woken.set()

    async def _try(self, job: Job) -> None:
        work = Work(job, self._rows, self._clock)
        error: IsocenterError | None = None
        try:
            await self._performers[job.kind].perform(work)
        except IsocenterError as raised:
            error = raised
        except _NotOurs:
            return
        except Exception as raised:  # a fault of ours must not lose the job
            log.exception("job %d (%s to %s)", job.id, job.kind, job.target)
            error = IsocenterError(f"a fault in Isocenter ({type(raised).__name__}); the log says more")
        self._settling.add(job.id)
        while True:
            try:
                async with self._outcomes:
                    await asyncio.to_thread(self._settle, work, error)
                break
            except NotFound:
                break
            except IsocenterError as raised:  # the index is locked, or its disk full: it would run for ever in its row
                log.warning("what became of job %d cannot be kept yet: %s", job.id, raised)
                if self._closing:
                    break
                await asyncio.sleep(self._settings.jobs_interval)

    def _settle(self, work: Work, error: IsocenterError | None) -> None:
        """Write what came of a try; blocking."""
        rows, now, number = self._rows, self._clock(), work.job.id
        job = rows.get(number)
        if error is None and not job.left:
            if not job.failed:
                rows.end(number, "done", now)
                log.info("job %d (%s to %s) is done: %d objects", number, job.kind, job.target, job.done)
                rows.hasten(job.kind, job.target, now)
            else:
                _, why = rows.failures(number, 1)[0]
                self._fail(job, now, f"{job.failed} of {job.total} failed, the first: {why}")
        elif isinstance(error, JobFailed):
            self._fail(job, now, str(error))
        else:
            why = str(error) if error is not None else work.trouble or "not all was done"
            if now - job.progressed_at >= self._settings.jobs_give_up:
                self._fail(job, now, f"given up after {job.attempts} tries: {why}")
            else:
                pause = 0.0 if error is not None else work.pause
                wait = pause or self._delay(job.attempts)
                rows.end(number, "waiting", now, error=why, next_at=now + wait)
                if isinstance(error, _UNREACHABLE):
                    rows.postpone(job.kind, job.target, now + wait, why)
                level = logging.INFO if pause else logging.WARNING
                log.log(level, "job %d (%s to %s) waits %.0f s: %s", number, job.kind, job.target, wait, why)
        if number % _PRUNE_EVERY == 0:
            rows.prune(self._settings.jobs_history)

    def _fail(self, job: Job, now: float, why: str) -> None:
        self._rows.end(job.id, "failed", now, error=why)
        log.error("job %d (%s to %s) failed: %s", job.id, job.kind, job.target, why)
