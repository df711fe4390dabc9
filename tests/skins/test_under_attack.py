"""Hundreds of connections that say nothing, and some that say a byte now and then: everybody else is served."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import isocenter
from isocenter.wire import pdu
from ours import node, receiver
from raw_scu import CT, EXPLICIT

RQ = pdu.encode_associate_rq(
    pdu.AssociateRQ("ISOCENTER", "SLOW", (pdu.ProposedContext(1, CT, (EXPLICIT,)),), pdu.UserInformation())
)
CT_FILE = str(get_testdata_file("CT_small.dcm"))
SILENT, CRAWLING = 300, 60
WAITING, PER_ADDRESS = 200, 100


@contextlib.contextmanager
def attack(port: int) -> Iterator[list[socket.socket]]:
    """Silent connections, and crawling ones that send a byte of a request every tenth of a second."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(SILENT + CRAWLING)]
        over = threading.Event()

        def crawl() -> None:
            for byte in RQ:
                for peer in peers[:: (SILENT + CRAWLING) // CRAWLING]:
                    with contextlib.suppress(OSError):  # it was sent away
                        peer.send(bytes((byte,)))
                if over.wait(0.1):
                    return

        thread = threading.Thread(target=crawl)
        thread.start()
        try:
            yield peers
        finally:
            over.set()
            thread.join()


def closed(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_echo_store_and_find_go_on_and_few_attackers_are_kept(tmp_path: Path) -> None:
    places = {"dimse_max_waiting": WAITING, "dimse_max_waiting_per_address": PER_ADDRESS}
    with node(tmp_path / "data", **places) as running, attack(running.dimse[1]) as attackers:
        for _ in range(20):
            with isocenter.sync.connect(running.address) as peer:
                peer.echo()
                assert [0] == [outcome.status for outcome in peer.store([CT_FILE])]
        with isocenter.sync.connect(running.address) as peer:
            assert 1 == len(list(peer.find("STUDY")))
        assert sum(not closed(attacker) for attacker in attackers) <= PER_ADDRESS


def test_an_association_without_a_request_of_its_own_does_not_keep_others_out(tmp_path: Path) -> None:
    """Who opens associations under ever new titles has them all, up to what one address may have, and no more."""
    rows = {"dimse_max_associations": 12, "dimse_max_associations_per_address": 8}
    with node(tmp_path / "data", **rows) as running, contextlib.ExitStack() as stack:
        refused = 0
        for number in range(12):
            try:
                stack.enter_context(isocenter.sync.connect(running.address, calling=f"MANY{number}"))
            except isocenter.errors.AssociationRejected as error:
                assert (error.result, error.source, error.reason) == (2, 3, 2)
                refused += 1
        assert refused == 4


def test_as_many_descriptors_as_the_limits_need(tmp_path: Path) -> None:
    """Systems that begin with 1024 would have none left for those who have something to say."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with receiver(tmp_path) as running, contextlib.ExitStack() as stack:
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(hard, 4096)
            for _ in range(400):  # two each, as both ends are of this process
                stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            with isocenter.sync.connect(running.address) as peer:
                peer.echo()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
