"""What goes wrong at the DIMSE door: each case has its status, and the archive goes on with nothing lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
from isocenter.server import Node
from isocenter.services.storage import store_request
from isocenter.ul import events
from isocenter.wire import pdu
from isocenter.wire.command import NO_DATA_SET, Verb
from isocenter.wire.part10 import read_header
from raw_scu import CT, ECHO, EXPLICIT, RawSCU, raw_scu

RAW = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
META = read_header(RAW)
DATA_SET = RAW[META.data_set_offset :]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with ours.node(
        tmp_path_factory.mktemp("bad") / "archive", dimse_check_called_aet=True, dimse_artim_timeout=4.0
    ) as value:
        yield value


@pytest.fixture
def scu(node: Node) -> Iterator[RawSCU]:
    with raw_scu(node.dimse[1]) as value:
        yield value
    # Whatever was done to it, the server serves the next one.
    with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{node.dimse[1]}") as pacs:
        pacs.echo()


def test_wrong_called_ae_title(scu: RawSCU) -> None:
    assert scu.associate(called="SOMEONE") == events.AssociationRefused(pdu.AssociateRJ(1, 1, 7))


def test_unknown_sop_class_and_no_common_transfer_syntax(scu: RawSCU) -> None:
    event = scu.associate(("1.2.840.10008.99", (EXPLICIT,)), (CT, ("1.2.3.4",)), (ECHO, (EXPLICIT,)))
    assert isinstance(event, events.AssociationAccepted)
    assert [context.result for context in event.ac.contexts] == [3, 4, 0]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x42\0\0\0\0\4abcd", pdu.UNRECOGNIZED_PDU),
        (pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 0x7FFFFFFF), pdu.INVALID_PARAMETER),
        (pdu.encode_associate_rq(pdu.AssociateRQ("A", "B", (), pdu.UserInformation())), pdu.UNEXPECTED_PDU),
    ],
)
def test_unknown_too_long_and_unexpected_pdu(scu: RawSCU, raw: bytes, reason: int) -> None:
    scu.associate()
    scu.send(raw)
    assert scu.event() == events.Aborted(pdu.Abort(2, reason), False, pdu.Abort(2, reason).explanation)


def test_http_at_the_dicom_port(scu: RawSCU) -> None:
    scu.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert scu.rest() == pdu.encode_abort(pdu.Abort(2, pdu.UNRECOGNIZED_PDU))


def test_associate_request_over_its_limit_is_refused_after_the_header(scu: RawSCU) -> None:
    scu.send(pdu.PDU_HEADER.pack(pdu.A_ASSOCIATE_RQ, 256 * 1024 + 2))
    assert scu.rest() == pdu.encode_abort(pdu.Abort(2, pdu.INVALID_PARAMETER))


def test_silence_ends_by_artim(scu: RawSCU) -> None:
    assert scu.rest() == b""


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_truncated_data_set(scu: RawSCU, cut: int) -> None:
    scu.associate()
    assert scu.store(DATA_SET[:-cut], sop_instance=META.sop_instance)["Status"] == 0xC000


def test_data_set_of_another_instance_than_the_command_says(scu: RawSCU) -> None:
    scu.associate()
    assert scu.store(DATA_SET, sop_instance="1.2.3.4")["Status"] == 0xA900


def test_data_set_of_another_class_than_the_command_says(scu: RawSCU) -> None:
    mr = "1.2.840.10008.5.1.4.1.1.4"
    scu.associate((mr, (EXPLICIT,)))
    assert scu.store(DATA_SET, sop_class=mr, sop_instance=META.sop_instance)["Status"] == 0xA900


def test_sop_class_of_another_context(scu: RawSCU) -> None:
    scu.associate((ECHO, (EXPLICIT,)))
    assert scu.store(DATA_SET, sop_instance=META.sop_instance)["Status"] == 0x0211


UID = META.sop_instance


@pytest.mark.parametrize(
    "uid", [UID[:-2] + "x1", UID[:4] + "." + UID[5:], "1.3.06.14" + UID[9:], "../../etc/passwd".ljust(len(UID), "/")]
)
def test_invalid_uid(scu: RawSCU, uid: str) -> None:
    scu.associate()
    raw = DATA_SET.replace(UID.encode(), uid.encode())
    assert len(uid) == len(UID)
    assert 0xC000 <= int(str(scu.store(raw, sop_instance=uid)["Status"])) <= 0xCFFF


def test_no_data_set_and_unknown_operation(scu: RawSCU) -> None:
    scu.associate()
    for field, expected in ((Verb.C_STORE, 0xC000), (0x0777, 0x0211), (Verb.C_ECHO, 0x0211)):
        command = {
            "AffectedSOPClassUID": CT,
            "CommandField": field,
            "MessageID": 5,
            "CommandDataSetType": NO_DATA_SET,
            "AffectedSOPInstanceUID": "1.2.3",
        }
        scu.connection.send_message(1, command)
        scu.flush()
        event = scu.event()
        assert isinstance(event, events.MessageStarted)
        assert (event.command["MessageIDBeingRespondedTo"], event.command["Status"]) == (5, expected)


def test_connection_lost_within_an_object_leaves_nothing(tmp_path: Path) -> None:
    with ours.node(tmp_path / "data") as node, raw_scu(node.dimse[1]) as scu:
        before = objects(tmp_path)
        scu.associate()
        scu.connection.send_message(1, store_request(1, CT, META.sop_instance))
        scu.connection.send_data(1, DATA_SET[:10_000], last=False)
        scu.flush()
        wait_for(lambda: objects(tmp_path) - before)
        scu.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: objects(tmp_path) == before)


def objects(folder: Path) -> set[Path]:
    """Files with anything in them; the store keeps empty ones ready."""
    found = (folder / "data" / "objects").rglob("*")
    return {path for path in found if path.is_file() and path.stat().st_size}


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_hundred_silent_connections_and_one_that_works(node: Node) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.dimse[1])) for _ in range(200)]
    try:
        with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{node.dimse[1]}") as pacs:
            pacs.echo()
    finally:
        for one in silent:
            one.close()
