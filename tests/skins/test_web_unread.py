"""Stored files sent unread (web/unread.py): the bytes that were stored, whatever the connection and the client."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pydicom
import pytest
import uvloop
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from starlette.requests import ClientDisconnect

import ours
import peers
from certificates import Certificates
from isocenter.store.filesystem import FileBlob
from isocenter.web.unread import FileSender, Span
from skins.web_harness import BOUNDARY, multipart, parts_of, saved

PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# Shorter than what is read, just as long, longer than a window, and several of them; odd and even.
SIZES = (10, 64 * 1024, 700_001, 1 << 20, 5_000_003)


@dataclass
class Site:
    """A server and what is in it; `files` by SOP Instance UID."""

    address: tuple[str, int]
    url: str
    context: ssl.SSLContext | None
    study: str
    files: dict[str, bytes]
    stored: list[Path]

    def connect(self) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection(*self.address, timeout=30)
        return http.client.HTTPSConnection(*self.address, timeout=30, context=self.context)

    def get(self, path: str, **headers: str) -> httpx.Response:
        verify = self.context or True
        return httpx.get(f"{self.url}dicomweb/studies/{self.study}{path}", headers=headers, verify=verify, timeout=30)

    @property
    def largest(self) -> str:
        return max(self.files, key=lambda uid: len(self.files[uid]))

    def path_of(self, uid: str) -> str:
        return f"/series/{pydicom.dcmread(get_testdata_file('CT_small.dcm')).SeriesInstanceUID}/instances/{uid}"


def objects() -> tuple[str, dict[str, bytes]]:
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    files = {}
    for number, size in enumerate(SIZES):
        uid = ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.add_new(0x00091010, "OB", hashlib.shake_128(bytes([number])).digest(size + size % 2))
        files[str(uid)] = saved(ds)
    return str(ds.StudyInstanceUID), files


@contextmanager
def serving(folder: Path, loop: str, **settings: Any) -> Iterator[Site]:
    study, files = objects()
    context = None
    rows: dict[str, Any] = {"archive_minimum_free": 0} | settings
    if loop == "TLS":
        peers.require("openssl")
        made = Certificates(folder)
        rows |= {"web_tls": True, "tls_verify_peer": "off", "dimse_host": "127.0.0.1", **made.server.settings}
        context = ssl.create_default_context(cafile=made.ca)
    with pytest.MonkeyPatch.context() as patch:
        if loop == "uvloop":
            patch.setattr(asyncio, "new_event_loop", uvloop.new_event_loop)
        with ours.node(folder / "data", **rows) as node:
            site = Site(node.web, node.url, context, study, files, [])
            answer = httpx.post(
                f"{node.url}dicomweb/studies",
                content=multipart(*files.values()),
                headers={"content-type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'},
                verify=context or True,
            )
            assert answer.status_code == 200
            site.stored = [one for one in (folder / "data" / "objects").rglob("*") if one.is_file()]
            yield site


@pytest.fixture(scope="module", params=["asyncio", "uvloop", "TLS"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("unread"), request.param) as one:
        yield one


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("plain"), "uvloop", web_idle_timeout=3.0) as one:
        yield one


@pytest.mark.parametrize("known", [True, False, None])
def test_a_study_is_the_bytes_that_were_stored(site: Site, known: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the page cache has everything, nothing, or what it has."""
    if known is not None:
        monkeypatch.setattr(FileBlob, "at_hand", lambda blob, offset, length: known)
    answer = site.get("", accept=PARTS)
    parts = parts_of(answer)
    assert [hashlib.sha256(one).digest() for one in site.files.values()] == [
        hashlib.sha256(body).digest() for _, body in parts
    ]
    assert [str(len(one)) for one in site.files.values()] == [headers["content-length"] for headers, _ in parts]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_one_connection_for_everything(site: Site) -> None:
    """What is sent past the transport keeps its place among what is sent by it."""
    connection = site.connect()
    path = f"/dicomweb/studies/{site.study}"
    for uid in (site.largest, *site.files, site.largest):
        connection.request("GET", f"{path}{site.path_of(uid)}", headers={"Accept": "application/dicom"})
        assert connection.getresponse().read() == site.files[uid]
        connection.request("HEAD", path, headers={"Accept": PARTS})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("GET", path, headers={"Accept": "application/dicom+json"})
        assert connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 2_000_000), (1 << 20, (1 << 20) + 1), (4_999_000, 9_999_999)])
def test_ranges_of_an_instance_and_of_its_bulk_data(site: Site, first: int, last: int) -> None:
    whole = site.files[site.largest]
    path = site.path_of(site.largest)
    answer = site.get(path, accept="application/dicom", range=f"bytes={first}-{last}")
    assert (answer.status_code, answer.content) == (206, whole[first : last + 1])
    value = pydicom.dcmread(get_testdata_file("CT_small.dcm")).PixelData
    answer = site.get(f"{path}/bulkdata/7FE00010", accept="application/octet-stream", range="bytes=100-30000")
    assert (answer.status_code, answer.content) == (206, value[100:30001])


@pytest.mark.parametrize("known", [True, False])
def test_frames_are_the_bytes_of_the_pixel_data(site: Site, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are looked for in place or in a thread."""
    monkeypatch.setattr(FileBlob, "at_hand", lambda blob, offset, length: known)
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for uid in site.files:
        frame = f"{site.path_of(uid)}/frames/1"
        alone = site.get(frame, accept="application/octet-stream")
        assert (alone.headers["content-length"], alone.content) == (str(len(ds.PixelData)), ds.PixelData)
        ((headers, body),) = parts_of(site.get(frame, accept='multipart/related; type="application/octet-stream"'))
        assert body == ds.PixelData
        assert headers["content-location"].endswith(frame)
        assert site.get(f"{site.path_of(uid)}/frames/1,2").status_code == 404


def test_requests_that_do_not_wait_for_answers(site: Site) -> None:
    path = f"/dicomweb/studies/{site.study}"
    requests = b"".join(
        f"GET {path}{site.path_of(uid)} HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom\r\n\r\n".encode()
        for uid in site.files
    )
    connection = site.connect()
    connection.connect()
    connection.sock.sendall(requests)
    reader = connection.sock.makefile("rb")
    for uid in site.files:
        assert reader.readline().startswith(b"HTTP/1.1 200")
        fields = {}
        while line := reader.readline().strip():
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        assert reader.read(int(fields[b"content-length"])) == site.files[uid]
    connection.close()


def test_a_client_that_reads_slowly_gets_every_byte(site: Site) -> None:
    uid = site.largest
    connection = site.connect()
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sock.connect(site.address)
    if site.context is not None:
        connection.sock = site.context.wrap_socket(connection.sock, server_hostname="localhost")
    connection.request(
        "GET", f"/dicomweb/studies/{site.study}{site.path_of(uid)}", headers={"Accept": "application/dicom"}
    )
    answer = connection.getresponse()
    taken = []
    while piece := answer.read(9_973):
        taken.append(piece)
        if len(taken) % 16 == 0:
            time.sleep(0.001)
    assert b"".join(taken) == site.files[uid]
    connection.close()


def within(seconds: float, test: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not test() and time.monotonic() < until:
        time.sleep(0.02)
    return test()


def open_objects(site: Site) -> int:
    """Descriptors of this process on stored objects."""
    stored = {os.fspath(one) for one in site.stored}
    count = 0
    for one in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{one}") in stored
    return count


@pytest.mark.parametrize("how", ["reset", "close"])
def test_clients_that_go_away_leave_nothing_open(site: Site, how: str, caplog: pytest.LogCaptureFixture) -> None:
    before = open_objects(site)
    for _ in range(10):
        one = socket.create_connection(site.address, timeout=30)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if site.context is not None:
            one = site.context.wrap_socket(one, server_hostname="localhost")
        one.sendall(f"GET /dicomweb/studies/{site.study} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        if how == "reset":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.close()
    assert within(30, lambda: open_objects(site) <= before)
    assert len(parts_of(site.get("", accept=PARTS))) == len(site.files)
    assert not [record for record in caplog.records if record.levelname == "ERROR"], caplog.text


def test_one_that_does_not_read_is_ended_and_its_file_closed(plain: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter.web")
    before = open_objects(plain)
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(plain.address)
        one.sendall(f"GET /dicomweb/studies/{plain.study} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        assert within(30, lambda: "does not take its answer" in caplog.text)
    assert within(30, lambda: open_objects(plain) <= before)


def test_a_file_that_becomes_shorter_ends_the_connection(tmp_path: Path) -> None:
    """After the head is out nothing else tells the client that the answer is not whole."""
    with serving(tmp_path, "uvloop") as site, socket.socket() as one:
        one.settimeout(30)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(site.address)
        path = f"/dicomweb/studies/{site.study}{site.path_of(site.largest)}"
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom\r\n\r\n".encode())
        received = bytearray(one.recv(100))
        os.truncate(max(site.stored, key=lambda path: path.stat().st_size), 4_999_000)
        with suppress(ConnectionResetError):
            while piece := one.recv(65536):
                received += piece
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        assert f"content-length: {len(site.files[site.largest])}".encode() in head.lower()
        assert len(body) <= 4_999_000
        assert site.files[site.largest].startswith(body)


def test_a_file_that_is_gone_is_told_by_the_status(tmp_path: Path) -> None:
    """As long as the head is not out, which waits for the first files; nothing of the others stays open."""
    with serving(tmp_path, "asyncio") as site:
        uids, lengths = list(site.files), {path.stat().st_size: path for path in site.stored}
        lengths[len(site.files[uids[1]])].unlink()
        before = open_objects(site)
        answer = site.get("", accept=PARTS)
        assert (answer.status_code, "is not there" in answer.text) == (404, True)
        assert within(30, lambda: open_objects(site) == before)
        assert site.get(site.path_of(uids[2]), accept="application/dicom").content == site.files[uids[2]]


# --- the sender alone


class Flow:
    write_paused = False

    async def drain(self) -> None:
        raise AssertionError("nobody is slow here")


class FakeTransport:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.closing = False
        self.limits: list[int | None] = []

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.connection

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        self.limits.append(high)


@pytest.fixture
def parts() -> Iterator[tuple[FakeTransport, socket.socket, Span]]:
    descriptor = os.memfd_create("object")
    os.write(descriptor, b"0123456789")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        near.setblocking(False)
        with near:
            yield FakeTransport(near), far, Span(FileBlob(descriptor), 2, 6)


def cycle(length: int, **more: Any) -> Any:
    return SimpleNamespace(disconnected=False, expected_content_length=length, chunked_encoding=False, **more)


def test_heads_and_spans_in_their_order(parts: tuple[FakeTransport, socket.socket, Span]) -> None:
    transport, far, span = parts
    told = cycle(13)

    async def work() -> None:
        sender = FileSender(transport, Flow(), told, plain=True)  # type: ignore[arg-type]
        await sender.send([b"head", span, b"end"])
        await sender.finish()

    asyncio.run(work())
    far.settimeout(30)
    assert far.recv(13, socket.MSG_WAITALL) == b"head234567end"
    assert told.expected_content_length == 0
    assert (transport.limits[0], transport.limits[-1]) == (0, None)


def test_several_files_in_one_call(parts: tuple[FakeTransport, socket.socket, Span]) -> None:
    """Heads go with the files, and a few bytes alone wait for more."""
    transport, far, span = parts
    told = cycle(24)

    async def work() -> None:
        sender = FileSender(transport, Flow(), told, plain=True)  # type: ignore[arg-type]
        await sender.send([b"one", span, b"two", b"three", span._replace(offset=0, length=3), b"end"])
        assert told.expected_content_length == 1
        await sender.send([b"s"])
        assert told.expected_content_length == 1
        await sender.finish()

    asyncio.run(work())
    far.settimeout(30)
    assert far.recv(24, socket.MSG_WAITALL) == b"one234567twothree012ends"
    assert told.expected_content_length == 0


def test_no_more_than_was_announced(parts: tuple[FakeTransport, socket.socket, Span]) -> None:
    transport, _, span = parts
    for told in (cycle(5), cycle(100)):
        told.chunked_encoding = None if told.expected_content_length == 100 else False
        with pytest.raises(RuntimeError, match="longer than was announced"):
            asyncio.run(FileSender(transport, Flow(), told, plain=True).send([span]))  # type: ignore[arg-type]


def test_nothing_is_written_to_a_connection_that_is_over(parts: tuple[FakeTransport, socket.socket, Span]) -> None:
    """Its descriptor may be that of another client by now."""
    transport, far, span = parts
    transport.closing = True
    told = cycle(6)
    with pytest.raises(ClientDisconnect):
        asyncio.run(FileSender(transport, Flow(), told, plain=True).send([span]))  # type: ignore[arg-type]
    assert told.disconnected
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(1)
