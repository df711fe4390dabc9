"""Transcoding on all cores: what the command reaches beside others, and beside its codecs alone.

CT files of 512 KiB in a folder: `isocenter transcode` beside as many gdcmconv or dcmcjpeg at a time as there are cores,
one process a file, and beside pydicom with pylibjpeg in as many processes. Others work on a tenth of the files, each of
which costs them the same. Nobody else writes HTJ2K: DCMTK's lossless JPEG takes least time of what others write.

`processor time` is what one file costs, the start of the command included, beside the codec alone on the same samples:
what is left for reading, describing, writing and counting. `memory` is the most that any of the command's processes
has while one object of 4 GiB, native and then compressed, goes through it.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

import harness
import peers
from isocenter.pixels.codecs import encode
from isocenter.pixels.layout import Layout
from isocenter.std.transfer_syntaxes import TRANSFER_SYNTAXES
from measured import measured
from pixels import part10, pictures

NATIVE = "1.2.840.10008.1.2.1"
UIDS = {row.keyword: uid for uid, row in TRANSFER_SYNTAXES.items()}
PIXELS, LAYOUT, _ = pictures()["CT 512 x 512, 16 bits"]
CORES = os.cpu_count() or 1
SIDE, FRAMES = 2048, 511  # of 8 MiB each: little less than the 4 GiB that a data element can have
WANTED = 500.0  # MB


def scans(folder: Path, count: int) -> Path:
    """A folder of `count` CT slices of 512 KiB."""
    made = folder / f"{count} scans"
    made.mkdir()
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.Rows = ds.Columns = 512
    del ds.DataSetTrailingPadding
    ds.PixelData = PIXELS.tobytes()
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        ds.InstanceNumber = number + 1
        ds.save_as(made / f"{number:05}.dcm")
    return made


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """A folder with nothing in it, and gone afterwards."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    yield out
    shutil.rmtree(out)


def rate(source: Path, work: Callable[[Path], None]) -> float:
    """Objects a second; each must have been written."""
    count = len(list(source.iterdir()))
    with emptied(source.parent) as out:
        start = time.perf_counter()
        work(out)
        seconds = time.perf_counter() - start
        assert len(list(out.iterdir())) == count
    return count / seconds


def command(source: Path, keyword: str, out: Path) -> tuple[float, float]:
    """The command, with what it takes to start: seconds of processor time, and the largest process in MB (10^6)."""
    program = Path(sys.executable).with_name("isocenter")
    used = measured([program, "transcode", source, "--to", keyword, "-o", out])
    if used.returncode:
        raise RuntimeError(f"isocenter transcode ended with {used.returncode}")
    return used.seconds, used.peak / 1e6


SPENT: defaultdict[str, list[float]] = defaultdict(list)
"""Seconds of processor time of each run of the command, by what it was to make: measured once, shown in two rows."""


def by_us(source: Path, keyword: str) -> Callable[[Path], None]:
    """What a person runs."""
    return lambda out: SPENT[keyword].append(command(source, keyword, out)[0])


def by_program(source: Path, *arguments: str) -> Callable[[Path], None]:
    """One process a file, as many at a time as there are cores."""

    def work(out: Path) -> None:
        names = "\n".join(path.name for path in source.iterdir())
        argv = ["xargs", "-P", str(CORES), "-I{}", *arguments, f"{source}/{{}}", f"{out}/{{}}"]
        subprocess.run(argv, input=names, text=True, check=True, capture_output=True)

    return work


def _compress(task: tuple[Path, Path]) -> None:
    source, target = task
    ds = pydicom.dcmread(source)
    ds.compress(pydicom.uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    ds.save_as(target)


def by_pydicom(source: Path) -> Callable[[Path], None]:
    """Forked processes, all imported before."""

    def work(out: Path) -> None:
        with multiprocessing.get_context("fork").Pool(CORES) as pool:
            pool.map(_compress, [(path, out / path.name) for path in source.iterdir()], chunksize=4)

    return work


def _encode(uid: str) -> int:
    return len(encode(uid, PIXELS, LAYOUT))


def codec_alone(uid: str, count: int) -> float:
    """Objects a second on all cores, if there were nothing to do but to encode."""
    with multiprocessing.get_context("fork").Pool(CORES) as pool:
        pool.map(_encode, [uid] * CORES)  # all have begun
        start = time.perf_counter()
        pool.map(_encode, [uid] * count, chunksize=4)
        return count / (time.perf_counter() - start)


def processor_time_alone(uid: str, count: int) -> float:
    """Milliseconds of processor time of encoding one."""
    start = time.process_time()
    for _ in range(count):
        _encode(uid)
    return (time.process_time() - start) / count * 1e3


def processor_time(source: Path, keyword: str) -> float:
    """Milliseconds of processor time of transcoding one."""
    if not SPENT[keyword]:
        rate(source, by_us(source, keyword))
    return SPENT[keyword].pop() / len(list(source.iterdir())) * 1e3


def transcodings(folder: Path, count: int) -> list[harness.Comparison]:
    """Objects a second, and what each costs."""
    peers.require("gdcmconv", "dcmcjpeg")
    gdcmconv, dcmcjpeg = (str(peers.find_program(name)) for name in ("gdcmconv", "dcmcjpeg"))
    source, tenth = scans(folder, count), scans(folder, count // 10)
    to_j2k: dict[str, harness.Round] = {
        "gdcmconv": lambda: rate(tenth, by_program(tenth, gdcmconv, "--j2k")),
        "pydicom": lambda: rate(tenth, by_pydicom(tenth)),
    }
    to_jpeg: dict[str, harness.Round] = {
        "dcmcjpeg, to JPEG Lossless": lambda: rate(tenth, by_program(tenth, dcmcjpeg, "+e1"))
    }
    found = []
    for name, keyword, others in (
        ("JPEG 2000", "JPEG2000Lossless", to_j2k),
        ("HTJ2K", "HTJ2KLossless", to_jpeg),
    ):
        uid = UIDS[keyword]
        alone = {"the codec alone": functools.partial(codec_alone, uid, count // 10)}
        found += [
            harness.Comparison(
                f"transcode {count:,} CTs to {name}", "objects/s",
                lambda keyword=keyword: rate(source, by_us(source, keyword)), others, 1.0, bounds=alone,
            ),
            harness.Comparison(
                f"transcode a CT to {name}, processor time", "ms CPU",
                functools.partial(processor_time, source, keyword),
                {"the codec alone": functools.partial(processor_time_alone, uid, count // 10)}, None, "lower",
            ),
        ]  # fmt: skip
    return found


# --- memory ---------------------------------------------------------------------------------------------------------


def long_object(path: Path) -> Path:
    """A native object of nearly 4 GiB: a CT slice in frames of 8 MiB, no two alike."""
    layout = Layout(SIDE, SIDE, 1, 16, 16, 15, True)
    header = part10(layout, NATIVE, b"", FRAMES)
    header = header[: header.index(b"\xe0\x7f\x10\x00")]
    size = SIDE * SIDE * 2
    slab = PIXELS.tobytes() * (size // PIXELS.nbytes + 1)
    with path.open("wb") as file:
        file.write(header + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", size * FRAMES))
        for number in range(FRAMES):
            file.write(slab[2 * number : 2 * number + size])
    return path


@functools.cache  # once: neither time nor the other contenders' turns change it
def peaks(folder: Path, keyword: str) -> dict[str, float]:
    """The largest process in MB, to `keyword` and back."""
    source, made, again = long_object(folder / "long.dcm"), folder / "made.dcm", folder / "again.dcm"
    there = command(source, keyword, made)[1]
    source.unlink()
    back = command(made, "ExplicitVRLittleEndian", again)[1]
    assert again.stat().st_size > SIDE * SIDE * 2 * FRAMES
    made.unlink()
    again.unlink()
    return {"there": there, "back": back}


def memory(folder: Path) -> list[harness.Comparison]:
    """One object of 4 GiB, there and back."""
    return [
        harness.Comparison(
            f"transcode 4 GiB of frames {way}, memory", "MB",
            lambda key=key: peaks(folder, "HTJ2KLossless")[key], {"wanted": lambda: WANTED}, 1.0, "lower",
        )
        for key, way in (("there", "to HTJ2K"), ("back", "from HTJ2K"))
    ]  # fmt: skip


def main() -> None:
    """The command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=1000, help="CTs that are transcoded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        wanted = [*transcodings(Path(folder), options.count), *memory(Path(folder))]
        harness.run("transcode", "Transcoding", wanted, options, Path(folder))


if __name__ == "__main__":
    main()
