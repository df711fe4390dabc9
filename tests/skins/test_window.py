"""The Asynchronous Operations Window as SCU: how many requests are under way, whose response is whose, and the ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import isocenter
import ours
from command import isocenter as run_isocenter
from ct_objects import number, number_of, objects
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, associate
from isocenter.services.base import Reply, Request
from isocenter.services.storage import StorageService, store_request
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from isocenter.std.sop_classes import STUDY_ROOT_FIND
from isocenter.ul import events
from isocenter.wire import pdu
from isocenter.wire.command import Verb
from raw_peer import Message
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, EXPLICIT


def stored(address: str, count: int, window: int = 8) -> list[tuple[int, int | None]]:
    settings = Settings().replace(dimse_window=window)
    with isocenter.sync.connect(address, settings=settings) as peer:
        outcomes = list(peer.store(objects(count)))
    return [(number_of(outcome.sop_instance), outcome.status) for outcome in outcomes]


def again(scp: RawSCP) -> bool:
    """The association that entering opens has no Storage contexts; it is released for one that has."""
    if any(context.abstract_syntax.startswith("1.2.840.10008.5.1.4.1.1.") for context in scp.rq.contexts):  # type: ignore[union-attr]
        return True
    scp.released()
    return False


@pytest.mark.parametrize(
    ("answered", "asked", "expected"), [(3, 8, 3), (8, 8, 8), (20, 8, 8), (0, 8, 8), (None, 8, 1), (5, 1, 1), (1, 8, 1)]
)
def test_as_many_as_was_agreed_and_outcomes_in_order(answered: int | None, asked: int, expected: int) -> None:
    offered: list[object] = []

    def script(scp: RawSCP) -> None:
        scp.accept(answered)
        if not again(scp):
            return
        assert scp.rq is not None
        offered.append(scp.rq.user.async_operations)
        left = 12
        while left:
            messages = scp.messages(min(expected, left))
            assert scp.quiet()
            assert len({message.command["MessageID"] for message in messages}) == len(messages)
            for message in reversed(messages):
                scp.answer(message, 0xB000 + number(message.command))
            left -= len(messages)
        scp.released()

    with raw_scp(script) as address:
        assert [(n, 0xB000 + n) for n in range(12)] == stored(address, 12, asked)
    assert offered == [(asked, 1) if asked > 1 else None]


def test_a_slow_one_stops_those_behind_it_only_after_a_while() -> None:
    def script(scp: RawSCP) -> None:
        scp.accept(4)
        if not again(scp):
            return
        slow = scp.message()
        assert slow is not None
        ahead = scp.messages(3)
        others = 0
        while ahead:
            scp.answer(ahead.pop(0))
            others += 1
            if others < 15:
                ahead += scp.messages(1) if others <= 12 else []
        assert scp.quiet(), "sixteen are begun, the first of them included"
        scp.answer(slow)
        for message in scp.messages(20 - 16):
            scp.answer(message)
        scp.released()

    with raw_scp(script) as address:
        assert [(n, 0) for n in range(20)] == stored(address, 20)


def test_an_abort_in_the_middle_gives_each_its_outcome_and_the_rest_goes_on() -> None:
    associations: list[list[int]] = []

    def script(scp: RawSCP) -> None:
        scp.accept(4)
        if not again(scp):
            return
        associations.append([])
        if len(associations) == 1:
            first = scp.messages(4)
            scp.answer(first[2])
            scp.messages(1)
            scp.send(pdu.encode_abort(pdu.Abort(0, 0)))
            return
        while (message := scp.message()) is not None:
            associations[-1].append(number(message.command))
            scp.answer(message)
        scp.connection.release_response()
        scp.flush()

    with raw_scp(script) as address:
        outcomes = stored(address, 10)
    assert [n for n, _ in outcomes] == list(range(10))
    assert [n for n, status in outcomes if status is None] == [0, 1, 3, 4]
    assert associations[1] == [5, 6, 7, 8, 9]


def test_leaving_early_waits_for_what_is_under_way() -> None:
    ended: list[events.UpperLayerEvent | None] = []

    def script(scp: RawSCP) -> None:
        scp.accept(4)
        if not again(scp):
            return
        messages = scp.messages(4)
        for message in messages:
            scp.answer(message)
        while isinstance(event := scp.event(), events.MessageStarted):
            data = scp.event()
            while isinstance(data, events.DataSetChunk) and not data.last:
                data = scp.event()
            scp.answer(Message(event.context_id, event.command, b""))
        ended.append(event)
        scp.connection.release_response()
        scp.flush()

    with raw_scp(script) as address, isocenter.sync.connect(address) as peer:
        for outcome in peer.store(objects(12)):
            assert outcome.ok
            break
    assert ended == [events.ReleaseRequested()]


def test_responses_nobody_reads_yet_do_not_hold_up_the_next_request() -> None:
    """A C-FIND whose answers are all here leaves its place to the C-ECHO between them, with a window of one."""

    def script(scp: RawSCP) -> None:
        scp.accept()
        while (message := scp.message()) is not None:
            if message.command["CommandField"] == Verb.C_FIND:
                for _ in range(3):
                    command = {"CommandField": Verb.C_FIND | 0x8000, "MessageIDBeingRespondedTo": 0}
                    command["MessageIDBeingRespondedTo"] = message.command["MessageID"]
                    command |= {"Status": 0xFF00, "CommandDataSetType": 1}
                    scp.connection.send_message(message.context, command, b"")
            scp.answer(message)
        scp.connection.release_response()
        scp.flush()

    with raw_scp(script) as address, isocenter.sync.connect(address) as peer:
        for _ in peer.find("STUDY"):
            peer.echo()


@pytest.mark.parametrize("window", [1, 2])
def test_pending_ends_what_has_one_response(window: int) -> None:
    """Only C-FIND, C-GET and C-MOVE have pending responses (PS3.7 section 9.1): a peer that says so of a C-STORE sends
    nothing more, and its place in the window must not be waited for."""

    def script(scp: RawSCP) -> None:
        scp.accept(window)
        while (message := scp.message()) is not None:
            scp.answer(message, 0xFF00)
        scp.connection.release_response()
        scp.flush()

    with raw_scp(script) as address:
        outcomes = stored(address, 4)
    assert [0xFF00] * 4 == [status for _, status in outcomes]


@pytest.mark.parametrize(("options", "expected"), [([], (8, 1)), (["--window", 3], (3, 1)), (["--window", 1], None)])
def test_the_command(options: list[object], expected: object) -> None:
    def script(scp: RawSCP) -> None:
        scp.accept(2)
        assert scp.rq is not None
        offered.append(scp.rq.user.async_operations)
        scp.answer(scp.messages(1)[0])
        scp.released()

    offered: list[object] = []
    with raw_scp(script) as address:
        done = run_isocenter("store", *options, address, get_testdata_file("CT_small.dcm"))
    assert done.returncode == 0, done.stderr
    assert offered == [expected]  # opened once: with contexts for the first object


def test_a_cancel_does_not_come_between_the_fragments_of_a_data_set() -> None:
    """An object is on the line, slowly, when a search beside it is cancelled: the peer reads first the one, then the
    other, and would have aborted at a command among the fragments."""
    seen: list[int] = []
    questions: list[Message] = []

    def script(scp: RawSCP) -> None:
        scp.accept(4)
        while (message := scp.message()) is not None:
            seen.append(message.command["CommandField"])
            if message.command["CommandField"] == Verb.C_STORE:
                scp.answer(message)
            elif message.command["CommandField"] == Verb.C_CANCEL:
                scp.answer(questions[0], 0xFE00)
            else:
                questions.append(message)

    async def work(address: str) -> None:
        proposals = [Proposal(CT, (EXPLICIT,)), Proposal(STUDY_ROOT_FIND, (EXPLICIT,))]
        association = await associate(parse_address(address), proposals, calling="X", settings=Settings(), window=4)
        find, store = association.context_for(STUDY_ROOT_FIND), association.context_for(CT)
        question = {
            "AffectedSOPClassUID": STUDY_ROOT_FIND,
            "CommandField": Verb.C_FIND,
            "MessageID": association.next_message_id(),
            "Priority": 0,
        }
        search = asyncio.ensure_future(association.request(find, question, [b""]))

        def chunks() -> Iterator[bytes]:
            yield bytes(1 << 20)
            association.cancel(find, question["MessageID"])
            yield bytes(1 << 20)

        await asyncio.sleep(0)
        command = store_request(association.next_message_id(), CT, "1.2.3")
        assert (await association.request(store, command, chunks())).status == 0
        assert (await search).status == 0xFE00
        association.abort()
        await association.closed()

    with raw_scp(script) as address:
        asyncio.run(work(address))
    assert seen == [Verb.C_FIND, Verb.C_STORE, Verb.C_CANCEL]


class Together:
    """Sinks that answer only when `wanted` of them are waiting."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._waiting: list[asyncio.Future[Reply]] = []

    def __call__(self, request: Request) -> Together:
        return self

    def write(self, views: Sequence[memoryview]) -> None:
        """Discard."""

    def finish(self) -> asyncio.Future[Reply]:
        self._waiting.append(asyncio.get_running_loop().create_future())
        if len(self._waiting) == self._wanted:
            for one in self._waiting:
                one.set_result(Reply())
            self._waiting.clear()
        return self._waiting[-1] if self._waiting else _done()

    def abandon(self) -> None:
        """Nothing is held."""


def _done() -> asyncio.Future[Reply]:
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    future.set_result(Reply())
    return future


@contextlib.asynccontextmanager
async def together(wanted: int) -> AsyncIterator[str]:
    settings = Settings().replace(dimse_port=0)
    server = dimse_server((VerificationService(), StorageService(Together(wanted))), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield f"ISOCENTER@127.0.0.1:{server.address[1]}"
    await server.close()


def test_our_server_serves_as_many() -> None:
    with ours.background(lambda: together(5)) as address:
        assert [(n, 0) for n in range(20)] == stored(address, 20, window=5)


def test_our_archive_stores_them_all(tmp_path: Path) -> None:
    with ours.node(tmp_path / "data") as running:
        assert [(n, 0) for n in range(60)] == stored(running.address, 60)
        with isocenter.sync.connect(running.address) as peer:
            assert len(list(peer.find("IMAGE", relational=True, SOPInstanceUID=""))) == 60
