"""What a service class is: SOP classes it supports, one method per DIMSE verb, and no idea of sockets or archive.

A service gets a Request and gives a Reply, or for C-STORE a Sink that takes the data set as it arrives. Whatever raises
an IsocenterError is answered with that error's own status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from isocenter.errors import IsocenterError
from isocenter.std.statuses import SUCCESS
from isocenter.ul.negotiation import Agreed, Support
from isocenter.wire.command import CommandSet

UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.23
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of an association. Titles as received, `address` as host:port."""

    calling: str
    called: str
    address: str
    implementation: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One DIMSE request: from whom, in which presentation context, and its command set."""

    peer: Peer
    context: Agreed
    command: CommandSet


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of a response (std/statuses.py) and, if not success, an Error Comment of at most 64 characters."""

    status: int = SUCCESS
    comment: str = ""

    @classmethod
    def of(cls, error: IsocenterError) -> Reply:
        return cls(error.dimse_status, str(error))


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


class Service:
    """Base of the service classes: every verb is refused until a subclass takes it."""

    name: str

    def sop_classes(self) -> Iterable[str]:
        """UIDs of the abstract syntaxes, for the conformance statement."""
        raise NotImplementedError

    def supports(self, abstract_syntax: str) -> Support | None:
        """How we support it, or None."""
        raise NotImplementedError

    async def c_echo(self, request: Request) -> Reply:
        return Reply(UNRECOGNIZED_OPERATION, "this SOP class has no C-ECHO")

    def c_store(self, request: Request) -> Sink:
        return Refusal(Reply(UNRECOGNIZED_OPERATION, "this SOP class has no C-STORE"))


class Services:
    """The services one server offers, in order; the first that supports an abstract syntax serves it."""

    def __init__(self, services: Iterable[Service]) -> None:
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
