"""A small archive to be searched: names in several scripts, dates, modalities, and characters that SQL knows."""

from __future__ import annotations

from collections.abc import Iterator

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from skins.web_harness import saved

# Patient ID: name, Specific Character Set, study date, study time, modalities with the number of objects
STUDIES: dict[str, tuple[str, str | list[str], str, str, dict[str, int]]] = {
    "KR": ("Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"], "20240105", "080000", {"CT": 3}),
    "JP": ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"], "20240210", "093000", {"MR": 2, "SR": 1}),
    "CN": ("Zhang^XiaoDong=张^小东", "GB18030", "20240315", "141500", {"CT": 1}),
    "DE": ("Äneas^Rüdiger", "ISO_IR 192", "20231231", "235959", {"US": 1}),
    "100%_A": ("Percent^Under_score", "", "20240105", "120000", {"CT": 1, "MR": 1}),
    "100XYA": ("Percent^UnderXscore", "", "20240106", "000000", {"CT": 1}),
}


def objects() -> Iterator[bytes]:
    """Every object as a Part 10 file."""
    for patient, (name, charset, date, time, modalities) in STUDIES.items():
        study = generate_uid()
        for number, (modality, count) in enumerate(modalities.items(), 1):
            series = generate_uid()
            for instance in range(1, count + 1):
                data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
                data_set.SpecificCharacterSet = charset
                data_set.PatientName, data_set.PatientID = name, patient
                data_set.StudyDate, data_set.StudyTime, data_set.Modality = date, time, modality
                data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
                data_set.SeriesNumber, data_set.InstanceNumber = number, instance
                data_set.AccessionNumber = f"A-{patient}"
                data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
                yield saved(data_set)
