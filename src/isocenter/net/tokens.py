"""JSON Web Tokens (RFC 7519), verified by keys that the settings name: as User Identity (PS3.7 section D.3.3.7, type 5)
and as bearer tokens of DICOMweb (RFC 6750, OpenID Connect).

What can go wrong with tokens has been collected in RFC 8725, and its rules are kept here and in jwks.py: the algorithms
are ours to choose and not the token's; all of them are asymmetric, so that a public key can never serve as a shared
secret; a key is only used for algorithms of its own kind; issuer, audience and expiry have to be there and right.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jwt

from isocenter.errors import IssuerUnreachable, SettingsError
from isocenter.net.jwks import CURVES, RSA_ALGORITHMS, keys_of
from isocenter.settings import Settings, words

if TYPE_CHECKING:
    from isocenter.wire.pdu import UserIdentity

log = logging.getLogger("isocenter.dimse")

_ALLOWED = RSA_ALGORITHMS | frozenset(CURVES.values()) | {"EdDSA"}
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


class TokenRefused(Exception):
    """Why a token is not believed, in words that hold nothing of it."""


class TokenVerifier:
    """Gives what a token claims, if it is good. Made from the `jwt` rows; raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        if not settings.jwt_issuer or not settings.jwt_audience:
            raise SettingsError(
                "jwt.keys: jwt.issuer and jwt.audience have to say whose tokens, for whom, are believed"
            )
        wanted = frozenset(words(settings.jwt_algorithms))
        if not wanted or wanted - _ALLOWED:
            raise SettingsError(
                f"jwt.algorithms = {settings.jwt_algorithms}: only {', '.join(sorted(_ALLOWED))} can be"
            )
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._leeway = settings.jwt_leeway
        self._claim = settings.jwt_user_claim
        self._keys = keys_of(settings, wanted)

    async def user_of(self, identity: UserIdentity) -> str | None:
        """The user, or None; why is in the log, where nothing of the token is."""
        try:
            return str((await self.claims_of(identity.primary))[self._claim])
        except (TokenRefused, IssuerUnreachable) as error:
            log.info("a JSON Web Token is refused: %s", error)
        return None

    async def claims_of(self, raw: bytes) -> Mapping[str, Any]:
        """The claims of a token, the user's name among them. Raises TokenRefused, IssuerUnreachable."""
        try:
            return await self._claims_of(raw)
        except jwt.InvalidTokenError as error:
            why = next((text for kind, text in _REASONS if isinstance(error, kind)), "it is damaged")
        except (ValueError, TypeError, RecursionError):
            why = "it is damaged"
        raise TokenRefused(why)

    async def _claims_of(self, raw: bytes) -> Mapping[str, Any]:
        if len(raw) > _LONGEST:
            raise jwt.DecodeError("too long")
        token = raw.decode("ascii")
        key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
        if key is None:
            raise jwt.InvalidSignatureError("no such key")
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
        return claims
