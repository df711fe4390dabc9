"""Query/Retrieve Views of our archive, asked for by pynetdicom and by our commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

import isocenter
import ours
from command import isocenter as run_isocenter
from isocenter.known_peers import KnownPeer
from isocenter.server import Node
from isocenter.std.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from view_studies import CLASSIC_CT, CLASSIC_MR, LEGACY_CT, LEGACY_MR, MIXED, ONE_CT, files

pytestmark = pytest.mark.interop

IMAGES = (CLASSIC_CT, LEGACY_CT, CLASSIC_MR, LEGACY_MR)
EXPECTED = {
    "CLASSIC": {ONE_CT: [CLASSIC_CT] * 5, MIXED: [CLASSIC_CT] * 5 + [CLASSIC_MR] * 4},
    "ENHANCED": {ONE_CT: [LEGACY_CT], MIXED: [LEGACY_CT] * 2 + [LEGACY_MR]},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ours.Receiver]]:
    folder = tmp_path_factory.mktemp("views")
    with ours.receiver(folder / "moved") as receiver:
        there = KnownPeer("there", "THERE", "127.0.0.1", receiver.port)  # type: ignore[arg-type]
        with ours.node(folder / "data", peers=[there]) as node:
            with isocenter.sync.connect(node.address) as pacs:
                assert {outcome.status for outcome in pacs.store(files())} == {0}
            yield node, receiver


def associated(port: int, agreed_to: dict[str, bytes], got: list[Dataset], images_in: str | None = None) -> Any:
    """pynetdicom's association with views negotiated, which takes images in one transfer syntax where that is given."""
    from pynetdicom import AE, build_role, evt
    from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

    proposals: list[Any] = []
    for uid, info in ((STUDY_ROOT_FIND, b"\1\0\0\0\1"), (STUDY_ROOT_GET, b"\1\1"), (STUDY_ROOT_MOVE, b"\1\1")):
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = uid, info
        proposals.append(item)
    entity = AE()
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE):
        entity.add_requested_context(uid)
    for uid in IMAGES:
        entity.add_requested_context(uid, images_in)
    proposals += [build_role(uid, scp_role=True) for uid in IMAGES]

    def on_store(event: Any) -> int:
        one = event.dataset
        one.file_meta = event.file_meta
        got.append(one)
        return 0x0000

    association = entity.associate("127.0.0.1", port, ext_neg=proposals, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    assert association.is_established
    agreed_to.update({str(uid): info for uid, info in association.acceptor.sop_class_extended.items()})
    return association


def found(answers: Any) -> list[Dataset]:
    *pending, (last, _) = answers
    assert last.Status == 0
    assert {status.Status for status, _ in pending} <= {0xFF00}
    return [one for _, one in pending]


@pytest.mark.interop(service="Query/Retrieve View", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize("study", [ONE_CT, MIXED])
@pytest.mark.parametrize("view", EXPECTED)
def test_pynetdicom_finds_gets_and_moves_a_view(archive: tuple[Node, ours.Receiver], view: str, study: str) -> None:
    node, receiver = archive
    agreed_to: dict[str, bytes] = {}
    got: list[Dataset] = []
    association = associated(node.dimse[1], agreed_to, got)
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.QueryRetrieveView, asked.StudyInstanceUID = "IMAGE", view, study
    asked.SOPInstanceUID, asked.SOPClassUID, asked.SeriesInstanceUID, asked.NumberOfFrames = "", "", "", None
    receiver.stored.clear()
    try:
        images = [one for one in found(association.send_c_find(asked, STUDY_ROOT_FIND)) if one.SOPClassUID in IMAGES]
        assert EXPECTED[view][study] == sorted(one.SOPClassUID for one in images)
        assert {view} == {one.QueryRetrieveView for one in images}
        for series in sorted({one.SeriesInstanceUID for one in images}):
            keys = Dataset()
            keys.QueryRetrieveLevel, keys.QueryRetrieveView = "SERIES", view
            keys.StudyInstanceUID, keys.SeriesInstanceUID = study, series
            assert not any(found_one for found_one in found(association.send_c_get(keys, STUDY_ROOT_GET)))
            assert not any(found_one for found_one in found(association.send_c_move(keys, "THERE", STUDY_ROOT_MOVE)))
    finally:
        association.release()
    assert {STUDY_ROOT_FIND: b"\1\0\0\0\1", STUDY_ROOT_GET: b"\1\1", STUDY_ROOT_MOVE: b"\1\1"} == agreed_to
    by_uid = {one.SOPInstanceUID: one for one in images}
    assert sorted(by_uid) == sorted(one.SOPInstanceUID for one in got)
    assert set(by_uid) == {request.command["AffectedSOPInstanceUID"] for _, request in receiver.stored}
    for one in got:
        assert by_uid[one.SOPInstanceUID].get("NumberOfFrames") in (None, one.get("NumberOfFrames"))
        assert by_uid[one.SOPInstanceUID].SeriesInstanceUID == one.SeriesInstanceUID
        assert one.pixel_array.size == one.Rows * one.Columns * int(one.get("NumberOfFrames", 1))


@pytest.mark.parametrize("view", EXPECTED)
def test_what_is_made_is_transcoded_for_a_receiver_that_needs_it(
    archive: tuple[Node, ours.Receiver], view: str
) -> None:
    got: dict[str, list[Dataset]] = {"1.2.840.10008.1.2.1": [], "1.2.840.10008.1.2": []}
    for syntax, images in got.items():
        association = associated(archive[0].dimse[1], {}, images, syntax)
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.QueryRetrieveView, asked.StudyInstanceUID = "STUDY", view, MIXED
        answers = list(association.send_c_get(asked, STUDY_ROOT_GET))
        association.release()
        assert 0 == answers[-1][0].Status
        assert {syntax} == {str(one.file_meta.TransferSyntaxUID) for one in images}
    explicit, implicit = ({one.SOPInstanceUID: one for one in images} for images in got.values())
    assert len(EXPECTED[view][MIXED]) == len(explicit)
    assert explicit.keys() == implicit.keys()
    for uid, one in explicit.items():
        assert one.PixelData == implicit[uid].PixelData
        assert one.SOPClassUID == implicit[uid].SOPClassUID


@pytest.mark.interop(service="Query/Retrieve View", peer="pynetdicom", role="SCP")
def test_pynetdicom_is_refused_a_view_that_there_is_not(archive: tuple[Node, ours.Receiver]) -> None:
    association = associated(archive[0].dimse[1], {}, [])
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.QueryRetrieveView, asked.StudyInstanceUID = "STUDY", "MODERN", ONE_CT
    try:
        answers = [
            *association.send_c_find(asked, STUDY_ROOT_FIND),
            *association.send_c_get(asked, STUDY_ROOT_GET),
            *association.send_c_move(asked, "THERE", STUDY_ROOT_MOVE),
        ]
        assert [0xA900] * 3 == [status.Status for status, _ in answers]
    finally:
        association.release()


@pytest.mark.parametrize("view", EXPECTED)
def test_the_commands_ask_for_a_view(archive: tuple[Node, ours.Receiver], view: str, tmp_path: Path) -> None:
    node, receiver = archive
    receiver.stored.clear()
    done = run_isocenter(
        "find", node.address, "--level", "IMAGE", "--relational", "--view", view.lower(), "--json",
        f"StudyInstanceUID={MIXED}", "SOPClassUID",
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    matches = [json.loads(line) for line in done.stdout.splitlines()]
    assert EXPECTED[view][MIXED] == sorted(one["00080016"]["Value"][0] for one in matches)
    uids = {one["00080018"]["Value"][0] for one in matches}
    done = run_isocenter("get", node.address, tmp_path, "--study", MIXED, "--view", view)
    assert 0 == done.returncode, done.stderr
    assert uids == {str(pydicom.dcmread(path).SOPInstanceUID) for path in tmp_path.rglob("*.dcm")}
    done = run_isocenter("move", node.address, "--to", "THERE", "--study", MIXED, "--view", view)
    assert 0 == done.returncode, done.stderr
    assert uids == {request.command["AffectedSOPInstanceUID"] for _, request in receiver.stored}
