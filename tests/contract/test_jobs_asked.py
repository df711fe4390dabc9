"""Jobs that wait for what a peer is to report: their rows, while they wait and when the report comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from isocenter.index import schema
from isocenter.index.jobs import ASKED, Job, Wanted
from isocenter.index.sql import SqlIndex
from isocenter.index.sql_jobs import SqlJobs

NOW = 1_000_000.0
KIND = "commitment-request"


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[SqlJobs]:
    index = SqlIndex(tmp_path / "index.sqlite")
    yield index.jobs
    index.close()


def running(rows: SqlJobs, *items: str, target: str = "pacs", at: float = NOW) -> Job:
    rows.add([Wanted(KIND, target, items=items)], at)
    job = rows.claim(at, [KIND])
    assert job is not None
    return job


def awaiting(rows: SqlJobs, transaction: str, *items: str, until: float = NOW + 3600) -> Job:
    """A job that asked, and waits for the report."""
    job = running(rows, *items)
    assert rows.asked(job.id, transaction, NOW)
    assert rows.end(job.id, "waiting", NOW, next_at=until)
    return rows.get(job.id)


def failures(rows: SqlJobs, job: Job) -> dict[str, str]:
    return dict(rows.failures(job.id))


def test_what_follows_from_an_outcome_is_written_with_it_or_not_at_all(rows: SqlJobs) -> None:
    job = running(rows, "1.1", "1.2")
    follows = Wanted(KIND, "other", items=["1.1 1.2.3"])
    assert rows.progress(job.id, NOW, done=["1.1"], then=[follows])
    assert ["1.1 1.2.3"] == [item for _, item in rows.items(job.id + 1, 0, 9)]
    rows.cancel(job.id, NOW)
    assert not rows.progress(job.id, NOW, done=["1.2"], then=[follows])
    assert not rows.asked(job.id, "1.9", NOW)
    assert 2 == len(rows.listed())
    assert rows.reported("1.9", NOW, done=["1.2"], failed={}) is None


def test_nothing_joins_a_job_that_has_asked_and_it_is_not_hastened(rows: SqlJobs) -> None:
    job = awaiting(rows, "1.9", "1.1")
    assert ASKED == job.key
    [other] = rows.add([Wanted(KIND, "pacs", items=["1.2"], gather=60.0)], NOW + 1)
    assert other != job.id
    rows.hasten(KIND, "pacs", NOW + 1)
    assert job.next_at == rows.get(job.id).next_at


def test_a_restart_does_not_ask_again_before_its_time_and_a_clock_set_back_does_not_keep_it(rows: SqlJobs) -> None:
    job = awaiting(rows, "1.9", "1.1")
    rows.recover(NOW, lambda attempts: 0.0, 900.0, 14400.0)
    assert NOW + 3600 == rows.get(job.id).next_at
    rows.recover(NOW - 86400, lambda attempts: 0.0, 900.0, 14400.0)
    assert NOW - 86400 + 14400 == rows.get(job.id).next_at


def test_a_report_settles_the_items_of_its_job_and_no_others(rows: SqlJobs) -> None:
    job, other = awaiting(rows, "1.9", "1.1", "1.2", "1.3"), awaiting(rows, "1.8", "1.1", "1.7")
    told = rows.reported("1.9", NOW + 5, done=["1.1", "1.7", "1.1"], failed={"1.2": "0112", "1.6": "0110"})
    assert told is not None
    assert (job.id, "waiting", 1, 1, NOW + 3600) == (told.id, told.state, told.done, told.failed, told.next_at)
    assert {"1.2": "0112"} == failures(rows, job)
    assert (0, 0) == (rows.get(other.id).done, rows.get(other.id).failed)
    # A second report of it, another one of it, and what it says last counts.
    again = rows.reported("1.9", NOW + 6, done=["1.1"], failed={"1.2": "0112"})
    assert again is not None
    assert (1, 1) == (again.done, again.failed)
    assert rows.claim(NOW + 3600, [KIND]) is not None
    assert rows.asked(job.id, "1.10", NOW + 3600)
    healed = rows.reported("1.10", NOW + 3601, done=["1.2"], failed={"1.3": "0110"})
    assert healed is not None
    assert ("running", 2, 1) == (healed.state, healed.done, healed.failed)
    assert {"1.3": "0110"} == failures(rows, job)


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_with_nothing_left_a_job_is_due_though_it_was_given_up(rows: SqlJobs, state: str) -> None:
    job = awaiting(rows, "1.9", "1.1", "1.2")
    if state == "failed":
        assert rows.claim(NOW + 3600, [KIND]) is not None
        rows.end(job.id, "failed", NOW + 3600, error="given up")
    partly = rows.reported("1.9", NOW + 4000, done=["1.1"], failed={}, error="not committed yet")
    assert partly is not None
    assert (state, "not committed yet") == (partly.state, partly.last_error)
    whole = rows.reported("1.9", NOW + 4001, done=["1.2"], failed={})
    assert whole is not None
    assert ("waiting", NOW + 4001, 0) == (whole.state, whole.next_at, whole.left)


def test_transactions_are_forgotten_with_their_jobs_and_go_along_into_a_new_index(
    rows: SqlJobs, tmp_path: Path
) -> None:
    job = awaiting(rows, "1.9", "1.1")
    awaiting(rows, "1.8", "1.2")
    other = SqlIndex(tmp_path / "rebuilt.sqlite")
    assert 2 == other.jobs.take_over(rows)
    told = other.jobs.reported("1.9", NOW, done=["1.1"], failed={})
    assert told is not None
    assert (job.id, 1) == (told.id, told.done)
    other.close()
    rows.cancel(job.id, NOW)
    assert 1 == rows.prune(0)
    assert rows.reported("1.9", NOW, done=["1.1"], failed={}) is None
    assert rows.reported("1.8", NOW, done=[], failed={}) is not None
    with rows._rows() as connection:
        assert 1 == connection.scalar(sa.select(sa.func.count()).select_from(schema.job_asked))
