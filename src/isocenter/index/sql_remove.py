"""Removing rows, the rare way of the writing half of the SQL index: counters are made anew from the rows that stay."""

from __future__ import annotations

import sqlalchemy as sa

from isocenter.index import schema
from isocenter.index.sql_rows import within
from isocenter.model import Scope


def framed(values: set[str]) -> str:
    """The form in which a study's modalities and SOP classes are kept: every value between backslashes."""
    return "\\" + "".join(f"{value}\\" for value in sorted(values) if value)


def remove(connection: sa.Connection, scope: Scope) -> list[str]:
    """Remove the rows of a scope, superseded ones included; their blobs."""
    gone = schema.superseded
    old = [gone.c.study_uid == scope.study]
    if scope.series is not None:
        old.append(gone.c.series_uid == scope.series)
    if scope.instance is not None:
        old.append(gone.c.uid == scope.instance)
    rows = within(scope, schema.instance.c.id)
    # Other bytes of a deleted instance go with it, whichever study they claimed to be of.
    uids = within(scope, schema.instance.c.uid)
    blobs = list(connection.scalars(sa.select(schema.instance.c.blob).where(schema.instance.c.id.in_(rows))))
    if not blobs:
        return []
    aside = sa.or_(gone.c.uid.in_(uids), sa.and_(*old))
    blobs += connection.scalars(sa.select(gone.c.blob).where(aside))
    connection.execute(sa.delete(gone).where(aside))
    remove_rows(connection, rows)
    return blobs


def remove_rows(connection: sa.Connection, rows: sa.Select[tuple[int]]) -> None:
    """Remove instances, and the series and studies left empty; recount what stays."""
    series, instance = schema.series, schema.instance
    ids = list(connection.scalars(rows))
    touched: set[int | None] = set()
    for at in range(0, len(ids), 500):
        some = ids[at : at + 500]
        touched |= set(connection.scalars(sa.select(instance.c.series_id).where(instance.c.id.in_(some))))
        connection.execute(sa.delete(instance).where(instance.c.id.in_(some)))
    touched.discard(None)  # instances of no patient are in no series
    studies: set[int] = set()
    for series_id in touched:
        studies |= set(connection.scalars(sa.select(series.c.study_id).where(series.c.id == series_id)))
        connection.execute(sa.delete(schema.series_metadata).where(schema.series_metadata.c.series_id == series_id))
        left = connection.scalar(sa.select(sa.func.count()).where(instance.c.series_id == series_id)) or 0
        if left:
            connection.execute(sa.update(series).where(series.c.id == series_id).values(instance_count=left))
        else:
            connection.execute(sa.delete(series).where(series.c.id == series_id))
    for study_id in studies:
        _recount(connection, study_id)


def _recount(connection: sa.Connection, study_id: int) -> None:
    study, series, instance = schema.study, schema.series, schema.instance
    of_study = series.c.study_id == study_id
    modalities = set(connection.scalars(sa.select(series.c.modality).where(of_study)))
    if not connection.scalar(sa.select(sa.func.count()).select_from(series).where(of_study)):
        connection.execute(sa.delete(study).where(study.c.id == study_id))
        return
    joined = instance.join(series)
    classes = set(connection.scalars(sa.select(instance.c.sop_class).distinct().select_from(joined).where(of_study)))
    count, size = connection.execute(
        sa.select(sa.func.count(), sa.func.sum(instance.c.size)).select_from(joined).where(of_study)
    ).one()
    connection.execute(
        sa.update(study)
        .where(study.c.id == study_id)
        .values(
            series_count=sa.select(sa.func.count()).select_from(series).where(of_study).scalar_subquery(),
            instance_count=count,
            bytes=size,
            modalities=framed({modality or "" for modality in modalities}),
            sop_classes=framed(classes),
        )
    )
