"""Instance Availability Notification with pynetdicom: it hears of a study that came, and we hear of one from it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

import isocenter
import ours
import peers
from isocenter.index.jobs import Job
from isocenter.index.sql import jobs_beside
from isocenter.known_peers import KnownPeer
from skins.test_move_destinations import study_of

pytestmark = pytest.mark.interop

CT = "1.2.840.10008.5.1.4.1.1.2"
IAN = "1.2.840.10008.5.1.4.33"
QUICK = {"jobs_retry_first": 0.2, "jobs_retry_longest": 0.4, "jobs_interval": 0.1}


@contextlib.contextmanager
def pynetdicom_ian(port: int, statuses: list[int]) -> Iterator[list[tuple[Any, Dataset]]]:
    """An IAN SCP; answers with `statuses` in turn, then with success. Yields requests and their attributes."""
    from pynetdicom import AE, evt

    heard: list[tuple[Any, Dataset]] = []

    def on_create(event: Any) -> tuple[int, None]:
        heard.append((event.request, event.attribute_list))
        return (statuses.pop(0) if statuses else 0x0000), None

    entity = AE(ae_title="RIS")
    entity.add_supported_context(IAN)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_CREATE, on_create)])
    try:
        yield heard
    finally:
        server.shutdown()


def jobs_of(data: Path) -> list[Job]:
    with jobs_beside(data / "index.sqlite") as jobs:
        return jobs.listed()


def until_over(data: Path) -> list[Job]:
    end = time.monotonic() + 60
    while not (jobs := jobs_of(data)) or any(job.state in ("waiting", "running") for job in jobs):
        assert time.monotonic() < end, jobs
        time.sleep(0.05)
    return jobs


@pytest.mark.interop(service="Instance Availability Notification", peer="pynetdicom", role="SCU")
def test_a_peer_is_told_once_when_a_study_is_quiet(tmp_path: Path) -> None:
    port = peers.free_port()
    ris = KnownPeer("ris", "RIS", "127.0.0.1", port, notify=True)  # type: ignore[arg-type]
    study, uids, objects = study_of(5)
    ahead = 0.0  # seconds by which the server's clock is turned on
    rows = {**QUICK, "jobs_notify_after": 600.0}
    # The first try meets nobody, the second a peer that is busy.
    with ours.node(tmp_path, peers=[ris], clock=lambda: time.time() + ahead, **rows) as node:
        with isocenter.sync.connect(node.address, calling="SCANNER") as pacs:
            for one in objects:
                assert {0} == {outcome.status for outcome in pacs.store([one])}
        [waiting] = jobs_of(tmp_path)
        assert ("notify", "ris", study, "waiting", 5, 0) == (
            waiting.kind, waiting.target, waiting.key, waiting.state, waiting.total, waiting.attempts,
        )  # fmt: skip
        ahead = 601.0
        end = time.monotonic() + 60
        while not jobs_of(tmp_path)[0].attempts:
            assert time.monotonic() < end
            time.sleep(0.05)
        with pynetdicom_ian(port, [0x0110]) as heard:
            [job] = until_over(tmp_path)
    assert ("done", 5, 5) == (job.state, job.total, job.done)
    assert 2 == len(heard)
    request, said = heard[-1]
    assert IAN == request.AffectedSOPClassUID
    assert pydicom.uid.UID(request.AffectedSOPInstanceUID).is_valid
    assert study == said.StudyInstanceUID
    assert [] == list(said.ReferencedPerformedProcedureStepSequence)
    [series] = said.ReferencedSeriesSequence
    items = series.ReferencedSOPSequence
    assert set(uids) == {item.ReferencedSOPInstanceUID for item in items}
    assert {(CT, "ONLINE", "ISOCENTER")} == {
        (item.ReferencedSOPClassUID, item.InstanceAvailability, item.RetrieveAETitle) for item in items
    }
    assert [] == [one.tag for one in said.iterall() if one.tag.group == 0x0010], "nothing of the patient"


def test_what_a_peer_will_never_take_fails(tmp_path: Path) -> None:
    port = peers.free_port()
    ris = KnownPeer("ris", "RIS", "127.0.0.1", port, notify=True)  # type: ignore[arg-type]
    with (
        pynetdicom_ian(port, [0x0106]) as heard,
        ours.node(tmp_path, peers=[ris], jobs_notify_after=0.0, **QUICK) as node,
    ):
        with isocenter.sync.connect(node.address) as pacs:
            assert {0} == {outcome.status for outcome in pacs.store(study_of(1)[2])}
        [job] = until_over(tmp_path)
    assert ("failed", "N-CREATE: 0106 Invalid attribute value") == (job.state, job.last_error)
    assert 1 == len(heard)


def notification(study: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, f"{study}.1.1"
    item.InstanceAvailability, item.RetrieveAETitle = "ONLINE", "ARCHIVE"
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = f"{study}.1", [item]
    said = Dataset()
    said.StudyInstanceUID = study
    said.ReferencedSeriesSequence = [series]
    said.ReferencedPerformedProcedureStepSequence = []
    return said


@pytest.mark.interop(service="Instance Availability Notification", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_we_are_told(tmp_path: Path, syntax: str) -> None:
    from pynetdicom import AE

    lines: list[str] = []
    told = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())
            told.set()

    listener = Listener()
    logger = logging.getLogger("isocenter.dimse")
    logger.addHandler(listener)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with ours.node(tmp_path) as node:
            entity = AE(ae_title="ARCHIVE")
            entity.add_requested_context(IAN, syntax)
            association = entity.associate(*node.dimse, ae_title="ISOCENTER")
            assert association.is_established
            status, _ = association.send_n_create(notification("1.2.3"), IAN, "1.2.3.4")
            assert 0x0000 == status.Status
            assert told.wait(60)
            lacking = notification("1.2.3")
            del lacking.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].RetrieveAETitle
            status, _ = association.send_n_create(lacking, IAN, "1.2.3.5")
            assert 0x0120 == status.Status
            empty = notification("1.2.3")
            empty.StudyInstanceUID = ""
            status, _ = association.send_n_create(empty, IAN, "1.2.3.6")
            assert 0x0121 == status.Status
            status, _ = association.send_n_create(notification("1.2.3"), IAN, None)
            assert 0x0117 == status.Status
            association.release()
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    [line] = [line for line in lines if "study 1.2.3" in line]
    assert "ARCHIVE: study 1.2.3: 1 instances ONLINE, to be retrieved from ARCHIVE" in line
