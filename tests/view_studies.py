"""Studies for servers that are asked for views: classic and enhanced images, and what refers to them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

import view_objects
import volume_objects
from isocenter.views.study import viewed
from isocenter.views.view import View
from skins.web_harness import saved
from view_objects import sources

__all__ = ["CLASSIC_CT", "CLASSIC_MR", "LEGACY_MR", "LEGACY_CT", "MIXED", "ONE_CT", "ULTRASOUND", "files", "read"]

CLASSIC_CT, LEGACY_CT = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.1.2.2")
CLASSIC_MR, LEGACY_MR = UID("1.2.840.10008.5.1.4.1.1.4"), UID("1.2.840.10008.5.1.4.1.1.4.4")

ONE_CT, MIXED, ULTRASOUND = (f"1.2.826.0.1.3680043.8.498.{number}" for number in (11, 12, 13))
"""Studies: a series of CT images and a selection of them; multi-frame images of CT and MR, and a series of CT images;
and images that are the same in each view."""


def files() -> list[bytes]:
    """All of them."""
    return [saved(one) for one in (*_one_ct(), *_mixed(), *_ultrasound())]


def _one_ct() -> list[Dataset]:
    images = _slices(5, ONE_CT, "P1", "20240105")
    return [*images, _selection(images[1:3])]


def _mixed() -> list[Dataset]:
    whole = [_as_one(_slices(2, MIXED, "P1", "20240210")), _as_one(_mr(4, MIXED, "P1", "20240210"))]
    return [*whole, *_slices(3, MIXED, "P1", "20240210")]


def _as_one(images: list[Dataset]) -> Dataset:
    """A multi-frame image of images, which somebody else converted."""
    (whole,) = (one for one in viewed(sources(images), View.ENHANCED) if one.make)
    return view_objects.read(whole)


def _ultrasound() -> list[Dataset]:
    made = []
    for number in (1, 2):
        one = _read("CT_small.dcm", ULTRASOUND, "P2", "20231231")
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
        one.Modality, one.InstanceNumber, one.SeriesInstanceUID = "OT", number, f"{ULTRASOUND}.1"
        made.append(one)
    return made


def _slices(count: int, study: str, patient: str, date: str) -> list[Dataset]:
    series, made = generate_uid(), volume_objects.ct(count)
    for number, one in enumerate(made, 1):
        _put(one, study, patient, date)
        one.SeriesInstanceUID, one.SeriesNumber, one.InstanceNumber = series, 3, number
        one.SeriesDescription, one.ContentTime, one.SliceThickness = "Thorax 1.0", f"1011{number:02d}", 2.5
        one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return made


def _mr(count: int, study: str, patient: str, date: str) -> list[Dataset]:
    made = _slices(count, study, patient, date)
    for number, one in enumerate(made, 1):
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CLASSIC_MR
        one.Modality, one.SeriesDescription, one.SeriesNumber = "MR", "T2", 4
        one.ScanningSequence, one.SequenceVariant, one.ScanOptions = "SE", "NONE", None
        one.MRAcquisitionType, one.EchoTime, one.EchoTrainLength = "2D", 10 * number, 1
        del one.RescaleSlope, one.RescaleIntercept, one.RescaleType
    return made


def _read(name: str, study: str, patient: str, date: str) -> Dataset:
    one = pydicom.dcmread(Path(str(get_testdata_file(name))))
    return _put(one, study, patient, date)


def _put(one: Dataset, study: str, patient: str, date: str) -> Dataset:
    one.StudyInstanceUID, one.PatientID, one.PatientName, one.StudyDate = study, patient, f"Doe^{patient}", date
    one.StudyTime, one.AccessionNumber, one.StudyID, one.StudyDescription = "080000", f"A{study[-2:]}", "1", "Follow-up"
    one.ReferringPhysicianName, one.PatientBirthDate, one.PatientSex = "Roe^Jane", "19700101", "O"
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword in ("IssuerOfPatientID", "TimezoneOffsetFromUTC", "PatientAge", "PatientWeight", "OtherPatientIDs"):
        if keyword in one:
            delattr(one, keyword)
    return one


def _selection(images: list[Dataset]) -> Dataset:
    """A key object selection of images."""
    one = Dataset()
    one.SOPClassUID, one.Modality = UID("1.2.840.10008.5.1.4.1.1.88.59"), "KO"
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.TransferSyntaxUID = one.SOPClassUID, UID("1.2.840.10008.1.2.1")
    first = images[0]
    _put(one, first.StudyInstanceUID, first.PatientID, first.StudyDate)
    one.SeriesInstanceUID, one.SeriesNumber, one.InstanceNumber = generate_uid(), 9, 1
    one.ContentDate, one.ContentTime, one.Manufacturer = "20240105", "090000", "Isocenter"
    one.ReferencedPerformedProcedureStepSequence = []
    one.ValueType, one.ContinuityOfContent = "CONTAINER", "SEPARATE"
    one.ConceptNameCodeSequence = [_code("113000", "Of Interest")]
    references = [
        _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
        for image in images
    ]
    series = _item(SeriesInstanceUID=first.SeriesInstanceUID, ReferencedSOPSequence=references)
    one.CurrentRequestedProcedureEvidenceSequence = [
        _item(StudyInstanceUID=first.StudyInstanceUID, ReferencedSeriesSequence=[series])
    ]
    one.ContentSequence = [
        _item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=[reference])
        for reference in references
    ]
    return one


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(data))
