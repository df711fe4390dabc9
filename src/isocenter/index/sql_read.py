"""Answering from the index: the reading half of the SQL index.

Every reading has a connection and a snapshot of its own. Rows of an answer carry only their own level; those of the
levels above are read once and kept while consecutive rows need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from isocenter.index.sql_non_patient import find as find_non_patient
from isocenter.index.sql_query import FROM, TABLES, Plan, plan
from isocenter.index.sql_rows import EVERY_INSTANCE, Selections
from isocenter.index.sql_text import Statement, driver_rows
from isocenter.index.zones import shifted
from isocenter.model import Change, Found, InstanceRef, Level, Query, Scope

_CHUNK = 256
_LAST = 1 << 62
_FEW = 12

_STUDY = (
    schema.study.c.uid,
    schema.study.c.modalities,
    schema.study.c.sop_classes,
    schema.study.c.series_count,
    schema.study.c.instance_count,
    schema.study.c.attributes,
)
_STUDY_COLUMNS = 1 + len(_STUDY)
_SERIES = (schema.series.c.study_id, schema.series.c.uid, schema.series.c.instance_count, schema.series.c.attributes)
_IMAGE = (
    schema.instance.c.series_id,
    schema.instance.c.uid,
    schema.instance.c.transfer_syntax,
    schema.instance.c.attributes,
)
_AVAILABLE = key(AVAILABLE_TRANSFER_SYNTAX)
_OWN: dict[Level, tuple[Any, ...]] = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.IMAGE: _IMAGE}

Attributes = dict[str, Any]


class SqlReader:
    """Questions to the index; usable from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._selections = Selections(engine.dialect)
        study, series = schema.study, schema.series
        numbers: sa.Select[Any] = sa.select(sa.column("value")).select_from(sa.func.json_each(sa.bindparam("numbers")))
        self._upper = (
            Statement(sa.select(study.c.id, *_STUDY).where(study.c.id == sa.bindparam("number")), engine.dialect),
            Statement(
                sa.select(study.c.id, *_STUDY, series.c.id, *_SERIES)
                .select_from(series.join(study))
                .where(series.c.id.in_(numbers)),
                engine.dialect,
            ),
        )

    def find(self, query: Query) -> Iterator[Found]:
        if query.sop_classes:
            with translated(), self._engine.connect() as connection:
                yield from find_non_patient(connection, query)
            return
        asked = plan(query, self._engine.dialect.name)
        with translated(), self._engine.connect() as connection:
            answers = _Answers(connection, query, asked, self._upper)
            yield from answers.patients() if query.level == Level.PATIENT else answers.rows()

    def count(self, query: Query) -> int:
        asked = plan(query, self._engine.dialect.name)
        if query.sop_classes or asked.rest:
            return sum(1 for _ in self.find(replace(query, include=(), limit=None, offset=0)))
        what = sa.func.count()
        if query.level == Level.PATIENT:
            what = sa.func.count(sa.distinct(schema.study.c.patient_key))
        with translated(), self._engine.connect() as connection:
            return connection.scalar(asked.select(what)) or 0

    def tally(self, query: Query) -> dict[str, int]:
        asked = plan(query, self._engine.dialect.name)
        found: Counter[str] = Counter()
        if asked.rest:
            for one in self.find(replace(query, include=(MODALITIES_IN_STUDY,), bare=True, limit=None, offset=0)):
                found.update(one.attributes[key(MODALITIES_IN_STUDY)].get("Value", ()))
            return dict(found)
        # With conditions not by the index of modalities, which would look up each row.
        listed = schema.study.c.modalities.concat("") if asked.conditions else schema.study.c.modalities
        statement = asked.select(listed, sa.func.count()).group_by(listed)
        with translated(), self._engine.connect() as connection:
            for framed, number in connection.execute(statement):
                found.update(dict.fromkeys(filter(None, framed.split("\\")), number))
        return dict(found)

    def select(self, scope: Scope) -> list[InstanceRef]:
        with translated(), self._engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            return self._selections.run(driver.cursor(), scope)

    def changes(self, since: int, limit: int) -> list[Change]:
        change = schema.change
        statement = sa.select(change).where(change.c.seq > since).order_by(change.c.seq).limit(limit)
        with translated(), self._engine.connect() as connection:
            return [
                Change(row.seq, row.kind, _scope_of(row), row.at, row.reason, row.actor)
                for row in connection.execute(statement)
            ]

    def last_change(self) -> int:
        with translated(), self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.max(schema.change.c.seq))) or 0

    def counts(self) -> Counts:
        study, series = schema.study, schema.series
        totals = sa.select(
            sa.func.count(sa.distinct(study.c.patient_key)),
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(study.c.series_count), 0),
            sa.func.coalesce(sa.func.sum(study.c.instance_count), 0),
            sa.func.coalesce(sa.func.sum(study.c.bytes), 0),
        ).select_from(study)
        of_none = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(schema.instance.c.size), 0)).where(
            schema.instance.c.series_id.is_(None)
        )
        modalities = sa.select(series.c.modality, sa.func.count()).group_by(series.c.modality)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(totals).one()
            non_patient, size = connection.execute(of_none).one()
            by_modality = {name or "": number for name, number in connection.execute(modalities)}
        instances, stored = int(row[3]) + non_patient, int(row[4]) + size
        return Counts(row[0], row[1], int(row[2]), instances, stored, by_modality, non_patient)

    def blobs(self, instances: Sequence[str] | None = None) -> Iterator[BlobRow]:
        instance, old = schema.instance.c, schema.superseded.c
        columns = ("blob", "size", "data_set_offset", "digest", "header_digest")
        visible = sa.select(
            *(instance[name] for name in columns),
            *(schema.study.c.uid, schema.series.c.uid, instance.uid, instance.sop_class),
        ).select_from(EVERY_INSTANCE)
        aside = sa.select(*(old[name] for name in columns), old.study_uid, old.series_uid, old.uid, sa.literal(""))
        if instances is not None:
            visible = visible.where(instance.uid.in_(instances))
            aside = aside.where(old.uid.in_(instances))
        with translated(), self._engine.connect() as connection:
            for statement, is_visible in ((visible.order_by(instance.id), True), (aside.order_by(old.id), False)):
                result = connection.execution_options(yield_per=_CHUNK).execute(statement)
                for row in result:
                    scope = Scope(row[5] or "", row[6] or "", row[7])
                    yield BlobRow(row[0], row[1], row[2], row[3], row[4], scope, is_visible, row[8])


class _Answers:
    """The answers to one query, from one snapshot."""

    def __init__(
        self, connection: sa.Connection, query: Query, asked: Plan, upper: tuple[Statement, Statement]
    ) -> None:
        self._connection = connection
        self._study_row, self._upper = upper
        # The driver's own cursor, in the same snapshot: the rows above are many where series are short.
        driver: Any = connection.connection.driver_connection
        self._cursor = driver.cursor()
        self._query = query
        self._plan = asked
        self._wanted = wanted_names(query)
        self._full = bool(asked.rest) or query.zone is not None
        self._picked = self._pick()
        self._get_study = lru_cache(maxsize=64)(self._study_by_id)
        self._series_known: dict[int, tuple[str, str, Attributes]] = {}  # those of the rows at hand

    def rows(self) -> Iterator[Found]:
        query, asked = self._query, self._plan
        table = TABLES[query.level]
        columns = _OWN[query.level]
        if self._picked:
            paths = [f'$."{name}"' for name in self._picked]
            columns = (*columns[:-1], sa.func.json_extract(columns[-1], *paths))
        left = _LAST if query.limit is None else query.limit
        skip = query.offset
        if left <= 0:
            return
        if self._full or (query.limit is None and not query.offset):
            statement = asked.answers(self._connection, table.c.id, *columns)
        else:
            statement = asked.page(self._connection, left, skip, table.c.id, *columns)
            skip = 0
        for row in self._with_series(driver_rows(self._connection, statement, _CHUNK)):
            study, series, instance, own = self._answer(row)
            attributes: Mapping[str, Any] = own
            if self._full:
                if query.zone is not None:
                    attributes = shifted(attributes, query.zone)
                if not self._fits(attributes):
                    continue
                attributes = self._reduced(attributes)
                if skip:
                    skip -= 1
                    continue
            yield Found(study, series, instance, attributes)
            left -= 1
            if not left:
                return

    def _with_series(self, groups: Iterator[Sequence[Any]]) -> Iterator[Any]:
        """The rows of the answers; of those of images, the series are read before, all of a group at once."""
        images = self._query.level == Level.IMAGE
        for rows in groups:
            if images:
                self._read_series({row[1] for row in rows})
            yield from rows

    def _read_series(self, numbers: set[int]) -> None:
        known = {number: self._series_known[number] for number in numbers & self._series_known.keys()}
        studies: dict[int, tuple[str, Attributes]] = {}
        missing = orjson.dumps(sorted(numbers - known.keys())).decode()
        for row in self._upper.run(self._cursor, numbers=missing).fetchall():
            study, series = row[:_STUDY_COLUMNS], row[_STUDY_COLUMNS:]
            if study[0] not in studies:
                studies[study[0]] = study[1], self._study(study)
            study_uid, attributes = studies[study[0]]
            known[series[0]] = study_uid, series[2], attributes | self._series(series)
        self._series_known = known

    def _pick(self) -> tuple[str, ...]:
        """The attributes of an image that the database is to take out of the text; none: all of it is read here. Where
        they are few that costs a fraction, and it is images that come by the thousand."""
        if self._query.level != Level.IMAGE or self._full or self._connection.dialect.name != "sqlite":
            return ()
        names = tuple(name for name in _names_at(self._wanted or (), Level.IMAGE) if name != _AVAILABLE)
        # Of one path json_extract() gives the value, of several an array.
        return names * 2 if len(names) == 1 else names if len(names) <= _FEW else ()

    def _fits(self, attributes: Mapping[str, Any]) -> bool:
        return all(matches(match, attributes, fuzzy=self._plan.fuzzy) for match in self._plan.rest)

    def _reduced(self, attributes: Mapping[str, Any]) -> Attributes:
        """What is wanted, in the order of tags."""
        if self._wanted is None:
            return dict(sorted(attributes.items()))
        return {name: attributes[name] for name in self._wanted if name in attributes}

    def _joined(self, upper: Attributes, own: Attributes) -> Attributes:
        """The attributes of a row with those of the levels above it; reduced, unless they have to be matched first."""
        if self._full:
            return upper | own
        if self._wanted is None:
            return dict(sorted((upper | own).items()))
        return {name: entry for name in self._wanted if (entry := own.get(name) or upper.get(name))}

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
            return (row[1], None, None, self._joined({}, self._study(row)))
        if level == Level.SERIES:
            study_uid, study = self._get_study(row[1])
            return study_uid, row[2], None, self._joined(study, self._series(row))
        study_uid, series_uid, upper = self._series_known[row[1]]
        given = orjson.loads(row[4])
        own: Attributes = dict(zip(self._picked, given, strict=True)) if self._picked else given
        own[_AVAILABLE] = {"vr": "UI", "Value": [row[3]]}
        return study_uid, series_uid, row[2], self._joined(upper, own)

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


def _scope_of(row: Any) -> Scope:
    return Scope(row.study_uid, row.series_uid, row.instance_uid)


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
    tags = {*query.include, *(match.tag for match in query.matches)}
    if not query.bare:
        tags |= {*DEFAULT[query.level]}
    tags |= {UNIQUE[level] for level in levels}
    return tuple(map(key, sorted(tags)))


@lru_cache(maxsize=256)
def _names_at(wanted: tuple[str, ...], level: Level) -> tuple[str, ...]:
    """Those of `wanted` that a row of `level` has."""
    have = {key(tag) for tag in (*KEPT[level], *COMPUTED[level])}
    return tuple(name for name in wanted if name in have)


__all__ = ["FROM", "SqlReader", "wanted_names"]
