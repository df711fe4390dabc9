"""What every object of one call shares below the study: General Series, Equipment and image description.

`Request` is the checked form of `create`'s arguments that builders read; a builder (ct.py, secondary_capture.py)
turns it into finished data sets.
"""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from isocenter.errors import UsageError
from isocenter.iod import tables, text
from isocenter.iod.decimal_string import ds_values
from isocenter.iod.geometry import Geometry
from isocenter.iod.stored_values import IDENTITY, StoredValues
from isocenter.iod.subject import Subject, joined_study, new_study
from isocenter.iod.uids import UIDs
from isocenter.std.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

CONVERSION_TYPES = ("DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN")  # C.8.6.1
PATIENT_POSITIONS = (
    "",
    *(first + face for first in ("HF", "FF", "LF", "RF", "AF", "PF") for face in ("P", "S", "DR", "DL")),
)  # C.7.3.1.1.2
# Body parts of PS3.16 Annex L that have no side, where Laterality may stay out; elsewhere it is unknown, and empty
_UNPAIRED = frozenset(
    {
        "ABDOMEN", "ABDOMENPELVIS", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX",
        "COLON", "CSPINE", "ESOPHAGUS", "HEAD", "HEADNECK", "HEART", "JAW", "LARYNX", "LIVER", "LSPINE", "NECK",
        "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV", "PANCREAS", "PELVIS", "PROSTATE", "RECTUM",
        "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS", "TONGUE", "TRACHEA", "TSPINE",
        "UTERUS", "WHOLEBODY"
    }
)  # fmt: skip
_EXAMINATION = ("PRIMARY", "SECONDARY")


@dataclass(frozen=True, slots=True)
class Description:
    """The arguments of `create` that describe images without touching their pixels."""

    image_type: Sequence[str] | None
    derivation: str
    window: tuple[float, float] | None
    conversion_type: str
    burned_in_annotation: bool
    multi_frame: bool | None
    frame_time: float | None

    def checked(self) -> Description:
        """The same with text stripped. Raises UsageError naming the argument."""
        image_type = self.image_type
        if image_type is not None:
            if isinstance(image_type, str):
                image_type = image_type.split("\\")
            image_type = tuple(text.checked("image_type", value, "CS") for value in image_type)
            if len(image_type) < 2 or image_type[0] not in ("ORIGINAL", "DERIVED") or image_type[1] not in _EXAMINATION:
                raise UsageError("image_type: begins with ORIGINAL or DERIVED, then PRIMARY or SECONDARY (C.7.6.1.1.2)")
        if self.conversion_type not in CONVERSION_TYPES:
            raise UsageError(f"conversion_type: one of {', '.join(CONVERSION_TYPES)} is needed")
        if self.frame_time is not None and not (math.isfinite(self.frame_time) and self.frame_time > 0):
            raise UsageError("frame_time: a positive number of ms is needed")
        derivation = text.checked("derivation", self.derivation, "ST")
        return replace(self, image_type=image_type, derivation=derivation)


@dataclass(frozen=True, slots=True)
class Series:
    """The arguments of `create` about the series and the equipment that made it."""

    modality: str
    series_description: str
    series_number: int | None
    body_part_examined: str
    laterality: str
    patient_position: str
    manufacturer: str


def base(series: Series, subject: Subject, study: Dataset | None, uids: UIDs) -> Dataset:
    """What all objects of one call share: Patient, General Study, General Series and General Equipment Module."""
    now = datetime.datetime.now().astimezone()
    ds = new_study(subject, uids, now) if study is None else joined_study(subject, study)
    ds.Modality = series.modality
    ds.SeriesInstanceUID = uids.new("series")
    number = series.series_number
    if number is None:
        number = 1 if study is None else int(study.get("SeriesNumber") or 0) + 1
    number = int(number)
    if not -(2**31) <= number < 2**31:
        raise UsageError(f"series_number: {number} does not fit an Integer String (PS3.5 section 6.2)")
    ds.SeriesNumber = number
    if series.series_description:
        ds.SeriesDescription = text.checked("series_description", series.series_description, "LO")
    if series.body_part_examined:
        ds.BodyPartExamined = text.checked("body_part_examined", series.body_part_examined, "CS")
    if series.patient_position not in PATIENT_POSITIONS:
        raise UsageError(f"patient_position: one of {', '.join(PATIENT_POSITIONS[1:])} is needed, or nothing")
    ds.PatientPosition = series.patient_position
    if series.laterality not in ("", "R", "L"):
        raise UsageError("laterality: R or L is needed, or nothing")
    if series.laterality or series.body_part_examined not in _UNPAIRED:
        ds.Laterality = series.laterality
    ds.Manufacturer = text.checked("manufacturer", series.manufacturer, "LO")
    # Of the content, not of this run: the study's own moment where it is told, so that a seed repeats every byte
    told = study is None and subject.study_date is not None and bool(ds.StudyDate)
    ds.ContentDate = ds.StudyDate if told else now.strftime("%Y%m%d")
    ds.ContentTime = (ds.get("StudyTime") or "000000") if told else now.strftime("%H%M%S")
    return ds


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `create`. `base` holds patient, study, series and equipment; builders copy it per object."""

    base: Dataset
    values: StoredValues
    geometry: Geometry | None
    description: Description
    frame_of_reference: str
    uids: UIDs
    stack: bool

    def start(self, number: int) -> Dataset:
        """A data set for the instance with this 1-based Instance Number."""
        ds = copy.deepcopy(self.base)
        ds.InstanceNumber = number
        ds.SOPInstanceUID = self.uids.new(f"instance {number}")
        return ds

    def write_image_type(self, ds: Dataset, default: tuple[str, ...]) -> None:
        ds.ImageType = list(self.description.image_type or default)
        if self.description.derivation:
            ds.DerivationDescription = self.description.derivation

    def write_frame_of_reference(self, ds: Dataset) -> None:
        ds.FrameOfReferenceUID = self.frame_of_reference
        ds.PositionReferenceIndicator = None


def write_pixels(ds: Dataset, values: StoredValues, frames: slice) -> None:
    """The Image Pixel Module with these frames, native (PS3.3 C.7.6.3, PS3.5 section 8.1)."""
    array = values.array[frames]
    ds.SamplesPerPixel = 3 if values.color else 1
    ds.PhotometricInterpretation = "RGB" if values.color else "MONOCHROME2"
    if values.color:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = array.shape[1:3]
    ds.BitsAllocated = ds.BitsStored = values.bits
    ds.HighBit = values.bits - 1
    ds.PixelRepresentation = int(values.signed)
    data = array.tobytes()
    ds.add_new("PixelData", "OB" if values.bits == 8 else "OW", data if len(data) % 2 == 0 else data + b"\0")


def write_rescale(ds: Dataset, values: StoredValues, unit: str) -> None:
    """Rescale Slope, Intercept and Type (C.11.1)."""
    ds.RescaleSlope, ds.RescaleIntercept = ds_values(values.rescale)
    ds.RescaleType = unit


def full_window(values: StoredValues) -> tuple[float, float] | None:
    """A window over all output values, or None where every value is its own grey: eight bits without rescale."""
    if values.color or (values.bits == 8 and values.rescale == IDENTITY):
        return None
    low, high = values.output_range()
    return (low + high) / 2, (high - low) or 1.0


def write_window(ds: Dataset, window: tuple[float, float]) -> None:
    """Window Center and Width (C.11.2.1.2); LINEAR_EXACT below a width of 1, which LINEAR does not allow."""
    center, width = window
    if not (math.isfinite(center) and math.isfinite(width)) or width <= 0:
        raise UsageError("window: (center, width) must be finite, and width positive")
    ds.WindowCenter, ds.WindowWidth = ds_values(window)
    if width < 1:
        ds.VOILUTFunction = "LINEAR_EXACT"


def finish(ds: Dataset, iod: str, optional: Iterable[str] = ()) -> Dataset:
    """Complete `ds` from the IOD's tables, choose its character set and give it file meta information.

    `optional` are the user-optional and conditional modules this object has.
    """
    ds.SOPClassUID = UID(tables.iod(iod).sop_class)
    tables.complete(ds, iod, optional)
    text.choose_character_set(ds)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.file_meta = meta
    ds.preamble = bytes(128)
    return ds
