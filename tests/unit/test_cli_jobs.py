"""`isocenter jobs` on the rows of a data folder, with and without somebody who has it open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isocenter.cli import exit_codes
from isocenter.cli.main import app
from isocenter.index.jobs import Wanted
from isocenter.index.sql import SqlIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqlIndex]:
    """Five jobs, one in each state, 1 to 5; the index stays open as a server's does."""
    index = SqlIndex(tmp_path / "index.sqlite")
    jobs, now = index.jobs, time.time()
    jobs.add([Wanted("forward", f"peer{n}", items=["1.2.1", "1.2.2"]) for n in range(1, 6)], now - 300)
    for state, number in (("done", 1), ("failed", 2), ("running", 3), ("cancelled", 4)):
        claimed = jobs.claim(now, ["forward"])
        assert claimed is not None
        assert claimed.id == number
        if state == "done":
            jobs.progress(number, now, done=["1.2.1", "1.2.2"])
            jobs.end(number, "done", now)
        elif state == "failed":
            jobs.progress(number, now, done=["1.2.1"], failed={"1.2.2": "C-STORE: C000 [bold]"})
            jobs.end(number, "failed", now, error="1 of 2 failed")
        elif state == "cancelled":
            jobs.cancel(number, now)
    yield index
    index.close()


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["jobs", *arguments, "--data", str(folder)])
    return done.exit_code, done.stdout, done.stderr


def listed(folder: Path, *arguments: str) -> Any:
    code, out, err = run(folder, *arguments, "--json")
    assert (0, "") == (code, err)
    return json.loads(out)


def test_the_list_is_newest_first(index: SqlIndex, tmp_path: Path) -> None:
    jobs = listed(tmp_path)
    assert [5, 4, 3, 2, 1] == [job["id"] for job in jobs]
    assert ["waiting", "cancelled", "running", "failed", "done"] == [job["state"] for job in jobs]
    assert {"kind": "forward", "target": "peer2", "total": 2, "done": 1, "failed": 1}.items() <= jobs[3].items()
    assert [5] == [job["id"] for job in listed(tmp_path, "list", "--limit", "1")]
    assert [2] == [job["id"] for job in listed(tmp_path, "list", "--state", "failed")]


def test_the_table_says_it_for_people(index: SqlIndex, tmp_path: Path) -> None:
    code, out, err = run(tmp_path)
    assert 0 == code
    [line] = [line for line in out.splitlines() if "peer2" in line]
    assert ["2", "forward", "peer2", "failed", "1/2,", "1", "failed"] == line.split()[:7]
    assert "1 of 2 failed" in line
    assert all(f"1 {state}" in err for state in ("waiting", "running", "done", "failed", "cancelled"))


def test_one_is_shown_with_what_failed(index: SqlIndex, tmp_path: Path) -> None:
    assert [{"uid": "1.2.2", "why": "C-STORE: C000 [bold]"}] == listed(tmp_path, "show", "2")["failures"]
    assert "C-STORE: C000 [bold]" in run(tmp_path, "show", "2")[1]


def test_retry_and_cancel(index: SqlIndex, tmp_path: Path) -> None:
    assert [(2, "waiting", 0)] == [(job["id"], job["state"], job["failed"]) for job in listed(tmp_path, "retry", "2")]
    assert {2: "cancelled", 3: "cancelled"} == {job["id"]: job["state"] for job in listed(tmp_path, "cancel", "2", "3")}
    assert [4, 3, 2] == [job["id"] for job in listed(tmp_path, "retry", "--state", "cancelled")]
    assert {"waiting": 4, "done": 1} == index.jobs.counts()


def test_what_cannot_be_done_is_said_and_the_rest_is_done(index: SqlIndex, tmp_path: Path) -> None:
    code, _, err = run(tmp_path, "retry", "1", "77", "2")
    assert exit_codes.SOME_FAILED == code
    assert "job 1 is done" in err
    assert "there is no job 77" in err
    assert "waiting" == index.jobs.get(2).state


@pytest.mark.parametrize("arguments", [["stop"], ["retry"], ["show", "--state", "failed"], ["--state", "ill"]])
def test_what_cannot_be_understood(index: SqlIndex, tmp_path: Path, arguments: list[str]) -> None:
    assert exit_codes.USAGE == run(tmp_path, *arguments)[0]


def test_no_data_folder(tmp_path: Path) -> None:
    code, _, err = run(tmp_path / "absent")
    assert exit_codes.NO_ARCHIVE == code
    assert "is not a data folder" in err
    assert not (tmp_path / "absent").exists()
