"""Codecs: decoding and encoding beside pydicom with all its plug-ins.

`decode` is one frame of an object already opened, from its bytes to an array: `Image.decode` beside pydicom's decoder
with each plug-in that can do it (pylibjpeg, GDCM, pyjpegls, pillow, pydicom's own RLE); it is the time that somebody
waits, on as many threads as a decoder takes (ours of JPEG 2000 up to four). `isolated` is the same in a process of its
own, as the server has it, beside decoding in place.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
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


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    wanted = [*decodings(), rle_encoding(), *isolation()]
    harness.run("pixels", "Codecs", wanted, options, Path(tempfile.gettempdir()))


if __name__ == "__main__":
    main()
