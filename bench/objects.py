"""Objects to send: real CT headers with as many pixels as are wanted, each with a SOP Instance UID of its own.

Made from pydicom's packaged CT_small.dcm, so that whoever runs the benchmark has the same. All belong to one study of
a few series, as a scanner would send them.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
# Same length for every number, so that a sender may patch it in place
UID_DIGITS = 12
ROOT = "1.2.826.0.1.3680043.10.1999"


@dataclass(frozen=True)
class Template:
    """One object's data set (Explicit VR Little Endian) and where in it its SOP Instance UID stands."""

    data_set: bytes
    uid: str
    uid_offset: int


def instance_uid(batch: int, number: int) -> str:
    """A UID that is always of the same length; `batch` keeps rounds apart."""
    return f"{ROOT}.{1_000 + batch}.{10 ** (UID_DIGITS - 1) + number}"


def side_of(size: int) -> tuple[int, int]:
    """(rows, columns) of a 16-bit image of about `size` bytes in all."""
    columns = {512 * 1024: 512, 39 * 1024: 128}.get(size) or max(16, int((size / 2) ** 0.5))
    return max(1, (size // 2) // columns), columns


def ct(size: int, batch: int, number: int) -> Dataset:
    """A CT image object of about `size` bytes of pixels."""
    ds = dcmread(str(get_testdata_file("CT_small.dcm")))
    rows, columns = side_of(size)
    ramp = (np.arange(rows * columns, dtype=np.uint32) * 2654435761 >> 16).astype(np.uint16)
    ds.Rows, ds.Columns = rows, columns
    ds.PixelData = (ramp & 0x0FFF).tobytes()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = instance_uid(batch, number)
    ds.StudyInstanceUID = f"{ROOT}.{1_000 + batch}.1"
    ds.SeriesInstanceUID = f"{ROOT}.{1_000 + batch}.1.{number // 500 + 1}"
    ds.InstanceNumber = number + 1
    return ds


def template(size: int, batch: int) -> Template:
    """The bytes a sender repeats, changing nothing but the UID."""
    buffer = BytesIO()
    without_meta = Dataset(ct(size, batch, 0))
    dcmwrite(buffer, without_meta, little_endian=True, implicit_vr=False)
    data = buffer.getvalue()
    uid = instance_uid(batch, 0)
    return Template(data, uid, data.index(uid.encode()))


def write_files(folder: Path, size: int, count: int, batch: int = 0) -> None:
    """`count` Part 10 files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ds = ct(size, batch, 0)
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = instance_uid(batch, number)
        ds.InstanceNumber = number + 1
        ds.save_as(folder / f"{number:06d}.dcm", enforce_file_format=True)
