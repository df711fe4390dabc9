"""JSON Web Tokens: which are believed, and the classic ways to forge one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from isocenter.errors import SettingsError, UsageError
from isocenter.net.identity import Verified, authenticator_of, set_user, token_identity, user_identity
from isocenter.settings import Settings
from isocenter.wire.pdu import UserIdentity

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
ISSUER, AUDIENCE = "https://login.example", "isocenter"
GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna"}


def jwk(algorithm: Any, private: Any, **more: str) -> dict[str, Any]:
    return {**json.loads(algorithm.to_jwk(private.public_key())), **more}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Any]:
    keys = tmp_path / "keys.json"
    keys.write_text(
        json.dumps(
            {
                "keys": [
                    jwk(RSAAlgorithm, RSA, kid="r", use="sig"),
                    jwk(ECAlgorithm, EC, kid="e", alg="ES256"),
                    jwk(OKPAlgorithm, ED, kid="o"),
                    jwk(RSAAlgorithm, OTHER, kid="enc", use="enc"),
                    {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
                ]
            }
        )
    )
    return {"jwt_keys": str(keys), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


def pem(private: Any, file: Path) -> str:
    file.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(file)


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", *, without: str = "", **claims: Any) -> str:
    content = {**GOOD, "exp": time.time() + 600, **claims}
    content.pop(without, None)
    return jwt.encode(content, key, algorithm, headers=None if kid is None else {"kid": kid})


def verified(rows: dict[str, Any], text: str) -> str | None:
    authenticator = authenticator_of(Settings().replace(**rows))
    assert authenticator is not None
    outcome = asyncio.run(authenticator.authenticate(token_identity(text), "CT1"))
    return None if outcome is None else outcome.user


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "r"), (RSA, "PS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "o")],
)
def test_good_tokens(rows: dict[str, Any], key: Any, algorithm: str, kid: str) -> None:
    assert verified(rows, token(key, algorithm, kid)) == "anna"


def test_what_a_good_token_may_look_like(rows: dict[str, Any]) -> None:
    assert verified(rows, token(aud=["other", AUDIENCE])) == "anna"
    assert verified(rows, token(exp=time.time() - 10)) == "anna", "clocks differ"
    assert verified(rows, token(nbf=time.time() + 10)) == "anna"
    assert verified({**rows, "jwt_user_claim": "email"}, token(email="anna@example")) == "anna@example"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"exp": 1000}, "expired"),
        ({"nbf": 4e9}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"aud": []}, "lacks a claim"),
        ({"iss": "https://login.evil"}, "another issuer"),
        ({"without": "exp"}, "lacks a claim"),
        ({"without": "aud"}, "lacks a claim"),
        ({"without": "iss"}, "lacks a claim"),
        ({"without": "sub"}, "lacks a claim"),
        ({"sub": ""}, "lacks a claim"),
        ({"key": OTHER}, "signature is wrong"),
        ({"kid": "nobody"}, "signature is wrong"),
        ({"kid": None}, "signature is wrong"),
        ({"key": OTHER, "kid": "enc"}, "signature is wrong"),
        ({"algorithm": "RS512"}, "not among those allowed"),
        ({"key": EC, "algorithm": "ES256", "kid": "r"}, "not among those allowed"),
        ({"key": b"s" * 32, "algorithm": "HS256", "kid": "secret"}, "signature is wrong"),
        ({"key": None, "algorithm": "none"}, "not among those allowed"),
    ],
)
def test_bad_tokens(rows: dict[str, Any], change: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = token(**change)
    assert verified(rows, text) is None
    assert why in caplog.text
    assert text.split(".")[1][:20] not in caplog.text
    assert "anna" not in caplog.text


def test_a_public_key_is_no_shared_secret(rows: dict[str, Any], tmp_path: Path) -> None:
    """The best known forgery: HS256 keyed with the public key that everybody may have (RFC 8725 section 2.1)."""
    file = pem(RSA, tmp_path / "key.pem")

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({**GOOD, "exp": time.time() + 600})
    mac = hmac.new(Path(file).read_bytes(), signed, hashlib.sha256).digest()
    forged = (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
    assert verified({**rows, "jwt_keys": file}, token(kid=None)) == "anna"
    assert verified({**rows, "jwt_keys": file}, token(kid="whatever it is called")) == "anna"
    assert verified({**rows, "jwt_keys": file}, forged) is None


@pytest.mark.parametrize(
    "text",
    ["x", "a.b.c", "..", "\xff.\xff.\xff", "A" * 20_000, base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.e30"],
)
def test_rubbish_is_refused_and_nothing_else(rows: dict[str, Any], text: str) -> None:
    assert verified(rows, text) is None


def test_a_changed_byte_anywhere_makes_it_wrong(rows: dict[str, Any]) -> None:
    text = token(EC, "ES256", "e")
    for at in range(0, len(text) - 1, 7):  # the last character has bits that mean nothing
        for other in "AZ":
            changed = text[:at] + other + text[at + 1 :]
            if changed != text:
                assert verified(rows, changed) is None


def test_settings_that_cannot_be(rows: dict[str, Any], tmp_path: Path) -> None:
    short = pem(rsa.generate_private_key(65537, 1024), tmp_path / "short.pem")
    empty = tmp_path / "empty.json"
    empty.write_text('{"keys": []}')
    broken = tmp_path / "broken.json"
    broken.write_text('{"keys": 7}')
    for change, expected in (
        ({"jwt_issuer": ""}, r"jwt\.issuer"),
        ({"jwt_audience": ""}, r"jwt\.audience"),
        ({"jwt_algorithms": "none"}, "only ES256"),
        ({"jwt_algorithms": "RS256,HS256"}, "only ES256"),
        ({"jwt_algorithms": ""}, "only ES256"),
        ({"jwt_keys": str(tmp_path / "absent")}, "No such file"),
        ({"jwt_keys": str(empty)}, "no public key"),
        ({"jwt_keys": str(broken)}, "neither a JWKS"),
        ({"jwt_keys": short}, "2048 are needed"),
        ({"jwt_keys": pem(EC, tmp_path / "ec.pem"), "jwt_algorithms": "RS256"}, "no public key for RS256"),
    ):
        with pytest.raises(SettingsError, match=expected):
            authenticator_of(Settings().replace(**{**rows, **change}))
    for text in ("", "  ", "x" * 70_000):
        with pytest.raises(UsageError):
            token_identity(text)


class Hook:
    """Believes every Kerberos ticket and SAML assertion."""

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        return Verified(f"kind {identity.kind}", b"answer")


def test_tokens_beside_a_file_of_users_and_beside_a_hook(rows: dict[str, Any], tmp_path: Path) -> None:
    users = tmp_path / "users"
    set_user(users, "bert", "right")
    both = authenticator_of(Settings().replace(**rows, dimse_users=str(users), dimse_require_user=True))
    assert both is not None
    assert asyncio.run(both.authenticate(user_identity("bert", "right"), "X")) == Verified("bert")
    assert asyncio.run(both.authenticate(token_identity(token()), "X")) == Verified("anna")
    assert asyncio.run(both.authenticate(UserIdentity(3, b"ticket"), "X")) is None
    hook = authenticator_of(Settings().replace(**rows, dimse_authenticator="test_tokens_hook:Hook"))
    assert hook is not None
    for kind in (1, 2, 3, 4):
        outcome = asyncio.run(hook.authenticate(UserIdentity(kind, b"x"), "X"))
        assert outcome == Verified(f"kind {kind}", b"answer")
    assert asyncio.run(hook.authenticate(UserIdentity(5, b"x"), "X")) is None, "not the hook's to believe"
    alone = authenticator_of(Settings().replace(**rows))
    assert alone is not None
    assert asyncio.run(alone.authenticate(user_identity("bert", "right"), "X")) is None


@pytest.fixture(autouse=True)
def hook_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("test_tokens_hook")
    module.Hook = Hook  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "test_tokens_hook", module)
