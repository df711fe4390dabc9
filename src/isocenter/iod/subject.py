"""Patient and General Study Module (PS3.3 C.7.1.1, C.7.2.1): new, or taken over from an object of the study to join."""

from __future__ import annotations

import copy
import datetime
from dataclasses import dataclass

from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod import tables, text
from isocenter.iod.uids import UIDs
from isocenter.names import is_uid

_MODULES = ("patient", "patient-study", "general-study")
Date = str | datetime.date
Time = str | datetime.time


@dataclass(frozen=True, slots=True)
class Subject:
    """The arguments of `create` about who and when; None was not given."""

    patient_name: str | None
    patient_id: str | None
    patient_birth_date: Date | None
    patient_sex: str | None
    study_date: Date | None
    study_time: Time | None
    study_id: str | None
    study_description: str | None
    accession_number: str | None
    referring_physician_name: str | None

    def given(self) -> dict[str, tuple[str, str]]:
        """Keyword to (argument, checked value) of every argument that was given."""
        result = {}
        for argument, keyword, vr in (
            ("patient_name", "PatientName", "PN"),
            ("patient_id", "PatientID", "LO"),
            ("patient_birth_date", "PatientBirthDate", "DA"),
            ("patient_sex", "PatientSex", "CS"),
            ("study_date", "StudyDate", "DA"),
            ("study_time", "StudyTime", "TM"),
            ("study_id", "StudyID", "SH"),
            ("study_description", "StudyDescription", "LO"),
            ("accession_number", "AccessionNumber", "SH"),
            ("referring_physician_name", "ReferringPhysicianName", "PN"),
        ):
            value = getattr(self, argument)
            if value is None:
                continue
            if vr == "DA":
                value = text.date(argument, value)
            elif vr == "TM":
                value = text.time(argument, value)
            else:
                value = text.checked(argument, value, vr)
            if keyword == "PatientSex" and value not in ("", "M", "F", "O"):
                raise UsageError("patient_sex: M, F, O or nothing is needed")
            result[keyword] = (argument, value)
        return result


def new_study(subject: Subject, uids: UIDs, now: datetime.datetime) -> Dataset:
    """Patient and study of an object that begins a study of its own; study date and time default to `now`."""
    ds = Dataset()
    for keyword, (_, value) in subject.given().items():
        setattr(ds, keyword, value)
    if subject.study_date is None:
        ds.StudyDate = now.strftime("%Y%m%d")
        if subject.study_time is None:
            ds.StudyTime = now.strftime("%H%M%S")
    if subject.study_id is None:
        ds.StudyID = "1"  # may be empty here, but a DICOMDIR needs one (PS3.3 F.5-2)
    ds.StudyInstanceUID = uids.new("study")
    return ds


def joined_study(subject: Subject, study: Dataset) -> Dataset:
    """Patient and study of `study`, any object of it. UsageError when an argument says otherwise."""
    if not is_uid(str(study.get("StudyInstanceUID", ""))):
        raise UsageError("study: the data set has no valid Study Instance UID; pass any object of the study to join")
    ds = Dataset()
    for module in _MODULES:
        for keyword in tables.attributes(module):
            if keyword in study:
                ds[keyword] = copy.deepcopy(study[keyword])
    for keyword, (argument, value) in subject.given().items():
        if keyword not in ds or ds[keyword].is_empty:
            setattr(ds, keyword, value)
        elif str(ds[keyword].value) != value:
            raise UsageError(f"{argument}: differs from that of the study to join; leave it out")
    return ds
