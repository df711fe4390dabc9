"""Storage Commitment with Orthanc and pynetdicom, each as SCU and as SCP, on the same and on a new association."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter as package
import ours
from command import ISOCENTER, isocenter, started
from isocenter.errors import PeerTimeout
from isocenter.index.sql import jobs_beside
from isocenter.known_peers import KnownPeer
from leash import leashed
from peers import free_port, orthanc
from skins.web_harness import saved

pytestmark = pytest.mark.interop

CT = "1.2.840.10008.5.1.4.1.1.2"
PUSH, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
Reference = tuple[str, str]


def files(folder: Path, count: int) -> list[tuple[Path, Reference]]:
    folder.mkdir()
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    made = []
    for number in range(count):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"{number}.dcm"
        path.write_bytes(saved(one))
        made.append((path, (CT, str(one.SOPInstanceUID))))
    return made


def stored(address: str, paths: list[Path]) -> None:
    with package.sync.connect(address) as peer:
        assert {0} == {outcome.status for outcome in peer.store(paths)}


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def damage(data: Path, instance: str) -> None:
    for path in (data / "objects").rglob("*"):
        if path.is_file() and path.stat().st_size and pydicom.dcmread(path).SOPInstanceUID == instance:
            raw = bytearray(path.read_bytes())
            raw[-1] ^= 1
            path.write_bytes(raw)


# --- Orthanc --------------------------------------------------------------------------------------------------------


@pytest.mark.interop(service="Storage Commitment", peer="Orthanc", role="SCP")
def test_orthanc_asks_us(tmp_path: Path) -> None:
    port = free_port()
    made = files(tmp_path / "files", 3)
    (_, good), (_, bad), (_, lacking) = made
    with (
        orthanc(tmp_path / "orthanc", modalities={"isocenter": ("ISOCENTER", port)}) as peer,
        ours.node(
            tmp_path / "data",
            dimse_port=port,
            peers=[KnownPeer("orthanc", "ORTHANC", "127.0.0.1", peer.port)],  # type: ignore[arg-type]
        ) as node,
    ):
        stored(node.address, [path for path, _ in made[:2]])

        def asked(*references: Reference) -> dict[str, Any]:
            body = {"DicomInstances": [{"SOPClassUID": a, "SOPInstanceUID": b} for a, b in references]}
            transaction = peer.request("/modalities/isocenter/storage-commitment", body)["Path"]

            def report() -> Any:
                answer = peer.request(transaction)
                return answer if answer["Status"] != "Pending" else None

            answer: dict[str, Any] = until(report)
            return answer

        report = asked(good, bad)
        assert ("Success", {good[1], bad[1]}) == (
            report["Status"],
            {one["SOPInstanceUID"] for one in report["Success"]},
        )
        damage(tmp_path / "data", bad[1])
        report = asked(good, bad, lacking)
        assert ("Failure", [good[1]]) == (report["Status"], [one["SOPInstanceUID"] for one in report["Success"]])
        failures = {one["SOPInstanceUID"]: one["FailureReason"] for one in report["Failures"]}
        assert {bad[1]: 0x0110, lacking[1]: 0x0112} == failures


@pytest.mark.interop(service="Storage Commitment", peer="Orthanc", role="SCU")
def test_we_ask_orthanc_by_the_command(tmp_path: Path) -> None:
    port = free_port()
    made = files(tmp_path / "files", 3)
    with orthanc(tmp_path / "orthanc", modalities={"isocenter": ("SCANNER", port)}) as peer:
        stored(peer.address, [path for path, _ in made[:2]])
        answer = isocenter(
            "commit",
            peer.address,
            tmp_path / "files",
            "--calling",
            "SCANNER",
            "--listen",
            f"127.0.0.1:{port}",
            "--json",
        )
    assert 1 == answer.returncode, answer.stderr
    lines = {line["sop_instance"]: line for line in map(json.loads, answer.stdout.splitlines())}
    assert [True, True, False] == [lines[uid]["committed"] for _, (_, uid) in made]
    assert "0112" == lines[made[2][1][1]]["reason"]
    assert str(made[0][0]) == lines[made[0][1][1]]["source"]
    assert "2 committed" in answer.stderr


# --- pynetdicom as SCU ----------------------------------------------------------------------------------------------


def _action(references: list[Reference]) -> Dataset:
    information = Dataset()
    information.TransactionUID = generate_uid()
    information.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        information.ReferencedSOPSequence.append(item)
    return information


def _outcome(event: Any) -> tuple[int, str, set[str], dict[str, int]]:
    information = event.event_information
    return (
        event.event_type,
        str(information.TransactionUID),
        {str(one.ReferencedSOPInstanceUID) for one in information.get("ReferencedSOPSequence", [])},
        {str(one.ReferencedSOPInstanceUID): one.FailureReason for one in information.get("FailedSOPSequence", [])},
    )


@pytest.mark.interop(service="Storage Commitment", peer="pynetdicom", role="SCP")
@pytest.mark.parametrize("released", [False, True], ids=["same association", "new association"])
@pytest.mark.parametrize("answers_role", [True, False], ids=["role answered", "role not answered"])
def test_pynetdicom_asks_us(tmp_path: Path, released: bool, answers_role: bool) -> None:
    from pynetdicom import AE, evt

    heard: list[tuple[int, str, set[str], dict[str, int]]] = []

    def on_event(event: Any) -> tuple[int, None]:
        heard.append(_outcome(event))
        return 0x0000, None

    made = files(tmp_path / "files", 2)
    entity = AE("PYNETDICOM")
    roles = {"scu_role": False, "scp_role": True} if answers_role else {}
    entity.add_supported_context(PUSH, SYNTAXES, **roles)
    handlers = [(evt.EVT_N_EVENT_REPORT, on_event)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    known = KnownPeer("py", "PYNETDICOM", "127.0.0.1", server.socket.getsockname()[1])  # type: ignore[arg-type]
    try:
        with ours.node(tmp_path / "data", peers=[known]) as node:
            stored(node.address, [made[0][0]])
            entity.add_requested_context(PUSH, SYNTAXES)
            association = entity.associate("127.0.0.1", node.dimse[1], evt_handlers=handlers)
            assert association.is_established
            information = _action([reference for _, reference in made])
            assert 0 == association.send_n_action(information, 1, PUSH, INSTANCE)[0].Status
            if released:
                association.release()
            until(lambda: heard)
            if not released:
                association.release()
    finally:
        server.shutdown()
    good, lacking = (uid for _, (_, uid) in made)
    assert [(2, str(information.TransactionUID), {good}, {lacking: 0x0112})] == heard


# --- pynetdicom as SCP ----------------------------------------------------------------------------------------------


@contextmanager
def pynetdicom_archive(report_to: int | None) -> Iterator[str]:
    """An SCP that commits to all but the last object, and reports on a new association to port `report_to`, or on the
    same one."""
    from pynetdicom import AE, build_role, evt

    def report(association: Any, request: Dataset) -> None:
        information = Dataset()
        information.TransactionUID = request.TransactionUID
        *good, bad = request.ReferencedSOPSequence
        bad.FailureReason = 0x0213
        information.ReferencedSOPSequence, information.FailedSOPSequence = good, [bad]
        if report_to is not None:
            caller = AE("PYNETDICOM")
            caller.add_requested_context(PUSH, SYNTAXES)
            association = caller.associate(
                "127.0.0.1", report_to, ae_title="SCANNER", ext_neg=[build_role(PUSH, scp_role=True)]
            )
            assert association.is_established
        status, _ = association.send_n_event_report(information, 2, PUSH, INSTANCE)
        assert 0 == status.Status
        if report_to is not None:
            association.release()

    def on_action(event: Any) -> tuple[int, None]:
        timer = threading.Timer(0.2, report, (event.assoc, event.action_information))
        timer.start()
        return 0x0000, None

    entity = AE("PYNETDICOM")
    entity.add_supported_context(PUSH, SYNTAXES)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, on_action)])
    try:
        yield f"PYNETDICOM@127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()


@pytest.mark.interop(service="Storage Commitment", peer="pynetdicom", role="SCU")
@pytest.mark.parametrize("listening", [False, True], ids=["same association", "new association"])
def test_we_ask_pynetdicom_by_the_command(tmp_path: Path, listening: bool) -> None:
    port = free_port() if listening else None
    made = files(tmp_path / "files", 3)
    options = ["--listen", f"127.0.0.1:{port}"] if listening else []
    with pynetdicom_archive(port) as address:
        answer = isocenter("commit", address, *(path for path, _ in made), "--calling", "SCANNER", *options)
    assert 1 == answer.returncode, answer.stderr
    rows = answer.stdout.splitlines()
    assert 4 == len(rows)
    for (path, (_, uid)), row, committed in zip(made, rows[1:], ("yes", "yes", "no"), strict=True):
        assert row.split()[:3] == [committed, str(path), uid]
    assert "0213 Resource limitation" in rows[3]


# --- a day without the peer -----------------------------------------------------------------------------------------


def test_the_report_survives_kill_9_of_the_server_and_a_peer_that_is_down(tmp_path: Path) -> None:
    from pynetdicom import AE, evt

    heard: list[tuple[int, str, set[str], dict[str, int]]] = []

    def on_event(event: Any) -> tuple[int, None]:
        heard.append(_outcome(event))
        return 0x0000, None

    made = files(tmp_path / "files", 2)
    port, peer_port = free_port(), free_port()
    config = tmp_path / "isocenter.toml"
    config.write_text(
        # Whoever asks has hung up and the server is gone before the report is due, or it might be given there and then.
        "[jobs]\nretry_first = 0.2\nretry_longest = 0.5\n[commitment]\ndelay = 3.0\n"
        f"[dimse]\nport = {port}\n[web]\nport = 0\n"
        f'[[peer]]\nname = "py"\naet = "PYNETDICOM"\nhost = "127.0.0.1"\nport = {peer_port}\n'
    )
    serve = ("serve", "--data", tmp_path / "data", "--config", config, "--json")
    address = f"ISOCENTER@127.0.0.1:{port}"
    with subprocess.Popen(leashed([*ISOCENTER, *map(str, serve)]), stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        stored(address, [made[0][0]])
        asking = package.sync.connect(address, calling="PYNETDICOM")
        with pytest.raises(PeerTimeout, match="no report"), asking as peer:  # but it was said that there will be one
            peer.commit([reference for _, reference in made], timeout=0.01)
        killed.kill()
    with started(*serve) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with jobs_beside(tmp_path / "data" / "index.sqlite") as jobs:  # some tries at a peer that is not there
            until(lambda: any(job.attempts > 1 for job in jobs.listed()))
        entity = AE("PYNETDICOM")
        entity.add_supported_context(PUSH, SYNTAXES, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, on_event)]
        listener = entity.start_server(("127.0.0.1", peer_port), block=False, evt_handlers=handlers)
        try:
            until(lambda: heard)
        finally:
            listener.shutdown()
    good, lacking = (uid for _, (_, uid) in made)
    ((event_type, _, committed, failed),) = heard
    assert (2, {good}, {lacking: 0x0112}) == (event_type, committed, failed)


# --- store --commit -------------------------------------------------------------------------------------------------


def test_store_commit_says_what_is_safe_to_delete(tmp_path: Path) -> None:
    made = files(tmp_path / "files", 3)
    with ours.node(tmp_path / "data") as node:
        other = pydicom.dcmread(made[1][0])
        other.PatientName = "Another^One"
        with package.sync.connect(node.address) as peer:
            assert [0] == [outcome.status for outcome in peer.store([saved(other)])]
        (tmp_path / "files" / "note.txt").write_text("no DICOM")
        answer = isocenter("store", node.address, tmp_path / "files", "--commit", "--jobs", 2, "--json")
        assert 1 == answer.returncode, answer.stderr
        lines = {line["source"]: line for line in map(json.loads, answer.stdout.splitlines())}
        assert {str(path) for path, _ in made} == lines.keys()
        first, second, third = (lines[str(path)] for path, _ in made)
        assert (True, True, 0, None) == (first["committed"], first["ok"], first["status"], first["reason"])
        assert (False, True, 0xB000) == (second["committed"], second["ok"], second["status"])
        assert second["why_not"].startswith("stored with a warning: B000")
        assert third["committed"]
        damage(tmp_path / "data", made[2][1][1])
        answer = isocenter("store", node.address, made[0][0], made[2][0], "--commit")
        assert 1 == answer.returncode, answer.stderr
        rows = {row.split()[1]: row for row in answer.stdout.splitlines()[1:]}
        assert rows[str(made[0][0])].startswith("yes")
        assert rows[str(made[2][0])].startswith("no")
        assert "0110 Processing failure" in rows[str(made[2][0])]
        assert "1 committed" in answer.stderr
        assert "1 not" in answer.stderr
        answer = isocenter("store", node.address, made[0][0], "--commit")
        assert 0 == answer.returncode, answer.stderr


def test_nothing_is_safe_where_the_peer_does_not_commit(tmp_path: Path) -> None:
    made = files(tmp_path / "files", 2)
    with ours.receiver(tmp_path / "received") as receiver:
        answer = isocenter("store", receiver.address, tmp_path / "files", "--commit")
        assert 2 == len(receiver.stored)
        asked = isocenter("commit", receiver.address, "--instance", f"CTImageStorage:{made[0][1][1]}")
    assert 1 == answer.returncode
    assert ["no", "no"] == [row.split()[0] for row in answer.stdout.splitlines()[1:]]
    assert "no presentation context" in answer.stderr
    assert 3 == asked.returncode
    assert "" == asked.stdout


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (2, ()),
        (2, ("--instance", "1.2.3")),
        (2, ("--instance", "CTImageStorage:")),
        (2, ("--instance", "NoSuchStorage:1.2.3")),
        (2, ("no-such-file.dcm",)),
        (2, ("--instance", "CTImageStorage:1.2.3", "--listen", "127.0.0.1")),
        (3, ("--instance", "CTImageStorage:1.2.3")),
        (4, ("--instance", "CTImageStorage:1.2.3", "--listen", "203.0.113.1:104")),
    ],
)
def test_exit_codes(expected: int, arguments: tuple[str, ...]) -> None:
    answer = isocenter("commit", f"NOBODY@127.0.0.1:{free_port()}", *arguments)
    assert expected == answer.returncode, answer.stderr
    assert "error:" in answer.stderr


def test_a_peer_that_never_reports_leaves_nothing_safe(tmp_path: Path) -> None:
    made = files(tmp_path / "files", 1)
    with ours.node(tmp_path / "data", commitment_delay=60.0) as node:
        answer = isocenter("store", node.address, made[0][0], "--commit", "--wait", "0.2")
    assert 1 == answer.returncode
    assert "no report within 0.2 s" in answer.stdout
    assert "0 committed" in answer.stderr


def test_ctrl_c_tells_what_is_known(tmp_path: Path) -> None:
    made = files(tmp_path / "files", 1)
    with ours.node(tmp_path / "data", commitment_delay=60.0) as node:
        argv = [*ISOCENTER, "store", node.address, str(made[0][0]), "--commit", "--json"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
            assert asking.stderr is not None
            assert "1 stored" in asking.stderr.readline()
            until(lambda: asyncio.run(node.archive.jobs.listed()))  # it has been asked
            asking.send_signal(signal.SIGINT)
            out, _ = asking.communicate(timeout=30)
    assert 130 == asking.returncode
    line = json.loads(out)
    assert (0, False, "interrupted") == (line["status"], line["committed"], line["why_not"])
