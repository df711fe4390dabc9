"""What modalities are to do, and what they do: scheduled (PS3.4 Annex K) and performed procedure steps (section F.7).

As in work.py, each verb decides on the row as it is and is durable when it returns. A scheduled step that a modality
begins to perform is said to be STARTED (F.7.2.1.3 lets the SCP keep its worklist up to date).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from isocenter.archive import audit
from isocenter.archive.work import require_small
from isocenter.errors import BadRequest, DuplicateStep, NotFound, OutOfResources
from isocenter.index.sql_work import Changing, SqlWork
from isocenter.index.work import Kind, Step
from isocenter.names import is_uid
from isocenter.services import performed_procedure_step as mpps
from isocenter.services import scheduled_procedure_step as sps
from isocenter.settings import Settings
from isocenter.wire.dicomjson import Model

_DAY = 86400.0
_PRUNE_EVERY = 32  # new steps
T = TypeVar("T")


class ModalitySteps:
    """The scheduled and the performed steps of an archive. `by` is who asks, for the audit trail."""

    def __init__(self, rows: SqlWork, settings: Settings, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._settings = settings
        self._clock = clock

    async def _changing(self, work: Callable[[Changing], T]) -> T:
        def run() -> T:
            with self._rows.changing(self._clock()) as rows:
                return work(rows)

        return await asyncio.to_thread(run)

    def _add(self, rows: Changing, step: Step, over: tuple[str, ...]) -> None:
        if rows.count(step.kind) >= self._settings.work_steps:
            raise OutOfResources(f"there are {self._settings.work_steps} steps already (work.steps)")
        if rows.add(step).id % _PRUNE_EVERY == 0:
            rows.prune(step.kind, over, rows.at - self._settings.work_keep * _DAY)

    # --- scheduled

    async def schedule(self, model: Mapping[str, Any], by: str = "") -> tuple[str, bool]:
        """A step for a modality, in place of the one with its names if there is one; its name, and whether it is new.

        Raises AttributeMissing, AttributeValueMissing, AttributeInvalid, LimitExceeded, OutOfResources.
        """
        require_small(model, self._settings)
        name, kept = sps.checked(model)

        def work(rows: Changing) -> bool:
            before = rows.get("scheduled", name)
            if before is None:
                self._add(rows, Step("scheduled", name, sps.state_of(kept), "", kept), (sps.STARTED,))
            else:
                rows.save(Step("scheduled", name, sps.state_of(kept), "", kept, before.id))
            return before is None

        new = await self._changing(work)
        audit.worked("created" if new else "updated", "scheduled", name, by)
        return name, new

    async def unschedule(self, study: str, step: str, by: str = "") -> None:
        """A step is not to be done any more. Raises NotFound."""
        name = sps.name_of(study, step)
        await self._changing(lambda rows: rows.remove(_known(rows, "scheduled", name)))
        audit.worked("deleted", "scheduled", name, by)

    # --- performed

    async def create(self, uid: str, model: Mapping[str, Any], by: str = "") -> None:
        """A modality has begun (N-CREATE). Raises DuplicateStep, AttributeMissing, AttributeValueMissing,
        AttributeInvalid, LimitExceeded, OutOfResources, BadRequest."""
        if not is_uid(uid):
            raise BadRequest("this is no UID")
        require_small(model, self._settings)
        mpps.check_new(model)

        def work(rows: Changing) -> None:
            if rows.get("performed", uid) is not None:
                raise DuplicateStep("there is a performed procedure step with this UID")
            self._add(rows, Step("performed", uid, mpps.IN_PROGRESS, "", model), mpps.FINAL)
            for study, step in mpps.scheduled_steps(model):
                planned = rows.get("scheduled", sps.name_of(study, step))
                if planned is not None:
                    after = sps.started(planned.attributes)
                    rows.save(Step("scheduled", planned.uid, sps.STARTED, "", after, planned.id))

        await self._changing(work)
        audit.worked("created", "performed", uid, by)

    async def set(self, uid: str, model: Mapping[str, Any], by: str = "") -> None:
        """How far a modality is (N-SET), its end included.

        Raises NotFound, PerformedStepOver, AttributeInvalid, AttributeValueMissing, LimitExceeded.
        """

        def work(rows: Changing) -> str:
            step = _known(rows, "performed", uid)
            after = mpps.changed(step.attributes, model)
            require_small(after, self._settings)
            rows.save(Step("performed", uid, mpps.status_of(after), "", after, step.id))
            return mpps.status_of(after)

        status = await self._changing(work)
        audit.worked(f"now {status}" if status in mpps.FINAL else "updated", "performed", uid, by)

    async def get(self, uid: str) -> Model:
        """What a performed step says (N-GET). Raises NotFound."""
        step = await asyncio.to_thread(self._rows.get, "performed", uid)
        if step is None:
            raise NotFound("there is no such step")
        return dict(step.attributes)


def _known(rows: Changing, kind: Kind, uid: str) -> Step:
    step = rows.get(kind, uid)
    if step is None:
        raise NotFound("there is no such step")
    return step
