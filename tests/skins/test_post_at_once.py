"""A request that is written within the call that brought the answer to the one before, or else not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from isocenter.errors import AssociationAborted, NetworkError
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, Requestor, associate
from isocenter.services.base import Answered, Ready, Response
from isocenter.services.storage import store_request
from isocenter.settings import Settings
from isocenter.ul.connection import FilePart, Payload
from isocenter.wire.command import CommandSet, encode_command
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, EXPLICIT


def command(association: Requestor, number: int) -> CommandSet:
    return store_request(association.next_message_id(), CT, f"1.2.{number}")


def nobody(outcome: Response | NetworkError) -> None:
    raise AssertionError(f"{outcome} for what was not sent")


def ready(association: Requestor, number: int, data_set: list[Payload]) -> Ready:
    one = {**command(association, number), "CommandDataSetType": 1}
    return association.ready(
        association.context_for(CT), one["MessageID"], one["CommandField"], encode_command(one), data_set
    )


def at_once(association: Requestor, number: int, data_set: list[Payload], answered: Answered) -> bool:
    """Make a request ready, and write it if that can be done."""
    return association.post_at_once(ready(association, number, data_set), answered)


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
            assert at_once(association, 2, [b"ef", b"gh"], ended.set_result)

        await association.post(context, command(association, 1), [b"abcd"], answered)
        assert not at_once(association, 3, [b"ab"], nobody)
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

        def tried() -> bool:
            return at_once(association, 2, [b"ab"], nobody)

        def chunks() -> Iterator[bytes]:
            yield b"ab"
            assert busy == "unread" or not tried()
            yield b"cd"

        if busy == "unread":
            association.pause_writing()
            assert not tried()
            association.resume_writing()
        assert (await association.request(context, command(association, 1), chunks())).status == 0

    played(script, work, window=4)


def test_a_file_that_is_shorter_than_it_was_ends_the_association(tmp_path: Path) -> None:
    """It was cut between looking and writing. Half a data set is on the line, and nothing may follow that."""
    whole = os.urandom(600_000)

    def script(scp: RawSCP) -> None:
        scp.accept(4)
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        assert association.sends_files
        path = tmp_path / "object"
        path.write_bytes(whole)
        with path.open("r+b") as file:
            part = FilePart(file.fileno(), 100, len(whole) - 100)
            made = ready(association, 1, [part])
            file.truncate(300_000)
            with pytest.raises(OSError, match="a file is shorter than it was"):
                association.post_at_once(made, nobody)
        assert not association.usable
        assert not at_once(association, 2, [b"ab"], nobody)
        with pytest.raises(AssociationAborted):
            await association.request(association.context_for(CT), command(association, 3), [b"ab"])

    played(script, work, window=4)


@pytest.mark.parametrize("offset", [0, 100, 4096, 5000])
@pytest.mark.parametrize("size", [2, 3000, 600_000])
def test_parts_of_a_file_come_whole_wherever_its_pages_begin(tmp_path: Path, offset: int, size: int) -> None:
    data = os.urandom(offset + size)
    (tmp_path / "object").write_bytes(data)
    seen: list[bytes] = []

    def script(scp: RawSCP) -> None:
        scp.accept(1)
        (one,) = scp.messages(1)
        seen.append(one.data)
        scp.answer(one)

    async def work(association: Requestor) -> None:
        ended = asyncio.get_running_loop().create_future()
        with (tmp_path / "object").open("rb") as file:
            assert at_once(association, 1, [FilePart(file.fileno(), offset, size)], ended.set_result)
            assert (await ended).status == 0

    played(script, work)
    assert [data[offset:]] == seen


def test_a_message_id_that_was_used_meanwhile_is_not_used_twice() -> None:
    def script(scp: RawSCP) -> None:
        scp.accept(4)
        (one,) = scp.messages(1)
        scp.answer(one)
        assert scp.message() is None

    async def work(association: Requestor) -> None:
        made = ready(association, 1, [b"ab"])
        other = {**command(association, 2), "MessageID": made.message_id}
        ended = asyncio.get_running_loop().create_future()
        await association.post(association.context_for(CT), other, [b"cd"], ended.set_result)
        assert not association.post_at_once(made, nobody)
        assert (await ended).status == 0

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
            tried.append(at_once(association, 3, [b"ab"], nobody))

        await association.post(context, command(association, 1), [b"ab"], answered)
        assert (await association.request(context, command(association, 2), [b"cd"])).status == 0
        assert [False] == tried

    played(script, work)
    assert ["1.2.1", "1.2.2"] == seen
