"""What commands that call a peer say when it goes wrong: what it is and what to do next, before anybody is called where
that can be known; and, when they are interrupted, how far they were."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

import ours
from command import ISOCENTER
from isocenter.cli.main import app
from isocenter.known_peers import KnownPeer
from isocenter.names import ae_title
from isocenter.server import Node
from isocenter.std.sop_classes import STUDY_ROOT_GET
from isocenter.ul import events
from isocenter.wire import pdu
from isocenter.wire.command import response_to
from raw_peer import Message
from raw_scp import RawSCP, raw_scp

CT = str(get_testdata_file("CT_small.dcm"))
STUDY_LEVEL = b"\x08\x00\x52\x00CS\x06\x00STUDY "
NOBODY = "X@127.0.0.1:9"
"""Where nothing listens: whoever is called there gives 3 and not 2."""


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("find", "PACS"), "--config"),
        (("find", NOBODY, "--level", "FRAME"), "PATIENT, STUDY, SERIES, IMAGE"),
        (("find", NOBODY, "--root", "WORKLIST"), "PATIENT, STUDY, HANGING_PROTOCOL"),
        (("find", NOBODY, "--priority", "urgent"), "high, medium, low"),
        (("find", NOBODY, "--view", "NONE"), "CLASSIC, ENHANCED"),
        (("find", NOBODY, "--charset", "ISO_IR 100", "PatientName=홍*"), "(0010,0010)"),
        (("find", NOBODY, "PatientNam=X"), "'PatientNam' is neither a keyword"),
        (("get", NOBODY, "DIR", "--study", "1..2"), "StudyInstanceUID is not a UID"),
        (("get", NOBODY, "DIR", "--series", "1.2"), "needs StudyInstanceUID"),
        (("get", NOBODY, "DIR", "--study", "1.2", "--priority", "urgent"), "high, medium, low"),
        (("move", NOBODY, "--to", "Y", "--study", "1..2"), "StudyInstanceUID is not a UID"),
        (("move", NOBODY, "--to", "Y", "--study", "1.2", "--view", "NONE"), "CLASSIC, ENHANCED"),
        (("move", NOBODY, "--to", "much too long for one", "--study", "1.2"), "--to: not an AE title"),
        (("find", NOBODY, "--zone", "9"), "'9' is no offset from UTC as +0900"),
        (("echo", NOBODY, "--config", "absent.toml"), "absent.toml: No such file or directory\n"),
        (("echo", NOBODY, "--ca", CT), "--ca: without --tls"),
        (("store", NOBODY, CT, "--cert", CT, "--key", CT), "--cert, --key: without --tls"),
        (("commit", NOBODY, CT, "--no-verify-host"), "--no-verify-host: without --tls"),
    ],
)
def test_what_cannot_be_is_said_before_anybody_is_called(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert (2, "") == (done.exit_code, done.stdout)
    assert said in done.stderr
    assert "[Errno" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "no folder is made for what cannot come"


def test_a_peer_of_the_file_with_tls_is_not_called_in_the_clear(tmp_path: Path) -> None:
    config = tmp_path / "isocenter.toml"
    config.write_text('[[peer]]\nname = "pacs"\naet = "PACS"\nhost = "127.0.0.1"\nport = 9\ntls = true\n')
    assert 3 == run("echo", "pacs", "--config", config, "--no-verify-host").exit_code


# --- a peer that does not want us ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """It wants to be called by its name and knows two callers, one of whom may store only."""
    known = [
        KnownPeer("ct", ae_title("CT"), "127.0.0.1", 9, services=frozenset({"store"})),
        KnownPeer("viewer", ae_title("VIEWER"), "127.0.0.1", 9),
    ]
    rows = {"dimse_check_called_aet": True, "dimse_check_calling_aet": True}
    with ours.node(tmp_path_factory.mktemp("messages"), peers=known, **rows) as value:
        yield value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--level", "SERIES"), "one value of the STUDY level's key at (0020,000D) Study Instance UID\n"),
        (("--root", "STUDY", "--level", "PATIENT"), "(0008,0052) Query/Retrieve Level\n"),
        (("StudyDate=2024-01-05",), "not a DA value or range of them at (0008,0020) Study Date\n"),
    ],
)
def test_a_question_that_is_refused_names_the_attribute(node: Node, words: tuple[str, ...], said: str) -> None:
    done = run("find", f"ISOCENTER@127.0.0.1:{node.dimse[1]}", "--calling", "VIEWER", *words)
    assert (1, "") == (done.exit_code, done.stdout)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("called", "calling", "said", "next_step"),
    [
        ("ISOCENTER", "STRANGER", "calling AE title not recognized", "(--calling)"),
        ("PACS", "VIEWER", "called AE title not recognized", "AE title before the @"),
        ("ISOCENTER", "CT", "no presentation context for Study Root Query/Retrieve Information Model", "(--calling)"),
    ],
)
def test_a_peer_that_refuses_us(node: Node, called: str, calling: str, said: str, next_step: str) -> None:
    done = run("find", f"{called}@127.0.0.1:{node.dimse[1]}", "--calling", calling)
    assert (3, "") == (done.exit_code, done.stdout)
    message, hint = done.stderr.splitlines()
    assert said in message
    assert next_step in hint
    if "rejected" in message:
        assert f"{called}@127.0.0.1:{node.dimse[1]}" in message


@pytest.mark.parametrize(
    ("refusal", "said", "next_step"),
    [
        (pdu.AssociateRJ(1, 1, 1), "rejected permanently: no reason given", "--user"),
        (pdu.AssociateRJ(1, 2, 1), "rejected permanently: no reason given", "--user"),
        (pdu.AssociateRJ(2, 3, 1), "rejected for now: temporary congestion", "Try again later"),
        (pdu.AssociateRJ(2, 3, 2), "rejected for now: local limit exceeded", "Try again later"),
    ],
)
def test_every_refusal_has_its_next_step(refusal: pdu.AssociateRJ, said: str, next_step: str) -> None:
    def script(scp: RawSCP) -> None:
        scp.event()
        scp.connection.reject(refusal)
        scp.flush()
        scp.event()

    with raw_scp(script) as address:
        done = run("echo", address)
    assert 3 == done.exit_code
    assert said in done.stderr
    assert next_step in done.stderr


def test_a_web_server_is_called_one(node: Node) -> None:
    done = run("echo", f"ISOCENTER@127.0.0.1:{node.web[1]}")
    assert 3 == done.exit_code
    assert "the peer speaks HTTP" in done.stderr


def test_what_is_not_there_is_no_error_and_said(node: Node, tmp_path: Path) -> None:
    address = f"ISOCENTER@127.0.0.1:{node.dimse[1]}"
    for words in (("get", address, tmp_path), ("move", address, "--to", "VIEWER")):
        done = run(*words, "--study", "1.2.3.4", "--calling", "VIEWER")
        assert 0 == done.exit_code
        assert "the peer has nothing that was asked for" in done.stderr


def test_get_opens_one_association(tmp_path: Path) -> None:
    proposed: list[set[str]] = []

    def script(scp: RawSCP) -> None:
        scp.accept()
        assert scp.rq is not None
        proposed.append({context.abstract_syntax for context in scp.rq.contexts})
        (request,) = scp.messages(1)
        scp.answer(request)
        scp.released()

    with raw_scp(script) as address:
        assert 0 == run("get", address, tmp_path, "--study", "1.2").exit_code
    assert [STUDY_ROOT_GET in classes for classes in proposed] == [True]


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def waits(process: subprocess.Popen[str], port: int) -> bool:
    """Whether it has read all that came from a port of this machine, and sleeps."""
    established = [
        (local, remote, queues)
        for _, local, remote, state, queues, *_ in map(str.split, Path("/proc/net/tcp").read_text().splitlines())
        if state == "01"
    ]
    on_the_way = [queues.partition(":")[0] for local, _, queues in established if local.endswith(f":{port:04X}")]
    unread = [queues.partition(":")[2] for _, remote, queues in established if remote.endswith(f":{port:04X}")]
    if not unread or any(int(count, 16) for count in on_the_way + unread):
        return False
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def interrupted(
    words: tuple[str, ...],
    script: Callable[[RawSCP], None],
    midway: threading.Event,
    again: threading.Event | None = None,
) -> tuple[str, str]:
    """What a command wrote that got SIGINT when it had read what the script had sent until `midway`, and once more when
    `again` is set."""
    with raw_scp(script) as address:
        argv = [*ISOCENTER, words[0], address, *words[1:]]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert midway.wait(30)
            deadline = time.monotonic() + 60
            while not waits(process, int(address.rpartition(":")[2])):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            if again is not None:
                assert again.wait(30)
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert 130 == process.returncode, err
    assert err.endswith("\ninterrupted\n")
    assert "Traceback" not in err
    return out, err


ASKING = [
    ("find",),
    ("find", "--json"),
    ("move", "--to", "Y", "--study", "1.2"),
    ("get", "DIR", "--study", "1.2"),
]


def asked(scp: RawSCP, words: tuple[str, ...]) -> Message:
    """Answer a request three times and not for the last time; the request."""
    scp.accept()
    (request,) = scp.messages(1)
    responses = []
    for number in range(1, 4):
        if words[0] == "find":
            answer = response_to(request.command, 0xFF00, CommandDataSetType=1)
            scp.connection.send_message(request.context, answer, STUDY_LEVEL)
        else:
            counters = {"Remaining": 100 - number, "Completed": number - 1, "Failed": 1, "Warning": 0}
            said = {f"NumberOf{name}Suboperations": value for name, value in counters.items()}
            scp.connection.send_message(request.context, response_to(request.command, 0xFF00) | said)
        responses += map(bytes, scp.connection.data_to_send())
    scp.send(*responses)
    return request


@pytest.mark.parametrize("last", ["word", "silence", "second"])
@pytest.mark.parametrize("words", ASKING)
def test_ctrl_c_cancels_and_tells_how_far_it_was(words: tuple[str, ...], last: str, tmp_path: Path) -> None:
    """Who says his last word is released, who does not is left after a moment, or at once if he who asks insists."""
    words = tuple(str(tmp_path) if word == "DIR" else word for word in words)
    midway, again = threading.Event(), threading.Event()
    story: list[object] = []

    def script(scp: RawSCP) -> None:
        request = asked(scp, words)
        midway.set()
        (cancel,) = scp.messages(1)
        story.append(cancel.command["CommandField"])
        again.set()
        if last == "word":
            scp.answer(request, 0xFE00)
            scp.released()
            story.append("released")
        else:
            story.append(type(scp.event()))

    out, err = interrupted(words, script, midway, again if last == "second" else None)
    assert [0x0FFF, "released" if last == "word" else events.Aborted] == story
    assert "waiting 2 s for the peer's last word" in err
    if words[0] == "move":
        assert "2 moved to Y, 1 failed until it was interrupted" in err
    elif words[0] == "get":
        assert f"2 retrieved into {tmp_path}, 1 failed until it was interrupted" in err
    elif "--json" in words:
        assert 3 == len(out.splitlines())
    else:
        assert "3 found; there may be more" in err
        assert 1 + 3 == len(out.splitlines())


def test_ctrl_c_tells_the_times_so_far() -> None:
    midway = threading.Event()

    def script(scp: RawSCP) -> None:
        scp.accept()
        for _ in range(5):
            scp.answer(*scp.messages(1))
        scp.messages(1)  # which stays without an answer
        midway.set()
        scp.event()

    out, _ = interrupted(("echo", "--count", "1000"), script, midway)
    assert "of 5" in out
