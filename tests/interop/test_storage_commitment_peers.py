"""Storage Commitment with Orthanc and pynetdicom, each as SCU and as SCP, on the same and on a new association."""

from __future__ import annotations

import json
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
from isocenter.known_peers import KnownPeer
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
        f"[jobs]\nretry_first = 0.2\nretry_longest = 0.5\n[dimse]\nport = {port}\n[web]\nport = 0\n"
        f'[[peer]]\nname = "py"\naet = "PYNETDICOM"\nhost = "127.0.0.1"\nport = {peer_port}\n'
    )
    serve = ("serve", "--data", tmp_path / "data", "--config", config, "--json")
    entity = AE("PYNETDICOM")
    entity.add_requested_context(PUSH, SYNTAXES)
    information = _action([reference for _, reference in made])
    with subprocess.Popen([*ISOCENTER, *map(str, serve)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        stored(f"ISOCENTER@127.0.0.1:{port}", [made[0][0]])
        association = entity.associate("127.0.0.1", port)
        assert 0 == association.send_n_action(information, 1, PUSH, INSTANCE)[0].Status
        killed.kill()
    association.abort()
    with started(*serve) as server:
        assert server.stdout is not None
        server.stdout.readline()
        time.sleep(1.0)  # some tries at a peer that is not there
        entity.add_supported_context(PUSH, SYNTAXES, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, on_event)]
        listener = entity.start_server(("127.0.0.1", peer_port), block=False, evt_handlers=handlers)
        try:
            until(lambda: heard)
        finally:
            listener.shutdown()
    good, lacking = (uid for _, (_, uid) in made)
    assert [(2, str(information.TransactionUID), {good}, {lacking: 0x0112})] == heard
