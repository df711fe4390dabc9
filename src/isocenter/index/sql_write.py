"""Making instances visible and invisible: the writing half of the SQL index.

One transaction takes many entries. What a stored object costs is a look for its UID and two or three inserts, because
the rows of its series and study are remembered; everything rare (conflicts, deletion) recounts from the rows instead.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from isocenter.errors import NotFound
from isocenter.index import schema
from isocenter.index.base import Applied, Entry, Policy
from isocenter.index.jobs import Wanted
from isocenter.index.keys import Keys, column_names
from isocenter.index.sql_errors import translated
from isocenter.index.sql_jobs import insert as insert_jobs
from isocenter.index.sql_text import Statement
from isocenter.model import InstanceRef, Level, Scope

_REMEMBERED = 4096
_Wanting = Callable[[Sequence[Entry], Sequence[Applied]], Sequence[Wanted]]

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


@dataclass(slots=True)
class _Study:
    id: int
    patient: str
    modalities: str
    sop_classes: str


class _Statements:
    """Every statement of this file, compiled for one dialect."""

    def __init__(self, dialect: sa.Dialect) -> None:
        study, series, instance = schema.study, schema.series, schema.instance

        def compiled(statement: Any) -> Statement:
            return Statement(statement, dialect)

        def insert(table: sa.Table, *left_out: str) -> Any:
            return sa.insert(table).values(
                {column.name: sa.bindparam(column.name) for column in table.c if column.name not in ("id", *left_out)}
            )

        b = sa.bindparam
        counters = ("series_count", "instance_count", "bytes")
        self.known = compiled(
            sa.select(instance.c.id, instance.c.digest, instance.c.transfer_syntax).where(instance.c.uid == b("uid"))
        )
        self.ref = compiled(sa.select(*REF_COLUMNS).select_from(EVERY_INSTANCE).where(instance.c.uid == b("uid")))
        self.study = compiled(
            sa.select(study.c.id, study.c.patient_key, study.c.modalities, study.c.sop_classes).where(
                study.c.uid == b("uid")
            )
        )
        self.series = compiled(
            sa.select(series.c.id).where(series.c.uid == b("uid"), series.c.study_id == b("study_id"))
        )
        self.series_elsewhere = compiled(
            sa.select(series.c.id).where(series.c.uid == b("uid"), series.c.study_id != b("study_id")).limit(1)
        )
        self.add_study = compiled(insert(study, *counters).returning(study.c.id))
        self.add_series = compiled(insert(series, "instance_count").returning(series.c.id))
        self.add_instance = compiled(insert(instance))
        self.add_superseded = compiled(insert(schema.superseded))
        self.add_change = compiled(insert(schema.change, "seq"))
        self.grow_series = compiled(
            sa.update(series)
            .where(series.c.id == b("series_id"))
            .values(instance_count=series.c.instance_count + b("instances"))
        )
        self.grow_study = compiled(
            sa.update(study)
            .where(study.c.id == b("study_id"))
            .values(
                series_count=study.c.series_count + b("new_series"),
                instance_count=study.c.instance_count + b("instances"),
                bytes=study.c.bytes + b("more_bytes"),
                modalities=b("modalities"),
                sop_classes=b("sop_classes"),
            )
        )
        self.superseded_digest = compiled(
            sa.select(schema.superseded.c.id).where(
                schema.superseded.c.uid == b("uid"),
                schema.superseded.c.digest == b("digest"),
                schema.superseded.c.transfer_syntax == b("transfer_syntax"),
            )
        )
        self.supersede = compiled(
            sa.insert(schema.superseded).from_select(
                [c.name for c in schema.superseded.c if c.name != "id"],
                sa.select(
                    instance.c.uid, sa.func.coalesce(study.c.uid, ""), sa.func.coalesce(series.c.uid, ""),
                    instance.c.transfer_syntax, instance.c.blob, instance.c.size,
                    instance.c.data_set_offset, instance.c.digest, instance.c.header_digest,
                    sa.literal("replaced", sa.Text), instance.c.stored_at,
                ).select_from(EVERY_INSTANCE).where(instance.c.uid == b("uid")),
            )
        )  # fmt: skip


class SqlWriter:
    """The one connection that writes, and the lock before it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection = engine.connect()
        self._driver: Any = self._connection.connection.driver_connection
        self._sql = _Statements(engine.dialect)
        self._studies: OrderedDict[str, _Study] = OrderedDict()
        self._series: OrderedDict[tuple[int, str], int] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The writing connection in a transaction that is durable when the block has ended."""
        # SQLAlchemy's own begin and commit take as long as storing an object's row; the driver's do the same.
        driver = self._driver
        with self._lock, translated():
            driver.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                driver.execute("COMMIT")
            except BaseException:
                self._forget()
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
                raise

    def _forget(self) -> None:
        self._studies.clear()
        self._series.clear()

    def apply(self, entries: Sequence[Entry], on_conflict: Policy, wanted: _Wanting | None = None) -> list[Applied]:
        """Entries and the jobs that are `wanted` for them, in one transaction."""
        with self.transaction() as connection:
            applied = _Batch(self, connection, on_conflict).run(entries)
            if wanted is not None:
                insert_jobs(connection, wanted(entries, applied), time.time())
            return applied

    def delete(self, scope: Scope, reason: str) -> list[str]:
        with self.transaction() as connection:
            self._forget()
            blobs = _remove(connection, scope)
            if not blobs:
                raise NotFound("nothing is stored there")
            connection.execute(sa.insert(schema.doomed), [{"blob": blob} for blob in blobs])
            connection.execute(
                sa.insert(schema.change).values(
                    kind="deleted",
                    study_uid=scope.study,
                    series_uid=scope.series,
                    instance_uid=scope.instance,
                    at=now(),
                    reason=reason,
                )
            )
            return blobs

    def study_row(self, cursor: Any, keys: Keys) -> tuple[_Study, bool]:
        """The study's row and whether it is new; made if need be."""
        uid = keys.study.uid
        known = self._studies.get(uid)
        if known is not None:
            return known, False
        row = self._sql.study.run(cursor, uid=uid).fetchone()
        new = row is None
        if row is None:
            fresh = _Study(0, keys.patient, "\\", "\\")
            columns = dict(zip(column_names(Level.STUDY), keys.study.columns, strict=True))
            fresh.id = self._sql.add_study.run(
                cursor,
                uid=uid,
                patient_key=keys.patient,
                modalities=fresh.modalities,
                sop_classes=fresh.sop_classes,
                attributes=keys.study.attributes,
                **columns,
            ).fetchone()[0]
        else:
            fresh = _Study(*row)
        _remember(self._studies, uid, fresh)
        return fresh, new

    def series_row(self, cursor: Any, study: _Study, keys: Keys) -> tuple[int, bool]:
        """The series' row and whether it is new; made if need be."""
        uid = keys.series.uid
        known = self._series.get((study.id, uid))
        if known is not None:
            return known, False
        row = self._sql.series.run(cursor, uid=uid, study_id=study.id).fetchone()
        new = row is None
        if row is None:
            columns = dict(zip(column_names(Level.SERIES), keys.series.columns, strict=True))
            row = self._sql.add_series.run(
                cursor, uid=uid, study_id=study.id, attributes=keys.series.attributes, **columns
            ).fetchone()
        _remember(self._series, (study.id, uid), row[0])
        return int(row[0]), new


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Growth:
    __slots__ = ("bytes", "instances", "series", "study")

    def __init__(self, study: _Study) -> None:
        self.study = study
        self.series = self.instances = self.bytes = 0


class _Batch:
    """One transaction of entries."""

    def __init__(self, writer: SqlWriter, connection: sa.Connection, on_conflict: Policy) -> None:
        self._writer = writer
        self._connection = connection
        self._on_conflict = on_conflict
        self._sql = writer._sql
        self._cursor = writer._driver.cursor()
        self._studies: dict[int, _Growth] = {}
        self._series: dict[int, int] = {}

    def run(self, entries: Sequence[Entry]) -> list[Applied]:
        applied = [self._one(entry) for entry in entries]
        self._grow()
        self._cursor.close()
        return applied

    def _one(self, entry: Entry) -> Applied:
        known = self._sql.known.run(self._cursor, uid=entry.keys.image.uid).fetchone()
        if known is None:
            return self._add(entry, "stored")
        _, digest, transfer_syntax = known
        if digest == entry.digest and transfer_syntax == entry.transfer_syntax:
            return Applied("already-there", self._ref(entry.keys.image.uid), leftover=True)
        if self._on_conflict == "reject":
            return Applied("rejected", self._ref(entry.keys.image.uid), leftover=True)
        if self._on_conflict == "keep-first":
            return self._keep_first(entry)
        return self._replace(entry)

    def _add(self, entry: Entry, kind: str) -> Applied:
        keys, cursor, origin = entry.keys, self._cursor, entry.origin
        series_id, warnings = self._series_of(entry) if keys.study.uid else (None, ())
        self._sql.add_instance.run(
            cursor,
            series_id=series_id,
            uid=keys.image.uid,
            transfer_syntax=entry.transfer_syntax,
            number_of_frames=keys.number_of_frames,
            blob=entry.blob,
            size=entry.size,
            data_set_offset=entry.data_set_offset,
            digest=entry.digest,
            header_digest=entry.header_digest,
            origin="\t".join((origin.kind, origin.peer, origin.calling, origin.called)),
            stored_at=entry.stored_at,
            attributes=keys.image.attributes,
            **dict(zip(column_names(Level.IMAGE), keys.image.columns, strict=True)),
        )
        self._sql.add_change.run(
            cursor,
            kind=kind,
            study_uid=keys.study.uid,
            series_uid=keys.series.uid,
            instance_uid=keys.image.uid,
            at=entry.stored_at,
            reason="",
        )
        ref = InstanceRef(
            keys.study.uid, keys.series.uid, keys.image.uid, keys.sop_class, entry.transfer_syntax, entry.blob,
            entry.size, entry.data_set_offset, entry.digest.hex(), entry.header_digest.hex(), keys.number_of_frames,
        )  # fmt: skip
        return Applied("replaced" if kind == "replaced" else "stored", ref, warnings)

    def _series_of(self, entry: Entry) -> tuple[int, tuple[str, ...]]:
        """The series one more instance is in, made with its study if need be, and what is odd about that."""
        keys, cursor, writer = entry.keys, self._cursor, self._writer
        warnings: tuple[str, ...] = ()
        study, _ = writer.study_row(cursor, keys)
        if study.patient != keys.patient:
            warnings += ("patient-differs",)
        series_id, new_series = writer.series_row(cursor, study, keys)
        if new_series and self._sql.series_elsewhere.run(cursor, uid=keys.series.uid, study_id=study.id).fetchone():
            warnings += ("series-in-another-study",)
        growth = self._studies.setdefault(study.id, _Growth(study))
        growth.series += new_series
        growth.instances += 1
        growth.bytes += entry.size
        if new_series:
            study.modalities = _with(study.modalities, keys.modality)
        study.sop_classes = _with(study.sop_classes, keys.sop_class)
        self._series[series_id] = self._series.get(series_id, 0) + 1
        return series_id, warnings

    def _keep_first(self, entry: Entry) -> Applied:
        keys = entry.keys
        ref = self._ref(keys.image.uid)
        seen = self._sql.superseded_digest.run(
            self._cursor, uid=keys.image.uid, digest=entry.digest, transfer_syntax=entry.transfer_syntax
        ).fetchone()
        if seen is None:
            self._sql.add_superseded.run(
                self._cursor,
                uid=keys.image.uid,
                study_uid=keys.study.uid,
                series_uid=keys.series.uid,
                transfer_syntax=entry.transfer_syntax,
                blob=entry.blob,
                size=entry.size,
                data_set_offset=entry.data_set_offset,
                digest=entry.digest,
                header_digest=entry.header_digest,
                outcome="kept-first",
                stored_at=entry.stored_at,
            )
        return Applied("kept-first", ref, ("other-bytes-kept-aside",), leftover=seen is not None)

    def _replace(self, entry: Entry) -> Applied:
        self._grow()
        uid = entry.keys.image.uid
        self._sql.supersede.run(self._cursor, uid=uid)
        _remove_rows(self._connection, sa.select(schema.instance.c.id).where(schema.instance.c.uid == uid))
        self._writer._forget()
        done = self._add(entry, "replaced")
        return Applied("replaced", done.ref, (*done.warnings, "other-bytes-kept-aside"))

    def _ref(self, uid: str) -> InstanceRef:
        return ref_of(self._sql.ref.run(self._cursor, uid=uid).fetchone())

    def _grow(self) -> None:
        """Bring the counters up to date."""
        for series_id, instances in self._series.items():
            self._sql.grow_series.run(self._cursor, series_id=series_id, instances=instances)
        for study_id, growth in self._studies.items():
            self._sql.grow_study.run(
                self._cursor,
                study_id=study_id,
                new_series=growth.series,
                instances=growth.instances,
                more_bytes=growth.bytes,
                modalities=growth.study.modalities,
                sop_classes=growth.study.sop_classes,
            )
        self._series.clear()
        self._studies.clear()


def _with(values: str, value: str) -> str:
    """A backslash-framed list with one value more, in order."""
    if not value or f"\\{value}\\" in values:
        return values
    return framed({*values.strip("\\").split("\\"), value})


def framed(values: set[str]) -> str:
    """The form in which a study's modalities and SOP classes are kept: every value between backslashes."""
    return "\\" + "".join(f"{value}\\" for value in sorted(values) if value)


# --- the rare ways: recount from the rows ----------------------------------------------------------------------------


def _remove(connection: sa.Connection, scope: Scope) -> list[str]:
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
    _remove_rows(connection, rows)
    return blobs


def _remove_rows(connection: sa.Connection, rows: sa.Select[tuple[int]]) -> None:
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
