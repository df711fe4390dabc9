"""C-FIND on an open association, as SCU (PS3.4 C.4.1.2)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from io import BytesIO
from typing import TYPE_CHECKING

from isocenter.errors import DataSetError, NetworkError, OperationFailed
from isocenter.net.association import Association
from isocenter.services.query import find_request
from isocenter.std.dictionary import name_of
from isocenter.std.statuses import CANCEL, FIND, PENDING, PENDING_WITH_WARNING, SUCCESS, meaning_of
from isocenter.std.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet

if TYPE_CHECKING:
    from pydicom import Dataset


async def answers(
    association: Association,
    context: Agreed,
    identifier: bytes,
    priority: int = 0,
    *,
    warned: Callable[[Dataset], None] = lambda match: None,
) -> AsyncGenerator[Dataset, None]:
    """The matches of one question, as they come. Closing sends C-CANCEL and waits for the peer's last word.

    `warned` is called with each match of which the peer says that it does not support all of the keys (FF01). Raises
    OperationFailed with the peer's status, and NetworkErrors.
    """
    message_id = association.next_message_id()
    command = find_request(message_id, context.abstract_syntax, priority=priority)
    responses = association.responses(context, command, [identifier])
    over = False
    try:
        async for response in responses:
            over = response.status not in (PENDING, PENDING_WITH_WARNING)
            if not over:
                match = data_set_of(response.data_set or b"", context.transfer_syntax)
                if response.status == PENDING_WITH_WARNING:
                    warned(match)
                yield match
            elif response.status not in (SUCCESS, CANCEL):
                text = f"C-FIND: {response.status:04X} {meaning_of(response.status, FIND)}"
                comment = complaint(response.command)
                raise OperationFailed(f"{text}: {comment}" if comment else text, status=response.status)
    finally:
        if not over and association.usable:
            association.cancel(context, message_id)
            with contextlib.suppress(NetworkError):
                async for _ in responses:
                    """What was under way when we cancelled."""


def complaint(command: CommandSet) -> str:
    """What a peer says of a failure: its Error Comment, and the offending elements unless the comment has them."""
    comment: str = command.get("ErrorComment", "")
    tags = (f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in command.get("OffendingElement", ()))
    elements = [f"{tag} {name_of(int(tag[1:5] + tag[6:10], 16))}".strip() for tag in tags if tag not in comment]
    return " at ".join(filter(None, (comment, ", ".join(elements))))


def data_set_of(raw: bytes, transfer_syntax_uid: str) -> Dataset:
    """The bytes of a data set as pydicom's; values are decoded when they are asked for."""
    from pydicom.filereader import read_dataset

    if b"ISO 2022 IR 58" in raw:  # pydicom 3 leaves the escape sequences of this one in the text
        with contextlib.suppress(DataSetError):
            raw, transfer_syntax_uid = _in_utf_8(raw, transfer_syntax_uid), EXPLICIT_VR_LITTLE_ENDIAN
    syntax = transfer_syntax(transfer_syntax_uid)
    return read_dataset(BytesIO(raw), is_implicit_VR=not syntax.explicit, is_little_endian=syntax.little)


def _in_utf_8(raw: bytes, transfer_syntax_uid: str) -> bytes:
    """The same data set with its text in UTF-8, in explicit VR little endian."""
    from isocenter.wire.dicomjson import dataset_json
    from isocenter.wire.encode import encode_dataset

    return encode_dataset(dataset_json(raw, transfer_syntax_uid, exclude_bulk=False))
