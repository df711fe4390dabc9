"""One frame of a long object: 5,000 of 10,000, beside pydicom, and beside a frame of an object of ten.

The object lies in a file; a round opens it and takes one frame. Native pixels, a Basic and an Extended Offset Table,
no table at all; and no table after functional groups for each frame whose sequences have undefined lengths, so that
whoever comes for the first time has to walk through them. pydicom is asked as most of its users do it,
`dcmread(path).pixel_array[n]`, which decodes all, and in the ways that read least: `pixel_array(path, index=n)`, also
after `dcmread`.

"archived" is what `serve` does for the second and every later request: where frames lie was found out by the first
(`pixels/known.py`). "after a restart" is the first request of a process, after an earlier one has walked
(`pixels/kept_places.py`). Figures are milliseconds of processor time, which neighbours on the machine disturb least.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array

import harness
from isocenter.cli.dump import opened as mapped
from isocenter.pixels.codecs import encode
from isocenter.pixels.image import Image
from isocenter.pixels.kept_places import KeptPlaces
from isocenter.pixels.known import KnownImages
from isocenter.pixels.layout import Layout
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header

MANY, FEW = 10_000, 10
ALIKE = 8  # of ten: like frame 5,000 the last of four, so that both lie across as many pages of a mapped file
SIDE = 128  # large enough that ten frames are no single page of a mapped file
NATIVE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
GROUPS = "no table, functional groups"
KINDS = ("native", "Basic Offset Table", "Extended Offset Table", "no table", GROUPS)


NOISE = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE), np.uint8)


def frame(number: int) -> np.ndarray:
    """Frame `number`, from 0: no two of 128 are alike."""
    return np.roll(NOISE, number, axis=0)


def write(path: Path, kind: str, frames: int) -> Path:
    """A multi-frame object with little more than its pixels."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.826.0.1.3680043.8.498.1"
    ds.Rows = ds.Columns = SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.NumberOfFrames = 1, "MONOCHROME2", frames
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if kind == GROUPS:
        _add_groups(ds, frames)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = NATIVE if kind == "native" else RLE
    if kind == "native":
        ds.PixelData = b"".join(frame(number).tobytes() for number in range(frames))
    else:
        coded = [encode(RLE, frame(number), Layout(SIDE, SIDE)) for number in range(frames)]
        if kind == "Extended Offset Table":
            ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(coded)
        else:
            ds.PixelData = encapsulate(coded, has_bot=kind == "Basic Offset Table")
        ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


def _add_groups(ds: Dataset, frames: int) -> None:
    """Functional groups for each frame, no length of a sequence or item defined."""
    groups = []
    for number in range(frames):
        position, item = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number]
        position.is_undefined_length_sequence_item = item.is_undefined_length_sequence_item = True
        item.PlanePositionSequence = [position]
        item["PlanePositionSequence"].is_undefined_length = True
        groups.append(item)
    ds.PerFrameFunctionalGroupsSequence = groups
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = True


def milliseconds(work: Callable[[], Any], repeat: int) -> float:
    """Processor time of one call, the least of five turns of `repeat` calls."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(repeat):
            work()
        best = min(best, time.process_time() - start)
    return best / repeat * 1e3


def once(work: Callable[[], Any]) -> float:
    """Processor time of one call that takes long."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def ours(path: Path, number: int) -> None:
    """From a closed file to the pixels of frame `number`, from 1."""
    with mapped(str(path)) as buf, memoryview(buf) as view:
        meta = read_header(view)
        image = Image.of(view, meta.transfer_syntax, meta.data_set_offset)
        assert (image.frame(number) == frame(number - 1)).all()


def restarted(path: Path, number: int, folder: Path) -> None:
    """The same by a process that was not asked before, of an object through which another one has walked."""
    archived(path, number, KnownImages(64 << 20, KeptPlaces(folder / "kept", lambda name: True)))


def archived(path: Path, number: int, known: KnownImages) -> None:
    """The same when the archive has been asked before: the index knows syntax and offset, `known` the rest."""
    with mapped(str(path)) as buf, memoryview(buf) as view:
        syntax, start = known_places[path]
        with known.image(path.name, view, syntax, start, DEFAULT_LIMITS, "digest") as image:
            assert (image.frame(number) == frame(number - 1)).all()


known_places: dict[Path, tuple[str, int]] = {}


def pydicoms(path: Path, number: int) -> None:
    """pydicom's way that reads least."""
    assert (pixel_array(path, index=number - 1, raw=True) == frame(number - 1)).all()


def whole(path: Path, number: int) -> None:
    """What most code says that wants one frame."""
    array = pydicom.dcmread(path).pixel_array
    assert (array[number - 1] == frame(number - 1)).all()


def read_first(path: Path, number: int) -> None:
    """The data set, then a frame."""
    assert (pydicom.pixels.pixel_array(pydicom.dcmread(path), index=number - 1, raw=True) == frame(number - 1)).all()


def comparisons(folder: Path) -> list[harness.Comparison]:
    """Beside pydicom, and each long object beside a short one."""
    return [one for kind in KINDS for one in of_kind(folder, kind)]


def of_kind(folder: Path, kind: str) -> list[harness.Comparison]:
    """One kind of object."""
    long, short = (write(folder / f"{kind} {frames}.dcm", kind, frames) for frames in (MANY, FEW))
    known = KnownImages(64 << 20)
    for path in (long, short):
        with mapped(str(path)) as buf:
            meta = read_header(buf)
            known_places[path] = meta.transfer_syntax, meta.data_set_offset
    number = MANY // 2
    return [
        harness.Comparison(
            f"a file, {kind}: frame 5,000 of 10,000, beside pixel_array",
            "ms",
            lambda: milliseconds(lambda: ours(long, number), 5),
            {"pydicom, pixel_array[4999]": lambda: once(lambda: whole(long, number))},
            100.0,
            "lower",
        ),
        harness.Comparison(
            f"a file, {kind}: frame 5,000 of 10,000",
            "ms",
            lambda: milliseconds(lambda: ours(long, number), 5),
            {
                "pydicom": lambda: milliseconds(lambda: pydicoms(long, number), 1),
                "pydicom, dcmread first": lambda: milliseconds(lambda: read_first(long, number), 1),
            },
            100.0,
            "lower",
        ),
        harness.Comparison(
            f"archived, {kind}: frame 5,000 of 10,000",
            "ms",
            lambda: milliseconds(lambda: archived(long, number, known), 200),
            {"pydicom": lambda: milliseconds(lambda: pydicoms(long, number), 1)},
            100.0,
            "lower",
        ),
        *(
            [
                harness.Comparison(
                    f"archived, {kind}: frame 5,000 of 10,000, after a restart",
                    "ms",
                    lambda: milliseconds(lambda: restarted(long, number, folder), 5),
                    {"pydicom": lambda: milliseconds(lambda: pydicoms(long, number), 1)},
                    None,
                    "lower",
                )
            ]
            if kind in ("no table", GROUPS)
            else []
        ),
        harness.Comparison(
            f"archived, {kind}: a frame of 10,000 beside one of 10",
            "ms",
            lambda: milliseconds(lambda: archived(long, number, known), 200),
            {"of 10": lambda: milliseconds(lambda: archived(short, ALIKE, known), 200)},
            0.8,
            "lower",
        ),
    ]


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        harness.run("frames", "One frame of a long object", comparisons(Path(folder)), options, Path(folder))


if __name__ == "__main__":
    main()
