"""We search and retrieve objects of no patient, at pynetdicom and at ourselves, from Python and by the commands; and
ask for Query/Retrieve Views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

import isocenter
import ours
import peers
from command import isocenter as run_isocenter
from isocenter.cli.find import MODEL_COLUMNS
from isocenter.errors import NoPresentationContext, OperationFailed, UsageError
from isocenter.known_peers import KnownPeer
from isocenter.net.retrieve import GET_ROOTS, MOVE_ROOTS
from isocenter.services.base import Reply, Request
from isocenter.services.keys import ROOTS
from isocenter.std.dictionary import tag_of
from isocenter.std.non_patient import MODEL_NAMED, NON_PATIENT_KEYS, NonPatientModel
from isocenter.std.sop_classes import PATIENT_ROOT_MOVE, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from isocenter.wire.part10 import read_header
from non_patient_objects import PALETTES, hanging_protocol, one_of_each, read

pytestmark = pytest.mark.interop

FILES = [*one_of_each().values(), hanging_protocol(2, "Thorax a.p.", "CR"), *(one.read_bytes() for one in PALETTES[1:])]
SENT = {str(read(file).SOPInstanceUID): file for file in FILES}


def of(model: NonPatientModel) -> set[str]:
    """The SOP Instance UIDs of a model's objects."""
    return {uid for uid, file in SENT.items() if read(file).SOPClassUID in model.sop_classes}


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


class Kept:
    """Sinks that keep bytes."""

    def __init__(self) -> None:
        self.got: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Kept.Sink:
        return Kept.Sink(self.got, request.command["AffectedSOPInstanceUID"])

    class Sink:
        def __init__(self, got: dict[str, bytes], uid: str) -> None:
            self._got, self._uid, self._raw = got, uid, bytearray()

        def write(self, views: Any) -> None:
            self._raw += b"".join(views)

        def finish(self) -> Reply:
            self._got[self._uid] = bytes(self._raw)
            return Reply()

        def abandon(self) -> None:
            """Nothing is held."""


# --- at pynetdicom ---------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """A Query/Retrieve SCP of pynetdicom over FILES, and the identifiers that it got."""

    address: str
    priorities: list[int] = field(default_factory=list)
    find: list[Dataset] = field(default_factory=list)
    retrieve: list[Dataset] = field(default_factory=list)


@contextmanager
def pynetdicom_qr(agrees: bytes = b"", to: int = 0) -> Iterator[Asked]:
    """`agrees` is its answer to SOP Class Extended Negotiation, `to` the port of every move destination."""
    from pynetdicom import AE, evt
    from pynetdicom.presentation import NonPatientObjectPresentationContexts

    asked = Asked("")

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked.find.append(event.identifier)
        asked.priorities.append(event.request.Priority)
        classes = {model.find: model.sop_classes for model in MODEL_NAMED.values()}.get(event.context.abstract_syntax)
        for uid, file in SENT.items():
            if classes is None or read(file).SOPClassUID in classes:
                match = Dataset()
                match.SOPInstanceUID = uid
                yield 0xFF00, match

    def chosen(event: Any) -> list[Dataset]:
        asked.retrieve.append(event.identifier)
        asked.priorities.append(event.request.Priority)
        uids = event.identifier.get("SOPInstanceUID", [])
        return [pydicom.dcmread(pydicom.filebase.DicomBytesIO(SENT[uid])) for uid in (
            [uids] if isinstance(uids, str) else uids
        )]  # fmt: skip

    def on_get(event: Any) -> Iterator[Any]:
        objects = chosen(event)
        yield len(objects)
        for one in objects:
            yield 0xFF00, one

    def on_move(event: Any) -> Iterator[Any]:
        yield "127.0.0.1", to, {"contexts": NonPatientObjectPresentationContexts}
        yield from on_get(event)

    entity = AE("PYNETDICOM")
    for model in MODEL_NAMED.values():
        for uid in (model.find, model.get, model.move):
            entity.add_supported_context(uid)
        for uid in model.sop_classes:
            entity.add_supported_context(uid, scu_role=True, scp_role=True)
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE):
        entity.add_supported_context(uid)
    handlers = [(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get), (evt.EVT_C_MOVE, on_move)]
    if agrees:
        handlers.append((evt.EVT_SOP_EXTENDED, lambda event: dict.fromkeys(event.app_info, agrees)))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    asked.address = f"PYNETDICOM@127.0.0.1:{server.socket.getsockname()[1]}"
    try:
        yield asked
    finally:
        server.shutdown()


@pytest.mark.interop(service="C-FIND, non-patient objects", peer="pynetdicom", role="SCU")
@pytest.mark.interop(service="C-GET, non-patient objects", peer="pynetdicom", role="SCU")
def test_each_model_at_pynetdicom() -> None:
    with pynetdicom_qr() as scp, isocenter.sync.connect(scp.address) as pacs:
        for name, model in MODEL_NAMED.items():
            found = {str(match.SOPInstanceUID) for match in pacs.find("IMAGE", root=name, ContentDate="20240101-")}
            assert of(model) == found
            assert {"20240101-"} == {one.ContentDate for one in scp.find}
            assert not any("QueryRetrieveLevel" in one for one in scp.find), "these models have no levels"
            kept = Kept()
            *_, last = pacs.get("IMAGE", root=name, into=kept, SOPInstanceUID=sorted(found))
            assert (0, len(found)) == (last.status, last.completed)
            assert found == kept.got.keys()
            assert "QueryRetrieveLevel" not in scp.retrieve[-1]
            scp.find.clear()


@pytest.mark.interop(service="C-MOVE, non-patient objects", peer="pynetdicom", role="SCU")
def test_a_move_at_pynetdicom_and_priorities(tmp_path: Path) -> None:
    uids = sorted(of(MODEL_NAMED["COLOR_PALETTE"]))
    with (
        ours.receiver(tmp_path) as there,
        pynetdicom_qr(to=there.port) as scp,
        isocenter.sync.connect(scp.address) as pacs,
    ):
        *_, last = pacs.move("THERE", "IMAGE", root="COLOR_PALETTE", priority="LOW", SOPInstanceUID=uids)
        assert (0, len(uids)) == (last.status, last.completed)
        list(pacs.find("IMAGE", root="COLOR_PALETTE", priority="HIGH"))
        list(pacs.get("IMAGE", root="COLOR_PALETTE", into=Kept(), priority="HIGH", SOPInstanceUID=uids))
        list(pacs.find("IMAGE", root="COLOR_PALETTE"))
        assert [2, 1, 1, 0] == scp.priorities
        with pytest.raises(UsageError, match="MEDIUM, HIGH, LOW"):
            list(pacs.find("IMAGE", root="COLOR_PALETTE", priority="URGENT"))
        assert uids == sorted(request.command["AffectedSOPInstanceUID"] for _, request in there.stored)


# --- at ourselves ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[peers.Received]]]:
    """An archive with FILES that knows one destination."""
    with peers.pynetdicom_scp(aet="ALL") as (address, received):
        destination = KnownPeer("all", "ALL", "127.0.0.1", int(address.rpartition(":")[2]))  # type: ignore[arg-type]
        with ours.node(tmp_path_factory.mktemp("non_patient_scu"), peers=[destination]) as server:
            with isocenter.sync.connect(server.address) as pacs:
                assert {0} == {outcome.status for outcome in pacs.store(FILES)}
            yield server.address, received


@pytest.mark.parametrize("name", MODEL_NAMED)
def test_each_model_at_ourselves(node: tuple[str, list[peers.Received]], name: str) -> None:
    address, received = node
    received.clear()
    with isocenter.sync.connect(address) as pacs:
        found = [str(match.SOPInstanceUID) for match in pacs.find("IMAGE", root=name)]
        assert of(MODEL_NAMED[name]) == set(found)
        kept = Kept()
        *_, last = pacs.get("IMAGE", root=name, into=kept, SOPInstanceUID=found)
        assert (0, len(found)) == (last.status, last.completed)
        assert {uid: data_set(SENT[uid]) for uid in found} == kept.got
        *_, last = pacs.move("ALL", "IMAGE", root=name, SOPInstanceUID=found)
        assert (0, len(found)) == (last.status, last.completed)
        assert set(found) == {one.sop_instance for one in received}


def test_the_commands(node: tuple[str, list[peers.Received]], tmp_path: Path) -> None:
    address, received = node
    received.clear()
    done = run_isocenter("find", address, "--root", "hanging_protocol", "HangingProtocolName=Thorax a.p.", "--json")
    assert 0 == done.returncode, done.stderr
    (match,) = map(json.loads, done.stdout.splitlines())
    uid = match["00080018"]["Value"][0]
    assert str(read(hanging_protocol(2, "Thorax a.p.", "CR")).SOPInstanceUID) == uid
    table = run_isocenter("find", address, "--root", "COLOR_PALETTE").stdout
    assert len(PALETTES) + 1 == len(table.splitlines())
    asked = ("--root", "HANGING_PROTOCOL", "--instance", uid)
    assert 0 == run_isocenter("get", address, tmp_path, *asked).returncode
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())  # none that was opened for another object
    assert ".dcm" == file.suffix
    assert data_set(SENT[uid]) == data_set(file.read_bytes())
    assert 0 == run_isocenter("move", address, "--to", "ALL", *asked, "--priority", "high").returncode
    assert 2 == run_isocenter("move", address, "--to", "ALL", *asked, "--priority", "urgent").returncode
    assert [uid] == [one.sop_instance for one in received]
    for wrong in (
        ("find", address, "--root", "COLOR_PALETTE", "--level", "STUDY"),
        ("get", address, tmp_path, "--root", "NOTHING", "--instance", uid),
        ("get", address, tmp_path, "--root", "INVENTORY", "--study", uid),
    ):
        assert 2 == run_isocenter(*wrong).returncode


def test_roots_and_columns_are_those_of_the_models() -> None:
    assert MODEL_NAMED.keys() == MODEL_COLUMNS.keys()
    assert MODEL_NAMED.keys() <= ROOTS.keys() & GET_ROOTS.keys() & MOVE_ROOTS.keys()
    for name, columns in MODEL_COLUMNS.items():
        for uid in MODEL_NAMED[name].sop_classes:
            assert {tag_of(column) for column in columns} <= NON_PATIENT_KEYS[uid], name


# --- views -----------------------------------------------------------------------------------------------------------


@pytest.mark.interop(service="Query/Retrieve View", peer="pynetdicom", role="SCU")
def test_a_view_is_asked_for_where_the_peer_agrees(tmp_path: Path) -> None:
    uid = next(iter(SENT))
    keys = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": uid}
    with (
        ours.receiver(tmp_path) as there,
        pynetdicom_qr(b"\1\1\1\1\1", there.port) as scp,
        isocenter.sync.connect(scp.address) as pacs,
    ):
        assert list(pacs.find("STUDY", view="ENHANCED"))
        for _ in pacs.move("THERE", "IMAGE", view="CLASSIC", **keys):
            """What becomes of it is the peer's business."""
        for _ in pacs.get("IMAGE", into=Kept(), view="CLASSIC", **keys):
            """The same."""
        assert list(pacs.find("STUDY"))
    assert ["ENHANCED", None] == [one.get("QueryRetrieveView") for one in scp.find]
    assert ["CLASSIC", "CLASSIC"] == [one.get("QueryRetrieveView") for one in scp.retrieve]


def test_a_peer_that_does_not_agree_is_not_asked() -> None:
    for agrees in (b"", b"\1\0\1\1\0"):
        with pynetdicom_qr(agrees) as scp, isocenter.sync.connect(scp.address) as pacs:
            with pytest.raises(NoPresentationContext, match="agree to views"):
                list(pacs.find("STUDY", view="ENHANCED"))
            with pytest.raises(NoPresentationContext, match="agree to views"):
                list(pacs.move("THERE", "STUDY", view="CLASSIC", StudyInstanceUID="1.2"))
            with pytest.raises(NoPresentationContext, match="agree to views"):
                list(pacs.get("STUDY", into=Kept(), view="ENHANCED", StudyInstanceUID="1.2"))
            with pytest.raises(UsageError, match="CLASSIC, ENHANCED"):
                list(pacs.find("STUDY", view="NEW"))
        assert not scp.find
        assert not scp.retrieve


@pytest.mark.interop(service="Query/Retrieve View", peer="pynetdicom", role="SCP")
def test_we_refuse_a_view_that_was_not_agreed_to(node: tuple[str, list[peers.Received]]) -> None:
    from pynetdicom import AE

    address, _ = node
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.QueryRetrieveView, asked.StudyInstanceUID = "STUDY", "ENHANCED", "1.2"
    entity = AE()
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE):
        entity.add_requested_context(uid)
    association = entity.associate("127.0.0.1", int(address.rpartition(":")[2]))
    answers = [
        *association.send_c_find(asked, STUDY_ROOT_FIND),
        *association.send_c_get(asked, STUDY_ROOT_GET),
        *association.send_c_move(asked, "ALL", STUDY_ROOT_MOVE),
    ]
    association.release()
    assert [0xA900] * 3 == [status.Status for status, _ in answers]
    assert 0x00080053 == answers[0][0].OffendingElement
    with isocenter.sync.connect(address) as pacs, pytest.raises(OperationFailed, match="A900"):
        list(pacs.find("STUDY", QueryRetrieveView="CLASSIC"))
