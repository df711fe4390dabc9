"""Data sets as files, images of them, and presentation states, as tests of rendering want them."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset

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
