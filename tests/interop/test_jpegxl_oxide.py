"""JPEG XL of all depths beside jxl-oxide, a decoder in Rust that shares nothing with libjxl, which is ours.

It runs in node as WebAssembly and writes PNG, of 16 bits where samples have more than 8: 10 and 12 bits are scaled up
there, and here scaled back. `make test` fetches it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import peers
from isocenter.pixels.codecs import decode, encode, kept
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.encoders import Loss
from isocenter.pixels.image import Image
from isocenter.pixels.layout import Layout, sample_values
from isocenter.wire.part10 import read_header
from pixel_objects import gradient

pytestmark = pytest.mark.interop

LOSSLESS, RECOMPRESSED, LOSSY = (f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112))
BASELINE = "1.2.840.10008.1.2.4.50"

OXIDE = Path(__file__).resolve().parents[2] / ".cache" / "node" / "node_modules" / "jxl-oxide-wasm"
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
const [folder, stream, picture] = process.argv.slice(1);
const { initSync, JxlImage } = await import(`${folder}/jxl_oxide_wasm.js`);
initSync({ module: readFileSync(`${folder}/jxl_oxide_wasm_bg.wasm`) });
const image = new JxlImage();
image.feedBytes(readFileSync(stream));
if (!image.tryInit()) throw new Error("the stream is not whole");
writeFileSync(picture, image.render().encodeToPng());
"""


def theirs(stream: bytes, folder: Path, bits: int) -> np.ndarray:
    """Unsigned samples of `bits` as jxl-oxide reads them."""
    if not (OXIDE / "jxl_oxide_wasm.js").is_file():
        raise peers.PeerUnavailable("jxl-oxide is not here: make jxl-oxide, which needs npm", missing=True)
    (folder / "one.jxl").write_bytes(stream)
    paths = [str(path) for path in (OXIDE, folder / "one.jxl", folder / "one.png")]
    subprocess.run(["node", "--input-type=module", "-e", SCRIPT, *paths], check=True, capture_output=True, timeout=60)
    samples = np.asarray(imagecodecs.png_decode((folder / "one.png").read_bytes()))
    whole = np.iinfo(samples.dtype).max
    return np.rint(samples.astype(np.float64) * ((1 << bits) - 1) / whole).astype(np.int64)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_it_reads_what_we_write(bits: int, samples: int, tmp_path: Path) -> None:
    pixels = gradient(40, 52, samples, bits)
    allocated = 8 * pixels.itemsize
    layout = Layout(40, 52, samples, allocated, bits, bits - 1, photometric="RGB" if samples == 3 else "MONOCHROME2")
    np.testing.assert_array_equal(pixels, theirs(encode(LOSSLESS, pixels, layout), tmp_path, bits))
    lossy = encode(LOSSY, pixels, layout, Loss(quality=90))
    ours = decode(LOSSY, lossy, layout).pixels.astype(np.int64)
    assert not np.array_equal(ours, pixels)
    assert np.abs(ours - theirs(lossy, tmp_path, bits)).max() <= 1


def test_a_recompressed_jpeg_is_the_same_picture(tmp_path: Path) -> None:
    pixels = gradient(40, 52, 1, 8)
    stream = kept(RECOMPRESSED, BASELINE, encode(BASELINE, pixels, Layout(40, 52)))
    ours = decode(RECOMPRESSED, stream, Layout(40, 52)).pixels.astype(np.int64)
    assert np.abs(ours - theirs(stream, tmp_path, 8)).max() <= 1


def test_objects_of_the_corpus(corpus: Path, corpus_index: list[dict[str, str]], tmp_path: Path) -> None:
    names = [f"{row['source']}/{row['path']}" for row in corpus_index if row["ts_uid"] in (LOSSLESS, LOSSY)]
    if not names:
        pytest.skip("the corpus has no JPEG XL")
    for name in names:
        data = (corpus / name).read_bytes()
        meta = read_header(data)
        found = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
        stream = found.frame_bytes(1)
        bits = read_codestream(stream).precision
        samples = theirs(stream, tmp_path, bits).astype(np.uint16)
        values = sample_values(samples, bits, 0, found.layout.signed).astype(np.int64)
        assert np.abs(values - found.frame(1)).max() <= (0 if meta.transfer_syntax == LOSSLESS else 1), name
