"""Frames out of objects: decoding and rendering beside pydicom, its plug-ins and DCMTK.

`decode` is one frame of an object already opened, from its bytes to an array: `Image.decode` beside pydicom's decoder
with each plug-in that can do it (pylibjpeg, GDCM, pyjpegls, pydicom's own RLE). `render` is a CT file to a PNG file: a
library call beside one dcmj2pnm a picture.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

import harness
from isocenter.pixels.codecs import encode
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Layout
from isocenter.wire.part10 import read_header

LOSSLESS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
}
BASELINE = "1.2.840.10008.1.2.4.50"
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


def decodings() -> list[harness.Comparison]:
    """Every lossless syntax and baseline JPEG, at both sizes."""
    found = []
    for size, (pixels, layout, repeat) in pictures().items():
        for name, uid in LOSSLESS.items():
            content = part10(layout, uid, encapsulate([encode(uid, pixels, layout)]))
            found.append(decoding(f"{name}, {size}", content, repeat))
    eight = np.clip(pictures()["CT 512 x 512, 16 bits"][0] >> 4, 0, 255).astype(np.uint8)
    colour = np.stack([eight, eight[::-1], eight.T], axis=-1)
    layout = Layout(512, 512, 3, photometric="YBR_FULL_422")
    jpeg = imagecodecs.jpeg8_encode(colour, level=90)
    content = part10(layout, BASELINE, encapsulate([jpeg]))
    found.append(decoding("JPEG Baseline, 512 x 512, colour", content, 20))
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
        lambda: milliseconds(lambda: encode(LOSSLESS["RLE"], pixels, layout), repeat),
        {
            plugin: lambda plugin=plugin: milliseconds(
                lambda: encoder.encode(pixels, encoding_plugin=plugin, **options), 2
            )
            for plugin in ("pydicom", "pylibjpeg")
        },
        5.0,
        "lower",
    )


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        wanted = [*decodings(), rle_encoding()]
        harness.run("pixels", "Frames, decoded", wanted, options, Path(folder))


if __name__ == "__main__":
    main()
