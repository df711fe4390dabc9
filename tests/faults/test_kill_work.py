"""Kill -9 while steps of work are created, claimed, completed, performed, and commitment is asked for.

After each everything that was acknowledged is there, what was under way happened wholly or not at all, whoever is
subscribed has a report of each state that a step came to and of none that it did not, and the next process goes on.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from isocenter.archive.archive import Archive
from isocenter.archive.commitments import COMMITMENT_WEB
from isocenter.index.work import StepQuery
from isocenter.settings import Settings

LANE = Path(__file__).parent / "work_lane.py"
KILLS = 6
LOCK = "1.2.826.77"
ORDER = ("SCHEDULED", "IN PROGRESS", "COMPLETED")

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]


def killed(folder: Path, generation: int, pause: float) -> list[tuple[str, str]]:
    """What a process acknowledged before it was killed."""
    process = subprocess.Popen([sys.executable, str(LANE), str(folder), str(generation)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as stdout:
        assert stdout.readline() == b"ready -\n"
        lines = [stdout.readline() for _ in range(40)]
        time.sleep(pause)
        process.kill()
        lines += stdout.readlines()
    assert process.wait() == -9
    whole = [line.decode() for line in lines if line.endswith(b"\n")]
    return [(word, uid) for word, uid in (line.split() for line in whole)]


async def verified(folder: Path, said: dict[str, set[str]]) -> None:
    archive = await Archive.open(folder, Settings(archive_minimum_free=0))
    reports = defaultdict[str, list[str]](list)
    since = 0
    while some := await asyncio.to_thread(archive.work._rows.reports, "WATCHER", since, 500):
        since = some[-1].seq
        for report in some:
            if "00741000" in report.information:
                reports[report.uid] += report.information["00741000"]["Value"]
    steps = {step.uid: step for step in await archive.work.find(StepQuery("unified"))}
    assert {uid for uid, words in said.items() if "SCHEDULED" in words} <= set(steps)
    for uid, step in steps.items():
        reached = ORDER.index(step.state)
        words = said.get(uid, set())
        assert reached >= ("IN_PROGRESS" in words) + ("COMPLETED" in words)
        assert step.attributes["00741000"]["Value"] == [step.state]
        assert (step.transaction == LOCK) == (step.state != "SCHEDULED")
        assert (len(step.attributes["00741216"].get("Value", ())) == 1) or step.state != "COMPLETED"
        assert reports[uid] == list(ORDER[: reached + 1])
        if "begun" in words:
            model = await archive.modality.get(f"{uid}.1")
            assert model["00400252"]["Value"][0] in (
                ["COMPLETED"] if "ended" in words else ["IN PROGRESS", "COMPLETED"]
            )
    asked = [uid for uid, words in said.items() if "asked" in words]
    archive.jobs.start({COMMITMENT_WEB: archive.commitments})
    for uid in asked[-3:]:
        answer = await archive.commitments.result(f"{uid}.2", 30.0)
        assert answer is not None
        assert answer["00081198"]["Value"][0]["00081155"]["Value"] == ["1.3"]
    await archive.close()


def test_acknowledged_work_outlives_kill_9(tmp_path: Path) -> None:
    said = defaultdict[str, set[str]](set)
    chance = random.Random(5)
    for generation in range(1, KILLS + 1):
        for word, uid in killed(tmp_path, generation, chance.random() * 0.3):
            said[uid].add(word)
        asyncio.run(verified(tmp_path, said))
    assert any("asked" in words for words in said.values())
