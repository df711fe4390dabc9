"""Every code block of the documentation runs as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from pages import ROOT, Block, Command, blocks, commands, matches, pages
from pydicom.data import get_testdata_file

import peers

RUNNABLE = ("python", "console")
SAMPLES = ("CT_small.dcm", "examples_overlay.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm")
PAGES = [page for page in pages() if any(b.language in RUNNABLE and not b.not_run for b in blocks(page))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the pages assume: a folder `scans` with a few DICOM files."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in SAMPLES:
        shutil.copy(str(get_testdata_file(name)), scans / name)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.timeout(300)
def test_page(page: Path, folder: Path) -> None:
    """Blocks run in order; servers that a page starts run until its end, on the ports the page names."""
    peers.require_private_network()
    with ExitStack() as servers:
        for block in blocks(page):
            if block.language in RUNNABLE and block.not_run is None:
                run(block, folder, servers)


def run(block: Block, folder: Path, servers: ExitStack) -> None:
    where = f"{block.page.name}:{block.line}"
    if block.language == "python":
        done = execute([sys.executable, "-W", "error", "-c", block.text], folder)
        assert done.returncode == 0, f"{where}\n{done.stdout}"
        return
    for command in commands(block):
        ports = listening_ports(command)
        if ports:
            argv = ["bash", "-c", f"exec {command.line}"]
            servers.enter_context(in_folder(argv, ports, folder))
            continue
        done = execute(["bash", "-e", "-o", "pipefail", "-c", command.line], folder)
        assert done.returncode == 0, f"{where}: {command.line}\n{done.stdout}"
        if command.expected:
            assert matches(command.expected, done.stdout), f"{where}: {command.line}\n{done.stdout}"


def in_folder(argv: list[str], ports: list[int], folder: Path) -> ExitStack:
    stack = ExitStack()
    argv = ["env", f"--chdir={folder}", f"PATH={path()}", *argv]
    stack.enter_context(peers.running(argv, log=folder / f"server-{ports[0]}.log", ports=ports))
    return stack


def listening_ports(command: Command) -> list[int]:
    """Ports on which a command will listen until it is ended; none for a command that ends by itself."""
    words = command.line.split()
    program = words[:2]
    if program == ["isocenter", "serve"]:
        return [port_after(words, "--dimse", 11112), port_after(words, "--http", 8042)]
    if program == ["isocenter", "receive"]:
        return [port_after(words, "--listen", 11112)]
    if words[0] == "storescp":
        return [int(words[-1])]
    return []


def port_after(words: list[str], option: str, default: int) -> int:
    return int(words[words.index(option) + 1].rpartition(":")[2]) if option in words else default


def execute(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=folder,
        env={**peers.ENVIRONMENT, "PATH": path(), "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def path() -> str:
    """Ours last: pynetdicom puts a storescu of its own beside our command."""
    return f"{peers.ENVIRONMENT['PATH']}:{Path(sys.executable).parent}"


def test_reasons_for_not_running_are_given() -> None:
    left_out = [b for page in pages() for b in blocks(page) if b.language in RUNNABLE and b.not_run is not None]
    assert [f"{b.page.name}:{b.line}" for b in left_out if len(b.not_run or "") < 10] == []


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert matches("stored 3 ... in ... s", "stored 3 objects,\nnone refused, in 0.1 s\n")
    assert not matches("stored 3", "stored 30")
    assert not matches("st.red", "stored")
