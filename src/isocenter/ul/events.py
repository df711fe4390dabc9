"""What the upper layer tells its user: the indications and confirmations of PS3.8 section 7, as small values.

The two that come with every message are not frozen, as making a frozen one takes twice as long; nobody changes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from isocenter.wire.command import CommandSet
from isocenter.wire.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociationRequested:
    """A-ASSOCIATE indication: answer with accept() or reject()."""

    rq: AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociationAccepted:
    """A-ASSOCIATE confirmation."""

    ac: AssociateAC


@dataclass(frozen=True, slots=True)
class AssociationRefused:
    """A-ASSOCIATE confirmation, negative. The connection is over."""

    rj: AssociateRJ


@dataclass(slots=True)
class MessageStarted:
    """A complete command set arrived. With `has_data`, DataSetChunk events of this message follow; else it is whole."""

    context_id: int
    command: CommandSet
    has_data: bool


@dataclass(slots=True)
class DataSetChunk:
    """Bytes of the data set of the message begun last, as views of the receive buffer, in order.

    The views are valid until the next get_buffer() or next_event(): use or copy them at once.
    `last` ends the message.
    """

    views: list[memoryview]
    last: bool


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """A-RELEASE indication: answer with release_response()."""


@dataclass(frozen=True, slots=True)
class Released:
    """A-RELEASE confirmation."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A-ABORT or A-P-ABORT indication, or loss of the connection. `local`: we ended it, `why` says for what."""

    abort: Abort
    local: bool
    why: str


UpperLayerEvent = (
    AssociationRequested
    | AssociationAccepted
    | AssociationRefused
    | MessageStarted
    | DataSetChunk
    | ReleaseRequested
    | Released
    | Aborted
)
