"""How stored instances are named in SQL: the columns of an InstanceRef, and the rows of a Scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from isocenter.index import schema
from isocenter.index.sql_text import Statement
from isocenter.model import InstanceRef, Scope

REF_COLUMNS = (
    schema.study.c.uid,
    schema.series.c.uid,
    schema.instance.c.uid,
    schema.instance.c.sop_class,
    schema.instance.c.transfer_syntax,
    schema.instance.c.blob,
    schema.instance.c.size,
    schema.instance.c.data_set_offset,
    schema.instance.c.digest,
    schema.instance.c.header_digest,
    schema.instance.c.number_of_frames,
)
_UIDS = ("study", "series", "instance")
# Outer joins for the instances of no patient; with a condition on the study SQLite would scan all instances.
EVERY_INSTANCE = schema.instance.outerjoin(schema.series).outerjoin(schema.study)


def ref_of(row: Sequence[Any]) -> InstanceRef:
    """An InstanceRef from a row of REF_COLUMNS."""
    study, series, uid, sop_class, syntax, blob, size, offset, digest, header, frames = row
    return InstanceRef(
        study or "", series or "", uid, sop_class, syntax, blob, size, offset, digest.hex(), header.hex(), frames
    )


def within(scope: Scope, *columns: Any) -> sa.Select[Any]:
    """Columns of the instances of a scope."""
    return _within((scope.study, scope.series, scope.instance), scope.non_patient, columns)


def _within(uids: tuple[Any, Any, Any], non_patient: bool, columns: Sequence[Any]) -> sa.Select[Any]:
    """The same for UIDs, or parameters for them."""
    instance, series, study = schema.instance.c, schema.series.c, schema.study.c
    if non_patient:
        statement = sa.select(*columns).select_from(EVERY_INSTANCE)
        return statement.where(instance.series_id.is_(None), instance.uid == uids[2])
    hierarchy = schema.instance.join(schema.series).join(schema.study)
    statement = sa.select(*columns).select_from(hierarchy).where(study.uid == uids[0])
    for uid, wanted in ((series.uid, uids[1]), (instance.uid, uids[2])):
        statement = statement if wanted is None else statement.where(uid == wanted)
    return statement


class Selections:
    """The instances of a scope, by statements that are made once: to make one takes longer than to find an instance."""

    def __init__(self, dialect: sa.Dialect) -> None:
        def statement(count: int, *, non_patient: bool = False) -> Statement:
            uids: list[Any] = [sa.bindparam(name) if at < count else None for at, name in enumerate(_UIDS)]
            select = _within((uids[0], uids[1], uids[2]), non_patient, REF_COLUMNS)
            return Statement(select.order_by(schema.instance.c.id), dialect)

        self._within = [statement(count) for count in (1, 2, 3)]
        self._non_patient = statement(3, non_patient=True)

    def run(self, cursor: Any, scope: Scope) -> list[InstanceRef]:
        """In index order."""
        uids = (scope.study, scope.series, scope.instance)
        chosen = self._non_patient if scope.non_patient else self._within[sum(uid is not None for uid in uids) - 1]
        return [ref_of(row) for row in chosen.run(cursor, **dict(zip(_UIDS, uids, strict=True)))]
