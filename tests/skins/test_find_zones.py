"""C-FIND in the zone of whoever asks: what is matched and what is answered, by our own client and by the index."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from isocenter.errors import OperationFailed, UsageError
from isocenter.index.matching import fits
from isocenter.model import Equal, Level, Query, Range
from isocenter.net import query_retrieve
from skins.web_harness import saved

DATE, TIME = 0x00080020, 0x00080030
MOMENTS = {
    "SEOUL": ("20240106", "063000", "+0900"),
    "LONDON": ("20240105", "213000", "+0000"),
    "NEWYORK": ("20240105", "163000", "-0500"),
    "NOWHERE": ("20240105", "213000", ""),
    "LATER": ("20240107", "000000", "+0000"),
}


def objects() -> list[bytes]:
    made = []
    for patient, (date, time, zone) in MOMENTS.items():
        one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        one.PatientID, one.StudyDate, one.StudyTime = patient, date, time
        del one.TimezoneOffsetFromUTC
        if zone:
            one.TimezoneOffsetFromUTC = zone
        one.StudyInstanceUID, one.SeriesInstanceUID = generate_uid(), generate_uid()
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.append(saved(one))
    return made


@pytest.mark.parametrize(
    ("expected", "zone", "date"),
    [
        ({"SEOUL", "LONDON", "NEWYORK"}, "+0900", "20240106"),
        ({"NOWHERE"}, "+0900", "20240105"),
        ({"SEOUL", "LONDON", "NEWYORK", "NOWHERE"}, "-0500", "20240105"),
        ({"LATER"}, "-0500", "20240106"),
        ({"LONDON", "NEWYORK", "NOWHERE"}, "", "20240105"),
        (set(MOMENTS), "+1300", "20240105-20240107"),
    ],
)
def test_a_day_is_the_day_of_who_asks(expected: set[str], zone: str, date: str, tmp_path: Path) -> None:
    with ours.node(tmp_path) as node, isocenter.sync.connect(node.address) as pacs:
        assert {outcome.status for outcome in pacs.store(objects())} == {0}
        asked = {"PatientID": "", "StudyDate": date, "StudyTime": ""}
        found = {match.PatientID: match for match in pacs.find("STUDY", zone=zone, **asked)}
        assert expected == set(found)
        if zone == "+0900" and "LONDON" in found:
            moments = {name: (one.StudyDate, one.StudyTime) for name, one in found.items()}
            assert {("20240106", "063000")} == set(moments.values())
            assert {"+0900"} == {one.TimezoneOffsetFromUTC for one in found.values()}
        assert all("TimezoneOffsetFromUTC" not in one for name, one in found.items() if name == "NOWHERE")


def test_a_zone_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody is asked, and by the SCP where the SCU does not look."""
    with ours.node(tmp_path) as node, isocenter.sync.connect(node.address) as pacs:
        with pytest.raises(UsageError, match="CET"):
            list(pacs.find("STUDY", zone="CET", StudyDate="20240105"))
        monkeypatch.setattr(query_retrieve, "check_zone", lambda zone: None)
        with pytest.raises(OperationFailed) as no:
            list(pacs.find("STUDY", zone="CET", StudyDate="20240105"))
        assert 0xA900 == no.value.status


def test_the_index_and_the_evaluator_agree_in_every_zone(tmp_path: Path) -> None:
    with ours.node(tmp_path) as node, isocenter.sync.connect(node.address) as pacs:
        assert {outcome.status for outcome in pacs.store(objects())} == {0}
        index = node.archive._index
        kept = [one.attributes for one in index.find(Query(Level.STUDY, include=None))]
        matches = [
            (Equal(DATE, ("20240105",)),),
            (Equal(DATE, ("20240106", "20240107")),),
            (Range(DATE, "20240106", None), Range(TIME, "0600", "0700")),
            (Range(TIME, "1200", "2359"),),
        ]
        for wanted in matches:
            for zone in (None, *range(-720, 841, 60)):
                query = Query(Level.STUDY, wanted, (0x00100020,), zone=zone)
                expected = [one["00100020"] for one in kept if fits(query, one)]
                assert expected == [one.attributes["00100020"] for one in index.find(query)], (wanted, zone)
