"""Objects of no patient over DIMSE: stored by DCMTK and pynetdicom, found and retrieved by pynetdicom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import isocenter
import ours
import peers
from isocenter.known_peers import KnownPeer
from isocenter.std.non_patient import NON_PATIENT_KEYS, NON_PATIENT_MODELS, NonPatientModel
from isocenter.std.sop_classes import COMPOSITE_INSTANCE_ROOT_GET
from isocenter.wire.part10 import read_header
from non_patient_objects import PALETTES, ROOT, UID_OF, hanging_protocol, item, made, one_of_each, read

pytestmark = pytest.mark.interop

HANGING, PALETTE, IMPLANT, PROTOCOL = (
    next(model for model in NON_PATIENT_MODELS if UID_OF[keyword] in model.sop_classes)
    for keyword in (
        "HangingProtocolStorage",
        "ColorPaletteStorage",
        "GenericImplantTemplateStorage",
        "CTDefinedProcedureProtocolStorage",
    )
)
FILES = [
    *one_of_each().values(),
    hanging_protocol(2, "Thorax a.p.", "CR", HangingProtocolCreator="Ågren^Östen"),
    hanging_protocol(3, "Head 50%", "CT"),
    *(path.read_bytes() for path in PALETTES[1:]),
]
SENT = {str(read(file).SOPInstanceUID): file for file in FILES}


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


@dataclass
class Node:
    port: int
    received: list[peers.Received]
    url: str


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """An archive with FILES that knows one destination."""
    with peers.pynetdicom_scp(aet="ALL") as (address, received):
        destination = KnownPeer("all", "ALL", "127.0.0.1", int(address.rpartition(":")[2]))  # type: ignore[arg-type]
        with ours.node(tmp_path_factory.mktemp("non_patient"), peers=[destination]) as server:
            with isocenter.sync.connect(server.address) as pacs:
                assert [outcome.status for outcome in pacs.store(FILES)] == [0] * len(FILES)
            yield Node(server.dimse[1], received, server.url)


def keys(**values: Any) -> Dataset:
    made_of = Dataset()
    made_of.SpecificCharacterSet = "ISO_IR 192"
    for name, value in values.items():
        setattr(made_of, name, value)
    return made_of


def associated(node: Node, model: str, classes: tuple[str, ...] = (), handlers: Any = ()) -> Any:
    from pynetdicom import AE, build_role

    entity = AE(ae_title="NOBODY")
    entity.add_requested_context(model)
    for uid in classes:
        entity.add_requested_context(uid, ExplicitVRLittleEndian)
    roles = [build_role(uid, scp_role=True) for uid in classes]
    association = entity.associate("127.0.0.1", node.port, ext_neg=roles, evt_handlers=list(handlers))
    assert association.is_established
    assert {str(context.abstract_syntax) for context in association.accepted_contexts} == {model, *classes}
    return association


def found(node: Node, model: NonPatientModel, asked: Dataset) -> tuple[list[Dataset], set[int]]:
    """The answers, and their statuses."""
    association = associated(node, model.find)
    answers = list(association.send_c_find(asked, model.find))
    association.release()
    assert answers[-1][0].Status == 0
    return [answer for _, answer in answers[:-1]], {status.Status for status, _ in answers[:-1]}


def gotten(node: Node, sop_class: str, classes: tuple[str, ...], asked: Dataset) -> tuple[Any, dict[str, bytes]]:
    """The final answer of a C-GET, and what arrived."""
    from pynetdicom import evt

    got: dict[str, bytes] = {}

    def stored(event: Any) -> int:
        got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    association = associated(node, sop_class, classes, [(evt.EVT_C_STORE, stored)])
    *_, (final, _) = association.send_c_get(asked, sop_class)
    association.release()
    return final, got


@pytest.mark.interop(service="Storage, non-patient objects", peer="DCMTK storescu", role="SCP")
def test_dcmtk_stores_them(tmp_path: Path) -> None:
    (tmp_path / "protocol.dcm").write_bytes(SENT[f"{ROOT}.38.1.2"])
    (tmp_path / "template.dcm").write_bytes(SENT[f"{ROOT}.43.1.1"])
    with ours.node(tmp_path / "data") as server:
        port = str(server.dimse[1])
        for path in (*PALETTES[:2], tmp_path / "protocol.dcm", tmp_path / "template.dcm"):
            sop_class = str(pydicom.dcmread(path).SOPClassUID)
            # storescu proposes what it is told to; it has no profile of these classes of its own
            config = tmp_path / "storescu.cfg"
            config.write_text(PROFILE.format(sop_class=sop_class))
            peers.run("storescu", "-xf", str(config), "Default", "127.0.0.1", port, str(path))
        there = Node(server.dimse[1], [], server.url)
        labels = {str(one.ContentLabel) for one in found(there, PALETTE, keys(ContentLabel=""))[0]}
        assert labels == {str(pydicom.dcmread(path).ContentLabel) for path in PALETTES[:2]}
        assert len(found(there, HANGING, keys(HangingProtocolName="Thorax*"))[0]) == 1
        assert len(found(there, IMPLANT, keys(ImplantName=""))[0]) == 1


@pytest.mark.interop(service="Storage, non-patient objects", peer="pynetdicom", role="SCP")
def test_pynetdicom_stores_them(tmp_path: Path) -> None:
    from pynetdicom import AE

    with ours.node(tmp_path) as server:
        entity = AE()
        for uid in NON_PATIENT_KEYS:
            entity.add_requested_context(uid, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", server.dimse[1])
        assert [association.send_c_store(read(file)).Status for file in FILES] == [0] * len(FILES)
        # the same UID with other content: the first is kept, and the sender is told
        again = read(FILES[-1])
        again.ContentDescription = "another"
        assert association.send_c_store(again).Status == 0xB000
        association.release()
        there = Node(server.dimse[1], [], server.url)
        assert len(found(there, PALETTE, keys(ContentLabel=""))[0]) == len(PALETTES)


PROFILE = """[[TransferSyntaxes]]
[Explicit]
TransferSyntax1 = LittleEndianExplicit
[[PresentationContexts]]
[Non Patient]
PresentationContext1 = {sop_class}\\Explicit
[[Profiles]]
[Default]
PresentationContexts = Non Patient
"""


@pytest.mark.interop(service="C-FIND, non-patient objects", peer="pynetdicom", role="SCP")
@pytest.mark.interop(service="C-GET, non-patient objects", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize("model", NON_PATIENT_MODELS, ids=lambda model: model.find)
def test_each_model_finds_and_gets_its_own(node: Node, model: NonPatientModel) -> None:
    answers, statuses = found(node, model, keys(SOPClassUID="", SOPInstanceUID=""))
    mine = {uid: file for uid, file in SENT.items() if read(file).SOPClassUID in model.sop_classes}
    assert mine
    assert {str(answer.SOPInstanceUID): str(answer.SOPClassUID) for answer in answers} == {
        uid: str(read(file).SOPClassUID) for uid, file in mine.items()
    }
    assert statuses == {0xFF00}
    assert "QueryRetrieveLevel" not in answers[0]
    final, got = gotten(node, model.get, model.sop_classes, keys(SOPInstanceUID=list(SENT)))
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0, len(mine))
    assert got == {uid: data_set(file) for uid, file in mine.items()}


@pytest.mark.interop(service="C-FIND, non-patient objects", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        ({1, 2, 3}, {"HangingProtocolName": ""}),
        ({2}, {"HangingProtocolName": "Thorax*"}),
        ({3}, {"HangingProtocolName": "*50%"}),
        (set(), {"HangingProtocolName": "thorax*"}),
        ({1, 2, 3}, {"HangingProtocolLevel": "SITE"}),
        (set(), {"HangingProtocolLevel": "MANUFACTURER"}),
        ({3}, {"HangingProtocolDefinitionSequence": [item(Modality="CT")]}),
        (set(), {"HangingProtocolDefinitionSequence": [item(Modality="CT", Laterality="R")]}),
        ({1, 3}, {"SOPInstanceUID": [f"{ROOT}.38.1.1", f"{ROOT}.38.1.3"]}),
        ({2}, {"NumberOfPriorsReferenced": 2}),
        ({2, 3}, {"HangingProtocolCreationDateTime": "20240102-"}),
        ({2}, {"HangingProtocolCreator": "Ågren*"}),
    ],
)
def test_keys_of_hanging_protocols(node: Node, expected: set[int], asked: dict[str, Any]) -> None:
    answers, _ = found(node, HANGING, keys(**asked))
    assert {int(str(answer.SOPInstanceUID).rpartition(".")[2]) for answer in answers} == expected
    assert all(name in answer for answer in answers for name in asked)


@pytest.mark.interop(service="C-FIND, non-patient objects", peer="pynetdicom", role="SCP")
def test_answers_have_what_was_asked_for(node: Node) -> None:
    asked = keys(HangingProtocolName="Thorax*", HangingProtocolCreator="", PatientID="", NumberOfScreens=None)
    (answer,), statuses = found(node, HANGING, asked)
    assert statuses == {0xFF01}  # nobody has a Patient ID here
    assert (answer.HangingProtocolName, answer.HangingProtocolCreator) == ("Thorax a.p.", "Ågren^Östen")
    assert answer.NumberOfScreens is None
    assert "PatientID" not in answer
    protocols, _ = found(node, PROTOCOL, keys(ProtocolName="*", EquipmentModality=""))
    assert {str(one.ProtocolName): str(one.EquipmentModality) for one in protocols} == {
        "Thorax low dose": "CT",
        "Coronaries": "XA",
    }


@pytest.mark.interop(service="C-MOVE, non-patient objects", peer="pynetdicom", role="SCP")
def test_c_move(node: Node) -> None:
    node.received.clear()
    association = associated(node, PALETTE.move)
    asked = keys(SOPInstanceUID=[str(pydicom.dcmread(path).SOPInstanceUID) for path in PALETTES])
    *_, (final, _) = association.send_c_move(asked, "ALL", PALETTE.move)
    association.release()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0, len(PALETTES))
    assert {one.sop_instance for one in node.received} == {str(uid) for uid in asked.SOPInstanceUID}


def test_the_composite_instance_root_gives_any_instance(node: Node) -> None:
    asked = keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID=[f"{ROOT}.38.1.1", f"{ROOT}.45.1.1"])
    classes = (UID_OF["HangingProtocolStorage"], UID_OF["ImplantTemplateGroupStorage"])
    final, got = gotten(node, COMPOSITE_INSTANCE_ROOT_GET, classes, asked)
    assert final.Status == 0
    assert got == {uid: data_set(SENT[uid]) for uid in asked.SOPInstanceUID}


def test_they_are_in_no_study(node: Node) -> None:
    from pynetdicom import AE

    entity = AE()
    entity.add_requested_context("1.2.840.10008.5.1.4.1.2.2.1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.2.1.1")
    association = entity.associate("127.0.0.1", node.port)
    for root, level in (("2.1", "STUDY"), ("1.1", "PATIENT")):
        asked = keys(QueryRetrieveLevel=level, PatientID="")
        assert len(list(association.send_c_find(asked, f"1.2.840.10008.5.1.4.1.2.{root}"))) == 1
    association.release()


def test_an_identifier_without_instances_is_refused(node: Node) -> None:
    final, got = gotten(node, HANGING.get, HANGING.sop_classes, keys(HangingProtocolName="Thorax a.p."))
    assert (final.Status, got) == (0xA900, {})


@pytest.mark.interop(service="Storage, non-patient objects", peer="pynetdicom", role="SCU")
def test_they_are_forwarded(tmp_path: Path) -> None:
    from isocenter.archive.routing import Rule

    with peers.pynetdicom_scp(aet="ALL") as (address, received):
        peer = KnownPeer("all", "ALL", "127.0.0.1", int(address.rpartition(":")[2]))  # type: ignore[arg-type]
        with (
            ours.node(tmp_path, peers=[peer], rules=[Rule(peer)]) as server,
            isocenter.sync.connect(server.address) as pacs,
        ):
            file = made("InventoryStorage", 9, InventoryLevel="STUDY")
            assert [outcome.status for outcome in pacs.store([file])] == [0]
            deadline = time.monotonic() + 60
            while not received and time.monotonic() < deadline:
                time.sleep(0.05)
        assert [one.sop_instance for one in received] == [str(read(file).SOPInstanceUID)]
