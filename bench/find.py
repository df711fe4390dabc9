"""C-FIND over 100,000 studies and 1,000,000 instances: the first answer, and answers a second at IMAGE level.

No peer can be filled with a million instances in the time of a benchmark, so the figures stand beside the goals
themselves ("wanted"). The index is filled through `SqlIndex.apply`, as `serve` does, with the keys of CT images; there
are no files behind it, which C-FIND does not need. It is kept for the next run in ISOCENTER_BENCH_DIR (default:
/dev/shm, 3 GB); making it takes some minutes and is not part of any figure.

One study has ten series of 2,000 images, the others have one of nine or ten. The SCU (asker.py) takes the answers on
one association and only counts them.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import asker
import harness
import objects
from harness import peers
from isocenter.index.base import Entry
from isocenter.index.keys import Keys, Part, extract_image, extract_upper
from isocenter.index.sql import SqlIndex
from isocenter.model import Origin
from isocenter.wire.dicomjson import dataset_json

STUDIES, INSTANCES = 100_000, 1_000_000
LARGE_SERIES, LARGE_IMAGES = 10, 2_000
BATCH = 5_000
FIRST_MS, RATE = 5.0, 20_000.0
TIMES = 20
LEVEL, STUDY, SERIES, INSTANCE = 0x00080052, 0x0020000D, 0x0020000E, 0x00080018
PATIENT, NAME = 0x00100020, 0x00100010
SOP_CLASS, NUMBER, ROWS, COLUMNS = 0x00080016, 0x00200013, 0x00280010, 0x00280011
IMAGE_KEYS = {tag: ("UI" if tag < NUMBER else "IS", "") for tag in (INSTANCE, SOP_CLASS, NUMBER)}
IMAGE_KEYS |= {ROWS: ("US", ""), COLUMNS: ("US", "")}


def study_uid(number: int) -> str:
    return f"{objects.ROOT}.7.{1_000_000 + number}"


def series_uid(study: int, number: int) -> str:
    return f"{study_uid(study)}.{number}"


# --- the index ------------------------------------------------------------------------------------------------------


def images_of(study: int) -> Iterator[tuple[int, int]]:
    """Series and image numbers."""
    if study == 0:
        yield from ((series, image) for series in range(1, LARGE_SERIES + 1) for image in range(1, LARGE_IMAGES + 1))
        return
    small = INSTANCES - LARGE_SERIES * LARGE_IMAGES
    more = small - 9 * (STUDIES - 1)
    yield from ((1, image) for image in range(1, 11 if study <= more else 10))


def entries() -> Iterator[Entry]:
    """A million instances: the keys of one CT, other UIDs, names, numbers, dates and places."""
    template = objects.template(39 * 1024, 0)
    pixels = template.data_set.index(b"\xe0\x7f\x10\x00OW")
    kept = dict(dataset_json(template.data_set[:pixels], objects.EXPLICIT_LITTLE))
    origin = Origin("dimse", "127.0.0.1:1", "BENCH", "BENCH")
    number = 0
    for study in range(STUDIES):
        uid, patient = study_uid(study), f"P{study // 2:06d}"
        kept["0020000D"] = {"vr": "UI", "Value": [uid]}
        kept["00100020"] = {"vr": "LO", "Value": [patient]}
        kept["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": f"Family{study // 2 % 5000}^Given{study % 700}"}]}
        kept["00080050"] = {"vr": "SH", "Value": [f"A{study:07d}"]}
        kept["00080020"] = {"vr": "DA", "Value": [f"20{study % 25:02d}{study % 12 + 1:02d}{study % 28 + 1:02d}"]}
        series_of: dict[int, Part] = {}
        for series, image in images_of(study):
            kept["0020000E"] = {"vr": "UI", "Value": [series_uid(study, series)]}
            if series not in series_of:
                upper = extract_upper(kept)
                series_of[series] = upper.series
            instance = f"{uid}.{series}.{image}"
            kept["00080018"] = {"vr": "UI", "Value": [instance]}
            kept["00200013"] = {"vr": "IS", "Value": [image]}
            kept["00200032"] = {"vr": "DS", "Value": [-158.1, -179.0, -75.7 - image]}
            own, sop_class, frames = extract_image(kept)
            keys = Keys(upper.study, series_of[series], own, upper.patient, upper.modality, sop_class, frames)
            number += 1
            digest = number.to_bytes(32, "big")
            yield Entry(
                keys, objects.EXPLICIT_LITTLE, f"none/{number}", 40_000, 400, digest, digest, origin,
                "2026-01-01T00:00:00+00:00",
            )  # fmt: skip


def filled(folder: Path, note: Callable[[str], None]) -> Path:
    """A data folder with the index, made if it is not there."""
    data = folder / f"isocenter-index-{STUDIES}-{INSTANCES}"
    if (data / "index.sqlite").exists():
        SqlIndex(data / "index.sqlite").close()  # brings an older schema up to date, which takes its time
        return data
    making = data.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    index = SqlIndex(making / "index.sqlite")
    begin, done, coming = time.monotonic(), 0, entries()
    while batch := list(islice(coming, BATCH)):
        index.apply(batch, "keep-first")
        done += len(batch)
        if done % 50_000 == 0:
            note(f"index: {done:,} of {INSTANCES:,} instances after {time.monotonic() - begin:.0f} s")
    index.close()
    making.rename(data)
    return data


# --- the questions --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Question:
    """Keys, whether relational queries are negotiated, after how many answers it is enough, and how many are due."""

    name: str
    keys: dict[int, tuple[str, str]]
    due: int
    relational: bool = False
    enough: int = 1 << 62


def _level(name: str, **keys: str) -> dict[int, tuple[str, str]]:
    vrs = {"study": (STUDY, "UI"), "series": (SERIES, "UI"), "patient": (PATIENT, "LO"), "person": (NAME, "PN")}
    given = {vrs[key][0]: (vrs[key][1], value) for key, value in keys.items()}
    return {LEVEL: ("CS", name), **(IMAGE_KEYS if name == "IMAGE" else {}), **given}


FIRST = (
    Question("STUDY by Patient ID", _level("STUDY", patient="P012345", study=""), 2),
    Question("STUDY by name", _level("STUDY", person="FAMILY123^*", study=""), 20),
    Question("STUDY, all", _level("STUDY", study="", patient=""), STUDIES, enough=1),
    Question("IMAGE, a series of 2,000", _level("IMAGE", study=study_uid(0), series=series_uid(0, 5)), 2000, enough=1),
    Question("IMAGE, all", _level("IMAGE", study="", series="", patient=""), INSTANCES, relational=True, enough=1),
)
RATES = (
    Question("IMAGE, a series of 2,000", _level("IMAGE", study=study_uid(0), series=series_uid(0, 5)), 2000),
    Question("IMAGE, of all", _level("IMAGE", study="", series="", patient=""), 100_000, True, 100_000),
)


def first_ms(port: int, question: Question) -> float:
    """Milliseconds to the first answer, the best of some on an association that was used before."""
    association = asker.Asker(port, "BENCH", [asker.Context(asker.STUDY_FIND)], bytes([question.relational]))
    keys = asker.identifier(question.keys)
    times = []
    for _ in range(TIMES):
        first, count, _ = association.find(keys, question.enough)
        if count != min(question.due, question.enough):
            raise RuntimeError(f"{question.name}: {count} answers")
        times.append(first * 1000)
    association.release()
    return sorted(times[1:])[len(times) // 2]


def rate(port: int, question: Question) -> float:
    """Answers a second, from the request on."""
    association = asker.Asker(port, "BENCH", [asker.Context(asker.STUDY_FIND)], bytes([question.relational]))
    _, count, seconds = association.find(asker.identifier(question.keys), question.enough)
    if count != question.due:
        raise RuntimeError(f"{question.name}: {count} answers instead of {question.due}")
    association.release()
    return count / seconds


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    folder = options.folder or Path(os.environ.get("ISOCENTER_BENCH_DIR", "/dev/shm"))
    data = filled(folder, lambda text: print(text, file=sys.stderr))
    dimse, http = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", data, "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-") as name:
        log = Path(name) / "isocenter.log"
        with harness.isocenter(*arguments, "--aet", "BENCH", ports=[dimse, http], log=log):
            comparisons = [
                harness.Comparison(
                    f"first answer: {one.name}", "ms", lambda one=one: first_ms(dimse, one),
                    {"wanted": lambda: FIRST_MS}, 1.0, "lower",
                )
                for one in FIRST
            ] + [
                harness.Comparison(
                    f"answers: {one.name}", "answers/s", lambda one=one: rate(dimse, one), {"wanted": lambda: RATE}, 1.0
                )
                for one in RATES
            ]  # fmt: skip
            harness.run("find", "C-FIND over a million instances", comparisons, options, data)


if __name__ == "__main__":
    main()
