"""DIMSE-N as SCU (PS3.7 section 10): the verbs as users call them, and the events that an SCP reports to them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isocenter.errors import DataSetError, OperationFailed, UsageError
from isocenter.net.association import Association
from isocenter.net.find import data_set_of
from isocenter.services.base import Peer, Reply, Response
from isocenter.services.keys import model_of, tag_named
from isocenter.services.normalized import (
    TRANSFER_SYNTAXES,
    EventReceiver,
    Operation,
    encoded,
    normalized_request,
)
from isocenter.std.statuses import kind_of, meaning_of
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.command import Verb

if TYPE_CHECKING:
    from pydicom import Dataset

    Attributes = Mapping[str, Any] | Dataset


@dataclass(frozen=True, slots=True)
class Performed:
    """What an SCP answered to a request that did not fail. `instance` is the SOP Instance UID, which an N-CREATE may
    have left to it; `attributes` the data set of the answer, None without one; `status` 0 or a warning."""

    status: int
    instance: str
    attributes: Dataset | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An N-EVENT-REPORT that came; `peer` is who sent it."""

    sop_class: str
    instance: str
    event_type: int
    information: Dataset
    peer: Peer


EventHandler = Callable[[Event], int | Awaitable[int | None] | None]
"""Gives the status that an event is answered with, None for success. May be a coroutine function."""


class NormalizedVerbs:
    """The verbs of DIMSE-N for Peer.

    Attributes are keywords with values, as find() takes them, or a pydicom Dataset. `abstract_syntax` is what is
    negotiated where it is not the SOP class itself: a Meta SOP Class, or another one of the UPS service. All raise
    OperationFailed with the peer's status, UsageError for attributes that cannot be written, NoPresentationContext and
    other NetworkErrors; a warning is in the status of what is returned.
    """

    async def _association_for(self, needs: set[tuple[str, str]]) -> Association:
        """An association with presentation contexts for these pairs of abstract and transfer syntax, if granted."""
        raise NotImplementedError

    async def n_create(
        self, sop_class: str, attributes: Attributes | None = None, *, instance: str = "", abstract_syntax: str = ""
    ) -> Performed:
        """N-CREATE of a SOP Instance with these attributes; without `instance` the peer makes its UID."""
        return await self._perform(Verb.N_CREATE, abstract_syntax, sop_class, instance, attributes)

    async def n_set(
        self, sop_class: str, instance: str, attributes: Attributes, *, abstract_syntax: str = ""
    ) -> Performed:
        """N-SET: change these attributes of a SOP Instance."""
        return await self._perform(Verb.N_SET, abstract_syntax, sop_class, instance, attributes)

    async def n_get(
        self, sop_class: str, instance: str, attributes: Sequence[str | int] = (), *, abstract_syntax: str = ""
    ) -> Performed:
        """N-GET of these attributes (keywords or tags) of a SOP Instance; of all, if none are named."""
        tags = [tag if isinstance(tag, int) else tag_named(tag) for tag in attributes]
        return await self._perform(Verb.N_GET, abstract_syntax, sop_class, instance, tags=tags)

    async def n_action(
        self,
        sop_class: str,
        instance: str,
        action_type: int,
        information: Attributes | None = None,
        *,
        abstract_syntax: str = "",
    ) -> Performed:
        """N-ACTION of one of the SOP class's types."""
        return await self._perform(
            Verb.N_ACTION, abstract_syntax, sop_class, instance, information, type_id=action_type
        )

    async def n_delete(self, sop_class: str, instance: str, *, abstract_syntax: str = "") -> Performed:
        """N-DELETE of a SOP Instance."""
        return await self._perform(Verb.N_DELETE, abstract_syntax, sop_class, instance)

    async def _perform(
        self,
        verb: Verb,
        abstract_syntax: str,
        sop_class: str,
        instance: str,
        attributes: Attributes | None = None,
        *,
        type_id: int = 0,
        tags: Sequence[int] = (),
    ) -> Performed:
        negotiated = abstract_syntax or sop_class
        association = await self._association_for({(negotiated, syntax) for syntax in TRANSFER_SYNTAXES})
        context = association.context_for(negotiated)
        command = normalized_request(
            verb, association.next_message_id(), sop_class, instance, type_id=type_id, attributes=tags
        )
        data_set = None if attributes is None else _written(attributes, context.transfer_syntax)
        response = await association.request(context, command, None if data_set is None else [data_set])
        failed = failure_of(verb, response)
        if failed is not None:
            raise failed
        return Performed(
            response.status,
            response.command.get("AffectedSOPInstanceUID", instance),
            None if response.data_set is None else data_set_of(response.data_set, context.transfer_syntax),
            response.command.get("ErrorComment", ""),
        )


def failure_of(verb: Verb, response: Response) -> OperationFailed | None:
    """The error that a response is, if it is one."""
    if kind_of(response.status) in ("success", "warning"):
        return None
    comment = response.command.get("ErrorComment", "")
    text = f"{verb.name.replace('_', '-')}: {response.status:04X} {meaning_of(response.status)}"
    return OperationFailed(f"{text}: {comment}" if comment else text, status=response.status)


def event_receiver(handler: EventHandler) -> EventReceiver:
    """The service that hands every event to `handler`."""

    async def take(operation: Operation) -> Reply:
        event = Event(
            operation.sop_class,
            operation.instance,
            operation.type_id,
            data_set_of(operation.data_set, operation.transfer_syntax),
            operation.peer,
        )
        status = handler(event)
        if inspect.isawaitable(status):
            status = await status
        return Reply(status or 0)

    return EventReceiver(take)


def _written(attributes: Attributes, syntax_uid: str) -> bytes:
    if isinstance(attributes, Mapping):
        try:
            raw = encoded(model_of(attributes), syntax_uid)
        except DataSetError as error:
            raise UsageError(error.message, tag_path=error.tag_path) from None
        # A character set is declared where there is something that it is needed for.
        return raw if not raw.isascii() else encoded(model_of(attributes), syntax_uid, ())
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    syntax = transfer_syntax(syntax_uid)
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = syntax.little, not syntax.explicit
    try:
        write_dataset(output, attributes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the data set cannot be written: {error}") from None
    return output.getvalue()
