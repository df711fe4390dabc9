"""Requests for storage commitment whose answer is asked for later (PS3.18 section 13).

A request is a row among the steps of work and a job, written at once: it is answered after `kill -9` as well. What the
job finds is kept in the row, so the answer is one that was true once, however often it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from isocenter.archive import audit
from isocenter.archive.commitment import Doubt, Object, item_of, reference_of, report_of
from isocenter.archive.jobs import JobQueue, Work
from isocenter.errors import BadRequest, DuplicateStep, NotFound, OutOfResources
from isocenter.index.jobs import Wanted
from isocenter.index.sql_work import SqlWork
from isocenter.index.work import Step
from isocenter.services.storage_commitment import read_request, report_model
from isocenter.settings import Settings
from isocenter.wire.dicomjson import Model

COMMITMENT_WEB: Final = "commitment-web"
"""The kind of the jobs. `key` is the Transaction UID, an item is a reference."""

WORKING, DONE = "WORKING", "DONE"

Commit = Callable[[Sequence[Object]], Awaitable[dict[Object, Doubt]]]
"""Says which of some objects the archive does not answer for."""

_TRANSACTION, _STUDIES = "00081195", "00081110"
_DAY = 86400.0


class Commitments:
    """The transactions of an archive, and the Performer of their jobs. `by` is who asks, for the audit trail."""

    def __init__(
        self, rows: SqlWork, jobs: JobQueue, commit: Commit, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._rows = rows
        self._jobs = jobs
        self._commit = commit
        self._settings = settings
        self._clock = clock
        self._adding = asyncio.Lock()
        self._awaited: dict[str, asyncio.Event] = {}

    async def request(self, uid: str, model: Mapping[str, Any], by: str = "") -> None:
        """Keep a request; durable on return, and answered by itself.

        Raises InvalidArgument, BadRequest, LimitExceeded, OutOfResources, DuplicateStep.
        """
        if _STUDIES in model:
            raise BadRequest("objects are committed that the Referenced SOP Sequence names, not studies")
        said = model.get(_TRANSACTION, {"Value": [uid]}).get("Value")
        if said != [uid]:
            raise BadRequest("the Transaction UID is not the one of the path")
        settings, whole = self._settings, {**model, _TRANSACTION: {"vr": "UI", "Value": [uid]}}
        asked = await asyncio.to_thread(read_request, whole, settings.commitment_references)
        items = [item_of(reference) for reference in asked.references]

        def work() -> None:
            with self._rows.changing(self._clock()) as rows:
                if rows.get("commitment", uid) is not None:
                    raise DuplicateStep("there is a transaction with this UID")
                rows.prune("commitment", (DONE, WORKING), rows.at - settings.work_keep * _DAY)
                if rows.count("commitment") >= settings.work_steps:
                    raise OutOfResources(f"there are {settings.work_steps} transactions already (work.steps)")
                rows.add(Step("commitment", uid, WORKING, "", {}))
                rows.job(Wanted(COMMITMENT_WEB, "web", items=items, key=uid))

        async with self._adding:
            if await self._jobs.owed(COMMITMENT_WEB) + len(items) > settings.commitment_pending:
                raise OutOfResources("too many objects wait for their reports (commitment.pending)")
            await asyncio.to_thread(work)
        self._jobs.wake()
        audit.worked("asked for", "commitment", uid, by)

    async def result(self, uid: str, patience: float = 0.0) -> Model | None:
        """What was found, as of PS3.4 Table J.3-2; None while it is looked for, for which `patience` seconds are
        waited. Raises NotFound."""
        event = self._awaited.setdefault(uid, asyncio.Event()) if patience > 0 else None
        try:
            found = await asyncio.to_thread(self._rows.get, "commitment", uid)
            if event is not None and found is not None and found.state != DONE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), patience)
                found = await asyncio.to_thread(self._rows.get, "commitment", uid)
        finally:
            if event is not None:
                self._awaited.pop(uid, None)
        if found is None:
            raise NotFound("there is no such transaction")
        return dict(found.attributes) if found.state == DONE else None

    async def perform(self, work: Work) -> None:
        """Look, and keep what was found."""
        uid, items = work.job.key, list[str]()
        while some := await work.items():
            items += some
        references = [reference_of(item) for item in items]
        report = report_of(uid, references, await self._commit(references))
        answer = report_model(report, self._settings.dimse_aet)

        def keep() -> None:
            with self._rows.changing(self._clock()) as rows:
                step = rows.get("commitment", uid)
                if step is not None and step.state != DONE:
                    rows.save(Step("commitment", uid, DONE, "", answer, step.id))

        await asyncio.to_thread(keep)
        await work.save(done=items)
        if uid in self._awaited:
            self._awaited[uid].set()
        audit.worked("reported", "commitment", uid, "")
