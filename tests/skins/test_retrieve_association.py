"""What retrieves ask of an association: patience with a peer that only sends objects, and no half data sets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

import isocenter
import ours
from data_sets import explicit
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.errors import PeerTimeout
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, associate
from isocenter.services.base import Refusal, Reply, Request, Service
from isocenter.services.retrieve import TRANSFER_SYNTAXES
from isocenter.services.storage import StorageService, store_request
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from isocenter.std.sop_classes import STUDY_ROOT_GET
from isocenter.ul.negotiation import Support

CT = "1.2.840.10008.5.1.4.1.1.2"


class SlowGet(Service):
    """Sends an object every 0.6 s, and no pending response; without objects it is silent."""

    name = "slow"

    def __init__(self, objects: int) -> None:
        self.objects = objects

    def sop_classes(self) -> Iterable[str]:
        return (STUDY_ROOT_GET,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return Support(frozenset(TRANSFER_SYNTAXES)) if abstract_syntax == STUDY_ROOT_GET else None

    async def c_get(self, request: Request, data_set: bytes) -> Reply:  # type: ignore[override]
        context, *_ = request.invoker.contexts_for(CT)
        for number in range(self.objects):
            await asyncio.sleep(0.6)
            uid = f"1.2.{number}"
            raw = explicit(0x00080018, "UI", uid.encode() + b"\0" * (len(uid) % 2))
            await request.invoker.request(context, store_request(number + 1, CT, uid), [raw])
        if not self.objects:
            await asyncio.Event().wait()
        return Reply()


@contextlib.asynccontextmanager
async def slow(objects: int) -> AsyncIterator[str]:
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
    storage = StorageService(lambda request: Refusal(Reply()), sends=True)
    server = dimse_server((VerificationService(), SlowGet(objects), storage), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield f"ISOCENTER@127.0.0.1:{server.address[1]}"
    await server.close()


def got(objects: int, patience: float) -> int:
    count = 0

    def sink(request: Request) -> Refusal:
        nonlocal count
        count += 1
        return Refusal(Reply())

    settings = Settings().replace(dimse_response_timeout=patience)
    with ours.background(lambda: slow(objects)) as address, isocenter.sync.connect(address, settings=settings) as pacs:
        answers = list(pacs.get("STUDY", into=sink, sop_classes=[CT], StudyInstanceUID="1.2"))
    assert [0x0000] == [answer.status for answer in answers]
    return count


def test_a_peer_that_sends_objects_is_not_silent() -> None:
    assert 10 == got(10, 5.0), "longer than it may be silent"


def test_a_peer_that_sends_nothing_is() -> None:
    with pytest.raises(PeerTimeout):
        got(0, 2.0)


def test_a_data_set_that_breaks_off_ends_the_association(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(1024)
        yield bytes(1024)
        raise OSError("the disk")

    async def send(address: str) -> bool:
        settings = Settings()
        association = await associate(
            parse_address(address), [Proposal(CT, TRANSFER_SYNTAXES[:1])], calling="X", settings=settings
        )
        with pytest.raises(OSError, match="the disk"):
            await association.request(association.context_for(CT), store_request(1, CT, "1.2.3"), broken())
        return association.usable

    with ours.receiver(tmp_path) as receiver:
        assert not asyncio.run(send(receiver.address))
        assert [] == receiver.stored
