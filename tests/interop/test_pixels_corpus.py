"""Every corpus file with pixel data, decoded by us and by pydicom's decoders (pylibjpeg, GDCM, pyjpegls, numpy).

Lossless frames are equal, lossy ones within 1. Where the two disagree, or where only one can read a file, the file
stands in a table below with the reason; a file that is not in a table and differs fails.
"""

from __future__ import annotations

import logging
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from isocenter.errors import IsocenterError
from isocenter.pixels.codecs import CODECS, Decoded
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image
from isocenter.pixels.palette import read_palette
from isocenter.pixels.render import render
from isocenter.pixels.voi import Table, modality, modality_units, voi
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from isocenter.wire.scan import scan

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("libjpeg", reason="pylibjpeg-libjpeg is the oracle: pip install pylibjpeg-libjpeg")
pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is the oracle: pip install pylibjpeg-openjpeg")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore"),  # pydicom warns of what is wrong in these files; that is not the question
]

FRAMES = 5  # of each object at most

# Files on which pydicom and we differ, and who is right.
DISAGREEMENTS = {
    "pylibjpeg-data/ds/JPEGBaseline/SC_rgb_jpeg_lossy_gdcm.dcm": (
        "Photometric Interpretation says RGB, but the JPEG is 4:2:0 and its colours are right only as YCbCr (the first "
        "bar is the red of the uncompressed original): we follow the codestream, pydicom the header"
    ),
}
# Files that pydicom reads and we refuse, and why.
REFUSED = {
    "fuzz-pwnlabmx/fuzz_corpus_v2/cat04_pixel_data/TC0329_rgb_spp1.dcm": "RGB of one sample is no colour space",
}
# Files that pydicom does not read: the same pixels from somewhere else.
TWINS = {
    "peer-generated/codecs/ct_jxl_lossless.dcm": "pydicom/test_files/CT_small.dcm",
    "pydicom-data/liver_deflate.dcm": "dcmqi/segmentations/liver.dcm",
    "pydicom-data/liver_rle.dcm": "dcmqi/segmentations/liver.dcm",
    "pydicom-data/liver_nonbyte_aligned_deflate.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/liver_nonbyte_aligned_rle.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/liver_nonbyte_aligned_j2k.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
}
# Files that pydicom does not read and DCMTK does: retired JPEG processes, and 12-bit JPEG with a scan header that
# libjpeg as GDCM and pylibjpeg have it refuses.
BY_DCMTK = [
    "cornerstoneWADO/CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
    "cornerstoneWADO/CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
    "peer-generated/dcmtk/sc_progressive_jpeg.dcm",
    "dicom-test-files/WG04/JPLY/MR1_JPLY",
    "dicom-test-files/WG04/JPLY/NM1_JPLY",
    "pydicom/test_files/JPEG-lossy.dcm",
    "pylibjpeg-data/ds/JPEGExtended/RG2_JPLY.dcm",
]
# Files that only we read, with nothing here to compare them with, and why others do not read them.
ONLY_WE = {
    "dicom-swift/Compressed/jpeg_baseline_synthetic.dcm": "the JPEG is the value of Pixel Data itself, without items",
    "dicom-swift/DecoderParity/secondary_capture_rgb.dcm": "no Planar Configuration: taken as 0",
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "cut off after its first frames, which are whole",
}
# Codestreams that disagree with their header: what we report of them.
WARNED = {
    "nibabel/nibabel/nicom/tests/data/slicethickness_empty_string.dcm": "codestream precision is 10, Bits Stored is 12",
    "pydicom-data/693_J2KR.dcm": "codestream precision is 14, Bits Stored is 16",
    "pydicom/test_files/J2K_pixelrep_mismatch.dcm": "codestream samples are unsigned, Pixel Representation is 1",
    "pylibjpeg-data/ds/JPEG2000Lossless/TOSHIBA_J2K_SIZ1_PixRep0.dcm": (
        "codestream samples are signed, Pixel Representation is 0"
    ),
    "fuzz-pwnlabmx/fuzz_corpus_v2/cat04_pixel_data/TC0303_bits_highbit_gt_ba.dcm": (
        "High Bit 20 does not fit Bits Stored 12 and is ignored"
    ),
}
# Fewer than these were compared with pydicom: then the test no longer tests. Syntaxes of one or two files are left out.
AT_LEAST = {
    "1.2.840.10008.1.2": 25,
    "1.2.840.10008.1.2.1": 300,
    "1.2.840.10008.1.2.2": 15,
    "1.2.840.10008.1.2.5": 25,
    "1.2.840.10008.1.2.4.50": 35,
    "1.2.840.10008.1.2.4.51": 7,
    "1.2.840.10008.1.2.4.57": 9,
    "1.2.840.10008.1.2.4.70": 13,
    "1.2.840.10008.1.2.4.80": 25,
    "1.2.840.10008.1.2.4.81": 9,
    "1.2.840.10008.1.2.4.90": 24,
    "1.2.840.10008.1.2.4.91": 15,
    "1.2.840.10008.1.2.4.201": 3,
    "1.2.840.10008.1.2.4.203": 1,
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


def by_pydicom(path: Path, transfer_syntax: str) -> list[tuple[np.ndarray, str]]:
    """Frames and their colour space, as pydicom's decoders return them without its own colour conversion."""
    from pydicom.pixels import get_decoder

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it tells at length why it cannot read what it cannot
    ds = pydicom.dcmread(path, force=True)
    if not ds.file_meta.get("TransferSyntaxUID"):
        ds.file_meta.TransferSyntaxUID = transfer_syntax
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    found = []
    for index in range(min(FRAMES, int(ds.get("NumberOfFrames") or 1))):
        array, meta = decoder.as_array(ds, index=index, raw=True)
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


def compare(corpus: Path, rows: list[dict[str, str]], lossless: bool) -> Comparison:
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
        if not largest_difference(ours, theirs) <= (0 if lossless else 1):
            result.differ.append(name)
    return result


def with_pixels(rows: list[dict[str, str]], uid: str) -> list[dict[str, str]]:
    return [row for row in rows if row["rows"] and row["ts_uid"] == uid and not row["path"].endswith(".gz")]


@pytest.mark.parametrize("uid", CODECS, ids=[codec.name for codec in CODECS.values()])
def test_frames_equal_pydicoms(uid: str, corpus: Path, corpus_index: list[dict[str, str]]) -> None:
    rows = with_pixels(corpus_index, uid)
    if not rows:
        pytest.skip(f"the corpus has no image in {CODECS[uid].name}")
    result = compare(corpus, rows, CODECS[uid].lossless)
    assert sorted(result.differ) == sorted(set(result.differ) & set(DISAGREEMENTS))
    assert sorted(result.only_pydicom) == sorted(set(result.only_pydicom) & set(REFUSED))
    # Fuzzed headers that only we read are the business of test_pixel_hostile.py
    elsewhere = {*TWINS, *BY_DCMTK, *ONLY_WE}
    assert [name for name in result.only_we if name not in elsewhere and "fuzz" not in name] == []
    assert result.compared >= AT_LEAST.get(uid, 0)


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_the_disagreements_are_still_there(name: str, corpus: Path) -> None:
    """A disagreement that is gone must leave the table."""
    theirs = by_pydicom(corpus / name, "")
    assert largest_difference(frames_of(load(corpus / name)), theirs) > 1


@pytest.mark.parametrize("name", TWINS)
def test_frames_equal_those_of_the_uncompressed_original(name: str, corpus: Path) -> None:
    original, compressed = load(corpus / TWINS[name]), load(corpus / name)
    assert compressed.number_of_frames == original.number_of_frames
    for number in range(1, original.number_of_frames + 1):
        np.testing.assert_array_equal(compressed.frame(number), original.frame(number))


@pytest.mark.parametrize("name", BY_DCMTK)
def test_frames_equal_dcmtks(name: str, corpus: Path, tmp_path: Path) -> None:
    import peers

    program = peers.find_program("dcmdjpeg")
    if program is None:
        raise peers.PeerUnavailable("dcmdjpeg is missing: apt-get install dcmtk", missing=True)
    native = tmp_path / "native.dcm"
    subprocess.run([program, str(corpus / name), str(native)], check=True, capture_output=True, timeout=60)
    ours, theirs = load(corpus / name).decode(1), load(native).decode(1)
    assert ours.pixels.shape == theirs.pixels.shape
    assert np.abs(ours.pixels.astype(int) - theirs.pixels).max() <= 1


@pytest.mark.parametrize("name", WARNED)
def test_what_was_followed_against_the_header_is_told(name: str, corpus: Path) -> None:
    assert load(corpus / name).decode(1).warnings == (WARNED[name],)


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
    np.testing.assert_array_equal(render(load(corpus / name)), expected)


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
