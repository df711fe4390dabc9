"""User Identity: the file of users, what it believes, and who is asked at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from isocenter.errors import SettingsError, UsageError
from isocenter.net.identity import UserFile, Verified, authenticator_of, set_user, shown, user_identity
from isocenter.settings import Settings
from isocenter.wire.pdu import UserIdentity


def verify(file: Path, kind: int, primary: bytes, secondary: bytes = b"") -> Verified | None:
    return asyncio.run(UserFile(file, "dimse.users").authenticate(UserIdentity(kind, primary, secondary), "MODALITY"))


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    assert set_user(file, "김철수", "암호")
    assert set_user(file, "CT scanner", None)
    assert set_user(file, "anna", "old")
    assert not set_user(file, "anna", "new")
    return file


def test_passcodes(users: Path) -> None:
    assert verify(users, 2, "김철수".encode(), "암호".encode()) == Verified("김철수")
    assert verify(users, 2, b"anna", b"new") == Verified("anna")
    for name, passcode in ((b"anna", b"old"), (b"anna", b""), (b"Anna", b"new"), (b"nobody", b""), (b"", b"")):
        assert verify(users, 2, name, passcode) is None
    assert verify(users, 2, b"\xff\xfe", b"x") is None


def test_a_name_alone_is_believed_only_where_the_file_says_so(users: Path) -> None:
    assert verify(users, 1, b"CT scanner") == Verified("CT scanner")
    assert verify(users, 1, b"anna") is None
    assert verify(users, 1, b"nobody") is None
    assert verify(users, 2, b"CT scanner", b"") is None, "no passcode can be the right one"


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 6, 255])
def test_other_kinds_are_rejected(kind: int, users: Path) -> None:
    assert verify(users, kind, b"anna", b"new") is None


def test_the_file_keeps_no_passcode_and_is_for_its_owner(users: Path) -> None:
    text = users.read_text("utf-8")
    assert [line.split(":")[0] for line in text.splitlines()] == ["김철수", "CT scanner", "anna"]
    assert "암호" not in text
    assert "new" not in text
    assert users.stat().st_mode & 0o777 == 0o600
    salts = [line.split(":")[5] for line in text.splitlines() if "scrypt" in line]
    assert len(set(salts)) == 2


@pytest.mark.parametrize(
    "line",
    [
        "no colon",
        ":scrypt:16384:8:1:AAAA:AAAA",
        "a:md5:16384:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAAAA",
        "a:scrypt:16383:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAAAA",
        "a:scrypt:99999999999:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAAAA",
        "a:scrypt:16384:8:1:?:AAAAAAAAAAAAAAAAAAAAAAAA",
        "a:scrypt:16384:8:1:AAAA:AAAA",
        "a:\na:",
    ],
)
def test_a_file_that_is_none(line: str, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# comment\n\n" + line + "\n")
    with pytest.raises(SettingsError, match=r"dimse\.users .*line \d"):
        UserFile(file, "dimse.users")


def test_who_is_asked(users: Path) -> None:
    base = Settings()
    assert authenticator_of(base) is None
    assert isinstance(authenticator_of(base.replace(dimse_users=str(users))), UserFile)
    for rows, expected in (
        ({"dimse_require_user": True}, "who they are"),
        ({"dimse_users": str(users), "dimse_authenticator": "os:path"}, "not both"),
        ({"dimse_users": str(users.parent / "absent")}, "No such file"),
        ({"dimse_authenticator": "os"}, "MODULE:NAME"),
        ({"dimse_authenticator": "os:path"}, "MODULE:NAME"),
        ({"dimse_authenticator": "os:absent"}, "absent"),
        ({"dimse_authenticator": "absent_module:x"}, "absent_module"),
    ):
        with pytest.raises(SettingsError, match=expected):
            authenticator_of(base.replace(**rows))


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a\n", "a\tb"])
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        set_user(tmp_path / "users", name, "x")


def test_what_is_sent_and_what_is_shown() -> None:
    assert user_identity("anna", None) == UserIdentity(1, b"anna", b"", True)
    assert user_identity("anna", "") == UserIdentity(2, b"anna", b"", True)
    with pytest.raises(UsageError):
        user_identity("", "x")
    with pytest.raises(UsageError):
        user_identity("x" * 70000, None)
    assert shown(b"a\nb\x1b[31m") == "a?b?[31m"
    assert len(shown("x" * 1000)) == 64
    assert "secret" not in repr(UserIdentity(2, b"anna", b"secret"))
