"""The index on SQLite, through SQLAlchemy Core.

WAL with synchronous=FULL: a commit is on the disk when it returns (with NORMAL, power cuts lost acknowledged commits,
silently). One connection writes; readers have their own connections and see snapshots, so that no search waits for
ingest nor ingest for a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from isocenter.errors import DataFolderError
from isocenter.index import schema
from isocenter.index.base import Applied, BlobRow, Counts, Entry, MetadataRun, More, NumberedRef, Policy, Routing
from isocenter.index.migrate import revision, upgrade
from isocenter.index.sql_errors import translated
from isocenter.index.sql_jobs import SqlJobs
from isocenter.index.sql_read import SqlReader
from isocenter.index.sql_rows import REF_COLUMNS, ref_of, within
from isocenter.index.sql_work import SqlWork
from isocenter.index.sql_write import SqlWriter
from isocenter.model import Change, Found, InstanceRef, Query, Scope

# A longer log makes fewer, larger checkpoints; but while it still grows, each commit costs a journal commit more.
_CHECKPOINT_PAGES = 2000


def _engine(path: Path, busy_seconds: float, *, write: bool) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        poolclass=sa.pool.QueuePool,
        pool_size=1 if write else 4,
        max_overflow=0 if write else -1,
    )

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        # Transactions are ours to begin: the driver would begin them late and never for a SELECT. The writer's are
        # begun and ended in sql_write.
        connection.isolation_level = None
        cursor = connection.cursor()
        if write:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            cursor.execute("PRAGMA cache_size = -65536")
        else:
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("PRAGMA cache_size = -16384")
            cursor.execute("PRAGMA mmap_size = 268435456")
        cursor.close()

    if write:
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


@contextmanager
def jobs_beside(path: Path, *, busy_seconds: float = 5.0) -> Iterator[SqlJobs]:
    """The jobs of an index that another process may have open at the same time: writers take turns, and the server
    looks at its rows again and again.

    DataFolderError when the index is not there, damaged, or of another schema (the server migrates, nobody else).
    """
    if not path.exists():
        raise DataFolderError(f"{path.parent} is not a data folder of Isocenter")
    writing, reading = (_engine(path, busy_seconds, write=write) for write in (True, False))
    try:
        with translated(), reading.connect() as connection:
            found = revision(connection)
        if found != schema.HEAD:
            raise DataFolderError(f"the index has schema {found}, this version of Isocenter has {schema.HEAD}")
        with translated():
            writer = SqlWriter(writing, path.parent)
        try:
            yield SqlJobs(writer, reading)
        finally:
            writer.close()
    finally:
        reading.dispose()
        writing.dispose()


class SqlIndex:
    """Index and Housekeeping on one SQLite file; see `isocenter.index.base`."""

    def __init__(self, path: Path | str, *, busy_seconds: float = 5.0) -> None:
        """Open or make the index. DataFolderError when it is damaged, not writable or of a newer schema; ArchiveBusy
        when another process keeps it locked for `busy_seconds`."""
        self.path = Path(path)
        self._writing = _engine(self.path, busy_seconds, write=True)
        self._reading = _engine(self.path, busy_seconds, write=False)
        try:
            with translated():
                self._writer = SqlWriter(self._writing, self.path.parent)
            with self._writer.transaction() as connection:
                upgrade(connection)
        except BaseException:
            self.close()
            raise
        self._reader = SqlReader(self._reading)
        self.jobs = SqlJobs(self._writer, self._reading)
        self.work = SqlWork(self._writer, self._reading)
        self.routing: Routing | None = None

    def close(self) -> None:
        """Close every connection; the log is merged into the database by the last."""
        writer = getattr(self, "_writer", None)
        self._reading.dispose()
        if writer is not None:
            writer.close()
        self._writing.dispose()

    def apply(self, entries: Sequence[Entry], on_conflict: Policy, more: More | None = None) -> list[Applied]:
        routing = self.routing
        if routing is None:
            return self._writer.apply(entries, on_conflict, more=more)
        applied = self._writer.apply(entries, on_conflict, routing.wanted, more)
        routing.committed()
        return applied

    def delete(self, scope: Scope, reason: str, by: str = "") -> list[str]:
        return self._writer.delete(scope, reason, by)

    def find(self, query: Query) -> Iterator[Found]:
        return self._reader.find(query)

    def count(self, query: Query) -> int:
        return self._reader.count(query)

    def tally(self, query: Query) -> dict[str, int]:
        return self._reader.tally(query)

    def select(self, scope: Scope) -> list[InstanceRef]:
        return self._reader.select(scope)

    def changes(self, since: int, limit: int) -> list[Change]:
        return self._reader.changes(since, limit)

    def last_change(self) -> int:
        return self._reader.last_change()

    def counts(self) -> Counts:
        return self._reader.counts()

    def blobs(self, instances: Sequence[str] | None = None) -> Iterator[BlobRow]:
        return self._reader.blobs(instances)

    # --- housekeeping

    def fact(self, name: str) -> str | None:
        with translated(), self._reading.connect() as connection:
            return connection.scalar(sa.select(schema.fact.c.value).where(schema.fact.c.name == name))

    def set_fact(self, name: str, value: str) -> None:
        statement = sqlite_insert(schema.fact).values(name=name, value=value)
        with self._writer.transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def doomed(self) -> list[str]:
        with translated(), self._reading.connect() as connection:
            return list(connection.scalars(sa.select(schema.doomed.c.blob)))

    def forget(self, blobs: Sequence[str]) -> None:
        with self._writer.transaction() as connection:
            for at in range(0, len(blobs), 500):
                connection.execute(sa.delete(schema.doomed).where(schema.doomed.c.blob.in_(blobs[at : at + 500])))

    def last_instance(self) -> int:
        with translated(), self._reading.connect() as connection:
            return connection.scalar(sa.select(sa.func.coalesce(sa.func.max(schema.instance.c.id), 0))) or 0

    def known_blobs(self, after_instance: int) -> set[str]:
        instance = schema.instance.c
        with translated(), self._reading.connect() as connection:
            found = set(connection.scalars(sa.select(instance.blob).where(instance.id > after_instance)))
            for table in (schema.superseded, schema.doomed):
                found.update(connection.scalars(sa.select(table.c.blob)))
            return found

    def numbered(self, scope: Scope) -> list[NumberedRef]:
        statement = within(scope, schema.instance.c.series_id, schema.instance.c.id, *REF_COLUMNS)
        order = (schema.series.c.id, schema.instance.c.id)
        with translated(), self._reading.connect() as connection:
            rows = connection.execute(statement.order_by(*order))
            return [NumberedRef(row[0] or 0, row[1], ref_of(row[2:])) for row in rows]

    def metadata_runs(self, series_id: int) -> list[MetadataRun]:
        runs = schema.series_metadata
        columns = [runs.c[name] for name in MetadataRun._fields]
        statement = sa.select(*columns).where(runs.c.series_id == series_id).order_by(runs.c.last_instance)
        with translated(), self._reading.connect() as connection:
            return [MetadataRun(*row) for row in connection.execute(statement)]

    def add_metadata_run(self, run: MetadataRun) -> None:
        runs, instance = schema.series_metadata, schema.instance
        of_series = runs.c.series_id == run.series_id
        with self._writer.transaction() as connection:
            before = connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(runs.c.last_instance), 0)).where(of_series)
            ).scalar_one()
            covered = connection.scalar(
                sa.select(sa.func.count()).where(
                    instance.c.series_id == run.series_id,
                    instance.c.id > before,
                    instance.c.id <= run.last_instance,
                )
            )
            if covered == run.instance_count:
                connection.execute(sa.insert(runs).values(run._asdict()))
