"""User Identity with DCMTK and pynetdicom, in both roles: who is let in, who is rejected and how, what is logged."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pynetdicom
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

import isocenter
import peers
from command import isocenter as run_isocenter
from isocenter.errors import AssociationRejected
from isocenter.net.identity import Verified, set_user, token_identity
from isocenter.wire import pdu
from isocenter.wire.pdu import UserIdentity
from ours import Receiver, receiver

pytestmark = pytest.mark.interop

CT = str(get_testdata_file("CT_small.dcm"))
ECHO = "1.2.840.10008.1.1"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    set_user(file, "anna", "right")
    set_user(file, "ct", None)
    return file


@pytest.fixture
def server(tmp_path: Path, users: Path) -> Iterator[Receiver]:
    with receiver(tmp_path / "in", dimse_users=str(users), dimse_require_user=True) as running:
        yield running


@pytest.mark.interop(service="User Identity", peer="DCMTK storescu", role="SCP")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-usr", "anna", "-pwd", "right"], 0),
        (["-usr", "anna", "-pwd", "right", "-rsp"], 0),
        (["-usr", "ct"], 0),
        (["-usr", "anna", "-pwd", "wrong"], 1),
        (["-usr", "anna"], 1),
        (["-usr", "nobody", "-pwd", "right"], 1),
        ([], 1),
    ],
)
def test_storescu(options: list[str], code: int, server: Receiver) -> None:
    done = peers.run("storescu", "-v", *options, "-aec", "ISOCENTER", "127.0.0.1", str(server.port), CT, check=False)
    assert code == (done.returncode != 0), done.stdout
    assert len(server.stored) == 1 - code
    if code:
        assert "Rejected Permanent, Source: Service Provider (ACSE Related)" in done.stdout, done.stdout
    elif options[1:] and options[-1] == "right":
        assert server.stored[0][1].peer.user == "anna"


@pytest.mark.interop(service="User Identity", peer="DCMTK storescu", role="SCP")
@pytest.mark.parametrize("options", [["-kt", "FILE"], ["--saml", "FILE"], ["--jwt", "FILE"]])
def test_storescu_with_kinds_the_file_does_not_know(options: list[str], tmp_path: Path, server: Receiver) -> None:
    token = tmp_path / "token"
    token.write_text("secret token")
    argv = [str(token) if option == "FILE" else option for option in options]
    done = peers.run("storescu", *argv, "-aec", "ISOCENTER", "127.0.0.1", str(server.port), CT, check=False)
    assert done.returncode != 0


def pynetdicom_calls(
    port: int, kind: int, primary: bytes, secondary: bytes = b""
) -> pynetdicom.association.Association:
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field, item.positive_response_requested = kind, primary, True
    if kind == 2:
        item.secondary_field = secondary
    entity = AE("PYNETDICOM")
    entity.add_requested_context(ECHO)
    return entity.associate("127.0.0.1", port, ext_neg=[item])


def refused(port: int, kind: int, primary: bytes, secondary: bytes = b"") -> bool:
    """Not is_rejected: a rejection that comes before pynetdicom looks whether it is connected is none to it."""
    return not pynetdicom_calls(port, kind, primary, secondary).is_established


@pytest.mark.interop(service="User Identity", peer="pynetdicom", role="SCP")
def test_pynetdicom_calls_and_is_confirmed(server: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "isocenter")
    association = pynetdicom_calls(server.port, 2, b"anna", b"right")
    assert association.is_established
    answer = association.acceptor.user_identity
    assert answer is not None
    assert answer.server_response in (b"", None)
    association.release()
    assert refused(server.port, 2, b"anna", b"mistyped")
    assert refused(server.port, 2, b"an\nna", b"right")
    assert "association of user anna" in caplog.text
    assert "user an?na not verified" in caplog.text
    assert "right" not in caplog.text
    assert "mistyped" not in caplog.text


class TokenAuthenticator:
    """What a site would write for its own issuer."""

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        await asyncio.sleep(0)
        if identity.primary == b"stuck":
            await asyncio.sleep(60)
        if identity.primary == b"broken":
            raise RuntimeError("the issuer cannot be reached")
        known = identity.kind in (3, 4, 5) and identity.primary == b"good token" and calling == "PYNETDICOM"
        return Verified("bert", b"answer") if known else None


@pytest.mark.parametrize("kind", [3, 4, 5])
def test_tokens_go_to_an_authenticator_of_the_site(kind: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "isocenter")
    sys.modules["site_tokens"] = sys.modules[__name__]
    try:
        rows = {"dimse_authenticator": "site_tokens:TokenAuthenticator", "dimse_artim_timeout": 4.0}
        with receiver(tmp_path / "in", **rows) as running:
            association = pynetdicom_calls(running.port, kind, b"good token")
            assert association.is_established
            answer = association.acceptor.user_identity
            assert answer is not None
            assert answer.server_response == b"answer"
            association.release()
            for token in (b"bad token", b"broken", b"stuck"):
                assert refused(running.port, kind, token), token
    finally:
        del sys.modules["site_tokens"]
    assert "token" not in caplog.text.replace("TokenAuthenticator", "")
    assert "user bert" in caplog.text
    assert caplog.text.count("association rejected") == 3
    assert "took too long" in caplog.text


def test_an_address_cannot_keep_the_authenticator_busy_for_others(tmp_path: Path) -> None:
    stuck = pdu.encode_associate_rq(
        pdu.AssociateRQ(
            "ISOCENTER",
            "FLOOD",
            (pdu.ProposedContext(1, ECHO, ("1.2.840.10008.1.2",)),),
            pdu.UserInformation(16384, identity=UserIdentity(5, b"stuck", b"", True)),
        )
    )
    sys.modules["site_tokens"] = sys.modules[__name__]
    rows = {"dimse_authenticator": "site_tokens:TokenAuthenticator", "dimse_max_verifying_per_address": 2}
    try:
        with receiver(tmp_path / "in", **rows) as running:
            peers = [socket.create_connection(("127.0.0.1", running.port), 20) for _ in range(3)]
            try:
                for peer in peers[:2]:
                    peer.sendall(stuck)
                    peer.settimeout(0.2)
                    with pytest.raises(TimeoutError):
                        peer.recv(10)
                peers[2].sendall(stuck)
                assert peers[2].recv(10) == pdu.encode_associate_rj(pdu.AssociateRJ(2, 3, 1))
                peers[0].close()
                deadline = time.monotonic() + 60
                while not pynetdicom_calls(running.port, 4, b"good token").is_established:
                    assert time.monotonic() < deadline
            finally:
                for peer in peers:
                    peer.close()
    finally:
        del sys.modules["site_tokens"]


def test_a_json_web_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "isocenter")
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)
    rows = {
        "jwt_keys": str(tmp_path / "key.pem"),
        "jwt_issuer": "https://login.example",
        "jwt_audience": "isocenter",
        "dimse_require_user": True,
    }
    claims = {"iss": "https://login.example", "aud": "isocenter", "sub": "carl", "exp": time.time() + 60}
    token = jwt.encode(claims, private, "EdDSA")
    with receiver(tmp_path / "in", **rows) as running:
        association = pynetdicom_calls(running.port, 5, token.encode())
        assert association.is_established
        association.release()
        late = jwt.encode({**claims, "exp": time.time() - 60}, private, "EdDSA")
        assert refused(running.port, 5, late.encode())
        with isocenter.sync.connect(running.address, identity=token_identity(token)) as peer:
            peer.echo()
            (outcome,) = peer.store([CT])
            assert outcome.ok
        with pytest.raises(AssociationRejected), isocenter.sync.connect(running.address):
            pytest.fail("nobody comes in without a token")
        assert running.stored[0][1].peer.user == "carl"
    assert "it has expired" in caplog.text
    assert caplog.text.count("association rejected permanently") == 2
    assert token.split(".")[1] not in caplog.text


def test_a_peer_that_leaves_while_it_is_verified(tmp_path: Path) -> None:
    async def leave(address: str) -> None:
        stuck = UserIdentity(5, b"stuck", b"", True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), isocenter.connect(address, identity=stuck):
                pytest.fail("nobody verified it")
        async with isocenter.connect(address) as peer:
            await peer.echo()

    sys.modules["site_tokens"] = sys.modules[__name__]
    try:
        rows = {"dimse_authenticator": "site_tokens:TokenAuthenticator", "dimse_artim_timeout": 4.0}
        with receiver(tmp_path / "in", **rows) as running:
            asyncio.run(leave(running.address))
            deadline = time.monotonic() + 60
            while running.server.associations:  # it hears of the end a moment after the peer
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        del sys.modules["site_tokens"]


# --- as requestor --------------------------------------------------------------------------------------------------


def test_we_call_ourselves(server: Receiver) -> None:
    with isocenter.sync.connect(server.address, user="anna", passcode="right") as peer:
        peer.echo()
    with isocenter.sync.connect(server.address, user="ct") as peer:
        peer.echo()
    with (
        pytest.raises(AssociationRejected) as rejected,
        isocenter.sync.connect(server.address, user="anna", passcode="wrong"),
    ):
        pytest.fail("the passcode is wrong")
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 2, 1)


@pytest.mark.interop(service="User Identity", peer="pynetdicom", role="SCU")
def test_pynetdicom_hears_who_we_are() -> None:
    heard = []

    def on_user(event: evt.Event) -> tuple[bool, bytes | None]:
        heard.append((event.user_id_type, event.primary_field, event.secondary_field))
        return event.secondary_field == b"right", None

    entity = AE("PYNETDICOM")
    entity.add_supported_context(ECHO)
    scp = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_USER_ID, on_user)])
    try:
        address = f"PYNETDICOM@127.0.0.1:{scp.socket.getsockname()[1]}"
        with isocenter.sync.connect(address, user="anna", passcode="right") as peer:
            peer.echo()
        with (
            pytest.raises(AssociationRejected),
            isocenter.sync.connect(address, user="anna", passcode="wrong"),
        ):
            pytest.fail("the passcode is wrong")
    finally:
        scp.shutdown()
    assert heard == [(2, b"anna", b"right"), (2, b"anna", b"wrong")]


def test_the_command(server: Receiver, users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOCENTER_PASSCODE", "right")
    assert run_isocenter("echo", server.address, "--user", "anna").returncode == 0
    assert run_isocenter("store", server.address, CT, "--user", "anna").returncode == 0
    monkeypatch.setenv("ISOCENTER_PASSCODE", "wrong")
    assert run_isocenter("echo", server.address, "--user", "anna").returncode == 3
    added = run_isocenter("user", users, "carl", "--no-passcode", "--json")
    assert {"user": "carl", "new": True, "passcode": False} == json.loads(added.stdout)
    assert users.read_text("utf-8").splitlines()[-1] == "carl:"
