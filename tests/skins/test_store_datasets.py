"""Data sets are sent as they are, over both skins: no file has to be written first."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file

import isocenter
import ours
from isocenter.errors import DataSetError, UsageError

CT = Path(str(get_testdata_file("CT_small.dcm")))


def slices() -> list[Dataset]:
    volume = np.arange(3 * 64 * 64, dtype=np.uint16).reshape(3, 64, 64) % 900
    made = isocenter.create(volume, modality="CT", pixel_spacing=(1, 1), slice_thickness=2)
    assert isinstance(made, list)
    return made


def as_file(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_data_sets_are_stored_by_dimse_beside_files_and_bytes(tmp_path: Path) -> None:
    made = slices()
    with ours.receiver(tmp_path) as receiver, isocenter.sync.connect(receiver.address) as pacs:
        outcomes = list(pacs.store([made[0], CT, as_file(made[1]), made[2]]))
    assert [0, 0, 0, 0] == [outcome.status for outcome in outcomes]
    assert [made[0].SOPInstanceUID, made[2].SOPInstanceUID] == [outcomes[0].sop_instance, outcomes[3].sop_instance]
    assert ["data set", str(CT), "bytes", "data set"] == [outcome.source for outcome in outcomes]
    got = {str(ds.SOPInstanceUID): ds for ds in (pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm"))}
    assert all(pydicom.dcmread(BytesIO(as_file(ds))) == got[str(ds.SOPInstanceUID)] for ds in made)


def test_data_sets_are_stored_over_the_web(tmp_path: Path) -> None:
    made = slices()
    with ours.node(tmp_path) as node, isocenter.web_client(f"{node.url}dicomweb") as client:
        assert {str(ds.SOPInstanceUID) for ds in made} == {outcome.sop_instance for outcome in client.store(made)}
        found = client.find("IMAGE", StudyInstanceUID=made[0].StudyInstanceUID)
        assert {ds.SOPInstanceUID for ds in made} == {answer.SOPInstanceUID for answer in found}


def test_one_that_cannot_be_written_is_told_and_the_others_are_sent(tmp_path: Path) -> None:
    good, bad = slices()[:2]
    del bad.file_meta.TransferSyntaxUID
    with ours.receiver(tmp_path) as receiver, isocenter.sync.connect(receiver.address) as pacs:
        told, sent = pacs.store([bad, good])
    assert (None, 0) == (told.status, sent.status)
    assert "cannot be written" in told.message
    with isocenter.web_client("http://127.0.0.1:9/dicomweb") as web, pytest.raises(DataSetError, match="be written"):
        list(web.store([bad]))


@pytest.mark.parametrize(("keyword", "value"), [("Rows", "Doe^Jane"), ("PatientBirthDate", 1_962)])
@pytest.mark.filterwarnings("ignore:A value of type:UserWarning")
def test_a_value_that_does_not_fit_is_told_by_its_tag_alone(tmp_path: Path, keyword: str, value: object) -> None:
    good, bad = slices()[:2]
    setattr(bad, keyword, value)
    with ours.receiver(tmp_path) as receiver, isocenter.sync.connect(receiver.address) as pacs:
        told, sent = pacs.store([bad, good])
    assert (None, 0) == (told.status, sent.status)
    assert str(bad[keyword].tag).replace(" ", "") in told.message
    assert not [word for word in ("\n", "Traceback", str(value)) if word in told.message]


@pytest.mark.parametrize("one", [slices()[0], str(CT), CT, CT.read_bytes()], ids=["data set", "name", "path", "bytes"])
def test_a_single_object_is_no_list_of_objects(tmp_path: Path, one: object) -> None:
    with (
        ours.receiver(tmp_path) as receiver,
        isocenter.sync.connect(receiver.address) as pacs,
        pytest.raises(UsageError, match=r"store\(\[one\]\)"),
    ):
        list(pacs.store(one))  # type: ignore[arg-type]
