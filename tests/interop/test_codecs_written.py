"""What we write, read by others: pydicom's plug-ins, programs of DCMTK and GDCM, and FFmpeg with its own JPEG 2000.

Lossless frames are exactly the samples that went in, for every decoder that reads the syntax at all.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import peers
from isocenter.pixels.codecs import CODECS
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.transcode import Wanted, transcoded
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import file_meta, read_header
from pixel_objects import EXPLICIT, data_set, element, gradient

pydicom = pytest.importorskip("pydicom")

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

JPEG_FAMILY = "1.2.840.10008.1.2.4"
# Bits Stored, signed, samples
SAMPLES = [(8, False, 1), (8, True, 1), (12, False, 1), (12, True, 1), (16, False, 1), (16, True, 1), (8, False, 3)]
LOSSLESS = {
    "1.2.840.10008.1.2.5": ("pydicom", "pylibjpeg", "gdcmconv", "dcmdrle"),
    f"{JPEG_FAMILY}.57": ("pylibjpeg", "gdcm", "dcmdjpeg"),
    f"{JPEG_FAMILY}.70": ("pylibjpeg", "gdcm", "dcmdjpeg"),
    f"{JPEG_FAMILY}.80": ("pylibjpeg", "gdcm", "pyjpegls", "dcmdjpls"),
    f"{JPEG_FAMILY}.90": ("pylibjpeg", "gdcm", "pillow"),
    f"{JPEG_FAMILY}.92": ("gdcmconv",),
    f"{JPEG_FAMILY}.201": ("pylibjpeg",),
    f"{JPEG_FAMILY}.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.1.99": ("native",),
    "1.2.840.10008.1.2.2": ("native",),
    "1.2.840.10008.1.2": ("native",),
}
CASES = [(uid, decoder, *samples) for uid, decoders in LOSSLESS.items() for decoder in decoders for samples in SAMPLES]


def written(uid: str, bits: int, signed: bool, samples: int, loss: Loss | None = None) -> tuple[bytes, np.ndarray]:
    """A file of two frames, and their samples."""
    frames = np.stack([gradient(40, 52, samples, bits, signed=signed, seed=n) for n in range(2)])
    identity = element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7.2\0") + element(0x00080018, "UI", "1.2.3.4.5\0")
    data = identity + data_set(
        frames.tobytes(), rows=40, columns=52, samples=samples, allocated=8 * frames.itemsize, stored=bits, frames=2,
        signed=int(signed), photometric="MONOCHROME2" if samples == 1 else "RGB", planar=None if samples == 1 else 0,
    )  # fmt: skip
    pieces = transcoded(data, 0, EXPLICIT, Wanted(uid, loss, "1.2.3.4.6"), DEFAULT_LIMITS)
    return file_meta("1.2.840.10008.5.1.4.1.1.7.2", "1.2.3.4.5", uid) + b"".join(pieces), frames


def by_pydicom(file: bytes, plugin: str) -> np.ndarray:
    from pydicom.pixels import get_decoder

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    ds = pydicom.dcmread(BytesIO(file))
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    if plugin != "native" and plugin not in decoder.available_plugins:
        pytest.skip(f"no {plugin} here")
    options = {} if plugin == "native" else {"decoding_plugin": plugin}
    array, _ = decoder.as_array(ds, raw=True, **options)
    return array


def by_program(file: bytes, program: str, folder: Path) -> np.ndarray:
    peers.require(program)
    (folder / "in.dcm").write_bytes(file)
    command = [
        str(peers.find_program(program)),
        *(["--raw"] if program == "gdcmconv" else []),
        folder / "in.dcm",
        folder / "out.dcm",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    data = (folder / "out.dcm").read_bytes()
    meta = read_header(data)
    image = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
    return np.stack([image.frame(1), image.frame(2)])


def by_gdcm(file: bytes, like: np.ndarray, folder: Path) -> np.ndarray:
    """For what pydicom has no decoder, and gdcmconv reads but does not write."""
    gdcm = pytest.importorskip("gdcm")
    (folder / "in.dcm").write_bytes(file)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "in.dcm"))
    assert reader.Read()
    data = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(data, like.dtype).reshape(like.shape)


@pytest.mark.parametrize(
    ("uid", "decoder", "bits", "signed", "samples"),
    CASES,
    ids=[f"{CODECS[uid].name}-{rest[0]}-{rest[1]}{'s' if rest[2] else 'u'}x{rest[3]}" for uid, *rest in CASES],
)
def test_lossless_frames_are_read_by_others(
    uid: str, decoder: str, bits: int, signed: bool, samples: int, tmp_path: Path
) -> None:
    file, frames = written(uid, bits, signed, samples)
    theirs = by_program(file, decoder, tmp_path) if decoder in peers.PACKAGES else by_pydicom(file, decoder)
    np.testing.assert_array_equal(frames, theirs)


@pytest.mark.parametrize("part", ["90", "92"])
@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (12, 1), (16, 1), (8, 3)])
def test_jpeg_2000_is_read_by_ffmpeg(bits: int, samples: int, part: str, tmp_path: Path) -> None:
    """The one decoder of JPEG 2000 at hand that shares no code with ours; it takes unsigned samples."""
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.skip("no ffmpeg here")
    file, frames = written(f"{JPEG_FAMILY}.{part}", bits, False, samples)
    meta = read_header(file)
    image = Image.of(file, meta.transfer_syntax, meta.data_set_offset)
    wanted = "rgb24" if samples == 3 else "gray" if bits == 8 else "gray16le"
    for number in (1, 2):
        (tmp_path / "frame.j2k").write_bytes(image.frame_bytes(number))
        command = [found, "-v", "error", "-c:v", "jpeg2000", "-i", tmp_path / "frame.j2k"]
        raw = subprocess.run(
            [*command, "-f", "rawvideo", "-pix_fmt", wanted, "-"], check=True, capture_output=True, timeout=60
        ).stdout
        theirs = np.frombuffer(raw, frames.dtype).reshape(frames[0].shape) >> 8 * frames.itemsize - bits  # at the top
        np.testing.assert_array_equal(frames[number - 1], theirs)


@pytest.mark.parametrize(
    ("uid", "loss", "decoders"),
    [
        (f"{JPEG_FAMILY}.50", None, ("pylibjpeg", "gdcm", "pillow")),
        (f"{JPEG_FAMILY}.51", None, ("pylibjpeg",)),
        (f"{JPEG_FAMILY}.81", Loss(near=2), ("pylibjpeg", "gdcm", "pyjpegls")),
        (f"{JPEG_FAMILY}.91", Loss(ratio=8), ("pylibjpeg", "gdcm", "pillow")),
        (f"{JPEG_FAMILY}.93", Loss(ratio=8), ("GDCM's reader",)),
        (f"{JPEG_FAMILY}.203", Loss(psnr=50), ("pylibjpeg",)),
    ],
    ids=lambda value: CODECS[value].name if isinstance(value, str) else "",
)
def test_lossy_frames_are_read_alike(uid: str, loss: Loss | None, decoders: tuple[str, ...], tmp_path: Path) -> None:
    encoder = CODECS[uid].encoder
    assert encoder is not None
    file, frames = written(uid, min(12, encoder.depths[1]), False, 1, loss)
    meta = read_header(file)
    image = Image.of(file, meta.transfer_syntax, meta.data_set_offset)
    ours = np.stack([image.frame(1), image.frame(2)]).astype(int)
    assert np.abs(ours - frames).mean() < 40
    for decoder in decoders:
        theirs = by_gdcm(file, frames, tmp_path) if decoder == "GDCM's reader" else by_pydicom(file, decoder)
        assert np.abs(ours - theirs).max() <= 1, decoder
