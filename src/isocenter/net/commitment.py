"""Storage Commitment as SCU (PS3.4 Annex J): ask, and wait for the report wherever it comes.

A report comes on the association on which it was asked for, or on one that the SCP opens to us, and neither side knows
beforehand which. So what is awaited is kept in one place, Reports, whose service belongs to our own association and, if
we listen, to our server as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from isocenter.errors import AssociationAborted, PeerTimeout, UsageError
from isocenter.iod.uids import UIDs
from isocenter.net.association import Association
from isocenter.net.normalized import failure_of
from isocenter.services.normalized import Operation, encoded, normalized_request
from isocenter.services.storage_commitment import (
    REQUEST_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
    ReportReceiver,
    read_report,
    request_model,
)
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.wire.command import Verb

_LOOK = 10.0  # seconds after which a waiting association is said to be in use


class Reports:
    """The reports that are awaited. `listening` says that `service` is also offered to SCPs that call us: then they can
    come when the association is gone."""

    def __init__(self, *, listening: bool = False) -> None:
        self.listening = listening
        self.service = ReportReceiver(self._hear)
        self._awaited: dict[str, asyncio.Future[CommitmentReport]] = {}
        self._had: set[str] = set()

    def expect(self, transaction: str) -> asyncio.Future[CommitmentReport]:
        """The report of a transaction, when it has come."""
        report = self._awaited[transaction] = asyncio.get_running_loop().create_future()
        return report

    def forget(self, transaction: str) -> None:
        """Do not wait any more; an SCP that reports nevertheless is told so."""
        self._awaited.pop(transaction, None)

    async def _hear(self, operation: Operation) -> bool:
        report = await asyncio.to_thread(lambda: read_report(operation.model()))
        awaited = self._awaited.get(report.transaction)
        if awaited is None:
            # An SCP that lost our answer reports once more.
            return report.transaction in self._had
        self._had.add(report.transaction)
        if not awaited.done():
            awaited.set_result(report)
        return True


async def ask(association: Association, request: CommitmentRequest) -> None:
    """The N-ACTION alone: who hears the report has to be ready for it before. Raises OperationFailed with the peer's
    status, NoPresentationContext and other NetworkErrors."""
    context = association.context_for(STORAGE_COMMITMENT_PUSH)
    command = normalized_request(
        Verb.N_ACTION,
        association.next_message_id(),
        STORAGE_COMMITMENT_PUSH,
        WELL_KNOWN_INSTANCE,
        type_id=REQUEST_COMMITMENT,
    )
    information = await asyncio.to_thread(encoded, request_model(request), context.transfer_syntax, ())
    failed = failure_of(Verb.N_ACTION, await association.request(context, command, [information]))
    if failed is not None:
        raise failed


async def commit(
    association: Association, references: Iterable[Reference], reports: Reports, timeout: float
) -> CommitmentReport:
    """One transaction; see Peer.commit()."""
    request = CommitmentRequest(UIDs().new("transaction"), tuple(dict.fromkeys(references)))
    if not request.references:
        raise UsageError("no object to ask commitment for")
    report = reports.expect(request.transaction)  # it may be quicker than the answer
    try:
        await ask(association, request)
        await _wait(association, report, reports.listening, timeout)
        return report.result()
    finally:
        reports.forget(request.transaction)


async def _wait(
    association: Association, report: asyncio.Future[CommitmentReport], listening: bool, timeout: float
) -> None:
    """Until the report is there; raises when it cannot be expected any more."""
    deadline = association.loop.time() + timeout
    over = asyncio.ensure_future(association.over.wait())
    try:
        while not report.done():
            left = deadline - association.loop.time()
            if left <= 0:
                raise PeerTimeout(
                    f"no report within {timeout:g} s; the peer may still send it, and nobody will hear it"
                )
            if over.done() and not listening:
                raise AssociationAborted("the association ended before the report came; can the peer call us (listen)?")
            # Whoever waits for a report is no silent peer, on either side's account.
            association.connection.touch(association.loop.time())
            waiting: set[asyncio.Future[Any]] = {report} if over.done() else {report, over}
            await asyncio.wait(waiting, timeout=min(left, _LOOK), return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()
