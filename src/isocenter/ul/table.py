"""The state machine of the upper layer: PS3.8 Table 9-10, laid out as in the standard.

Rows are events, columns the states Sta1 to Sta13. A dot means that the event cannot happen there. The text is the
table; the dictionary below it is what the connection reads.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """PS3.8 section 9.2.1."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting local A-ASSOCIATE response
    STA4 = 4  # awaiting transport connection
    STA5 = 5  # awaiting A-ASSOCIATE-AC or -RJ
    STA6 = 6  # association established
    STA7 = 7  # awaiting A-RELEASE-RP
    STA8 = 8  # awaiting local A-RELEASE response
    STA9 = 9  # release collision, requestor: awaiting local A-RELEASE response
    STA10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP
    STA11 = 11  # release collision, requestor: awaiting A-RELEASE-RP
    STA12 = 12  # release collision, acceptor: awaiting local A-RELEASE response
    STA13 = 13  # awaiting close of the transport connection


class Event(IntEnum):
    """PS3.8 Table 9-10, first column."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRM = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    TRANSPORT_INDICATION = 5
    ASSOCIATE_RQ = 6
    ACCEPT = 7
    REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_TF = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


TABLE_9_10 = """
        Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1    AE-1  .     .     .     .     .     .     .     .     .     .     .     .
Evt2    .     .     .     AE-2  .     .     .     .     .     .     .     .     .
Evt3    .     AA-1  AA-8  .     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4    .     AA-1  AA-8  .     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5    AE-5  .     .     .     .     .     .     .     .     .     .     .     .
Evt6    .     AE-6  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7    .     .     AE-7  .     .     .     .     .     .     .     .     .     .
Evt8    .     .     AE-8  .     .     .     .     .     .     .     .     .     .
Evt9    .     .     .     .     .     DT-1  .     AR-7  .     .     .     .     .
Evt10   .     AA-1  AA-8  .     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11   .     .     .     .     .     AR-1  .     .     .     .     .     .     .
Evt12   .     AA-1  AA-8  .     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13   .     AA-1  AA-8  .     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14   .     .     .     .     .     .     .     AR-4  AR-9  .     .     AR-4  .
Evt15   .     .     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  .
Evt16   .     AA-2  AA-3  .     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17   .     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18   .     AA-2  .     .     .     .     .     .     .     .     .     .     AA-2
Evt19   .     AA-1  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""

NEXT_STATE = {
    "AE-1": State.STA4,
    "AE-2": State.STA5,
    "AE-3": State.STA6,
    "AE-4": State.STA1,
    "AE-5": State.STA2,
    "AE-6": State.STA3,  # Sta13 where the request is refused by the provider; see Connection._ae_6
    "AE-7": State.STA6,
    "AE-8": State.STA13,
    "DT-1": State.STA6,
    "DT-2": State.STA6,
    "AR-1": State.STA7,
    "AR-2": State.STA8,
    "AR-3": State.STA1,
    "AR-4": State.STA13,
    "AR-5": State.STA1,
    "AR-6": State.STA7,
    "AR-7": State.STA8,
    "AR-8": State.STA9,  # Sta10 for the acceptor; see Connection._ar_8
    "AR-9": State.STA11,
    "AR-10": State.STA12,
    "AA-1": State.STA13,
    "AA-2": State.STA1,
    "AA-3": State.STA1,
    "AA-4": State.STA1,
    "AA-5": State.STA1,
    "AA-6": State.STA13,
    "AA-7": State.STA13,
    "AA-8": State.STA13,
}
"""PS3.8 Tables 9-6 to 9-9: the state each action leads to."""


def _parse(text: str) -> dict[tuple[Event, State], str]:
    header, *lines = text.strip().splitlines()
    states = [State(int(word[3:])) for word in header.split()]
    cells: dict[tuple[Event, State], str] = {}
    for line in lines:
        name, *actions = line.split()
        if len(actions) != len(states):
            raise ValueError(f"Table 9-10: row {name} has {len(actions)} cells")
        for state, action in zip(states, actions, strict=True):
            if action != ".":
                cells[Event(int(name[3:])), state] = action
    return cells


TRANSITIONS = _parse(TABLE_9_10)
