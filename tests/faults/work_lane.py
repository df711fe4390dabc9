"""Works on steps until it is killed: work_lane.py FOLDER GENERATION. Says what is acknowledged, a line each."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from isocenter.archive.archive import Archive
from isocenter.settings import Settings
from work_objects import begun, data_set, ended, performed, scheduled, workitem

LOCK = "1.2.826.77"


def say(word: str, uid: str) -> None:
    sys.stdout.write(f"{word} {uid}\n")
    sys.stdout.flush()


async def one(archive: Archive, uid: str) -> None:
    await archive.work.create(workitem(), uid)
    say("SCHEDULED", uid)
    await archive.work.change_state(uid, "IN PROGRESS", LOCK)
    say("IN_PROGRESS", uid)
    await archive.work.set(uid, performed(), LOCK)
    await archive.work.change_state(uid, "COMPLETED", LOCK)
    say("COMPLETED", uid)
    await archive.modality.schedule(scheduled(uid, "S1"))
    await archive.modality.create(f"{uid}.1", begun(uid, "S1"))
    say("begun", uid)
    await archive.modality.set(f"{uid}.1", ended())
    say("ended", uid)
    reference = {"ReferencedSOPClassUID": "1.2", "ReferencedSOPInstanceUID": "1.3"}
    await archive.commitments.request(f"{uid}.2", data_set(ReferencedSOPSequence=[reference]))
    say("asked", uid)


async def main(folder: Path, generation: int) -> None:
    archive = await Archive.open(folder, Settings(archive_minimum_free=0))
    if generation == 1:
        await archive.work.subscribe("1.2.840.10008.5.1.4.34.5", "WATCHER")

    async def worker(number: int) -> None:
        for step in range(100_000):
            await one(archive, f"1.8.{generation}.{number}.{step}")

    say("ready", "-")
    await asyncio.gather(*(worker(number) for number in range(1, 4)))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
