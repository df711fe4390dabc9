"""`isocenter store --jobs`: processes share the files, and every file has one outcome, whatever happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ours
from certificates import Certificates
from fault_objects import CT, EXPLICIT, data_set
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.net.identity import set_user
from isocenter.services.base import Peer, Refusal, Reply, Request, Sink
from isocenter.services.storage import StorageService
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from isocenter.wire.part10 import file_meta

PATIENCE = 60.0


def uid(number: int) -> str:
    return f"1.9.7.1.{number}"


def dicom(number: int, size: int = 500) -> bytes:
    return file_meta(CT, uid(number), EXPLICIT) + data_set(uid(number), size)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of 120 objects: 100 files and, in a zip, 20; and one file that is none."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number:03}.dcm").write_bytes(dicom(number))
    with zipfile.ZipFile(folder / "more.zip", "w", zipfile.ZIP_DEFLATED) as container:
        for number in range(101, 120):
            container.writestr(f"deep/{number}", dicom(number))
        with pytest.warns(match="Duplicate"):
            container.writestr("deep/101", dicom(100))
    (folder / "readme.txt").write_text("no object" * 100)
    return folder


class Gate:
    """A Storage SCP that answers when it is let: `came` has what arrived whole, `waiting` who wants an answer, `peers`
    who has sent something."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.peers: set[Peer] = set()
        self.waiting: Counter[str] = Counter()
        self.statuses: dict[str, int] = {}
        self.address = ""
        self._answers = threading.Semaphore(0)

    def answer(self, count: int = 100_000) -> None:
        self._answers.release(count)

    def __call__(self, request: Request) -> Sink:
        self.peers.add(request.peer)
        return Gate.Held(self, request)

    class Held(Refusal):
        def __init__(self, gate: Gate, request: Request) -> None:
            super().__init__(Reply(gate.statuses.get(request.command["AffectedSOPInstanceUID"], 0)))
            self._gate = gate
            self._request = request

        def finish(self) -> Any:
            self._gate.came.append(self._request.command["AffectedSOPInstanceUID"])
            return self._finish()

        async def _finish(self) -> Reply:
            gate, who = self._gate, self._request.peer.address
            gate.waiting[who] += 1
            await asyncio.to_thread(gate._answers.acquire, timeout=PATIENCE)
            gate.waiting[who] -= 1
            return super().finish()


@contextlib.contextmanager
def gate(**settings: object) -> Iterator[Gate]:
    made = Gate()
    chosen = Settings().replace(**{"dimse_port": 0, "dimse_drain_timeout": 0.5, **settings})

    @contextlib.asynccontextmanager
    async def listening() -> AsyncIterator[Gate]:
        server = dimse_server((VerificationService(), StorageService(made)), chosen)
        for listener in dimse_listeners(chosen):
            await server.listen(listener.socket, listener.tls)
        made.address = f"ISOCENTER@127.0.0.1:{server.address[1]}"
        yield made
        made.answer()
        await server.close()

    with ours.background(listening) as value:
        yield value


@contextlib.contextmanager
def storing(*arguments: object, terminal: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command as on a machine with three cores; `terminal` is for it to write to."""
    program = "import os; os.cpu_count = lambda: 3\nfrom isocenter.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "store", "--json", *map(str, arguments)],
        stdout=terminal,
        stderr=terminal,
        text=True,
        env={**os.environ, "ISOCENTER_PASSCODE": "right", "TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, outcomes, and what was said."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def runs(pid: int) -> bool:
    """Whether a process has not ended; who adopts orphans need not hear of their end at once, or at all."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_all_associations_of_all_processes_have_a_share(files: Path) -> None:
    with gate() as scp, storing(scp.address, files, "--jobs", 4) as process:
        until(lambda: len(+scp.waiting) == 4)
        assert len(children(process.pid)) == 3
        scp.answer()
        code, outcomes, said = ended(process)
    assert (code, said) == (0, f"120 stored, 0 stored with a warning, 0 refused by {scp.address}\n")
    everything = sorted(map(uid, range(120)))
    assert sorted(scp.came) == everything, "each once"
    assert sorted(outcome["sop_instance"] for outcome in outcomes) == everything
    names = {f"{number:03}.dcm" for number in range(100)} | {f"more.zip:deep/{n}" for n in range(101, 120)}
    assert {outcome["source"] for outcome in outcomes} == {f"{files}/{name}" for name in names}


def test_all_processes_move_one_bar(files: Path) -> None:
    shown: list[bytes] = []

    def read(terminal: int) -> None:
        with contextlib.suppress(OSError):  # Linux says EIO when the last writer is gone
            while part := os.read(terminal, 65536):
                shown.append(part)

    ours_, theirs = pty.openpty()
    reader = threading.Thread(target=read, args=(ours_,))
    with gate(dimse_operations=1) as scp, storing(scp.address, files, "--jobs", 4, terminal=theirs) as process:
        os.close(theirs)
        reader.start()
        until(lambda: len(+scp.waiting) == 4)
        time.sleep(1.1)  # a bar appears after a second
        scp.answer(60)
        until(lambda: re.search(rb"6[01]/121", b"".join(shown)) is not None)  # 61 with the one that is no object
        scp.answer()
        assert process.wait(PATIENCE) == 0
    reader.join()
    os.close(ours_)
    text = b"".join(shown).decode()
    assert "sending" in text
    assert text.rstrip().endswith(f"120 stored, 0 stored with a warning, 0 refused by {scp.address}")


def test_large_objects_are_not_kept_for_one_association(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.dcm").write_bytes(dicom(number, 9 << 20))
    with gate() as scp, storing(scp.address, tmp_path, "--jobs", 4) as process:
        until(lambda: len(+scp.waiting) == 4)
        scp.answer()
        assert ended(process)[0] == 0


def test_refused_objects_and_what_is_none(files: Path, tmp_path: Path) -> None:
    (tmp_path / "none.dcm").write_text("no object" * 100)
    (files / "away.dcm").symlink_to(tmp_path / "nowhere")
    with gate() as scp:
        scp.answer()
        scp.statuses = {uid(3): 0xA700, uid(111): 0xC000, uid(7): 0xB000}
        with storing(scp.address, files, tmp_path / "none.dcm", "--jobs", 4) as process:
            code, outcomes, said = ended(process)
    assert code == 1
    assert "117 stored, 1 stored with a warning, 4 refused" in said
    status = {outcome["sop_instance"]: outcome["status"] for outcome in outcomes}
    assert (status[uid(3)], status[uid(111)], status[uid(7)], status[uid(8)]) == (0xA700, 0xC000, 0xB000, 0)
    failed = {outcome["source"]: outcome["message"] for outcome in outcomes if not outcome["ok"]}
    in_folder = {f"{files}/{name}" for name in ("003.dcm", "more.zip:deep/111", "away.dcm")}
    assert set(failed) == in_folder | {f"{tmp_path}/none.dcm"}
    assert failed[f"{files}/away.dcm"] == "cannot be read: No such file or directory"
    assert "A700" in said


@pytest.mark.parametrize("everyone", [False, True], ids=["one", "all"])
def test_a_process_that_dies_costs_what_it_had_and_says_so(everyone: bool, files: Path) -> None:
    with gate() as scp, storing(scp.address, files, "--jobs", 3) as process:
        until(lambda: len(+scp.waiting) == 3)
        for victim in children(process.pid)[: None if everyone else 1]:
            os.kill(victim, signal.SIGKILL)
        scp.answer()
        code, outcomes, said = ended(process)
    assert code == 1
    assert "a process that sent is gone: it was killed by signal 9" in said
    lost = [outcome["source"] for outcome in outcomes if not outcome["ok"]]
    assert lost
    assert max(Counter(scp.came).values()) == 1, "nothing is sent twice"
    stored = {outcome["sop_instance"] for outcome in outcomes if outcome["ok"]}
    assert stored <= set(scp.came)
    # Of what it had, nobody knows whether it is an object.
    known = len(outcomes) - (f"{files}/readme.txt" in lost)
    assert known == 120
    assert bool(stored) is not everyone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals, files: Path) -> None:
    with gate(dimse_operations=1) as scp, storing(scp.address, files, "--jobs", 4) as process:
        scp.answer(10)
        until(lambda: len(scp.came) == 14)
        workers = children(process.pid)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # a terminal's Ctrl-C is for all of them
        else:
            process.send_signal(number)
        code, outcomes, said = ended(process)
        assert code == 130
        assert [os.path.exists(f"/proc/{pid}") for pid in workers] == [False] * 3
        assert scp.came[14:] == []
    assert len(outcomes) == 10, "what was answered is told"
    assert all(outcome["ok"] for outcome in outcomes)
    assert said == f"10 stored, 0 stored with a warning, 0 refused by {scp.address}\n\ninterrupted\n"


def test_workers_end_when_the_one_who_shares_out_is_killed(files: Path) -> None:
    with gate() as scp, storing(scp.address, files, "--jobs", 4) as process:
        until(lambda: len(+scp.waiting) == 4)
        workers = children(process.pid)
        process.kill()
        until(lambda: not any(map(runs, workers)))


def test_a_peer_that_takes_one_association_gets_all_on_it(files: Path) -> None:
    with gate(dimse_max_associations_per_aet=1) as scp, storing(scp.address, files, "--jobs", 4) as process:
        scp.answer()
        code, outcomes, said = ended(process)
    assert (code, len(outcomes)) == (0, 120), said


def test_no_association_at_all(files: Path, tmp_path: Path) -> None:
    with gate(dimse_check_called_aet=True) as scp:
        wrong = scp.address.replace("ISOCENTER@", "NOBODY@")
        for jobs in (1, 4):
            with storing(wrong, files, "--jobs", jobs) as process:
                code, outcomes, said = ended(process)
            assert (code, outcomes) == (3, [])
            assert "called AE title not recognized" in said
            assert len(said.splitlines()) <= 2, "told once"
    for arguments, expected in (
        ((scp.address, files), 3),
        ((scp.address, tmp_path / "absent"), 2),
        ((scp.address, files, "--calling", "seventeen letters"), 2),
        ((scp.address, files, "--tls", "--ca", tmp_path / "absent"), 2),
    ):
        with storing(*arguments, "--jobs", 4) as process:
            assert ended(process)[:2] == (expected, [])


def test_who_asks_and_how_reaches_the_workers(files: Path, tmp_path: Path, certificates: Certificates) -> None:
    users = tmp_path / "users"
    set_user(users, "anna", "right")
    rows = {**certificates.server.settings, "tls_ca": certificates.ca, "tls_only": True}
    own = (
        "--tls",
        "--ca",
        certificates.ca,
        "--cert",
        certificates.client.certificate,
        "--key",
        certificates.client.key,
    )
    with gate(dimse_tls_port=0, dimse_users=str(users), dimse_require_user=True, **rows) as scp:
        options = (*own, "--user", "anna", "--calling", "SENDER", "--jobs", 4)
        with storing(scp.address, files, *options) as process:
            until(lambda: len(scp.peers) > 1)
            scp.answer()
            code, outcomes, said = ended(process)
        assert (code, len(outcomes)) == (0, 120), said
        assert {(peer.user, peer.calling) for peer in scp.peers} == {("anna", "SENDER")}
