"""Which objects are prepared when, and where: in place while the receiver is busy, or in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from isocenter.dimse.sending import Prepared, Sender, Work
from isocenter.errors import AssociationAborted, NotFound
from isocenter.model import InstanceRef
from isocenter.services.base import Cancellation, Response
from isocenter.services.retrieve import Suboperation
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
    """An invoker that notes what was there of the objects when each was sent; the association may be lost."""

    disk: Disk
    lost_at: int | None = None
    sent: list[int] = field(default_factory=list)
    usable: bool = True
    sends_files: bool = False

    def contexts_for(self, abstract_syntax: str, *, as_scp: bool = False) -> Sequence[Agreed]:
        return [Agreed(1, abstract_syntax, EXPLICIT, True, False)]

    def next_message_id(self) -> int:
        return len(self.sent) + 1

    async def request(
        self,
        context: Agreed,
        command: CommandSet,
        data_set: Iterable[bytes | bytearray | memoryview] | None = None,
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> Response:
        number = int(command["AffectedSOPInstanceUID"].rpartition(".")[2])
        assert data_set is not None
        assert [b"ab"] == list(data_set)
        if number == self.lost_at:
            raise AssociationAborted("lost")
        self.sent.append(number)
        assert meanwhile is not None
        meanwhile()
        await asyncio.sleep(0)
        return Response({"Status": 0})


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
