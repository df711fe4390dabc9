"""Storage Commitment over the archive: what is reported of sound, damaged, strange and absent objects; where and when
the report comes; and what is answered to requests that are none."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from certificates import Certificates
from isocenter.archive.jobs import Job
from isocenter.dimse.endpoint import dimse_listeners, dimse_server, listening_socket
from isocenter.errors import AssociationAborted, InvalidArgument, PeerTimeout
from isocenter.known_peers import KnownPeer
from isocenter.net.commitment import Reports
from isocenter.net.tls import server_context
from isocenter.server import Node
from isocenter.services.base import Peer, Reply, Request
from isocenter.services.normalized import EventReceiver, Operation, encoded, normalized_request
from isocenter.services.storage_commitment import (
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
    read_report,
    report_model,
    request_model,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.ul import events
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import Verb
from peers import free_port
from raw_scu import EXPLICIT, RawSCU, raw_scu
from skins.web_harness import saved

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
QUICK = {"commitment_delay": 0.0, "jobs_retry_first": 0.05, "jobs_retry_longest": 0.2, "jobs_interval": 0.05}


def objects(count: int, **attributes: object) -> list[bytes]:
    study, series = generate_uid(), generate_uid()
    made = []
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    for number in range(count):
        one.StudyInstanceUID, one.SeriesInstanceUID, one.InstanceNumber = study, series, number
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(one, keyword, value)
        made.append(saved(one))
    return made


def stored(address: str, items: list[bytes]) -> list[Reference]:
    with isocenter.sync.connect(address) as pacs:
        outcomes = list(pacs.store(items))
    assert {0} == {outcome.status for outcome in outcomes}
    return [Reference(outcome.sop_class, outcome.sop_instance) for outcome in outcomes]


def files(data: Path) -> dict[str, Path]:
    """The files of the stored objects by SOP Instance UID."""
    found = [path for path in (data / "objects").rglob("*") if path.is_file() and path.stat().st_size]
    return {str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): path for path in found}


def flip(path: Path) -> None:
    """One bit of the last byte, which is a pixel's."""
    with path.open("r+b") as file:
        file.seek(-1, 2)
        byte = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([byte ^ 1]))


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what is reported -----------------------------------------------------------------------------------------------


def test_of_a_thousand_objects_the_ten_that_were_damaged_on_disk_are_not_committed(tmp_path: Path) -> None:
    with ours.node(tmp_path, **QUICK) as node:
        references = stored(node.address, objects(1000))
        where = files(tmp_path)
        assert 1000 == len(where)
        for reference in references[3::100]:
            flip(where[reference.instance])
        with isocenter.sync.connect(node.address) as pacs:
            report = pacs.commit(references)
    assert {references[number]: 0x0110 for number in range(3, 1000, 100)} == report.failed
    assert frozenset(references) - report.failed.keys() == report.committed


def test_reasons_for_what_is_not_committed(tmp_path: Path) -> None:
    with ours.node(tmp_path, **QUICK) as node:
        good, lost, other = stored(node.address, objects(3))
        files(tmp_path)[lost.instance].unlink()
        wrong, never = Reference(MR, other.instance), Reference(CT, "1.2.3.4")
        with isocenter.sync.connect(node.address) as pacs:
            report = pacs.commit([good, lost, wrong, never])
            assert frozenset({good}) == report.committed
            assert {lost: 0x0110, wrong: 0x0119, never: 0x0112} == report.failed
            again = pacs.commit([good, good])
            assert (1, frozenset({good}), {}) == (again.event_type, again.committed, again.failed)


# --- where it comes -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(take: Callable[[Operation], Reply], port: int = 0) -> Iterator[int]:
    """An SCU that hears reports on associations of the SCP; its port."""

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[int]:
        async def answer(operation: Operation) -> Reply:
            return take(operation)

        settings = Settings().replace(dimse_port=port, dimse_drain_timeout=0.1)
        server = dimse_server((EventReceiver(answer, (STORAGE_COMMITMENT_PUSH,)),), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        yield server.address[1]
        await server.close()

    with ours.background(make) as bound:
        yield bound


class Heard:
    """Reports that came to a listener. `statuses` are what it answers, then 0."""

    def __init__(self, *statuses: int) -> None:
        self.reports: list[CommitmentReport] = []
        self.operations: list[Operation] = []
        self._statuses = list(statuses)

    def __call__(self, operation: Operation) -> Reply:
        self.operations.append(operation)
        self.reports.append(read_report(operation.model()))
        return Reply(self._statuses.pop(0) if self._statuses else 0)


def ask(scu: RawSCU, references: list[Reference], transaction: str = "", **changes: object) -> dict[str, object]:
    """The response to an N-ACTION on the first context."""
    request = CommitmentRequest(transaction or generate_uid(), tuple(references))
    return send(scu, encoded(request_model(request), EXPLICIT, ()), **changes)


def send(scu: RawSCU, information: bytes | None, **changes: object) -> dict[str, object]:
    command = normalized_request(Verb.N_ACTION, 1, STORAGE_COMMITMENT_PUSH, WELL_KNOWN_INSTANCE, type_id=1)
    command = {name: value for name, value in {**command, **changes}.items() if value is not None}
    command["CommandDataSetType"] = 0x0101 if information is None else 1
    scu.connection.send_message(1, command, information)
    scu.flush()
    event = scu.event()
    assert isinstance(event, events.MessageStarted), event
    return event.command


def associated(scu: RawSCU, calling: str = "MODALITY", called: str = "ISOCENTER") -> None:
    accepted = scu.associate((STORAGE_COMMITMENT_PUSH, (EXPLICIT,)), calling=calling, called=called)
    assert isinstance(accepted, events.AssociationAccepted)


def released(scu: RawSCU) -> None:
    scu.connection.release()
    scu.flush()
    assert isinstance(scu.event(), events.Released)


def refuse_the_event(scu: RawSCU) -> None:
    """Answer an N-EVENT-REPORT as an SCU that hears none on its own associations."""
    event = scu.event()
    assert isinstance(event, events.MessageStarted)
    assert Verb.N_EVENT_REPORT == event.command["CommandField"]
    while not isinstance(event, events.DataSetChunk) or not event.last:
        event = scu.event()
    refusal = {
        "CommandField": Verb.N_EVENT_REPORT | 0x8000,
        "MessageIDBeingRespondedTo": 1,
        "CommandDataSetType": 0x0101,
        "Status": 0x0211,
    }
    scu.connection.send_message(1, refusal)
    scu.flush()


def modality(port: int) -> KnownPeer:
    return KnownPeer("scanner", "MODALITY", "127.0.0.1", port)  # type: ignore[arg-type]


def test_the_report_comes_on_a_new_association_once_the_first_is_released(tmp_path: Path) -> None:
    heard = Heard()
    later = {**QUICK, "commitment_delay": 0.3, "dimse_other_aets": "ARCHIVE2"}
    with listening(heard) as port, ours.node(tmp_path, peers=[modality(port)], **later) as node:
        references = stored(node.address, objects(2))
        with raw_scu(node.dimse[1]) as scu:
            associated(scu, called="ARCHIVE2")
            assert 0 == ask(scu, references, "1.2.3.4")["Status"]
            released(scu)
        until(lambda: bool(heard.reports))
    assert CommitmentReport("1.2.3.4", frozenset(references), {}) == heard.reports[0]
    operation = heard.operations[0]
    assert ("ARCHIVE2", "MODALITY") == (operation.peer.calling, operation.peer.called)
    assert ["ISOCENTER"] == operation.model()["00080054"]["Value"]


def test_an_scu_that_hears_events_only_where_it_listens_gets_the_report_there(tmp_path: Path) -> None:
    heard = Heard()
    with listening(heard) as port, ours.node(tmp_path, peers=[modality(port)], **QUICK) as node:
        references = stored(node.address, objects(1))
        with raw_scu(node.dimse[1]) as scu:
            associated(scu)
            assert 0 == ask(scu, references)["Status"]
            refuse_the_event(scu)
            until(lambda: bool(heard.reports))
    assert frozenset(references) == heard.reports[0].committed


def test_a_listening_scu_waits_on_although_its_association_is_lost(tmp_path: Path) -> None:
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
    (listener,) = dimse_listeners(settings)

    async def scenario(address: str, references: list[Reference]) -> CommitmentReport:
        reports = Reports(listening=True)
        server = dimse_server((reports.service,), settings)
        await server.listen(listener.socket)
        pacs = isocenter.connect(address, calling="MODALITY", reports=reports)
        async with pacs:
            waiting = asyncio.create_task(pacs.commit(references))
            await asyncio.sleep(0.1)
            assert pacs._association is not None
            pacs._association.abort()
            report = await waiting
        await server.close()
        return report

    later = {**QUICK, "commitment_delay": 0.3}
    with ours.node(tmp_path, peers=[modality(listener.address[1])], **later) as node:
        references = stored(node.address, objects(2))
        report = asyncio.run(scenario(node.address, references))
    assert frozenset(references) == report.committed


def test_without_listening_a_lost_association_ends_the_waiting(tmp_path: Path) -> None:
    short = {**QUICK, "commitment_delay": 60.0, "dimse_idle_timeout": 0.3}
    with ours.node(tmp_path, **short) as node:
        references = stored(node.address, objects(1))
        with pytest.raises(AssociationAborted, match="before the report"), isocenter.sync.connect(node.address) as pacs:
            pacs.commit(references)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with ours.node(tmp_path, **{**QUICK, "commitment_delay": 60.0}) as node:
        references = stored(node.address, objects(1))
        with pytest.raises(PeerTimeout, match="no report"), isocenter.sync.connect(node.address) as pacs:
            pacs.commit(references, timeout=0.2)


def test_a_report_that_nobody_waits_for_is_refused_and_a_repeated_one_is_not() -> None:
    async def told(reports: Reports, report: CommitmentReport, **changes: Any) -> int:
        information = encoded(report_model(report, "PACS"), EXPLICIT, ())
        request = Request(Peer("PACS", "US", ""), Agreed(1, STORAGE_COMMITMENT_PUSH, EXPLICIT), {}, None)  # type: ignore[arg-type]
        operation = Operation(
            request,
            Verb.N_EVENT_REPORT,
            STORAGE_COMMITMENT_PUSH,
            WELL_KNOWN_INSTANCE,
            report.event_type,
            (),
            information,
        )
        try:
            return (await reports.service.event(dataclasses.replace(operation, **changes))).status
        except InvalidArgument as error:
            return error.dimse_status

    async def scenario() -> None:
        reports = Reports()
        report = CommitmentReport("1.2.3", frozenset({Reference(CT, "1.2")}), {Reference(CT, "1.3"): 0x0110})
        assert 0x0115 == await told(reports, report)
        awaited = reports.expect("1.2.3")
        assert 0x0112 == await told(reports, report, instance="1.2.3")
        assert 0x0113 == await told(reports, report, type_id=3)
        assert not awaited.done()
        assert [0, 0] == [await told(reports, report), await told(reports, report)]
        assert report == awaited.result()
        reports.forget("1.2.3")
        assert 0 == await told(reports, report)

    asyncio.run(scenario())


# --- when it comes --------------------------------------------------------------------------------------------------


def jobs(node: Node) -> list[Job]:
    return asyncio.run(node.archive.jobs.listed())


def asked_and_released(node: Node, references: list[Reference], transaction: str = "") -> None:
    with raw_scu(node.dimse[1]) as scu:
        associated(scu)
        assert 0 == ask(scu, references, transaction)["Status"]
        released(scu)


def test_a_peer_that_is_down_or_cannot_take_the_report_is_told_later(tmp_path: Path) -> None:
    port = free_port()
    heard = Heard(0x0110, 0x0213)
    with ours.node(tmp_path, peers=[modality(port)], **{**QUICK, "commitment_delay": 0.2}) as node:
        references = stored(node.address, objects(3))
        asked_and_released(node, references)
        until(lambda: bool(jobs(node)[0].last_error))
        flip(files(tmp_path)[references[1].instance])  # what is reported is what is true by then
        with listening(heard, port):
            until(lambda: jobs(node)[0].state == "done")
    assert 3 == len(heard.reports)
    assert {references[1]: 0x0110} == heard.reports[2].failed
    assert frozenset({references[0], references[2]}) == heard.reports[2].committed


def test_a_request_survives_the_server(tmp_path: Path) -> None:
    heard = Heard()
    port = free_port()
    with ours.node(tmp_path, peers=[modality(port)], **QUICK) as node:
        references = stored(node.address, objects(2))
        asked_and_released(node, references)
    with listening(heard, port), ours.node(tmp_path, peers=[modality(port)], **QUICK) as node:
        until(lambda: jobs(node)[0].state == "done")
    assert frozenset(references) == heard.reports[0].committed


def test_an_scu_that_says_it_knows_no_such_transaction_is_left_alone(tmp_path: Path) -> None:
    heard = Heard(0x0115)
    with listening(heard) as port, ours.node(tmp_path, peers=[modality(port)], **QUICK) as node:
        asked_and_released(node, stored(node.address, objects(1)))
        until(lambda: jobs(node)[0].state == "failed")
        assert "0115" in jobs(node)[0].last_error
    assert 1 == len(heard.reports)


def test_an_scu_that_takes_no_events_and_has_no_address_can_be_given_one(tmp_path: Path) -> None:
    heard = Heard()
    with listening(heard) as port, ours.node(tmp_path, **QUICK) as node:
        references = stored(node.address, objects(1))
        with raw_scu(node.dimse[1]) as scu:
            associated(scu)
            assert 0 == ask(scu, references)["Status"]
            refuse_the_event(scu)
            until(lambda: "0211" in jobs(node)[0].last_error)
        assert "no [[peer]] has the AE title MODALITY" in jobs(node)[0].last_error
        node.reload(node.settings, [modality(port)], [])
        until(lambda: jobs(node)[0].state == "done")
    assert frozenset(references) == heard.reports[0].committed


def test_nobody_to_call_is_said_and_the_report_waits(tmp_path: Path) -> None:
    heard = Heard()
    with listening(heard) as port, ours.node(tmp_path, **{**QUICK, "commitment_delay": 0.2}) as node:
        references = stored(node.address, objects(1))
        asked_and_released(node, references)
        until(lambda: "no [[peer]] has the AE title MODALITY" in jobs(node)[0].last_error)
        node.reload(node.settings, [modality(port)], [])
        until(lambda: jobs(node)[0].state == "done")
    assert frozenset(references) == heard.reports[0].committed


def test_the_same_request_again_is_reported_once_and_another_under_its_uid_not_committed(tmp_path: Path) -> None:
    heard = Heard()
    port = free_port()
    with ours.node(tmp_path, peers=[modality(port)], **QUICK) as node:
        references = stored(node.address, objects(3))
        asked_and_released(node, references[:2], "1.2.3")
        asked_and_released(node, references[:2], "1.2.3")
        asked_and_released(node, references[1:], "1.2.3")
        with listening(heard, port):
            until(lambda: {"done"} == {job.state for job in jobs(node)})
        assert 2 == len(jobs(node))
    by_type = {report.event_type: report for report in heard.reports}
    assert frozenset(references[:2]) == by_type[1].committed
    assert dict.fromkeys(references[1:], 0x0131) == by_type[2].failed


# --- what is no request ---------------------------------------------------------------------------------------------

ITEM = {"00081150": {"vr": "UI", "Value": [CT]}, "00081155": {"vr": "UI", "Value": ["1.2.3"]}}
UID = {"00081195": {"vr": "UI", "Value": ["1.2.3.4"]}}


def sequence(*items: dict[str, Any]) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": list(items)}}


@pytest.mark.parametrize(
    ("expected", "information", "changes"),
    [
        (0x0123, {**UID, **sequence(ITEM)}, {"ActionTypeID": 2}),
        (0x0123, {**UID, **sequence(ITEM)}, {"ActionTypeID": None}),
        (0x0112, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": "1.2.3"}),
        (0x0117, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": None}),
        (0x0117, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": "1.2.x"}),
        (0x0118, {**UID, **sequence(ITEM)}, {"RequestedSOPClassUID": CT}),
        (0x0118, {**UID, **sequence(ITEM)}, {"RequestedSOPClassUID": None}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.N_SET)}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.N_EVENT_REPORT)}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.C_FIND)}),
        (0x0115, None, {}),
        (0x0115, UID, {}),
        (0x0115, {**UID, **sequence()}, {}),
        (0x0115, {**UID, "00081199": {"vr": "UI", "Value": ["1.2"]}}, {}),
        (0x0115, sequence(ITEM), {}),
        (0x0115, {"00081195": {"vr": "UI", "Value": ["1.2", "1.3"]}, **sequence(ITEM)}, {}),
        (0x0115, {"00081195": {"vr": "UI", "Value": ["1.2/../3"]}, **sequence(ITEM)}, {}),
        (0x0115, {**UID, **sequence(ITEM, {"00081150": ITEM["00081150"]})}, {}),
        (0x0115, {**UID, **sequence({**ITEM, "00081155": {"vr": "UI", "Value": ["DROP TABLE"]}})}, {}),
        (0x0115, b"\x08\x00\x95\x11UI\xff\xff1.2", {}),
        (0x0213, {**UID, **sequence(*({**ITEM, "00081155": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(5)))}, {}),
        (0x0213, {**UID, **sequence(ITEM), "00081030": {"vr": "UT", "Value": ["x" * 5000]}}, {}),
    ],
)
def test_what_is_no_request_is_refused_and_leaves_no_job(
    tmp_path: Path, expected: int, information: Any, changes: dict[str, Any]
) -> None:
    limits = {"commitment_references": 4, "limits_identifier_bytes": 4096}
    with ours.node(tmp_path, **QUICK, **limits) as node, raw_scu(node.dimse[1]) as scu:
        associated(scu)
        raw = encoded(information, EXPLICIT, ()) if isinstance(information, dict) else information
        answer = send(scu, raw, **changes)
        assert f"{expected:04X}" == f"{answer['Status']:04X}", answer.get("ErrorComment")
        if expected == 0x0123:
            assert changes["ActionTypeID"] or 0 == answer["ActionTypeID"]
        # and the association stands
        assert 0 == ask(scu, [Reference(CT, "1.2.3")])["Status"]
        assert 1 == len(jobs(node))


def test_what_is_owed_is_bounded_and_then_refused(tmp_path: Path) -> None:
    wait = {**QUICK, "commitment_delay": 60.0, "commitment_pending": 3}
    with ours.node(tmp_path, **wait) as node, raw_scu(node.dimse[1]) as scu:
        associated(scu)
        first, second = ([Reference(CT, f"1.2.{n}"), Reference(CT, f"1.3.{n}")] for n in range(2))
        assert [0, 0x0213, 0] == [ask(scu, some)["Status"] for some in (first, second, second[:1])]
        assert [1, 2] == [job.total for job in jobs(node)]


def test_a_peer_without_the_right_to_ask_is_not_heard(tmp_path: Path) -> None:
    stranger = dataclasses.replace(modality(1), services=frozenset({"echo", "store"}))
    with ours.node(tmp_path, peers=[stranger], **QUICK) as node, raw_scu(node.dimse[1]) as scu:
        accepted = scu.associate((STORAGE_COMMITMENT_PUSH, (EXPLICIT,)), calling="MODALITY")
        assert isinstance(accepted, events.AssociationAccepted)
        assert [3] == [context.result for context in accepted.ac.contexts]


# --- by TLS ---------------------------------------------------------------------------------------------------------


def test_a_peer_with_tls_is_called_with_tls(tmp_path: Path, certificates: Certificates) -> None:
    """Request and report go in the clear nowhere; the listener takes TLS alone."""
    rows = {"tls_ca": certificates.ca, **certificates.server.settings, "tls_only": True}

    async def scenario(address: str, references: list[Reference]) -> CommitmentReport:
        reports = Reports(listening=True)
        settings = Settings().replace(**rows)
        server = dimse_server((reports.service,), settings.replace(dimse_drain_timeout=0.1))
        await server.listen(listener, server_context(settings))
        async with isocenter.connect(address, calling="MODALITY", settings=settings, tls=True, reports=reports) as pacs:
            waiting = asyncio.create_task(pacs.commit(references))
            await asyncio.sleep(0.1)
            assert pacs._association is not None
            pacs._association.abort()
            report = await waiting
        await server.close()
        return report

    listener = listening_socket("127.0.0.1", 0, "DIMSE", secured=True)
    secured = dataclasses.replace(modality(listener.getsockname()[1]), tls=True)
    with ours.node(tmp_path / "data", peers=[secured], **{**QUICK, "commitment_delay": 0.3}, **rows) as node:
        assert node.tls_address is not None
        settings = Settings().replace(**rows)
        with isocenter.sync.connect(node.tls_address, settings=settings, tls=True) as pacs:
            references = [Reference(one.sop_class, one.sop_instance) for one in pacs.store(objects(2))]
        report = asyncio.run(scenario(node.tls_address, references))
    assert frozenset(references) == report.committed
