"""Books of several processes: they say what those of one process would, and nobody gets the same place twice."""

from __future__ import annotations

import os
import random

from isocenter.net.admission import OwnBooks, Places
from isocenter.net.shared_books import SharedBooks


def test_they_say_what_those_of_one_process_say() -> None:
    rng = random.Random(7)
    places = Places(associations=24, per_title=5, per_address=9, of_title={"AE0": 2})
    shared, own = SharedBooks(places.associations), OwnBooks()
    inside: list[tuple[str, str]] = []
    refused = 0
    for _ in range(4000):
        one = f"AE{rng.randrange(8)}", f"10.0.0.{rng.randrange(5)}"
        if rng.random() < 0.6:
            assert own.has_room(*one, places) == shared.has_room(*one, places)
            entered = own.enter(*one, places)
            assert entered == shared.enter(*one, places)
            refused += not entered
            inside += [one] * entered
        elif inside:
            one = inside.pop(rng.randrange(len(inside)))
            own.leave(*one)
            shared.leave(*one)
    assert refused > 100
    for one in inside:
        shared.leave(*one)
    assert not any(shared._rows[:])
    shared.close()


def test_processes_that_come_at_once_get_the_places_that_there_are() -> None:
    places = Places(associations=300, per_title=100, per_address=1000)
    books = SharedBooks(places.associations)
    children = []
    for number in range(4):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            taken = sum(books.enter("CT", f"10.0.0.{number}", places) for _ in range(60))
            os.write(writing, bytes([taken]))
            os._exit(0)
        os.close(writing)
        children.append((pid, reading))
    taken = []
    for pid, reading in children:
        with open(reading, "rb") as pipe:
            taken += pipe.read()
        assert os.waitpid(pid, 0)[1] == 0
    assert sum(taken) == 100
    assert not books.has_room("CT", "10.0.0.9", places)
    assert books.enter("MR", "10.0.0.9", places)
    books.close()
