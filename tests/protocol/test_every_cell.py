"""Each cell of Table 9-10 is entered on a real Connection: its action, its next state, and an end in bounded time.

The ways into the states are legal conversations; only Sta4 to the cells of a user's mistakes are not, which raise.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isocenter.ul import events
from isocenter.ul.connection import Config, Connection, LocalError
from isocenter.ul.table import NEXT_STATE, TRANSITIONS, Event, State
from isocenter.wire import pdu
from isocenter.wire.command import Verb, encode_command
from upper_layer import AC, RQ, sent

ECHO = {"CommandField": Verb.C_ECHO, "MessageID": 1, "CommandDataSetType": 0x0101}
RJ = pdu.AssociateRJ(1, 1, 1)
CONFIG = Config(artim=30.0, idle=300.0, lifetime=3600.0)
RAW_ECHO = encode_command(ECHO)
P_DATA = pdu.PDU_HEADER.pack(pdu.P_DATA_TF, len(RAW_ECHO) + 6) + pdu.PDV_HEADER.pack(len(RAW_ECHO) + 2, 1, 3) + RAW_ECHO

RECEIVED = {
    Event.ASSOCIATE_AC: pdu.encode_associate_ac(AC),
    Event.ASSOCIATE_RJ: pdu.encode_associate_rj(RJ),
    Event.ASSOCIATE_RQ: pdu.encode_associate_rq(RQ),
    Event.P_DATA_TF: P_DATA,
    Event.RELEASE_RQ: pdu.A_RELEASE_RQ_PDU,
    Event.RELEASE_RP: pdu.A_RELEASE_RP_PDU,
    Event.ABORT: pdu.encode_abort(pdu.Abort(2, 1)),
    Event.INVALID_PDU: b"\x09\0\0\0\0\x04abcd",
}
REQUESTS: dict[Event, Callable[[Connection], None]] = {
    Event.ASSOCIATE_REQUEST: lambda c: c.associate(RQ),
    Event.TRANSPORT_CONFIRM: lambda c: c.transport_connected(1),
    Event.ACCEPT: lambda c: c.accept(AC),
    Event.REJECT: lambda c: c.reject(RJ),
    Event.P_DATA_REQUEST: lambda c: c.send_message(1, ECHO),
    Event.RELEASE_REQUEST: lambda c: c.release(),
    Event.RELEASE_RESPONSE: lambda c: c.release_response(),
    Event.ABORT_REQUEST: lambda c: c.abort(),
    Event.TRANSPORT_CLOSED: lambda c: c.transport_closed(1),
    Event.ARTIM_EXPIRED: lambda c: c.handle_timeout(40),
}


def feed(connection: Connection, raw: bytes) -> list[events.UpperLayerEvent]:
    connection.receive_data(raw, 1)
    return drain(connection)


def drain(connection: Connection) -> list[events.UpperLayerEvent]:
    out = []
    while (event := connection.next_event()) is not None:
        out.append(event)
    return out


def reach(state: State) -> Connection:
    """A connection in `state`, by the shortest legal way, with nothing left to send."""
    as_requestor = state in (State.STA4, State.STA5, State.STA9, State.STA11)
    connection = Connection(requestor=as_requestor, now=0, config=CONFIG) if state is not State.STA1 else idle()
    if as_requestor:
        connection.associate(RQ)
        if state is not State.STA4:
            connection.transport_connected(0)
        if state in (State.STA9, State.STA11):
            feed(connection, RECEIVED[Event.ASSOCIATE_AC])
    elif state not in (State.STA1, State.STA2):
        feed(connection, RECEIVED[Event.ASSOCIATE_RQ])
        if state is State.STA13:
            connection.reject(RJ)
        elif state is not State.STA3:
            connection.accept(AC)
    if state in (State.STA7, State.STA9, State.STA10, State.STA11, State.STA12):
        connection.release()
    if state in (State.STA8, State.STA9, State.STA10, State.STA11, State.STA12):
        feed(connection, pdu.A_RELEASE_RQ_PDU)
    if state is State.STA11:
        connection.release_response()
    if state is State.STA12:
        feed(connection, pdu.A_RELEASE_RP_PDU)
    assert connection.state is state
    connection.data_to_send()
    return connection


def idle() -> Connection:
    return Connection(requestor=True, now=0, config=CONFIG)


def apply(connection: Connection, event: Event) -> None:
    if event in RECEIVED:
        feed(connection, RECEIVED[event])
    else:
        REQUESTS[event](connection)


def expected_state(action: str, connection: Connection) -> State:
    if action == "AR-8":
        return State.STA9 if connection.requestor else State.STA10
    return NEXT_STATE[action]


# Evt5 is the birth of an acceptor and no event of an existing connection.
CELLS = sorted(cell for cell in TRANSITIONS if cell[0] is not Event.TRANSPORT_INDICATION)


@pytest.mark.parametrize(("event", "state"), CELLS)
def test_cell(event: Event, state: State) -> None:
    connection = reach(state)
    action = TRANSITIONS[event, state]
    if event is Event.RELEASE_RESPONSE and state is State.STA12:
        assert action == "AR-4"
    apply(connection, event)
    out = sent(connection)
    if connection.close_expected and event is not Event.ARTIM_EXPIRED:
        assert expected_state(action, connection) is State.STA1
    assert connection.state is expected_state(action, connection)
    if action in ("AA-1", "AA-7", "AA-8"):
        assert out[:1] == bytes([pdu.A_ABORT])
        assert len(out) == 10
    elif action in ("AA-2", "AA-3", "AA-4", "AA-5", "AA-6", "AR-2", "AR-3", "AR-5", "AR-6", "DT-2", "AE-3", "AE-4"):
        assert out == b""
    elif action == "AR-9" or action == "AR-4":
        assert out == pdu.A_RELEASE_RP_PDU
    end_is_near(connection)


def end_is_near(connection: Connection) -> None:
    """With a peer that says nothing more, timers alone end it: in Sta6 by silence, else by ARTIM or the lifetime."""
    now = 1.0
    for _ in range(10):
        if connection.close_expected:
            return
        at = connection.next_timeout()
        assert at is not None
        assert at <= CONFIG.lifetime + CONFIG.artim
        now = max(now, at)
        connection.handle_timeout(now)
        drain(connection)
    pytest.fail(f"still in {connection.state.name} after ten timeouts")


@pytest.mark.parametrize("state", list(State))
def test_an_acceptor_is_born_by_evt5_and_nothing_else_is_possible(state: State) -> None:
    assert (TRANSITIONS.get((Event.TRANSPORT_INDICATION, state)) is not None) is (state is State.STA1)
    born = Connection(requestor=False, now=0)
    assert born.state is State.STA2
    impossible = [e for e in REQUESTS if (e, state) not in TRANSITIONS]
    for event in impossible:
        connection = reach(state)
        if event in (Event.ABORT_REQUEST, Event.ARTIM_EXPIRED, Event.TRANSPORT_CLOSED):
            apply(connection, event)  # ours to call at any time; without effect here
            assert connection.state is state or state is not State.STA13
        elif not (event is Event.RELEASE_RESPONSE and state is State.STA10):  # kept until the peer has confirmed
            with pytest.raises(LocalError):
                apply(connection, event)


def crawling(step: float, size: int, idle: float) -> tuple[Connection, float]:
    """A peer that sends its objects `size` bytes every `step` seconds; the connection, and when it ended."""
    connection = Connection(requestor=False, now=0, config=Config(artim=5, idle=idle))
    connection.receive_data(RECEIVED[Event.ASSOCIATE_RQ], 0)
    connection.next_event()
    connection.accept(AC)
    command = {"CommandField": Verb.C_STORE, "MessageID": 1, "CommandDataSetType": 1}
    raw = encode_command(command)
    message = pdu.PDU_HEADER.pack(pdu.P_DATA_TF, len(raw) + 6) + pdu.PDV_HEADER.pack(len(raw) + 2, 1, 3) + raw
    message += pdu.PDU_HEADER.pack(pdu.P_DATA_TF, 16384) + pdu.PDV_HEADER.pack(16380, 1, 2) + bytes(16378)
    now, position = 0.0, 0
    while not connection.close_expected and now < 3000:
        at = connection.next_timeout()
        assert at is not None
        if at <= now + step:
            now = max(now, at)
            connection.handle_timeout(now)
        else:
            now += step
            connection.receive_data(message[position : position + size], now)
            position = (position + size) % len(message) if position + size < len(message) else 0
        drain(connection)
        if connection.state is State.STA13:
            break
    return connection, now


def test_a_message_that_crawls_is_silence() -> None:
    _, ended = crawling(1.0, 1, idle=60.0)
    assert 60 <= ended <= 180


def test_a_slow_line_and_small_messages_now_and_then_are_not() -> None:
    assert crawling(1.0, 500, idle=60.0)[1] >= 3000
    connection = Connection(requestor=False, now=0, config=Config(idle=60.0))
    connection.receive_data(RECEIVED[Event.ASSOCIATE_RQ], 0)
    connection.next_event()
    connection.accept(AC)
    for now in range(50, 3000, 50):
        half = len(P_DATA) // 2
        connection.receive_data(P_DATA[:half], now)
        connection.handle_timeout(now)
        assert not [e for e in drain(connection) if isinstance(e, events.Aborted)]
        connection.receive_data(P_DATA[half:], now + 5)
        assert len(drain(connection)) == 1
        connection.handle_timeout(now + 49)
        assert drain(connection) == []
