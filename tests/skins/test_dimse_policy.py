"""Who may open an association and for what, and how that is changed while associations are open."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import isocenter
from certificates import Certificates
from command import started
from isocenter.errors import AssociationRejected, NetworkError, SettingsError
from isocenter.known_peers import KnownPeer
from isocenter.names import ae_title
from isocenter.net.identity import set_user
from ours import node

CT = str(get_testdata_file("CT_small.dcm"))


def rejected(address: str, calling: str = "MODALITY", **options: str) -> tuple[int, int, int] | None:
    """Result, source and reason; None when the association is accepted."""
    try:
        with isocenter.sync.connect(address, calling=calling, **options):
            return None
    except AssociationRejected as error:
        return error.result, error.source, error.reason


def test_titles_of_both_sides(tmp_path: Path) -> None:
    known = KnownPeer("ct1", ae_title("CT1"), "127.0.0.1", 104)
    rows = {"dimse_check_calling_aet": True, "dimse_check_called_aet": True, "dimse_other_aets": "ARCHIVE, PACS 2"}
    with node(tmp_path / "data", peers=[known], **rows) as running:
        place = running.address.partition("@")[2]
        for ours in ("ISOCENTER", "ARCHIVE", "PACS 2"):
            assert rejected(f"{ours}@{place}", "CT1") is None
            assert rejected(f"{ours}@{place}", "CT2") == (1, 1, 3)
        assert rejected(f"PACS@{place}", "CT1") == (1, 1, 7)


def test_services_of_a_peer(tmp_path: Path) -> None:
    sender = KnownPeer("ct1", ae_title("CT1"), "127.0.0.1", 104, services=frozenset({"store"}))
    viewer = KnownPeer("viewer", ae_title("VIEWER"), "127.0.0.1", 104, services=frozenset({"find", "echo"}))
    with node(tmp_path / "data", peers=[sender, viewer]) as running:
        with isocenter.sync.connect(running.address, calling="CT1") as peer:
            assert [0] == [outcome.status for outcome in peer.store([CT])]
            with pytest.raises(NetworkError):
                peer.echo()
            with pytest.raises(NetworkError):
                list(peer.find("STUDY"))
        with isocenter.sync.connect(running.address, calling="VIEWER") as peer:
            assert [None] == [outcome.status for outcome in peer.store([CT])]
            assert len(list(peer.find("STUDY"))) == 1
        with isocenter.sync.connect(running.address, calling="ANYBODY") as peer:
            assert [0] == [outcome.status for outcome in peer.store([CT])]


def test_associations_of_one_title_are_limited(tmp_path: Path) -> None:
    with node(tmp_path / "data", dimse_max_associations_per_aet=2) as running:
        with isocenter.sync.connect(running.address, calling="A"), isocenter.sync.connect(running.address, calling="A"):
            assert rejected(running.address, "A") == (2, 3, 2)
            assert rejected(running.address, "B") is None
        assert rejected(running.address, "A") is None


def test_associations_of_a_known_peer_and_of_an_address_are_limited(tmp_path: Path) -> None:
    known = KnownPeer("ct1", ae_title("CT1"), "127.0.0.1", 104, max_associations=1)
    with (
        node(tmp_path / "data", peers=[known], dimse_max_associations_per_address=2) as running,
        isocenter.sync.connect(running.address, calling="CT1"),
    ):
        assert rejected(running.address, "CT1") == (2, 3, 2)
        with isocenter.sync.connect(running.address, calling="B"):
            assert rejected(running.address, "C") == (2, 3, 2)
        assert rejected(running.address, "C") is None


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "SIGHUP has no effect"
        time.sleep(0.02)


def test_reload_while_an_association_is_open(tmp_path: Path, certificates: Certificates) -> None:
    users, config = tmp_path / "users", tmp_path / "isocenter.toml"
    pair = {name: tmp_path / f"tls.{name}" for name in ("certificate", "key")}
    for name, file in pair.items():
        shutil.copy(getattr(certificates.rsa, name), file)
    set_user(users, "anna", "right")
    tls = f'certificate = "{pair["certificate"]}"\nkey = "{pair["key"]}"\nca = "{certificates.ca}"\n'
    dimse = f'[dimse]\nhost = "127.0.0.1"\nport = 0\ntls_port = 0\nusers = "{users}"\n'
    strict = dimse + "check_calling_aet = true\n[tls]\n" + tls
    peer = '[[peer]]\nname = "x"\naet = "KNOWN"\nhost = "127.0.0.1"\nport = 104\n'
    config.write_text(dimse + "[tls]\n" + tls)
    with started("serve", "-d", tmp_path / "data", "-c", config, "--http", "127.0.0.1:0", "--json") as server:
        assert server.stdout is not None
        addresses = json.loads(server.stdout.readline())
        plain, secured = addresses["dimse"], addresses["dimse_tls"]
        with isocenter.sync.connect(plain, calling="OLD") as open_one:
            assert [0] == [outcome.status for outcome in open_one.store([CT])]
            assert rejected(plain, user="bert", passcode="new") == (1, 2, 1)
            set_user(users, "bert", "new")
            assert rejected(plain, user="bert", passcode="new") == (1, 2, 1), "not before SIGHUP"
            for name, file in pair.items():
                shutil.copy(getattr(certificates.server, name), file)
            config.write_text(strict + peer)
            server.send_signal(signal.SIGHUP)
            until(lambda: rejected(plain, "STRANGER") == (1, 1, 3))
            assert rejected(plain, "KNOWN", user="bert", passcode="new") is None
            open_one.echo()
            assert [0] == [outcome.status for outcome in open_one.store([CT])], "who was there goes on"
            assert shown(secured) == certificates.server.certificate.read_text()
            config.write_text(strict + "[[peer]]\nname = 7\n")  # nobody could be known any more
            server.send_signal(signal.SIGHUP)
            assert server.stderr is not None
            while "nothing was reloaded" not in (line := server.stderr.readline()):
                assert line, "the server has ended"
            assert rejected(plain, "KNOWN") is None
            assert rejected(plain, "STRANGER") == (1, 1, 3)


def shown(address: str) -> str:
    """The certificate a TLS listener shows, in PEM form."""
    host, _, port = address.partition("@")[2].rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match=r"dimse\.other_aets"),
        node(tmp_path / "data", dimse_other_aets="A, much too long a title"),
    ):
        pytest.fail("no such title can be")
