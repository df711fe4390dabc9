"""The study list at 100,000 studies: what a page of 100 rows costs the archive, anywhere in any order or search.

Processor time of the process, user and system, for one question of the web skin to the index (the rows of a page or the
counts beside it), after one of the same to warm the page cache: what a person waits for besides the network. The
figures stand beside the goal ("wanted"): below 50 ms nobody sees a list catch up. The index is filled as find.py fills
its own, with studies of one object that have names, dates, descriptions and modalities as hospitals have them.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import harness
from isocenter.index.base import Entry
from isocenter.index.sql import SqlIndex
from isocenter.model import Equal, Level, Order, Query
from isocenter.testing.index_suite import entry

STUDIES = 100_000
PAGE = 100
GOAL_MS = 50.0
BATCH = 5000
NAME, DATE, TIME, DESCRIPTION, MODALITIES, IMAGES = (
    0x00100010,
    0x00080020,
    0x00080030,
    0x00081030,
    0x00080061,
    0x00201208,
)
NEWEST = (Order(DATE, descending=True), Order(TIME, descending=True))
FAMILIES = ("Kim", "Lee", "Park", "Hong", "Smith", "Garcia", "Nguyen", "Tanaka", "Müller", "Rossi")
PARTS = ("Chest", "Abdomen with contrast", "Brain", "Knee left", "Spine lumbar", "Pelvis")
KINDS = ("CT", "MR", "CR", "DX", "US", "MG", "NM", "PT")


def entries() -> Iterator[Entry]:
    chance = random.Random(1)
    for number in range(STUDIES):
        uid, modality = f"2.25.{number + 1}", chance.choice(KINDS)
        yield entry(
            uid, f"{uid}.1", f"{uid}.1.1",
            x00100010=f"{chance.choice(FAMILIES)}^Given{chance.randrange(5000)}",
            x00100020=f"P{number // 2:06d}",
            x00080020=f"{chance.randrange(2005, 2026)}{chance.randrange(1, 13):02d}{chance.randrange(1, 29):02d}",
            x00080030=f"{chance.randrange(24):02d}{chance.randrange(60):02d}00",
            x00080050=f"A{chance.randrange(10**7):07d}",
            x00080060=modality,
            x00081030=f"{modality} {chance.choice(PARTS)}" if number % 10 else "",
        )  # fmt: skip


def filled(folder: Path) -> Path:
    """The index, made if it is not there."""
    data = folder / f"isocenter-list-{STUDIES}"
    if not (data / "index.sqlite").exists():
        making = data.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        index = SqlIndex(making / "index.sqlite")
        coming = entries()
        while batch := list(islice(coming, BATCH)):
            index.apply(batch, "keep-first")
        index.close()
        making.rename(data)
    return data


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    data = filled(options.folder or Path(os.environ.get("ISOCENTER_BENCH_DIR", "/dev/shm")))
    index = SqlIndex(data / "index.sqlite")

    def cost(ask: Callable[[], object]) -> float:
        ask()
        before = time.process_time()
        ask()
        return (time.process_time() - before) * 1000

    def page(*order: Order, at: int = 0, words: tuple[str, ...] = (), modality: str = "") -> Callable[[], float]:
        matches = (Equal(MODALITIES, (modality,)),) if modality else ()
        query = Query(Level.STUDY, matches, limit=PAGE + 1, offset=at, words=words, order=order)
        return lambda: cost(lambda: list(index.find(query)))

    searched = Query(Level.STUDY, words=("hong",))
    figures: dict[str, Callable[[], float]] = {
        "newest first, first page": page(*NEWEST),
        "newest first, page 999": page(*NEWEST, at=STUDIES - 2 * PAGE),
        "by name, page 500": page(Order(NAME), at=STUDIES // 2),
        "by description, page 999": page(Order(DESCRIPTION), at=STUDIES - 2 * PAGE),
        "by number of images, first page": page(Order(IMAGES, descending=True)),
        "a word in a tenth of them, first page": page(*NEWEST, words=("hong",)),
        "the same, page 80": page(*NEWEST, words=("hong",), at=80 * PAGE),
        "two words of few": page(*NEWEST, words=("given77", "brain")),
        "one modality by name, page 100": page(Order(NAME), modality="CT", at=100 * PAGE),
        "how many a word finds": lambda: cost(lambda: index.count(searched)),
        "how many of each modality": lambda: cost(lambda: index.tally(searched)),
    }
    comparisons = [
        harness.Comparison(f"list: {name}", "ms of CPU", ours, {"wanted": lambda: GOAL_MS}, 1.0, "lower")
        for name, ours in figures.items()
    ]
    harness.run("list", "The study list at 100,000 studies", comparisons, options, data)
    index.close()


if __name__ == "__main__":
    main()
