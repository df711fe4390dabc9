"""echo, store, receive and serve as a user types them: output, exit codes and signals."""

from __future__ import annotations

import json
import urllib.request
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import peers
from command import isocenter, started

pytestmark = pytest.mark.interop

CT = Path(str(get_testdata_file("CT_small.dcm")))
MR = Path(str(get_testdata_file("MR_small.dcm")))


def test_receive_echo_and_store(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(MR, "deep/inside/mr")
        archive.writestr("readme.txt", "not DICOM")
    with started("receive", tmp_path / "in", "--listen", "127.0.0.1:0", "--aet", "FOLDER", "--json") as server:
        assert server.stderr is not None
        address = server.stderr.readline().split()[2]
        assert address.startswith("FOLDER@127.0.0.1:")
        echo = isocenter("echo", address, "-n", 3, "--json")
        assert (echo.returncode, len(json.loads(echo.stdout)["echo_ms"])) == (0, 3)
        store = isocenter("store", address, CT, tmp_path / "more.zip", "--json", "--jobs", 2)
        assert store.returncode == 0, store.stderr
        outcomes = [json.loads(line) for line in store.stdout.splitlines()]
        assert [outcome["status"] for outcome in outcomes] == [0, 0]
        assert server.stdout is not None
        files = [json.loads(server.stdout.readline()) for _ in range(2)]
    assert {file["sop_instance"] for file in files} == {outcome["sop_instance"] for outcome in outcomes}
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_exit_codes_say_what_went_wrong(tmp_path: Path) -> None:
    nobody = f"X@127.0.0.1:{peers.free_port()}"
    assert isocenter("echo", nobody).returncode == 3
    assert isocenter("echo", "no-address").returncode == 2
    assert isocenter("store", nobody, tmp_path / "absent").returncode == 2
    with peers.pynetdicom_scp(status=0xA700) as (address, _):
        refused = isocenter("store", address, CT)
    assert refused.returncode == 1
    assert "A700" in refused.stderr


def test_serve_second_server_and_graceful_end(tmp_path: Path) -> None:
    options = ("--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json")
    with started("serve", "--data", tmp_path / "data", "--aet", "PACS", *options) as server:
        assert server.stdout is not None
        addresses = json.loads(server.stdout.readline())
        assert isocenter("store", addresses["dimse"], CT).returncode == 0
        with urllib.request.urlopen(addresses["dicomweb"] + "/instances") as answer:
            assert len(json.load(answer)) == 1
        second = isocenter("serve", "--data", tmp_path / "data", *options)
        assert second.returncode == 4
        assert "another" in second.stderr.lower()
        port = addresses["dimse"].rpartition(":")[2]
        taken = isocenter("serve", "--data", tmp_path / "other", "--dimse", f"127.0.0.1:{port}", *options[2:])
        assert taken.returncode == 4
        assert "cannot listen" in taken.stderr
    assert isocenter("check", "--data", tmp_path / "data").returncode == 0
