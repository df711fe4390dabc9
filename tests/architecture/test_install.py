"""`pip install .` alone gives a working archive with its viewer: no node, no compiler, nothing from this repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest
from source_tree import ROOT

import peers
import private_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that holds the package and its dependencies, and nothing else."""
    if private_network.is_private() and os.geteuid() != 0:
        pytest.skip("pip needs the machine's network, and only root can go back to it")
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    argv, descriptors = private_network.on_host(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check", "--no-input",
        "install", "--quiet", "--only-binary", ":all:", ROOT,
    )  # fmt: skip
    done = subprocess.run(
        argv, pass_fds=descriptors, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_command_serves_viewer_and_dicomweb(installed: Path, tmp_path: Path) -> None:
    dimse, http = peers.free_port(), peers.free_port()
    argv = [installed / "isocenter", "serve", "--data", tmp_path / "data"]
    argv += ["--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    no_tools = {"PATH": str(tmp_path), "PYTHONPATH": ""}
    with peers.running(argv, log=tmp_path / "log", ports=[dimse, http], environment=no_tools):
        site = f"http://127.0.0.1:{http}"
        assert fetch(site + "/healthz")[0] == 200
        status, page = fetch(site + "/")
        assert status == 200
        parts = re.findall(r'(?:src|href)="(?!https?:|data:|#)([^"]+)"', page)
        assert parts, "the viewer's page names no script and no style sheet"
        assert {part: fetch(f"{site}/{part.lstrip('./')}")[0] for part in parts} == dict.fromkeys(parts, 200)
        assert fetch(site + "/dicomweb/studies")[0] in (200, 204)


def fetch(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode("utf-8", errors="replace")


def test_help_works_and_tests_are_not_installed(installed: Path) -> None:
    done = subprocess.run([installed / "isocenter", "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, "serve" in done.stdout) == (0, True)
    site_packages = next((installed.parent / "lib").glob("python3*/site-packages"))
    assert [name for name in ("tests", "bench", "tools", "fuzz") if (site_packages / name).exists()] == []
