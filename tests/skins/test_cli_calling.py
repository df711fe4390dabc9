"""What all commands that call a peer have in common: one declaration of options, and who asks (User Identity)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from command import isocenter as run_isocenter
from isocenter.cli import exit_codes
from isocenter.cli.main import app, load
from isocenter.net.identity import JWT, KERBEROS, SAML, Verified
from isocenter.wire.pdu import UserIdentity
from ours import Receiver, receiver

CALLING = ("echo", "store", "commit", "find", "get", "move")
CT = str(get_testdata_file("CT_small.dcm"))


# What commands that call a peer import without need would be waited for by everybody who calls one. (asyncio has ssl.)
HEAVY = {"numpy", "pydicom", "rich", "sqlalchemy", "starlette", "cryptography", "sqlite3", "http", "tomllib", "pickle"}
JSON_AND_MODEL = {"json", "isocenter.model"}
CLIENT = {"isocenter.net.client", "isocenter.wire.dicomjson", "isocenter.services.retrieve"}


class Believing:
    """An authenticator that believes everybody, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bytes]] = []

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        self.told.append((identity.kind, identity.primary))
        return Verified("somebody")


BELIEVING = Believing()


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["echo", "{peer}"], HEAVY | JSON_AND_MODEL | CLIENT),
        (["store", "{peer}", CT], HEAVY | JSON_AND_MODEL | CLIENT),
        (["store", "{peer}", CT, CT, "--jobs", "2"], HEAVY | JSON_AND_MODEL | CLIENT),
        (["find", "{peer}", "PatientID=1"], HEAVY),
        (["get", "{peer}", "{folder}", "--study", "1.2"], HEAVY),
    ],
    ids=["echo", "store", "store by two", "find", "get"],
)
def test_what_a_command_imports(arguments: list[str], unneeded: set[str], tmp_path: Path) -> None:
    code = (
        "import sys; from isocenter.cli import main\n"
        "try: main.app(sys.argv[2:])\nexcept SystemExit: pass\n"
        "open(sys.argv[1], 'w').write(' '.join(sys.modules))"
    )
    told = tmp_path / "modules"
    with receiver(tmp_path / "in") as peer:
        words = [word.format(peer=peer.address, folder=tmp_path / "out") for word in arguments]
        done = subprocess.run(
            [sys.executable, "-c", code, told, *words], capture_output=True, text=True, timeout=60, check=True
        )
    modules = set(told.read_text().split())
    assert "isocenter.net.association" in modules, done.stderr  # it did call
    assert unneeded & modules == set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Receiver]:
    BELIEVING.told.clear()
    sys.modules["believing"] = sys.modules[__name__]
    rows = {"dimse_authenticator": "believing:BELIEVING", "dimse_require_user": True}
    try:
        with receiver(tmp_path / "in", **rows) as running:
            yield running
    finally:
        del sys.modules["believing"]


@pytest.mark.parametrize(
    ("options", "content", "told"),
    [
        ([], b"head.claims.signature\n", (JWT, b"head.claims.signature")),
        (["--token-kind", "saml"], b"<Assertion/>\r\n", (SAML, b"<Assertion/>")),
        (["--token-kind", "kerberos"], b"\x60\x82\x00\n", (KERBEROS, b"\x60\x82\x00\n")),
    ],
    ids=["jwt", "saml", "kerberos"],
)
def test_a_token_from_a_file(
    tmp_path: Path, server: Receiver, options: list[str], content: bytes, told: tuple[int, bytes]
) -> None:
    (tmp_path / "token").write_bytes(content)
    done = run_isocenter("echo", server.address, "--token-file", tmp_path / "token", *options)
    assert 0 == done.returncode, done.stderr
    assert [told] == BELIEVING.told


def test_a_token_from_the_environment_and_one_association_for_each_process(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_codes.NO_CONNECTION == run_isocenter("echo", server.address).returncode, "nobody comes in without one"
    monkeypatch.setenv("ISOCENTER_TOKEN", "a.b.c")
    done = run_isocenter("store", server.address, CT, "--jobs", "2")
    assert 0 == done.returncode, done.stderr
    assert {(JWT, b"a.b.c")} == set(BELIEVING.told)
    monkeypatch.setenv("ISOCENTER_PASSCODE", "secret")
    assert 0 == run_isocenter("echo", server.address, "--user", "anna").returncode
    assert (2, b"anna") == BELIEVING.told[-1], "the option counts, not the environment"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--token-file", "absent"], "No such file"),
        (["--token-file", "empty"], "at least one"),
        (["--token-file", "long"], "at most 65535"),
        (["--token-file", "long", "--user", "anna"], "one of them"),
        (["--token-file", "empty", "--token-kind", "oauth"], "jwt, saml, kerberos"),
    ],
)
def test_what_is_no_token_is_said_before_anybody_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_bytes(b"\n")
    Path("long").write_bytes(bytes(range(33, 65)) * 4096)
    done = CliRunner().invoke(app, ["echo", "NOBODY@127.0.0.1:1", *options])
    assert exit_codes.USAGE == done.exit_code
    assert why in done.stderr
    assert os.fspath(tmp_path) not in done.stdout


@pytest.mark.parametrize("command", CALLING)
def test_all_that_call_have_the_same_options(command: str) -> None:
    shown = {option: one.help for one in load(command).params for option in one.opts}
    of_echo = {option: one.help for one in load("echo").params for option in one.opts if option != "--count"}
    common = {
        "--calling", "--tls", "--ca", "--cert", "--key", "--no-verify-host", "--user", "--token-file", "--token-kind",
        "--config", "--json",
    }  # fmt: skip
    assert common <= shown.keys()
    assert {option: of_echo[option] for option in common} == {option: shown[option] for option in common}
