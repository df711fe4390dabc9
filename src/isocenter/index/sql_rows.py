"""How stored instances are named in SQL: the columns of an InstanceRef, and the rows of a Scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from isocenter.index import schema
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
    instance, series, study = schema.instance.c, schema.series.c, schema.study.c
    if scope.non_patient:
        statement = sa.select(*columns).select_from(EVERY_INSTANCE)
        return statement.where(instance.series_id.is_(None), instance.uid == scope.instance)
    hierarchy = schema.instance.join(schema.series).join(schema.study)
    statement = sa.select(*columns).select_from(hierarchy).where(study.uid == scope.study)
    for uid, wanted in ((series.uid, scope.series), (instance.uid, scope.instance)):
        statement = statement if wanted is None else statement.where(uid == wanted)
    return statement
