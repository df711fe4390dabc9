"""Storage Commitment over the archive: requests are kept as jobs, verified, and reported on until the SCU has heard.

The report goes out on the association of the request while that is open, and else on one of ours to the [[peer]] with
the AE title that asked. It is verified when somebody can be told, not before: a peer that is down for a day costs a
connection now and then, and what it hears is true when it hears it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable

from isocenter.archive.archive import Archive
from isocenter.archive.commitment import item_of, reference_of, report_of
from isocenter.archive.jobs import Job, JobFailed, Wanted, Work
from isocenter.dimse.peers import associate_with
from isocenter.errors import NetworkError, NoPresentationContext, OutOfResources, SettingsError
from isocenter.known_peers import KnownPeer
from isocenter.net.normalized import failure_of
from isocenter.net.requestor import Proposal, Requestor
from isocenter.services.base import Invoker
from isocenter.services.normalized import TRANSFER_SYNTAXES, Operation, encoded, normalized_request
from isocenter.services.storage_commitment import (
    DUPLICATE_TRANSACTION,
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    read_request,
    report_model,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.wire.command import Verb
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

COMMITMENT = "commitment"
"""The kind of the jobs. `target` is the AE title that asked, `key` the Transaction UID, an item is a reference."""

# With these an SCU says that it does not know the transaction, the event or the SOP class (PS3.7 section 10.1.1.1.8),
# and an SCP that it does not know the action: it will say so again. Others may be other tomorrow.
REFUSED_FOR_GOOD = frozenset({0x0112, 0x0113, 0x0114, 0x0115, 0x0117, 0x0118, 0x0119, 0x0122, 0x0123, 0x0211, 0x0212})


class ArchiveCommitment:
    """A Keeper, for StorageCommitmentService, and the Performer of the jobs that it makes. `peer` gives the known peer
    of an AE title."""

    def __init__(self, archive: Archive, settings: Settings, peer: Callable[[str], KnownPeer | None]) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = Limits.of(settings)
        self._peer = peer
        self._adding = asyncio.Lock()
        self._open: dict[tuple[str, str], Invoker] = {}  # where the SCU waits, by AE title and Transaction UID

    # --- requests

    async def keep(self, operation: Operation) -> None:
        request = await asyncio.to_thread(
            lambda: read_request(operation.model(self._limits), self._settings.commitment_references)
        )
        peer = operation.peer
        payload: dict[str, object] = {"called": peer.called}
        items = [item_of(reference) for reference in request.references]
        async with self._adding:
            in_use = await self._archive.jobs.unfinished(COMMITMENT, request.transaction)
            self._open = {key: invoker for key, invoker in self._open.items() if invoker.usable}
            self._open[peer.calling, request.transaction] = operation.request.invoker
            for job in in_use:
                if job.target == peer.calling and await self._archive.jobs.left(job.id) == items:
                    return  # asked again by an SCU that lost our answer: it gets the one report
            if await self._archive.jobs.owed(COMMITMENT) + len(items) > self._settings.commitment_pending:
                raise OutOfResources("too many objects wait for their reports (commitment.pending)")
            if in_use:
                payload["reason"] = DUPLICATE_TRANSACTION
            await self._archive.jobs.add(
                Wanted(
                    COMMITMENT,
                    peer.calling,
                    payload,
                    items,
                    key=request.transaction,
                    # Many an SCU releases the association as soon as it has the response, and takes a report that
                    # comes just then for an error.
                    delay=self._settings.commitment_delay,
                )
            )
        log.info("%s %s: commitment of %d objects is to be reported", peer.address, peer.calling, len(items))

    # --- reports

    async def perform(self, work: Work) -> None:
        job = work.job
        key = (job.target, job.key)
        waiting = self._open.get(key)
        if waiting is not None and not waiting.usable:
            waiting = None
        ours = None if waiting is not None else await self._associate(job)
        try:
            report, items = await self._verified(work)
            if waiting is None or not await self._told(waiting, report, job):
                if ours is None or not ours.usable:
                    ours = await self._associate(job)
                await self._tell(ours, report)
            self._open.pop(key, None)
            await work.save(done=items)
        except BaseException:
            if ours is not None:
                ours.abort()
            raise
        if ours is not None:
            await ours.release()
        log.info("%s: commitment reported: %d objects, %d not", job.target, len(report.committed), len(report.failed))

    async def _verified(self, work: Work) -> tuple[CommitmentReport, list[str]]:
        """What is true of a job's objects now; and its items, which stand for them."""
        items: list[str] = []
        while some := await work.items():
            items += some
        references = [reference_of(item) for item in items]
        reason = work.job.payload.get("reason")
        if reason is not None:
            return CommitmentReport(work.job.key, frozenset(), dict.fromkeys(references, int(reason))), items
        return report_of(work.job.key, references, await self._archive.commit(references)), items

    async def _told(self, waiting: Invoker, report: CommitmentReport, job: Job) -> bool:
        """Report on the association of the request. False where another one may do; else raises."""
        try:
            await self._tell(waiting, report)
        except (NetworkError, JobFailed) as error:
            # It may be about to be released, or belong to an SCU that hears events where it listens only.
            if self._peer(job.target) is None:
                raise SettingsError(f"{error}; and no [[peer]] has the AE title {job.target}") from None
            log.info("%s: no report on the association of the request: %s", job.target, error)
            return False
        return True

    async def _tell(self, association: Invoker, report: CommitmentReport) -> None:
        contexts = association.contexts_for(STORAGE_COMMITMENT_PUSH, as_scp=True)
        if not contexts:
            # Many an SCU accepts the context and does not answer the role selection, which strictly makes us an SCU
            # that has nothing to report (PS3.7 section D.3.3.4). It waits for this report all the same.
            contexts = association.contexts_for(STORAGE_COMMITMENT_PUSH)
        if not contexts:
            raise NoPresentationContext("the peer accepted no presentation context for the report")
        context = contexts[0]
        model = report_model(report, self._settings.dimse_aet)
        information = await asyncio.to_thread(encoded, model, context.transfer_syntax, ())
        command = normalized_request(
            Verb.N_EVENT_REPORT,
            association.next_message_id(),
            STORAGE_COMMITMENT_PUSH,
            WELL_KNOWN_INSTANCE,
            type_id=report.event_type,
        )
        failed = failure_of(Verb.N_EVENT_REPORT, await association.request(context, command, [information]))
        if failed is not None:
            raise JobFailed(str(failed)) if failed.status in REFUSED_FOR_GOOD else failed

    async def _associate(self, job: Job) -> Requestor:
        peer = self._peer(job.target)
        if peer is None:
            raise SettingsError(f"no [[peer]] has the AE title {job.target}, so it cannot be called")
        settings = self._settings
        titles = {settings.dimse_aet, *(title.strip() for title in settings.dimse_other_aets.split(","))}
        if job.payload.get("called") in titles:  # the one of our titles that the SCU knows
            settings = dataclasses.replace(settings, dimse_aet=job.payload["called"])
        return await associate_with(peer, [Proposal(STORAGE_COMMITMENT_PUSH, TRANSFER_SYNTAXES, scp=True)], settings)
