"""A request that is written within the call that brought the answer to the one before, or else not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from isocenter.errors import AssociationAborted, NetworkError
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.base import Response
from isocenter.services.storage import store_request
from isocenter.settings import Settings
from isocenter.wire.command import CommandSet
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, EXPLICIT


def command(association: Requestor, number: int) -> CommandSet:
    return store_request(association.next_message_id(), CT, f"1.2.{number}")


def nobody(outcome: Response | NetworkError) -> None:
    raise AssertionError(f"{outcome} for what was not sent")


def played(
    script: Callable[[RawSCP], None], work: Callable[[Requestor], Coroutine[Any, Any, None]], window: int = 1
) -> None:
    """Associate with a peer that plays `script`, and do `work`."""

    async def run(address: str) -> None:
        proposals = [Proposal(CT, (EXPLICIT,))]
        settings = Settings().replace(dimse_response_timeout=20.0)
        peer = parse_address(address)
        association = await associate(peer, proposals, calling="X", settings=settings, window=window)
        await work(association)
        association.abort()
        await association.closed()

    with raw_scp(script) as address:
        asyncio.run(run(address))


def test_it_is_written_when_the_answer_comes_and_not_before() -> None:
    seen: list[str] = []

    def script(scp: RawSCP) -> None:
        scp.accept(1)
        first = scp.messages(1)[0]
        assert scp.quiet(0.05)
        scp.answer(first)
        second = scp.messages(1)[0]
        seen.extend(one.command["AffectedSOPInstanceUID"] for one in (first, second))
        assert (b"abcd", b"efgh") == (first.data, second.data)
        scp.answer(second, 0xA700)

    async def work(association: Requestor) -> None:
        context, ended = association.context_for(CT), asyncio.get_running_loop().create_future()

        def answered(outcome: Response | NetworkError) -> None:
            assert isinstance(outcome, Response)
            assert outcome.status == 0
            assert association.post_at_once(context, command(association, 2), [b"ef", b"gh"], ended.set_result)

        await association.post(context, command(association, 1), [b"abcd"], answered)
        assert not association.post_at_once(context, command(association, 3), [b"ab"], nobody)
        assert 0xA700 == (await ended).status

    played(script, work)
    assert ["1.2.1", "1.2.2"] == seen


@pytest.mark.parametrize("busy", ["data set", "unread"])
def test_it_waits_for_nobody(busy: str) -> None:
    """Neither for the end of a data set on the line, nor for a peer that does not read."""

    def script(scp: RawSCP) -> None:
        scp.accept(4)
        (only,) = scp.messages(1)
        assert "1.2.1" == only.command["AffectedSOPInstanceUID"]
        scp.answer(only)
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        context = association.context_for(CT)

        def at_once() -> bool:
            return association.post_at_once(context, command(association, 2), [b"ab"], nobody)

        def chunks() -> Iterator[bytes]:
            yield b"ab"
            assert busy == "unread" or not at_once()
            yield b"cd"

        if busy == "unread":
            association.pause_writing()
            assert not at_once()
            association.resume_writing()
        assert (await association.request(context, command(association, 1), chunks())).status == 0

    played(script, work, window=4)


def test_a_data_set_that_breaks_off_ends_the_association() -> None:
    def script(scp: RawSCP) -> None:
        scp.accept(4)
        assert scp.message() is None

    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("the disk is gone")

    async def work(association: Requestor) -> None:
        context = association.context_for(CT)
        with pytest.raises(OSError, match="the disk is gone"):
            association.post_at_once(context, command(association, 1), broken(), nobody)
        assert not association.usable
        assert not association.post_at_once(context, command(association, 2), [b"ab"], nobody)
        with pytest.raises(AssociationAborted):
            await association.request(context, command(association, 3), [b"ab"])

    played(script, work, window=4)


def test_who_waits_for_a_place_in_the_window_has_it_first() -> None:
    seen: list[str] = []

    def script(scp: RawSCP) -> None:
        scp.accept(1)
        for _ in range(2):
            (one,) = scp.messages(1)
            seen.append(one.command["AffectedSOPInstanceUID"])
            scp.answer(one)

    async def work(association: Requestor) -> None:
        context = association.context_for(CT)
        tried: list[bool] = []

        def answered(outcome: Response | NetworkError) -> None:
            tried.append(association.post_at_once(context, command(association, 3), [b"ab"], nobody))

        await association.post(context, command(association, 1), [b"ab"], answered)
        assert (await association.request(context, command(association, 2), [b"cd"])).status == 0
        assert [False] == tried

    played(script, work)
    assert ["1.2.1", "1.2.2"] == seen
