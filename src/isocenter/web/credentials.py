"""What a request shows to say who asks: a bearer token (RFC 6750), a name with its passcode (RFC 7617), or a session.

Credentials are taken only where nobody on the way reads them: over TLS, our own or a declared proxy's, or on loopback.
Who fails often waits, by network address, before anything is computed for him.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import Scope

from isocenter.archive import audit
from isocenter.errors import SettingsError, TooManyRequests, Unauthenticated, UsageError
from isocenter.names import ae_title
from isocenter.net.identity import UserFile, shown, user_identity
from isocenter.net.tokens import TokenRefused, TokenVerifier
from isocenter.settings import Settings, words
from isocenter.web.identity import SCOPES, Identity, client_of, known_scopes
from isocenter.web.reception import by_tls, is_loopback
from isocenter.web.site_tokens import SiteTokens, looks_like_one
from isocenter.web.traffic import Buckets, network_of

_REMEMBERED = 300.0  # seconds for which a passcode that was right is not hashed again
_MOST_REMEMBERED = 1000
_ONE_MORE = 10.0  # seconds until one more failure is forgiven


class Credentials:
    """The ways to say who one is, by the `web` and `jwt` rows. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = SiteTokens(Path(settings.web_tokens)) if settings.web_tokens else None
        self._users = UserFile(Path(settings.web_users), "web.users") if settings.web_users else None
        self._jwt = _verifier(settings) if settings.web_jwt else None
        self._settings = settings
        self._user_scopes = _scopes("web.user_scopes", settings.web_user_scopes)
        self._admins = frozenset(words(settings.web_admins))
        self.everybody = Identity("", _scopes("web.open_scopes", settings.web_open_scopes))
        self._failures = Buckets(1 / _ONE_MORE, settings.web_failures)
        self._right: OrderedDict[bytes, float] = OrderedDict()  # until when
        self._hashing: dict[bytes, asyncio.Task[bool]] = {}
        self._key = secrets.token_bytes(32)

    @property
    def needed(self) -> bool:
        """Whether there is authentication at all."""
        return self._tokens is not None or self._users is not None or self._jwt is not None

    @property
    def ways(self) -> list[str]:
        """What can be shown: "token", "passcode"."""
        tokens = self._tokens is not None or self._jwt is not None
        return [*(["token"] if tokens else []), *(["passcode"] if self._users is not None else [])]

    async def of_header(self, scope: Scope, field: str) -> Identity:
        """Who an Authorization field says is asking. Raises Unauthenticated, TooManyRequests, IssuerUnreachable."""
        kind, _, text = field.partition(" ")
        if kind.lower() == "bearer":
            return await self.of_token(scope, text.strip())
        if kind.lower() == "basic":
            try:
                name, colon, passcode = base64.b64decode(text.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name, colon, passcode = "", "", ""
            if colon:
                return await self.of_user(scope, name, passcode)
        raise self._failed(scope, "the Authorization header is none that is understood")

    async def of_token(self, scope: Scope, text: str) -> Identity:
        """Whose bearer token it is."""
        self._admit(scope)
        found: Identity | None = None
        why = "the token is not known"
        if looks_like_one(text):
            found = self._tokens.identity_of(text) if self._tokens is not None else None
        elif self._jwt is not None:
            try:
                found = self._of_claims(await self._jwt.claims_of(text.encode("utf-8", "replace")))
            except TokenRefused as error:
                why = f"the token is not believed: {error}"
        if found is None:
            raise self._failed(scope, why)
        return found

    async def of_user(self, scope: Scope, name: str, passcode: str) -> Identity:
        """Who has this name and passcode."""
        self._admit(scope)
        if self._users is None or not passcode or not await self._is_right(scope, self._users, name, passcode):
            raise self._failed(scope, "name or passcode are wrong", name)
        return Identity(name, frozenset(SCOPES) if name in self._admins else self._user_scopes)

    async def _is_right(self, scope: Scope, users: UserFile, name: str, passcode: str) -> bool:
        """Whether the passcode is the user's. Hashing is slow by intent, and Basic sends it with each request: one that
        was right lately is recognised by a hash under a key that nobody has, and one that is being hashed is not hashed
        beside that. A guess counts as failed from its beginning, or a guesser would make all of his at once."""
        mark = hmac.digest(self._key, f"{len(name)}:{name}{passcode}".encode("utf-8", "replace"), hashlib.sha256)
        if self._right.get(mark, 0.0) > time.monotonic():
            return True
        key = network_of(client_of(scope))
        if mark not in self._hashing:
            self._failures.take(key, time.monotonic())
            work = self._hashing[mark] = asyncio.create_task(self._fits(users, name, passcode))
            work.add_done_callback(lambda _: self._hashing.pop(mark))
            fits = await asyncio.shield(work)
            self._failures.give(key, time.monotonic())  # if it was wrong, that counts in _failed()
        else:
            fits = await asyncio.shield(self._hashing[mark])
        if fits:
            self._right[mark] = time.monotonic() + _REMEMBERED
            if len(self._right) > _MOST_REMEMBERED:
                self._right.popitem(last=False)
        return fits

    @staticmethod
    async def _fits(users: UserFile, name: str, passcode: str) -> bool:
        try:
            identity = user_identity(name, passcode)
        except UsageError:
            return False
        return await users.authenticate(identity, "") is not None

    def _of_claims(self, claims: Mapping[str, Any]) -> Identity:
        rows = self._settings
        granted = claims.get(rows.jwt_scope_claim, "")
        listed = granted.split() if isinstance(granted, str) else _texts(granted)
        prefix = rows.jwt_scope_prefix
        aets = _limited(claims, rows.jwt_aets_claim)
        try:
            titles = None if aets is None else frozenset(ae_title(one) for one in aets)
        except ValueError:
            raise TokenRefused("what limits it is no list of AE titles") from None
        return Identity(
            claims[rows.jwt_user_claim],
            known_scopes(word.removeprefix(prefix) for word in listed if word.startswith(prefix)),
            _limited(claims, rows.jwt_patients_claim),
            titles,
            float(claims["exp"]) + rows.jwt_leeway,
        )

    def _admit(self, scope: Scope) -> None:
        """Raises Unauthenticated where credentials could be read on their way, TooManyRequests after many failures."""
        safe = by_tls(scope) or is_loopback(client_of(scope)) or self._settings.web_listen_unprotected
        if not safe:
            raise Unauthenticated("credentials are taken over https only; those that were sent should be exchanged")
        wait = self._failures.wait(network_of(client_of(scope)), time.monotonic())
        if wait:
            raise TooManyRequests("too many failed authentications from this address", wait=wait)

    def _failed(self, scope: Scope, why: str, name: str = "") -> Unauthenticated:
        client = client_of(scope)
        self._failures.take(network_of(client), time.monotonic())
        audit.not_authenticated(shown(name), client, why)
        return Unauthenticated(why)


def _verifier(settings: Settings) -> TokenVerifier:
    if not settings.jwt_keys:
        raise SettingsError("web.jwt = true: jwt.keys has to say where the keys are, as `discover` or a file")
    return TokenVerifier(settings)


def _scopes(row: str, text: str) -> frozenset[str]:
    given = frozenset(words(text))
    if given - set(SCOPES):
        raise SettingsError(f"{row} = {text}: the scopes are {', '.join(SCOPES)}")
    return given


def _limited(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """What a claim limits its bearer to. One that is there and is no list must not pass for one that is not there."""
    return frozenset(_texts(claims[name])) if name in claims else None


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TokenRefused("what it says of scopes or limits is no list of texts")
    return value
