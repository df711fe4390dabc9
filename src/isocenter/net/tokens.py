"""JSON Web Tokens as User Identity (PS3.7 section D.3.3.7, type 5; RFC 7519), verified by keys that the settings name.

What can go wrong with tokens has been collected in RFC 8725, and its rules are kept here: the algorithms are ours to
choose and not the token's; all of them are asymmetric, so that a public key can never serve as a shared secret; a key
is only used for algorithms of its own kind; issuer, audience and expiry have to be there and right.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from isocenter.errors import SettingsError
from isocenter.settings import Settings

if TYPE_CHECKING:
    from isocenter.wire.pdu import UserIdentity

log = logging.getLogger("isocenter.dimse")

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ALLOWED = _RSA | frozenset(_CURVES.values()) | {"EdDSA"}
_LEAST_RSA = 2048  # bits; RFC 7518 section 3.3
_LONGEST = 16 * 1024  # bytes of a token

_REASONS: list[tuple[type[Exception], str]] = [
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidIssuedAtError, "its time of issue is wrong"),
    (jwt.InvalidAudienceError, "it is for another audience"),
    (jwt.InvalidIssuerError, "it is of another issuer"),
    (jwt.MissingRequiredClaimError, "it lacks a claim that is needed: exp, iss, aud, or the user's name"),
    (jwt.InvalidAlgorithmError, "its algorithm is not among those allowed for the key"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
]


@dataclass(frozen=True)
class _Key:
    """A public key with what it may be used for."""

    id: str | None
    public: Any
    algorithms: frozenset[str]


class TokenVerifier:
    """Gives the user that a token names, if it is good. Made from the `jwt` rows; raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        if not settings.jwt_issuer or not settings.jwt_audience:
            raise SettingsError(
                "jwt.keys: jwt.issuer and jwt.audience have to say whose tokens, for whom, are believed"
            )
        wanted = frozenset(name.strip() for name in settings.jwt_algorithms.split(",") if name.strip())
        if not wanted or wanted - _ALLOWED:
            raise SettingsError(
                f"jwt.algorithms = {settings.jwt_algorithms}: only {', '.join(sorted(_ALLOWED))} can be"
            )
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._leeway = settings.jwt_leeway
        self._claim = settings.jwt_user_claim
        self._keys = _read(Path(settings.jwt_keys), wanted)

    def user_of(self, identity: UserIdentity) -> str | None:
        """The user, or None; why is in the log, where nothing of the token is."""
        try:
            return self._user_of(identity.primary)
        except jwt.InvalidTokenError as error:
            why = next((text for kind, text in _REASONS if isinstance(error, kind)), "it is damaged")
        except (ValueError, RecursionError):
            why = "it is damaged"
        log.info("a JSON Web Token is refused: %s", why)
        return None

    def _user_of(self, raw: bytes) -> str:
        if len(raw) > _LONGEST:
            raise jwt.DecodeError("too long")
        token = raw.decode("ascii")
        key = self._key_for(jwt.get_unverified_header(token).get("kid"))
        claims = jwt.decode(
            token,
            key.public,
            algorithms=sorted(key.algorithms),
            issuer=self._issuer,
            audience=self._audience,
            leeway=self._leeway,
            options={"require": ["exp", "iss", "aud", self._claim]},
        )
        user = claims[self._claim]
        if not isinstance(user, str) or not user:
            raise jwt.MissingRequiredClaimError(self._claim)
        return user

    def _key_for(self, identifier: object) -> _Key:
        """The key a token names; one that names none can only mean the only one."""
        if identifier is None and len(self._keys) == 1:
            return self._keys[0]
        for key in self._keys:
            if identifier is not None and key.id == identifier:
                return key
        if len(self._keys) == 1 and self._keys[0].id is None:
            return self._keys[0]  # a PEM file has no names
        raise jwt.InvalidSignatureError("no such key")


def _read(file: Path, wanted: frozenset[str]) -> list[_Key]:
    """The keys of a JWKS (RFC 7517) or PEM file that can be used with the algorithms wanted."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"jwt.keys = {file}: {error.strerror}") from None
    try:
        if raw.lstrip().startswith(b"{"):
            keys = _of_set(json.loads(raw))
        else:
            keys = [_key(load_pem_public_key(raw), {})]
    except (ValueError, TypeError, KeyError, RecursionError, UnsupportedAlgorithm, jwt.PyJWKError) as error:
        raise SettingsError(f"jwt.keys = {file}: neither a JWKS nor a public key in PEM form: {error}") from None
    usable = [_Key(key.id, key.public, key.algorithms & wanted) for key in keys if key.algorithms & wanted]
    if not usable:
        raise SettingsError(f"jwt.keys = {file}: no public key for {', '.join(sorted(wanted))}")
    return usable


def _of_set(document: Any) -> list[_Key]:
    keys = []
    for entry in document["keys"]:
        if entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue  # secrets have no place in a file of public keys, and keys to encrypt with sign nothing
        keys.append(_key(jwt.PyJWK(entry, algorithm=entry.get("alg") or _any_algorithm(entry)).key, entry))
    return keys


def _any_algorithm(entry: Mapping[str, Any]) -> str | None:
    """One that lets the library read a key that names none; what it may be used for, _key() decides."""
    return "RS256" if entry.get("kty") == "RSA" else None


def _key(public: Any, entry: Mapping[str, Any]) -> _Key:
    if isinstance(public, RSAPublicKey):
        if public.key_size < _LEAST_RSA:
            raise ValueError(f"an RSA key of {public.key_size} bits, {_LEAST_RSA} are needed")
        algorithms = _RSA
    elif isinstance(public, EllipticCurvePublicKey):
        algorithms = frozenset({_CURVES[public.curve.name]}) if public.curve.name in _CURVES else frozenset()
    elif isinstance(public, Ed25519PublicKey | Ed448PublicKey):
        algorithms = frozenset({"EdDSA"})
    else:
        raise ValueError(f"{type(public).__name__} is no public key of a kind that signs tokens")
    if entry.get("alg"):
        algorithms &= {entry["alg"]}
    return _Key(entry.get("kid"), public, algorithms)
