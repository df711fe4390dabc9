"""Storage Commitment as SCU, for what was forwarded: jobs that ask a peer, and the reports that it owes.

A request is durable before it is sent, as the report may be quicker than the response, and may come weeks later to
another process. It comes on the association of the request, which is held open for a while, or on one that the peer
opens to our own port. What it says is durable before it is answered; a report that gets lost is asked for again, under
a new Transaction UID, and one that comes late is as good as another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from isocenter.archive.archive import Archive
from isocenter.archive.commitment import item_of, reference_of
from isocenter.archive.jobs import JobFailed, Work
from isocenter.dimse.commitment import REFUSED_FOR_GOOD
from isocenter.dimse.peers import associate_with
from isocenter.errors import OperationFailed, SettingsError
from isocenter.index.jobs import Wanted
from isocenter.iod.uids import UIDs
from isocenter.known_peers import KnownPeer
from isocenter.net.commitment import ask
from isocenter.net.requestor import Proposal, Requestor
from isocenter.services.base import Services
from isocenter.services.normalized import TRANSFER_SYNTAXES, Operation
from isocenter.services.storage_commitment import (
    DUPLICATE_TRANSACTION,
    RESOURCE_LIMITATION,
    CommitmentRequest,
    Reference,
    ReportReceiver,
    read_report,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.std.statuses import COMMITMENT_FAILURE_REASONS, meaning_of
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

COMMITMENT_REQUEST = "commitment-request"
"""The kind of the jobs. `target` is the name of a peer, an item is a reference as of item_of()."""

_PORTION = 1000  # objects of one request: one that is lost costs no more than these
_GATHER = 60.0  # seconds in which forwarded objects join one job

# The peer may answer for the object another time (PS3.3 C.14.1.1); all other reasons are for the operator to look at.
_FOR_NOW = frozenset({RESOURCE_LIMITATION, DUPLICATE_TRANSACTION})


def wanted_for(peer: str, references: Sequence[Reference], after: float | None = None) -> Wanted:
    """The job that asks the known peer of this name for commitment: now, as a job by itself; or together with what
    comes besides, when nothing has come for `after` seconds."""
    items = [item_of(reference) for reference in references]
    if after is None:
        return Wanted(COMMITMENT_REQUEST, peer, items=items)
    return Wanted(COMMITMENT_REQUEST, peer, items=items, gather=_GATHER, delay=after)


class CommitmentRequests:
    """A Performer, and the hearer of the reports. `peer` gives the peer of a name, None if it is not (or no longer) in
    the settings file."""

    def __init__(self, archive: Archive, settings: Settings, peer: Callable[[str], KnownPeer | None]) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = Limits.of(settings)
        self._peer = peer
        self._heard: dict[str, asyncio.Event] = {}  # by Transaction UID, while an association is held open for it

    async def perform(self, work: Work) -> None:
        items: list[str] = []
        while some := await work.items():
            items += some
        if not items:
            return  # the report came while nobody performed the job
        peer = self._peer(work.job.target)
        if peer is None:
            raise SettingsError(f"there is no [[peer]] named {work.job.target}")
        asked: list[str] = []
        association = await associate_with(
            peer,
            [Proposal(STORAGE_COMMITMENT_PUSH, TRANSFER_SYNTAXES)],
            self._settings,
            Services([ReportReceiver(self.hear)]),
        )
        try:
            for at in range(0, len(items), _PORTION):
                asked.append(await self._ask(work, association, items[at : at + _PORTION]))
            log.info("%s: asked for commitment of %d objects", peer.name, len(items))
            await self._hold(association, asked)
            if association.usable:
                await association.release()
        except BaseException:
            association.abort()
            raise
        finally:
            for transaction in asked:
                self._heard.pop(transaction, None)
        work.trouble = "asked; the report is awaited"
        work.pause = self._settings.commitment_ask_again

    async def _ask(self, work: Work, association: Requestor, items: Sequence[str]) -> str:
        """Send one request; its Transaction UID."""
        request = CommitmentRequest(UIDs().new("transaction"), tuple(map(reference_of, items)))
        await work.asked(request.transaction)
        self._heard[request.transaction] = asyncio.Event()
        try:
            await ask(association, request)
        except OperationFailed as error:
            self._heard.pop(request.transaction, None)
            raise JobFailed(str(error)) if error.status in REFUSED_FOR_GOOD else error from None
        return request.transaction

    async def _hold(self, association: Requestor, asked: Sequence[str]) -> None:
        """Wait until all is reported, the peer has ended the association, or for commitment.hold."""
        heard = asyncio.ensure_future(self._all_heard(asked))
        over = asyncio.ensure_future(association.over.wait())
        try:
            await asyncio.wait(
                {heard, over}, timeout=self._settings.commitment_hold, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            heard.cancel()
            over.cancel()

    async def _all_heard(self, asked: Sequence[str]) -> None:
        for transaction in asked:
            await self._heard[transaction].wait()

    async def hear(self, operation: Operation) -> bool:
        """A report, on whichever association (services.storage_commitment.Hear)."""
        report = await asyncio.to_thread(lambda: read_report(operation.model(self._limits)))
        failed = {
            item_of(reference): f"{reason:04X} {meaning_of(reason, COMMITMENT_FAILURE_REASONS)}"
            for reference, reason in report.failed.items()
            if reason not in _FOR_NOW
        }
        put_off = sorted({reason for reason in report.failed.values() if reason in _FOR_NOW})
        trouble = ", ".join(f"{one:04X} {meaning_of(one, COMMITMENT_FAILURE_REASONS)}" for one in put_off)
        job = await self._archive.jobs.reported(
            report.transaction,
            done=[item_of(reference) for reference in report.committed],
            failed=failed,
            trouble=trouble and f"not committed yet: {trouble}",
        )
        peer = operation.peer
        if job is None:
            log.warning("%s %s: a report of a transaction that is none of ours", peer.address, peer.calling)
            return False
        log.info(
            "%s %s: job %d: %d objects committed, %d not",
            peer.address,
            peer.calling,
            job.id,
            len(report.committed),
            len(report.failed),
        )
        event = self._heard.get(report.transaction)
        if event is not None:
            event.set()
        return True
