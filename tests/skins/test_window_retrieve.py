"""The Asynchronous Operations Window of sub-operations (PS3.7 D.3.3.3): C-MOVE, where we are SCU of an association of
ours, and C-GET, where the requestor says how many it performs at a time. Peers answer late, out of order, with
warnings, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import isocenter
import ours
from ct_objects import RAW, STUDY, number, number_of, objects
from isocenter.known_peers import KnownPeer
from isocenter.net.address import parse_address
from isocenter.net.retrieve import Progress, identifier_of, selection_of
from isocenter.server import Node
from isocenter.services.retrieve import failed_instances, get_request, move_request
from isocenter.services.verification import echo_request
from isocenter.settings import Settings
from isocenter.std.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from isocenter.ul import events
from isocenter.wire import pdu
from isocenter.wire.command import NO_DATA_SET, CommandSet, Verb
from raw_peer import Message
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, ECHO, EXPLICIT, RawSCU, raw_scu
from skins.test_window import Together

COUNT = 20
ALL = set(range(COUNT))


@dataclass
class Place:
    """An archive with COUNT objects, whose peer THERE plays `script`."""

    node: Node
    script: Callable[[RawSCP], None]

    def move(self, script: Callable[[RawSCP], None]) -> list[Progress]:
        """What a C-MOVE of all objects to the script is told."""
        self.script = script
        with isocenter.sync.connect(self.node.address) as pacs:
            return list(pacs.move("THERE", "STUDY", StudyInstanceUID=STUDY))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    places: list[Place] = []
    with raw_scp(lambda scp: places[0].script(scp)) as address:
        there = KnownPeer("there", "THERE", "127.0.0.1", parse_address(address).port)  # type: ignore[arg-type]
        with ours.node(tmp_path_factory.mktemp("window"), peers=[there], dimse_move_associations=1) as node:
            with isocenter.sync.connect(node.address) as pacs:
                assert {outcome.status for outcome in pacs.store(objects(COUNT))} == {0}
            places.append(Place(node, RawSCP.accept))
            yield places[0]


def numbers(uids: tuple[str, ...]) -> set[int]:
    assert len(set(uids)) == len(uids)
    return set(map(number_of, uids))


def request(scu: RawSCU, context: int, command: CommandSet, identifier: bytes | None = None) -> None:
    kind = NO_DATA_SET if identifier is None else 1
    scu.connection.send_message(context, {**command, "CommandDataSetType": kind}, identifier)
    scu.flush()


def cancel_of(message_id: int) -> CommandSet:
    return {
        "CommandField": Verb.C_CANCEL,
        "MessageIDBeingRespondedTo": message_id,
        "CommandDataSetType": NO_DATA_SET,
    }


def final(scu: RawSCU, verb: Verb) -> CommandSet:
    """The last response, pending ones passed over; no more objects come."""
    while True:
        message = scu.message()
        assert message is not None
        assert message.command["CommandField"] == verb | 0x8000, message.command
        if message.command["Status"] != 0xFF00:
            return message.command | {"failed": failed_instances(message.data, EXPLICIT)}


# --- C-MOVE ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answered", "expected"), [(8, 8), (3, 3), (0, 8), (20, 8), (1, 1), (None, 1)])
def test_a_move_has_as_many_under_way_as_the_receiver_agreed_to(
    place: Place, answered: int | None, expected: int
) -> None:
    offered: list[object] = []
    seen: list[int] = []

    def script(scp: RawSCP) -> None:
        scp.accept(answered)
        assert scp.rq is not None
        offered.append(scp.rq.user.async_operations)
        while len(seen) < COUNT:
            some = scp.messages(min(expected, COUNT - len(seen)))
            assert scp.quiet(0.05)
            assert len({one.command["MessageID"] for one in some}) == len(some)
            seen.extend(number(one.command) for one in some)
            for one in reversed(some):
                scp.answer(one, {2: 0xB000, 5: 0xB007, 11: 0xA700}.get(number(one.command), 0))
        scp.released()

    *pending, last = place.move(script)
    assert ([(8, 1)], ALL) == (offered, set(seen))
    assert (0xB000, 17, 2, 1) == (last.status, last.completed, last.warning, last.failed)
    assert {11} == numbers(last.failed_instances)
    assert list(range(COUNT - 1, 0, -1)) == [step.remaining for step in pending]
    assert list(range(1, COUNT)) == [step.done for step in pending]


def test_each_that_the_receiver_did_not_answer_before_it_hung_up_has_failed(place: Place) -> None:
    associations: list[list[int]] = []

    def script(scp: RawSCP) -> None:
        scp.accept(8)
        associations.append([])
        if len(associations) == 1:
            first = scp.messages(8)
            scp.answer(first[6])
            scp.answer(first[1])
            associations[0] += [number(one.command) for one in first + scp.messages(2)]
            scp.send(pdu.encode_abort(pdu.Abort(0, 0)))
            return
        while (message := scp.message()) is not None:
            associations[1].append(number(message.command))
            scp.answer(message)
        scp.connection.release_response()
        scp.flush()

    *_, last = place.move(script)
    first, second = associations
    assert (0xB000, 12, 8, 0) == (last.status, last.completed, last.failed, last.warning)
    assert set(first) - {first[6], first[1]} == numbers(last.failed_instances)
    assert (ALL - set(first), COUNT - 10) == (set(second), len(second))


def test_a_receiver_that_goes_down_with_some_under_way_and_stays_down_gives_b000_with_all_the_rest(
    place: Place,
) -> None:
    associations: list[list[int]] = []

    def script(scp: RawSCP) -> None:
        associations.append([])
        if len(associations) > 1:
            return  # it hangs up on who asks for an association
        scp.accept(4)
        first = scp.messages(4)
        associations[0].append(number(first[3].command))
        scp.answer(first[3])

    *_, last = place.move(script)
    assert (0xB000, 1, COUNT - 1) == (last.status, last.completed, last.failed)
    assert ALL - set(associations[0]) == numbers(last.failed_instances)


def test_a_move_cancelled_with_some_under_way_counts_them_and_sends_no_more(place: Place) -> None:
    cancelled = threading.Event()
    seen: list[int] = []

    def script(scp: RawSCP) -> None:
        scp.accept(5)
        for one in (held := scp.messages(5))[:2]:
            scp.answer(one)
        held = held[2:] + scp.messages(2)
        assert cancelled.wait(20)
        for one in reversed(held):
            scp.answer(one, 0xB000 if one is held[0] else 0)
        seen.extend(number(one.command) for one in held)
        scp.released()

    place.script = script
    with raw_scu(place.node.dimse[1]) as scu:
        scu.associate(
            (STUDY_ROOT_MOVE, (EXPLICIT,)),
            (ECHO, (EXPLICIT,)),
            user=pdu.UserInformation(16384, async_operations=(2, 1)),
        )
        identifier = identifier_of(selection_of("STUDY", "STUDY", {"StudyInstanceUID": STUDY}), EXPLICIT)
        request(scu, 1, move_request(1, STUDY_ROOT_MOVE, "THERE"), identifier)
        told = [scu.message(), scu.message()]
        assert [0xFF00, 0xFF00] == [one.command["Status"] for one in told if one is not None]
        scu.connection.send_message(1, cancel_of(1))
        request(scu, 3, echo_request(2))  # once that is answered, the cancel was heard
        assert (echo := scu.message()) is not None
        assert Verb.C_ECHO | 0x8000 == echo.command["CommandField"]
        cancelled.set()
        last = final(scu, Verb.C_MOVE)
    assert (0xFE00, COUNT - 7) == (last["Status"], last["NumberOfRemainingSuboperations"])
    assert (6, 1, 0) == tuple(last[f"NumberOf{name}Suboperations"] for name in ("Completed", "Warning", "Failed"))
    assert 5 == len(seen)


# --- C-GET ----------------------------------------------------------------------------------------------------------


def stores(scu: RawSCU, count: int) -> list[Message]:
    """The next so many objects, pending responses passed over."""
    got: list[Message] = []
    while len(got) < count:
        message = scu.message()
        assert message is not None
        if message.command["CommandField"] == Verb.C_STORE:
            got.append(message)
        else:
            assert message.command["Status"] == 0xFF00
    return got


def get(scu: RawSCU, operations: tuple[int, int] | None) -> tuple[int, int] | None:
    """Ask for all objects, on an association where this window is proposed; what is agreed to."""
    roles = (pdu.RoleSelection(CT, scu=False, scp=True),)
    user = pdu.UserInformation(max_length=16384, async_operations=operations, roles=roles)
    accepted = scu.associate((STUDY_ROOT_GET, (EXPLICIT,)), (CT, (EXPLICIT,)), (ECHO, (EXPLICIT,)), user=user)
    assert isinstance(accepted, events.AssociationAccepted)
    identifier = identifier_of(selection_of("STUDY", "STUDY", {"StudyInstanceUID": STUDY}), EXPLICIT)
    request(scu, 1, get_request(1, STUDY_ROOT_GET), identifier)
    return accepted.ac.user.async_operations


@pytest.mark.parametrize(
    ("asked", "agreed", "expected"),
    [
        ((1, 5), (1, 5), 5),
        ((1, 40), (1, 8), 8),
        ((0, 0), (16, 8), 8),
        ((4, 1), (4, 1), 1),
        (None, None, 1),
    ],
)
def test_a_get_has_as_many_under_way_as_the_requestor_performs(
    place: Place, asked: tuple[int, int] | None, agreed: tuple[int, int] | None, expected: int
) -> None:
    seen: list[int] = []
    with raw_scu(place.node.dimse[1]) as scu:
        assert agreed == get(scu, asked)
        while len(seen) < COUNT:
            some = stores(scu, min(expected, COUNT - len(seen)))
            seen.extend(number(one.command) for one in some)
            assert expected == 1 or nothing_but_pending(scu)
            for one in reversed(some):
                scu.answer(one, {2: 0xB000, 5: 0xB007, 11: 0xA700}.get(number(one.command), 0))
        last = final(scu, Verb.C_GET)
    assert ALL == set(seen)
    assert (17, 2, 1) == tuple(last[f"NumberOf{name}Suboperations"] for name in ("Completed", "Warning", "Failed"))
    assert (0xB000, {11}) == (last["Status"], numbers(last["failed"]))


def nothing_but_pending(scu: RawSCU) -> bool:
    """Whether no further object comes for now."""
    while not scu.quiet(0.05):
        message = scu.message()
        assert message is not None
        if message.command["CommandField"] == Verb.C_STORE:
            return False
    return True


def test_a_get_cancelled_with_some_under_way_counts_them_and_sends_no_more(place: Place) -> None:
    with raw_scu(place.node.dimse[1]) as scu:
        get(scu, (2, 4))
        held = stores(scu, 4)
        scu.connection.send_message(1, cancel_of(1))
        request(scu, 5, echo_request(2))
        while (message := scu.message()) is not None and message.command["CommandField"] != Verb.C_ECHO | 0x8000:
            assert message.command["Status"] == 0xFF00
        for one in reversed(held):
            scu.answer(one, 0xC000 if one is held[0] else 0)
        last = final(scu, Verb.C_GET)
    assert (0xFE00, COUNT - 4) == (last["Status"], last["NumberOfRemainingSuboperations"])
    assert (3, 0, 1) == tuple(last[f"NumberOf{name}Suboperations"] for name in ("Completed", "Warning", "Failed"))
    assert {number(held[0].command)} == numbers(last["failed"])


def test_a_requestor_that_is_gone_with_some_under_way_leaves_nothing(place: Place) -> None:
    for ending in (pdu.encode_abort(pdu.Abort(0, 0)), b""):
        with raw_scu(place.node.dimse[1]) as scu:
            get(scu, (1, 6))
            stores(scu, 6)
            scu.send(ending)
    with isocenter.sync.connect(place.node.address) as pacs:  # the archive serves on
        pacs.echo()


# --- both ends ours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operations", "together"), [(16, 4), (5, 5), (1, 1)])
def test_our_requestor_performs_several_that_our_archive_sends(place: Place, operations: int, together: int) -> None:
    """The sinks answer when so many wait at a time, so that fewer would be waited for until the peer is given up."""
    settings = Settings().replace(dimse_operations=operations, dimse_response_timeout=20.0)
    with isocenter.sync.connect(place.node.address, settings=settings) as pacs:
        into = Together(together)
        *_, last = pacs.get("STUDY", into=into, sop_classes=[CT], StudyInstanceUID=STUDY)
    assert (0, COUNT, 0) == (last.status, last.completed, last.failed)


def test_our_receiver_gets_all_that_is_moved(tmp_path: Path) -> None:
    with ours.receiver(tmp_path / "in") as receiver:
        there = KnownPeer("there", "THERE", "127.0.0.1", receiver.port)  # type: ignore[arg-type]
        with ours.node(tmp_path / "data", peers=[there]) as node, isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects(3 * COUNT))} == {0}
            *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=STUDY)
        assert (0, 3 * COUNT) == (last.status, last.completed)
        assert set(range(3 * COUNT)) == {number(request.command) for _, request in receiver.stored}
        assert {RAW[-2048:]} == {Path(path).read_bytes()[-2048:] for path, _ in receiver.stored}
