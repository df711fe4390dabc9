"""A Query as SQL: what the columns can say, and what is left to `matching`.

`plan` gives the conditions on columns and the matches that no column can decide; those are put to the evaluator, row by
row. Text is never put into a statement: patterns are parameters, and in them only `*` and `?` are special.

Order (stable under concurrent ingest: new rows come last): by the row's identifier, which is insertion order. When an
attribute of an upper level other than a UID narrows the search, answers are grouped by that level in its order, so
that the first answer does not wait for a sort of all.

Which way is taken to the studies is decided here and not by the database, which knows nothing of how many rows a range
or a pattern will meet and would sort half the archive before the first answer: conditions on indexed columns are
tried out up to BROAD rows; a narrow one gives the identifiers to look at, else studies are read in order.

A list of studies in an order of its own takes two steps (`page`): which studies are on the page, and then their rows.
Without conditions an index of that order is walked; with them all of `study_in_list` is, which is narrow, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators, visitors

from isocenter.index import schema
from isocenter.index.keys import (
    COLUMN_OF,
    FUZZY_NAME,
    LISTED,
    MODALITIES_IN_STUDY,
    OTHER_GROUPS,
    SOP_CLASSES_IN_STUDY,
    Column,
    known_tags,
)
from isocenter.index.listing import ORDERS, is_pattern
from isocenter.index.matching import fuzzy_words, is_universal
from isocenter.index.normal import bounds, name_groups, normal, vr_of_key
from isocenter.index.zones import by_zone, widened
from isocenter.model import DateTimeRange, Empty, Equal, InSequence, Level, Match, Order, Query, Range, Wildcard

TABLES: dict[Level, sa.Table] = {
    Level.PATIENT: schema.study,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}
FROM: dict[Level, Any] = {
    Level.PATIENT: schema.study,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series.join(schema.study),
    Level.IMAGE: schema.instance.join(schema.series).join(schema.study),
}
# The same from above: the sum keeps the database from looking up a parent, so that it must go from study to instance.
_SERIES_OF_STUDY = schema.series.c.study_id == schema.study.c.id + 0
_INSTANCE_OF_SERIES = schema.instance.c.series_id == schema.series.c.id + 0
FROM_ABOVE: dict[Level, Any] = {
    Level.PATIENT: schema.study,
    Level.STUDY: schema.study,
    Level.SERIES: schema.study.join(schema.series, _SERIES_OF_STUDY),
    Level.IMAGE: schema.study.join(schema.series, _SERIES_OF_STUDY).join(schema.instance, _INSTANCE_OF_SERIES),
}
_PATIENT_NAME = 0x00100010
_LISTS = {MODALITIES_IN_STUDY: schema.study.c.modalities, SOP_CLASSES_IN_STUDY: schema.study.c.sop_classes}

BROAD = 5000

Condition = sa.ColumnElement[bool]
Way = sa.Select[tuple[int]] | sa.CompoundSelect[tuple[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """`conditions` say what columns can decide, `rest` what they cannot; `order` is that of the answers. `ways` select
    identifiers of studies by one indexed condition each; they matter when `by_study`."""

    level: Level
    conditions: tuple[Condition, ...]
    rest: tuple[Match, ...]
    order: tuple[sa.ColumnElement[Any], ...]
    fuzzy: bool
    ways: tuple[Way, ...]
    by_study: bool
    ordered: bool = False

    def select(self, *columns: Any) -> sa.Select[Any]:
        joined = FROM_ABOVE if self.by_study else FROM
        return sa.select(*columns).select_from(joined[self.level]).where(*self.conditions)

    def answers(self, connection: sa.Connection, *columns: Any) -> sa.Select[Any]:
        """The statement for the answers in their order."""
        statement = self.select(*columns).order_by(*self.order)
        if not self.by_study:
            return statement
        counted = [
            (connection.scalar(sa.select(sa.func.count()).select_from(way.limit(BROAD + 1).subquery())) or 0, number)
            for number, way in enumerate(self.ways)
        ]
        count, narrowest = min(counted, default=(BROAD + 1, 0))
        if count <= BROAD:
            statement = statement.where(schema.study.c.id.in_(self.ways[narrowest]))
        return statement

    def page(self, connection: sa.Connection, limit: int, offset: int, *columns: Any) -> sa.Select[Any]:
        """The statement for some of the answers, in their order."""
        statement = self.answers(connection, *columns)
        if not self.ordered:
            return statement.limit(limit).offset(offset)
        on_page = statement.with_only_columns(schema.study.c.id).limit(limit).offset(offset)
        few = sa.select(*columns).where(schema.study.c.id.in_(on_page))
        # By the values themselves, and no index of them: the rows are few and their identifiers known.
        return few.order_by(*(visitors.replacement_traverse(part, {}, _hide) for part in self.order))


def plan(query: Query, dialect: str) -> Plan:
    """What to ask the database. BadRequest for ranges that are none; matches of unknown attributes are left out."""
    known = known_tags(query.level)
    conditions: list[Condition] = []
    rest: list[Match] = []
    ways: list[Way] = []
    grouped = Level.IMAGE
    for match in query.matches:
        if match.tag not in known or is_universal(match):
            continue
        if isinstance(match, Range):
            bounds(vr_of_key(match.tag), match.low, match.high)
        usable: Match | None = match
        if by_zone(query, vr_of_key(match.tag)):
            rest.append(match)
            usable = widened(match) if vr_of_key(match.tag) == "DA" else None
        condition = None if usable is None else _condition(usable, dialect, query.fuzzy)
        if condition is None:
            if usable is match:
                rest.append(match)
        else:
            assert usable is not None
            conditions.append(condition)
            ways.extend(_ways(usable, condition))
        column = COLUMN_OF.get(match.tag)
        if column is None or column.name != "uid" or not isinstance(match, Equal) or len(match.values) > 1:
            grouped = min(grouped, _level_of(match.tag))
    if query.senders is not None:
        conditions.append(_sent_by(query.senders))
    tables = [TABLES[level] for level in (Level.STUDY, Level.SERIES) if grouped <= level < query.level]
    order: tuple[sa.ColumnElement[Any], ...] = tuple(table.c.id for table in [*tables, TABLES[query.level]])
    by_study = grouped <= Level.STUDY
    if by_study:
        conditions = [_unindexed(condition) for condition in conditions]
    conditions += [_has_word(word, dialect) for word in query.words]
    ordered = bool(query.order) and query.level == Level.STUDY
    if ordered:
        order = tuple(_sorted(query.order, indexed=not conditions and not rest))
    return Plan(query.level, tuple(conditions), tuple(rest), order, query.fuzzy, tuple(ways), by_study, ordered)


def _sorted(order: Sequence[Order], *, indexed: bool) -> Iterator[sa.ColumnElement[Any]]:
    study = schema.study.c
    for one in order:
        column: Any = study[ORDERS[one.tag]]
        if not indexed:
            column = _hide(column)
        yield (column.desc() if one.descending else column.asc()).nulls_last()
    yield study.id.desc() if order[-1].descending else study.id.asc()


def _has_word(word: str, dialect: str) -> Condition:
    listed = schema.study.c[LISTED]
    return _like(listed, f"*{word}*", dialect) if is_pattern(word) else _contains(listed, word)


def _hide(element: Any, **_: Any) -> Any:
    """A column of a study with nothing added to it: it is none any more, and no index has it."""
    if not isinstance(element, sa.Column) or element.table is not schema.study or element.primary_key:
        return None
    return element.concat("") if isinstance(element.type, sa.Text) else element + 0


def _unindexed(condition: Condition) -> Condition:
    """The same condition, of no use to an index of the studies."""
    return visitors.replacement_traverse(condition, {}, _hide)


def _ways(match: Match, condition: Condition) -> Iterator[Way]:
    """How an index leads to the studies that fulfil a condition, if one does."""
    column = COLUMN_OF.get(match.tag)
    if (
        column is None
        or column.level != Level.STUDY
        or not column.indexed
        or isinstance(match, Empty | DateTimeRange | InSequence)
    ):
        return
    if isinstance(match, Wildcard) and match.pattern.lstrip(" ")[:1] in ("*", "?"):
        return
    if column.person:
        # One component group each: a disjunction over three columns would use none of their indexes.
        if not isinstance(condition, sa.BooleanClauseList) or condition.operator is not operators.or_:
            return
        parts = [sa.select(schema.study.c.id).where(part) for part in condition.clauses]
        yield sa.union_all(*parts)
    else:
        yield sa.select(schema.study.c.id).where(condition)


def _level_of(tag: int) -> Level:
    column = COLUMN_OF.get(tag)
    if column is not None:
        return column.level
    return next((level for level in (Level.STUDY, Level.SERIES) if tag in known_tags(level)), Level.IMAGE)


def _condition(match: Match, dialect: str, fuzzy: bool) -> Condition | None:
    listed = _LISTS.get(match.tag)
    if listed is not None and isinstance(match, Equal):
        return sa.or_(*(_contains(listed, f"\\{value.strip(' ')}\\") for value in _given(match.values)))
    column = COLUMN_OF.get(match.tag)
    if column is None or isinstance(match, DateTimeRange | InSequence):
        return None
    if column.person:
        return _person(match, column, dialect, fuzzy)
    field = TABLES[column.level].c[column.name]
    vr = vr_of_key(match.tag)
    if isinstance(match, Empty):
        return field.is_(None)
    if isinstance(match, Equal):
        values = [normal(vr, value) for value in _given(match.values)]
        return field == values[0] if len(values) == 1 else field.in_(values)
    if isinstance(match, Wildcard):
        return _like(field, match.pattern.strip(" "), dialect)
    low, high = bounds(vr, match.low, match.high)
    return sa.and_(*([field >= low] if low else []), *([field <= high] if high else []))


def _sent_by(titles: Iterable[str]) -> Condition:
    """That something of the study came from one of these AE titles: `origin` is kind, peer, calling and called, with
    tabs between them, and a peer that calls by DIMSE is an address."""
    origin = schema.instance.c.origin
    sent = sa.or_(sa.false(), *(_contains(origin, f"\t{title}\t") for title in titles))
    within = schema.instance.join(schema.series)
    return (
        sa.select(schema.instance.c.id)
        .select_from(within)
        .where(schema.series.c.study_id == schema.study.c.id, sa.func.substr(origin, 1, 6) == "dimse\t", sent)
        .correlate(schema.study)
        .exists()
    )


def _given(values: Iterable[str]) -> list[str]:
    return [value for value in values if value.strip(" \0")] or [""]


def _person(match: Equal | Wildcard | Range | Empty, column: Column, dialect: str, fuzzy: bool) -> Condition | None:
    table = TABLES[column.level]
    fields = [table.c[column.name], *(table.c[column.name + group] for group in OTHER_GROUPS)]
    if isinstance(match, Empty):
        return sa.and_(*(field.is_(None) for field in fields))
    if isinstance(match, Range):
        return None
    patterns = match.values if isinstance(match, Equal) else (match.pattern,)
    if fuzzy:
        if column.tag != _PATIENT_NAME:
            return None
        words = table.c[FUZZY_NAME]
        return sa.or_(
            *(
                sa.and_(words.is_not(None), *(_contains(words, f" {word}") for word in fuzzy_words(pattern)))
                for pattern in patterns
            )
        )
    wild = isinstance(match, Wildcard)
    return sa.or_(*(_name(fields, pattern, wild, dialect) for pattern in patterns))


def _name(fields: Sequence[sa.ColumnElement[Any]], pattern: str, wild: bool, dialect: str) -> Condition:
    groups = name_groups(pattern)

    def one(field: sa.ColumnElement[Any], wanted: str) -> Condition:
        return _like(field, wanted, dialect) if wild else field == wanted

    if "=" not in pattern:
        return sa.or_(*(one(field, groups[0]) for field in fields))
    # A group that is only stars asks for nothing, as in `matching`: an absent group fits it too.
    present = sa.or_(*(field.is_not(None) for field in fields))
    return sa.and_(
        present, *(one(field, wanted) for field, wanted in zip(fields, groups, strict=True) if wanted.strip("*"))
    )


def _contains(field: sa.ColumnElement[Any], text: str) -> Condition:
    return sa.func.instr(field, text) > 0


def _like(field: sa.ColumnElement[Any], pattern: str, dialect: str) -> Condition:
    """Wildcard matching, with the fixed beginning as a range so that an index on the column is of use."""
    fixed = pattern[: min((at for sign in "*?" if (at := pattern.find(sign)) >= 0), default=len(pattern))]
    if fixed == pattern:
        return field == pattern
    if dialect == "sqlite":
        test = field.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
    else:
        escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        test = field.like(escaped.replace("*", "%").replace("?", "_"), escape="!")
    if not fixed:
        return test
    return sa.and_(field >= fixed, field < fixed + "\U0010ffff", test)
