"""Static bearer tokens for small sites: a file with one token a line, as JSON, of which only hashes are kept.

A token is "isocenter_", its identifier, "_" and 256 random bits. The identifier finds the line, and what is secret is
compared by its SHA-256 in constant time; nothing slower is needed for a secret that nobody chose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isocenter.errors import SettingsError, UsageError
from isocenter.names import ae_title
from isocenter.net.identity import rewrite
from isocenter.web.identity import SCOPES, Identity

_PREFIX = "isocenter"
_FIELDS = frozenset({"id", "name", "scopes", "sha256", "patients", "aets", "expires"})


@dataclass(frozen=True, slots=True)
class SiteToken:
    """A line of the file. `sha256` (hex) is of the token's secret part, `expires` in seconds since 1970."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    patients: tuple[str, ...] | None = None
    aets: tuple[str, ...] | None = None
    expires: int | None = None

    @property
    def identity(self) -> Identity:
        return Identity(
            self.name,
            frozenset(self.scopes),
            None if self.patients is None else frozenset(self.patients),
            None if self.aets is None else frozenset(self.aets),
            self.expires,
        )


class SiteTokens:
    """The tokens of a file. Raises SettingsError."""

    def __init__(self, file: Path) -> None:
        self._tokens = {token.id: token for token in read(file)}

    def identity_of(self, text: str) -> Identity | None:
        """Whose token it is; None if it is none of the file's, or over."""
        prefix, _, rest = text.partition("_")
        identifier, _, secret = rest.partition("_")
        token = self._tokens.get(identifier)
        made = hashlib.sha256(secret.encode()).hexdigest()
        fits = hmac.compare_digest(made, "" if token is None else token.sha256)
        if token is None or not fits or prefix != _PREFIX:
            return None
        return None if token.expires is not None and token.expires <= time.time() else token.identity


def looks_like_one(text: str) -> bool:
    """Whether a bearer token is of this kind; others are JSON Web Tokens."""
    return text.startswith(f"{_PREFIX}_")


def read(file: Path) -> list[SiteToken]:
    """The tokens of a file in its order. Raises SettingsError naming file and line."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"web.tokens = {file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    tokens: list[SiteToken] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            token = _parsed(json.loads(line))
            if any(token.id == other.id for other in tokens):
                raise ValueError("its identifier is there already")
            tokens.append(token)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise SettingsError(
                f"web.tokens = {file}: line {number} is no token; make lines with `isocenter token`"
            ) from None
    return tokens


def issue(
    file: Path,
    name: str,
    scopes: Iterable[str],
    *,
    patients: Iterable[str] | None = None,
    aets: Iterable[str] | None = None,
    days: float | None = None,
) -> tuple[SiteToken, str]:
    """Add a token to the file, which is made if absent; the line, and the token itself, which is not kept.

    Raises UsageError, or SettingsError where the file is no such.
    """
    secret = secrets.token_urlsafe(32)
    fields = {
        "id": secrets.token_hex(4),
        "name": name,
        "scopes": list(scopes),
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "patients": None if patients is None else list(patients),
        "aets": None if aets is None else list(aets),
        "expires": None if days is None else int(time.time() + days * 86400),
    }
    try:
        token = _parsed(fields)
    except ValueError as error:
        raise UsageError(str(error)) from None
    known = read(file) if file.exists() else []
    _write(file, [*known, token])
    return token, f"{_PREFIX}_{token.id}_{secret}"


def revoke(file: Path, identifier: str) -> SiteToken:
    """Take a token out of the file. Raises UsageError if it is not there, SettingsError where the file is no such."""
    known = read(file)
    gone = next((token for token in known if token.id == identifier), None)
    if gone is None:
        raise UsageError(f"there is no token {identifier} in {file}")
    _write(file, [token for token in known if token is not gone])
    return gone


def _write(file: Path, tokens: Iterable[SiteToken]) -> None:
    lines = ({key: value for key, value in asdict(token).items() if value is not None} for token in tokens)
    rewrite(file, [json.dumps(line, ensure_ascii=False) + "\n" for line in lines])


def _parsed(fields: dict[str, Any]) -> SiteToken:
    """Raises ValueError (also KeyError and TypeError for a line that somebody else wrote) saying what is wrong."""
    if set(fields) - _FIELDS:
        raise ValueError("unknown fields")
    token = SiteToken(
        str(fields["id"]),
        str(fields["name"]),
        _texts(fields["scopes"]) or (),
        str(fields["sha256"]),
        _texts(fields.get("patients")),
        None if fields.get("aets") is None else tuple(ae_title(one) for one in _texts(fields["aets"]) or ()),
        None if fields.get("expires") is None else int(fields["expires"]),
    )
    if not token.name or not token.name.isprintable() or token.name != token.name.strip():
        raise ValueError("a token's name is printable, and not blank at its ends")
    if not token.scopes or set(token.scopes) - set(SCOPES):
        raise ValueError(f"the scopes of a token are some of {', '.join(SCOPES)}")
    if len(token.sha256) != 64 or not token.id.isalnum():
        raise ValueError("no hash, or no identifier")
    return token


def _texts(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError("a list of texts that are not empty is needed")
    return tuple(value)
