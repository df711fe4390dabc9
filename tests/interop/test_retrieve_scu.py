"""Peer.get and Peer.move, and the commands, against DCMTK's dcmqrscp, pynetdicom and ourselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
import peers
from command import isocenter as command
from isocenter.dimse.folder import FolderStorage
from isocenter.errors import UsageError
from isocenter.known_peers import KnownPeer
from isocenter.wire.part10 import read_header
from skins.test_move_destinations import slow
from skins.web_harness import saved

pytestmark = pytest.mark.interop

NAMES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm")
FILES = [Path(str(get_testdata_file(name, download=False))) for name in NAMES]
HEADERS = [pydicom.dcmread(path, stop_before_pixels=True) for path in FILES]
CT = HEADERS[0]


def data_set(raw: bytes) -> bytes:
    return raw[read_header(raw).data_set_offset :]


SENT = {str(header.SOPInstanceUID): data_set(path.read_bytes()) for header, path in zip(HEADERS, FILES, strict=True)}


def in_folder(folder: Path) -> dict[str, bytes]:
    """Data sets by SOP Instance UID; files that are open for what comes next are empty."""
    files = [path.read_bytes() for path in folder.iterdir()]
    return {read_header(raw).sop_instance: data_set(raw) for raw in files if raw}


def slices(count: int) -> tuple[str, list[bytes]]:
    """A study of `count` CT slices."""
    study, series = generate_uid(), generate_uid()
    made = []
    for number in range(count):
        one = pydicom.dcmread(FILES[0])
        one.StudyInstanceUID, one.SeriesInstanceUID, one.InstanceNumber = study, series, number
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.append(saved(one))
    return study, made


def peer_of(name: str, address: str) -> KnownPeer:
    aet, _, place = address.partition("@")
    return KnownPeer(name, aet, "127.0.0.1", int(place.rpartition(":")[2]))  # type: ignore[arg-type]


@pytest.mark.interop(service="C-GET, Study Root", peer="DCMTK dcmqrscp", role="SCU")
@pytest.mark.interop(service="C-MOVE, Study Root", peer="DCMTK dcmqrscp", role="SCU")
def test_get_and_move_from_dcmqrscp(tmp_path: Path) -> None:
    with ours.receiver(tmp_path / "moved") as receiver:
        destinations = {"ISOCENTER": receiver.port}
        with peers.dcmqrscp(tmp_path, destinations=destinations) as scp, isocenter.sync.connect(scp.address) as pacs:
            assert {outcome.status for outcome in pacs.store(FILES[:3])} == {0}
            storage = FolderStorage(tmp_path / "got")
            *_, last = pacs.get("STUDY", into=storage, StudyInstanceUID=CT.StudyInstanceUID)
            assert (True, 1, 0) == (last.ok, last.completed, last.failed)
            *_, last = pacs.move("ISOCENTER", "STUDY", StudyInstanceUID=CT.StudyInstanceUID)
            assert (True, 1) == (last.ok, last.completed)
            *_, last = pacs.move("NOBODY", "STUDY", StudyInstanceUID=CT.StudyInstanceUID)
            assert (False, 0xA801) == (last.ok, last.status)
            pacs.echo()
        assert {CT.SOPInstanceUID} == set(in_folder(tmp_path / "moved")) == set(in_folder(tmp_path / "got"))


def test_get_from_ourselves_as_stored(tmp_path: Path) -> None:
    studies = [str(header.StudyInstanceUID) for header in HEADERS]
    with ours.node(tmp_path / "data") as node, isocenter.sync.connect(node.address) as pacs:
        assert {outcome.status for outcome in pacs.store(FILES)} == {0}
        storage = FolderStorage(tmp_path / "stored")
        classes = sorted({str(header.SOPClassUID) for header in HEADERS})
        syntaxes = sorted({str(header.file_meta.TransferSyntaxUID) for header in HEADERS})
        asked = {"sop_classes": classes, "transfer_syntaxes": syntaxes, "StudyInstanceUID": studies}
        answers = list(pacs.get("STUDY", into=storage, **asked))
        assert [3, 2, 1, None] == [answer.remaining for answer in answers]
        assert SENT == in_folder(tmp_path / "stored")
        storage = FolderStorage(tmp_path / "usual")
        *_, last = pacs.get("STUDY", into=storage, StudyInstanceUID=studies)
        assert (True, len(FILES)) == (last.ok, last.completed)
        assert set(SENT) == set(in_folder(tmp_path / "usual"))
        assert SENT[CT.SOPInstanceUID] == in_folder(tmp_path / "usual")[CT.SOPInstanceUID]


@pytest.mark.interop(service="C-GET, Study Root", peer="pynetdicom", role="SCU")
def test_pynetdicom_sends_and_its_warnings_are_told(tmp_path: Path) -> None:
    from pynetdicom import AE, evt

    def on_get(event: Any) -> Iterator[Any]:
        yield 2
        for path in FILES[:2]:
            yield 0xFF00, pydicom.dcmread(path)

    entity = AE(ae_title="PYGET")
    entity.add_supported_context("1.2.840.10008.1.1")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
    for header in HEADERS[:1]:  # the other class is not supported, so that one cannot come
        entity.add_supported_context(header.SOPClassUID, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, on_get)])
    try:
        with isocenter.sync.connect(f"PYGET@127.0.0.1:{server.socket.getsockname()[1]}") as pacs:
            *_, last = pacs.get("STUDY", into=FolderStorage(tmp_path), StudyInstanceUID="1.2")
    finally:
        server.shutdown()
    assert (0xB000, 1, 1) == (last.status, last.completed, last.failed)
    assert (str(HEADERS[1].SOPInstanceUID),) == last.failed_instances
    assert {CT.SOPInstanceUID} == set(in_folder(tmp_path))


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_get_cancelled_midway_leaves_nothing_running(tmp_path: Path) -> None:
    study, objects = slices(60)

    async def get(address: str, folder: Path) -> int:
        storage = FolderStorage(folder)
        async with isocenter.connect(address) as pacs:
            steps = pacs.get("STUDY", into=storage, StudyInstanceUID=study)
            async for step in steps:
                if step.done == 5:
                    break
            await steps.aclose()
            count = storage.count
            await pacs.echo()
            await asyncio.sleep(0.2)
        assert count == storage.count
        assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
        return count

    with ours.node(tmp_path / "data") as node:
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
        count = asyncio.run(get(node.address, tmp_path / "got"))
        assert 5 <= count < 60


def test_a_move_cancelled_midway_stops_and_keeps_count(tmp_path: Path) -> None:
    """At a destination that takes its time, or all is moved while whoever cancels is kept from its turn."""
    study, objects = slices(60)
    with ours.background(lambda: slow(seconds=0.5)) as there:
        known = KnownPeer("there", "THERE", "127.0.0.1", there.port)  # type: ignore[arg-type]
        with (
            ours.node(tmp_path / "data", peers=[known], dimse_window=1) as node,
            isocenter.sync.connect(node.address) as pacs,
        ):
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
            for step in pacs.move("THERE", "STUDY", StudyInstanceUID=study):
                if step.done == 5:
                    break
            assert eventually(lambda: there.server.associations == 0)
            assert 5 <= len(there.stored) < 60
            pacs.echo()


@pytest.mark.parametrize(
    ("complaint", "level", "root", "keys"),
    [
        ("no level", "FRAME", "STUDY", {}),
        ("no level", "PATIENT", "STUDY", {"PatientID": "1"}),
        ("no root", "STUDY", "WORKLIST", {}),
        ("no unique key", "STUDY", "STUDY", {"PatientName": "x"}),
        ("needs StudyInstanceUID", "SERIES", "STUDY", {"SeriesInstanceUID": "1.2"}),
        ("not a UID", "STUDY", "STUDY", {"StudyInstanceUID": "*"}),
        ("one value", "SERIES", "STUDY", {"StudyInstanceUID": ["1.2", "1.3"], "SeriesInstanceUID": "1.2"}),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    complaint: str, level: str, root: str, keys: dict[str, Any]
) -> None:
    async def ask() -> None:
        peer = isocenter.connect("X@127.0.0.1:9")
        async for _ in peer.move("Y", level, root=root, **keys):
            pytest.fail("sent")

    with pytest.raises(UsageError, match=complaint):
        asyncio.run(ask())


def test_the_commands(tmp_path: Path) -> None:
    with (
        ours.receiver(tmp_path / "moved") as receiver,
        ours.node(tmp_path / "data", peers=[peer_of("there", receiver.address.replace("ISOCENTER", "THERE"))]) as node,
    ):
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(FILES)} == {0}
        config = tmp_path / "isocenter.toml"
        config.write_text(
            f'[[peer]]\nname = "pacs"\naet = "ISOCENTER"\nhost = "127.0.0.1"\nport = {node.dimse[1]}\n'
            f'[[peer]]\nname = "workstation"\naet = "THERE"\nhost = "127.0.0.1"\nport = {receiver.port}\n'
        )
        done = command("get", "pacs", tmp_path / "got", "--study", CT.StudyInstanceUID, "--config", config, "--json")
        assert done.returncode == 0, done.stderr
        file, outcome = [json.loads(line) for line in done.stdout.splitlines()]
        assert SENT[CT.SOPInstanceUID] == data_set(Path(file["file"]).read_bytes())
        assert (0, 1, 0, []) == tuple(outcome[name] for name in ("status", "completed", "failed", "failed_instances"))
        asked = ("--patient", CT.PatientID, "--study", CT.StudyInstanceUID)
        done = command("move", "pacs", "--to", "workstation", *asked, "--config", config)
        assert (0, 1) == (done.returncode, len(receiver.stored)), done.stderr
        assert "1 moved to THERE" in done.stderr
        done = command("move", node.address, "--to", "NOBODY", "--study", CT.StudyInstanceUID)
        assert done.returncode == 1
        assert "A801" in done.stderr
        assert command("get", node.address, tmp_path / "got").returncode == 2


@pytest.mark.interop(service="C-GET, Study Root", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-MOVE, Study Root", peer="Orthanc", role="SCU")
@pytest.mark.interop(service="C-FIND, Study Root", peer="Orthanc", role="SCP")
@pytest.mark.interop(service="C-MOVE, Study Root", peer="Orthanc", role="SCP")
def test_orthanc_both_ways(tmp_path: Path) -> None:
    """We get and move what Orthanc has; Orthanc queries us and has us move what it found."""
    with ours.receiver(tmp_path / "moved") as receiver:
        modalities = {"there": ("THERE", receiver.port)}
        with (
            peers.orthanc(tmp_path / "orthanc", modalities=modalities) as orthanc,
            isocenter.sync.connect(orthanc.address) as pacs,
        ):
            assert {outcome.status for outcome in pacs.store(FILES)} == {0}
            storage = FolderStorage(tmp_path / "got")
            for header in HEADERS:
                # Orthanc cannot decode JPEG 2000 without a plug-in; for one SOP class it can send it as stored.
                asked = {"sop_classes": [str(header.SOPClassUID)], "StudyInstanceUID": str(header.StudyInstanceUID)}
                *_, last = pacs.get("STUDY", into=storage, **asked)
                assert (True, 1) == (last.ok, last.completed), last.message
            assert set(SENT) == set(in_folder(tmp_path / "got"))
            storage = FolderStorage(tmp_path / "nothing")
            study = str(HEADERS[3].StudyInstanceUID)
            *_, last = pacs.get("STUDY", into=storage, StudyInstanceUID=study)
            assert (False, 1) == (last.ok, last.failed)
            *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=CT.StudyInstanceUID)
            assert last.ok
            assert [CT.SOPInstanceUID] == [request.command["AffectedSOPInstanceUID"] for _, request in receiver.stored]

            with ours.node(tmp_path / "data", peers=[peer_of("orthanc", orthanc.address)]) as node:
                orthanc.request(
                    "/modalities/us", {"AET": "ISOCENTER", "Host": "127.0.0.1", "Port": node.dimse[1]}, "PUT"
                )
                study, objects = slices(3)
                with isocenter.sync.connect(node.address) as archive:
                    assert {outcome.status for outcome in archive.store(objects)} == {0}
                found = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
                query = orthanc.request("/modalities/us/query", found)
                before = len(orthanc.request("/instances"))
                orthanc.request(f"{query['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
                assert eventually(lambda: len(orthanc.request("/instances")) == before + 3)
