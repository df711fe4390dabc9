"""Headers that are seldom and right, made here, pixel by pixel against DCMTK.

Samples whose High Bit is not at the top and beside which something else lies, palettes of signed values, overlays of
any size at any place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from interop.test_render_dcmtk import dcmtk
from isocenter.pixels.render import render
from state_objects import loaded

pytestmark = pytest.mark.interop


def secondary(stored: np.ndarray, **more: Any) -> Dataset:
    """A Secondary Capture of one frame, whose samples are these words."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.PatientID, ds.PatientName = "OT", "1", "A"
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = ds.BitsAllocated, ds.BitsAllocated - 1, 0
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    data = stored.tobytes()
    ds.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def theirs(ds: Dataset, arguments: list[str], folder: Path) -> np.ndarray:
    path = folder / "image.dcm"
    ds.save_as(path, enforce_file_format=True)
    picture = dcmtk(path, arguments, False, folder / "picture.pnm")
    assert picture is not None
    return picture


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 13), (12, 15), (10, 12), (9, 8), (2, 5)])
def test_samples_anywhere_in_their_cells(stored: int, high: int, signed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(stored * high + signed)
    low = -(1 << stored - 1) if signed else 0
    values = rng.integers(low, low + (1 << stored), (11, 13))
    mask = (1 << stored) - 1
    shift = high + 1 - stored
    beside = rng.integers(0, 1 << 16, values.shape) & ~(mask << shift)
    cells = ((values & mask) << shift | beside).astype("<u2")
    window = {"WindowCenter": low + (1 << stored - 1), "WindowWidth": max(2, (1 << stored) * 2 // 3)}
    ds = secondary(cells, BitsStored=stored, HighBit=high, PixelRepresentation=signed, **window)
    found = loaded(ds)
    assert (found.frame(1) == values).all()
    assert np.abs(render(found).astype(int) - theirs(ds, ["+Wi", "1"], tmp_path)).max() <= 1


@pytest.mark.parametrize(
    ("stored", "first", "count"), [(8, -100, 200), (8, -128, 256), (12, -2048, 4096), (16, -300, 600), (16, -32768, 0)]
)
def test_palettes_whose_first_value_is_below_zero(stored: int, first: int, count: int, tmp_path: Path) -> None:
    """Values below and beyond the palette, where there can be any; a count of 0 stands for 65,536."""
    rng = np.random.default_rng(stored)
    number = count or 1 << 16
    lowest, highest = -(1 << stored - 1), (1 << stored - 1) - 1
    values = rng.integers(max(lowest, first - 20), min(highest, first + number + 20) + 1, (15, 17))
    cells = values.astype("i1" if stored == 8 else "<i2")
    ds = secondary(cells, BitsStored=stored, HighBit=stored - 1, PixelRepresentation=1)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    entries = rng.integers(0, 1 << 16, (3, number))
    for name, one in zip(("Red", "Green", "Blue"), entries, strict=True):
        ds.add_new(f"{name}PaletteColorLookupTableDescriptor", "SS", [count, first, 16])
        ds.add_new(f"{name}PaletteColorLookupTableData", "OW", one.astype("<u2").tobytes())
    picture = render(loaded(ds))
    expected = np.moveaxis(entries[:, np.clip(values - first, 0, number - 1)] >> 8, 0, -1)
    assert (picture == expected).all()
    assert (picture == theirs(ds, [], tmp_path)).all()


PLACES = [((13, 17), (1, 1)), ((5, 7), (-2, -3)), ((30, 41), (3, 5)), ((1, 1), (10, 10)), ((9, 3), (0, 0))]


@pytest.mark.parametrize(("size", "origin"), [*PLACES, ((13, 17), (13, 17))])
def test_overlays_of_any_size_at_any_place(size: tuple[int, int], origin: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(size))
    stored = rng.integers(0, 200, (13, 17), np.uint8)
    ds = secondary(stored)
    bits = rng.integers(0, 2, size, np.uint8)
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    for element, vr, value in (
        (0x0010, "US", size[0]), (0x0011, "US", size[1]), (0x0040, "CS", "G"), (0x0050, "SS", list(origin)),
        (0x0100, "US", 1), (0x0102, "US", 0), (0x3000, "OW", data + b"\0" * (len(data) % 2)),
    ):  # fmt: skip
        ds.add_new((0x6000, element), vr, value)
    expected = stored.copy()
    for row, column in zip(*np.nonzero(bits), strict=True):
        y, x = row + origin[0] - 1, column + origin[1] - 1
        if 0 <= y < 13 and 0 <= x < 17:
            expected[y, x] = 255
    picture = render(loaded(ds))
    assert (picture == expected).all()
    assert (picture == theirs(ds, ["+Ww", "127.5", "256"], tmp_path)).all()
