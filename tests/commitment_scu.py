"""Both sides of an SCU of Storage Commitment for tests: one that asks byte by byte, and one that listens; and what it
stored before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from isocenter.archive.jobs import Job
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.known_peers import KnownPeer
from isocenter.server import Node
from isocenter.services.base import Reply
from isocenter.services.normalized import EventReceiver, Operation, encoded, normalized_request
from isocenter.services.storage_commitment import (
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
    read_report,
    request_model,
)
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.ul import events
from isocenter.wire.command import Verb
from raw_scu import EXPLICIT, RawSCU, raw_scu
from skins.web_harness import saved

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
QUICK = {"commitment_delay": 0.0, "jobs_retry_first": 0.05, "jobs_retry_longest": 0.2, "jobs_interval": 0.05}


class Clock:
    """The time of day, turned on by `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


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
    """Release; a report that crosses it, as `commitment.delay` may be over before we have a turn, is left unanswered,
    and has to come again on another association."""
    scu.connection.release()
    scu.flush()
    while isinstance(event := scu.event(), events.MessageStarted | events.DataSetChunk):
        """Of the report."""
    assert isinstance(event, events.Released), event


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


def jobs(node: Node) -> list[Job]:
    return asyncio.run(node.archive.jobs.listed())


def asked_and_released(node: Node, references: list[Reference], transaction: str = "") -> None:
    with raw_scu(node.dimse[1]) as scu:
        associated(scu)
        assert 0 == ask(scu, references, transaction)["Status"]
        released(scu)
