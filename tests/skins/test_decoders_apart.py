"""The server decodes in other processes and outlives them; what nobody can decode is kept and given back."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

import ours
from isocenter.pixels import isolation
from isocenter.pixels.codecs import encode
from isocenter.pixels.layout import Layout
from isocenter.server import Node
from isocenter.wire.part10 import file_meta
from pixel_objects import EXPLICIT, J2K, JPEG, RLE, data_set, element, encapsulated, gradient


def frame(node: Node, ds: pydicom.Dataset) -> tuple[int, bytes]:
    return resource(node, ds, "/frames/1", "application/octet-stream")


def resource(node: Node, ds: pydicom.Dataset, below: str, accept: str) -> tuple[int, bytes]:
    url = (
        f"{node.url}dicomweb/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}{below}"
    )
    request = urllib.request.Request(url, headers={"Accept": accept})
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
    with ours.node(tmp_path / "data", limits_codec_processes=1) as node:
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
        assert b"the codec crashed (signal 11)" in problem
        assert frame(node, ds) == (200, first)
    assert isolation.current() is not pool
    assert pool.processes() == []


def test_an_encoder_that_dies_costs_one_frame_and_not_the_server(tmp_path: Path) -> None:
    """Native pixels that are asked for in JPEG-LS: nothing is to be decoded."""
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    wanted = 'multipart/related; type="image/jls"'
    with ours.node(tmp_path / "data", limits_codec_processes=1) as node:
        file = BytesIO()
        ds.save_as(file, enforce_file_format=True)
        assert stow(node, file.getvalue())[0] == 200
        status, first = resource(node, ds, "/frames/1", wanted)
        assert status == 200
        pool = isolation.current()
        assert pool is not None
        (pid,) = pool.processes()
        os.kill(pid, signal.SIGSEGV)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet found out
        status, problem = resource(node, ds, "/frames/1", wanted)
        assert status == 422
        assert b"the codec crashed (signal 11)" in problem
        status, again = resource(node, ds, "/frames/1", wanted)
        assert (status, len(again)) == (200, len(first))
        assert pool.processes() != [pid]


def hostile() -> Iterator[tuple[str, bytes, str]]:
    """Objects with pixels that lie, as in tests/unit/test_pixel_hostile.py."""
    good = encode(J2K, gradient(8, 8, 1, 8), Layout(8, 8))
    eight = {"rows": 8, "columns": 8}
    yield "65,535 squared", data_set(encapsulated(b"", good), rows=65535, columns=65535), J2K
    yield "another size", data_set(encapsulated(b"", good), rows=9, columns=8), J2K
    yield "cut off", data_set(encapsulated(b"", good[:60]), **eight), J2K
    yield "an empty fragment", data_set(encapsulated(b"", b""), **eight), JPEG
    yield "no fragment", data_set(encapsulated(b""), **eight), RLE
    yield "1e9 frames", data_set(encapsulated(b"", good[:50]), frames=10**9, **eight), J2K
    yield "short native pixels", data_set(bytes(20), **eight), EXPLICIT
    yield "bits that do not fit", data_set(bytes(128), allocated=16, stored=33, **eight), EXPLICIT


def test_what_cannot_be_decoded_is_kept_and_given_back(tmp_path: Path) -> None:
    with ours.node(tmp_path / "data", limits_codec_processes=1) as node:
        for number, (what, pixels, syntax) in enumerate(hostile(), 1):
            ds = pydicom.Dataset()
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2.3", "1.2.4", f"1.2.5.{number}"
            head = b"".join(
                element(tag, "UI", uid.encode() + b"\0" * (len(uid) % 2))
                for tag, uid in (
                    (0x00080016, "1.2.840.10008.5.1.4.1.1.7"),
                    (0x00080018, ds.SOPInstanceUID),
                    (0x0020000D, ds.StudyInstanceUID),
                    (0x0020000E, ds.SeriesInstanceUID),
                )
            )
            data = file_meta("1.2.840.10008.5.1.4.1.1.7", ds.SOPInstanceUID, syntax) + head + pixels
            assert stow(node, data)[0] == 200, what
            status, problem = frame(node, ds)
            assert 400 <= status < 500, what
            assert b"frame" in problem or b"pixel" in problem.lower(), (what, problem)
            status, again = resource(node, ds, "", 'application/dicom; transfer-syntax="*"')
            assert (status, again == data) == (200, True), what


def stow(node: Node, data: bytes) -> tuple[int, bytes]:
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--\r\n"
    request = urllib.request.Request(
        f"{node.url}dicomweb/studies",
        body,
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', "Accept": "application/dicom+json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read()
