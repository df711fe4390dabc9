"""User Identity of associations (PS3.7 section D.3.3.7): who verifies it, and the file of users that is built in.

An Authenticator gets what the peer sent. Names and passcodes are verified by a file of users, JSON Web Tokens by the
keys of their issuer (net/tokens.py); Kerberos tickets and SAML assertions need one that knows the site, which
`dimse.authenticator` names. What it gives back is the user's name and, where the kind has one, the answer for the peer.
Names are all that is ever logged.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import importlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isocenter.errors import SettingsError, UsageError
from isocenter.settings import Settings
from isocenter.wire.pdu import UserIdentity

if TYPE_CHECKING:
    from isocenter.net.tokens import TokenVerifier

NAME, NAME_AND_PASSCODE, KERBEROS, SAML, JWT = 1, 2, 3, 4, 5
"""Kinds of identity (PS3.7 Table D.3-14)."""

_LONGEST = 0xFFFF  # what the 16-bit lengths of the item can say
_SHOWN = 64
_COST, _BLOCK, _LANES = 1 << 14, 8, 1  # scrypt's N, r, p: 16 MiB and about 50 ms
_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Verified:
    """A verified user. `response` is the server response of kinds 3 and 4 (ticket, SAML response); else empty."""

    user: str
    response: bytes = field(default=b"", repr=False)


class Authenticator(Protocol):
    """Verifies identities. Called once an association; a slow one delays nobody else."""

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        """The user, or None to reject the association. `calling` is the peer's AE title, which nothing vouches for."""


def authenticator_of(settings: Settings) -> Authenticator | None:
    """What verifies identities by the `dimse` rows; None where they are ignored. Raises SettingsError."""
    if settings.dimse_authenticator and settings.dimse_users:
        raise SettingsError("dimse.authenticator and dimse.users: one of them decides, not both")
    others: Authenticator | None = None
    if settings.dimse_users:
        others = UserFile(Path(settings.dimse_users), "dimse.users")
    elif settings.dimse_authenticator:
        others = _named(settings.dimse_authenticator)
    if settings.jwt_keys:
        from isocenter.net.tokens import TokenVerifier  # what it needs takes a while to import, and few have tokens

        return _Tokens(TokenVerifier(settings), others)
    if others is None and settings.dimse_require_user:
        raise SettingsError(
            "dimse.require_user = true: dimse.users, dimse.authenticator or jwt.keys has to say who they are"
        )
    return others


class _Tokens:
    """JSON Web Tokens to their verifier, everything else to the other authenticator, if there is one."""

    def __init__(self, tokens: TokenVerifier, others: Authenticator | None) -> None:
        self._tokens = tokens
        self._others = others

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        if identity.kind == JWT:
            user = await self._tokens.user_of(identity)
            return None if user is None else Verified(user)
        return None if self._others is None else await self._others.authenticate(identity, calling)


def _named(text: str) -> Authenticator:
    module, colon, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"dimse.authenticator = {text}: {error}") from None
    made = found() if isinstance(found, type) else found
    if made is None or not callable(getattr(made, "authenticate", None)):
        raise SettingsError(f"dimse.authenticator = {text}: MODULE:NAME of an object with authenticate() is needed")
    authenticator: Authenticator = made
    return authenticator


def shown(name: str | bytes) -> str:
    """A name as it may stand in a log line: printable, and not longer than a name should be."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def user_identity(user: str, passcode: str | None) -> UserIdentity:
    """The item for a name, with or without a passcode; confirmation is asked for. Raises UsageError."""
    primary, secondary = user.encode(), (passcode or "").encode()
    if not primary or max(len(primary), len(secondary)) > _LONGEST:
        raise UsageError(f"a user has a name, and name and passcode at most {_LONGEST} bytes")
    kind = NAME if passcode is None else NAME_AND_PASSCODE
    return UserIdentity(kind, primary, secondary, response_requested=True)


def credential_identity(kind: int, credential: bytes) -> UserIdentity:
    """The item for a Kerberos service ticket, a SAML assertion or a JSON Web Token; confirmation is asked for. Raises
    UsageError."""
    if not credential or len(credential) > _LONGEST:
        raise UsageError(f"a ticket, assertion or token has at least one and at most {_LONGEST} bytes")
    return UserIdentity(kind, credential, response_requested=True)


def token_identity(token: str) -> UserIdentity:
    """The item for a JSON Web Token; confirmation is asked for. Raises UsageError."""
    return credential_identity(JWT, token.strip().encode())


# --- the file of users ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Hash:
    """A passcode's scrypt hash with its salt and costs."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    def fits(self, passcode: bytes) -> bool:
        memory = 128 * self.block * (self.cost + self.lanes + 2)
        made = hashlib.scrypt(
            passcode,
            salt=self.salt,
            n=self.cost,
            r=self.block,
            p=self.lanes,
            maxmem=memory,
            dklen=len(self.digest),
        )
        return hmac.compare_digest(made, self.digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(raw).decode() for raw in (self.salt, self.digest))
        return f"scrypt:{self.cost}:{self.block}:{self.lanes}:{salt}:{digest}"


def _hashed(passcode: bytes) -> _Hash:
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(passcode, salt=salt, n=_COST, r=_BLOCK, p=_LANES, dklen=32)
    return _Hash(_COST, _BLOCK, _LANES, salt, digest)


# Hashed for users who are not there, so that how long an answer takes does not tell who is
_NOBODY = _Hash(_COST, _BLOCK, _LANES, bytes(16), bytes(32))


class UserFile:
    """Authenticator over a file with one user a line: NAME:scrypt:N:r:p:SALT:HASH, or NAME: alone.

    The second form is for kind 1: that name is believed without proof. Kinds 3 to 5 are rejected. `row` is the setting
    that names the file. Raises SettingsError.
    """

    def __init__(self, file: Path, row: str) -> None:
        self._users = _read(file, row)
        self._turn = asyncio.Semaphore(_AT_A_TIME)  # a guesser is not to have all cores and memory

    async def authenticate(self, identity: UserIdentity, calling: str) -> Verified | None:
        name = identity.primary.decode("utf-8", "replace")
        if identity.kind == NAME:
            return Verified(name) if name in self._users and self._users[name] is None else None
        if identity.kind != NAME_AND_PASSCODE:
            return None
        known = self._users.get(name)
        async with self._turn:
            fits = await asyncio.to_thread((known or _NOBODY).fits, identity.secondary)
        return Verified(name) if fits and known is not None else None


def _read(file: Path, row: str) -> dict[str, _Hash | None]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{row} = {file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    users: dict[str, _Hash | None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        try:
            if not colon or not name or name in users:
                raise ValueError
            users[name] = _parsed(rest.strip()) if rest.strip() else None
        except (ValueError, binascii.Error):
            raise SettingsError(
                f"{row} = {file}: line {number} is not NAME:scrypt:..., or names a user again; "
                "make lines with `isocenter user`"
            ) from None
    return users


def _parsed(text: str) -> _Hash:
    kind, cost, block, lanes, salt, digest = text.split(":")
    made = _Hash(
        int(cost),
        int(block),
        int(lanes),
        base64.b64decode(salt, validate=True),
        base64.b64decode(digest, validate=True),
    )
    power_of_two = made.cost > 1 and made.cost & (made.cost - 1) == 0
    if kind != "scrypt" or not power_of_two or min(made.block, made.lanes) < 1 or len(made.digest) < 16:
        raise ValueError(text)
    if made.block * made.cost > 1 << 21:  # 256 MiB; the file is ours, a slip of the pen is not to stop the server
        raise ValueError(text)
    return made


def set_user(file: Path, name: str, passcode: str | None) -> bool:
    """Write a user to the file, made if absent and readable by its owner only; True when the name is new.

    `passcode` None: the name is believed without one. Raises UsageError, or SettingsError where the file is no such.
    """
    if not name or ":" in name or name.startswith("#") or not name.isprintable() or name != name.strip():
        raise UsageError("a user's name is printable, without colon, and not blank at its ends")
    users = _read(file, "the file of users") if file.exists() else {}
    new = name not in users
    users[name] = None if passcode is None else _hashed(passcode.encode())
    lines = [f"{user}:{'' if hashed is None else hashed}\n" for user, hashed in users.items()]
    rewrite(file, lines)
    return new


def rewrite(file: Path, lines: Iterable[str]) -> None:
    """Put lines in place of a file with secrets, readable by its owner only; durable. Raises UsageError."""
    beside = file.with_name(file.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.writelines(lines)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
