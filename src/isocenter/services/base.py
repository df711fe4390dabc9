"""What a service class is: SOP classes it supports, one method per DIMSE verb, and no idea of sockets or archive.

A method gets a Request, and the data set of the request if it has one, and gives a Reply; a query or retrieve gives one
for each answer. C-STORE gives a Sink instead, which takes the data set as it arrives. Whatever raises an
IsocenterError is answered with that error's own status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from isocenter.errors import BadRequest, DataSetError, IsocenterError, LimitExceeded, NetworkError, OutOfResources
from isocenter.std.statuses import GENERAL, PENDING, PENDING_WITH_WARNING, SUCCESS
from isocenter.ul.connection import Payload
from isocenter.ul.negotiation import Agreed, Support
from isocenter.wire.command import NORMALIZED, CommandSet

UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.23
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
PROCESSING_FAILURE, INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0110, 0x0115, 0x0213  # PS3.7 C.5
CANNOT_UNDERSTAND = 0xC000

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Peer(NamedTuple):
    """Who is at the other end of an association. Titles as received, `address` as host:port, `user` as verified."""

    calling: str
    called: str
    address: str
    implementation: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response: its status (std/statuses.py), an Error Comment of at most 64 characters, a data set in the transfer
    syntax of the request's presentation context, and further command elements by keyword. `then` is called when the
    response is written, for work that the peer need not wait for; it is not when there is nobody to write to."""

    status: int = SUCCESS
    comment: str = ""
    data_set: bytes | None = field(default=None, repr=False)
    elements: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    then: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, error: IsocenterError, verb: int = 0) -> Reply:
        """The failure that `error` means, as the services of `verb` (a Command Field) name it."""
        return cls(_annex_c(error) if verb in NORMALIZED else error.dimse_status, str(error))

    @property
    def pending(self) -> bool:
        """Whether more responses to the same request follow (PS3.7 Annex C.1)."""
        return self.status in (PENDING, PENDING_WITH_WARNING)


STORED = Reply()
"""Success with nothing to add, the answer of nearly every C-STORE."""


@dataclass(frozen=True, slots=True)
class PendingReplies:
    """Pending responses that differ in nothing but their data sets, to be sent in one go."""

    status: int
    data_sets: Sequence[bytes] = field(repr=False)


def _annex_c(error: IsocenterError) -> int:
    """The status of a normalized service, all of which PS3.7 Annex C has; errors carry those of the storage and query
    services, where the two differ."""
    if error.dimse_status in GENERAL:
        return error.dimse_status
    if isinstance(error, OutOfResources | LimitExceeded):
        return RESOURCE_LIMITATION
    return INVALID_ARGUMENT if isinstance(error, DataSetError | BadRequest) else PROCESSING_FAILURE


Answered = Callable[["Response | NetworkError"], None]
"""Takes the response to a request, or why there is none."""


@dataclass(slots=True)
class Ready:
    """A request in the bytes that go on the wire, with its Message ID and Command Field; used up when it is sent."""

    message_id: int
    verb: int
    payloads: list[Payload] = field(repr=False)


class Invoker(Protocol):
    """What a service may ask of the association its request came on: sub-operations and event reports (PS3.7 8.1)."""

    @property
    def usable(self) -> bool:
        """Whether requests can be sent."""

    @property
    def window(self) -> int:
        """How many requests may be outstanding (PS3.7 D.3.3.3)."""

    @property
    def sends_files(self) -> bool:
        """Whether a data set had better be sent as parts of its file than as bytes that were read from it."""

    def contexts_for(self, abstract_syntax: str, *, as_scp: bool = False) -> Sequence[Agreed]:
        """Accepted contexts in which our side may act as SCU (or as SCP, to report events)."""

    def next_message_id(self) -> int:
        """A Message ID that no outstanding request of ours has."""

    async def request(
        self, context: Agreed, command: CommandSet, data_set: Iterable[Payload] | None = None
    ) -> Response:
        """Send a request and wait for the (first) response. Raises NetworkErrors."""

    async def post(self, context: Agreed, command: CommandSet, data_set: Iterable[Payload], answered: Answered) -> None:
        """Send a request when there is a place for it in the window, and return when it is written. `answered` is
        called once and later, with the response or with why there is none. Raises NetworkErrors, and whatever
        `data_set` raises; `answered` is not called then."""

    def ready(self, context: Agreed, message_id: int, verb: int, raw: bytes, data_set: Iterable[Payload]) -> Ready:
        """A request for post_at_once(), made while there is time for it, of its command set's bytes and a data set
        that is short. Raises what `data_set` raises."""

    def post_at_once(self, request: Ready, answered: Answered) -> bool:
        """The same as post() where nothing has to be waited for: it is written, or False and nothing happened. Of a
        peer that reads slowly what is left waits in memory."""


@dataclass(slots=True)
class Response:
    """A response as it arrived: command set and the bytes of its data set. Not to be changed; as with Request."""

    command: CommandSet
    data_set: bytes | None = field(default=None, repr=False)

    @property
    def status(self) -> int:
        return int(self.command.get("Status", CANNOT_UNDERSTAND))


class Cancellation:
    """Set when the peer sends C-CANCEL; long operations look at it between steps (PS3.7 section 9.3.2.3)."""

    requested = False


@dataclass(slots=True)
class Request:
    """One DIMSE request: from whom, in which presentation context, its command set, and the way back.

    Not to be changed; it is not frozen because one is made for every object, and a frozen one takes thrice as long.
    """

    peer: Peer
    context: Agreed
    command: CommandSet
    invoker: Invoker = field(repr=False)
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)


class Sink(Protocol):
    """Takes one data set while it arrives. The first error is the answer; the driver then discards the rest."""

    def write(self, views: Sequence[memoryview]) -> None:
        """The next bytes; the views are invalid after the call."""

    def finish(self) -> Reply | Awaitable[Reply]:
        """All bytes were written. The reply is sent when it is there, and not before."""

    def abandon(self) -> None:
        """The rest will not come, or write() raised: forget what was written."""


class Refusal:
    """A sink that keeps nothing and answers with one status."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def write(self, views: Sequence[memoryview]) -> None:
        """Discard."""

    def finish(self) -> Reply:
        return self._reply

    def abandon(self) -> None:
        """Nothing is held."""


async def _refused(verb: str) -> Reply:
    return Reply(UNRECOGNIZED_OPERATION, f"this SOP class has no {verb}")


class Service:
    """Base of the service classes: every verb is refused until a subclass takes it."""

    name: str

    def sop_classes(self) -> Iterable[str]:
        """UIDs of the abstract syntaxes, for the conformance statement."""
        raise NotImplementedError

    def supports(self, abstract_syntax: str) -> Support | None:
        """How we support it, or None."""
        raise NotImplementedError

    def c_store(self, request: Request) -> Sink:
        return Refusal(Reply(UNRECOGNIZED_OPERATION, "this SOP class has no C-STORE"))

    def c_echo(self, request: Request, data_set: bytes) -> Reply | Awaitable[Reply]:
        return _refused("C-ECHO")

    def c_find(
        self, request: Request, data_set: bytes
    ) -> Awaitable[Reply] | AsyncIterator[Reply] | AsyncIterator[Reply | PendingReplies]:
        return _refused("C-FIND")

    def c_move(self, request: Request, data_set: bytes) -> Awaitable[Reply] | AsyncIterator[Reply]:
        return _refused("C-MOVE")

    def c_get(self, request: Request, data_set: bytes) -> Awaitable[Reply] | AsyncIterator[Reply]:
        return _refused("C-GET")

    def n_event_report(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-EVENT-REPORT")

    def n_get(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-GET")

    def n_set(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-SET")

    def n_action(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-ACTION")

    def n_create(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-CREATE")

    def n_delete(self, request: Request, data_set: bytes) -> Awaitable[Reply]:
        return _refused("N-DELETE")


class Services:
    """The services one side of an association offers; the first that supports an abstract syntax serves it."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._services = tuple(services)

    def __iter__(self) -> Iterator[Service]:
        return iter(self._services)

    def serving(self, abstract_syntax: str) -> Service | None:
        for service in self._services:
            if service.supports(abstract_syntax) is not None:
                return service
        return None

    def supports(self, abstract_syntax: str) -> Support | None:
        """What negotiation needs to know (ul.negotiation.Policy.supports)."""
        service = self.serving(abstract_syntax)
        return None if service is None else service.supports(abstract_syntax)
