"""Every corpus file with pixel data, decoded by us and by every other decoder at hand.

Those are pydicom's plug-ins (pylibjpeg, GDCM, pyjpegls, pillow, its own), DCMTK's programs, and OpenJPH for HTJ2K,
which we read with OpenJPEG. Lossless frames are equal, lossy ones within 1. Where two disagree, or where only one can
read a file, it stands in pixel_oracles.py with the reason; a file that is not there and differs fails.
"""

from __future__ import annotations

import logging
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import peers
from isocenter.errors import IsocenterError
from isocenter.pixels.codecs import CODECS, Decoded
from isocenter.pixels.codestream import read_codestream
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.layout import sample_values
from isocenter.pixels.palette import read_palette
from isocenter.pixels.render import render
from isocenter.pixels.voi import Table, modality, modality_units, voi
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from isocenter.wire.scan import scan
from pixel_oracles import COMPARED, DISAGREEMENTS, ONLY_WE, OWN_WAY, REFUSED, TWINS, WARNED

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("libjpeg", reason="pylibjpeg-libjpeg is the oracle: pip install pylibjpeg-libjpeg")
pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is the oracle: pip install pylibjpeg-openjpeg")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),  # pydicom warns of what is wrong in these files; that is not the question
]

FRAMES = 3  # of each object at most

# Fewer native files than these were compared with pydicom: then the test no longer tests.
AT_LEAST = {
    "1.2.840.10008.1.2": 25,
    "1.2.840.10008.1.2.1": 300,
    "1.2.840.10008.1.2.2": 15,
}


@dataclass
class Comparison:
    """How many files both read, and the names of those on which the two differ."""

    compared: int = 0
    differ: list[str] = field(default_factory=list)
    only_pydicom: list[str] = field(default_factory=list)
    only_we: list[str] = field(default_factory=list)


def load(path: Path) -> Image:
    data = path.read_bytes()
    meta = read_header(data)
    return Image.of(data, meta.transfer_syntax, meta.data_set_offset)


def frames_of(found: Image) -> list[Decoded]:
    return [found.decode(n) for n in range(1, min(FRAMES, found.number_of_frames) + 1)]


def by_pydicom(path: Path, transfer_syntax: str, plugin: str = "") -> list[tuple[np.ndarray, str]]:
    """Frames and their colour space, as pydicom's decoders return them without its own colour conversion."""
    from pydicom.pixels import get_decoder

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it tells at length why it cannot read what it cannot
    ds = pydicom.dcmread(path, force=True)
    if not ds.file_meta.get("TransferSyntaxUID"):
        ds.file_meta.TransferSyntaxUID = transfer_syntax
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    found = []
    for index in range(min(FRAMES, int(ds.get("NumberOfFrames") or 1))):
        array, meta = decoder.as_array(ds, index=index, raw=True, decoding_plugin=plugin)
        found.append((array, str(meta["photometric_interpretation"])))
    return found


def largest_difference(ours: list[Decoded], theirs: list[tuple[np.ndarray, str]]) -> float:
    from pydicom.pixels import convert_color_space

    assert len(ours) == len(theirs)
    worst = 0.0
    for mine, (array, space) in zip(ours, theirs, strict=True):
        assert mine.pixels.shape == array.shape
        if space.startswith("YBR") and mine.photometric == "RGB":
            array = convert_color_space(array, space, "RGB")
        worst = max(worst, float(np.abs(mine.pixels.astype(np.float64) - array.astype(np.float64)).max()))
    return worst


def compare(corpus: Path, rows: list[dict[str, str]]) -> Comparison:
    result = Comparison()
    for row in rows:
        name = f"{row['source']}/{row['path']}"
        path = corpus / name
        try:
            found = load(path)
            ours: list[Decoded] | None = frames_of(found)
        except IsocenterError:
            ours = None
        try:
            theirs = by_pydicom(path, row["ts_uid"])
        except Exception:  # noqa: BLE001  (whatever it raises, it could not read the file)
            if ours is not None:
                result.only_we.append(name)
            continue
        if ours is None:
            result.only_pydicom.append(name)
            continue
        result.compared += 1
        if not largest_difference(ours, theirs) <= 0:
            result.differ.append(name)
    return result


def with_pixels(rows: list[dict[str, str]], uid: str) -> list[dict[str, str]]:
    return [row for row in rows if row["rows"] and row["ts_uid"] == uid and not row["path"].endswith(".gz")]


NATIVE = [uid for uid, codec in CODECS.items() if not codec.needs]


@pytest.mark.parametrize("uid", NATIVE, ids=[CODECS[uid].name for uid in NATIVE])
def test_native_frames_equal_pydicoms(uid: str, corpus: Path, corpus_index: list[dict[str, str]]) -> None:
    rows = with_pixels(corpus_index, uid)
    if not rows:
        pytest.skip(f"the corpus has no image in {CODECS[uid].name}")
    result = compare(corpus, rows)
    assert result.differ == []
    assert sorted(result.only_pydicom) == sorted(set(result.only_pydicom) & set(REFUSED))
    # Fuzzed headers that only we read are the business of test_pixel_hostile.py
    assert [name for name in result.only_we if name not in {*TWINS, *ONLY_WE} and "fuzz" not in name] == []
    assert result.compared >= AT_LEAST.get(uid, 0)


def by_dcmtk(program: str, path: Path, native: Path) -> list[tuple[np.ndarray, str]]:
    """Frames of what DCMTK makes of the file."""
    subprocess.run(
        [str(peers.find_program(program)), str(path), str(native)], check=True, capture_output=True, timeout=60
    )
    found = [(one.pixels, one.photometric) for one in frames_of(load(native))]
    native.unlink()
    return found


def by_openjph(path: Path) -> list[tuple[np.ndarray, str]]:
    image = load(path)
    return [
        (imagecodecs.htj2k_decode(image.frame_bytes(number), planar=False), image.decode(number).photometric)
        for number in range(1, min(FRAMES, image.number_of_frames) + 1)
    ]


def by_ffmpeg(path: Path, file: Path) -> list[tuple[np.ndarray, str]]:
    """JPEG 2000 by a decoder that shares nothing with ours: unsigned samples, at the top of 8 or 16 bits."""
    image, found = load(path), []
    for number in range(1, min(FRAMES, image.number_of_frames) + 1):
        data, decoded = image.frame_bytes(number), image.decode(number)
        stream = read_codestream(data)
        file.write_bytes(data[stream.payload :])
        wide = stream.precision > 8
        kind = {(1, False): "gray", (1, True): "gray16le", (3, False): "rgb24"}[stream.samples, wide]
        command = [str(peers.find_program("ffmpeg")), "-v", "error", "-threads", "1", "-c:v", "jpeg2000", "-i", file]
        options = ["-f", "rawvideo", "-pix_fmt", kind, "-"]
        done = subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
        samples = np.frombuffer(done.stdout, np.uint16 if wide else np.uint8).reshape(decoded.pixels.shape)
        samples = samples >> 8 * samples.itemsize - stream.precision
        if stream.signed:
            samples = samples ^ (1 << stream.precision - 1)
        values = sample_values(samples, stream.precision, 0, image.layout.signed)
        found.append((values, decoded.photometric))
    file.unlink()
    return found


def theirs_of(decoder: str, path: Path, uid: str, native: Path) -> list[tuple[np.ndarray, str]] | Exception:
    """Frames as `decoder` reads them ("": pydicom's choice), or why it cannot; PeerUnavailable is raised."""
    if decoder in peers.PACKAGES:
        peers.require(decoder)
    try:
        if decoder == "ffmpeg":
            return by_ffmpeg(path, native)
        if decoder in peers.PACKAGES:
            return by_dcmtk(decoder, path, native)
        return by_openjph(path) if decoder == "OpenJPH" else by_pydicom(path, uid, decoder)
    except Exception as error:  # noqa: BLE001  (whatever it raises, it could not read the file)
        return error


ENCAPSULATED = [uid for uid, codec in CODECS.items() if codec.needs]


@pytest.mark.parametrize("uid", ENCAPSULATED, ids=[CODECS[uid].name for uid in ENCAPSULATED])
def test_frames_equal_those_of_all_who_read_them(
    uid: str, corpus: Path, corpus_index: list[dict[str, str]], tmp_path: Path
) -> None:
    """Each file is decoded once by us and by everybody else; none is read by us alone, and none by others alone."""
    names = [f"{row['source']}/{row['path']}" for row in with_pixels(corpus_index, uid)]
    if not names:
        pytest.skip(f"the corpus has no image in {CODECS[uid].name}")
    decoders = list(COMPARED.get(uid, {"": 0}))
    compared: Counter[str] = Counter()
    differ: dict[str, set[str]] = {}
    unread: dict[tuple[str, str], Exception] = {}
    only_we, only_others = [], []
    with ThreadPoolExecutor(2) as pool:  # programs of their own, and decoders that leave Python's lock alone
        asked = {
            (name, decoder): pool.submit(theirs_of, decoder, corpus / name, uid, tmp_path / f"{number}{decoder}.dcm")
            for number, name in enumerate(names)
            for decoder in decoders
        }
        for name in names:
            try:
                ours: list[Decoded] | None = frames_of(load(corpus / name))
            except IsocenterError:
                ours = None
            readers = 0
            for decoder in decoders:
                theirs = asked.pop((name, decoder)).result()
                if isinstance(theirs, Exception):
                    unread[name, decoder] = theirs
                    continue
                readers += 1
                if ours is None:
                    continue
                compared[decoder] += 1
                most = 0 if CODECS[uid].lossless else OWN_WAY.get((uid, decoder), (1, ""))[0]
                if decoder and not largest_difference(ours, theirs) <= most:
                    differ.setdefault(name, set()).add(decoder)
            if ours is None and readers:
                only_others.append(name)
            elif ours is not None and not readers:
                only_we.append(name)
    assert differ == {name: set(DISAGREEMENTS[name][0]) for name in names if name in DISAGREEMENTS}
    assert [name for name in only_others if name not in REFUSED] == []
    # Fuzzed headers that only we read are the business of test_pixel_hostile.py
    assert [name for name in only_we if name not in {*TWINS, *ONLY_WE} and "fuzz" not in name] == []
    assert {decoder: count for decoder, count in COMPARED.get(uid, {}).items() if compared[decoder] < count} == {}, (
        unread
    )


@pytest.mark.parametrize("name", TWINS)
def test_frames_equal_those_of_the_uncompressed_original(name: str, corpus: Path) -> None:
    original, compressed = load(corpus / TWINS[name]), load(corpus / name)
    assert compressed.number_of_frames == original.number_of_frames
    for number in range(1, original.number_of_frames + 1):
        np.testing.assert_array_equal(compressed.frame(number), original.frame(number))


@pytest.mark.parametrize("name", WARNED)
def test_what_was_followed_against_the_header_is_told(name: str, corpus: Path) -> None:
    assert load(corpus / name).decode(1).warnings == (WARNED[name],)


def test_a_sign_that_either_tells_of_is_followed(corpus: Path) -> None:
    """The same slice twice: once only the header says that it is signed, once only the codestream."""
    folder = corpus / "pylibjpeg-data/ds/JPEG2000Lossless"
    by_header, by_codestream = (load(folder / f"TOSHIBA_J2K_{name}.dcm") for name in ("SIZ0_PixRep1", "SIZ1_PixRep0"))
    assert by_header.frame(1).min() == -2048
    np.testing.assert_array_equal(by_codestream.frame(1), by_header.frame(1))
    np.testing.assert_array_equal(render(by_codestream), render(by_header))


PALETTES = [
    "pydicom/test_files/examples_palette.dcm",
    "pydicom-data/OBXXXX1A.dcm",
    "pydicom-data/OBXXXX1A_rle.dcm",
    "pydicom-data/OT-PAL-8-face.dcm",
    "pydicom-data/gdcm-US-ALOKA-16.dcm",
    "pydicom-data/gdcm-US-ALOKA-16_big.dcm",
    "cornerstoneWADO/no-pixel-spacing.dcm",
    "highdicom/seg_image_sm_control_labelmap_palette_color.dcm",
]


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_equal_pydicoms(name: str, corpus: Path) -> None:
    from pydicom.pixels import apply_color_lut

    ds = pydicom.dcmread(corpus / name, force=True)
    expected = apply_color_lut(load(corpus / name).frame(1), ds)
    if expected.dtype == np.uint16:
        expected = (expected >> 8).astype(np.uint8)
    # pydicom leaves ICC profiles to others.
    np.testing.assert_array_equal(render(load(corpus / name), colours=None), expected)


def test_a_palette_of_words_in_big_endian(corpus: Path) -> None:
    """pydicom leaves the bytes of a plain big endian palette as they are; the little endian original is the measure."""
    big, little = load(corpus / "pydicom-data/OBXXXX1A_expb.dcm"), load(corpus / "pydicom-data/OBXXXX1A.dcm")
    np.testing.assert_array_equal(render(big), render(little))


@pytest.mark.parametrize("name", ["spring", "summer", "fall", "winter", "hotiron", "hotmetalblue", "pet", "pet20step"])
def test_well_known_palettes_equal_pydicoms(name: str, corpus: Path) -> None:
    """PS3.6 Annex B, plain and segmented, from the files that hold nothing else."""
    from pydicom.pixels import apply_color_lut

    path = corpus / "pydicom" / "palettes" / f"{name}.dcm"
    data = path.read_bytes()
    meta = read_header(data)
    found = scan(data, little=True, explicit=True, start=meta.data_set_offset)
    attributes = Attributes(data, found.elements, little=True, explicit=True, limits=DEFAULT_LIMITS)
    ramp = np.arange(256, dtype=np.uint8)
    expected = apply_color_lut(ramp, pydicom.dcmread(path))
    expected = expected if expected.dtype == np.uint8 else (expected >> 8).astype(np.uint8)
    np.testing.assert_array_equal(read_palette(attributes, False).apply(ramp), expected)


def test_lookup_tables_equal_pydicoms(corpus: Path) -> None:
    """A Modality LUT and a VOI LUT from real objects."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    path = corpus / "pydicom-data/mlut_18.dcm"
    found = load(path)
    table = modality(found.attributes, found.layout.signed)
    expected = apply_modality_lut(found.frame(1), pydicom.dcmread(path))
    np.testing.assert_array_equal(modality_units(table, found.frame(1)), expected)
    path = corpus / "pydicom-data/vlut_04.dcm"
    found = load(path)
    expected = apply_voi_lut(found.frame(1), pydicom.dcmread(path)).astype(np.float64)
    chosen = voi(found.attributes, found.layout.signed)
    assert isinstance(chosen, Table)
    np.testing.assert_array_equal(render(found), np.rint(expected * 255 / ((1 << chosen.bits) - 1)))
