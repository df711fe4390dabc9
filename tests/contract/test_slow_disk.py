"""Storing on a disk that takes its time, beside another process that has to write to the index."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from fault_objects import CT, EXPLICIT, ORIGIN, SETTINGS, data_set
from isocenter.archive import commit
from isocenter.archive.archive import Archive
from isocenter.index.jobs import Wanted
from isocenter.index.sql import jobs_beside
from isocenter.store.filesystem import FileWriter

COUNT = 200
SYNC = 0.02  # seconds for each
BUSY = 1.5  # that the other process waits, of COUNT * SYNC that they take together


def test_another_process_need_not_wait_for_a_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = FileWriter.sync

    def slow(writer: FileWriter) -> None:
        time.sleep(SYNC)
        sync(writer)

    async def one(archive: Archive, number: int) -> str:
        uid = f"1.9.1.1.{number}"
        incoming = archive.begin(ORIGIN, transfer_syntax=EXPLICIT, sop_class=CT, sop_instance=uid)
        incoming.write([data_set(uid, 500)])
        return (await incoming.commit()).kind

    def beside(over: threading.Event) -> int:
        """Writes until it is over; what it meets is raised."""
        written = 0
        with jobs_beside(tmp_path / "index.sqlite", busy_seconds=BUSY) as jobs:
            while not over.is_set():
                jobs.add([Wanted("forward", "there", items=[f"1.{written}"])], time.time())
                written += 1
        return written

    async def scenario() -> None:
        async with await Archive.open(tmp_path, SETTINGS) as archive:
            monkeypatch.setattr(FileWriter, "sync", slow)
            over = threading.Event()
            other = asyncio.create_task(asyncio.to_thread(beside, over))
            kinds = await asyncio.gather(*(one(archive, number) for number in range(1, COUNT + 1)))
            over.set()
            assert {"stored"} == set(kinds)
            assert await other > 0

    monkeypatch.setattr(commit, "_HELD", 0.2, raising=False)
    asyncio.run(scenario())
