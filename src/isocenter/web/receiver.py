"""Objects of a Store request on their way into the archive, part by part (PS3.18 section 10.5).

The bytes go on as they arrive: no part is ever held in memory. While one object is made durable the next is being
received, so that the archive can commit several together. Each instance succeeds or fails by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isocenter.errors import InstanceMismatch, IsocenterError, PayloadTooLarge
from isocenter.index.keys import SOP_CLASS
from isocenter.model import InstanceRef, Origin
from isocenter.names import is_uid
from isocenter.std.non_patient import NON_PATIENT_KEYS
from isocenter.web.context import Context
from isocenter.web.errors import log_failure
from isocenter.web.heads import INSTANCE_UID, STUDY_HEAD, STUDY_UID, named_in
from isocenter.wire.part10 import read_header

if TYPE_CHECKING:
    from isocenter.archive.ingest import Incoming

MAX_PARTS = 100_000
COMMITS = 32  # objects of one request that may wait for the disk at a time
_HEAD = 4096  # file meta information is shorter, and names the object a failure is about


@dataclass(slots=True)
class Result:
    """What became of one part: exactly one of `ref` and `error` is set in the end."""

    sop_class: str = ""
    sop_instance: str = ""
    ref: InstanceRef | None = None
    kept_first: bool = False
    already: bool = False  # it was there before, byte for byte
    error: IsocenterError | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the path of a request says of its objects: their study, or classes and perhaps UID of non-patient ones."""

    study: str = ""
    sop_classes: tuple[str, ...] = ()
    instance: str = ""

    def refusal(self, head: bytes, *, whole: bool) -> IsocenterError | None:
        """Why the object that begins with `head` does not belong there. What a `whole` one lacks is the archive's to
        refuse; it knows better why."""
        named = named_in(head)
        sop_class = named.get(SOP_CLASS)
        if self.study and sop_class in NON_PATIENT_KEYS:
            return InstanceMismatch("the object is of no study", tag_path="(0008,0016)")
        if self.study and not _agree(named.get(STUDY_UID), (self.study,), whole):
            return InstanceMismatch("the object is not of the study in the path", tag_path="(0020,000D)")
        if self.sop_classes and not _agree(sop_class, self.sop_classes, whole):
            return InstanceMismatch("the object is not of the kind in the path", tag_path="(0008,0016)")
        if self.instance and not _agree(named.get(INSTANCE_UID), (self.instance,), whole):
            return InstanceMismatch("the object is not the instance in the path", tag_path="(0008,0018)")
        return None


def _agree(value: str | None, allowed: tuple[str, ...], whole: bool) -> bool:
    return value in allowed or (value is None and whole)


class _Part:
    """One object being received. After a failure the rest of it is thrown away."""

    def __init__(self, incoming: Incoming | None, result: Result, target: Target) -> None:
        self.result = result
        self._incoming = incoming
        self._target = target
        self._head = bytearray()
        self._kept = _HEAD if target == Target() else STUDY_HEAD
        self._size = 0

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if len(self._head) < self._kept:
            self._head += data[: self._kept - len(self._head)]
        if self._incoming is None:
            return
        try:
            self._incoming.write([data])
        except IsocenterError as error:
            self._fail(error)

    def _fail(self, error: IsocenterError) -> None:
        self.result.error = error
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None

    def cut(self, error: IsocenterError) -> None:
        """The rest will not come."""
        self._name()
        if self.result.error is None:
            self._fail(error)

    def _name(self) -> None:
        """Name the object in the result as far as its header does."""
        with suppress(IsocenterError):  # what is no header names no object
            meta = read_header(bytes(self._head[:_HEAD]))
            self.result.sop_class = meta.sop_class if is_uid(meta.sop_class) else ""
            self.result.sop_instance = meta.sop_instance if is_uid(meta.sop_instance) else ""

    def finish(self) -> Incoming | None:
        """Ready to be committed; None if it has failed already, or does not belong to what the request is about."""
        self._name()
        if self._target != Target() and self._incoming is not None:
            refusal = self._target.refusal(bytes(self._head), whole=self._size <= len(self._head))
            if refusal is not None:
                self._fail(refusal)
        return self._incoming


class Receiver:
    """One Store request: parts in, results out, in the order of the parts."""

    def __init__(self, context: Context, origin: Origin, target: Target) -> None:
        self.results: list[Result] = []
        self._origin = origin
        self._archive = context.archive
        self._target = target
        self._part: _Part | None = None
        self._slots = asyncio.Semaphore(COMMITS)
        self._commits: set[asyncio.Task[None]] = set()
        self._named: dict[str, asyncio.Task[None]] = {}

    def begin(self, refusal: IsocenterError | None = None) -> None:
        if len(self.results) >= MAX_PARTS:
            raise PayloadTooLarge(f"more than {MAX_PARTS} parts in one request")
        result = Result(error=refusal)
        self.results.append(result)
        incoming = None
        if refusal is None:
            try:
                incoming = self._archive.begin(self._origin)
            except IsocenterError as error:
                result.error = error
        self._part = _Part(incoming, result, self._target)

    def write(self, data: memoryview) -> None:
        assert self._part is not None
        self._part.write(data)

    async def end(self) -> None:
        assert self._part is not None
        part, self._part = self._part, None
        incoming = part.finish()
        if incoming is None:
            return
        await self._slots.acquire()
        uid = part.result.sop_instance
        if uid in self._named and not self._named[uid].done():
            await asyncio.wait([self._named[uid]])  # of two with one UID the first is the first
        task = asyncio.create_task(self._commit(incoming, part.result))
        self._commits.add(task)
        self._named[uid] = task
        task.add_done_callback(self._commits.discard)

    async def _commit(self, incoming: Incoming, result: Result) -> None:
        try:
            outcome = await incoming.commit()
            result.ref = outcome.ref
            result.kept_first = outcome.kind == "kept-first"
            result.already = outcome.kind == "already-there"
        except IsocenterError as error:
            result.error = error
        except Exception as error:  # noqa: BLE001  # one object's failure must not take the others' answers away
            log_failure(error, "storing an instance")
            result.error = IsocenterError("the instance could not be stored")
        finally:
            self._slots.release()

    def cut(self, error: IsocenterError) -> None:
        """The body ended, or became unreadable, within a part or between two."""
        if self._part is None:
            self.results.append(Result(error=error))
        else:
            self._part.cut(error)
            self._part = None

    async def settle(self) -> None:
        """Abandon what is unfinished and wait for what is being committed."""
        if self._part is not None:
            self._part.cut(IsocenterError("the request was broken off"))
            self._part = None
        if self._commits:
            await asyncio.wait(self._commits)
