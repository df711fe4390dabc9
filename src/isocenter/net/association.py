"""An open association, whoever opened it: requests of ours matched with their responses, requests of the peer served.

Requests of the peer are served in the order they came, up to the negotiated number at a time; further ones wait in the
receive buffer. A failing service costs its own request a status and nothing else. Messages are never interleaved: what
has a data set holds the line until its last fragment is written (PS3.8 Annex E).

Long because both directions share the line, the ends and the limits: in two files they would share all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

from isocenter.errors import (
    AssociationAborted,
    IsocenterError,
    LimitExceeded,
    NetworkError,
    NoPresentationContext,
    PeerTimeout,
    ProtocolError,
)
from isocenter.net.link import Link
from isocenter.net.waiting import Expected, Mailbox, Patience, Places
from isocenter.services.base import (
    UNRECOGNIZED_OPERATION,
    Answered,
    Cancellation,
    Peer,
    PendingReplies,
    Ready,
    Refusal,
    Reply,
    Request,
    Response,
    Service,
    Services,
    Sink,
)
from isocenter.std.sop_classes import name_of
from isocenter.std.statuses import CANCEL, PENDING, PENDING_WITH_WARNING
from isocenter.ul import events
from isocenter.ul.connection import Connection, FilePart, Payload, with_last
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import NO_DATA_SET, RESPONSE, CommandSet, Verb, encode_request, encode_response, response_to

log = logging.getLogger("isocenter.dimse")

# Plain numbers where each message passes: before Python 3.12 it takes a while to look up a member of an enumeration.
_C_STORE, _C_FIND, _C_CANCEL = int(Verb.C_STORE), int(Verb.C_FIND), int(Verb.C_CANCEL)
_N_EVENT_REPORT = int(Verb.N_EVENT_REPORT)

_SEVERAL = frozenset({Verb.C_FIND, Verb.C_GET, Verb.C_MOVE})  # have pending responses (PS3.7 sections 9.1.2 to 9.1.4)

_PROCESSING_FAILURE = Reply(0x0110, "internal error; see the server's log")
_CANCELLED = Reply(CANCEL)
_DATA_SET_FOLLOWS = 0x0001
_MOST_UNREAD = 256  # responses to one request that are kept for whoever asked
_CLOSING = 1.0  # seconds for what is still written when an association is over

Answer = Awaitable[Reply] | AsyncIterator[Reply] | AsyncIterator[Reply | PendingReplies]

_METHODS: dict[int, Callable[[Service, Request, bytes], Reply | Answer]] = {
    Verb.C_ECHO: lambda service, request, data: service.c_echo(request, data),
    Verb.C_FIND: lambda service, request, data: service.c_find(request, data),
    Verb.C_MOVE: lambda service, request, data: service.c_move(request, data),
    Verb.C_GET: lambda service, request, data: service.c_get(request, data),
    Verb.N_EVENT_REPORT: lambda service, request, data: service.n_event_report(request, data),
    Verb.N_GET: lambda service, request, data: service.n_get(request, data),
    Verb.N_SET: lambda service, request, data: service.n_set(request, data),
    Verb.N_ACTION: lambda service, request, data: service.n_action(request, data),
    Verb.N_CREATE: lambda service, request, data: service.n_create(request, data),
    Verb.N_DELETE: lambda service, request, data: service.n_delete(request, data),
}


class _Collector:
    """A data set that is held in memory, up to the limit for identifiers and attribute lists."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._raw = bytearray()

    def write(self, views: list[memoryview]) -> None:
        if len(self._raw) + sum(map(len, views)) > self._limit:
            raise LimitExceeded(f"the data set is larger than {self._limit} bytes (limits.identifier_bytes)")
        for view in views:
            self._raw += view

    @property
    def raw(self) -> bytes:
        return bytes(self._raw)


@dataclass(slots=True)
class _Receiving:
    """The message whose data set is arriving: a request to a sink or to memory, or a response to one of ours."""

    message: events.MessageStarted
    request: Request | None  # None: a response
    sink: Sink | None = None
    collector: _Collector | None = None
    failed: Reply | None = None

    @property
    def verb(self) -> int:
        return int(self.message.command["CommandField"])


class Association(Link):
    """Base of both roles; subclasses open and close it."""

    __slots__ = (
        "_as_requestor", "_busy", "_cancelled", "_failure", "_following", "_held", "_left", "_line",
        "_message_id", "_owed", "_patience", "_places", "_queueing", "_receiving", "_release_waits", "_running",
        "_services_by_context", "_tasks", "_timeout", "_waiting", "contexts", "operations", "over", "peer",
        "services", "window",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, services: Services, timeout: float
    ) -> None:
        super().__init__(connection, loop)
        self.services = services
        self.peer = Peer("", "", "")
        self.contexts: dict[int, Agreed] = {}
        self.over = asyncio.Event()
        self.operations = 1  # requests of the peer served at a time
        self._as_requestor = connection.requestor
        self._timeout = timeout
        self._failure: NetworkError | None = None
        # incoming
        self._receiving: _Receiving | None = None
        self._running: dict[int, Cancellation] = {}
        self._busy = 0
        self._held: events.MessageStarted | None = None
        self._services_by_context: dict[tuple[int, bool], Service | None] = {}
        self._release_waits = False
        self._tasks: set[asyncio.Task[None]] = set()
        # outgoing
        self._message_id = 0
        self._waiting: dict[int, Mailbox | Expected] = {}
        self._patience = Patience(loop, timeout, self, self._waiting)
        self._following: dict[int, Agreed] = {}  # requests that may have several responses, by Message ID
        self._queueing = 0  # who wait for a place in the window
        self._owed: dict[int, int] = {}  # Message IDs of which the peer owes us the final response, and the verbs
        self._cancelled: set[int] = set()  # those of them that were cancelled, which is said once
        self._left: dict[int, asyncio.TimerHandle] = {}  # those of them that nobody wants to hear more of
        self.window = 1
        self._places = Places(1)
        self._line = asyncio.Lock()

    @property
    def usable(self) -> bool:
        """Whether requests can be sent."""
        return self._failure is None and not self.ended

    @property
    def idle(self) -> bool:
        """Nothing is being received or served."""
        return self._busy == 0 and self._receiving is None

    # --- our requests ------------------------------------------------------------------------------------------

    def contexts_for(self, abstract_syntax: str, *, as_scp: bool = False) -> list[Agreed]:
        """Accepted contexts for `abstract_syntax` in which our side may act as SCU (or as SCP, to report events)."""
        return [
            context
            for context in self.contexts.values()
            if context.abstract_syntax == abstract_syntax and self._may_be(context, scp=as_scp)
        ]

    def _may_be(self, context: Agreed, *, scp: bool) -> bool:
        """Whether our side may act as SCP, or else as SCU; a context's roles are the requestor's."""
        return context.as_scp if scp is self._as_requestor else context.as_scu

    def context_for(self, abstract_syntax: str, transfer_syntax: str | None = None) -> Agreed:
        """One of contexts_for(), in `transfer_syntax` if that is given. Raises NoPresentationContext."""
        for context in self.contexts_for(abstract_syntax):
            if transfer_syntax in (None, context.transfer_syntax):
                return context
        what = name_of(abstract_syntax)
        if transfer_syntax is not None:
            what += f" in {transfer_syntax}"
        raise NoPresentationContext(f"the peer accepted no presentation context for {what}")

    def set_window(self, operations: int) -> None:
        """How many requests of ours may be outstanding (PS3.7 D.3.3.3); to be said before there are any."""
        self.window = operations
        self._places = Places(operations)

    def next_message_id(self) -> int:
        """A Message ID that no outstanding request of ours has."""
        while True:
            self._message_id = self._message_id % 0xFFFF + 1
            if self._message_id not in self._waiting and self._message_id not in self._owed:
                return self._message_id

    async def request(
        self, context: Agreed, command: CommandSet, data_set: Iterable[Payload] | None = None
    ) -> Response:
        """Send one request and wait for its response. Chunks of `data_set`, but the last, have an even length; parts of
        files are for where `sends_files`.

        Several tasks may do so at a time: as many as the window allows are sent, the others wait in their order.
        Raises PeerTimeout (and aborts) when no response comes, AssociationAborted when the association ends.
        """
        mailbox = await self._expect(command)
        try:
            await self._send(context.id, command, data_set)
            return await self._next(mailbox)
        finally:
            self._forget(command["MessageID"])

    async def post(self, context: Agreed, command: CommandSet, data_set: Iterable[Payload], answered: Answered) -> None:
        """The same up to where it is written; `answered` is called once and later, with the response or with what
        request() would have raised while it waited. What this raises was not sent whole, and `answered` is not called.
        """
        mailbox = await self._expect(command)
        try:
            await self._send(context.id, command, data_set)
        except BaseException:
            self._forget(command["MessageID"])
            raise
        self._watch(command["MessageID"], mailbox, answered)

    def ready(self, context: Agreed, message_id: int, verb: int, raw: bytes, data_set: Iterable[Payload]) -> Ready:
        """A request for post_at_once(), to be made while there is time for it, of the bytes of its command set;
        `data_set` is short, as all of it but parts of files is in memory from now on."""
        return Ready(message_id, verb, self.connection.encoded(context.id, raw, data_set))

    def post_at_once(self, request: Ready, answered: Answered) -> bool:
        """post(), if there is a place in the window, nothing else on the line, and nothing unread by the peer; else
        False, and nothing happened. What the peer does not take at once waits in memory."""
        if self._failure is not None or self._held is not None or self._line.locked() or not self.writable:
            return False
        message_id = request.message_id
        if message_id in self._waiting or message_id in self._owed or not self.connection.can_send:
            return False
        if not self._places.take():
            return False
        now = self.loop.time()
        Expected(self._waiting, message_id, answered, now)
        self._owed[message_id] = request.verb
        try:
            self.send(request.payloads, now)
        except BaseException:
            # Some of it may be on its way, and nothing else may follow half a data set (PS3.8 Annex E).
            del self._waiting[message_id]
            self._settle(message_id)
            self.abort("a data set broke off")
            raise
        if self._patience.timer is None:
            self._patience.begin(now)
        return True

    def _watch(self, message_id: int, mailbox: Mailbox, answered: Answered) -> None:
        def hand_over(outcome: Response | NetworkError) -> None:
            del self._waiting[message_id]
            if self._held is not None and not self._pumping:
                self._take_held()
            answered(outcome)

        self._patience.watch(mailbox, hand_over)

    async def responses(
        self, context: Agreed, command: CommandSet, data_set: Iterable[Payload] | None = None
    ) -> AsyncIterator[Response]:
        """Send one request and give its responses as they come, pending ones first. Raises as request() does."""
        mailbox = await self._expect(command)
        self._following[command["MessageID"]] = context
        try:
            await self._send(context.id, command, data_set)
            pending = True
            while pending:
                response = await self._next(mailbox)
                pending = response.status in (PENDING, PENDING_WITH_WARNING)
                yield response
        finally:
            del self._following[command["MessageID"]]
            self._forget(command["MessageID"])

    async def _expect(self, command: CommandSet) -> Mailbox:
        """A place in the window, and where the responses will be."""
        self._queueing += 1
        try:
            if self._held is not None:
                self._take_held()
            await self._places.wait()
        finally:
            self._queueing -= 1
        if self._failure is not None:
            self._places.give_back()  # for the next one that waits, who is to hear of it as well
            raise self._failure
        return self._enter(command["MessageID"], command["CommandField"])

    def _enter(self, message_id: int, verb: int) -> Mailbox:
        self._waiting[message_id] = mailbox = Mailbox()
        self._owed[message_id] = verb
        return mailbox

    def _forget(self, message_id: int) -> None:
        """Nobody reads the responses any more."""
        del self._waiting[message_id]
        self._leave(message_id)
        if self._held is not None:
            self._take_held()

    def _settle(self, message_id: int) -> None:
        """Nothing more will come for this request: its place is free, whether or not anybody has read the responses."""
        if self._owed.pop(message_id, None) is not None:
            self._places.give_back()
            if self._cancelled:
                self._cancelled.discard(message_id)
        if self._left and (timer := self._left.pop(message_id, None)) is not None:
            timer.cancel()

    def _leave(self, message_id: int) -> None:
        """From now on the peer has the response timeout to end a request that is not wanted any more. Until then it
        holds its place in the window, as another request in it would be one more than was agreed."""
        if message_id in self._owed and message_id not in self._left and self._failure is None:
            self._left[message_id] = self.loop.call_later(self._timeout, self._on_left, message_id)

    def _on_left(self, message_id: int) -> None:
        del self._left[message_id]
        self.fail(PeerTimeout(f"the peer did not end a request within {self._timeout:g} s after it was left"))
        self.abort("a request that was left did not end in time")

    async def _next(self, mailbox: Mailbox) -> Response:
        response = await self._patience.next(mailbox)
        if self._held is not None and len(mailbox) < _MOST_UNREAD // 2:
            self._take_held()
        return response

    def cancel(self, context: Agreed, message_id: int) -> None:
        """C-CANCEL of a request of ours; its final response still comes (PS3.7 section 9.3.2.3): of a C-FIND within the
        response timeout, while the sub-operations of a retrieval that are under way may take their time.

        It is sent once; behind the data set that is on the line, as nothing may stand between the fragments of one.
        """
        if self._line.locked():
            task = self.loop.create_task(self._cancel_in_turn(context, message_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self.connection.can_send and message_id not in self._cancelled:
            if message_id in self._owed:
                self._cancelled.add(message_id)
            command = {
                "CommandField": Verb.C_CANCEL,
                "MessageIDBeingRespondedTo": message_id,
                "CommandDataSetType": NO_DATA_SET,
            }
            self.connection.send_message(context.id, command)
            self.flush()
            if self._owed.get(message_id) == _C_FIND:
                self._leave(message_id)

    def cancel_all(self) -> bool:
        """cancel() of every request whose responses() somebody reads; whether there was one."""
        for message_id, context in self._following.items():
            self.cancel(context, message_id)
        return bool(self._following)

    async def _cancel_in_turn(self, context: Agreed, message_id: int) -> None:
        async with self._line:
            pass
        self.cancel(context, message_id)

    async def _send(self, context_id: int, command: CommandSet, data_set: Iterable[Payload] | None) -> None:
        try:
            async with self._line:
                with closing(self._written(context_id, command, data_set)) as chunks:
                    for _ in chunks:
                        await self.drain()
        except BaseException:
            self._settle(command["MessageID"])
            raise

    def _written(
        self, context_id: int, command: CommandSet, data_set: Iterable[Payload] | None
    ) -> Generator[None, None, None]:
        """Write a message. After each chunk of its data set there is time to wait for the peer."""
        if self._failure is not None:
            raise self._failure
        command = {**command, "CommandDataSetType": NO_DATA_SET if data_set is None else _DATA_SET_FOLLOWS}
        self.connection.send_command(context_id, encode_request(command))
        if data_set is None:
            self.flush()
            return
        try:
            for chunk, last in with_last(data_set):
                if self._failure is not None:
                    raise self._failure
                if isinstance(chunk, FilePart):
                    self.connection.send_file(context_id, chunk, last=last)
                else:
                    self.connection.send_data(context_id, chunk, last=last)
                self.connection.touch(self.loop.time())
                self.flush()
                yield
        except BaseException:
            # Half a data set cannot be taken back, and nothing else may follow it (PS3.8 Annex E).
            self.abort("a data set broke off")
            raise

    # --- ends --------------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """A-RELEASE; aborts when the peer does not confirm within the response timeout."""
        if self.ended or self._failure is not None:
            await self.closed()
            return
        self.connection.release()
        self.flush()
        try:
            async with asyncio.timeout(self._timeout):
                await self.over.wait()
        except TimeoutError:
            self.abort("the peer did not confirm the release")

    def abort(self, why: str = "aborted by us") -> None:
        """A-ABORT, now."""
        self.connection.abort(why)
        self._pump()
        self.close()

    async def closed(self) -> None:
        """Close the transport of an association that is over, and wait until it is."""
        if self.transport is None:
            return
        self.close()
        try:
            async with asyncio.timeout(_CLOSING):
                await self.over.wait()
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            await self.over.wait()

    def fail(self, error: NetworkError) -> None:
        """The association is over: everybody who waits hears of it."""
        if self._failure is None:
            self._failure = error
        for mailbox in list(self._waiting.values()):
            mailbox.put(error)
        self._places.give_back()

    def on_end(self) -> None:
        self._held = None
        self._patience.end()
        for timer in self._left.values():
            timer.cancel()
        self._left.clear()
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving.sink is not None and receiving.failed is None:
            # The bytes stopped in the middle of an object: nothing was promised, nothing is kept.
            log.info("%s %s: connection ended within an object; dropped", self.peer_address, self.peer.calling)
            receiving.sink.abandon()
        for cancellation in self._running.values():
            cancellation.requested = True
        self.fail(AssociationAborted("the association is over"))
        self.over.set()

    async def finished(self) -> None:
        """Wait until no request of the peer is being served any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _release_if_idle(self) -> None:
        if self._release_waits and self.idle and not self.connection.close_expected:
            self._release_waits = False
            self.connection.release_response()

    # --- messages ----------------------------------------------------------------------------------------------

    def on_event(self, event: events.UpperLayerEvent) -> bool:
        if isinstance(event, events.DataSetChunk):
            self._on_chunk(event)
        elif isinstance(event, events.MessageStarted):
            if event.command["CommandField"] & RESPONSE:
                return self._on_response(event)
            return self._on_message(event)
        elif isinstance(event, events.ReleaseRequested):
            self._release_waits = True
            self.fail(AssociationAborted("the peer released the association"))
            self._release_if_idle()
        elif isinstance(event, events.Aborted):
            level = logging.INFO if self.contexts else logging.DEBUG
            log.log(level, "%s %s: association ended: %s", self.peer_address, self.peer.calling, event.why)
            self.fail(AssociationAborted(event.why))
        else:
            self.on_opening(event)
        return True

    def on_opening(self, event: events.UpperLayerEvent) -> None:
        """An event of the association's beginning, which the roles see differently."""
        raise NotImplementedError

    def _on_message(self, message: events.MessageStarted) -> bool:
        verb = message.command["CommandField"]
        if verb == _C_CANCEL:
            # What it refers to may have been answered meanwhile; then there is nothing to do (PS3.7 section 9.3.2.3).
            running = self._running.get(message.command.get("MessageIDBeingRespondedTo", 0))
            if running is not None:
                running.requested = True
            return True
        if self._busy >= self.operations or not self.writable:
            # Of a peer that does not read its responses no more is read: they would pile up.
            self._held = message
            return False
        context = self.contexts[message.context_id]
        request = Request(self.peer, context, message.command, self)
        receiving = _Receiving(message, request)
        service = self._serving(context, verb)
        if service is None:
            receiving.sink = Refusal(Reply(UNRECOGNIZED_OPERATION, "not in this role"))
        elif verb == _C_STORE:
            try:
                receiving.sink = service.c_store(request)
            except IsocenterError as error:
                receiving.sink = Refusal(Reply.of(error))
            except Exception:
                log.exception("%s: a request failed", self.peer_address)
                receiving.sink = Refusal(_PROCESSING_FAILURE)
            if not message.has_data and not isinstance(receiving.sink, Refusal):
                receiving.sink.abandon()
                receiving.sink = Refusal(Reply(0xC000, "the data set is missing"))
        elif verb in _METHODS:
            receiving.collector = _Collector(self.connection.config.limits.identifier_bytes)
        else:
            receiving.sink = Refusal(Reply(UNRECOGNIZED_OPERATION, "operation not supported"))
        self._receiving = receiving
        if not message.has_data:
            self._finish(receiving)
        return True

    def _serving(self, context: Agreed, verb: int) -> Service | None:
        """The service that takes requests of `verb` in `context`, unless the agreed roles forbid them."""
        # Events are reported by the SCP to the SCU, everything else is asked by the SCU (PS3.7 section 10.1).
        key = context.id, verb == _N_EVENT_REPORT
        if key not in self._services_by_context:
            allowed = self._may_be(context, scp=verb != _N_EVENT_REPORT)
            served = context.general or context.abstract_syntax
            self._services_by_context[key] = self.services.serving(served) if allowed else None
        return self._services_by_context[key]

    def _on_response(self, message: events.MessageStarted) -> bool:
        message_id = message.command.get("MessageIDBeingRespondedTo", 0)
        mailbox = self._waiting.get(message_id)
        if isinstance(mailbox, Expected) and not message.has_data:
            self._settle(message_id)
            mailbox.put(Response(message.command))
            return True
        if mailbox is None:
            log.info("%s: response to no request of ours; ignored", self.peer_address)
        elif len(mailbox) >= _MOST_UNREAD and len(self._waiting) == 1 and not self._queueing:
            # Answers of a search come faster than they are used: no more is read. But not where another request waits
            # for its turn, which may be made for each answer.
            self._held = message
            return False
        if message.has_data:
            collector = _Collector(self.connection.config.limits.identifier_bytes)
            self._receiving = _Receiving(message, None, collector=collector)
        else:
            self._resolve(message.command, None)
        return True

    def _on_chunk(self, event: events.DataSetChunk) -> None:
        receiving = self._receiving
        assert receiving is not None
        if receiving.failed is None:
            taker = receiving.sink or receiving.collector
            assert taker is not None
            try:
                taker.write(event.views)
            except IsocenterError as error:
                self._drop(receiving, Reply.of(error, receiving.verb))
            except Exception:
                log.exception("%s: receiving a data set failed", self.peer_address)
                self._drop(receiving, _PROCESSING_FAILURE)
        if event.last:
            self._finish(receiving)

    def _drop(self, receiving: _Receiving, reply: Reply) -> None:
        receiving.failed = reply
        if receiving.sink is not None:
            receiving.sink.abandon()

    def _finish(self, receiving: _Receiving) -> None:
        """The message is whole."""
        self._receiving = None
        request = receiving.request
        if request is None:
            assert receiving.collector is not None
            failed = receiving.failed
            outcome = receiving.collector.raw if failed is None else ProtocolError(failed.comment)
            self._resolve(receiving.message.command, outcome)
            return
        try:
            if receiving.failed is not None:
                result: Reply | Answer = receiving.failed
            elif receiving.sink is not None:
                result = receiving.sink.finish()
            else:
                verb = receiving.verb
                service = self._serving(request.context, verb)
                assert service is not None
                assert receiving.collector is not None
                method = _METHODS[verb]
                result = method(service, request, receiving.collector.raw)
        except IsocenterError as error:
            result = Reply.of(error, receiving.verb)
        except Exception:
            log.exception("%s: a request failed", self.peer_address)
            result = _PROCESSING_FAILURE
        if isinstance(result, Reply) and not self._line.locked():
            self._reply(request, result)
            return
        self._busy += 1
        self._running[request.command.get("MessageID", 0)] = request.cancellation
        task = self.loop.create_task(self._serve(request, result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resolve(self, command: CommandSet, outcome: bytes | ProtocolError | None) -> None:
        """A response is whole, with its data set or with what is wrong with that."""
        message_id = command.get("MessageIDBeingRespondedTo", 0)
        pending = command.get("Status") in (PENDING, PENDING_WITH_WARNING)
        if not pending or self._owed.get(message_id) not in _SEVERAL:
            self._settle(message_id)
        mailbox = self._waiting.get(message_id)
        if mailbox is not None:
            mailbox.put(outcome if isinstance(outcome, ProtocolError) else Response(command, outcome))

    async def _serve(self, request: Request, work: Reply | Answer) -> None:
        try:
            if isinstance(work, Reply):
                reply = work
            elif isinstance(work, AsyncIterator):
                reply = await self._serve_many(request, work)
            else:
                reply = await work
        except IsocenterError as error:
            reply = Reply.of(error, request.command["CommandField"])
        except Exception:
            log.exception("%s: a request failed", self.peer_address)
            reply = _PROCESSING_FAILURE
        self._busy -= 1
        self._running.pop(request.command.get("MessageID", 0), None)
        if self._line.locked():
            async with self._line:
                pass
        self._reply(request, reply)
        self._take_held()

    def _take_held(self) -> None:
        held, self._held = self._held, None
        if held is None or self.on_event(held):
            self.resume()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._take_held()

    async def _serve_many(self, request: Request, replies: AsyncIterator[Reply | PendingReplies]) -> Reply:
        """Send pending replies as they come; the final one is returned. Whatever it is, nothing goes on afterwards."""
        try:
            async for reply in replies:
                if isinstance(reply, Reply) and not reply.pending:
                    return reply
                if request.cancellation.requested or self._failure is not None:
                    return _CANCELLED
                if self._line.locked():
                    async with self._line:
                        pass
                if isinstance(reply, Reply):
                    self._reply(request, reply)
                else:
                    self._reply_pending(request, reply)
                await self.drain()
        finally:
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()
        return _CANCELLED if request.cancellation.requested else Reply()

    def _reply_pending(self, request: Request, replies: PendingReplies) -> None:
        if self.transport is None or self.connection.close_expected or not self.connection.can_send:
            return
        command = response_to(request.command, replies.status, CommandDataSetType=_DATA_SET_FOLLOWS)
        self.connection.send_messages(request.context.id, command, replies.data_sets)
        self.connection.touch(self.loop.time())
        if not self._pumping:
            self.flush()

    def _reply(self, request: Request, reply: Reply) -> None:
        if self.transport is None or self.connection.close_expected:
            return
        if reply.status and not reply.pending:
            field = request.command["CommandField"]
            name = Verb(field).name if field in set(Verb) else f"{field:04X}"
            log.info("%s %s: %s: %04X %s", self.peer_address, self.peer.calling, name, reply.status, reply.comment)
        if self.connection.can_send:
            if reply.comment or reply.elements or reply.data_set is not None:
                command = response_to(request.command, reply.status, **reply.elements)
                if reply.comment:
                    command["ErrorComment"] = reply.comment
                if reply.data_set is not None:
                    command["CommandDataSetType"] = _DATA_SET_FOLLOWS
                self.connection.send_message(request.context.id, command, reply.data_set)
            else:
                self.connection.send_command(request.context.id, encode_response(request.command, reply.status))
        if self._release_waits:
            self._release_if_idle()
        if reply.then is not None:
            self.write_out()
            reply.then()
        if self._pumping:
            return
        self.connection.touch(self.loop.time())
        if reply.pending:
            # Of a C-GET the next object follows at once, and one write takes both; else it leaves in a moment.
            self.loop.call_soon(self.flush)
        else:
            self.flush()
