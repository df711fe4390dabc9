"""Our TLS transport between our own two sides, on both event loops, and with peers that do not play along."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import uvloop
from pydicom.data import get_testdata_file

import isocenter
from certificates import Certificates
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.errors import AssociationAborted, CertificateRequired
from isocenter.net.tls import _Phase, client_context
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from ours import receiver

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def rows(certificates: Certificates, **more: object) -> dict[str, object]:
    return {**certificates.server.settings, "tls_ca": certificates.ca, "tls_only": True, **more}


def caller(certificates: Certificates, **more: object) -> Settings:
    return Settings().replace(**{**certificates.client.settings, "tls_ca": certificates.ca, **more})


@pytest.fixture(scope="module")
def large_object() -> bytes:
    """Nine million random bytes of pixels: more than every buffer on the way."""
    data_set = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    data_set.PixelData = os.urandom(9_000_000)
    out = io.BytesIO()
    pydicom.dcmwrite(out, data_set)
    return out.getvalue()


@pytest.mark.parametrize("loop", LOOPS)
def test_objects_cross_whole_on_either_loop(
    loop: str, tmp_path: Path, certificates: Certificates, large_object: bytes
) -> None:
    async def send(address: str) -> list[int | None]:
        small = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
        async with isocenter.connect(address, settings=caller(certificates), tls=True) as peer:
            await peer.echo()
            return [outcome.status async for outcome in peer.store([large_object, small, large_object])]

    with receiver(tmp_path / "in", **rows(certificates)) as server:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            assert [0, 0, 0] == runner.run(send(server.tls_address))
        [first, _, third] = [pydicom.dcmread(path).PixelData for path, _ in server.stored]
    assert first == third == pydicom.dcmread(io.BytesIO(large_object)).PixelData


@pytest.mark.parametrize("loop", LOOPS)
def test_both_sides_on_one_loop_and_the_refused_learn_why(loop: str, certificates: Certificates) -> None:
    async def work() -> None:
        settings = Settings().replace(dimse_tls_port=0, **rows(certificates))
        server = dimse_server((VerificationService(),), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        assert server.tls_address is not None
        address = f"ISOCENTER@127.0.0.1:{server.tls_address[1]}"
        async with isocenter.connect(address, settings=caller(certificates), tls=True) as peer:
            await peer.echo()
            assert server.associations == 1
        nameless = Settings().replace(tls_ca=certificates.ca)
        with pytest.raises(CertificateRequired):
            async with isocenter.connect(address, settings=nameless, tls=True):
                pytest.fail("mutual authentication was asked for")
        await server.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


def wait_for_end(connection: socket.socket) -> None:
    """Until the other side closes; TimeoutError before ARTIM's default has come."""
    connection.settimeout(20)
    while connection.recv(65536):
        pass


def test_who_does_not_finish_the_handshake_is_gone_after_artim(tmp_path: Path, certificates: Certificates) -> None:
    with receiver(tmp_path / "in", **rows(certificates, dimse_artim_timeout=0.6)) as server:
        begun = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", server.tls_port)) as silent,
            socket.create_connection(("127.0.0.1", server.tls_port)) as halting,
        ):
            halting.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the beginning of a ClientHello
            for connection in (silent, halting):
                wait_for_end(connection)
                assert time.monotonic() - begun > 0.5


def test_who_is_silent_after_the_handshake_has_no_longer(tmp_path: Path, certificates: Certificates) -> None:
    context = client_context(caller(certificates))
    with (
        receiver(tmp_path / "in", **rows(certificates, dimse_artim_timeout=3.0)) as server,
        socket.create_connection(("127.0.0.1", server.tls_port)) as plain,
    ):
        until(lambda: any(link.transport for link in server.server._links))
        (link,) = server.server._links
        end = link.connection.next_timeout()
        assert end is not None
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            assert secured.version() == "TLSv1.3"
            until(lambda: getattr(link.transport, "_phase", None) is _Phase.OPEN)
            assert link.connection.next_timeout() == end, "one timer for handshake and request"
            assert secured.recv(1) == b"", "closed with close_notify"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_byte_at_a_time(tmp_path: Path, certificates: Certificates) -> None:
    """Records and PDUs cut everywhere, through a proxy that forwards single bytes."""

    async def work(port: int) -> None:
        over = asyncio.Event()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                for byte in data:
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0)
            writer.close()

        async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            back.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(forward(reader, back), forward(there, writer))
            await asyncio.gather(back.wait_closed(), writer.wait_closed())
            over.set()

        proxy = await asyncio.start_server(both, "127.0.0.1", 0)
        there = proxy.sockets[0].getsockname()[1]
        async with isocenter.connect(f"ISOCENTER@127.0.0.1:{there}", settings=caller(certificates), tls=True) as peer:
            await peer.echo()
        await over.wait()
        proxy.close()
        await proxy.wait_closed()

    with receiver(tmp_path / "in", **rows(certificates)) as server:
        asyncio.run(work(server.tls_port))


def test_a_cut_connection_is_no_release(tmp_path: Path, certificates: Certificates) -> None:
    """Without close_notify the end is an attack or a fault; the association is aborted either way."""

    async def work(port: int) -> None:
        async with isocenter.connect(f"ISOCENTER@127.0.0.1:{port}", settings=caller(certificates), tls=True) as peer:
            await peer.echo()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server.certificate, certificates.server.key)
            plain, _ = listener.accept()
            secured = context.wrap_socket(plain, server_side=True)
            secured.recv(10)
            secured.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(AssociationAborted):
            asyncio.run(work(listener.getsockname()[1]))
        thread.join()


@pytest.mark.parametrize("limit", ["dimse_max_waiting", "dimse_max_waiting_per_address"])
@pytest.mark.parametrize("tls", [True, False])
def test_a_crowd_in_the_waiting_room_is_turned_away(
    tls: bool, limit: str, tmp_path: Path, certificates: Certificates
) -> None:
    with receiver(tmp_path / "in", **rows(certificates, tls_only=False), **{limit: 3}) as server:
        port = server.tls_port if tls else server.port
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        try:
            with socket.create_connection(("127.0.0.1", port)) as one_too_many:
                wait_for_end(waiting[0])  # who has waited longest goes
                one_too_many.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    one_too_many.recv(1)
        finally:
            for one in waiting:
                one.close()
