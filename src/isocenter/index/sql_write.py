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
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from isocenter.errors import NotFound
from isocenter.index import schema
from isocenter.index.base import Applied, Entry, More, Policy
from isocenter.index.jobs import Wanted
from isocenter.index.keys import Keys, column_names
from isocenter.index.sql_errors import translated
from isocenter.index.sql_jobs import insert as insert_jobs
from isocenter.index.sql_remove import framed, remove, remove_rows
from isocenter.index.sql_rows import EVERY_INSTANCE, REF_COLUMNS, ref_of
from isocenter.index.sql_text import Rows, Statement
from isocenter.index.turn import Turn
from isocenter.model import InstanceRef, Level, Scope

_REMEMBERED = 4096
_TOGETHER = 8  # rows in one statement
_INSTANCE = (
    "series_id", "uid", *column_names(Level.IMAGE), "transfer_syntax", "number_of_frames", "blob", "size",
    "data_set_offset", "digest", "header_digest", "origin", "stored_at", "attributes",
)  # fmt: skip
_CHANGE = ("kind", "study_uid", "series_uid", "instance_uid", "at", "reason")
_Wanting = Callable[[Sequence[Entry], Sequence[Applied]], Sequence[Wanted]]


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
        self.any_known = [
            compiled(sa.select(instance.c.id).where(instance.c.uid.in_([b(f"{n}") for n in range(count)])).limit(1))
            for count in range(1, _TOGETHER + 1)
        ]
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
        self.add_superseded = compiled(insert(schema.superseded))
        self.add_instances = Rows(instance, _INSTANCE, _TOGETHER, dialect)
        self.add_changes = Rows(schema.change, _CHANGE, _TOGETHER, dialect)
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
            )
        )
        # By itself, as modalities are in two indexes of the study list, which were written anew with each group
        self.widen_study = compiled(
            sa.update(study)
            .where(study.c.id == b("study_id"))
            .values(modalities=b("modalities"), sop_classes=b("sop_classes"))
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

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        """`folder` of the database."""
        self._engine = engine
        self._lock = threading.Lock()
        self._next = threading.Lock()  # to wait for the other: whoever commits all the time lets go of that but briefly
        self._connection = engine.connect()
        self._turn = Turn(folder)
        self._driver: Any = self._connection.connection.driver_connection
        self._sql = _Statements(engine.dialect)
        self._studies: OrderedDict[str, _Study] = OrderedDict()
        self._series: OrderedDict[tuple[int, str], int] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._turn.close()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The writing connection in a transaction that is durable when the block has ended."""
        # SQLAlchemy's own begin and commit take as long as storing an object's row; the driver's do the same.
        driver = self._driver
        with self._next:
            self._lock.acquire()
        try:
            with translated():
                with self._turn.held():
                    driver.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    driver.execute("COMMIT")
                except BaseException:
                    self._forget()
                    if driver.in_transaction:
                        driver.execute("ROLLBACK")
                    raise
        finally:
            self._lock.release()

    def _forget(self) -> None:
        self._studies.clear()
        self._series.clear()

    def apply(
        self, entries: Sequence[Entry], on_conflict: Policy, wanted: _Wanting | None = None, more: More | None = None
    ) -> list[Applied]:
        """Entries, what `more` gives, and the jobs that are `wanted` for all of them, in one transaction."""
        with self.transaction() as connection:
            batch = _Batch(self, connection, on_conflict)
            entries = list(entries)
            applied = batch.add(entries)
            while more is not None and (further := more()):
                entries += further
                applied += batch.add(further)
            batch.end()
            if wanted is not None:
                insert_jobs(connection, wanted(entries, applied), time.time())
            return applied

    def delete(self, scope: Scope, reason: str, by: str = "") -> list[str]:
        with self.transaction() as connection:
            self._forget()
            blobs = remove(connection, scope)
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
                    actor=by,
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
        self._studies[uid] = fresh
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
        self._series[study.id, uid] = row[0]
        return int(row[0]), new

    def trim(self) -> None:
        """Forget the oldest rows. Not within a batch: what a study grew by stands in the row that is remembered."""
        memory: OrderedDict[Any, Any]
        for memory in (self._studies, self._series):
            while len(memory) > _REMEMBERED:
                memory.popitem(last=False)


def now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Growth:
    __slots__ = ("bytes", "instances", "series", "study", "wider")

    def __init__(self, study: _Study) -> None:
        self.study = study
        self.series = self.instances = self.bytes = 0
        self.wider = False  # with a modality or SOP class that the study had not


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

    def add(self, entries: Sequence[Entry]) -> list[Applied]:
        applied: list[Applied] = []
        for at in range(0, len(entries), _TOGETHER):
            some = entries[at : at + _TOGETHER]
            applied += self._add(some, "stored") if self._new(some) else map(self._one, some)
        return applied

    def end(self) -> None:
        self._grow()
        self._writer.trim()
        self._cursor.close()

    def _new(self, entries: Sequence[Entry]) -> bool:
        """Whether none of the instances is stored, and each comes once."""
        uids = {f"{number}": entry.keys.image.uid for number, entry in enumerate(entries)}
        if len(set(uids.values())) < len(entries):
            return False
        return self._sql.any_known[len(entries) - 1].run(self._cursor, **uids).fetchone() is None

    def _one(self, entry: Entry) -> Applied:
        known = self._sql.known.run(self._cursor, uid=entry.keys.image.uid).fetchone()
        if known is None:
            return self._add([entry], "stored")[0]
        _, digest, transfer_syntax = known
        if digest == entry.digest and transfer_syntax == entry.transfer_syntax:
            return Applied("already-there", self._ref(entry.keys.image.uid), leftover=True)
        if self._on_conflict == "reject":
            return Applied("rejected", self._ref(entry.keys.image.uid), leftover=True)
        if self._on_conflict == "keep-first":
            return self._keep_first(entry)
        return self._replace(entry)

    def _add(self, entries: Sequence[Entry], kind: Literal["stored", "replaced"]) -> list[Applied]:
        """New rows for instances, in one statement: the driver lets go of the interpreter several times in each."""
        applied, rows, changes = [], [], []
        for entry in entries:
            keys, origin = entry.keys, entry.origin
            image = keys.image
            series_id, warnings = self._series_of(entry) if keys.study.uid else (None, ())
            rows.append((
                series_id, image.uid, *image.columns, entry.transfer_syntax, keys.number_of_frames, entry.blob,
                entry.size, entry.data_set_offset, entry.digest, entry.header_digest,
                "\t".join((origin.kind, origin.peer, origin.calling, origin.called)), entry.stored_at, image.attributes,
            ))  # fmt: skip
            changes.append((kind, keys.study.uid, keys.series.uid, image.uid, entry.stored_at, ""))
            ref = InstanceRef(
                keys.study.uid, keys.series.uid, image.uid, keys.sop_class, entry.transfer_syntax, entry.blob,
                entry.size, entry.data_set_offset, entry.digest.hex(), entry.header_digest.hex(), keys.number_of_frames,
            )  # fmt: skip
            applied.append(Applied(kind, ref, warnings))
        self._sql.add_instances.insert(self._cursor, rows)
        self._sql.add_changes.insert(self._cursor, changes)
        return applied

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
        before = study.modalities, study.sop_classes
        if new_series:
            study.modalities = _with(study.modalities, keys.modality)
        study.sop_classes = _with(study.sop_classes, keys.sop_class)
        growth.wider |= before != (study.modalities, study.sop_classes)
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
        remove_rows(self._connection, sa.select(schema.instance.c.id).where(schema.instance.c.uid == uid))
        self._writer._forget()
        (done,) = self._add([entry], "replaced")
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
            )
            if growth.wider:
                known = growth.study
                self._sql.widen_study.run(
                    self._cursor, study_id=study_id, modalities=known.modalities, sop_classes=known.sop_classes
                )
        self._series.clear()
        self._studies.clear()


def _with(values: str, value: str) -> str:
    """A backslash-framed list with one value more, in order."""
    if not value or f"\\{value}\\" in values:
        return values
    return framed({*values.strip("\\").split("\\"), value})
