"""Query/Retrieve Views, by our own client: what is found in a view is what an archive finds that holds the view's
instances as received, and what is retrieved is what is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

import isocenter
import ours
from isocenter.dimse.folder import FolderStorage
from isocenter.dimse.views import Views
from isocenter.errors import OperationFailed
from isocenter.known_peers import KnownPeer
from isocenter.server import Node
from view_studies import CLASSIC_CT, LEGACY_CT, LEGACY_MR, MIXED, ONE_CT, ULTRASOUND, files, read

VIEWS = ("CLASSIC", "ENHANCED")
STUDIES = (ONE_CT, MIXED, ULTRASOUND)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ours.Receiver]:
    with ours.receiver(tmp_path_factory.mktemp("moved")) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, moved: ours.Receiver) -> Iterator[Node]:
    """The archive with the studies, which knows one destination."""
    there = KnownPeer("there", "THERE", "127.0.0.1", moved.port)  # type: ignore[arg-type]
    with ours.node(tmp_path_factory.mktemp("received"), peers=[there]) as server:
        with isocenter.sync.connect(server.address) as pacs:
            assert {0} == {outcome.status for outcome in pacs.store(files())}
        yield server


def got(node: Node, folder: Path, level: str = "STUDY", **asked: Any) -> list[Path]:
    with isocenter.sync.connect(node.address) as pacs:
        *_, last = pacs.get(level, into=FolderStorage(folder), **asked)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    assert (0, len(found)) == (last.status, last.completed)
    return found


@pytest.fixture(scope="module", params=VIEWS)
def both(
    request: pytest.FixtureRequest, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Node, Node]]:
    """A view, the archive, and another one that has received what the first one gives in that view."""
    folder = tmp_path_factory.mktemp(request.param)
    with ours.node(folder / "data") as oracle:
        for study in STUDIES:
            made = got(node, folder / study, view=request.param, StudyInstanceUID=study)
            with isocenter.sync.connect(oracle.address) as pacs:
                assert {0} == {outcome.status for outcome in pacs.store(made)}
        yield request.param, node, oracle


def answers(node: Node, level: str, view: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    with isocenter.sync.connect(node.address) as pacs:
        root = "PATIENT" if level == "PATIENT" else "STUDY"
        found = [one.to_json_dict() for one in pacs.find(level, root=root, view=view, **asked)]
    assert {view or None} >= {one.pop("00080053", {"Value": [None]})["Value"][0] for one in found}
    return sorted(found, key=str)


KEYS: dict[str, tuple[str, ...]] = {
    "PATIENT": (
        "PatientName", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    ),
    "STUDY": (
        "PatientID", "StudyInstanceUID", "StudyDate", "ModalitiesInStudy", "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    ),
    "SERIES": (
        "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate",
        "NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances", "AccessionNumber", "Manufacturer",
    ),
    "IMAGE": (
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames",
        "Rows", "Columns", "BitsAllocated", "ImageType", "ContentDate", "ContentTime", "AvailableTransferSyntaxUID",
        "SliceThickness", "PatientName", "Modality", "NumberOfSeriesRelatedInstances",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("level", "more"),
    [
        ("PATIENT", {}),
        ("PATIENT", {"PatientID": "P2"}),
        ("PATIENT", {"NumberOfPatientRelatedInstances": "2"}),
        ("STUDY", {}),
        ("STUDY", {"StudyInstanceUID": MIXED}),
        ("STUDY", {"SOPClassesInStudy": LEGACY_CT}),
        ("STUDY", {"SOPClassesInStudy": LEGACY_MR}),
        ("STUDY", {"SOPClassesInStudy": CLASSIC_CT, "ModalitiesInStudy": "MR"}),
        ("STUDY", {"NumberOfStudyRelatedInstances": "2", "StudyDate": "20240101-"}),
        ("SERIES", {}),
        ("SERIES", {"StudyInstanceUID": MIXED, "Modality": "CT"}),
        ("SERIES", {"SeriesDescription": "Thorax*", "PatientID": "P1"}),
        ("SERIES", {"NumberOfSeriesRelatedInstances": "2"}),
        ("SERIES", {"SOPClassesInStudy": LEGACY_CT}),
        ("SERIES", {"Modality": "MR", "ModalitiesInStudy": "CT"}),
        ("SERIES", {"Modality": "M*"}),
        ("SERIES", {"SeriesInstanceUID": "1.2.3"}),
        ("IMAGE", {}),
        ("IMAGE", {"StudyInstanceUID": ONE_CT}),
        ("IMAGE", {"StudyDate": "20240101-20240131", "SOPClassUID": LEGACY_CT}),
        ("IMAGE", {"SOPClassUID": CLASSIC_CT}),
        ("IMAGE", {"NumberOfFrames": "5", "Modality": "CT"}),
        ("IMAGE", {"InstanceNumber": "1", "PatientName": "doe^*"}),
    ],
)
def test_a_view_is_searched_as_if_it_were_stored(
    both: tuple[str, Node, Node], level: str, more: dict[str, str]
) -> None:
    view, node, oracle = both
    asked = {**dict.fromkeys(KEYS[level], ""), **more, "relational": True}
    assert answers(oracle, level, "", asked) == answers(node, level, view, asked)


def test_the_view_has_what_it_is_to_have(both: tuple[str, Node, Node]) -> None:
    view, node, _ = both
    keys = dict.fromkeys(KEYS["IMAGE"], "")
    with isocenter.sync.connect(node.address) as pacs:
        found = list(pacs.find("IMAGE", view=view, relational=True, **keys))
        studies = {
            one.StudyInstanceUID: one for one in pacs.find("STUDY", view=view, **dict.fromkeys(KEYS["STUDY"], ""))
        }
    of_one = sorted((one.SOPClassUID, one.get("NumberOfFrames")) for one in found if one.StudyInstanceUID == ONE_CT)
    key_object = ("1.2.840.10008.5.1.4.1.1.88.59", None)
    if view == "ENHANCED":
        assert [(LEGACY_CT, 5), key_object] == of_one
        assert 2 == studies[ONE_CT].NumberOfStudyRelatedInstances
        assert LEGACY_CT in studies[MIXED].SOPClassesInStudy
    else:
        assert [(CLASSIC_CT, None)] * 5 + [key_object] == of_one
        assert 3 + 2 + 4 == studies[MIXED].NumberOfStudyRelatedInstances
        assert LEGACY_MR not in studies[MIXED].SOPClassesInStudy
    assert 2 == studies[ULTRASOUND].NumberOfStudyRelatedInstances


def test_references_are_to_what_is_there(both: tuple[str, Node, Node], tmp_path: Path) -> None:
    view, node, _ = both
    made = [read(path.read_bytes()) for path in got(node, tmp_path, view=view, StudyInstanceUID=ONE_CT)]
    there = {one.SOPInstanceUID: one for one in made}
    (selection,) = (one for one in made if one.Modality == "KO")
    for item in selection.ContentSequence:
        reference = item.ReferencedSOPSequence[0]
        assert there[reference.ReferencedSOPInstanceUID].SOPClassUID == reference.ReferencedSOPClassUID


def test_levels_below_the_study_are_of_the_view(both: tuple[str, Node, Node], tmp_path: Path) -> None:
    view, node, _ = both
    with isocenter.sync.connect(node.address) as pacs:
        found = list(pacs.find("IMAGE", view=view, relational=True, SOPClassUID="", SeriesInstanceUID="",
                               StudyInstanceUID=MIXED))  # fmt: skip
    one = found[0]
    keys = {"StudyInstanceUID": MIXED, "SeriesInstanceUID": str(one.SeriesInstanceUID)}
    (file,) = got(node, tmp_path / "image", "IMAGE", view=view, SOPInstanceUID=str(one.SOPInstanceUID), **keys)
    assert one.SOPClassUID == pydicom.dcmread(file).SOPClassUID
    of_series = {str(each.SOPInstanceUID) for each in found if each.SeriesInstanceUID == one.SeriesInstanceUID}
    files = got(node, tmp_path / "series", "SERIES", view=view, **keys)
    assert of_series == {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}
    # Relational retrieval, where nobody says which study it is in
    instance = str(found[-1].SOPInstanceUID)
    (file,) = got(node, tmp_path / "alone", "IMAGE", view=view, relational=True, SOPInstanceUID=instance)
    assert instance == pydicom.dcmread(file).SOPInstanceUID
    # What is not in the view is not there
    with isocenter.sync.connect(node.address) as pacs:
        stored = {str(each.SOPInstanceUID) for each in pacs.find("IMAGE", relational=True, StudyInstanceUID=MIXED)}
        gone = sorted(stored - {str(each.SOPInstanceUID) for each in found})
        assert gone
        *_, last = pacs.get("IMAGE", into=FolderStorage(tmp_path / "none"), view=view, relational=True,
                            StudyInstanceUID=MIXED, SOPInstanceUID=gone)  # fmt: skip
    assert (0, 0) == (last.status, last.completed)


def test_a_move_takes_a_view_there(both: tuple[str, Node, Node], moved: ours.Receiver) -> None:
    view, node, _ = both
    with isocenter.sync.connect(node.address) as pacs:
        found = {str(one.SOPInstanceUID) for one in pacs.find("IMAGE", view=view, relational=True, PatientID="P1")}
        moved.stored.clear()
        *_, last = pacs.move("THERE", "PATIENT", root="PATIENT", view=view, PatientID="P1")
    assert (0, len(found)) == (last.status, last.completed)
    assert found == {request.command["AffectedSOPInstanceUID"] for _, request in moved.stored}


def test_what_comes_to_a_study_is_in_its_views(tmp_path: Path) -> None:
    images = [file for file in files() if read(file).StudyInstanceUID == ONE_CT and read(file).Modality == "CT"]
    with ours.node(tmp_path / "data") as node, isocenter.sync.connect(node.address) as pacs:
        seen: list[tuple[int, str]] = []
        for some in (images[:2], images[2:]):
            assert {0} == {outcome.status for outcome in pacs.store(some)}
            (one,) = pacs.find("IMAGE", view="ENHANCED", relational=True, NumberOfFrames="", StudyInstanceUID=ONE_CT)
            seen.append((int(one.NumberOfFrames), str(one.SOPInstanceUID)))
    assert [2, 5] == [frames for frames, _ in seen]
    assert seen[0][1] != seen[1][1], "another instance has another UID"


def test_the_levels_are_walked_down(both: tuple[str, Node, Node]) -> None:
    """A hierarchical search, each with the key of the level above."""
    view, node, _ = both
    with isocenter.sync.connect(node.address) as pacs:
        all_images = {str(one.SOPInstanceUID) for one in pacs.find("IMAGE", view=view, relational=True)}
        walked = [
            str(image.SOPInstanceUID)
            for study in pacs.find("STUDY", view=view)
            for series in pacs.find("SERIES", view=view, StudyInstanceUID=str(study.StudyInstanceUID))
            for image in pacs.find(
                "IMAGE", view=view, StudyInstanceUID=str(study.StudyInstanceUID),
                SeriesInstanceUID=str(series.SeriesInstanceUID),
            )
        ]  # fmt: skip
    assert len(all_images) == len(walked)
    assert all_images == set(walked)


def test_a_damaged_object_costs_itself_alone(tmp_path: Path) -> None:
    images = [file for file in files() if read(file).StudyInstanceUID == ONE_CT and read(file).Modality == "CT"]
    with ours.node(tmp_path / "data") as node, isocenter.sync.connect(node.address) as pacs:
        assert {0} == {outcome.status for outcome in pacs.store(images)}
        damaged = str(read(images[4]).SOPInstanceUID)
        stored = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
        (blob,) = (path for path, data in stored.items() if data[128:132] == b"DICM" and damaged.encode() in data)
        os.truncate(blob, blob.stat().st_size - 100)
        keys = {"StudyInstanceUID": ONE_CT, "NumberOfFrames": ""}
        found = {str(one.SOPInstanceUID): one for one in pacs.find("IMAGE", view="ENHANCED", relational=True, **keys)}
        assert [4] == [one.NumberOfFrames for uid, one in found.items() if uid != damaged]
        assert damaged in found
        *_, last = pacs.get("STUDY", into=FolderStorage(tmp_path / "got"), view="ENHANCED", StudyInstanceUID=ONE_CT)
    assert (0xB000, 1, [damaged]) == (last.status, last.completed, list(last.failed_instances))


def test_a_search_that_narrows_to_studies_converts_these_alone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[set[str]] = []
    of = Views.of
    monkeypatch.setattr(Views, "of", lambda self, refs, view: converted.append({ref.study for ref in refs})
                        or of(self, refs, view))  # fmt: skip
    with isocenter.sync.connect(node.address) as pacs:
        assert 3 == len(list(pacs.find("STUDY", view="ENHANCED", PatientID="", StudyDate="", ModalitiesInStudy="")))
        assert [] == converted, "what is the same in every view needs none"
        assert list(pacs.find("STUDY", view="CLASSIC", StudyInstanceUID=ONE_CT, NumberOfStudyRelatedInstances=""))
        assert list(pacs.find("IMAGE", view="ENHANCED", relational=True, StudyInstanceUID=ULTRASOUND))
        assert [] == converted, "nothing in them can look other"
        for narrow in (
            {"StudyInstanceUID": MIXED},
            {"StudyDate": "20240210"},
            {"Modality": "MR"},
            {"AccessionNumber": "A12"},
        ):
            assert list(pacs.find("SERIES", view="ENHANCED", relational=True, **narrow))
            assert [{MIXED}] == converted
            converted.clear()


def test_a_search_that_is_left_early_leaves_nothing_behind(node: Node) -> None:
    with isocenter.sync.connect(node.address) as pacs:
        found = pacs.find("IMAGE", view="CLASSIC", relational=True)
        assert next(iter(found))
        found.close()
        assert 17 == len(list(pacs.find("IMAGE", view="CLASSIC", relational=True)))


def test_an_ordinary_request_is_not_of_a_view(node: Node, tmp_path: Path) -> None:
    sent = {str(read(file).SOPInstanceUID) for file in files() if read(file).StudyInstanceUID == MIXED}
    with isocenter.sync.connect(node.address) as pacs:
        assert len(sent) == len(list(pacs.find("IMAGE", relational=True, StudyInstanceUID=MIXED)))
        with pytest.raises(OperationFailed, match="A900"):
            list(pacs.find("STUDY", QueryRetrieveView="CLASSIC"))
    assert len(sent) == len(got(node, tmp_path, StudyInstanceUID=MIXED))
