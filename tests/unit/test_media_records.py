"""Records and file IDs of a DICOMDIR, without files."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.filereader import read_dataset

from isocenter.media.fileset import named
from isocenter.media.records import record, record_type
from isocenter.model import InstanceRef


def read(kind: str, said: dict[str, Any]) -> Dataset:
    ds = read_dataset(BytesIO(record(kind, said, 3, {})), is_implicit_VR=False, is_little_endian=True)
    assert isinstance(ds, Dataset)
    return ds


@pytest.mark.parametrize("values", [[None], [None, None], [""]], ids=["null", "nulls", "nothing"])
def test_what_a_record_must_say_is_made_up_where_the_object_has_no_value(values: list[Any]) -> None:
    """Instance Number, Study Date and Patient ID are of type 1 in records (PS3.3 F.5.1, F.5.2, F.5.4)."""
    assert "3" == str(read("IMAGE", {"00200013": {"vr": "IS", "Value": values}}).InstanceNumber)
    assert "19000101" == read("STUDY", {"00080020": {"vr": "DA", "Value": values}}).StudyDate
    assert "UNKNOWN" == read("PATIENT", {"00100020": {"vr": "LO", "Value": values}}).PatientID


def test_every_radiotherapy_object_of_the_second_generation_has_its_record() -> None:
    images = {23, 24}  # Enhanced RT Image, Enhanced Continuous RT Image
    kinds = {number: record_type(f"1.2.840.10008.5.1.4.1.1.481.{number}") for number in range(10, 26)}
    assert {number: "IMAGE" if number in images else "RADIOTHERAPY" for number in kinds} == kinds


def test_names_count_series_in_each_study_and_objects_in_each_series() -> None:
    """Also those of a study of very many series, in which nobody may count them again and again."""
    refs = [
        InstanceRef(study, f"{study}.{series}", f"{study}.{series}.{image}", "", "", "", 0, 0, "", "")
        for image in range(2)
        for series in range(20_000)
        for study in ("1.1", "1.2")
    ]
    paths = {file.ref.instance: file.path for file in named(refs, str)}
    assert len(refs) == len(set(paths.values()))
    assert "DICOM/ST000001/SE000001/IM000001" == paths["1.1.0.0"]
    assert "DICOM/ST000002/SE020000/IM000002" == paths["1.2.19999.1"]
