"""Storage Commitment over the archive: what is reported of sound, damaged, strange and absent objects; where and when
the report comes."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import isocenter
import ours
from certificates import Certificates
from commitment_scu import (
    CT,
    MR,
    QUICK,
    Heard,
    ask,
    asked_and_released,
    associated,
    files,
    flip,
    jobs,
    listening,
    modality,
    objects,
    refuse_the_event,
    released,
    stored,
    until,
)
from isocenter.dimse.endpoint import dimse_listeners, dimse_server, listening_socket
from isocenter.errors import AssociationAborted, InvalidArgument, PeerTimeout
from isocenter.net.commitment import Reports
from isocenter.net.tls import server_context
from isocenter.server import Node
from isocenter.services.base import Peer, Request
from isocenter.services.normalized import Operation, encoded
from isocenter.services.storage_commitment import (
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    Reference,
    report_model,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import Verb
from peers import free_port
from raw_scu import EXPLICIT, raw_scu

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


async def lost_when_asked(pacs: isocenter.net.client.Peer, node: Node) -> None:
    """Has the association aborted once the request is answered."""
    association = pacs._association
    assert association is not None
    async with asyncio.timeout(60):
        while not await node.archive.jobs.listed() or association._waiting:
            await asyncio.sleep(0.01)
    association.abort()


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
            await lost_when_asked(pacs, node)
            report = await waiting
        await server.close()
        return report

    later = {**QUICK, "commitment_delay": 1.0}
    with ours.node(tmp_path, peers=[modality(listener.address[1])], **later) as node:
        references = stored(node.address, objects(2))
        report = asyncio.run(scenario(node.address, references))
    assert frozenset(references) == report.committed


def test_without_listening_a_lost_association_ends_the_waiting(tmp_path: Path) -> None:
    short = {**QUICK, "commitment_delay": 60.0, "dimse_idle_timeout": 3.0}
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
            await lost_when_asked(pacs, node)
            report = await waiting
        await server.close()
        return report

    listener = listening_socket("127.0.0.1", 0, "DIMSE", secured=True)
    secured = dataclasses.replace(modality(listener.getsockname()[1]), tls=True)
    with ours.node(tmp_path / "data", peers=[secured], **{**QUICK, "commitment_delay": 1.0}, **rows) as node:
        assert node.tls_address is not None
        settings = Settings().replace(**rows)
        with isocenter.sync.connect(node.tls_address, settings=settings, tls=True) as pacs:
            references = [Reference(one.sop_class, one.sop_instance) for one in pacs.store(objects(2))]
        report = asyncio.run(scenario(node.tls_address, references))
    assert frozenset(references) == report.committed
