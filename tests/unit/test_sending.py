"""Which objects are prepared when, and where: in place while the receiver is busy, or in a thread."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from isocenter.dimse.content import Prepared
from isocenter.dimse.sending import Sender, Work
from isocenter.errors import AssociationAborted, NetworkError, NotFound, OutOfResources
from isocenter.model import InstanceRef
from isocenter.services.base import Answered, Cancellation, Ready, Response
from isocenter.services.retrieve import Suboperation
from isocenter.ul.connection import Payload
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet, decode_command

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
BATCH, UNTOLD = 8, 16


def refs(count: int) -> list[InstanceRef]:
    return [InstanceRef("1", "1.1", f"1.1.{n}", CT, EXPLICIT, f"a/{n}", 1000, 400, "", "") for n in range(count)]


@dataclass
class Disk:
    """Content of which some is in memory; says what was asked for in which way, and by which kind of thread."""

    cold: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    long: set[int] = field(default_factory=set)
    asked: list[tuple[str, int]] = field(default_factory=list)
    made: list[Prepared] = field(default_factory=list)

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        assert threading.current_thread() is not threading.main_thread()
        number = int(ref.instance.rpartition(".")[2])
        self.asked.append(("thread", number))
        return self._make(ref, number, accepted, at_hand=number not in self.cold)

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> Prepared | None:
        assert threading.current_thread() is threading.main_thread()
        number = int(ref.instance.rpartition(".")[2])
        self.asked.append(("place", number))
        return None if number in self.cold else self._make(ref, number, accepted, at_hand=True)

    def _make(self, ref: InstanceRef, number: int, accepted: Sequence[Agreed], *, at_hand: bool) -> Prepared:
        if number in self.gone:
            raise NotFound("gone")
        one = Prepared(ref, accepted[0], (b"ab",), at_hand=at_hand, whole=number not in self.long)
        self.made.append(one)
        return one


@dataclass
class Receiver:
    """An invoker that answers one object as soon as `window` are under way, and the rest when `expected` were sent; the
    association may be lost while an object is sent, or after so many answers."""

    disk: Disk
    lost_at: int | None = None
    window: int = 1
    expected: int = 0
    backwards: bool = False
    at_once: bool = True  # whether the line is free when an answer comes
    statuses: dict[int, int] = field(default_factory=dict)
    lost_after: int | None = None
    lazy_after: int | None = None
    unreadable: set[int] = field(default_factory=set)  # when their requests are made ready
    sent: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    aloft: dict[int, Callable[[Response | NetworkError], None]] = field(default_factory=dict)
    most: int = 0
    usable: bool = True
    sends_files: bool = False

    def contexts_for(self, abstract_syntax: str, *, as_scp: bool = False) -> Sequence[Agreed]:
        return [Agreed(1, abstract_syntax, EXPLICIT, True, False)]

    def next_message_id(self) -> int:
        return len(self.sent) + 1

    async def request(
        self, context: Agreed, command: CommandSet, data_set: Iterable[Payload] | None = None
    ) -> Response:
        raise NotImplementedError

    async def post(
        self,
        context: Agreed,
        command: CommandSet,
        data_set: Iterable[Payload],
        answered: Answered,
    ) -> None:
        self._post(int(command["AffectedSOPInstanceUID"].rpartition(".")[2]), data_set, answered)

    def ready(self, context: Agreed, message_id: int, verb: int, raw: bytes, data_set: Iterable[Payload]) -> Ready:
        command = decode_command(raw)
        assert (message_id, verb) == (command["MessageID"], command["CommandField"])
        number = int(command["AffectedSOPInstanceUID"].rpartition(".")[2])
        if number in self.unreadable:
            raise OSError("no longer readable")
        return Ready(number, verb, list(data_set))

    def post_at_once(self, request: Ready, answered: Answered) -> bool:
        if not self.at_once or len(self.aloft) == self.window:
            return False
        self._post(request.message_id, request.payloads, answered)
        return True

    def _post(self, number: int, data_set: Iterable[Payload], answered: Answered) -> None:
        assert [b"ab"] == list(data_set)
        if number == self.lost_at:
            self._lose()
            raise AssociationAborted("lost")
        self.sent.append(number)
        self.aloft[number] = answered
        self.most = max(self.most, len(self.aloft))
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._answer)  # reading takes longer than what the sender has to do meanwhile

    def _answer(self) -> None:
        """One answer where no more may be sent, and all where no more will be."""
        if len(self.answered) == self.lazy_after:
            return
        if self.lost_after is not None and len(self.answered) >= self.lost_after:
            self._lose()
        while self.aloft and (len(self.aloft) == self.window or len(self.sent) == self.expected):
            number = (max if self.backwards else min)(self.aloft)
            self.answered.append(number)
            all_sent = len(self.sent) == self.expected
            self.aloft.pop(number)(Response({"Status": self.statuses.get(number, 0)}))
            if not all_sent:
                return

    def _lose(self) -> None:
        aloft, self.aloft = self.aloft, {}
        for answered in aloft.values():
            asyncio.get_running_loop().call_soon(answered, AssociationAborted("lost"))


async def sent(disk: Disk, work: Work, receiver: Receiver) -> list[Suboperation]:
    async with aclosing(Sender(disk, {}).send(work, receiver)) as steps:
        return [step async for step in steps]


def run(disk: Disk, count: int, *, at_once: bool = True) -> list[Suboperation]:
    return asyncio.run(sent(disk, Work(refs(count), Cancellation()), Receiver(disk, at_once=at_once)))


either_way = pytest.mark.parametrize("at_once", [True, False])


@either_way
def test_what_is_in_memory_is_prepared_in_place(at_once: bool) -> None:
    disk = Disk()
    assert [0] * 20 == [step.status for step in run(disk, 20, at_once=at_once)]
    assert [("place", n) for n in range(20)] == disk.asked


@either_way
def test_what_is_not_is_prepared_in_threads_a_batch_ahead(at_once: bool) -> None:
    disk = Disk(cold=set(range(20)))
    assert [f"1.1.{n}" for n in range(20)] == [step.sop_instance for step in run(disk, 20, at_once=at_once)]
    assert [("place", 0), *(("thread", n) for n in range(20))] == disk.asked


@either_way
def test_one_that_has_to_be_waited_for_goes_to_a_thread_with_those_behind_it(at_once: bool) -> None:
    disk = Disk(cold={10})
    assert [0] * 30 == [step.status for step in run(disk, 30, at_once=at_once)]
    places = [n for how, n in disk.asked if how == "place"]
    assert [*range(11), *range(10 + 2 * BATCH, 30)] == places
    assert list(range(10, 10 + 2 * BATCH)) == [n for how, n in disk.asked if how == "thread"]


@either_way
def test_one_object_is_ahead_of_the_receiver_and_not_more(at_once: bool) -> None:
    """At once: the receiver has the next when the one before it is told of, and some are told of together."""
    disk = Disk()
    receiver = Receiver(disk, at_once=at_once)

    async def take() -> None:
        async with aclosing(Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver)) as steps:
            for _ in range(12):
                await anext(steps)
            assert list(range(len(receiver.sent))) == receiver.sent
            assert 12 + at_once <= len(receiver.sent) <= 12 + at_once * (UNTOLD + 1)
            assert len(receiver.sent) + 1 == len(disk.made)

    asyncio.run(take())


@either_way
@pytest.mark.parametrize("cold", [set(), set(range(40))])
def test_an_object_that_is_gone_fails_alone(cold: set[int], at_once: bool) -> None:
    steps = run(Disk(cold=cold, gone={3, 12, 13}), 20, at_once=at_once)
    assert [3, 12, 13] == [number for number, step in enumerate(steps) if step.status is None]
    assert {("gone", False)} == {(step.why, step.again) for step in steps if step.status is None}


@pytest.mark.parametrize("error", [OutOfResources("none left"), OSError(errno.ENFILE, "none left"), MemoryError()])
@pytest.mark.parametrize("cold", [set(), {4}])
def test_what_we_lack_something_for_may_be_sent_again(cold: set[int], error: Exception) -> None:
    def short(disk: Disk, ref: InstanceRef, number: int, accepted: Sequence[Agreed], *, at_hand: bool) -> Prepared:
        if number == 4:
            raise error
        return make(disk, ref, number, accepted, at_hand=at_hand)

    make = Disk._make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Disk, "_make", short)
        steps = run(Disk(cold=cold), 10)
    assert [None if number == 4 else 0 for number in range(10)] == [step.status for step in steps]
    assert [number == 4 for number in range(10)] == [step.again for step in steps]
    assert steps[4].why


@either_way
@pytest.mark.parametrize("cold", [set(), set(range(40))])
@pytest.mark.parametrize("lost_at", [2, 8, 15])
def test_what_was_prepared_in_vain_is_put_back_and_closed(
    monkeypatch: pytest.MonkeyPatch, cold: set[int], lost_at: int, at_once: bool
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Prepared, "close", lambda self: closed.append(self.ref.instance))
    disk = Disk(cold=cold)
    work = Work(refs(40), Cancellation())

    async def lose() -> None:
        with pytest.raises(AssociationAborted):
            await sent(disk, work, Receiver(disk, lost_at=lost_at, at_once=at_once))
        await asyncio.get_running_loop().shutdown_default_executor()
        while len(closed) < len(disk.made):  # the thread's last batch is closed when it comes
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(lose(), 20))
    assert 40 - lost_at - 1 == len(work)
    assert [f"1.1.{n}" for n in range(lost_at + 1, 40)] == [ref.instance for ref in work.take(100)]
    assert sorted(one.ref.instance for one in disk.made) == sorted(closed)


@either_way
@pytest.mark.parametrize("cold", [set(), {9}, set(range(40))])
def test_after_a_cancel_nothing_more_is_sent(cold: set[int], at_once: bool) -> None:
    """But for what went out at once, before anybody could know."""
    disk = Disk(cold=cold)
    cancellation = Cancellation()
    receiver = Receiver(disk, at_once=at_once)

    async def cancel() -> int:
        count = 0
        async with aclosing(Sender(disk, {}).send(Work(refs(40), cancellation), receiver)) as steps:
            async for _ in steps:
                count += 1
                cancellation.requested = count >= 11
        return count

    told = asyncio.run(cancel())
    assert len(receiver.sent) == told
    assert list(range(len(receiver.sent))) == receiver.sent
    assert 11 + at_once <= len(receiver.sent) <= 11 + at_once * (UNTOLD + 1)


# --- several under way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cold", [set(), set(range(40))])
@pytest.mark.parametrize("window", [2, 8])
@pytest.mark.parametrize("backwards", [False, True])
@either_way
def test_as_many_are_under_way_as_the_window_has_room_for(
    cold: set[int], window: int, backwards: bool, at_once: bool
) -> None:
    disk = Disk(cold=cold, gone={7})
    statuses = {3: 0xB000, 4: 0xA700}
    receiver = Receiver(disk, None, window, 39, backwards, at_once, statuses)
    steps = asyncio.run(sent(disk, Work(refs(40), Cancellation()), receiver))
    assert (window, [n for n in range(40) if n != 7]) == (receiver.most, receiver.sent)
    expected = {f"1.1.{n}": statuses.get(n, 0) for n in range(40)} | {"1.1.7": None}
    assert expected == {step.sop_instance: step.status for step in steps}
    assert len(steps) == len(expected)
    assert [f"1.1.{n}" for n in receiver.answered] == [step.sop_instance for step in steps if step.status is not None]


@either_way
def test_of_several_under_way_only_one_is_prepared_ahead(at_once: bool) -> None:
    disk = Disk()
    receiver = Receiver(disk, window=4, at_once=at_once)

    async def take() -> None:
        async with aclosing(Sender(disk, {}).send(Work(refs(40), Cancellation()), receiver)) as steps:
            for count in range(1, 20):
                await anext(steps)
                assert len(receiver.sent) <= count + 4 + (UNTOLD if at_once else 0)
                assert len(receiver.aloft) <= 4
                assert len(disk.made) <= len(receiver.sent) + 1

    asyncio.run(take())


@either_way
@pytest.mark.parametrize("cold", [set(), set(range(40))])
def test_each_that_is_unanswered_when_the_association_dies_has_failed(cold: set[int], at_once: bool) -> None:
    disk = Disk(cold=cold)
    work = Work(refs(40), Cancellation())
    receiver = Receiver(disk, window=8, lost_after=11, at_once=at_once)
    steps: list[Suboperation] = []

    async def lose() -> None:
        async for step in Sender(disk, {}).send(work, receiver):
            steps.append(step)

    with pytest.raises(AssociationAborted):
        asyncio.run(lose())
    assert list(range(11)) == [int(step.sop_instance[4:]) for step in steps if step.status == 0]
    assert list(range(11, 19)) == sorted(int(step.sop_instance[4:]) for step in steps if step.lost)
    assert 11 + 8 + len(work) == 40
    assert "1.1.19" == work.take(1)[0].instance


@either_way
def test_one_that_cannot_be_written_takes_those_under_way_with_it(at_once: bool) -> None:
    disk = Disk()
    work = Work(refs(40), Cancellation())
    steps: list[Suboperation] = []

    async def lose() -> None:
        async for step in Sender(disk, {}).send(work, Receiver(disk, window=4, lost_at=10, at_once=at_once)):
            steps.append(step)

    with pytest.raises(AssociationAborted):
        asyncio.run(lose())
    assert [f"1.1.{n}" for n in range(11)] == sorted(
        (step.sop_instance for step in steps), key=lambda one: int(one[4:])
    )
    assert {"1.1.7", "1.1.8", "1.1.9", "1.1.10"} == {step.sop_instance for step in steps if step.lost}
    assert 29 == len(work)


@either_way
def test_after_a_cancel_those_under_way_are_waited_for(at_once: bool) -> None:
    disk, cancellation = Disk(), Cancellation()
    receiver = Receiver(disk, window=4, expected=11 + 3, at_once=at_once)
    seen: list[str] = []

    async def cancel() -> None:
        async for step in Sender(disk, {}).send(Work(refs(40), cancellation), receiver):
            seen.append(step.sop_instance)
            if len(seen) == 11:
                cancellation.requested = True
                receiver.expected = len(receiver.sent)  # all are answered that were sent

    asyncio.run(asyncio.wait_for(cancel(), 20))
    assert 14 <= len(seen) <= (14 + UNTOLD if at_once else 14)
    assert [f"1.1.{n}" for n in range(len(seen))] == seen
    assert list(range(len(seen))) == receiver.sent


# --- at once --------------------------------------------------------------------------------------------------------


def test_the_receiver_has_the_next_object_before_anything_is_done_about_the_last() -> None:
    disk = Disk()
    receiver = Receiver(disk)

    async def take() -> list[int]:
        ahead = []
        async for step in Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver):
            ahead.append(receiver.sent[-1] - int(step.sop_instance[4:]))
        return ahead

    ahead = asyncio.run(take())
    assert 0 == ahead.pop()
    assert 1 <= min(ahead) <= max(ahead) <= UNTOLD + 1


def test_what_has_ended_is_told_though_the_next_takes_long() -> None:
    """The receiver answers the first object and has the next for ever."""
    disk = Disk()
    receiver = Receiver(disk, lazy_after=3)

    async def take() -> list[str]:
        async with aclosing(Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver)) as steps:
            return [(await anext(steps)).sop_instance for _ in range(3)]

    assert ["1.1.0", "1.1.1", "1.1.2"] == asyncio.run(asyncio.wait_for(take(), 20))
    assert [0, 1, 2, 3] == receiver.sent


def test_what_was_taken_before_it_was_told_ends_nothing() -> None:
    """An object is answered while whoever is told of the one before is busy, who then finds it without being told."""
    disk = Disk()
    receiver = Receiver(disk, lazy_after=1)

    def answer(lazy_after: int | None) -> None:
        receiver.lazy_after = lazy_after
        receiver._answer()

    async def take() -> list[str]:
        told = []
        async for step in Sender(disk, {}).send(Work(refs(6), Cancellation()), receiver):
            told.append(step.sop_instance)
            if len(told) == 1:
                answer(lazy_after=2)
            elif len(told) == 2:
                asyncio.get_running_loop().call_later(0.05, answer, None)
        return told

    assert [f"1.1.{n}" for n in range(6)] == asyncio.run(asyncio.wait_for(take(), 20))


def test_a_refusal_is_told_before_anything_more_is_sent() -> None:
    disk = Disk()
    receiver = Receiver(disk, statuses={4: 0xA700, 5: 0xA700, 12: 0xA700})

    async def take() -> list[int]:
        sent_last = {}
        async for step in Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver):
            sent_last[int(step.sop_instance[4:])] = receiver.sent[-1]
        return [sent_last[n] for n in (4, 5, 12)]

    assert [4, 5, 12] == asyncio.run(take())


def test_one_that_is_long_waits_for_its_turn() -> None:
    disk = Disk(long={3, 12})
    receiver = Receiver(disk)

    async def take() -> list[int]:
        told = []
        async for step in Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver):
            if receiver.sent[-1] == int(step.sop_instance[4:]):
                told.append(receiver.sent[-1])
        return told

    assert [2, 11, 19] == asyncio.run(take())
    assert list(range(20)) == receiver.sent


def test_files_are_closed_after_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    disk = Disk()
    receiver = Receiver(disk)

    def close(one: Prepared) -> None:
        number = int(one.ref.instance[4:])
        assert number in receiver.sent
        closed.append(number)

    monkeypatch.setattr(Prepared, "close", close)
    asyncio.run(sent(disk, Work(refs(20), Cancellation()), receiver))
    assert list(range(20)) == closed


def test_when_nobody_wants_the_rest_an_answer_brings_no_further_object(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(Prepared, "close", lambda self: closed.append(int(self.ref.instance[4:])))
    disk = Disk()
    receiver = Receiver(disk)
    work = Work(refs(20), Cancellation())

    async def leave() -> None:
        async with aclosing(Sender(disk, {}).send(work, receiver)) as steps:
            for _ in range(3):
                await anext(steps)
        for _ in range(20):
            await asyncio.sleep(0)

    asyncio.run(leave())
    assert receiver.sent == receiver.answered
    assert 20 == len(receiver.sent) + len(work)
    assert list(range(max(8, len(receiver.sent) + 1))) == sorted(closed)


def test_one_that_cannot_be_read_when_its_request_is_made_fails_alone() -> None:
    disk = Disk()
    receiver = Receiver(disk, unreadable={3, 12, 19})
    steps = asyncio.run(sent(disk, Work(refs(20), Cancellation()), receiver))
    assert ["1.1.3", "1.1.12", "1.1.19"] == [step.sop_instance for step in steps if step.status is None]
    assert {"no longer readable"} == {step.why for step in steps if step.status is None}
    assert [n for n in range(20) if n not in receiver.unreadable] == receiver.sent
