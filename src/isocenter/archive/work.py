"""The worklist: unified procedure steps (PS3.4 Annex CC), and who is told of what becomes of them.

`services/unified_procedure_step.py` decides; here a decision is made on the row as it is, written together with what
there is to tell, and durable when the verb returns. The verbs are those of the SOP classes, so that DIMSE and HTTP bind
the same ones: N-CREATE and Create, N-SET and Update, N-ACTION and its three web transactions, C-FIND and Search.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson

from isocenter.archive import audit
from isocenter.archive.feed import Feed
from isocenter.errors import BadRequest, DuplicateStep, LimitExceeded, NoSuchStep, OutOfResources, StepInappropriate
from isocenter.errors import PerformerUnreachable as Unreachable
from isocenter.index.matching import matches as fulfils
from isocenter.index.sql_work import Changing, SqlWork
from isocenter.index.work import Report, Step, StepQuery, Watcher
from isocenter.iod.uids import UIDs
from isocenter.model import Match
from isocenter.names import is_uid
from isocenter.services import unified_procedure_step as ups
from isocenter.settings import Settings
from isocenter.std.sop_classes import UNIFIED_PROCEDURE_STEP_PUSH
from isocenter.wire.dicomjson import Model

_DAY = 86400.0
_PRUNE_EVERY = 32  # new steps
_AT_ONCE = 100  # reports in one look
_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
T = TypeVar("T")

CREATED_MODIFIED, CANCELED_ALREADY, COMPLETED_ALREADY = 0xB300, 0xB304, 0xB306
"""Warnings of PS3.4 Tables CC.2.5-4 and CC.2.1-2."""


class Done(NamedTuple):
    """A request that was fulfilled; `status` is 0 or one of the warnings."""

    uid: str
    status: int = 0


def date_time(at: float) -> str:
    """Seconds since 1970 as a DT."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def require_small(model: Mapping[str, Any], settings: Settings) -> None:
    """Raises LimitExceeded for a data set that is too much for a step."""
    if len(orjson.dumps(model)) > settings.work_step_bytes:
        raise LimitExceeded(f"the data set is over work.step_bytes, {settings.work_step_bytes}")


class Worklist:
    """The one worklist of an archive. `by` is who asks, for the audit trail; "" where nobody is asked."""

    def __init__(self, rows: SqlWork, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._rows = rows
        self._settings = settings
        self._clock = clock
        self._uids = UIDs()
        self._before = rows.subscribers()  # who was subscribed when this process began, and has not heard of that yet
        self.feed: Feed[Report] = Feed()

    async def _changing(self, work: Callable[[Changing], T]) -> T:
        """Run `work` in a transaction; then whoever waits for reports is woken."""

        def run() -> T:
            with self._rows.changing(self._clock()) as rows:
                return work(rows)

        done = await asyncio.to_thread(run)
        self.feed.wake()
        return done

    def _tell(self, rows: Changing, step: Step, *events: ups.Event, to: Sequence[str] | None = None) -> None:
        aets = rows.subscribed(step) if to is None else to
        for event in events:
            rows.report(aets, step.uid, event.type_id, event.information, self._settings.work_reports)

    # --- the steps

    async def create(self, model: Mapping[str, Any], uid: str = "", by: str = "") -> Done:
        """A new step under `uid`, or under one that is made. Raises DuplicateStep, StepNotScheduled, AttributeMissing,
        AttributeValueMissing, AttributeInvalid, LimitExceeded, OutOfResources."""
        require_small(model, self._settings)
        uid = uid or self._uids.new("procedure step")
        if not is_uid(uid) or uid in (ups.GLOBAL, ups.FILTERED):
            raise BadRequest("this is no UID for a step")

        def work(rows: Changing) -> Done:
            kept = ups.created(model, self._settings.work_label, date_time(rows.at))
            if rows.get("unified", uid) is not None:
                raise DuplicateStep("there is a step with this UID")
            if rows.count("unified") >= self._settings.work_steps:
                raise OutOfResources(f"there are {self._settings.work_steps} steps already (work.steps)")
            names = {
                _SOP_CLASS: {"vr": "UI", "Value": [UNIFIED_PROCEDURE_STEP_PUSH]},
                _SOP_INSTANCE: {"vr": "UI", "Value": [uid]},
            }
            step = rows.add(Step("unified", uid, ups.SCHEDULED, "", {**kept.model, **names}))
            for watcher in rows.watchers():
                if all(fulfils(match, step.attributes) for match in watcher.matches):
                    rows.subscribe(step, watcher.aet, lock=watcher.lock, again=watcher.lock)
            self._tell(rows, step, ups.state_report(step.attributes), *ups.assignments(step.attributes))
            if step.id % _PRUNE_EVERY == 0:
                rows.prune("unified", ups.FINAL, rows.at - self._settings.work_keep * _DAY)
            return Done(uid, CREATED_MODIFIED if kept.modified else 0)

        done = await self._changing(work)
        audit.worked("created", "unified", uid, by)
        return done

    async def get(self, uid: str) -> Model:
        """What a step says; never its Transaction UID. Raises NoSuchStep."""
        step = await asyncio.to_thread(self._rows.get, "unified", uid)
        return dict(_known(step).attributes)

    async def set(self, uid: str, model: Mapping[str, Any], transaction: str = "", by: str = "") -> Done:
        """Change attributes of a step, as whoever claimed it with `transaction`, or of one that nobody has claimed.

        Raises NoSuchStep, StepOver, StepUnclaimed, TransactionMissing, TransactionIncorrect, AttributeInvalid,
        AttributeValueMissing, LimitExceeded.
        """

        def work(rows: Changing) -> Done:
            step = _known(rows.get("unified", uid))
            ups.require_transaction(step.state, transaction, step.transaction)
            after = ups.changed(step.attributes, _unnamed(model), date_time(rows.at))
            require_small(after, self._settings)
            rows.save(_with(step, after))
            self._tell(rows, step, *ups.events_of_change(step.attributes, after))
            return Done(uid)

        done = await self._changing(work)
        audit.worked("updated", "unified", uid, by)
        return done

    async def change_state(self, uid: str, state: str, transaction: str, by: str = "") -> Done:
        """Claim a step, complete it or cancel it. Raises NoSuchStep and the errors of PS3.4 Table CC.1.1-2."""

        def work(rows: Changing) -> Done:
            step = _known(rows.get("unified", uid))
            found = ups.transition(step.attributes, step.transaction, state, transaction)
            if found != "change":
                return Done(uid, CANCELED_ALREADY if found == "canceled-already" else COMPLETED_ALREADY)
            if not is_uid(transaction):
                raise BadRequest("the Transaction UID is not a UID", tag_path="(0008,1195)")
            self._change(rows, step, state, transaction)
            return Done(uid)

        done = await self._changing(work)
        audit.worked(f"now {state}" if not done.status else "unchanged", "unified", uid, by)
        return done

    def _change(
        self, rows: Changing, step: Step, state: str, transaction: str, why: Mapping[str, Any] | None = None
    ) -> Step:
        after = ups.in_state(step.attributes, state, date_time(rows.at), why)
        step = Step("unified", step.uid, state, transaction, after, step.id)
        rows.save(step)
        self._tell(rows, step, ups.state_report(after))
        return step

    async def request_cancel(self, uid: str, why: Mapping[str, Any], requester: str, by: str = "") -> Done:
        """Ask for a step to be canceled: one that nobody has claimed is, whoever performs another is told (CC.2.2.3).
        `requester` is an AE title.

        Raises NoSuchStep, StepCompleted, PerformerUnreachable, AttributeValueMissing, LimitExceeded.
        """
        require_small(why, self._settings)
        ups.check_cancel(why)

        def work(rows: Changing) -> Done:
            step = _known(rows.get("unified", uid))
            ups.require_cancelable(step.state)
            if step.state == ups.CANCELED:
                return Done(uid, CANCELED_ALREADY)
            if step.state == ups.IN_PROGRESS and not rows.subscribed(step):
                raise Unreachable("nobody is subscribed to the step")
            self._tell(rows, step, ups.cancel_requested(why, requester))
            if step.state == ups.SCHEDULED:
                lock = self._uids.new("transaction")
                self._change(rows, self._change(rows, step, ups.IN_PROGRESS, lock), ups.CANCELED, lock, why)
            return Done(uid)

        done = await self._changing(work)
        audit.worked("cancellation requested", "unified", uid, by)
        return done

    async def find(self, query: StepQuery) -> list[Step]:
        """The steps that fit. BadRequest for values that cannot be matched."""
        return await asyncio.to_thread(lambda: list(self._rows.find(query)))

    async def count(self, query: StepQuery) -> int:
        return await asyncio.to_thread(self._rows.count, query)

    # --- who is told (CC.2.3)

    async def subscribe(
        self, uid: str, aet: str, *, lock: bool = False, matching: Sequence[Match] = (), by: str = ""
    ) -> None:
        """Tell an AE of a step from now on; under the well-known UIDs, of all there are and that come, or of those that
        fulfil `matching`. With `lock` no step goes before the AE has let go of it.

        Raises NoSuchStep, StepInappropriate, BadRequest, OutOfResources.
        """
        if bool(matching) != (uid == ups.FILTERED):
            raise StepInappropriate(f"a filter is for {ups.FILTERED}, which needs one")

        def work(rows: Changing) -> None:
            self._require_room(aet)
            if uid not in (ups.GLOBAL, ups.FILTERED):
                step = _known(rows.get("unified", uid))
                rows.subscribe(step, aet, lock=lock)
                self._tell(rows, step, ups.state_report(step.attributes), to=[aet])
                return
            rows.watch(Watcher(aet, uid == ups.FILTERED, lock, tuple(matching)))
            for step in rows.all("unified", matching):
                if rows.subscribe(step, aet, lock=lock, again=False) and lock:
                    self._tell(rows, step, ups.state_report(step.attributes), to=[aet])

        await self._changing(work)
        audit.worked(f"subscribed {aet}", "unified", uid, by)

    def _require_room(self, aet: str) -> None:
        known = self._rows.subscribers()
        if aet not in known and len(known) >= self._settings.work_subscribers:
            raise OutOfResources(f"{len(known)} AEs are subscribed already (work.subscribers)")

    async def unsubscribe(self, uid: str, aet: str, by: str = "") -> None:
        """Tell an AE no more of a step; under the well-known UID, of none. Raises NoSuchStep."""

        def work(rows: Changing) -> None:
            if uid == ups.FILTERED:
                # What it gave is not told apart from what was asked for one by one, and stays.
                if not rows.unwatch(aet, filtered=True):
                    raise NoSuchStep("this AE has no filtered subscription")
            elif uid == ups.GLOBAL:
                rows.unwatch(aet)
                rows.unsubscribe(aet)
            else:
                rows.unsubscribe(aet, _known(rows.get("unified", uid)))

        await self._changing(work)
        audit.worked(f"unsubscribed {aet}", "unified", uid, by)

    async def suspend(self, uid: str, aet: str, by: str = "") -> None:
        """Subscribe an AE to no more steps that come; those it has stay. Raises StepInappropriate, NoSuchStep."""
        if uid not in (ups.GLOBAL, ups.FILTERED):
            raise StepInappropriate("only subscriptions to steps that come are suspended")
        if not await self._changing(lambda rows: rows.unwatch(aet, filtered=uid == ups.FILTERED)):
            raise NoSuchStep("this AE has no such subscription")
        audit.worked(f"suspended {aet}", "unified", uid, by)

    async def last_report(self) -> int:
        """The newest report of all: where to begin to follow."""
        return await asyncio.to_thread(self._rows.last_report)

    async def follow(self, aet: str, since: int, quiet: float) -> AsyncGenerator[list[Report], None]:
        """What there is to tell an AE after the report numbered `since`; [] after so many seconds without anything.

        Whoever was subscribed before this process began hears of that first (CC.2.4.3). Raises ArchiveBusy.
        """
        if aet in self._before:
            self._before.discard(aet)
            event = ups.restarted()
            yield [Report(since, aet, ups.GLOBAL, event.type_id, event.information)]

        def read(after: int) -> Any:
            return asyncio.to_thread(partial(self._rows.reports, aet, after, _AT_ONCE))

        async with aclosing(self.feed.follow(since, quiet, read)) as groups:
            async for group in groups:
                yield group


def _known(step: Step | None) -> Step:
    if step is None:
        raise NoSuchStep("there is no such step")
    return step


def _with(step: Step, attributes: Mapping[str, Any]) -> Step:
    return Step(step.kind, step.uid, step.state, step.transaction, attributes, step.id)


def _unnamed(model: Mapping[str, Any]) -> Model:
    """A data set without what names it, which is said elsewhere."""
    return {key: entry for key, entry in model.items() if key not in (_SOP_CLASS, _SOP_INSTANCE)}
