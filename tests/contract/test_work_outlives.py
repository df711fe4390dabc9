"""Steps of work and who is subscribed to them outlive the process and the index that has them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from isocenter.archive.archive import Archive
from isocenter.archive.check import rebuild
from isocenter.archive.commitments import COMMITMENT_WEB
from isocenter.index.work import StepQuery, dumped, loaded
from isocenter.model import DateTimeRange, Empty, Equal, InSequence, Match, Range, Wildcard
from isocenter.settings import Settings
from work_objects import begun, data_set, scheduled, workitem

GLOBAL = "1.2.840.10008.5.1.4.34.5"
SETTINGS = Settings(archive_minimum_free=0)


@pytest.mark.parametrize(
    "match",
    [
        Equal(0x00100020, ("17", "18")),
        Wildcard(0x00100010, "hong*"),
        Range(0x00404005, "20261122", ""),
        Empty(0x00100030),
        DateTimeRange(Range(0x00080020, "20261122", ""), Range(0x00080030, "", "12")),
        InSequence(0x00404018, (Equal(0x00080100, ("110005",)), InSequence(0x00404021, (Empty(0x00080102),)))),
    ],
)
def test_what_a_subscription_waits_for_is_kept_as_it_was_said(match: Match) -> None:
    assert loaded(dumped(match)) == match


def test_a_rebuilt_index_has_all_work(tmp_path: Path) -> None:
    async def before() -> None:
        archive = await Archive.open(tmp_path, SETTINGS)
        await archive.work.subscribe(GLOBAL, "WATCHER")
        await archive.work.create(workitem(), "1.2.1")
        await archive.work.change_state("1.2.1", "IN PROGRESS", "1.2.77")
        await archive.modality.schedule(scheduled("1.2.2", "S1"))
        await archive.modality.create("1.2.3", begun("1.2.2", "S1"))
        item = {"ReferencedSOPClassUID": "1.2", "ReferencedSOPInstanceUID": "1.3"}
        await archive.commitments.request("1.2.4", data_set(ReferencedSOPSequence=[item]))
        await archive.close()

    async def after() -> None:
        archive = await Archive.open(tmp_path, SETTINGS)
        assert (await archive.work.get("1.2.1"))["00741000"]["Value"] == ["IN PROGRESS"]
        await archive.work.set("1.2.1", data_set(ProcedureStepLabel="Read it"), "1.2.77")  # the lock is known
        done = await archive.work.change_state("1.2.1", "CANCELED", "1.2.77")
        assert done is not None
        last = await archive.work.last_report()
        told = await asyncio.to_thread(archive.work._rows.reports, "WATCHER", last - 1, 10)
        assert [report.information["00741000"]["Value"] for report in told] == [["CANCELED"]]
        (planned,) = await archive.work.find(StepQuery("scheduled"))
        assert planned.state == "STARTED"
        assert (await archive.modality.get("1.2.3"))["00400252"]["Value"] == ["IN PROGRESS"]
        archive.jobs.start({COMMITMENT_WEB: archive.commitments})
        assert (await archive.commitments.result("1.2.4", 20.0) or {})["00081198"]["Value"]
        await archive.close()

    asyncio.run(before())
    rebuild(tmp_path, SETTINGS)
    asyncio.run(after())
