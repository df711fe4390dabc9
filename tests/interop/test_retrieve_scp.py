"""Our C-MOVE and C-GET SCP, driven by DCMTK's movescu and getscu and by pynetdicom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import isocenter
import ours
import peers
from isocenter.known_peers import KnownPeer
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

NAMES = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "rtplan.dcm", "SC_rgb_jpeg_dcmtk.dcm")
FILES = [Path(str(get_testdata_file(name, download=False))) for name in NAMES]
CT = pydicom.dcmread(FILES[0], stop_before_pixels=True)
PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET, COMPOSITE_GET = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.4.3"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DOWN = peers.free_port()


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


SENT = {uid_of(path): data_set(path.read_bytes()) for path in FILES}
STUDIES = [str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path in FILES]


@dataclass
class Node:
    port: int
    received: list[peers.Received]
    storescp: Path
    implicit: list[peers.Received]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """An archive with FILES that knows four destinations."""
    folder = tmp_path_factory.mktemp("retrieve")
    (folder / "scp").mkdir()

    def known(name: str, address: str) -> KnownPeer:
        aet, _, place = address.partition("@")
        return KnownPeer(name, aet, "127.0.0.1", int(place.rpartition(":")[2]))  # type: ignore[arg-type]

    with (
        peers.pynetdicom_scp(aet="ALL") as (everything, received),
        peers.pynetdicom_scp(aet="IMPLICIT", transfer_syntaxes=[IMPLICIT]) as (little, implicit),
        peers.storescp(folder / "scp", "+xa", "+B", aet="DCMTK") as scp,
        ours.node(
            folder / "data",
            peers=[
                known("all", everything),
                known("implicit", little),
                known("dcmtk", scp.address),
                KnownPeer("down", "DOWN", "127.0.0.1", DOWN),  # type: ignore[arg-type]
            ],
        ) as server,
    ):
        with isocenter.sync.connect(server.address) as pacs:
            assert {outcome.status for outcome in pacs.store(FILES)} == {0}
        yield Node(server.dimse[1], received, folder / "scp", implicit)


def wanted(level: str = "STUDY", **keys: Any) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(made, name, value)
    return made


def moved(node: Node, destination: str, asked: Dataset, sop_class: str = STUDY_ROOT_MOVE) -> list[tuple[Any, Any]]:
    """Statuses and identifiers of the answers, by pynetdicom."""
    from pynetdicom import AE

    entity = AE(ae_title="MOVER")
    entity.add_requested_context(sop_class)
    association = entity.associate("127.0.0.1", node.port)
    assert association.is_established
    answers = list(association.send_c_move(asked, destination, sop_class, msg_id=77))
    association.release()
    return answers


def related(node: Node, asked: Dataset) -> Any:
    """The final answer to a C-MOVE for which relational retrieval was negotiated."""
    from pynetdicom import AE
    from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

    entity = AE(ae_title="MOVER")
    entity.add_requested_context(STUDY_ROOT_MOVE)
    option = SOPClassExtendedNegotiation()
    option.sop_class_uid, option.service_class_application_information = STUDY_ROOT_MOVE, b"\1"
    association = entity.associate("127.0.0.1", node.port, ext_neg=[option])
    assert association.is_established
    *_, (final, _) = association.send_c_move(asked, "ALL", STUDY_ROOT_MOVE)
    association.release()
    return final


def gotten(
    node: Node, asked: Dataset, syntaxes: list[str], sop_class: str = STUDY_ROOT_GET
) -> tuple[list[tuple[Any, Any]], dict[str, tuple[str, bytes]]]:
    """Answers, and what arrived: transfer syntax and data set by SOP Instance UID."""
    from pynetdicom import AE, build_role, evt

    got: dict[str, tuple[str, bytes]] = {}

    def stored(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        got[uid] = (str(event.context.transfer_syntax), event.request.DataSet.getvalue())
        return 0

    classes = sorted({str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID) for path in FILES})
    entity = AE(ae_title="GETTER")
    entity.add_requested_context(sop_class)
    for uid in classes:
        for syntax in syntaxes:
            entity.add_requested_context(uid, syntax)
    roles = [build_role(uid, scp_role=True) for uid in classes]
    handlers: list[Any] = [(evt.EVT_C_STORE, stored)]
    association = entity.associate("127.0.0.1", node.port, ext_neg=roles, evt_handlers=handlers)
    assert association.is_established
    answers = list(association.send_c_get(asked, sop_class))
    association.release()
    return answers, got


def counts(status: Any) -> tuple[int, int, int, int]:
    return (
        int(status.Status),
        status.NumberOfCompletedSuboperations,
        status.NumberOfFailedSuboperations,
        status.NumberOfWarningSuboperations,
    )


@pytest.mark.interop(service="C-MOVE, Study Root", peer="DCMTK movescu", role="SCP")
@pytest.mark.interop(service="Storage", peer="DCMTK storescp", role="SCU")
def test_movescu_moves_a_study_to_storescp(node: Node) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={CT.StudyInstanceUID}")
    done = peers.run("movescu", "-v", "-S", "-aem", "DCMTK", *keys, "127.0.0.1", str(node.port))
    assert "Received Final Move Response (Success)" in done.stdout
    (file,) = node.storescp.iterdir()
    assert SENT[CT.SOPInstanceUID] == data_set(file.read_bytes())


@pytest.mark.interop(service="C-MOVE, Study Root", peer="pynetdicom", role="SCP")
def test_every_object_arrives_as_stored_with_its_originator(node: Node) -> None:
    node.received.clear()
    *pending, (final, _) = moved(node, "ALL", wanted(StudyInstanceUID=STUDIES))
    assert (0x0000, len(FILES), 0, 0) == counts(final)
    assert [4, 3, 2, 1] == [status.NumberOfRemainingSuboperations for status, _ in pending]
    assert SENT == {one.sop_instance: one.data_set for one in node.received}
    assert {("MOVER", 77)} == {one.originator for one in node.received}


@pytest.mark.interop(service="C-MOVE, Study Root", peer="pynetdicom", role="SCP")
def test_a_receiver_of_implicit_vr_gets_that(node: Node) -> None:
    node.implicit.clear()
    final, failed = moved(node, "IMPLICIT", wanted(StudyInstanceUID=STUDIES))[-1]
    assert (0x0000, len(FILES), 0, 0) == counts(final), failed
    assert {IMPLICIT} == {one.transfer_syntax for one in node.implicit}
    raw = next(one.data_set for one in node.implicit if one.sop_instance == uid_of(FILES[1]))
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw), force=True)
    again.file_meta = pydicom.dataset.FileMetaDataset()
    again.file_meta.TransferSyntaxUID = IMPLICIT
    assert (pydicom.dcmread(FILES[1]).pixel_array == again.pixel_array).all()


@pytest.mark.interop(service="C-MOVE, Patient Root", peer="pynetdicom", role="SCP")
def test_patient_root_needs_the_patient(node: Node) -> None:
    node.received.clear()
    ((final, _),) = moved(node, "ALL", wanted("PATIENT", PatientID=CT.PatientID), PATIENT_ROOT_MOVE)
    assert (0x0000, 1, 0, 0) == counts(final)
    assert [CT.SOPInstanceUID] == [one.sop_instance for one in node.received]
    both = wanted(PatientID=CT.PatientID, StudyInstanceUID=STUDIES[1])
    ((final, _),) = moved(node, "ALL", both, PATIENT_ROOT_MOVE)
    assert (0x0000, 0, 0, 0) == counts(final)
    ((final, _),) = moved(node, "ALL", wanted(StudyInstanceUID=STUDIES[0]), PATIENT_ROOT_MOVE)
    assert (0xA900, 0x00100020) == (final.Status, final.OffendingElement)


@pytest.mark.interop(service="C-MOVE, Study Root", peer="pynetdicom", role="SCP")
def test_levels_above_are_needed_unless_relational_retrieval_was_negotiated(node: Node) -> None:
    node.received.clear()
    series = wanted("SERIES", SeriesInstanceUID=CT.SeriesInstanceUID)
    image = wanted("IMAGE", StudyInstanceUID=STUDIES[0], SOPInstanceUID=[CT.SOPInstanceUID, uid_of(FILES[3])])
    assert [0xA900, 0xA900] == [moved(node, "ALL", asked)[-1][0].Status for asked in (series, image)]
    assert [(0x0000, 1, 0, 0)] * 2 == [counts(related(node, asked)) for asked in (series, image)]
    assert [CT.SOPInstanceUID] * 2 == [one.sop_instance for one in node.received]


def test_an_unknown_destination_is_refused(node: Node) -> None:
    ((final, _),) = moved(node, "NOBODY", wanted(StudyInstanceUID=STUDIES))
    assert 0xA801 == final.Status


@pytest.mark.interop(service="C-MOVE, Study Root", peer="pynetdicom", role="SCP")
def test_a_destination_that_is_down_fails_every_object_and_lists_it(node: Node) -> None:
    final, failed = moved(node, "DOWN", wanted(StudyInstanceUID=STUDIES))[-1]
    assert (0xA702, 0, len(FILES), 0) == counts(final)
    assert f"127.0.0.1:{DOWN}" in final.ErrorComment
    assert set(SENT) == set(failed.FailedSOPInstanceUIDList)


@pytest.mark.interop(service="C-GET, Study Root", peer="pynetdicom", role="SCP")
def test_get_in_the_stored_syntaxes(node: Node) -> None:
    syntaxes = sorted(
        {str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) for path in FILES}
    )
    answers, got = gotten(node, wanted(StudyInstanceUID=STUDIES), syntaxes)
    assert (0x0000, len(FILES), 0, 0) == counts(answers[-1][0])
    assert SENT == {uid: raw for uid, (_, raw) in got.items()}


@pytest.mark.interop(service="C-GET, Study Root", peer="pynetdicom", role="SCP")
def test_get_in_explicit_vr_decodes(node: Node) -> None:
    answers, got = gotten(node, wanted(StudyInstanceUID=STUDIES), [EXPLICIT])
    assert (0x0000, len(FILES), 0, 0) == counts(answers[-1][0])
    assert {EXPLICIT} == {syntax for syntax, _ in got.values()}
    assert SENT[CT.SOPInstanceUID] == got[CT.SOPInstanceUID][1]


@pytest.mark.interop(service="C-GET, Composite Instance Root", peer="pynetdicom", role="SCP")
def test_get_by_instance_alone(node: Node) -> None:
    answers, got = gotten(node, wanted("IMAGE", SOPInstanceUID=list(SENT)[:2]), [EXPLICIT], COMPOSITE_GET)
    assert (0x0000, 2, 0, 0) == counts(answers[-1][0])
    assert set(list(SENT)[:2]) == set(got)


@pytest.mark.interop(service="C-GET, Study Root", peer="pynetdicom", role="SCP")
def test_what_has_no_context_fails_and_is_listed(node: Node) -> None:
    jpeg = "1.2.840.10008.1.2.4.50"
    answers, got = gotten(node, wanted(StudyInstanceUID=STUDIES), [jpeg])
    final, failed = answers[-1]
    assert (0xB000, 1, len(FILES) - 1, 0) == counts(final)
    assert {uid_of(FILES[4])} == set(got)
    assert set(SENT) - set(got) == set(failed.FailedSOPInstanceUIDList)


@pytest.mark.interop(service="C-GET, Study Root", peer="DCMTK getscu", role="SCP")
def test_getscu_gets_a_series(node: Node, tmp_path: Path) -> None:
    keys = [f"StudyInstanceUID={CT.StudyInstanceUID}", f"SeriesInstanceUID={CT.SeriesInstanceUID}"]
    arguments = [part for key in ("QueryRetrieveLevel=SERIES", *keys) for part in ("-k", key)]
    peers.run("getscu", "-S", "+B", "-od", tmp_path, *arguments, "127.0.0.1", str(node.port))
    (file,) = tmp_path.iterdir()
    assert SENT[CT.SOPInstanceUID] == data_set(file.read_bytes())
