"""Which objects are prepared when, and where: in place while the receiver is busy, or in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from isocenter.dimse.sending import Prepared, Sender, Work
from isocenter.errors import AssociationAborted, NetworkError, NotFound
from isocenter.model import InstanceRef
from isocenter.services.base import Cancellation, Response
from isocenter.services.retrieve import Suboperation
from isocenter.ul.connection import Payload
from isocenter.ul.negotiation import Agreed
from isocenter.wire.command import CommandSet

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
BATCH = 8


def refs(count: int) -> list[InstanceRef]:
    return [InstanceRef("1", "1.1", f"1.1.{n}", CT, EXPLICIT, f"a/{n}", 1000, 400, "", "") for n in range(count)]


@dataclass
class Disk:
    """Content of which some is in memory; says what was asked for in which way, and by which kind of thread."""

    cold: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
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
        one = Prepared(ref, accepted[0], (b"ab",), at_hand=at_hand)
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
    statuses: dict[int, int] = field(default_factory=dict)
    lost_after: int | None = None
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
        data_set: Iterable[Payload] | None,
        answered: Callable[[Response | NetworkError], None],
    ) -> None:
        number = int(command["AffectedSOPInstanceUID"].rpartition(".")[2])
        assert data_set is not None
        assert [b"ab"] == list(data_set)
        if number == self.lost_at:
            self._lose()
            raise AssociationAborted("lost")
        self.sent.append(number)
        self.aloft[number] = answered
        self.most = max(self.most, len(self.aloft))
        asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        """One answer where no more may be sent, and all where no more will be."""
        if self.lost_after is not None and len(self.answered) >= self.lost_after:
            self._lose()
        while self.aloft and (len(self.aloft) == self.window or len(self.sent) == self.expected):
            number = (max if self.backwards else min)(self.aloft)
            self.answered.append(number)
            self.aloft.pop(number)(Response({"Status": self.statuses.get(number, 0)}))

    def _lose(self) -> None:
        aloft, self.aloft = self.aloft, {}
        for answered in aloft.values():
            asyncio.get_running_loop().call_soon(answered, AssociationAborted("lost"))


async def sent(disk: Disk, work: Work, receiver: Receiver) -> list[Suboperation]:
    async with aclosing(Sender(disk, {}).send(work, receiver)) as steps:
        return [step async for step in steps]


def run(disk: Disk, count: int) -> list[Suboperation]:
    return asyncio.run(sent(disk, Work(refs(count), Cancellation()), Receiver(disk)))


def test_what_is_in_memory_is_prepared_in_place_after_the_first_batch() -> None:
    disk = Disk()
    assert [0] * 20 == [step.status for step in run(disk, 20)]
    assert [("thread", n) for n in range(BATCH)] + [("place", n) for n in range(BATCH, 20)] == disk.asked


def test_what_is_not_is_prepared_in_threads_a_batch_ahead() -> None:
    disk = Disk(cold=set(range(20)))
    assert [f"1.1.{n}" for n in range(20)] == [step.sop_instance for step in run(disk, 20)]
    assert [("thread", n) for n in range(20)] == disk.asked


def test_one_that_has_to_be_waited_for_goes_to_a_thread_with_those_behind_it() -> None:
    disk = Disk(cold={10})
    assert [0] * 30 == [step.status for step in run(disk, 30)]
    places = [n for how, n in disk.asked if how == "place"]
    assert [8, 9, 10, 26, 27, 28, 29] == places
    assert list(range(10, 26)) == [n for how, n in disk.asked if how == "thread"][BATCH:]


def test_one_object_is_ahead_of_the_receiver_and_not_more() -> None:
    disk = Disk()
    receiver = Receiver(disk)

    async def take() -> None:
        async with aclosing(Sender(disk, {}).send(Work(refs(20), Cancellation()), receiver)) as steps:
            for _ in range(12):
                await anext(steps)
            assert list(range(12)) == receiver.sent
            assert 13 == len(disk.made)

    asyncio.run(take())


@pytest.mark.parametrize("cold", [set(), set(range(40))])
def test_an_object_that_is_gone_fails_alone(cold: set[int]) -> None:
    steps = run(Disk(cold=cold, gone={3, 12, 13}), 20)
    assert [3, 12, 13] == [number for number, step in enumerate(steps) if step.status is None]
    assert {"gone"} == {step.why for step in steps if step.status is None}


@pytest.mark.parametrize("cold", [set(), set(range(40))])
@pytest.mark.parametrize("lost_at", [2, 8, 15])
def test_what_was_prepared_in_vain_is_put_back_and_closed(
    monkeypatch: pytest.MonkeyPatch, cold: set[int], lost_at: int
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Prepared, "close", lambda self: closed.append(self.ref.instance))
    disk = Disk(cold=cold)
    work = Work(refs(40), Cancellation())

    async def lose() -> None:
        with pytest.raises(AssociationAborted):
            await sent(disk, work, Receiver(disk, lost_at=lost_at))
        await asyncio.get_running_loop().shutdown_default_executor()
        while len(closed) < len(disk.made):  # the thread's last batch is closed when it comes
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(lose(), 20))
    assert 40 - lost_at - 1 == len(work)
    assert [f"1.1.{n}" for n in range(lost_at + 1, 40)] == [ref.instance for ref in work.take(100)]
    assert sorted(one.ref.instance for one in disk.made) == sorted(closed)


@pytest.mark.parametrize("cold", [set(), set(range(40))])
def test_after_a_cancel_nothing_more_is_sent(cold: set[int]) -> None:
    disk = Disk(cold=cold)
    cancellation = Cancellation()
    receiver = Receiver(disk)

    async def cancel() -> int:
        count = 0
        async with aclosing(Sender(disk, {}).send(Work(refs(40), cancellation), receiver)) as steps:
            async for _ in steps:
                count += 1
                cancellation.requested = count >= 11
        return count

    assert 11 == asyncio.run(cancel())
    assert list(range(11)) == receiver.sent


# --- several under way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cold", [set(), set(range(40))])
@pytest.mark.parametrize("window", [2, 8])
@pytest.mark.parametrize("backwards", [False, True])
def test_as_many_are_under_way_as_the_window_has_room_for(cold: set[int], window: int, backwards: bool) -> None:
    disk = Disk(cold=cold, gone={7})
    statuses = {3: 0xB000, 4: 0xA700}
    receiver = Receiver(disk, window=window, expected=39, backwards=backwards, statuses=statuses)
    steps = asyncio.run(sent(disk, Work(refs(40), Cancellation()), receiver))
    assert (window, [n for n in range(40) if n != 7]) == (receiver.most, receiver.sent)
    expected = {f"1.1.{n}": statuses.get(n, 0) for n in range(40)} | {"1.1.7": None}
    assert expected == {step.sop_instance: step.status for step in steps}
    assert len(steps) == len(expected)
    assert [f"1.1.{n}" for n in receiver.answered] == [step.sop_instance for step in steps if step.status is not None]


def test_of_several_under_way_only_one_is_prepared_ahead() -> None:
    disk = Disk()
    receiver = Receiver(disk, window=4)

    async def take() -> None:
        async with aclosing(Sender(disk, {}).send(Work(refs(40), Cancellation()), receiver)) as steps:
            for count in range(1, 20):
                await anext(steps)
                assert len(receiver.sent) <= count + 4
                assert len(disk.made) <= max(BATCH, len(receiver.sent) + 1)

    asyncio.run(take())


@pytest.mark.parametrize("cold", [set(), set(range(40))])
def test_each_that_is_unanswered_when_the_association_dies_has_failed(cold: set[int]) -> None:
    disk = Disk(cold=cold)
    work = Work(refs(40), Cancellation())
    receiver = Receiver(disk, window=8, lost_after=11)
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


def test_one_that_cannot_be_written_takes_those_under_way_with_it() -> None:
    disk = Disk()
    work = Work(refs(40), Cancellation())
    steps: list[Suboperation] = []

    async def lose() -> None:
        async for step in Sender(disk, {}).send(work, Receiver(disk, window=4, lost_at=10)):
            steps.append(step)

    with pytest.raises(AssociationAborted):
        asyncio.run(lose())
    assert [f"1.1.{n}" for n in range(11)] == sorted(
        (step.sop_instance for step in steps), key=lambda one: int(one[4:])
    )
    assert {"1.1.7", "1.1.8", "1.1.9", "1.1.10"} == {step.sop_instance for step in steps if step.lost}
    assert 29 == len(work)


def test_after_a_cancel_those_under_way_are_waited_for() -> None:
    disk, cancellation = Disk(), Cancellation()
    receiver = Receiver(disk, window=4, expected=11 + 3)
    seen: list[str] = []

    async def cancel() -> None:
        async for step in Sender(disk, {}).send(Work(refs(40), cancellation), receiver):
            seen.append(step.sop_instance)
            cancellation.requested = len(seen) >= 11

    asyncio.run(asyncio.wait_for(cancel(), 20))
    assert [f"1.1.{n}" for n in range(14)] == seen
    assert list(range(14)) == receiver.sent
