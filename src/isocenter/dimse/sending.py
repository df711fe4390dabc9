"""C-STORE of what is stored, for retrieval and forwarding, one by one; content.py has which bytes.

Where the association's window allows it, several are under way (PS3.7 D.3.3.3).

The beginning of the next object is read, and its request encoded, while the receiver has the one before: in place where
the page cache has it, else in a thread, a few at a time. (Two threads that take turns with Python's lock for each
object cost more than all the rest, so there is none where nothing would wait.)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from isocenter.dimse.content import Content, Prepared
from isocenter.errors import IsocenterError, NetworkError, is_shortage
from isocenter.model import InstanceRef
from isocenter.services.base import Cancellation, Invoker, Response
from isocenter.services.retrieve import Suboperation
from isocenter.services.storage import even_chunks, store_request
from isocenter.std.statuses import SUCCESS
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.ul.connection import Buffer
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet, RequestsAlike, Verb

log = logging.getLogger("isocenter.dimse")

_UNTOLD = 16  # outcomes that may wait to be taken while more is sent
_TOGETHER, _SOON = 16, 0.002  # after so many, or so many seconds, those that wait are told of
_NO_MEMORY = "out of memory"
_C_STORE = int(Verb.C_STORE)
_BATCH = 8  # objects that a thread prepares at a time; two batches of beginnings are in memory


class Work:
    """The instances that are still to be sent; several associations may take from it."""

    def __init__(self, refs: Iterable[InstanceRef], cancellation: Cancellation) -> None:
        self._left = deque(refs)
        self.cancellation = cancellation

    @property
    def over(self) -> bool:
        """Nothing is left, or what is left is not wanted any more."""
        return not self._left or self.cancelled

    @property
    def cancelled(self) -> bool:
        """What is left is not wanted any more."""
        return self.cancellation.requested

    def take(self, count: int) -> list[InstanceRef]:
        """The next few; none when it is over."""
        left = self._left
        if self.cancellation.requested or not left:
            return []
        if count == 1:  # as it is for nearly every object, and a comprehension is a call
            return [left.popleft()]
        return [left.popleft() for _ in range(min(count, len(left)))]

    def put_back(self, refs: Sequence[InstanceRef]) -> None:
        """What was taken and not sent."""
        self._left.extendleft(reversed(refs))

    def __len__(self) -> int:
        return len(self._left)

    def fail(self, why: str) -> Iterator[Suboperation]:
        """A failed sub-operation for everything that is left, unless it was cancelled."""
        while not self.over:
            yield Suboperation(self._left.popleft().instance, None, why)


class Sender:
    """Performs C-STORE sub-operations on an association, whoever opened it; `elements` go into every request."""

    def __init__(self, content: Content, elements: CommandSet) -> None:
        self._content = content
        self._elements = elements

    async def send(self, work: Work, invoker: Invoker) -> AsyncGenerator[Suboperation, None]:
        """Sub-operations until the work is over, in the order in which they end; what was taken too much is put back.

        As many are under way as the association's window allows, each written whole before the next one, so that of
        the objects no more is in memory than with one. Raises NetworkError when the association is lost, and OSError
        when an object cannot be read to its end, after the sub-operations that it was lost with.
        """
        ahead = _Ahead(self._content, work, invoker)
        aloft = _Aloft(ahead, invoker, self._elements)
        try:
            while True:
                for step in aloft.ended():
                    yield step
                one = await ahead.next() if aloft.room else None
                if one is None:
                    if not await aloft.arrival():
                        break
                    continue
                with closing(one):
                    await aloft.send(one)
                aloft.look()
        finally:
            ahead.close()
            aloft.close()
        if aloft.failure is not None:
            raise aloft.failure


class _Aloft:
    """Sub-operations that are sent and wait for their responses, in whatever order these come.

    A receiver that has answered waits for the next object. If that is at hand it is written within the call that brings
    the answer: whatever else an object costs us (its file, the counters, what is told of it) is done while the receiver
    reads the next.
    """

    def __init__(self, ahead: _Ahead, invoker: Invoker, elements: CommandSet) -> None:
        self.failure: NetworkError | OSError | None = None  # nothing more is sent
        self._waiting = 0
        self._ahead = ahead
        self._invoker = invoker
        self._elements = elements
        self._alike: dict[str, RequestsAlike] = {}  # by SOP Class
        self._ended: deque[Suboperation] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._telling: asyncio.TimerHandle | None = None

    @property
    def room(self) -> bool:
        """Whether one more may be sent."""
        return self.failure is None and self._waiting < self._invoker.window

    async def send(self, one: Prepared) -> None:
        """Write it, as soon as there is a place in the window and room on the line."""
        if one.context is None:
            log.warning("%s: not sent: %s", one.ref.instance, one.why)
            self._ended.append(Suboperation(one.ref.instance, None, one.why, again=one.again))
            return
        try:
            ref, context = one.ref, one.context
            command = store_request(self._invoker.next_message_id(), ref.sop_class, ref.instance) | self._elements
            data_set = one.parts or _even(one, context)
            await self._invoker.post(context, command, data_set, partial(self._answered, ref.instance))
        except (NetworkError, OSError) as error:
            self._lose(one, error)
        else:
            self._waiting += 1

    def _follow(self) -> bool:
        """Write the next object, if that can be done without waiting for anything."""
        one = self._ahead.first() if self.failure is None else None
        if one is None or one.context is None or not one.whole:
            return False
        if one.ready is None:
            self._make_ready(one, one.context)
        try:
            if one.ready is None or not self._invoker.post_at_once(
                one.ready, partial(self._answered, one.ref.instance)
            ):
                return False
        except (NetworkError, OSError) as error:
            self._lose(one, error)
        else:
            self._waiting += 1
        self._ahead.take()
        one.close()
        self.look()
        return self.failure is None

    def look(self) -> None:
        """There is time for the next one."""
        one = self._ahead.look()
        if one is not None and one.context is not None and one.whole and one.ready is None:
            self._make_ready(one, one.context)

    def _make_ready(self, one: Prepared, context: Agreed) -> None:
        """Encode the request, up to what is left to sendfile."""
        ref, number = one.ref, self._invoker.next_message_id()
        alike = self._alike.get(ref.sop_class)
        if alike is None:
            alike = self._alike[ref.sop_class] = RequestsAlike(store_request(0, ref.sop_class, "") | self._elements)
        raw = alike.encode(number, ref.instance)
        try:
            one.ready = self._invoker.ready(context, number, _C_STORE, raw, one.parts or _even(one, context))
        except (OSError, MemoryError) as error:
            one.context, one.why, one.again = None, str(error) or _NO_MEMORY, is_shortage(error)

    def _answered(self, instance: str, outcome: Response | NetworkError) -> None:
        """One came back, or will not."""
        self._waiting -= 1
        if isinstance(outcome, NetworkError):
            self.failure = self.failure or outcome
            self._ended.append(Suboperation(instance, None, str(outcome), lost=True))
        else:
            status = outcome.status
            self._ended.append(Suboperation(instance, status))
            # One that refuses may refuse the next as well: that is for whoever is told of it.
            followed = status == SUCCESS and len(self._ended) <= _UNTOLD and self._follow()
            if followed and len(self._ended) < _TOGETHER:
                # Telling wakes a task or two, which takes long beside a small object: they hear of some together.
                if self._telling is None:
                    self._telling = asyncio.get_running_loop().call_later(_SOON, self._tell)
                return
        self._tell()

    def _tell(self) -> None:
        """Wake whoever waits for an arrival."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _lose(self, one: Prepared, error: NetworkError | OSError) -> None:
        self.failure = error
        self._ended.append(Suboperation(one.ref.instance, None, str(error), lost=True))

    def close(self) -> None:
        """Nobody wants to be told of anything."""
        if self._telling is not None:
            self._telling.cancel()

    def ended(self) -> Iterator[Suboperation]:
        """Those that have ended and were not taken yet."""
        while self._ended:
            yield self._ended.popleft()

    async def arrival(self) -> bool:
        """Wait until one has ended; False if there is none to wait for."""
        while not self._ended and self._waiting:  # what a timer wakes us for may have been taken before
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return bool(self._ended)


class _Ahead:
    """The objects of some work in their order, prepared before they are wanted.

    One in place, when `look` is called, as long as the disk need not be waited for; from the first that needs it on a
    batch in a thread, and the next while this one is sent, until a whole batch waited for nothing.
    """

    def __init__(self, content: Content, work: Work, invoker: Invoker) -> None:
        self._content = content
        self._work = work
        self._cancellation = work.cancellation
        self._invoker = invoker
        self._at_once = partial(content.at_once, as_file=invoker.sends_files)
        self._contexts: dict[str, Sequence[Agreed]] = {}
        self._ready: deque[Prepared] = deque()
        self._taken: list[InstanceRef] = []  # by the thread
        self._batch: asyncio.Future[list[Prepared]] | None = None

    async def next(self) -> Prepared | None:
        """The next object, to be closed after use; None when the work is over."""
        if not self._ready:
            self.look()
            if self._batch is not None:
                self._ready.extend(await asyncio.shield(self._batch))
                self._taken, self._batch = [], None
                if not all(one.at_hand for one in self._ready):
                    self._begin()
        return self._ready.popleft() if self._ready and not self._work.cancelled else None

    def first(self) -> Prepared | None:
        """What next() would give without waiting; take() says that it is used."""
        return self._ready[0] if self._ready and not self._cancellation.requested else None

    def take(self) -> None:
        self._ready.popleft()

    def look(self) -> Prepared | None:
        """There is time for the next one: makes it ready, and gives first()."""
        if self._ready:
            return self.first()
        if self._batch is not None:
            return None
        for ref in self._work.take(1):
            one = _prepared(self._at_once, ref, self._contexts.get(ref.sop_class) or self._accepted(ref))
            if one is not None:
                self._ready.append(one)
                return one
            self._work.put_back([ref])
            self._begin()
        return None

    def close(self) -> None:
        """Put back what is not wanted."""
        self._work.put_back([*(one.ref for one in self._ready), *self._taken])
        for one in self._ready:
            one.close()
        self._ready.clear()
        if self._batch is not None:
            self._batch.add_done_callback(_close_all)

    def _begin(self) -> None:
        self._taken = self._work.take(_BATCH)
        if self._taken:
            accepted = [self._accepted(ref) for ref in self._taken]
            self._batch = asyncio.ensure_future(asyncio.to_thread(_prepare_all, self._content, self._taken, accepted))

    def _accepted(self, ref: InstanceRef) -> Sequence[Agreed]:
        if ref.sop_class not in self._contexts:
            self._contexts[ref.sop_class] = self._invoker.contexts_for(ref.sop_class)
        return self._contexts[ref.sop_class]


def _prepare_all(content: Content, refs: Sequence[InstanceRef], accepted: Sequence[Sequence[Agreed]]) -> list[Prepared]:
    return [_prepared(content, ref, contexts) for ref, contexts in zip(refs, accepted, strict=True)]


_Made = TypeVar("_Made", Prepared, Prepared | None)


def _prepared(
    make: Callable[[InstanceRef, Sequence[Agreed]], _Made], ref: InstanceRef, accepted: Sequence[Agreed]
) -> _Made | Prepared:
    try:
        return make(ref, accepted)
    except (IsocenterError, OSError, MemoryError) as error:
        return Prepared(ref, why=str(error) or _NO_MEMORY, again=is_shortage(error))


def _even(one: Prepared, context: Agreed) -> Iterator[Buffer]:
    return even_chunks(one.chunks, pad=transfer_syntax(context.transfer_syntax).deflated)


def _close_all(done: asyncio.Future[list[Prepared]]) -> None:
    if not done.cancelled() and done.exception() is None:
        for one in done.result():
            one.close()
