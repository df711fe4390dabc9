"""`isocenter token`: made once, kept as a hash, listed, revoked."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from command import isocenter
from isocenter.errors import SettingsError, UsageError
from isocenter.web.site_tokens import SiteTokens, issue, read, revoke


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    made = isocenter(
        "token", file, "gateway", "--scope", "read", "--scope", "write", "--patient", "김 1", "--days", "30"
    )
    assert made.returncode == 0, made.stderr
    text = made.stdout.strip()
    assert text.partition("_")[2].partition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = SiteTokens(file).identity_of(text)
    assert found is not None
    assert (found.name, found.scopes, found.patients, found.aets) == (
        "gateway",
        {"read", "write"},
        {"김 1"},
        None,
    )
    (listed,) = [json.loads(line) for line in isocenter("token", file, "--json").stdout.splitlines()]
    assert (listed["name"], listed["scopes"], listed["patients"]) == ("gateway", ["read", "write"], ["김 1"])
    assert "token" not in listed
    assert "gateway" in isocenter("token", file).stdout
    other = json.loads(isocenter("token", file, "x", "--sender", "CT1", "--json").stdout)
    assert other["scopes"] == ["read"]
    gone = isocenter("token", file, "--revoke", listed["id"])
    assert gone.returncode == 0
    assert SiteTokens(file).identity_of(text) is None
    assert SiteTokens(file).identity_of(other["token"]) is not None
    assert isocenter("token", file, "--revoke", listed["id"]).returncode == 2


@pytest.mark.parametrize(
    ("name", "scopes", "more"),
    [
        ("", ["read"], {}),
        (" x", ["read"], {}),
        ("x\n", ["read"], {}),
        ("x", [], {}),
        ("x", ["all"], {}),
        ("x", ["read"], {"patients": [" "]}),
        ("x", ["read"], {"aets": ["a\\b"]}),
        ("x", ["read"], {"aets": ["x" * 17]}),
    ],
)
def test_tokens_that_cannot_be(tmp_path: Path, name: str, scopes: list[str], more: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError):
        issue(tmp_path / "tokens", name, scopes, **more)
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        "{}",
        "7",
        '{"id": "a", "name": "x", "scopes": ["read"], "sha256": "00"}',
        '{"id": "a", "name": "x", "scopes": "read", "sha256": "%s"}' % ("0" * 64),
        '{"id": "a", "name": "x", "scopes": ["root"], "sha256": "%s"}' % ("0" * 64),
        '{"id": "a", "name": "x", "scopes": ["read"], "patient": ["1"], "sha256": "%s"}' % ("0" * 64),
        '{"id": "a", "name": "x", "scopes": ["read"], "patients": "P1", "sha256": "%s"}' % ("0" * 64),
    ],
)
def test_a_file_that_is_none_is_refused_whole(tmp_path: Path, line: str) -> None:
    """A misspelt limit must not become a token without limits."""
    file = tmp_path / "tokens"
    issue(file, "good", ["read"])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(SettingsError, match="line 2"):
        SiteTokens(file)
    with pytest.raises(SettingsError):
        revoke(file, "a")


def test_identifiers_are_not_given_twice(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    issue(file, "one", ["read"])
    file.write_text(file.read_text() * 2)
    with pytest.raises(SettingsError, match="line 2"):
        read(file)
