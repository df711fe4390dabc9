"""Requests that we leave early, at peers that never end them: the place in the window is not lost for ever."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from isocenter.errors import NetworkError, PeerTimeout
from isocenter.net.address import parse_address
from isocenter.net.find import answers
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.storage import store_request
from isocenter.services.verification import echo_request
from isocenter.settings import Settings
from isocenter.std.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from isocenter.std.statuses import PENDING
from isocenter.wire.command import Verb, response_to
from raw_peer import Message
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, EXPLICIT

QUESTION = b"\x08\x00\x52\x00CS\x06\x00STUDY "


def played(script: Callable[[RawSCP], None], work: Callable[[Requestor], Coroutine[Any, Any, None]]) -> None:
    async def run(address: str) -> None:
        proposals = [Proposal(uid, (EXPLICIT,)) for uid in (STUDY_ROOT_FIND, VERIFICATION, CT)]
        settings = Settings().replace(dimse_response_timeout=20)
        association = await associate(parse_address(address), proposals, calling="X", settings=settings)
        await asyncio.wait_for(work(association), 20)
        association.abort()
        await association.closed()

    with raw_scp(script) as address:
        asyncio.run(run(address))


def pending(scp: RawSCP, question: Message) -> None:
    """One more answer."""
    command = response_to(question.command, PENDING, CommandDataSetType=0x0001)
    scp.connection.send_message(question.context, command, QUESTION)
    scp.flush()


def hurry(association: Requestor) -> None:
    """From now on the peer has a second to end what is left; for all before it had more than a busy machine takes."""
    association._timeout = 1.0


async def first(association: Requestor) -> None:
    """Ask, and leave with the first answer."""
    async with aclosing(answers(association, association.context_for(STUDY_ROOT_FIND), QUESTION)) as matches:
        assert "STUDY" == (await anext(matches)).QueryRetrieveLevel


async def echo(association: Requestor) -> int:
    context = association.context_for(VERIFICATION)
    return (await association.request(context, echo_request(association.next_message_id()))).status


@pytest.mark.parametrize("talks", [True, False])
def test_a_search_that_the_peer_never_ends_ends_the_association(talks: bool) -> None:
    """Whether it goes on to answer, or says nothing any more."""

    def script(scp: RawSCP) -> None:
        scp.accept()
        (question,) = scp.messages(1)
        pending(scp, question)
        (cancel,) = scp.messages(1)
        assert Verb.C_CANCEL == cancel.command["CommandField"]
        try:
            while talks and not select.select([scp.socket], [], [], 0.01)[0]:
                pending(scp, question)
        except OSError:
            return  # gone between two answers
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        hurry(association)
        await first(association)
        assert not association.usable
        with pytest.raises(NetworkError):
            await echo(association)

    played(script, work)


def test_a_request_whose_task_was_cancelled_holds_its_place_for_a_while_only() -> None:
    """The peer stores for ever, and whoever waits for the place hears why there will be none."""

    def script(scp: RawSCP) -> None:
        scp.accept()
        scp.messages(1)
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        request = store_request(association.next_message_id(), CT, "1.2.3")
        stored = asyncio.create_task(association.request(association.context_for(CT), request, [b"ab"]))
        await asyncio.sleep(0)
        waits = asyncio.create_task(echo(association))
        await asyncio.sleep(0)
        hurry(association)
        stored.cancel()
        with pytest.raises(PeerTimeout, match="did not end a request"):
            await waits
        assert not association.usable

    played(script, work)


def test_one_that_ends_in_time_gives_its_place_back() -> None:
    def script(scp: RawSCP) -> None:
        scp.accept()
        (question,) = scp.messages(1)
        pending(scp, question)
        scp.messages(1)
        pending(scp, question)
        scp.answer(question, 0xFE00)
        for _ in range(3):
            scp.answer(scp.messages(1)[0])
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        await first(association)
        assert [0, 0, 0] == [await echo(association) for _ in range(3)]
        assert association.usable

    played(script, work)
