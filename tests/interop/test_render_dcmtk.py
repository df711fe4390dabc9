"""Greys and colours pixel by pixel against DCMTK's dcmj2pnm and dcml2pnm, over every corpus file they can read.

The two may differ by one grey: DCMTK cuts fractions off, we round. Larger differences stand in tests/picture_oracles.py
with the reason, and on a page of the documentation.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

import peers
from isocenter.display.calibration import Characteristic, read_characteristic, write_characteristic
from isocenter.errors import IsocenterError
from isocenter.pixels.greys import segments_window
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.pixels.transcode import Wanted, transcoded
from isocenter.pixels.voi import Rescale, Table, modality, modality_units, voi
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import file_meta, read_header
from picture_oracles import COMPARED, DIFFERENCES, ONE_BIT, TRANSCODED
from pixel_objects import EXPLICIT

pytestmark = pytest.mark.interop

_FRAME_VOI, _PIXEL_TRANSFORMATION, _PALETTE = 0x00289132, 0x00289145, 0x00281101
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
# Ways through the chain
WINDOW, GIVEN, VOI_LUT, WHOLE, COLOURS, SUPPLEMENTED = COMPARED


def dcmtk(path: Path, arguments: list[str], jpeg_ls: bool, target: Path) -> np.ndarray | None:
    """DCMTK's picture of the first frame, None if it cannot make one."""
    name = "dcml2pnm" if jpeg_ls else "dcmj2pnm"
    program = peers.find_program(name)
    if program is None:
        raise peers.PeerUnavailable(f"{name} is missing: apt-get install dcmtk", missing=True)
    target.unlink(missing_ok=True)
    command = [program, "-S", "+op", *arguments, str(path), str(target)]
    if subprocess.run(command, capture_output=True, timeout=60).returncode or not target.exists():
        return None
    data = target.read_bytes()
    head = re.match(rb"(P[56])\s+(?:#.*\s+)?(\d+)\s+(\d+)\s+255\s", data)
    assert head is not None
    columns, rows = int(head[2]), int(head[3])
    return np.frombuffer(data, np.uint8, offset=head.end()).reshape(
        (rows, columns) if head[1] == b"P5" else (rows, columns, 3)
    )


def both(found: Image, path: Path, target: Path, jpeg_ls: bool) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Which way of the chain it is, our picture, and DCMTK's of the same file with the same choices."""
    decoded = found.decode(1)
    if not decoded.photometric.startswith("MONOCHROME"):
        # DCMTK applies no ICC profiles.
        return COLOURS, render(found, colours=None), dcmtk(path, [], jpeg_ls, target)
    groups = found.group(_FRAME_VOI, 1)
    chosen = voi(groups, True)
    if isinstance(chosen, Table):
        return VOI_LUT, render(found), dcmtk(path, ["+Wl", "1"], jpeg_ls, target)
    if chosen is not None:
        first = ["+Wi", "1"] if groups is found.attributes else ["+Ww", f"{chosen.center}", f"{chosen.width}"]
        return WINDOW, render(found), dcmtk(path, first, jpeg_ls, target)
    segments = segments_window(found)
    if segments is not None:
        # The same as LINEAR, which is all that DCMTK takes.
        window = [str(segments.center + 0.5), str(segments.width + 1)]
        return GIVEN, render(found), dcmtk(path, ["+Ww", *window], jpeg_ls, target)
    stored = modality(found.group(_PIXEL_TRANSFORMATION, 1), found.layout.signed)
    if decoded.bits <= 8 or not isinstance(stored, Rescale):
        return WHOLE, render(found), dcmtk(path, [], jpeg_ls, target)
    # Automatic windows differ from program to program: give both the same.
    values = modality_units(stored, decoded.pixels)
    low, high = float(values.min()), float(values.max())
    window = ((low + high) / 2, max(1.0, high - low))
    theirs = dcmtk(path, ["+Ww", repr(window[0]), repr(window[1])], jpeg_ls, target)
    return GIVEN, render(found, window=window), theirs


def _transcoded(data: bytes, target: Path) -> Path:
    """The same pixels without compression, for who cannot decompress them."""
    meta = read_header(data)
    pieces = transcoded(data, meta.data_set_offset, meta.transfer_syntax, Wanted(EXPLICIT), DEFAULT_LIMITS)
    target.write_bytes(file_meta(meta.sop_class, meta.sop_instance, EXPLICIT) + b"".join(pieces))
    return target


@pytest.mark.slow
def test_pictures_equal_dcmtks(corpus: Path, corpus_index: list[dict[str, str]], tmp_path: Path) -> None:
    different: dict[str, int] = {}
    equal: Counter[str] = Counter()
    near: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    unread = 0
    for row in corpus_index:
        name = f"{row['source']}/{row['path']}"
        if not row["rows"] or "fuzz" in row["source"] or row["path"].endswith(".gz"):
            continue
        data = (corpus / name).read_bytes()
        try:
            meta = read_header(data)
            found = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
            way, ours, theirs = both(found, corpus / name, tmp_path / "picture.pnm", row["ts_uid"] in _JPEG_LS)
            if theirs is None and found.encapsulated:
                path = _transcoded(data, tmp_path / "plain.dcm")
                _, _, theirs = both(found, path, tmp_path / "picture.pnm", False)
                unread += theirs is not None
                way = "transcoded"
        except IsocenterError:
            continue
        if theirs is None:
            continue
        kinds[found.photometric_interpretation] += 1
        if found.attributes.words(0x60000010):
            kinds["overlay"] += 1
        if ours.ndim > theirs.ndim:
            # DCMTK knows no Supplemental Palette Color LUT (C.7.6.19) and makes greys of its values, too.
            greys = found.frame(1) < found.attributes.words(_PALETTE)[1]
            ours, theirs, way = ours[greys][:, 0], theirs[greys], SUPPLEMENTED
        assert ours.shape == theirs.shape, name
        worst = int(np.abs(ours.astype(int) - theirs).max())
        explained = ONE_BIT if found.bits_allocated == 1 else DIFFERENCES.get(name)
        if worst > 1 and explained is None:
            different[name] = worst
        assert worst > 1 or name not in DIFFERENCES, f"{name} no longer differs: out of the table"
        if worst <= 1:
            (near if worst else equal)[way] += 1
    assert different == {}
    assert {way: equal[way] for way in COMPARED} == {way: counts[0] for way, counts in COMPARED.items()}
    assert {way: near[way] for way in COMPARED} == {way: counts[1] for way, counts in COMPARED.items()}
    assert unread == TRANSCODED
    assert kinds["MONOCHROME1"] >= 3, kinds
    assert kinds["PALETTE COLOR"] >= 3, kinds
    assert kinds["overlay"] >= 3, kinds


@pytest.mark.parametrize(("function", "flag"), [("LINEAR", "+Wfl"), ("SIGMOID", "+Wfs")])
@pytest.mark.parametrize(("center", "width"), [(40.0, 400.0), (-600.0, 1500.0), (0.5, 3.0), (300.0, 4000.0)])
@pytest.mark.parametrize("name", ["pydicom/test_files/CT_small.dcm", "pydicom/test_files/MR_small.dcm"])
def test_functions_equal_dcmtks(
    name: str, center: float, width: float, function: str, flag: str, corpus: Path, tmp_path: Path
) -> None:
    data = (corpus / name).read_bytes()
    meta = read_header(data)
    found = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
    arguments = [flag, "+Ww", str(center), str(width)]
    theirs = dcmtk(corpus / name, arguments, False, tmp_path / "picture.pnm")
    assert theirs is not None
    ours = render(found, window=(center, width), function=function)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def _with_overlays(corpus: Path, target: Path, *, frames: int = 1) -> Path:
    """CT_small with two packed overlays, one beyond the edge and of several frames, and one in bit 15 of its cells."""
    ds = pydicom.dcmread(corpus / "pydicom/test_files/CT_small.dcm")
    rng = np.random.default_rng(11)
    cells = np.stack(
        [ds.pixel_array.astype(np.uint16) & 0x7FF | rng.integers(0, 2, (128, 128), np.uint16) << 15] * frames
    )
    ds.PixelData = cells.tobytes()
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    ds.pop("PixelPaddingValue", None)
    ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 0, 1000, 1500
    if frames > 1:
        ds.NumberOfFrames = frames
    for group, (rows, columns), origin in ((0x6000, (61, 77), (-20, 90)), (0x6002, (40, 33), (10, 12))):
        ds.add_new((group, 0x0010), "US", rows)
        ds.add_new((group, 0x0011), "US", columns)
        if group == 0x6002 and frames > 1:
            ds.add_new((group, 0x0015), "IS", frames - 1)
            ds.add_new((group, 0x0051), "US", 2)
        ds.add_new((group, 0x0040), "CS", "G")
        ds.add_new((group, 0x0050), "SS", list(origin))
        ds.add_new((group, 0x0100), "US", 1)
        ds.add_new((group, 0x0102), "US", 0)
        bits = rng.integers(0, 2, (frames - 1 if group == 0x6002 and frames > 1 else 1, rows, columns))
        data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
        ds.add_new((group, 0x3000), "OW", data + b"\0" * (len(data) % 2))
    for element, vr, value in (
        (0x0010, "US", 128), (0x0011, "US", 128), (0x0040, "CS", "G"), (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16), (0x0102, "US", 15),
    ):  # fmt: skip
        ds.add_new((0x6004, element), vr, value)
    ds.save_as(target, enforce_file_format=True)
    return target


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_overlays_equal_dcmtks(frame: int, corpus: Path, tmp_path: Path) -> None:
    """Packed, in unused bits, of some frames, beyond the edge; the pictures of the corpus test have their own, too."""
    path = _with_overlays(corpus, tmp_path / "overlays.dcm", frames=3)
    data = path.read_bytes()
    meta = read_header(data)
    found = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
    theirs = dcmtk(path, ["+Wi", "1", "+F", str(frame)], False, tmp_path / "picture.pnm")
    assert theirs is not None
    plain = render(found, frame, overlays=False)
    ours = render(found, frame)
    assert np.count_nonzero(ours != plain) > 8000
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"])
@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_angiography_is_displayed_without_its_modality_lut(
    sop_class: str, polarity: str, corpus: Path, tmp_path: Path
) -> None:
    """PS3.3 C.8.7.1.1.2: it leads to the intensity of the beam, here with all greys turned."""
    ds = pydicom.dcmread(corpus / "pydicom/test_files/CT_small.dcm")
    ds.PixelData = (ds.pixel_array.astype(np.uint16) & 0xFFF).tobytes()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.PhotometricInterpretation = 12, 11, 0, polarity
    del ds.RescaleSlope, ds.RescaleIntercept, ds.PixelPaddingValue
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    item.ModalityLUTType = "US"
    item.add_new("LUTData", "OW", (65535 - np.arange(4096) * 16).astype("<u2").tobytes())
    ds.ModalityLUTSequence, ds.PixelIntensityRelationship = [item], "LOG"
    ds.WindowCenter, ds.WindowWidth = 1000, 1500
    path = tmp_path / "xa.dcm"
    ds.save_as(path, enforce_file_format=True)
    theirs = dcmtk(path, ["+Wi", "1"], False, tmp_path / "picture.pnm")
    assert theirs is not None
    data = path.read_bytes()
    meta = read_header(data)
    ours = render(Image.of(data, meta.transfer_syntax, meta.data_set_offset))
    assert len(np.unique(theirs)) > 100
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def _ct(corpus: Path) -> pydicom.Dataset:
    return pydicom.dcmread(corpus / "pydicom/test_files/CT_small.dcm")


def _same(ds: pydicom.Dataset, arguments: list[str], folder: Path) -> None:
    path = folder / "made.dcm"
    ds.save_as(path, enforce_file_format=True)
    theirs = dcmtk(path, arguments, False, folder / "picture.pnm")
    assert theirs is not None
    assert len(np.unique(theirs)) > 16
    data = path.read_bytes()
    meta = read_header(data)
    ours = render(Image.of(data, meta.transfer_syntax, meta.data_set_offset))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def _lut(vr: str, first: int, entries: np.ndarray, bits: int) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) & 0xFFFF, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("first", "count", "bits"), [(-1024, 2400, 12), (-200, 700, 8), (0, 4096, 16), (-1024, 65536, 16), (300, 500, 10)]
)
def test_voi_luts_equal_dcmtks(first: int, count: int, bits: int, polarity: str, corpus: Path, tmp_path: Path) -> None:
    """Values below and beyond the table, entries of all depths, 65,536 of them, which the descriptor calls 0."""
    ds = _ct(corpus)
    curve = np.linspace(0, 1, count) ** 0.7
    ds.VOILUTSequence = [_lut("SS", first, np.rint(curve * ((1 << bits) - 1)), bits)]
    ds.PhotometricInterpretation = polarity
    ds.pop("PixelPaddingValue", None)
    _same(ds, ["+Wl", "1"], tmp_path)


@pytest.mark.parametrize("window", [None, (30000, 40000)])
def test_modality_luts_equal_dcmtks(window: tuple[int, int] | None, corpus: Path, tmp_path: Path) -> None:
    ds = _ct(corpus)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue"):
        ds.pop(keyword, None)
    curve = np.sqrt(np.linspace(0, 1, 2500)) * 65535
    ds.ModalityLUTSequence = [_lut("SS", 100, np.rint(curve), 16)]
    ds.ModalityLUTSequence[0].ModalityLUTType = "US"
    if window is not None:
        ds.WindowCenter, ds.WindowWidth = window
    _same(ds, [] if window is None else ["+Wi", "1"], tmp_path)


@pytest.mark.parametrize(("first", "bits"), [(0, 16), (0, 8), (300, 16)])
def test_palettes_equal_dcmtks(first: int, bits: int, corpus: Path, tmp_path: Path) -> None:
    """Values below and beyond the palette too; entries of 16 bits whose upper byte counts, and of 8."""
    ds = _ct(corpus)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue"):
        ds.pop(keyword, None)
    ds.PixelData = (ds.pixel_array.astype(np.uint16) & 0x7FF).tobytes()
    ds.PhotometricInterpretation, ds.PixelRepresentation = "PALETTE COLOR", 0
    rng = np.random.default_rng(8)
    for name in ("Red", "Green", "Blue"):
        entries = rng.integers(0, 256, 1200) * (257 if bits == 16 else 1)
        ds.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [1200, first, bits])
        data = entries.astype("<u2").tobytes() if bits == 16 else entries.astype(np.uint8).tobytes()
        ds.add_new(f"{name}PaletteColorLookupTableData", "OW", data)
    _same(ds, [], tmp_path)


@pytest.mark.parametrize("window", [(40.0, 400.0), (-200.0, 2000.0)])
@pytest.mark.parametrize("name", ["CT_small", "MR_small"])
@pytest.mark.parametrize("curve", ["DCMTK's monitor", "gamma 2.2", "gamma 1.8 in a lit room"])
def test_pictures_for_a_display_equal_dcmtks(
    curve: str, name: str, window: tuple[float, float], corpus: Path, tmp_path: Path
) -> None:
    """PS3.14: the driving levels that dcmj2pnm +Dm writes for the same characteristic curve."""
    file = tmp_path / "display.lut"
    if curve == "DCMTK's monitor":
        file.write_bytes((corpus / "dcmtk-data/dcmimgle/data/monitor.lut").read_bytes())
    else:
        gamma, ambient = (2.2, 0.0) if curve == "gamma 2.2" else (1.8, 1.0)
        write_characteristic(file, Characteristic.of_gamma(0.4, 300.0, gamma, ambient))
    path = corpus / f"pydicom/test_files/{name}.dcm"
    arguments = ["+Dm", str(file), "+Dg", "+Ww", str(window[0]), str(window[1])]
    theirs = dcmtk(path, arguments, False, tmp_path / "picture.pnm")
    assert theirs is not None
    data = path.read_bytes()
    meta = read_header(data)
    found = Image.of(data, meta.transfer_syntax, meta.data_set_offset)
    ours = render(found, window=window, display=read_characteristic(file))
    difference = np.abs(ours.astype(int) - theirs)
    assert np.abs(render(found, window=window).astype(int) - ours).max() > 10
    assert (difference <= 1).mean() > 0.99
    assert difference.max() <= 2
