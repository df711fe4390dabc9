"""Conversations and damaged PDUs at random: nothing raises, and how the bytes are cut changes nothing.

The default volume is a twentieth; ISOCENTER_FUZZ=100 (per cent) plays 20,000 conversations and 100,000 damaged PDUs,
in about four minutes.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator

import pytest

from isocenter.ul import events
from isocenter.ul.connection import Connection
from isocenter.ul.table import State
from isocenter.wire import pdu
from upper_layer import drain, pdus, play, sent

VOLUME = int(os.environ.get("ISOCENTER_FUZZ", "5"))
CONVERSATIONS = 20_000 * VOLUME // 100
DAMAGED = 100_000 * VOLUME // 100
SEEDS = 4


def cuts(rng: random.Random, length: int) -> Iterator[int]:
    while length > 0:
        size = rng.choice([1, 2, 5, 6, 7, 100, 4096])
        yield size
        length -= size


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_however_the_bytes_are_cut_the_events_are_the_same(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(CONVERSATIONS // SEEDS):
        requestor = rng.random() < 0.3
        raw = b"".join(pdus(rng, requestor=not requestor, largest=rng.choice([20, 20, 20, 200, 200, 3000])))
        whole, out, connection = play(raw, [len(raw)], requestor=requestor)
        for sizes in ([1] * len(raw), list(cuts(rng, len(raw)))):
            told, answered, other = play(raw, sizes, requestor=requestor)
            assert told == whole
            assert answered == out
            assert other.state is connection.state


def damaged(rng: random.Random, whole: list[bytes]) -> tuple[bytes, int]:
    """The PDUs with one to three damages, and how many there were."""
    parts = [bytearray(one) for one in whole]
    for _ in range(rng.randrange(1, 4)):
        part = rng.choice(parts)
        choice = rng.random()
        if choice < 0.5 or len(part) < 6:
            if part:
                part[rng.randrange(len(part))] = rng.randrange(256)
        elif choice < 0.65:  # a length that lies, of the PDU or of something in it
            struct.pack_into(">H", part, rng.randrange(2, len(part) - 2), rng.choice([0, 1, 2, 3, 5, 64, 0xFFFF]))
        elif choice < 0.75:
            struct.pack_into(">L", part, 2, rng.choice([0, 1, 67, 1 << 16, 1 << 20, 0xFFFFFFFF]))
        elif choice < 0.85:
            del part[rng.randrange(len(part)) :]
        elif choice < 0.95:
            at = rng.randrange(len(part))
            part[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            parts.insert(rng.randrange(len(parts)), bytearray(rng.choice(parts)))
    return b"".join(parts), len(parts)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_damaged_pdus_end_in_one_abort_at_most(seed: int) -> None:
    rng = random.Random(1000 + seed)
    left = DAMAGED // SEEDS
    while left > 0:
        requestor = rng.random() < 0.3
        raw, count = damaged(rng, pdus(rng, requestor=not requestor, largest=60))
        left -= count
        told, out, connection = play(raw, [len(raw)], requestor=requestor)
        aborts = [event for event in told if isinstance(event, events.Aborted)]
        assert len(aborts) <= 1
        assert kinds(out).count(pdu.A_ABORT) <= 1
        if aborts:
            assert connection.state in (State.STA13, State.STA1)
            connection.receive_data(raw, 0)
            assert drain(connection) == []
            assert sent(connection) == b""
        ends(connection)


def kinds(raw: bytes) -> list[int]:
    """The types of the PDUs we sent, which are whole and no longer than they say."""
    found, position = [], 0
    while position < len(raw):
        kind, length = pdu.PDU_HEADER.unpack_from(raw, position)
        found.append(kind)
        position += 6 + length
    assert position == len(raw)
    return found


def ends(connection: Connection) -> None:
    for _ in range(8):
        at = connection.next_timeout()
        if at is None:
            break
        connection.handle_timeout(at)
        drain(connection)
    assert connection.close_expected
