"""Pictures of files: a library call beside one process of DCMTK a picture, as a script would make them in a loop.

What is compared is processor time, of ours in this process and of DCMTK's in its own: a picture is a few milliseconds,
and what else a machine does would be most of them. A file is opened, decoded, rendered and written as PNG each time;
DCMTK's time is that of `dcmj2pnm` from its start to its end, as nothing else makes a picture with it from a script. Its
PGM output, which it does not compress, is a row of its own.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import harness
import isocenter
import peers
from isocenter.iod.presentation_state import presentation_state
from isocenter.pixels.image import Image
from isocenter.pixels.pictures import encode
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header

GOAL = 3.0  # times the speed of dcmj2pnm, as a library


def processor(work: Callable[[], object], repeat: int) -> float:
    """Processor time of one call in ms, user and system, of this process and of those it waited for."""

    def used() -> float:
        found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in found)

    work()  # imports and caches that a loop pays for once
    start = used()
    for _ in range(repeat):
        work()
    return (used() - start) / repeat * 1e3


def ct() -> Dataset:
    """A CT of 512 x 512, 16 bits signed, smooth with noise as of a scanner, and a window."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[-256:256, -256:256]
    body = np.where(rows**2 / 3 + columns**2 < 140**2, 40.0, -1000.0) + 900.0 * (np.hypot(rows + 60, columns) < 30)
    pixels = np.rint(body + rng.normal(0, 12, body.shape)).astype(np.int16)
    made = isocenter.create(pixels, modality="CT", pixel_spacing=(0.8, 0.8), window=(40, 400), patient_name="A^B")
    assert isinstance(made, Dataset)
    return made


def mammogram() -> Dataset:
    """4096 x 3328, 12 bits, as one Secondary Capture."""
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:4096, :3328]
    pixels = np.clip(3000 - (rows / 3 + columns / 2) + rng.normal(0, 20, rows.shape), 0, 4095).astype(np.uint16)
    made = isocenter.create(pixels, window=(2048, 4096))
    assert isinstance(made, Dataset)
    return made


def colours() -> Dataset:
    """512 x 512 RGB, smooth."""
    ramp = np.mgrid[:512, :512].sum(axis=0) // 5
    made = isocenter.create(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1).astype(np.uint8))
    assert isinstance(made, Dataset)
    return made


def saved(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def ours(source: Path, target: Path, state: Path | None = None) -> None:
    """A picture as our library makes it; under a state as PGM, as dcmp2pgm does."""
    content = source.read_bytes()
    meta = read_header(content)
    image = Image.of(content, meta.transfer_syntax, meta.data_set_offset)
    if state is None:
        target.write_bytes(encode(render(image), "image/png"))
        return
    kept = state.read_bytes()
    head = read_header(kept)
    picture = render(image, state=PresentationState.of(kept, head.transfer_syntax, head.data_set_offset))
    target.write_bytes(b"P5\n%d %d\n255\n" % picture.shape[::-1] + picture.tobytes())


def comparison(
    name: str, source: Path, folder: Path, *, goal: float | None = None, repeat: int = 40
) -> harness.Comparison:
    """One file by us and by dcmj2pnm, to PNG and to PGM."""
    peers.require("dcmj2pnm")
    program, target = str(peers.find_program("dcmj2pnm")), folder / "picture"
    options = [] if pydicom.dcmread(source, stop_before_pixels=True).SamplesPerPixel == 3 else ["+Wi", "1"]

    def theirs(kind: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [program, *options, kind, str(source), str(target)], check=True, capture_output=True
        )

    return harness.Comparison(
        name, "ms CPU", lambda: processor(lambda: ours(source, target), repeat),
        {
            "dcmj2pnm to PNG": lambda: processor(theirs("+on"), max(3, repeat // 4)),
        },
        goal, "lower",
        {"dcmj2pnm to PGM": lambda: processor(theirs("+op"), max(3, repeat // 4))},
    )  # fmt: skip


def under_a_state(source: Path, folder: Path) -> harness.Comparison:
    """The CT under a presentation state, by us and by dcmp2pgm."""
    peers.require("dcmp2pgm")
    program, target = str(peers.find_program("dcmp2pgm")), folder / "state.pgm"
    state = saved(presentation_state(pydicom.dcmread(source), window=(300, 1500), rotation=90), folder / "state.dcm")

    def theirs() -> None:
        subprocess.run([program, "-p", str(state), str(source), str(target)], check=True, capture_output=True)

    return harness.Comparison(
        "a CT under a presentation state, to PGM", "ms CPU", lambda: processor(lambda: ours(source, target, state), 40),
        {"dcmp2pgm": lambda: processor(theirs, 10)}, None, "lower",
    )  # fmt: skip


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        scan = saved(ct(), folder / "ct.dcm")
        wanted = [
            comparison("a CT of 512 x 512 to PNG", scan, folder, goal=GOAL),
            comparison("4096 x 3328, 12 bits, to PNG", saved(mammogram(), folder / "mg.dcm"), folder, repeat=4),
            comparison("an overlay of 484 x 484 to PNG", Path(str(get_testdata_file("examples_overlay.dcm"))), folder),
            comparison("RGB of 512 x 512 to PNG", saved(colours(), folder / "rgb.dcm"), folder),
            under_a_state(scan, folder),
        ]
        harness.run("render", "Pictures", wanted, options, folder)


if __name__ == "__main__":
    main()
