"""The server decodes in other processes, and outlives them."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

import ours
from isocenter.pixels import isolation
from isocenter.server import Node, running
from isocenter.settings import Settings


def frame(node: Node, ds: pydicom.Dataset) -> tuple[int, bytes]:
    url = (
        f"{node.url}dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}/frames/1"
    )
    request = urllib.request.Request(url, headers={"Accept": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_decoder_that_dies_costs_one_frame_and_not_the_server(tmp_path: Path) -> None:
    path = get_testdata_file("JPEG2000.dcm", download=False)
    assert path is not None
    ds = pydicom.dcmread(path)
    settings = Settings(archive_data=tmp_path / "data", dimse_port=0, web_port=0, limits_codec_processes=1)
    with ours.background(lambda: running(settings)) as node:
        file = BytesIO()
        ds.save_as(file, enforce_file_format=True)
        status, _ = stow(node, file.getvalue())
        assert status == 200
        status, first = frame(node, ds)
        assert status == 200
        pool = isolation.current()
        assert pool is not None
        (pid,) = pool.processes()
        assert pid != os.getpid()
        os.kill(pid, signal.SIGSEGV)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet found out
        status, problem = frame(node, ds)
        assert status == 422
        assert b"the decoder crashed (signal 11)" in problem
        assert frame(node, ds) == (200, first)
    assert isolation.current() is not pool
    assert pool.processes() == []


def stow(node: Node, data: bytes) -> tuple[int, bytes]:
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{node.url}dicomweb/studies",
        body,
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', "Accept": "application/dicom+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read()
