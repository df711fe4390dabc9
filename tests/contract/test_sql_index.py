"""The published suite on SQLite, and what only a database has: schema, damage, locks."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from isocenter.errors import ArchiveBusy, DataFolderError, IsocenterError
from isocenter.index import schema, sql_query, sql_write
from isocenter.index.base import Entry
from isocenter.index.sql import SqlIndex, jobs_beside
from isocenter.index.sql_query import plan
from isocenter.index.sql_rows import REF_COLUMNS, within
from isocenter.model import Equal, Level, Order, Query, Range, Scope, Wildcard
from isocenter.testing.index_suite import COLOR_PALETTE, IndexSuite, entry, non_patient_entry, put

MIGRATIONS = Path(schema.__file__).parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


class TestSqlIndex(IndexSuite):
    @pytest.fixture
    def index(self, path: Path) -> Iterator[SqlIndex]:
        index = SqlIndex(path)
        yield index
        index.close()


def test_migrations_make_the_schema(path: Path) -> None:
    SqlIndex(path).close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    engine.dispose()
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == schema.HEAD


def test_an_archive_from_before_instances_without_a_study_goes_on(path: Path) -> None:
    index = SqlIndex(path)
    put(index, *(entry("1", "1.1", f"1.1.{number}") for number in range(3)))
    index.delete(Scope("1", "1.1", "1.1.2"), "")
    before = [row.blob for row in index.blobs()]
    index.close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        assert not sa.inspect(connection).get_columns("instance")[1]["nullable"]
    engine.dispose()
    index = SqlIndex(path)
    assert [row.blob for row in index.blobs()] == before
    put(index, non_patient_entry(COLOR_PALETTE, "7.1"))
    assert index.last_instance() == 4  # 3 was given to an instance that is deleted
    index.close()


@pytest.mark.parametrize("scope", [Scope("1"), Scope("1", "1.1"), Scope("1", "1.1", "1.1.1"), Scope("", "", "7.1")])
def test_a_scope_is_found_without_looking_at_every_instance(path: Path, scope: Scope) -> None:
    index = SqlIndex(path)
    put(index, *(entry("1", "1.1", f"1.1.{number}") for number in range(3)), non_patient_entry(COLOR_PALETTE, "7.1"))
    asked = within(scope, *REF_COLUMNS).order_by(schema.instance.c.id)
    with index._reading.connect() as connection:
        text = asked.compile(connection, compile_kwargs={"literal_binds": True})
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert not [step for step in steps if step.startswith("SCAN")]
    assert len(index.select(scope)) == len(list(index.numbered(scope))) == (3 if scope.instance is None else 1)
    index.close()


def test_what_is_committed_survives_reopening(path: Path) -> None:
    first = SqlIndex(path)
    put(first, entry("1", "1.1", "1.1.1"))
    first.close()
    assert not Path(f"{path}-wal").exists()
    second = SqlIndex(path)
    assert len(second.select(Scope("1"))) == 1
    second.close()


def test_commits_are_durable(path: Path) -> None:
    index = SqlIndex(path)
    with index._writer.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    index.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqlIndex(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(DataFolderError, match="9999, which is newer"):
        SqlIndex(path)


def test_damage_is_explained(path: Path) -> None:
    path.write_bytes(b"this is no database, but it is long enough to look into " * 100)
    with pytest.raises(DataFolderError, match="--rebuild"):
        SqlIndex(path)


def test_a_locked_database_is_busy_and_then_not(path: Path) -> None:
    index = SqlIndex(path, busy_seconds=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ArchiveBusy):
        put(index, entry("1", "1.1", "1.1.1"))
    assert list(index.find(Query(Level.STUDY))) == []
    other.execute("ROLLBACK")
    other.close()
    assert put(index, entry("1", "1.1", "1.1.1"))[0].kind == "stored"
    index.close()


def test_another_process_writes_behind_the_transaction_that_runs(path: Path) -> None:
    """A server under load commits one group after the other, each as long as the disk takes; nobody else may have to
    find the moment between two of them by luck."""
    index = SqlIndex(path)
    groups, over = [0], threading.Event()

    def disk() -> list[Entry]:
        time.sleep(0.01)
        return []

    def commit() -> None:
        while not over.is_set():
            index.apply([entry("1", "1.1", f"1.1.{groups[0]}")], "keep-first", disk)
            groups[0] += 1

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        with jobs_beside(path) as rows:
            passed = []
            for _ in range(5):
                before = groups[0]
                with rows._writer.transaction():
                    passed.append(groups[0] - before)
    finally:
        over.set()
        thread.join()
        index.close()
    assert sorted(passed)[2] <= 3, passed


def test_opening_a_locked_database_is_busy(path: Path) -> None:
    SqlIndex(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ArchiveBusy):
        SqlIndex(path, busy_seconds=0.1)
    other.close()


def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    index = SqlIndex(path)
    put(index, entry("1", "1.1", "1.1.1"))
    good = entry("2", "2.1", "2.1.1")
    impossible = entry("3", "3.1", "3.1.1")._replace(blob=None)  # type: ignore[arg-type]
    with pytest.raises(IsocenterError, match="SQLITE_CONSTRAINT_NOTNULL"):
        put(index, good, impossible)
    assert [one.study for one in index.find(Query(Level.STUDY))] == ["1"]
    assert put(index, good)[0].kind == "stored"
    index.close()


def test_a_study_forgotten_within_a_transaction_keeps_all_its_modalities(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of few studies are remembered: one may be read anew while what it grew by is not written yet."""
    monkeypatch.setattr(sql_write, "_REMEMBERED", 1)
    index = SqlIndex(path)

    def modalities() -> list[str]:
        found = {one.study: one.attributes["00080061"]["Value"] for one in index.find(Query(Level.STUDY))}
        return list(found["1"])

    other = [entry(f"{study}", f"{study}.1", f"{study}.1.1") for study in range(2, 6)]
    put(index, entry("1", "1.1", "1.1.1"), other[0], entry("1", "1.2", "1.2.1", x00080060="MR"))
    assert modalities() == ["CT", "MR"]
    put(index, entry("1", "1.3", "1.3.1", x00080060="PT"), other[1], entry("1", "1.4", "1.4.1", x00080060="SR"))
    put(index, other[2], entry("1", "1.5", "1.5.1", x00080060="US"), other[3])
    assert modalities() == ["CT", "MR", "PT", "SR", "US"]
    index.close()


def test_lists_of_studies_take_the_short_way(path: Path) -> None:
    """A page of all studies in an order is where its index leads; one of a search comes from the narrow index."""
    index = SqlIndex(path)
    put(index, *(entry(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", x00100010=f"Doe^{n}") for n in range(1, 9)))

    def explained(query: Query) -> str:
        with index._reading.connect() as connection:
            statement = plan(query, "sqlite").page(connection, 100, 5000, schema.study.c.id, schema.study.c.attributes)
            text = statement.compile(connection, compile_kwargs={"literal_binds": True})
            return " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))

    for tag, name in {
        0x00100010: "study_by_patient_name",
        0x00100020: "study_by_patient_id",
        0x00080050: "study_by_accession_number",
        0x00080061: "study_by_modalities",
        0x00081030: "study_by_description",
    }.items():
        for descending in (False, True):
            found = explained(Query(Level.STUDY, order=(Order(tag, descending),)))
            assert f"SCAN study USING COVERING INDEX {name}" in found
            assert found.count("FOR ORDER BY") == 1  # of the page, not of all
    newest = (Order(0x00080020, descending=True), Order(0x00080030, descending=True))
    found = explained(Query(Level.STUDY, order=newest))
    assert "study_by_moment" in found
    assert found.count("FOR ORDER BY") == 1
    found = explained(Query(Level.STUDY, (Equal(0x00080061, ("CT",)),), words=("doe",), order=newest))
    assert "SCAN study USING COVERING INDEX study_in_list" in found
    index.close()


def test_searches_take_the_short_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's own plans of common searches: indexes where they lead to few, and never a sort of answers."""
    index = SqlIndex(path)
    put(index, *(entry(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", x00100010=f"Doe^{n}") for n in range(8)))

    def explained(query: Query) -> str:
        with index._reading.connect() as connection:
            statement = plan(query, "sqlite").answers(connection, sa.literal(1))
            text = statement.compile(connection, compile_kwargs={"literal_binds": True})
            return " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))

    indexed = {
        "study_by_patient_id": Equal(0x00100020, ("A",)),
        "study_by_accession_number": Wildcard(0x00080050, "A*"),
        "study_by_study_date": Range(0x00080020, "20240101", "20240131"),
        "study_by_patient_name_phonetic": Wildcard(0x00100010, "doe*"),
        "study_by_referring_physician": Equal(0x00080090, ("doe^jane",)),
    }
    for level in (Level.STUDY, Level.IMAGE):
        for name, match in indexed.items():
            found = explained(Query(level, (match,)))
            assert name in found
            assert "FOR ORDER BY" not in found
    assert "FOR ORDER BY" not in explained(Query(Level.IMAGE))
    assert "FOR ORDER BY" not in explained(Query(Level.IMAGE, (Wildcard(0x00100010, "*doe*"),)))
    series = explained(Query(Level.IMAGE, (Equal(0x0020000D, ("1",)), Equal(0x0020000E, ("1.1",)))))
    assert "instance_by_series" in series
    above = Query(Level.IMAGE, (Equal(0x0020000E, ("1.1",)), Wildcard(0x00100010, "*doe*")))
    assert "series_by_uid" in explained(above)
    monkeypatch.setattr(sql_query, "BROAD", 4)
    broad = (Wildcard(0x00100010, "doe*"), Range(0x00080020, "2024", None), Equal(0x00100020, ("P1",)))
    put(index, *(entry(f"2.{n}", f"2.{n}.1", f"2.{n}.1.1", x00080020="20240101") for n in range(8)))
    for match in broad:
        assert explained(Query(Level.STUDY, (match,))) == "SCAN study"
        images = explained(Query(Level.IMAGE, (match,)))
        assert images.startswith("SCAN study SEARCH series")
        assert "FOR ORDER BY" not in images
    index.close()
