"""Stored instances as views take them, and what a peer reads of what views make."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import volume_objects
from isocenter.model import InstanceRef
from isocenter.views.study import viewed
from isocenter.views.view import Source, View, Viewed
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.part10 import file_meta, read_header

__all__ = [
    "GSPS", "View", "classes", "file_of", "images", "item", "other", "read", "ref", "source", "sources", "state",
    "viewed",
]  # fmt: skip

GSPS = "1.2.840.10008.5.1.4.1.1.11.1"


def source(given: Dataset | bytes | Path, reads: list[str] | None = None) -> Source:
    """One instance as the archive has it; `reads` is told of each time its bytes are asked for."""
    if isinstance(given, Dataset):
        file = BytesIO()
        given.save_as(file, enforce_file_format=True)
        data = file.getvalue()
    else:
        data = given if isinstance(given, bytes) else given.read_bytes()
    meta = read_header(data)
    body = data[meta.data_set_offset :]
    header = dataset_json(body, meta.transfer_syntax, bulk_uri="bulk")
    uids = [str(header[tag]["Value"][0]) for tag in ("0020000D", "0020000E", "00080018", "00080016")]
    ref = InstanceRef(*uids, meta.transfer_syntax, uids[2], len(data), meta.data_set_offset, "", "")

    def bytes_of() -> bytes:
        if reads is not None:
            reads.append(uids[2])
        return body

    return Source(ref, header, bytes_of)


def sources(given: Iterable[Dataset | bytes | Path]) -> list[Source]:
    """Instances of one study."""
    return [source(one) for one in given]


def file_of(one: Viewed) -> bytes:
    """A Part 10 file of what a view made."""
    assert one.make is not None
    body = b"".join(one.make())
    return file_meta(one.sop_class, one.instance, one.transfer_syntax) + body


def read(one: Viewed) -> Dataset:
    """The same as pydicom reads it, every value of it."""
    ds = pydicom.dcmread(BytesIO(file_of(one)))
    ds.decode()
    assert str(ds)  # every element is converted
    return ds


def classes(found: Iterable[Viewed]) -> list[str]:
    """The SOP Class of each."""
    return [one.sop_class for one in found]


def item(**attributes: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def ref(to: Dataset, *frames: int) -> Dataset:
    one = item(ReferencedSOPClassUID=to.SOPClassUID, ReferencedSOPInstanceUID=to.SOPInstanceUID)
    if frames:
        one.ReferencedFrameNumber = list(frames)
    return one


def images() -> list[Dataset]:
    made = volume_objects.ct(4)
    for ds in made:
        ds.SliceThickness = 2.5
    return made


def other(study: Dataset, sop_class: str, number: int, **attributes: Any) -> Dataset:
    """An instance of the study that is no image of CT, in a series of its own."""
    ds = item(
        SOPClassUID=sop_class, SOPInstanceUID=f"2.25.{number}", StudyInstanceUID=study.StudyInstanceUID,
        SeriesInstanceUID=f"2.25.{number}000", PatientName="A^B", PatientID="1", Modality="OT", **attributes,
    )  # fmt: skip
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    return ds


def state(study: Dataset, number: int, *references: Dataset) -> Dataset:
    series = item(SeriesInstanceUID=study.SeriesInstanceUID, ReferencedImageSequence=list(references))
    text = item(ReferencedImageSequence=[copy.deepcopy(references[0])], GraphicLayer="A")
    return other(study, GSPS, number, ReferencedSeriesSequence=[series], GraphicAnnotationSequence=[text])
