"""Codecs: decoding, encoding and transcoding beside pydicom with all its plug-ins, GDCM and DCMTK.

`decode` is one frame of an object already opened, from its bytes to an array: `Image.decode` beside pydicom's decoder
with each plug-in that can do it (pylibjpeg, GDCM, pyjpegls, pillow, pydicom's own RLE). `isolated` is the same in a
process of its own, as the server has it, beside decoding in place. `transcode` are CT files in a folder, on all cores:
`isocenter transcode` beside as many gdcmconv or dcmcjpeg at a time, one process a file, and beside pydicom with
pylibjpeg in as many processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

import harness
import peers
from isocenter.pixels.codecs import CODECS, described, encode
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.isolation import isolated
from isocenter.pixels.layout import Layout
from isocenter.wire.part10 import read_header

RLE, BASELINE = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
# What is decoded, and with which loss it was made
CODED: dict[str, Loss | None] = {
    RLE: None,
    BASELINE: Loss(quality=90),
    "1.2.840.10008.1.2.4.51": Loss(quality=90),
    "1.2.840.10008.1.2.4.57": None,
    "1.2.840.10008.1.2.4.70": None,
    "1.2.840.10008.1.2.4.80": None,
    "1.2.840.10008.1.2.4.81": Loss(near=2),
    "1.2.840.10008.1.2.4.90": None,
    "1.2.840.10008.1.2.4.91": Loss(ratio=10),
    "1.2.840.10008.1.2.4.201": None,
    "1.2.840.10008.1.2.4.203": Loss(psnr=60),
}
PLUGINS = ("pylibjpeg", "gdcm", "pyjpegls", "pydicom", "pillow")


def part10(layout: Layout, transfer_syntax: str, value: bytes, frames: int = 1) -> bytes:
    """A file with little more than the Image Pixel module."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.826.0.1.3680043.8.498.1"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = layout.rows, layout.columns, layout.samples
    ds.PhotometricInterpretation, ds.NumberOfFrames = layout.photometric, frames
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = layout.bits_allocated, layout.bits_stored, layout.high_bit
    ds.PixelRepresentation = int(layout.signed)
    if layout.samples == 3:
        ds.PlanarConfiguration = 0
    ds.PixelData = value
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def opened(content: bytes) -> Image:
    meta = read_header(content)
    return Image.of(content, meta.transfer_syntax, meta.data_set_offset)


def milliseconds(work: Callable[[], Any], repeat: int) -> float:
    """Time of one call, the best of `repeat`."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def decoding(name: str, content: bytes, repeat: int) -> harness.Comparison:
    """One frame: ours beside every plug-in that decodes this file."""
    ours, ds = opened(content), pydicom.dcmread(BytesIO(content))
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    contenders = {}
    for plugin in PLUGINS:

        def work(plugin: str = plugin) -> Any:
            return decoder.as_array(ds, index=0, raw=True, decoding_plugin=plugin)

        try:
            work()
        except (ValueError, RuntimeError):  # not a plug-in of this syntax
            continue
        contenders[plugin] = lambda work=work: milliseconds(work, repeat)
    return harness.Comparison(
        f"decode {name}", "ms", lambda: milliseconds(lambda: ours.decode(1), repeat), contenders, 1.0, "lower"
    )


def pictures() -> dict[str, tuple[np.ndarray, Layout, int]]:
    """A CT slice of 512 x 512 in 16 bits and a mammogram's size in 12, both from pydicom's CT_small."""
    source = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array
    large = np.kron(source, np.ones((4, 4), source.dtype)) + np.random.default_rng(1).integers(0, 9, (512, 512))
    ct = large.astype(np.int16)
    mammogram = np.tile(np.clip(ct, 0, 4095).astype(np.uint16), (8, 7))[:4096, :3328]
    return {
        "CT 512 x 512, 16 bits": (ct, Layout(512, 512, 1, 16, 16, 15, True), 20),
        "4096 x 3328, 12 bits": (np.ascontiguousarray(mammogram), Layout(4096, 3328, 1, 16, 12, 11), 2),
    }


def fitting(uid: str, pixels: np.ndarray, layout: Layout) -> tuple[np.ndarray, Layout]:
    """The same picture in samples that the process takes: unsigned where it loses, 8 or 12 bits in JPEG."""
    encoder = CODECS[uid].encoder
    if encoder is None or encoder.loses == "never":
        return pixels, layout
    bits = min(layout.bits_stored, encoder.depths[1])
    low = int(pixels.min())
    shift = max(0, (int(pixels.max()) - low).bit_length() - bits)
    values = ((pixels.astype(np.int32) - low) >> shift).astype(np.uint8 if bits == 8 else np.uint16)
    return values, Layout(layout.rows, layout.columns, 1, 8 * values.itemsize, bits, bits - 1)


def coded(uid: str, pixels: np.ndarray, layout: Layout, loss: Loss | None) -> bytes:
    """A file with one frame."""
    frame = encode(uid, pixels, layout, loss)
    return part10(described(uid, layout, loss), uid, encapsulate([frame]))


def decodings() -> list[harness.Comparison]:
    """Every syntax that somebody else reads, at both sizes, and colour."""
    found = []
    for size, (pixels, layout, repeat) in pictures().items():
        for uid, loss in CODED.items():
            found.append(
                decoding(f"{CODECS[uid].name}, {size}", coded(uid, *fitting(uid, pixels, layout), loss), repeat)
            )
    eight = np.clip(pictures()["CT 512 x 512, 16 bits"][0] >> 4, 0, 255).astype(np.uint8)
    colour = np.stack([eight, eight[::-1], eight.T], axis=-1)
    layout = Layout(512, 512, 3, photometric="RGB")
    for uid in (RLE, BASELINE, "1.2.840.10008.1.2.4.90"):
        found.append(decoding(f"{CODECS[uid].name}, 512 x 512, colour", coded(uid, colour, layout, CODED[uid]), 20))
    return [one for one in found if one.peers]


def isolation() -> list[harness.Comparison]:
    """What it costs that a crash costs one frame only."""
    pixels, layout, repeat = pictures()["CT 512 x 512, 16 bits"]
    found = []
    for uid in ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.201"):
        image = opened(coded(uid, pixels, layout, None))

        def apart(image: Image = image) -> float:
            with isolated(1) as pool:
                pool.warm()
                return milliseconds(lambda: image.decode(1), repeat)

        in_place = {"in place": lambda image=image: milliseconds(lambda: image.decode(1), repeat)}
        name = f"decode isolated, {CODECS[uid].name}, 512 x 512, 16 bits"
        found.append(harness.Comparison(name, "ms", apart, in_place, None, "lower"))
    return found


def rle_encoding() -> harness.Comparison:
    """RLE is what pydicom encodes by itself."""
    pixels, layout, repeat = pictures()["CT 512 x 512, 16 bits"]
    encoder = pydicom.pixels.get_encoder(pydicom.uid.RLELossless)
    options = {
        "rows": 512, "columns": 512, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 16,
        "number_of_frames": 1, "pixel_representation": 1, "photometric_interpretation": "MONOCHROME2",
    }  # fmt: skip
    return harness.Comparison(
        "encode RLE, CT 512 x 512, 16 bits",
        "ms",
        lambda: milliseconds(lambda: encode(RLE, pixels, layout), repeat),
        {
            plugin: lambda plugin=plugin: milliseconds(
                lambda: encoder.encode(pixels, encoding_plugin=plugin, **options), 2
            )
            for plugin in ("pydicom", "pylibjpeg")
        },
        5.0,
        "lower",
    )


# --- transcoding ----------------------------------------------------------------------------------------------------


def scans(folder: Path, count: int) -> Path:
    """A folder of `count` CT slices of 512 KiB."""
    made = folder / "scans"
    made.mkdir()
    pixels, _, _ = pictures()["CT 512 x 512, 16 bits"]
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.Rows = ds.Columns = 512
    del ds.DataSetTrailingPadding
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        ds.InstanceNumber = number + 1
        ds.PixelData = np.roll(pixels, number, axis=1).tobytes()
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


def by_us(source: Path, keyword: str) -> Callable[[Path], None]:
    """The command, with what it takes to start."""
    program = str(Path(sys.executable).with_name("isocenter"))

    def work(out: Path) -> None:
        subprocess.run([program, "transcode", source, "--to", keyword, "-o", out], check=True, capture_output=True)

    return work


def by_program(source: Path, *arguments: str) -> Callable[[Path], None]:
    """One process a file, as many at a time as there are cores."""

    def work(out: Path) -> None:
        names = "\n".join(path.name for path in source.iterdir())
        cores = str(os.cpu_count() or 1)
        command = ["xargs", "-P", cores, "-I{}", *arguments, f"{source}/{{}}", f"{out}/{{}}"]
        subprocess.run(command, input=names, text=True, check=True, capture_output=True)

    return work


def _compress(task: tuple[Path, Path]) -> None:
    source, target = task
    ds = pydicom.dcmread(source)
    ds.compress(pydicom.uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    ds.save_as(target)


def by_pydicom(source: Path) -> Callable[[Path], None]:
    """Forked processes, all imported before."""

    def work(out: Path) -> None:
        with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
            pool.map(_compress, [(path, out / path.name) for path in source.iterdir()], chunksize=4)

    return work


def transcodings(folder: Path, count: int) -> list[harness.Comparison]:
    """Nobody else writes HTJ2K: DCMTK's lossless JPEG is what takes least time of what others write."""
    peers.require("gdcmconv", "dcmcjpeg")
    gdcmconv, dcmcjpeg = (str(peers.find_program(name)) for name in ("gdcmconv", "dcmcjpeg"))
    source = scans(folder, count)
    to_j2k = {
        "gdcmconv": lambda: rate(source, by_program(source, gdcmconv, "--j2k")),
        "pydicom": lambda: rate(source, by_pydicom(source)),
    }
    to_jpeg = {"dcmcjpeg, to JPEG Lossless": lambda: rate(source, by_program(source, dcmcjpeg, "+e1"))}
    return [
        harness.Comparison(
            f"transcode {count} CTs to {name}", "objects/s",
            lambda keyword=keyword: rate(source, by_us(source, keyword)), others, 1.0,
        )
        for name, keyword, others in (
            ("JPEG 2000", "JPEG2000Lossless", to_j2k),
            ("HTJ2K", "HTJ2KLossless", to_jpeg),
        )
    ]  # fmt: skip


def main() -> None:
    """The command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=1000, help="CTs that are transcoded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        wanted = [*decodings(), rle_encoding(), *isolation()]
        if options.only in f"transcode {options.count} CTs to JPEG 2000 HTJ2K":
            wanted += transcodings(Path(folder), options.count)
        harness.run("pixels", "Codecs", wanted, options, Path(folder))


if __name__ == "__main__":
    main()
