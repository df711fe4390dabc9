"""Forwarding to DCMTK's storescp and to Orthanc that are down first, and across a kill of the server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
import peers
from isocenter.archive.routing import Rule
from isocenter.index.jobs import Job
from isocenter.index.sql import jobs_beside
from isocenter.known_peers import KnownPeer
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

NAMES = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "rtplan.dcm", "SC_rgb_jpeg_dcmtk.dcm")
FILES = [Path(str(get_testdata_file(name, download=False))) for name in NAMES]


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


SENT = sorted(data_set(path.read_bytes()) for path in FILES)


def jobs_of(data: Path) -> list[Job]:
    with jobs_beside(data / "index.sqlite") as jobs:
        return jobs.listed()


def until(data: Path, fulfilled: Callable[[list[Job]], bool]) -> list[Job]:
    end = time.monotonic() + 60
    while not fulfilled(jobs := jobs_of(data)):
        assert time.monotonic() < end, jobs
        time.sleep(0.05)
    return jobs


def done(jobs: list[Job]) -> bool:
    return bool(jobs) and {"done"} == {job.state for job in jobs}


def forwarded(data: Path, there: KnownPeer, up: Callable[[], AbstractContextManager[object]]) -> None:
    """FILES come while the peer is down; it is `up` when the queue has tried for a while."""
    quick = {"jobs_retry_first": 0.2, "jobs_retry_longest": 0.5, "jobs_interval": 0.1}
    with ours.node(data, peers=[there], rules=[Rule(there)], **quick) as node:
        with isocenter.sync.connect(node.address, calling="SCANNER") as pacs:
            assert {0} == {outcome.status for outcome in pacs.store(FILES)}
        until(data, lambda jobs: bool(jobs) and max(job.attempts for job in jobs) > 1)
        assert not any(job.done for job in jobs_of(data))
        with up():
            jobs = until(data, done)
    assert len(FILES) == sum(job.done for job in jobs)


@pytest.mark.interop(service="Storage, forwarding", peer="DCMTK storescp", role="SCU")
def test_storescp_down_then_up(tmp_path: Path) -> None:
    port = peers.free_port()
    there = KnownPeer("there", "DCMTK", "127.0.0.1", port)  # type: ignore[arg-type]
    # +xa: every transfer syntax; +B: what is written is what came
    folder = tmp_path / "scp"
    forwarded(tmp_path / "data", there, lambda: peers.storescp(folder, "+xa", "+B", aet="DCMTK", port=port))
    assert sorted(data_set(path.read_bytes()) for path in folder.iterdir()) == SENT


@pytest.mark.interop(service="Storage, forwarding", peer="Orthanc", role="SCU")
def test_orthanc_down_then_up(tmp_path: Path) -> None:
    port = peers.free_port()
    there = KnownPeer("there", "ORTHANC", "127.0.0.1", port)  # type: ignore[arg-type]
    kept: list[bytes] = []

    class Up:
        def __enter__(self) -> None:
            self.context = peers.orthanc(tmp_path / "orthanc", port=port)
            self.orthanc = self.context.__enter__()

        def __exit__(self, *error: object) -> None:
            for instance in self.orthanc.request("/instances"):
                kept.append(self.orthanc.request(f"/instances/{instance}/file"))
            self.context.__exit__(*error)  # type: ignore[arg-type]

    forwarded(tmp_path / "data", there, Up)
    # Orthanc writes headers anew, so that values are compared and not bytes.
    there_now = {one.SOPInstanceUID: one for one in (pydicom.dcmread(BytesIO(raw)) for raw in kept)}
    for path in FILES:
        sent = pydicom.dcmread(path)
        got = there_now.pop(sent.SOPInstanceUID)
        assert sent.file_meta.TransferSyntaxUID == got.file_meta.TransferSyntaxUID
        for element in sent:
            if element.tag.element != 0:  # group lengths
                assert element == got[element.tag], element.tag
    assert {} == there_now


def test_what_was_acknowledged_is_forwarded_though_the_server_was_killed(tmp_path: Path) -> None:
    """kill -9 after the last answer, and again while it sends: every object arrives, whole."""
    scp, dimse, http = peers.free_port(), peers.free_port(), peers.free_port()
    config = tmp_path / "isocenter.toml"
    config.write_text(
        f"""
[archive]
data = "{tmp_path / "data"}"
[dimse]
port = {dimse}
[web]
port = {http}
[jobs]
retry_first = 0.2
retry_longest = 0.5
[[peer]]
name = "there"
aet = "DCMTK"
host = "127.0.0.1"
port = {scp}
[[forward]]
to = "there"
when = {{ calling = "SCAN*" }}
"""
    )
    argv = [sys.executable, "-m", "isocenter.cli.main", "serve", "--config", config]
    with peers.running(argv, log=tmp_path / "1.log", ports=[dimse, http]) as server:
        with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{dimse}", calling="SCANNER") as pacs:
            assert {0} == {outcome.status for outcome in pacs.store(FILES)}
        server.process.kill()
        server.process.wait()
    jobs = jobs_of(tmp_path / "data")
    assert len(FILES) == sum(job.total for job in jobs)
    assert {"waiting", "running"} >= {job.state for job in jobs}
    folder = tmp_path / "scp"
    with peers.storescp(folder, "+xa", "+B", aet="DCMTK", port=scp):
        with peers.running(argv, log=tmp_path / "2.log", ports=[dimse, http]) as server:
            end = time.monotonic() + 60
            while not list(folder.iterdir()):
                assert time.monotonic() < end, server.output()
                time.sleep(0.001)
            server.process.kill()
            server.process.wait()
        with peers.running(argv, log=tmp_path / "3.log", ports=[dimse, http]):
            until(tmp_path / "data", done)
    assert sorted(data_set(path.read_bytes()) for path in folder.iterdir()) == SENT
