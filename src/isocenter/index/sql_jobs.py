"""Jobs on SQLite: reading and changing their rows.

The state in the row is the truth. A process that performs jobs claims them, and saves what it achieved on condition
that the job is still its own; so another process (`isocenter jobs cancel`) changes the row and nothing else, and
SQLite's write lock puts the two in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite import pysqlite

from isocenter.errors import BadRequest, NotFound
from isocenter.index import schema
from isocenter.index.jobs import ASKED, ENDED, Job, State, Wanted
from isocenter.index.sql_errors import translated
from isocenter.index.sql_text import Statement

if TYPE_CHECKING:
    from isocenter.index.sql_write import SqlWriter

_job, _item, _asked = schema.job, schema.job_item, schema.job_asked
_COLUMNS = [_job.c[name] for name in Job.__dataclass_fields__]
_PORTION = 500  # UIDs in one statement
_ERROR_LENGTH = 400


def _of(row: Any) -> Job:
    values = dict(zip(Job.__dataclass_fields__, row, strict=True))
    return Job(**{**values, "payload": json.loads(values["payload"])})


class _Statements:
    """What storing an instance runs; see sql_text."""

    def __init__(self) -> None:
        dialect, b = pysqlite.dialect(paramstyle="qmark"), sa.bindparam
        self.waiting = Statement(
            sa.select(_job.c.id)
            .where(
                _job.c.state == "waiting",
                *(_job.c[name] == b(name) for name in ("kind", "target", "key")),
                _job.c.progressed_at > b("since"),
            )
            .order_by(_job.c.id.desc())
            .limit(1),
            dialect,
        )
        times = ("next_at", "created_at", "updated_at", "progressed_at")
        self.add = Statement(
            sa.insert(_job)
            .values(state="waiting", **{name: b(name) for name in ("kind", "target", "key", "payload", *times)})
            .returning(_job.c.id),
            dialect,
        )
        # An object that was replaced while it waited is sent once, as it is then.
        self.item = Statement(
            sqlite_insert(_item)
            .values(job_id=b("job_id"), uid=b("uid"))
            .on_conflict_do_nothing(index_elements=["job_id", "uid"]),
            dialect,
        )
        self.grow = Statement(
            sa.update(_job)
            .where(_job.c.id == b("number"))
            .values(
                total=_job.c.total + b("added"),
                updated_at=b("at"),
                next_at=sa.case((_job.c.attempts == 0, b("begin")), else_=_job.c.next_at),
            ),
            dialect,
        )


_statements = cache(_Statements)


def insert(connection: sa.Connection, wanted: Sequence[Wanted], at: float) -> list[int]:
    """Write jobs, or add to those that wait, inside the connection's transaction; the number of each."""
    if not wanted:
        return []
    driver: Any = connection.connection.driver_connection
    with closing(driver.cursor()) as cursor:
        return [_insert(cursor, one, at) for one in wanted]


def _insert(cursor: Any, wanted: Wanted, at: float) -> int:
    sql, begin = _statements(), at + wanted.delay
    names = {"kind": wanted.kind, "target": wanted.target, "key": wanted.key}
    row = sql.waiting.run(cursor, **names, since=at - wanted.gather).fetchone() if wanted.gather else None
    if row is None:
        payload = json.dumps(dict(wanted.payload), separators=(",", ":"))
        times = {"next_at": begin, "created_at": at, "updated_at": at, "progressed_at": at}
        row = sql.add.run(cursor, **names, payload=payload, **times).fetchone()
    number = int(row[0])
    added = sql.item.run_many(cursor, [{"job_id": number, "uid": uid} for uid in dict.fromkeys(wanted.items)])
    sql.grow.run(cursor, number=number, added=added, at=at, begin=begin)
    return number


def _portions(uids: Collection[str]) -> Iterator[list[str]]:
    some = list(dict.fromkeys(uids))
    for at in range(0, len(some), _PORTION):
        yield some[at : at + _PORTION]


class SqlRows:
    """Rows beside those of objects: written in the writer's transactions, read on connections of their own."""

    def __init__(self, writer: SqlWriter, reading: sa.Engine) -> None:
        self._writer = writer
        self._reading = reading

    @contextmanager
    def _rows(self) -> Iterator[sa.Connection]:
        with translated(), self._reading.connect() as connection:
            yield connection


class SqlJobs(SqlRows):
    """The rows of jobs. All methods block and are for threads; those that write are durable when they return."""

    # --- in

    def add(self, wanted: Sequence[Wanted], at: float) -> list[int]:
        """Write jobs, or add to those that wait; the number of each."""
        with self._writer.transaction() as connection:
            return insert(connection, wanted, at)

    def take_over(self, old: SqlJobs) -> int:
        """Copy every job of another index into this one, which has none, under its number; how many."""
        with old._rows() as reading, self._writer.transaction() as connection:
            for table, order in ((_job, _job.c.id), (_item, _item.c.id), (_asked, _asked.c.transaction_uid)):
                for some in reading.execute(sa.select(table).order_by(order)).mappings().partitions(_PORTION):
                    connection.execute(sa.insert(table), [dict(row) for row in some])
            return connection.scalar(sa.select(sa.func.count()).select_from(_job)) or 0

    # --- known

    def get(self, number: int) -> Job:
        """One job; NotFound without it."""
        with self._rows() as connection:
            return _get(connection, number)

    def listed(self, states: Collection[State] = (), limit: int = 1000) -> list[Job]:
        """The newest jobs first, in any of `states` (none given: all)."""
        statement = sa.select(*_COLUMNS).order_by(_job.c.id.desc()).limit(limit)
        if states:
            statement = statement.where(_job.c.state.in_(states))
        with self._rows() as connection:
            return [_of(row) for row in connection.execute(statement)]

    def unfinished(self, kind: str, key: str) -> list[Job]:
        """The jobs of a kind and key that wait or run."""
        statement = sa.select(*_COLUMNS).where(_job.c.state.not_in(ENDED), _job.c.kind == kind, _job.c.key == key)
        with self._rows() as connection:
            return [_of(row) for row in connection.execute(statement.order_by(_job.c.id))]

    def wanting(self, instances: Collection[str]) -> int | None:
        """The number of a job that has still to do with one of these SOP Instance UIDs; None if none has."""
        with self._rows() as connection:
            for some in _portions(instances):
                found = connection.scalar(
                    sa.select(_job.c.id)
                    .select_from(_item.join(_job))
                    .where(_job.c.state.not_in(ENDED), _item.c.failure.is_(None), _item.c.uid.in_(some))
                    .limit(1)
                )
                if found is not None:
                    return int(found)
        return None

    def owed(self, kind: str) -> int:
        """How many items the jobs of a kind have that wait or run."""
        items = sa.func.coalesce(sa.func.sum(_job.c.total - _job.c.done), 0)
        with self._rows() as connection:
            return int(connection.scalar(sa.select(items).where(_job.c.state.not_in(ENDED), _job.c.kind == kind)) or 0)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state that any is in."""
        statement = sa.select(_job.c.state, sa.func.count()).group_by(_job.c.state)
        with self._rows() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def failures(self, number: int, limit: int = 1000) -> list[tuple[str, str]]:
        """UIDs of a job's items that will not be tried again, and why."""
        statement = sa.select(_item.c.uid, _item.c.failure).where(
            _item.c.job_id == number, _item.c.failure.is_not(None)
        )
        with self._rows() as connection:
            return [(uid, why) for uid, why in connection.execute(statement.order_by(_item.c.id).limit(limit))]

    def reasons(self, numbers: Collection[int]) -> dict[int, dict[str, int]]:
        """Why items of these jobs will not be tried again, and how many for each reason, the commonest first; of jobs
        without such items nothing."""
        found: dict[int, dict[str, int]] = {}
        statement = (
            sa.select(_item.c.job_id, _item.c.failure, sa.func.count())
            .where(_item.c.job_id.in_(numbers), _item.c.failure.is_not(None))
            .group_by(_item.c.job_id, _item.c.failure)
            .order_by(sa.func.count().desc(), sa.func.min(_item.c.id))
        )
        with self._rows() as connection:
            for number, why, count in connection.execute(statement):
                found.setdefault(number, {})[why] = count
        return found

    def items(self, number: int, after: int, limit: int) -> list[tuple[int, str]]:
        """Items of a job that are still to be done, in the order they came, behind the one numbered `after`."""
        statement = (
            sa.select(_item.c.id, _item.c.uid)
            .where(_item.c.job_id == number, _item.c.id > after, _item.c.failure.is_(None))
            .order_by(_item.c.id)
            .limit(limit)
        )
        with self._rows() as connection:
            return [(place, uid) for place, uid in connection.execute(statement)]

    def due_at(self, kinds: Collection[str], busy: Collection[tuple[str, str]] = ()) -> float | None:
        """When the next job of these kinds is due, `busy` pairs of kind and target left out; None without one."""
        with self._rows() as connection:
            due: float | None = connection.scalar(sa.select(sa.func.min(_job.c.next_at)).where(*_free(kinds, busy)))
            return due

    def running(self) -> set[int]:
        """The jobs that are marked as running."""
        with self._rows() as connection:
            return set(connection.scalars(sa.select(_job.c.id).where(_job.c.state == "running")))

    # --- performing

    def recover(self, at: float, delay: Callable[[int], float], longest: float, asked: float = 0.0) -> int:
        """At the start: what ran when the last process ended waits again, `delay(attempts)` seconds, so that a job that
        takes the process down does not do it at once again; how many those are.

        A clock that was set back would keep jobs for as long; nothing waits longer than `longest` seconds from now, and
        for a report no longer than `asked` where that is more.
        """
        latest = at + sa.case((_job.c.key == ASKED, max(asked, longest)), else_=longest)
        with self._writer.transaction() as connection:
            connection.execute(
                sa.update(_job).where(_job.c.state == "waiting", _job.c.next_at > latest).values(next_at=latest)
            )
            interrupted = connection.execute(
                sa.select(_job.c.id, _job.c.attempts).where(_job.c.state == "running")
            ).all()
            for number, attempts in interrupted:
                changes = {"state": "waiting", "next_at": at + delay(attempts), "updated_at": at}
                connection.execute(sa.update(_job).where(_job.c.id == number).values(changes))
            return len(interrupted)

    def claim(
        self,
        at: float,
        kinds: Collection[str],
        busy: Collection[tuple[str, str]] = (),
        besides: Collection[int] = (),
    ) -> Job | None:
        """The job of these kinds that is due for longest, as running; `busy` pairs of kind and target, and the jobs
        `besides`, are left out."""
        wanted = (
            sa.select(*_COLUMNS)
            .where(*_free(kinds, busy), _job.c.next_at <= at, _job.c.id.not_in(besides))
            .order_by(_job.c.next_at, _job.c.id)
            .limit(1)
        )
        with self._rows() as connection:
            if connection.execute(wanted).first() is None:
                return None  # an idle queue must not write
        with self._writer.transaction() as connection:
            row = connection.execute(wanted).first()
            if row is None:
                return None
            changes = {"state": "running", "attempts": _job.c.attempts + 1, "updated_at": at}
            connection.execute(sa.update(_job).where(_job.c.id == row[0]).values(changes))
            return _get(connection, row[0])

    def progress(
        self,
        number: int,
        at: float,
        *,
        done: Collection[str] = (),
        dropped: Collection[str] = (),
        failed: Mapping[str, str] | None = None,
        then: Sequence[Wanted] = (),
    ) -> bool:
        """Save what became of items of a running job; False, and nothing saved, if it does not run any more.

        `dropped` are items that there is nothing to do about any longer; `failed` maps UIDs to the reason; `then` are
        jobs that follow from it, written together with it or not at all.
        """
        failed = failed or {}
        with self._writer.transaction() as connection:
            if not _runs(connection, number):
                return False
            gone = sum(_remove(connection, number, uids) for uids in _portions(done))
            less = sum(_remove(connection, number, uids) for uids in _portions(dropped))
            lost = 0
            for uid, why in failed.items():
                lost += _mark(connection, number, uid, why)
            changes: dict[str, Any] = {
                "done": _job.c.done + gone,
                "failed": _job.c.failed + lost,
                "total": _job.c.total - less,
                "updated_at": at,
            }
            if gone:
                # Something got through: the next trouble is a new one.
                changes |= {"progressed_at": at, "attempts": 1}
            connection.execute(sa.update(_job).where(_job.c.id == number).values(changes))
            insert(connection, then, at)
            return True

    def asked(self, number: int, transaction: str, at: float) -> bool:
        """A running job is about to ask for a report on its items, under this Transaction UID; False if it does not run
        any more."""
        with self._writer.transaction() as connection:
            if not _runs(connection, number):
                return False
            connection.execute(sa.insert(_asked).values(transaction_uid=transaction, job_id=number, at=at))
            connection.execute(sa.update(_job).where(_job.c.id == number).values(key=ASKED, updated_at=at))
            return True

    def reported(
        self, transaction: str, at: float, *, done: Collection[str], failed: Mapping[str, str], error: str = ""
    ) -> Job | None:
        """Save what a report says of items of the job that asked for it, whatever state that is in; the job as it is
        then, None if none asked. What `done` and `failed` name besides its items is passed over.

        When nothing is left of a job that waits, or was given up, it is due: performing it, which is nothing any more,
        ends it. `error` is why the rest is left, if there is more to say of it.
        """
        with self._writer.transaction() as connection:
            number = connection.scalar(sa.select(_asked.c.job_id).where(_asked.c.transaction_uid == transaction))
            if number is None:
                return None
            job = _get(connection, number)
            gone = healed = lost = 0
            for uids in _portions(done):
                # An earlier report may have said the opposite: the objects came late, or were stored again.
                healed += _remove(connection, number, uids, failed=True)
                gone += _remove(connection, number, uids)
            for uid, why in failed.items():
                lost += _mark(connection, number, uid, why)
            heard = gone + healed + lost
            changes: dict[str, Any] = {
                "done": _job.c.done + gone + healed,
                "failed": _job.c.failed + lost - healed,
                "updated_at": at,
            }
            if heard:
                changes |= {"progressed_at": at}
            if error:
                changes |= {"last_error": error[:_ERROR_LENGTH]}
            if heard and job.state in ("waiting", "failed") and job.left == gone + lost:
                changes |= {"state": "waiting", "next_at": at}
            connection.execute(sa.update(_job).where(_job.c.id == number).values(changes))
            return _get(connection, number)

    def end(self, number: int, state: State, at: float, *, error: str = "", next_at: float = 0.0) -> bool:
        """A running job is over, or waits for `next_at`; False if it did not run any more."""
        with self._writer.transaction() as connection:
            if not _runs(connection, number):
                return False
            changes = {"state": state, "updated_at": at, "last_error": error[:_ERROR_LENGTH], "next_at": next_at or at}
            connection.execute(sa.update(_job).where(_job.c.id == number).values(changes))
            return True

    def postpone(self, kind: str, target: str, until: float, error: str) -> None:
        """Jobs that were tried before wait until then, at least."""
        others = (*_tried(kind, target), _job.c.next_at < until)
        with self._writer.transaction() as connection:
            connection.execute(sa.update(_job).where(*others).values(next_at=until, last_error=error[:_ERROR_LENGTH]))

    def hasten(self, kind: str, target: str, at: float) -> None:
        """Jobs that were tried before are due now."""
        others = (*_tried(kind, target), _job.c.next_at > at)
        with self._rows() as connection:
            if connection.execute(sa.select(_job.c.id).where(*others).limit(1)).first() is None:
                return
        with self._writer.transaction() as connection:
            connection.execute(sa.update(_job).where(*others).values(next_at=at))

    def prune(self, keep: int) -> int:
        """Forget the oldest jobs that are over, but `keep` of them; how many were forgotten."""
        ended = _job.c.state.in_(ENDED)
        with self._rows() as connection:
            last = connection.scalar(sa.select(_job.c.id).where(ended).order_by(_job.c.id.desc()).offset(keep).limit(1))
        if last is None:
            return 0
        with self._writer.transaction() as connection:
            old = list(connection.scalars(sa.select(_job.c.id).where(ended, _job.c.id <= last)))
            for at in range(0, len(old), _PORTION):
                some = old[at : at + _PORTION]
                connection.execute(sa.delete(_item).where(_item.c.job_id.in_(some)))
                connection.execute(sa.delete(_asked).where(_asked.c.job_id.in_(some)))
                connection.execute(sa.delete(_job).where(_job.c.id.in_(some)))
            return len(old)

    # --- an operator's wishes

    def retry(self, number: int, at: float) -> Job:
        """Try a job again, now, with the items that failed. NotFound; BadRequest if it runs or is done."""
        with self._writer.transaction() as connection:
            job = _get(connection, number)
            if job.state in ("running", "done"):
                raise BadRequest(f"job {number} is {job.state}")
            connection.execute(sa.update(_item).where(_item.c.job_id == number).values(failure=None))
            changes = {"state": "waiting", "attempts": 0, "next_at": at, "progressed_at": at, "updated_at": at}
            connection.execute(sa.update(_job).where(_job.c.id == number).values(failed=0, **changes))
            return _get(connection, number)

    def cancel(self, number: int, at: float) -> Job:
        """Do not perform a job any more; one that runs is stopped by whoever performs it. NotFound; BadRequest if it is
        over."""
        with self._writer.transaction() as connection:
            job = _get(connection, number)
            if job.state in ENDED:
                raise BadRequest(f"job {number} is {job.state}")
            connection.execute(sa.update(_job).where(_job.c.id == number).values(state="cancelled", updated_at=at))
            return _get(connection, number)


def _tried(kind: str, target: str) -> tuple[sa.ColumnElement[bool], ...]:
    waits = _job.c.state == "waiting", _job.c.kind == kind, _job.c.target == target
    return *waits, _job.c.attempts > 0, _job.c.key != ASKED


def _free(kinds: Collection[str], busy: Collection[tuple[str, str]]) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [_job.c.state == "waiting", _job.c.kind.in_(sorted(kinds))]
    if busy:
        conditions.append(sa.tuple_(_job.c.kind, _job.c.target).not_in(sorted(busy)))
    return conditions


def _get(connection: sa.Connection, number: int) -> Job:
    row = connection.execute(sa.select(*_COLUMNS).where(_job.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no job {number}")
    return _of(row)


def _runs(connection: sa.Connection, number: int) -> bool:
    return connection.scalar(sa.select(_job.c.state).where(_job.c.id == number)) == "running"


def _remove(connection: sa.Connection, number: int, uids: Sequence[str], *, failed: bool = False) -> int:
    """How many items of a job, of those still to be done or of the `failed`, are none any more."""
    which = _item.c.failure.is_not(None) if failed else _item.c.failure.is_(None)
    return connection.execute(sa.delete(_item).where(_item.c.job_id == number, _item.c.uid.in_(uids), which)).rowcount


def _mark(connection: sa.Connection, number: int, uid: str, why: str) -> int:
    mark = sa.update(_item).where(_item.c.job_id == number, _item.c.uid == uid, _item.c.failure.is_(None))
    return connection.execute(mark.values(failure=why[:_ERROR_LENGTH])).rowcount
