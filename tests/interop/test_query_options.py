"""SOP Class Extended Negotiation of Query/Retrieve (PS3.4 C.5) in both roles: matching of empty and of multiple values,
zones, relational retrieval; with pynetdicom, by the client, by the commands, and by QIDO-RS what that has."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest

import isocenter
import ours
import peers
from command import isocenter as command
from isocenter.errors import NoPresentationContext
from isocenter.known_peers import KnownPeer
from isocenter.net.web_client import Service, WebClient
from isocenter.server import Node
from query_objects import objects
from skins.web_harness import saved

pytestmark = pytest.mark.interop

STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{end}" for end in (1, 2, 3))
WITHOUT = "100XYA"
"""The patient whose study is stored without Accession Number."""


def stored_objects() -> Iterator[bytes]:
    for raw in objects():
        one = pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw))
        if one.PatientID == WITHOUT:
            one.AccessionNumber = ""
        yield saved(one)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ours.Receiver]]:
    """Our node with the studies of query_objects, and the one receiver it knows."""
    folder = tmp_path_factory.mktemp("options")
    with ours.receiver(folder / "moved") as receiver:
        there = KnownPeer("there", "THERE", "127.0.0.1", receiver.port)  # type: ignore[arg-type]
        with ours.node(folder / "data", peers=[there]) as node:
            with isocenter.sync.connect(node.address) as pacs:
                assert {outcome.status for outcome in pacs.store(stored_objects())} == {0}
            yield node, receiver


def patients(matches: Any) -> set[str]:
    return {str(match.PatientID) for match in matches}


# --- as SCP --------------------------------------------------------------------------------------------------------


def asked_by_pynetdicom(port: int, extended: bytes, **keys: Any) -> tuple[bytes, set[str]]:
    """What we agreed to, and whom we found."""
    from pynetdicom import AE
    from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = STUDY_FIND, extended
    entity = AE()
    entity.add_requested_context(STUDY_FIND)
    association = entity.associate("127.0.0.1", port, ext_neg=[item])
    assert association.is_established
    try:
        agreed = association.acceptor.sop_class_extended[STUDY_FIND]
        identifier = pydicom.Dataset()
        identifier.QueryRetrieveLevel, identifier.PatientID = "STUDY", ""
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        answers = list(association.send_c_find(identifier, STUDY_FIND))
    finally:
        association.release()
    assert answers[-1][0].Status == 0
    return agreed, patients(one for _, one in answers if one is not None)


EMPTY, MULTIPLE = b"\0\0\0\0\0\1", b"\0\0\0\0\0\0\1"


@pytest.mark.parametrize(
    ("extended", "keys", "expected"),
    [
        (EMPTY, {"AccessionNumber": '""'}, {WITHOUT}),
        (b"\0", {"AccessionNumber": '""'}, set()),
        (MULTIPLE, {"ModalitiesInStudy": ["MR", "SR"]}, {"JP"}),
        (MULTIPLE, {"ModalitiesInStudy": ["MR", "CT"]}, {"100%_A"}),
        (b"\0", {"ModalitiesInStudy": ["MR", "SR"]}, {"JP", "100%_A"}),
    ],
)
def test_pynetdicom_asks_for_empty_and_for_all_of_several_values(
    archive: tuple[Node, ours.Receiver], extended: bytes, keys: dict[str, Any], expected: set[str]
) -> None:
    assert (extended, expected) == asked_by_pynetdicom(archive[0].dimse[1], extended, **keys)


# --- as SCU, at pynetdicom -----------------------------------------------------------------------------------------


@dataclass
class Scp:
    """A Query/Retrieve SCP of pynetdicom's that agrees to the first `agrees` bytes, and what it heard."""

    agrees: int
    address: str = ""
    proposed: dict[str, bytes] = field(default_factory=dict)
    identifiers: list[pydicom.Dataset] = field(default_factory=list)


@contextlib.contextmanager
def pynetdicom_qr(agrees: int = 9) -> Iterator[Scp]:
    from pynetdicom import AE, evt

    scp = Scp(agrees)

    def negotiate(event: Any) -> dict[str, bytes]:
        scp.proposed.update(event.app_info)
        return {uid: info[: scp.agrees] for uid, info in event.app_info.items()}

    def find(event: Any) -> Iterator[tuple[int, pydicom.Dataset | None]]:
        scp.identifiers.append(event.identifier)
        yield 0xFF00, event.identifier

    def get(event: Any) -> Iterator[Any]:
        scp.identifiers.append(event.identifier)
        yield 0

    def move(event: Any) -> Iterator[Any]:
        scp.identifiers.append(event.identifier)
        yield "127.0.0.1", peers.free_port()
        yield 0

    entity = AE(ae_title="QR")
    for uid in (STUDY_FIND, STUDY_GET, STUDY_MOVE):
        entity.add_supported_context(uid)
    handlers: list[Any] = [
        (evt.EVT_SOP_EXTENDED, negotiate),
        (evt.EVT_C_FIND, find),
        (evt.EVT_C_GET, get),
        (evt.EVT_C_MOVE, move),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    scp.address = f"QR@127.0.0.1:{server.socket.getsockname()[1]}"
    try:
        yield scp
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("options", "proposed", "lacking"),
    [
        ({"relational": True}, b"\1", "relational queries"),
        ({"combined": True}, b"\0\1", "combined dates and times"),
        ({"fuzzy": True}, b"\0\0\1", "fuzzy matching"),
        ({"zone": "+0900"}, b"\0\0\0\1", "time zones"),
        ({"view": "CLASSIC"}, b"\0\0\0\0\1", "views"),
        ({"empty_values": True}, b"\0\0\0\0\0\1", "empty values"),
        ({"multiple_values": True}, b"\0\0\0\0\0\0\1", "multiple values"),
    ],
)
def test_each_option_of_a_search_is_proposed_and_needs_the_peers_agreement(
    options: dict[str, Any], proposed: bytes, lacking: str
) -> None:
    with pynetdicom_qr() as scp, isocenter.sync.connect(scp.address) as pacs:
        assert len(list(pacs.find("STUDY", PatientID='""', **options))) == 1
    assert scp.proposed == {STUDY_FIND: proposed}
    assert scp.identifiers[0].PatientID == '""'
    with (
        pynetdicom_qr(agrees=0) as scp,
        isocenter.sync.connect(scp.address) as pacs,
        pytest.raises(NoPresentationContext, match=lacking),
    ):
        list(pacs.find("STUDY", PatientID='""', **options))
    assert scp.identifiers == []


def test_relational_retrieval_is_proposed_and_needs_the_peers_agreement() -> None:
    for agrees, expected in ((9, 1), (0, 0)):
        with pynetdicom_qr(agrees) as scp, isocenter.sync.connect(scp.address) as pacs:
            got = pacs.get("SERIES", into=None, relational=True, SeriesInstanceUID="1.2.3")
            moved = pacs.move("THERE", "SERIES", relational=True, SeriesInstanceUID="1.2.3")
            for steps in (got, moved):
                if expected:
                    assert [0] == [step.status for step in steps]
                else:
                    with pytest.raises(NoPresentationContext, match="relational retrieval"):
                        list(steps)
        assert scp.proposed == {STUDY_GET: b"\1", STUDY_MOVE: b"\1"}
        assert [("SERIES", "1.2.3", False)] * 2 * expected == [
            (one.QueryRetrieveLevel, one.SeriesInstanceUID, "StudyInstanceUID" in one) for one in scp.identifiers
        ]


# --- the client, the command and QIDO-RS at ourselves ----------------------------------------------------------------


def test_empty_and_multiple_values_by_dimse_and_by_the_web(archive: tuple[Node, ours.Receiver]) -> None:
    node, _ = archive
    url = f"http://127.0.0.1:{node.web[1]}/dicomweb"
    with isocenter.sync.connect(node.address) as pacs, WebClient(Service(url)) as web:
        for asked, expected in (
            ({"empty_values": True, "AccessionNumber": '""'}, {WITHOUT}),
            ({"multiple_values": True, "ModalitiesInStudy": "MR\\SR"}, {"JP"}),
            ({"multiple_values": True, "ModalitiesInStudy": ["MR", "CT"]}, {"100%_A"}),
        ):
            assert patients(pacs.find("STUDY", PatientID="", **asked)) == expected
            if not isinstance(asked.get("ModalitiesInStudy"), list):
                assert patients(web.find("STUDY", PatientID="", **asked)) == expected


def test_the_commands_options(archive: tuple[Node, ours.Receiver], tmp_path: Path) -> None:
    node, receiver = archive

    def found(*words: str) -> set[str]:
        done = command("find", node.address, "--json", "PatientID", *words)
        assert done.returncode == 0, done.stderr
        return {json.loads(line)["00100020"]["Value"][0] for line in done.stdout.splitlines()}

    assert {WITHOUT} == found("--empty-values", 'AccessionNumber=""')
    assert {"JP"} == found("--multiple-values", "ModalitiesInStudy=MR\\SR")
    # The objects say that they are of the zone -0500: 20240105 at 12:00 is the next day in Korea.
    assert {"100%_A", WITHOUT} == found("--zone", "+0900", "StudyDate=20240106")
    with isocenter.sync.connect(node.address) as pacs:
        (match,) = pacs.find("SERIES", relational=True, PatientID="JP", Modality="MR")
    series = ("--series", match.SeriesInstanceUID)
    done = command("get", node.address, tmp_path / "got", *series, "--relational", "--json")
    assert (0, 2) == (done.returncode, json.loads(done.stdout.splitlines()[-1])["completed"]), done.stderr
    done = command("move", node.address, "--to", "THERE", *series, "--relational")
    assert (0, 2) == (done.returncode, len(receiver.stored)), done.stderr
    lacking = command("get", node.address, tmp_path / "got", *series)
    assert 2 == lacking.returncode
    assert "StudyInstanceUID" in lacking.stderr
