"""The public keys that sign tokens: of a file, or fetched from their issuer and fetched again when they change.

A key is only used for algorithms of its own kind (RFC 8725 section 3.1). Fetching has bounds, since anybody can send
tokens that name keys nobody has: at most once in a while, so many bytes, so many seconds, no redirection, and TLS but
on loopback. Keys that cannot be fetched again stay in use for some hours, so that an issuer that is down for a moment
locks nobody out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from isocenter.errors import IssuerUnreachable, SettingsError
from isocenter.net.tls import load_authorities
from isocenter.settings import Settings

log = logging.getLogger("isocenter.tokens")

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
DISCOVER = "discover"

_LEAST_RSA = 2048  # bits; RFC 7518 section 3.3
_MOST_KEYS = 100
_LARGEST = 256 * 1024  # bytes of a fetched document
_FRESH = 600.0  # seconds after which keys are fetched again
_LASTING = 6 * 3600.0  # seconds for which keys that could not be fetched again are still believed
_AGAIN = 10.0  # seconds between two tries
_TIME = 10.0  # seconds that fetching may take


@dataclass(frozen=True)
class Key:
    """A public key with what it may be used for."""

    id: str | None
    public: Any
    algorithms: frozenset[str]


class Keys(Protocol):
    """Where the keys come from."""

    async def find(self, identifier: object) -> Key | None:
        """The key that a token names (its `kid`), None if there is none. Raises IssuerUnreachable."""
        ...


def keys_of(settings: Settings, wanted: frozenset[str]) -> Keys:
    """The keys of `jwt.keys` that can be used with the algorithms wanted. Raises SettingsError."""
    place = settings.jwt_keys
    if place == DISCOVER or place.startswith(("https:", "http:")):
        address = settings.jwt_issuer if place == DISCOVER else place
        if not may_be_fetched(address):
            raise SettingsError(f"jwt.keys: {address} is not an https address; http is for loopback only")
        return FetchedKeys(address, wanted, fetcher(settings), discover=place == DISCOVER)
    return FileKeys(Path(place), wanted)


def chosen(keys: list[Key], identifier: object) -> Key | None:
    """The key that `identifier` names; a token that names none can only mean the only one."""
    if identifier is None:
        return keys[0] if len(keys) == 1 else None
    for key in keys:
        if key.id == identifier:
            return key
    return keys[0] if len(keys) == 1 and keys[0].id is None else None  # a PEM file has no names


class FileKeys:
    """The keys of a JWKS (RFC 7517) or PEM file, read once. Raises SettingsError."""

    def __init__(self, file: Path, wanted: frozenset[str]) -> None:
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise SettingsError(f"jwt.keys = {file}: {error.strerror}") from None
        try:
            keys = of_set(raw) if raw.lstrip().startswith(b"{") else [_key(load_pem_public_key(raw), {})]
        except (ValueError, TypeError, KeyError, RecursionError, UnsupportedAlgorithm, jwt.PyJWKError) as error:
            raise SettingsError(f"jwt.keys = {file}: neither a JWKS nor a public key in PEM form: {error}") from None
        self._keys = _usable(keys, wanted)
        if not self._keys:
            raise SettingsError(f"jwt.keys = {file}: no public key for {', '.join(sorted(wanted))}")

    async def find(self, identifier: object) -> Key | None:
        return chosen(self._keys, identifier)


class FetchedKeys:
    """The keys of a JWKS at `address`, or of the issuer there (OpenID Connect Discovery 1.0 section 4)."""

    def __init__(
        self,
        address: str,
        wanted: frozenset[str],
        fetch: Callable[[str], Awaitable[bytes]],
        *,
        discover: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._discover = address, discover
        self._wanted = wanted
        self._fetch = fetch
        self._clock = clock
        self._keys: list[Key] = []
        self._since = self._tried = -_LASTING
        self._trying: asyncio.Task[None] | None = None

    async def find(self, identifier: object) -> Key | None:
        key = self._known(identifier)
        now = self._clock()
        if now - self._tried >= (_AGAIN if key is None or not self._keys else _FRESH) and self._trying is None:
            self._tried = now
            self._trying = asyncio.create_task(self._refresh())
        # Whoever shows a key that is known does not wait for news; a key that is not may be a new one.
        if key is None and self._trying is not None:
            await asyncio.shield(self._trying)
            key = self._known(identifier)
        if not self._keys or self._clock() - self._since > _LASTING:
            raise IssuerUnreachable("the keys of the tokens' issuer cannot be had")
        return key

    def _known(self, identifier: object) -> Key | None:
        return chosen(self._keys, identifier) if self._clock() - self._since <= _LASTING else None

    async def _refresh(self) -> None:
        try:
            address = self._address
            if self._discover:
                said = await self._fetch(f"{address.rstrip('/')}/.well-known/openid-configuration")
                address = _set_of_issuer(address, said)
            usable = _usable(of_set(await self._fetch(address)), self._wanted)
            if not usable:
                raise ValueError(f"no key for {', '.join(sorted(self._wanted))}")
            self._keys, self._since = usable, self._clock()
        except (OSError, TimeoutError, ValueError, TypeError, KeyError, RecursionError, jwt.PyJWKError) as error:
            log.warning("the keys at %s could not be fetched: %s", self._address, type(error).__name__)
        finally:
            self._trying = None


def may_be_fetched(address: str) -> bool:
    """Whether nobody on the way can exchange what is there."""
    try:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme == "http":
            return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)


def _set_of_issuer(issuer: str, raw: bytes) -> str:
    """Where the issuer says that its keys are. Raises ValueError."""
    document = json.loads(raw)
    if document["issuer"].rstrip("/") != issuer.rstrip("/"):
        raise ValueError("the issuer there is another one")
    address = document["jwks_uri"]
    if not may_be_fetched(address):
        raise ValueError("its keys are where anybody could exchange them")
    return str(address)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def fetcher(settings: Settings) -> Callable[[str], Awaitable[bytes]]:
    """Fetches a document, in a thread; the authorities of `tls.ca` count beside the system's."""
    context = ssl.create_default_context()
    if settings.tls_ca:
        load_authorities(context, settings.tls_ca)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)

    def get(address: str) -> bytes:
        until = time.monotonic() + _TIME
        raw = bytearray()
        request = urllib.request.Request(address, headers={"Accept": "application/json"})
        with opener.open(request, timeout=_TIME) as answer:
            while piece := answer.read1(16 * 1024):
                raw += piece
                if len(raw) > _LARGEST or time.monotonic() > until:
                    raise ValueError("too long")
        return bytes(raw)

    async def fetch(address: str) -> bytes:
        return await asyncio.to_thread(get, address)

    return fetch


# --- keys ----------------------------------------------------------------------------------------------------------


def of_set(raw: bytes) -> list[Key]:
    """The public keys that sign, of a JWKS. Raises ValueError and its like for what is none."""
    keys = []
    for entry in json.loads(raw)["keys"][:_MOST_KEYS]:
        if entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue  # secrets have no place in a file of public keys, and keys to encrypt with sign nothing
        keys.append(_key(jwt.PyJWK(entry, algorithm=entry.get("alg") or _any_algorithm(entry)).key, entry))
    return keys


def _usable(keys: list[Key], wanted: frozenset[str]) -> list[Key]:
    return [Key(key.id, key.public, key.algorithms & wanted) for key in keys if key.algorithms & wanted]


def _any_algorithm(entry: Mapping[str, Any]) -> str | None:
    """One that lets the library read a key that names none; what it may be used for, _key() decides."""
    return "RS256" if entry.get("kty") == "RSA" else None


def _key(public: Any, entry: Mapping[str, Any]) -> Key:
    if isinstance(public, RSAPublicKey):
        if public.key_size < _LEAST_RSA:
            raise ValueError(f"an RSA key of {public.key_size} bits, {_LEAST_RSA} are needed")
        algorithms = RSA_ALGORITHMS
    elif isinstance(public, EllipticCurvePublicKey):
        algorithms = frozenset({CURVES[public.curve.name]}) if public.curve.name in CURVES else frozenset()
    elif isinstance(public, Ed25519PublicKey | Ed448PublicKey):
        algorithms = frozenset({"EdDSA"})
    else:
        raise ValueError(f"{type(public).__name__} is no public key of a kind that signs tokens")
    if entry.get("alg"):
        algorithms &= {entry["alg"]}
    return Key(entry.get("kid"), public, algorithms)
