"""Answering from the index: the reading half of the SQL index.

Every reading has a connection and a snapshot of its own. Rows of an answer carry only their own level; those of the
levels above are read once and kept while consecutive rows need them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa

from isocenter.index import schema
from isocenter.index.base import BlobRow, Counts
from isocenter.index.keys import (
    AVAILABLE_TRANSFER_SYNTAX,
    COMPUTED,
    DEFAULT,
    INSTANCE_AVAILABILITY,
    KEPT,
    MODALITIES_IN_STUDY,
    PATIENT_RELATED,
    SERIES_RELATED,
    SOP_CLASSES_IN_STUDY,
    STUDY_RELATED,
    UNIQUE,
)
from isocenter.index.matching import key, matches
from isocenter.index.sql_errors import translated
from isocenter.index.sql_query import FROM, TABLES, Plan, plan
from isocenter.index.sql_text import Statement
from isocenter.index.sql_write import HIERARCHY, REF_COLUMNS, ref_of
from isocenter.model import Change, Found, InstanceRef, Level, Query, Scope

_CHUNK = 256
_LAST = 1 << 62

_STUDY = (
    schema.study.c.uid,
    schema.study.c.modalities,
    schema.study.c.sop_classes,
    schema.study.c.series_count,
    schema.study.c.instance_count,
    schema.study.c.attributes,
)
_SERIES = (schema.series.c.study_id, schema.series.c.uid, schema.series.c.instance_count, schema.series.c.attributes)
_IMAGE = (
    schema.instance.c.series_id,
    schema.instance.c.uid,
    schema.instance.c.transfer_syntax,
    schema.instance.c.attributes,
)
_OWN: dict[Level, tuple[Any, ...]] = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.IMAGE: _IMAGE}

Attributes = dict[str, Any]


class SqlReader:
    """Questions to the index; usable from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        study, series = schema.study, schema.series
        self._upper = (
            Statement(sa.select(study.c.id, *_STUDY).where(study.c.id == sa.bindparam("number")), engine.dialect),
            Statement(sa.select(series.c.id, *_SERIES).where(series.c.id == sa.bindparam("number")), engine.dialect),
        )

    def find(self, query: Query) -> Iterator[Found]:
        asked = plan(query, self._engine.dialect.name)
        with translated(), self._engine.connect() as connection:
            answers = _Answers(connection, query, asked, self._upper)
            yield from answers.patients() if query.level == Level.PATIENT else answers.rows()

    def count(self, query: Query) -> int:
        asked = plan(query, self._engine.dialect.name)
        if asked.rest:
            return sum(1 for _ in self.find(Query(query.level, query.matches, fuzzy=query.fuzzy)))
        what = sa.func.count()
        if query.level == Level.PATIENT:
            what = sa.func.count(sa.distinct(schema.study.c.patient_key))
        with translated(), self._engine.connect() as connection:
            return connection.scalar(asked.select(what)) or 0

    def select(self, scope: Scope) -> list[InstanceRef]:
        statement = sa.select(*REF_COLUMNS).select_from(HIERARCHY).where(*within(scope))
        with translated(), self._engine.connect() as connection:
            return [ref_of(row) for row in connection.execute(statement.order_by(schema.instance.c.id))]

    def changes(self, since: int, limit: int) -> list[Change]:
        change = schema.change
        statement = sa.select(change).where(change.c.seq > since).order_by(change.c.seq).limit(limit)
        with translated(), self._engine.connect() as connection:
            return [
                Change(row.seq, row.kind, Scope(row.study_uid, row.series_uid, row.instance_uid), row.at, row.reason)
                for row in connection.execute(statement)
            ]

    def counts(self) -> Counts:
        study, series = schema.study, schema.series
        totals = sa.select(
            sa.func.count(sa.distinct(study.c.patient_key)),
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(study.c.series_count), 0),
            sa.func.coalesce(sa.func.sum(study.c.instance_count), 0),
            sa.func.coalesce(sa.func.sum(study.c.bytes), 0),
        ).select_from(study)
        modalities = sa.select(series.c.modality, sa.func.count()).group_by(series.c.modality)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(totals).one()
            by_modality = {name or "": number for name, number in connection.execute(modalities)}
        return Counts(row[0], row[1], int(row[2]), int(row[3]), int(row[4]), by_modality)

    def blobs(self, instances: Sequence[str] | None = None) -> Iterator[BlobRow]:
        instance, old = schema.instance.c, schema.superseded.c
        columns = ("blob", "size", "data_set_offset", "digest", "header_digest")
        visible = sa.select(
            *(instance[name] for name in columns),
            *(schema.study.c.uid, schema.series.c.uid, instance.uid, instance.sop_class),
        ).select_from(HIERARCHY)
        aside = sa.select(*(old[name] for name in columns), old.study_uid, old.series_uid, old.uid, sa.literal(""))
        if instances is not None:
            visible = visible.where(instance.uid.in_(instances))
            aside = aside.where(old.uid.in_(instances))
        with translated(), self._engine.connect() as connection:
            for statement, is_visible in ((visible.order_by(instance.id), True), (aside.order_by(old.id), False)):
                result = connection.execution_options(yield_per=_CHUNK).execute(statement)
                for row in result:
                    scope = Scope(row[5], row[6], row[7])
                    yield BlobRow(row[0], row[1], row[2], row[3], row[4], scope, is_visible, row[8])


def within(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """The conditions of a scope on HIERARCHY."""
    conditions: list[sa.ColumnElement[bool]] = [schema.study.c.uid == scope.study]
    if scope.series is not None:
        conditions.append(schema.series.c.uid == scope.series)
    if scope.instance is not None:
        conditions.append(schema.instance.c.uid == scope.instance)
    return conditions


class _Answers:
    """The answers to one query, from one snapshot."""

    def __init__(
        self, connection: sa.Connection, query: Query, asked: Plan, upper: tuple[Statement, Statement]
    ) -> None:
        self._connection = connection
        self._study_row, self._series_row = upper
        # The driver's own cursor, in the same snapshot: the rows above are many where series are short.
        driver: Any = connection.connection.driver_connection
        self._cursor = driver.cursor()
        self._query = query
        self._plan = asked
        self._wanted = wanted_names(query)
        self._full = bool(asked.rest)
        self._get_study = lru_cache(maxsize=64)(self._study_by_id)
        self._get_series = lru_cache(maxsize=256)(self._series_by_id)

    def rows(self) -> Iterator[Found]:
        query, asked = self._query, self._plan
        table = TABLES[query.level]
        statement = asked.answers(self._connection, table.c.id, *_OWN[query.level])
        left = _LAST if query.limit is None else query.limit
        skip = query.offset
        if not asked.rest:
            if query.limit is not None or query.offset:
                statement = statement.limit(left).offset(skip)
            skip = 0
        if left <= 0:
            return
        for row in self._connection.execution_options(yield_per=_CHUNK).execute(statement):
            study, series, instance, attributes = self._answer(row)
            if asked.rest:
                if not self._fits(attributes):
                    continue
                attributes = self._reduced(attributes)
                if skip:
                    skip -= 1
                    continue
            yield Found(study, series, instance, dict(sorted(attributes.items())))
            left -= 1
            if not left:
                return

    def _fits(self, attributes: Attributes) -> bool:
        return all(matches(match, attributes, fuzzy=self._plan.fuzzy) for match in self._plan.rest)

    def _reduced(self, attributes: Attributes) -> Attributes:
        if self._wanted is None:
            return attributes
        return {name: attributes[name] for name in self._wanted if name in attributes}

    def _own(self, text: str, level: Level, computed: Attributes) -> Attributes:
        """A row's attributes, as far as they are wanted."""
        attributes: Attributes = orjson.loads(text)
        attributes.update(computed)
        if self._full or self._wanted is None:
            return attributes
        return {name: attributes[name] for name in _names_at(self._wanted, level) if name in attributes}

    def _answer(self, row: Sequence[Any]) -> tuple[str, str | None, str | None, Attributes]:
        level = self._query.level
        if level == Level.STUDY:
            return (row[1], None, None, self._study(row))
        if level == Level.SERIES:
            study_uid, study = self._get_study(row[1])
            return study_uid, row[2], None, study | self._series(row)
        study_uid, series_uid, upper = self._get_series(row[1])
        computed = {key(AVAILABLE_TRANSFER_SYNTAX): {"vr": "UI", "Value": [row[3]]}}
        return study_uid, series_uid, row[2], upper | self._own(row[4], Level.IMAGE, computed)

    def _study(self, row: Sequence[Any]) -> Attributes:
        _, _, modalities, sop_classes, series, instances, text = row
        computed = {
            key(INSTANCE_AVAILABILITY): {"vr": "CS", "Value": ["ONLINE"]},
            key(MODALITIES_IN_STUDY): _listed("CS", modalities),
            key(SOP_CLASSES_IN_STUDY): _listed("UI", sop_classes),
            key(STUDY_RELATED[0]): {"vr": "IS", "Value": [series]},
            key(STUDY_RELATED[1]): {"vr": "IS", "Value": [instances]},
        }
        return self._own(text, Level.STUDY, computed)

    def _series(self, row: Sequence[Any]) -> Attributes:
        return self._own(row[4], Level.SERIES, {key(SERIES_RELATED): {"vr": "IS", "Value": [row[3]]}})

    def _study_by_id(self, number: int) -> tuple[str, Attributes]:
        row = self._study_row.run(self._cursor, number=number).fetchone()
        return row[1], self._study(row)

    def _series_by_id(self, number: int) -> tuple[str, str, Attributes]:
        row = self._series_row.run(self._cursor, number=number).fetchone()
        study_uid, study = self._get_study(row[1])
        return study_uid, row[2], study | self._series(row)

    def patients(self) -> Iterator[Found]:
        """One answer a patient: the attributes are those of the patient's first study that fits."""
        query, asked, table = self._query, self._plan, schema.study
        statement = asked.answers(self._connection, table.c.id, table.c.patient_key, *_STUDY)
        seen: set[str] = set()
        left, skip = (_LAST if query.limit is None else query.limit), query.offset
        if left <= 0:
            return
        for row in self._connection.execution_options(yield_per=_CHUNK).execute(statement):
            if row.patient_key in seen:
                continue
            attributes = _patient_attributes(orjson.loads(row.attributes))
            attributes |= self._patient_totals(row.patient_key)
            if asked.rest and not self._fits(attributes):
                continue
            seen.add(row.patient_key)
            if skip:
                skip -= 1
                continue
            yield Found(row.uid, None, None, dict(sorted(self._reduced(attributes).items())))
            left -= 1
            if not left:
                return

    def _patient_totals(self, patient: str) -> Attributes:
        table = schema.study
        totals = self._connection.execute(
            sa.select(sa.func.count(), sa.func.sum(table.c.series_count), sa.func.sum(table.c.instance_count)).where(
                table.c.patient_key == patient
            )
        ).one()
        return {
            key(tag): {"vr": "IS", "Value": [int(number)]} for tag, number in zip(PATIENT_RELATED, totals, strict=True)
        }


def _patient_attributes(study: Mapping[str, Any]) -> Attributes:
    names = map(key, KEPT[Level.PATIENT])
    return {name: study[name] for name in names if name in study}


def _listed(vr: str, framed: str) -> dict[str, Any]:
    values = framed.strip("\\")
    return {"vr": vr, "Value": values.split("\\")} if values else {"vr": vr}


def wanted_names(query: Query) -> tuple[str, ...] | None:
    """The attributes an answer is made of: the level's defaults, those asked for and matched, and the unique keys."""
    if query.include is None:
        return None
    levels = [level for level in Level if level <= query.level and (level or not query.level)]
    tags = {*DEFAULT[query.level], *query.include, *(match.tag for match in query.matches)}
    tags |= {UNIQUE[level] for level in levels}
    return tuple(map(key, sorted(tags)))


@lru_cache(maxsize=256)
def _names_at(wanted: tuple[str, ...], level: Level) -> tuple[str, ...]:
    """Those of `wanted` that a row of `level` has."""
    have = {key(tag) for tag in (*KEPT[level], *COMPUTED[level])}
    return tuple(name for name in wanted if name in have)


__all__ = ["FROM", "SqlReader", "wanted_names", "within"]
