"""Steps of work on SQLite.

A change reads its step, decides, and writes it with its reports in one transaction, so that of two who want to perform
a step one gets it, and nobody is told of what did not happen. Searches narrow by the columns and leave the rest to
`matching`: there are thousands of steps where there are millions of instances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from isocenter.index import schema
from isocenter.index.jobs import Wanted
from isocenter.index.keys import first
from isocenter.index.matching import is_universal, matches
from isocenter.index.normal import bounds, normal, vr_of_key
from isocenter.index.sql_jobs import SqlRows, insert
from isocenter.index.work import PATIENT_ID, START_OF, STATE_OF, Kind, Report, Step, StepQuery, Watcher, dumped, loaded
from isocenter.model import UNIQUE_KEY, Equal, Level, Match, Range

_step, _subscription, _watcher, _report = (
    schema.step,
    schema.step_subscription,
    schema.step_watcher,
    schema.step_report,
)
_COLUMNS = (
    _step.c.kind,
    _step.c.uid,
    _step.c.state,
    _step.c.transaction_uid,
    _step.c.attributes,
    _step.c.id,
)
_PORTION = 500
_CHUNK = 64


def _of(row: Any) -> Step:
    kind, uid, state, transaction, text, number = row
    return Step(kind, uid, state, transaction, orjson.loads(text), number)


def _values(step: Step, at: float) -> dict[str, Any]:
    start = START_OF.get(step.kind)
    return {
        "state": step.state,
        "transaction_uid": step.transaction,
        "patient_id": first(step.attributes, PATIENT_ID),
        "starts": "" if start is None else first(step.attributes, start),
        "attributes": orjson.dumps(step.attributes, option=orjson.OPT_SORT_KEYS).decode(),
        "updated_at": at,
    }


class Changing:
    """One writing transaction over steps; the methods block."""

    def __init__(self, connection: sa.Connection, at: float) -> None:
        self._connection = connection
        self.at = at

    def get(self, kind: Kind, uid: str) -> Step | None:
        return _get(self._connection, kind, uid)

    def add(self, step: Step) -> Step:
        """Write a new step; it, with its number."""
        values = _values(step, self.at) | {"kind": step.kind, "uid": step.uid, "created_at": self.at}
        number = self._connection.execute(sa.insert(_step).values(values).returning(_step.c.id)).scalar_one()
        return replace(step, id=number)

    def save(self, step: Step) -> None:
        """Write a step anew."""
        self._connection.execute(sa.update(_step).where(_step.c.id == step.id).values(_values(step, self.at)))

    def remove(self, step: Step) -> None:
        self._connection.execute(sa.delete(_subscription).where(_subscription.c.step_id == step.id))
        self._connection.execute(sa.delete(_step).where(_step.c.id == step.id))

    def count(self, kind: Kind) -> int:
        return self._connection.scalar(sa.select(sa.func.count()).where(_step.c.kind == kind)) or 0

    def all(self, kind: Kind, wanted: Sequence[Match] = ()) -> Iterator[Step]:
        """The steps of a kind that fulfil all matches."""
        for row in self._connection.execute(_narrowed(StepQuery(kind, tuple(wanted)))).fetchall():
            step = _of(row)
            if all(matches(match, step.attributes) for match in wanted):
                yield step

    def prune(self, kind: Kind, states: Sequence[str], before: float) -> int:
        """Remove steps in one of `states` that nothing happened to since `before` and nobody has locked; how many of
        them, which is not more than a transaction should take."""
        locked = sa.select(_subscription.c.step_id).where(_subscription.c.lock)
        old = list(
            self._connection.scalars(
                sa.select(_step.c.id)
                .where(
                    _step.c.kind == kind,
                    _step.c.state.in_(states),
                    _step.c.updated_at < before,
                    _step.c.id.not_in(locked),
                )
                .limit(_PORTION)
            )
        )
        self._connection.execute(sa.delete(_subscription).where(_subscription.c.step_id.in_(old)))
        self._connection.execute(sa.delete(_step).where(_step.c.id.in_(old)))
        return len(old)

    def job(self, wanted: Wanted) -> None:
        """Write a job that a step is the reason for."""
        insert(self._connection, [wanted], self.at)

    # --- who is told

    def subscribed(self, step: Step) -> list[str]:
        """The AEs that are told of a step."""
        statement = sa.select(_subscription.c.aet).where(_subscription.c.step_id == step.id)
        return list(self._connection.scalars(statement.order_by(_subscription.c.aet)))

    def subscribe(self, step: Step, aet: str, *, lock: bool, again: bool = True) -> bool:
        """Subscribe an AE to a step; whether that changed anything. With `again`, a subscription that is there gets
        the lock that is asked for now."""
        row = sqlite_insert(_subscription).values(step_id=step.id, aet=aet, lock=lock)
        if again:
            row = row.on_conflict_do_update(index_elements=["step_id", "aet"], set_={"lock": lock})
        else:
            row = row.on_conflict_do_nothing(index_elements=["step_id", "aet"])
        return self._connection.execute(row).rowcount > 0

    def unsubscribe(self, aet: str, step: Step | None = None) -> None:
        """End an AE's subscription to a step, to all without one."""
        rows = sa.delete(_subscription).where(_subscription.c.aet == aet)
        self._connection.execute(rows if step is None else rows.where(_subscription.c.step_id == step.id))

    def watchers(self) -> list[Watcher]:
        return _watchers(self._connection)

    def watch(self, watcher: Watcher) -> None:
        """Subscribe an AE to steps that come, as this says from now on."""
        text = orjson.dumps([dumped(match) for match in watcher.matches]).decode()
        values = {"aet": watcher.aet, "filtered": watcher.filtered, "lock": watcher.lock, "matches": text}
        row = sqlite_insert(_watcher).values(values)
        changes = {"lock": watcher.lock, "matches": text}
        self._connection.execute(row.on_conflict_do_update(index_elements=["aet", "filtered"], set_=changes))

    def unwatch(self, aet: str, filtered: bool | None = None) -> int:
        """End an AE's subscriptions to steps that come, all or those of one kind; how many there were."""
        rows = sa.delete(_watcher).where(_watcher.c.aet == aet)
        return self._connection.execute(
            rows if filtered is None else rows.where(_watcher.c.filtered == filtered)
        ).rowcount

    def report(self, aets: Sequence[str], uid: str, event_type: int, information: Mapping[str, Any], keep: int) -> None:
        """Write an event for each of these AEs; of all there are, the newest `keep` are kept."""
        text = orjson.dumps(information).decode()
        rows = [{"aet": aet, "uid": uid, "event_type": event_type, "information": text} for aet in aets]
        if rows:
            self._connection.execute(sa.insert(_report), rows)
            last = self._connection.scalar(sa.select(sa.func.max(_report.c.seq))) or 0
            self._connection.execute(sa.delete(_report).where(_report.c.seq <= last - keep))


class SqlWork(SqlRows):
    """The rows of steps. All methods block and are for threads; a change is durable when its block has ended."""

    @contextmanager
    def changing(self, at: float) -> Iterator[Changing]:
        """A transaction at a time in seconds since 1970."""
        with self._writer.transaction() as connection:
            yield Changing(connection, at)

    def get(self, kind: Kind, uid: str) -> Step | None:
        with self._rows() as connection:
            return _get(connection, kind, uid)

    def find(self, query: StepQuery) -> Iterator[Step]:
        """The steps that fit, in the order in which they came. BadRequest for ranges that are none."""
        for match in query.matches:
            if isinstance(match, Range):
                bounds(vr_of_key(match.tag), match.low, match.high)
        if query.limit == 0:
            return
        skip, left = query.offset, query.limit
        with self._rows() as connection:
            for row in connection.execution_options(yield_per=_CHUNK).execute(_narrowed(query)):
                step = _of(row)
                if not all(matches(match, step.attributes, fuzzy=query.fuzzy) for match in query.matches):
                    continue
                if skip:
                    skip -= 1
                    continue
                yield step
                if left is not None:
                    left -= 1
                    if not left:
                        return

    def count(self, query: StepQuery) -> int:
        """How many fit, whatever limit and offset say."""
        return sum(1 for _ in self.find(replace(query, limit=None, offset=0)))

    def watchers(self) -> list[Watcher]:
        with self._rows() as connection:
            return _watchers(connection)

    def subscribers(self) -> set[str]:
        """Every AE that is subscribed to something."""
        with self._rows() as connection:
            return {*connection.scalars(sa.select(_subscription.c.aet)), *connection.scalars(sa.select(_watcher.c.aet))}

    def reports(self, aet: str, since: int, limit: int) -> list[Report]:
        """What there is to tell an AE after the report numbered `since`, oldest first."""
        statement = sa.select(_report).where(_report.c.aet == aet, _report.c.seq > since)
        with self._rows() as connection:
            return [
                Report(row.seq, row.aet, row.uid, row.event_type, orjson.loads(row.information))
                for row in connection.execute(statement.order_by(_report.c.seq).limit(limit))
            ]

    def last_report(self) -> int:
        """The number of the newest report; 0 without any."""
        with self._rows() as connection:
            return connection.scalar(sa.select(sa.func.max(_report.c.seq))) or 0

    def take_over(self, old: SqlWork) -> int:
        """Copy every step of another index into this one, which has none, with who is subscribed; how many."""
        with old._rows() as reading, self._writer.transaction() as connection:
            for table in (_step, _subscription, _watcher, _report):
                for some in reading.execute(sa.select(table)).mappings().partitions(_PORTION):
                    connection.execute(sa.insert(table), [dict(row) for row in some])
            return connection.scalar(sa.select(sa.func.count()).select_from(_step)) or 0


def _get(connection: sa.Connection, kind: Kind, uid: str) -> Step | None:
    row = connection.execute(sa.select(*_COLUMNS).where(_step.c.kind == kind, _step.c.uid == uid)).first()
    return None if row is None else _of(row)


def _watchers(connection: sa.Connection) -> list[Watcher]:
    rows = connection.execute(sa.select(_watcher).order_by(_watcher.c.aet, _watcher.c.filtered))
    return [
        Watcher(row.aet, row.filtered, row.lock, tuple(loaded(form) for form in orjson.loads(row.matches)))
        for row in rows
    ]


def _narrowed(query: StepQuery) -> sa.Select[Any]:
    """The rows that may fit: each condition follows from a match, whose decision is still `matching`'s."""
    statement = sa.select(*_COLUMNS).where(_step.c.kind == query.kind).order_by(_step.c.id)
    columns = {PATIENT_ID: _step.c.patient_id, STATE_OF.get(query.kind): _step.c.state}
    for match in query.matches:
        if isinstance(match, Equal) and match.tag in columns and not is_universal(match):
            wanted = [normal(vr_of_key(match.tag), value) for value in match.values]
            statement = statement.where(columns[match.tag].in_(wanted))
        elif isinstance(match, Equal) and match.tag == UNIQUE_KEY[Level.IMAGE] and not is_universal(match):
            statement = statement.where(_step.c.uid.in_([normal("UI", uid) for uid in match.values]))
        elif isinstance(match, Range) and match.tag == START_OF.get(query.kind):
            low, high = bounds(vr_of_key(match.tag), match.low, match.high)
            if low is not None:
                statement = statement.where(_step.c.starts >= low)
            if high is not None:
                statement = statement.where(_step.c.starts <= high)
    return statement
