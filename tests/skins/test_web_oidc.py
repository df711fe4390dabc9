"""Bearer tokens of an OpenID Connect issuer: keys fetched, rotated and bounded; the ways to forge a token, by HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from isocenter.errors import IssuerUnreachable
from isocenter.net.jwks import FetchedKeys, may_be_fetched
from isocenter.settings import Settings
from isocenter.web.app import create_app
from skins.fake_archive import FakeArchive
from skins.web_harness import Web, portal, web_of
from skins.web_issuer import AUDIENCE, Issuer, issuing

STUDIES = "/dicomweb/studies"
WANTED = frozenset({"RS256"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


@pytest.fixture(scope="module")
def web(issuer: Issuer) -> Iterator[Web]:
    settings = Settings().replace(web_hosts="archive.test", web_failures=1000, **issuer.rows)
    with portal() as running, web_of(create_app(FakeArchive(), settings), None, running) as client:  # type: ignore[arg-type]
        yield client


def asked(web: Web, token: str, path: str = STUDIES, method: str = "GET") -> Any:
    return web.request(method, path, headers={"authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("read", (200, 403, 403)),
        ("openid profile read", (200, 403, 403)),
        (["read", "write"], (200, 403, 403)),
        ("admin", (403, 403, 200)),
        ("reader", (403, 403, 403)),
        ("READ", (403, 403, 403)),
        ("read,admin", (403, 403, 403)),
        ("", (403, 403, 403)),
        ([], (403, 403, 403)),
    ],
)
def test_scopes_of_tokens(web: Web, issuer: Issuer, scope: Any, statuses: tuple[int, ...]) -> None:
    token = issuer.token(scope)
    got = (asked(web, token), asked(web, token, f"{STUDIES}/1.2?reason=x", "DELETE"), asked(web, token, "/metrics"))
    answered = tuple(200 if one.status_code == 500 else one.status_code for one in got)  # the fake has no statistics
    assert statuses == answered


@pytest.mark.parametrize("scope", [7, {"read": True}, [7], None])
def test_a_scope_that_is_no_text_is_no_scope(web: Web, issuer: Issuer, scope: Any) -> None:
    assert asked(web, issuer.token(scope)).status_code == 401


@pytest.mark.parametrize("claims", [{"patients": "P1"}, {"patients": {"P1": 1}}, {"patients": [1]}, {"aets": ["a\\b"]}])
def test_a_limit_that_is_none_is_not_left_out(web: Web, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert asked(web, issuer.token(**claims)).status_code == 401


def forged(issuer: Issuer, header: dict[str, Any], key: bytes | None = None) -> str:
    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "evil", "exp": time.time() + 600, "scope": "read admin"}
    signed = part(header) + b"." + part(claims)
    mac = b"" if key is None else hmac.new(key, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def public_pem(issuer: Issuer) -> bytes:
    public = issuer.keys[issuer.kid].public_key()
    return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


FORGERIES: dict[str, Any] = {
    "no algorithm": lambda i: forged(i, {"alg": "none", "kid": i.kid}),
    "no algorithm, spelt otherwise": lambda i: forged(i, {"alg": "nOnE", "kid": i.kid}),
    "the public key as a secret": lambda i: forged(i, {"alg": "HS256", "kid": i.kid}, public_pem(i)),
    "an empty secret": lambda i: forged(i, {"alg": "HS256", "kid": i.kid}, b""),
    "another key": lambda i: i.token(key=rsa.generate_private_key(65537, 2048)),
    "a key it brings": lambda i: forged(i, {"alg": "RS256", "jwk": {"kty": "oct", "k": "AA"}, "kid": i.kid}),
    "a key from elsewhere": lambda i: forged(i, {"alg": "RS256", "jku": "http://127.0.0.1:9/keys", "kid": i.kid}),
    "a certificate from elsewhere": lambda i: forged(i, {"alg": "RS256", "x5u": "http://127.0.0.1:9/", "kid": i.kid}),
    "a kid that is a path": lambda i: i.token(headers={"kid": "../../../../dev/null"}),
    "a kid that is SQL": lambda i: i.token(headers={"kid": "' OR 1=1 --"}),
    "a kid that is a list": lambda i: forged(i, {"alg": "RS256", "kid": [i.kid]}),
    "a kid that is too long": lambda i: i.token(headers={"kid": "k" * 9000}),
    "a kid with lines": lambda i: i.token(headers={"kid": "k1\r\nX-Evil: 1"}),
    "another algorithm": lambda i: i.token(algorithm="RS512"),
    "a critical extension": lambda i: i.token(headers={"kid": i.kid, "crit": ["evil"], "evil": 1}),
    "a detached payload": lambda i: i.token(headers={"kid": i.kid, "b64": False, "crit": ["b64"]}),
    "expired": lambda i: i.token(exp=time.time() - 120),
    "not yet": lambda i: i.token(nbf=time.time() + 120),
    "for another": lambda i: i.token(aud="other"),
    "for nobody": lambda i: i.token(aud=""),
    "of another": lambda i: i.token(iss="https://login.evil"),
    "of a longer name": lambda i: i.token(iss=f"{i.url}.evil"),
    "without end": lambda i: i.token(exp=None),
    "an end that is none": lambda i: forged(i, {"alg": "RS256", "kid": i.kid}) + "x",
    "of no user": lambda i: i.token(sub=""),
    "of a user that is a list": lambda i: i.token(sub=["root"]),
    "three dots": lambda i: "a.b.c.d",
    "very long": lambda i: i.token(padding="x" * 20_000),
}


@pytest.mark.parametrize("what", list(FORGERIES))
def test_forgeries(web: Web, issuer: Issuer, what: str, caplog: pytest.LogCaptureFixture) -> None:
    token = FORGERIES[what](issuer)
    answer = asked(web, token)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "x-evil" not in answer.headers
    assert token not in caplog.text
    assert "evil" not in caplog.text


def test_a_token_in_the_address_is_none(web: Web, issuer: Issuer) -> None:
    assert web.get(f"{STUDIES}?access_token={issuer.token()}").status_code == 401


def test_clocks_may_differ_a_little(web: Web, issuer: Issuer) -> None:
    assert asked(web, issuer.token(exp=time.time() - 10)).status_code == 200
    assert asked(web, issuer.token(nbf=time.time() + 10)).status_code == 200


def test_who_it_was_is_kept(web: Web, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter.audit")
    assert asked(web, issuer.token(sub="eve\r\nadmin ok"), "/metrics").status_code == 403
    assert "denied user=eve??admin ok from=127.0.0.1 method=GET scope=admin" in caplog.text


def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    with issuing() as issuer:
        now = [0.0]

        async def go() -> None:
            keys = FetchedKeys(issuer.url, WANTED, fetching(issuer), discover=True, clock=lambda: now[0])
            assert await keys.find("k1") is not None
            assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
            assert await keys.find("k1") is not None
            assert len(issuer.asked) == 2, "kept"
            issuer.rotate("k2")
            assert await keys.find("k2") is None, "asked for a moment ago"
            now[0] += 11
            assert await keys.find("k2") is not None
            assert await keys.find("k1") is None, "and the old one is believed no more"
            before = len(issuer.asked)
            for name in range(50):
                assert await keys.find(f"nobody-{name}") is None
            assert len(issuer.asked) == before, "names that nobody has cost the issuer nothing"
            now[0] += 11
            await asyncio.gather(*(keys.find(f"nobody-{name}") for name in range(50)))
            assert len(issuer.asked) == before + 2, "and fifty at once cost one question"

        asyncio.run(go())


def test_an_issuer_that_is_down_locks_nobody_out_for_hours() -> None:
    with issuing() as issuer:
        now = [0.0]

        async def go() -> None:
            keys = FetchedKeys(f"{issuer.url}/keys", WANTED, fetching(issuer), clock=lambda: now[0])
            issuer.answers["/keys"] = (500, {})
            with pytest.raises(IssuerUnreachable):
                await keys.find("k1")
            issuer.rotate("k1")
            now[0] += 11
            assert await keys.find("k1") is not None
            good = issuer.answers["/keys"]
            for bad in ((500, {}), (302, {"Location": f"{issuer.url}/other"}), b"", b"[" * 5000, b"{}", b'{"keys": 7}',
                        b'{"keys": []}', b"x" * 300_000):  # fmt: skip
                issuer.answers["/keys"] = bad
                now[0] += 601
                for _ in range(3):
                    assert await keys.find("k1") is not None
                    await asyncio.sleep(0.02)
            assert "/other" not in issuer.asked, "no redirection is followed"
            now[0] += 6 * 3600
            with pytest.raises(IssuerUnreachable):
                await keys.find("k1")
            issuer.answers["/keys"] = good
            now[0] += 11
            assert await keys.find("k1") is not None

        asyncio.run(go())


@pytest.mark.parametrize(
    "document",
    [
        lambda url: {"issuer": "https://login.evil", "jwks_uri": f"{url}/keys"},
        lambda url: {"issuer": url, "jwks_uri": "http://10.0.0.1/keys"},
        lambda url: {"issuer": url, "jwks_uri": "file:///etc/passwd"},
        lambda url: {"issuer": url},
        lambda url: [],
    ],
)
def test_what_an_issuer_must_not_say(document: Any) -> None:
    with issuing() as issuer:
        issuer.answers["/.well-known/openid-configuration"] = json.dumps(document(issuer.url)).encode()

        async def go() -> None:
            with pytest.raises(IssuerUnreachable):
                await FetchedKeys(issuer.url, WANTED, fetching(issuer), discover=True).find("k1")

        asyncio.run(go())
        assert "/keys" not in issuer.asked


def fetching(issuer: Issuer) -> Any:
    """What the server fetches with, which the settings of the issuer give it."""
    from isocenter.net.jwks import fetcher

    return fetcher(Settings().replace(**issuer.rows))


def test_without_keys_the_answer_is_to_come_again() -> None:
    with issuing() as issuer:
        issuer.answers["/keys"] = (500, {})
        settings = Settings().replace(web_hosts="archive.test", **issuer.rows)
        app = create_app(FakeArchive(), settings)  # type: ignore[arg-type]
        with portal() as running, web_of(app, None, running) as client:
            answer = asked(client, issuer.token())
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["error"]["code"] == "issuer-unreachable"


def test_where_keys_may_be_fetched() -> None:
    good = ["https://login.example/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys", "http://[::1]/keys"]
    bad = [
        "http://login.example/keys",
        "http://127.0.0.1.evil/",
        "ftp://localhost/",
        "file:///keys",
        "https://",
        "",
        "x",
    ]
    assert [may_be_fetched(one) for one in good + bad] == [True] * len(good) + [False] * len(bad)
