"""What the other files leave open: each root of find, get and move, in either role, with each peer that has it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import isocenter
import ours
import peers
from isocenter.dimse.folder import FolderStorage
from isocenter.known_peers import KnownPeer
from isocenter.services.base import PendingReplies, Reply, Request
from isocenter.services.query import QueryService
from isocenter.std.sop_classes import (
    COMPOSITE_INSTANCE_ROOT_GET,
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    WITHOUT_BULK_DATA_GET,
)
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

FILE = Path(str(get_testdata_file("CT_small.dcm", download=False)))
CT = pydicom.dcmread(FILE)
PATIENT, STUDY, INSTANCE = str(CT.PatientID), str(CT.StudyInstanceUID), str(CT.SOPInstanceUID)
BYTES = FILE.read_bytes()[read_header(FILE.read_bytes()).data_set_offset :]


def arrived(folder: Path) -> list[str]:
    """The instances in a folder; files that are open for what comes next are empty."""
    files = [path.read_bytes() for path in folder.iterdir()]
    return [read_header(raw).sop_instance for raw in files if raw]


def from_all_roots(pacs: Any, folder: Path, receiver: ours.Receiver, roots: dict[str, dict[str, str]]) -> None:
    """C-GET and C-MOVE of the one instance, once in each root."""
    for root, keys in roots.items():
        level = {"PATIENT": "PATIENT", "STUDY": "STUDY", "INSTANCE": "IMAGE"}[root]
        storage = FolderStorage(folder / root)
        *_, last = pacs.get(level, into=storage, root=root, sop_classes=[str(CT.SOPClassUID)], **keys)
        assert (True, 1) == (last.ok, last.completed), (root, last.message)
        assert [INSTANCE] == arrived(folder / root)
        before = len(receiver.stored)
        *_, last = pacs.move("ISOCENTER", level, root=root, **keys)
        assert (True, 1) == (last.ok, len(receiver.stored) - before), (root, last.message)


@contextmanager
def receiver(tmp_path: Path) -> Iterator[ours.Receiver]:
    with ours.receiver(tmp_path / "moved") as value:
        yield value


ROOTS = {"PATIENT": {"PatientID": PATIENT}, "STUDY": {"StudyInstanceUID": STUDY}}


@pytest.mark.interop(service="Verification", peer="DCMTK dcmqrscp", role="SCU")
@pytest.mark.interop(service="C-FIND, Patient Root", peer="DCMTK dcmqrscp", role="SCU")
@pytest.mark.interop(service="C-GET, Patient Root", peer="DCMTK dcmqrscp", role="SCU")
@pytest.mark.interop(service="C-MOVE, Patient Root", peer="DCMTK dcmqrscp", role="SCU")
def test_dcmqrscp_in_both_roots(tmp_path: Path) -> None:
    with (
        receiver(tmp_path) as there,
        peers.dcmqrscp(tmp_path, destinations={"ISOCENTER": there.port}) as scp,
        isocenter.sync.connect(scp.address) as pacs,
    ):
        pacs.echo()
        assert [0] == [outcome.status for outcome in pacs.store([FILE])]
        (match,) = pacs.find("PATIENT", root="PATIENT", PatientID=PATIENT, PatientName="")
        assert str(CT.PatientName) == str(match.PatientName)
        from_all_roots(pacs, tmp_path, there, ROOTS)


@pytest.mark.interop(service="Verification", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-FIND, Study Root", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-FIND, Patient Root", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-GET, Patient Root", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-MOVE, Patient Root", peer="Orthanc", role="SCU")
def test_orthanc_in_both_roots(tmp_path: Path) -> None:
    with (
        receiver(tmp_path) as there,
        peers.orthanc(tmp_path / "orthanc", modalities={"there": ("ISOCENTER", there.port)}) as scp,
        isocenter.sync.connect(scp.address) as pacs,
    ):
        pacs.echo()
        assert [0] == [outcome.status for outcome in pacs.store([FILE])]
        for root in ("PATIENT", "STUDY"):
            (match,) = pacs.find("STUDY", root=root, PatientID=PATIENT, StudyInstanceUID="", StudyDate="")
            assert (STUDY, CT.StudyDate) == (match.StudyInstanceUID, match.StudyDate)
        from_all_roots(pacs, tmp_path, there, ROOTS)


@pytest.mark.interop(service="Verification", peer="Orthanc", role="SCP")
def test_orthanc_echoes(tmp_path: Path) -> None:
    with receiver(tmp_path) as there, peers.orthanc(tmp_path / "orthanc") as scu:
        scu.request("/modalities/us", {"AET": "ISOCENTER", "Host": "127.0.0.1", "Port": there.port}, "PUT")
        scu.request("/modalities/us/echo", {})


@pytest.mark.interop(service="C-FIND, Patient Root", peer="Orthanc", role="SCP")
def test_orthanc_asks_for_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    find = QueryService.c_find

    def seen(service: QueryService, request: Request, data_set: bytes) -> AsyncGenerator[Reply | PendingReplies, None]:
        asked.append(request.context.abstract_syntax)
        return find(service, request, data_set)

    monkeypatch.setattr(QueryService, "c_find", seen)
    with node(tmp_path) as (port, _), peers.orthanc(tmp_path / "orthanc") as scu:
        scu.request("/modalities/us", {"AET": "ISOCENTER", "Host": "127.0.0.1", "Port": port}, "PUT")
        query = scu.request("/modalities/us/query", {"Level": "Patient", "Query": {"PatientID": PATIENT}})
        (answer,) = scu.request(f"{query['Path']}/answers?expand&simplify")
        assert PATIENT == answer["PatientID"]
    assert [PATIENT_ROOT_FIND] == asked


def test_orthanc_does_not_ask_for_what_the_table_says_it_lacks(tmp_path: Path) -> None:
    """LACKS of interop_table is about the Orthanc that is installed: a newer one may get, and then there is a row."""
    from pynetdicom import AE, evt

    proposed: set[str] = set()
    asked: list[tuple[str, str]] = []

    def requested(event: Any) -> None:
        proposed.update(str(one.abstract_syntax) for one in event.assoc.requestor.requested_contexts)

    def moved(event: Any) -> Iterator[Any]:
        asked.append((str(event.context.abstract_syntax), event.identifier.QueryRetrieveLevel))
        yield ("127.0.0.1", 9)
        yield 0

    entity = AE(ae_title="PYNETDICOM")
    entity.add_supported_context(STUDY_ROOT_MOVE)
    handlers: list[Any] = [(evt.EVT_REQUESTED, requested), (evt.EVT_C_MOVE, moved)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        with peers.orthanc(tmp_path, modalities={"it": ("PYNETDICOM", server.socket.getsockname()[1])}) as scu:
            patient = {"Level": "Patient", "Resources": [{"PatientID": PATIENT}], "TargetAet": "THERE"}
            scu.request("/modalities/it/move", {**patient, "Synchronous": True})
            assert "get" not in scu.request("/modalities/it")
    finally:
        server.shutdown()
    retrieval = {uid for uid in proposed if uid.startswith("1.2.840.10008.5.1.4.1.2.")}
    assert {PATIENT_ROOT_FIND, STUDY_ROOT_FIND, STUDY_ROOT_MOVE} == retrieval
    assert [(STUDY_ROOT_MOVE, "PATIENT")] == asked


@contextmanager
def node(tmp_path: Path) -> Iterator[tuple[int, ours.Receiver]]:
    """Our port, holding the one instance; it may move to a receiver THERE."""
    with receiver(tmp_path) as there:
        known = KnownPeer("there", "THERE", "127.0.0.1", there.port)  # type: ignore[arg-type]
        with ours.node(tmp_path / "data", peers=[known]) as server:
            with isocenter.sync.connect(server.address) as pacs:
                assert [0] == [outcome.status for outcome in pacs.store([FILE])]
            yield server.dimse[1], there


@pytest.mark.interop(service="C-MOVE, Patient Root", peer="DCMTK movescu", role="SCP")
@pytest.mark.interop(service="C-GET, Patient Root", peer="DCMTK getscu", role="SCP")
def test_movescu_and_getscu_in_the_patient_root(tmp_path: Path) -> None:
    keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", f"PatientID={PATIENT}")
    (tmp_path / "got").mkdir()
    with node(tmp_path) as (port, there):
        peers.run("movescu", "-P", "-aem", "THERE", *keys, "127.0.0.1", str(port))
        assert 1 == len(there.stored)
        peers.run("getscu", "-P", "+B", "-od", tmp_path / "got", *keys, "127.0.0.1", str(port))
    assert [INSTANCE] == arrived(tmp_path / "got")


@pytest.mark.interop(service="Verification", peer="pynetdicom", role="SCP")
@pytest.mark.interop(service="C-GET, Patient Root", peer="pynetdicom", role="SCP")
@pytest.mark.interop(service="C-MOVE, Composite Instance Root", peer="pynetdicom", role="SCP")
def test_pynetdicom_in_the_other_roots(tmp_path: Path) -> None:
    from pynetdicom import AE, build_role, evt

    patient_get, composite_move = "1.2.840.10008.5.1.4.1.2.1.3", "1.2.840.10008.5.1.4.1.2.4.2"
    got: list[bytes] = []

    def stored(event: Any) -> int:
        got.append(event.request.DataSet.getvalue())
        return 0

    entity = AE(ae_title="ASKER")
    for uid in ("1.2.840.10008.1.1", patient_get, composite_move):
        entity.add_requested_context(uid)
    entity.add_requested_context(CT.SOPClassUID, CT.file_meta.TransferSyntaxUID)
    with node(tmp_path) as (port, there):
        association = entity.associate(
            "127.0.0.1",
            port,
            ext_neg=[build_role(CT.SOPClassUID, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, stored)],
        )
        assert association.is_established
        assert 0 == association.send_c_echo().Status
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.PatientID = "PATIENT", PATIENT
        *_, (final, _) = association.send_c_get(asked, patient_get)
        assert (0, [BYTES]) == (final.Status, got)
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.SOPInstanceUID = "IMAGE", INSTANCE
        *_, (final, _) = association.send_c_move(asked, "THERE", composite_move)
        association.release()
        assert (0, 1) == (final.Status, len(there.stored))


@pytest.mark.interop(service="Verification", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-FIND, Patient Root", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-GET, Patient Root", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-GET, Composite Instance Root", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-MOVE, Patient Root", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-MOVE, Study Root", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-MOVE, Composite Instance Root", peer="pynetdicom", role="SCU")
def test_we_ask_pynetdicom_in_every_root(tmp_path: Path) -> None:
    from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

    asked: list[tuple[str, str]] = []
    with receiver(tmp_path) as there:

        def moved(event: Any) -> Iterator[Any]:
            asked.append((str(event.context.abstract_syntax), event.identifier.QueryRetrieveLevel))
            yield ("127.0.0.1", there.port)
            yield 1
            yield 0xFF00, CT

        def gotten(event: Any) -> Iterator[Any]:
            asked.append((str(event.context.abstract_syntax), event.identifier.QueryRetrieveLevel))
            yield 1
            yield 0xFF00, CT

        def found(event: Any) -> Iterator[Any]:
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.PatientID = event.identifier.QueryRetrieveLevel, PATIENT
            yield 0xFF00, answer

        entity = AE(ae_title="PYNETDICOM")
        roots = [f"1.2.840.10008.5.1.4.1.2.{root}.{verb}" for root in (1, 2, 4) for verb in (2, 3)]
        for uid in ("1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.1.1", *roots):
            entity.add_supported_context(uid)
        entity.add_supported_context(CT.SOPClassUID, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
        entity.add_requested_context(CT.SOPClassUID, CT.file_meta.TransferSyntaxUID)
        handlers: list[Any] = [(evt.EVT_C_MOVE, moved), (evt.EVT_C_GET, gotten), (evt.EVT_C_FIND, found)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        try:
            port = server.socket.getsockname()[1]
            with isocenter.sync.connect(f"PYNETDICOM@127.0.0.1:{port}") as pacs:
                pacs.echo()
                (match,) = pacs.find("PATIENT", root="PATIENT", PatientID="")
                assert PATIENT == match.PatientID
                from_all_roots(pacs, tmp_path, there, {**ROOTS, "INSTANCE": {"SOPInstanceUID": INSTANCE}})
        finally:
            server.shutdown()
    assert sorted(roots) == sorted({uid for uid, _ in asked})


@pytest.mark.interop(service="C-GET, Without Bulk Data", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-GET, Composite Instance Root, frames", peer="pynetdicom", role="SCU")
def test_we_ask_pynetdicom_for_headers_and_for_frames(tmp_path: Path) -> None:
    from pynetdicom import AE, evt

    asked: list[tuple[str, str, Any]] = []

    def gotten(event: Any) -> Iterator[Any]:
        key = event.identifier
        asked.append((str(event.context.abstract_syntax), key.QueryRetrieveLevel, key.get("SimpleFrameList")))
        header = pydicom.dcmread(FILE, stop_before_pixels=True)
        yield 1
        yield 0xFF00, header

    entity = AE(ae_title="PYNETDICOM")
    for uid in (WITHOUT_BULK_DATA_GET, COMPOSITE_INSTANCE_ROOT_GET):
        entity.add_supported_context(uid)
    entity.add_supported_context(CT.SOPClassUID, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, gotten)])
    try:
        with isocenter.sync.connect(f"PYNETDICOM@127.0.0.1:{server.socket.getsockname()[1]}") as pacs:
            for level, root, keys in (
                ("IMAGE", "WITHOUT_BULK_DATA", {}),
                ("FRAME", "INSTANCE", {"SimpleFrameList": [1, 3]}),
            ):
                storage = FolderStorage(tmp_path / root)
                *_, last = pacs.get(level, into=storage, root=root, SOPInstanceUID=INSTANCE, **keys)
                assert (True, 1) == (last.ok, last.completed), last.message
                assert [INSTANCE] == arrived(tmp_path / root)
    finally:
        server.shutdown()
    assert [(WITHOUT_BULK_DATA_GET, "IMAGE", None), (COMPOSITE_INSTANCE_ROOT_GET, "FRAME", [1, 3])] == asked
