"""The [[peer]] tables: what they give, what they refuse, and how the command line uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from isocenter.cli.calling import Call
from isocenter.errors import SettingsError, UsageError
from isocenter.known_peers import ALL_SERVICES, KnownPeer, load_peers
from isocenter.settings import load

TWO = """
[dimse]
aet = "HERE"

[[peer]]
name = "workstation"
aet = "VIEWER"
host = "10.0.0.7"
port = 104

[[peer]]
name = "backup"
aet = "BACKUP"
host = "fd00::7"
port = 2762
tls = true
services = ["echo", "store"]
max_associations = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "isocenter.toml"
    path.write_text(TWO)
    return path


def test_peers_are_read_in_order_with_their_defaults(file: Path) -> None:
    peers = load_peers(file)
    assert ["workstation", "backup"] == list(peers)
    assert KnownPeer("workstation", "VIEWER", "10.0.0.7", 104, False, ALL_SERVICES) == peers["workstation"]
    assert frozenset({"echo", "store"}) == peers["backup"].services
    assert (None, 2) == (peers["workstation"].max_associations, peers["backup"].max_associations)
    assert "BACKUP@[fd00::7]:2762" == peers["backup"].address


def test_the_same_file_gives_the_settings(file: Path) -> None:
    assert "HERE" == load(file, environ={}).dimse_aet


def test_no_file_knows_nobody() -> None:
    assert {} == load_peers(None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('aet = "A TITLE THAT IS TOO LONG"', "not an AE title"),
        ('aet = "BACKUP"', "another peer has the title BACKUP"),
        ('name = "backup"', "another peer of this name"),
        ('name = "a@b"', "name:"),
        ('host = "10.0.0.7 "', "host:"),
        ("port = 0", "port:"),
        ("port = true", "port:"),
        ('port = "104"', "port:"),
        ('tls = "yes"', "tls:"),
        ('services = ["print"]', "services:"),
        ('services = "echo"', "services:"),
        ("max_associations = 0", "max_associations:"),
        ("max_associations = true", "max_associations:"),
        ("colour = 1", "no setting colour"),
    ],
)
def test_a_wrong_line_is_named_with_its_peer(file: Path, line: str, complaint: str) -> None:
    third = {"name": 'name = "third"', "aet": 'aet = "THIRD"', "host": 'host = "h"', "port": "port = 1"}
    third[line.split()[0]] = line
    file.write_text(TWO + "\n[[peer]]\n" + "\n".join(third.values()))
    with pytest.raises(SettingsError) as refused:
        load_peers(file)
    assert "peer 3 (" in str(refused.value)
    assert complaint in str(refused.value)


@pytest.mark.parametrize("missing", ["name", "aet", "host", "port"])
def test_what_is_needed_is_asked_for(file: Path, missing: str) -> None:
    given = {"name": '"third"', "aet": '"THIRD"', "host": '"h"', "port": "1"}
    del given[missing]
    file.write_text("[[peer]]\n" + "\n".join(f"{key} = {value}" for key, value in given.items()))
    with pytest.raises(SettingsError, match=f"{missing}: a"):
        load_peers(file)


def test_a_single_bracket_is_explained(file: Path) -> None:
    file.write_text('[peer]\nname = "x"\n')
    with pytest.raises(SettingsError, match=r"\[\[peer\]\]"):
        load_peers(file)


def test_the_command_line_takes_name_or_address(file: Path) -> None:
    assert "VIEWER@10.0.0.7:104" == Call(config=file).peer("workstation").address
    assert KnownPeer("PACS@[::1]:104", "PACS", "::1", 104) == Call(config=file).peer("PACS@[::1]:104")
    with pytest.raises(UsageError, match="workstation, backup"):
        Call(config=file).peer("nobody")
    with pytest.raises(UsageError, match=r"names in a file of settings alone \(--config\)"):
        Call().peer("workstation")
    with pytest.raises(UsageError, match="no AE title"):
        Call().peer("10.0.0.7:104")
