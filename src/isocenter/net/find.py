"""C-FIND on an open association, as SCU (PS3.4 C.4.1.2)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from io import BytesIO
from typing import TYPE_CHECKING

from isocenter.errors import NetworkError, OperationFailed
from isocenter.net.association import Association
from isocenter.services.query import find_request
from isocenter.std.statuses import CANCEL, FIND, PENDING, PENDING_WITH_WARNING, SUCCESS, meaning_of
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.ul.negotiation import Agreed

if TYPE_CHECKING:
    from pydicom import Dataset


async def answers(
    association: Association, context: Agreed, identifier: bytes, priority: int = 0
) -> AsyncGenerator[Dataset, None]:
    """The matches of one question, as they come. Closing sends C-CANCEL and waits for the peer's last word.

    Raises OperationFailed with the peer's status, and NetworkErrors.
    """
    message_id = association.next_message_id()
    command = find_request(message_id, context.abstract_syntax, priority=priority)
    responses = association.responses(context, command, [identifier])
    over = False
    try:
        async for response in responses:
            over = response.status not in (PENDING, PENDING_WITH_WARNING)
            if not over:
                yield data_set_of(response.data_set or b"", context.transfer_syntax)
            elif response.status not in (SUCCESS, CANCEL):
                comment = response.command.get("ErrorComment", "")
                text = f"C-FIND: {response.status:04X} {meaning_of(response.status, FIND)}"
                raise OperationFailed(f"{text}: {comment}" if comment else text, status=response.status)
    finally:
        if not over and association.usable:
            association.cancel(context, message_id)
            with contextlib.suppress(NetworkError):
                async for _ in responses:
                    """What was under way when we cancelled."""


def data_set_of(raw: bytes, transfer_syntax_uid: str) -> Dataset:
    """The bytes of a data set as pydicom's; values are decoded when they are asked for."""
    from pydicom.filereader import read_dataset

    syntax = transfer_syntax(transfer_syntax_uid)
    return read_dataset(BytesIO(raw), is_implicit_VR=not syntax.explicit, is_little_endian=syntax.little)
