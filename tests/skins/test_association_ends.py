"""Peers that are slow, silent, gone, or do things at the wrong time: every association ends, on either side of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

import isocenter
import ours
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.errors import AssociationAborted, NetworkError, PeerTimeout
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.storage import store_request
from isocenter.services.verification import VerificationService, echo_request
from isocenter.settings import Settings
from isocenter.ul import events
from isocenter.wire import pdu
from ours import Receiver
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, ECHO, EXPLICIT, raw_scu

RQ = pdu.encode_associate_rq(
    pdu.AssociateRQ("ISOCENTER", "SLOW", (pdu.ProposedContext(1, ECHO, (EXPLICIT,)),), pdu.UserInformation())
)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Its patience is more than a busy machine takes between two steps of a test."""
    with ours.receiver(tmp_path, dimse_artim_timeout=3.0, dimse_idle_timeout=3.0) as running:
        yield running
        wait_for(lambda: not running.server._links)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Receiver]:
    """For those with whom no association is made."""
    with ours.receiver(tmp_path, dimse_artim_timeout=0.5) as running:
        yield running
        wait_for(lambda: not running.server._links)


def wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- we are the server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 5, 6, 40, len(RQ) - 1])
def test_a_request_that_stops_somewhere(impatient: Receiver, cut: int) -> None:
    with raw_scu(impatient.port) as scu:
        scu.send(RQ[:cut])
        with contextlib.suppress(ConnectionError):  # it was closed before these bytes came (RFC 1122 section 4.2.2.13)
            assert scu.rest() == b""


def test_bytes_now_and_then_do_not_restart_artim(impatient: Receiver) -> None:
    with raw_scu(impatient.port) as scu:
        scu.socket.settimeout(0.1)
        sent, answer = 0, None
        while answer is None and sent < len(RQ):
            try:
                scu.send(RQ[sent : sent + 1])
                answer = scu.socket.recv(1)
            except TimeoutError:
                pass
            except ConnectionError:  # it was closed with this byte on its way (RFC 1122 section 4.2.2.13)
                answer = b""
            sent += 1
        assert answer == b""
        assert sent < len(RQ)


def test_silence_within_an_association(receiver: Receiver) -> None:
    with raw_scu(receiver.port) as scu:
        scu.associate((ECHO, (EXPLICIT,)))
        assert scu.event() == events.Aborted(pdu.Abort(2, 0), False, pdu.Abort(2, 0).explanation)


def test_half_closed_connections(receiver: Receiver) -> None:
    with raw_scu(receiver.port) as scu:
        scu.associate((ECHO, (EXPLICIT,)))
        scu.socket.shutdown(socket.SHUT_WR)
        assert scu.rest() == b""
        wait_for(lambda: receiver.server.associations == 0)


def test_requests_of_a_peer_that_reads_no_response(receiver: Receiver) -> None:
    """What it sends fills the buffers of both kernels, what we keep for it is bounded, and then it is silent."""
    with raw_scu(receiver.port) as scu:
        scu.associate((ECHO, (EXPLICIT,)))
        (link,) = receiver.server._links
        assert link.transport is not None
        link.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        scu.connection.send_message(1, echo_request(1))
        echoes = b"".join(scu.connection.data_to_send()) * 1000
        sent = 0
        scu.socket.settimeout(0.5)
        with contextlib.suppress(OSError):  # nothing more is taken, or it has ended
            while sent < 32 << 20:
                sent += scu.socket.send(echoes)
                kept_for_it(receiver)
        # Though nothing of the A-ABORT is read, either
        wait_for(lambda: not kept_for_it(receiver) and not receiver.server._links)
        assert receiver.server.associations == 0


def kept_for_it(receiver: Receiver) -> bool:
    """Whether anything is waiting to be written; there are never more than a few responses."""
    most = max(map(buffered, list(receiver.server._links)), default=0)
    assert most < 1 << 18
    return most > 0


def buffered(link: object) -> int:
    transport = getattr(link, "transport", None)
    return 0 if transport is None else transport.get_write_buffer_size()


def test_a_peer_that_waits_for_its_release_to_be_answered_closes_when_it_is(receiver: Receiver) -> None:
    with raw_scu(receiver.port) as scu:
        scu.associate((ECHO, (EXPLICIT,)))
        scu.connection.release()
        scu.flush()
        assert scu.event() == events.Released()
        # It does not close: ARTIM does (Sta13).
        assert scu.rest() == b""


LOOPS = pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@LOOPS
def test_a_connection_that_comes_while_the_server_stops(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """It is accepted in the turn of the loop in which close() begins, and closed like the others."""

    async def scenario() -> list[dict[str, object]]:
        settings = Settings().replace(dimse_port=0)
        server = dimse_server((VerificationService(),), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        with socket.create_connection(server.address, 20) as peer:  # the kernel has accepted it
            await asyncio.sleep(0)
            await asyncio.create_task(server.close())
            assert await asyncio.to_thread(peer.recv, 1) == b""
        return faults

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert [] == runner.run(scenario())


# --- we are the client -----------------------------------------------------------------------------------------------

# How long a peer may take that does not answer; the others have all the time they need.
IMPATIENT = Settings().replace(dimse_response_timeout=2.0, dimse_artim_timeout=0.5)


def silent(scp: RawSCP) -> None:
    assert isinstance(scp.event(), events.AssociationRequested)
    scp.event()


def accepts_and_is_silent(scp: RawSCP) -> None:
    scp.accept()
    while scp.event() is not None:
        pass


def aborts_the_request(scp: RawSCP) -> None:
    scp.event()
    scp.send(pdu.encode_abort(pdu.Abort(0, 0)))


def closes_after_the_request(scp: RawSCP) -> None:
    scp.event()


def answers_nonsense(scp: RawSCP) -> None:
    scp.event()
    scp.send(b"\x99" * 100)
    scp.event()


def half_an_answer(scp: RawSCP) -> None:
    scp.event()
    scp.send(pdu.PDU_HEADER.pack(pdu.A_ASSOCIATE_AC, 200) + bytes(100))
    scp.event()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silent, PeerTimeout),
        (half_an_answer, PeerTimeout),
        (aborts_the_request, AssociationAborted),
        (closes_after_the_request, AssociationAborted),
        (answers_nonsense, AssociationAborted),
    ],
)
def test_no_association_comes_of_it(script: Callable[[RawSCP], None], error: type[NetworkError]) -> None:
    settings = IMPATIENT.replace(dimse_connect_timeout=2.0) if error is PeerTimeout else Settings()
    with raw_scp(script) as address, pytest.raises(error), isocenter.sync.connect(address, settings=settings):
        pytest.fail("there is no association")


def test_no_response() -> None:
    with (
        raw_scp(accepts_and_is_silent) as address,
        pytest.raises(PeerTimeout),
        isocenter.sync.connect(address, settings=IMPATIENT) as pacs,
    ):
        pacs.echo()


def test_no_answer_to_a_release() -> None:
    with raw_scp(accepts_and_is_silent) as address, isocenter.sync.connect(address, settings=IMPATIENT):
        pass


def test_what_is_over_is_gone_without_the_collector(receiver: Receiver) -> None:
    """Ten thousand associations are not to wait in memory until it comes."""

    async def echo() -> weakref.ref[Requestor]:
        association = await associate(
            parse_address(receiver.address), [Proposal(ECHO, (EXPLICIT,))], calling="X", settings=Settings()
        )
        response = await association.request(association.context_for(ECHO), echo_request(1))
        assert response.status == 0
        await association.release()
        return weakref.ref(association)

    gc.disable()
    try:
        assert asyncio.run(echo())() is None
    finally:
        gc.enable()


def test_release_collision() -> None:
    """Both ask for release at once: the requestor answers first, then the acceptor (PS3.8 section 9.2.2, Sta9 on)."""
    done = threading.Event()

    def script(scp: RawSCP) -> None:
        scp.accept()
        event = scp.event()
        assert isinstance(event, events.ReleaseRequested)
        # As if ours had been sent before theirs came: their answer to it is next, then ours.
        scp.send(pdu.A_RELEASE_RQ_PDU)
        assert scp.socket.recv(10) == pdu.A_RELEASE_RP_PDU
        scp.send(pdu.A_RELEASE_RP_PDU)
        assert scp.socket.recv(10) == b""
        done.set()

    with raw_scp(script) as address, isocenter.sync.connect(address):
        pass
    assert done.is_set()


@pytest.mark.parametrize("ending", [pdu.A_RELEASE_RQ_PDU, pdu.encode_abort(pdu.Abort(2, 0)), b"\x99" * 20, b""])
def test_the_peer_ends_it_while_we_wait_for_a_response(ending: bytes) -> None:
    def script(scp: RawSCP) -> None:
        scp.accept()
        assert scp.message() is not None
        scp.send(ending)
        if ending:
            scp.event()

    with raw_scp(script) as address, pytest.raises(NetworkError), isocenter.sync.connect(address) as pacs:
        pacs.echo()


def test_a_peer_that_stops_reading_while_we_send() -> None:
    """No response is awaited yet, so the idle timer ends it; and the A-ABORT that nobody reads holds nothing up."""

    def script(scp: RawSCP) -> None:
        scp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        scp.accept()
        done.wait(120)

    async def send(address: str) -> None:
        settings = Settings().replace(dimse_idle_timeout=1.0, dimse_artim_timeout=0.5)
        association = await associate(
            parse_address(address), [Proposal(CT, (EXPLICIT,))], calling="X", settings=settings
        )
        try:
            chunks = (bytes(1 << 20) for _ in range(64))
            with pytest.raises(AssociationAborted, match="silent"):
                await association.request(association.context_for(CT), store_request(1, CT, "1.2.3"), chunks)
            await asyncio.wait_for(association.over.wait(), 60)
        finally:
            done.set()

    done = threading.Event()
    with raw_scp(script) as address:
        asyncio.run(send(address))


@LOOPS
def test_opening_that_is_cancelled_at_any_step(
    tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def cancelled(address: str, steps: int) -> bool:
        task = asyncio.create_task(
            associate(parse_address(address), [Proposal(ECHO, (EXPLICIT,))], calling="TEST", settings=Settings())
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        if not task.cancel():
            await (await task).release()
            return False
        with pytest.raises(asyncio.CancelledError):
            await task
        return True

    async def at_every_step(address: str) -> list[str]:
        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(str(context)))
        steps = 0
        while await cancelled(address, steps):
            steps += 1
            assert steps < 100_000
        return faults

    with ours.receiver(tmp_path) as receiver, asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(at_every_step(f"TEST@127.0.0.1:{receiver.port}")) == []


def test_a_connection_that_was_taken_over_and_is_gone_is_not_kept() -> None:
    """As a process of `isocenter receive` takes them over (serve())."""

    async def taken_over() -> None:
        server = dimse_server((VerificationService(),), Settings().replace(dimse_drain_timeout=60.0))
        gone = socket.socket()
        gone.setblocking(False)
        gone.detach()
        with pytest.raises((OSError, ValueError)):
            await server.serve(gone)
        async with asyncio.timeout(30):  # for what is kept it would wait for the drain time
            await server.close()

    asyncio.run(taken_over())
