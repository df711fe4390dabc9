"""Data sets as files, images of them, and presentation states, as tests of rendering want them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from isocenter.pixels.image import Image
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header


def encoded(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def loaded(ds: Dataset) -> Image:
    data = encoded(ds)
    meta = read_header(data)
    return Image.of(data, meta.transfer_syntax, meta.data_set_offset)


def read(ds: Dataset) -> PresentationState:
    data = encoded(ds)
    meta = read_header(data)
    return PresentationState.of(data, meta.transfer_syntax, meta.data_set_offset)


def blending_input(
    number: int, of: Dataset, palette: np.ndarray | None = None, *, whole: bool = False, **more: Any
) -> Dataset:
    """An item of Advanced Blending Sequence, with a window that leaves 8-bit values as they are."""
    ds, window = Dataset(), Dataset()
    ds.BlendingInputNumber = number
    ds.StudyInstanceUID, ds.SeriesInstanceUID = of.StudyInstanceUID, of.SeriesInstanceUID
    if not whole:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = of.SOPClassUID, of.SOPInstanceUID
        ds.ReferencedImageSequence = [one]
    if of.SamplesPerPixel == 1:
        window.WindowCenter, window.WindowWidth = 128, 256
        ds.SoftcopyVOILUTSequence = [window]
    if palette is not None:
        table = Dataset()
        for channel, name in enumerate(("Red", "Green", "Blue")):
            setattr(table, f"{name}PaletteColorLookupTableDescriptor", [len(palette), 0, 16])
            data = (palette[:, channel].astype("<u2") * 257).tobytes()
            setattr(table, f"{name}PaletteColorLookupTableData", data)
        ds.PaletteColorLookupTableSequence = [table]
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def blending_step(numbers: list[int], result: int | None = None, opacity: float | None = None) -> Dataset:
    """An item of Blending Display Sequence: EQUAL, or with an opacity FOREGROUND."""
    ds, inputs = Dataset(), [Dataset() for _ in numbers]
    for one, number in zip(inputs, numbers, strict=True):
        one.BlendingInputNumber = number
    ds.BlendingDisplayInputSequence = inputs
    ds.BlendingMode = "EQUAL" if opacity is None else "FOREGROUND"
    if opacity is not None:
        ds.RelativeOpacity = opacity
    if result is not None:
        ds.BlendingInputNumber = result
    return ds


def advanced_blending(items: list[Dataset], *steps: Dataset) -> Dataset:
    """An Advanced Blending Presentation State of such inputs and steps."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.11.8", generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = items[0].StudyInstanceUID, generate_uid()
    ds.Modality, ds.PatientID, ds.PatientName = "PR", "1", "A"
    ds.AdvancedBlendingSequence = items
    ds.PixelPresentation, ds.BlendingDisplaySequence = "TRUE_COLOR", list(steps)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
