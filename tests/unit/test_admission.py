"""Places: who has to go for whom, and books that are empty in the end."""

from __future__ import annotations

import random

from isocenter.net.admission import Admission, OwnBooks, Places


def test_the_oldest_of_the_address_goes_and_others_stay() -> None:
    places = Places(waiting=10, waiting_per_address=2)
    books: Admission[str] = Admission()
    assert [books.arrived(name, "10.0.0.1", places) for name in ("a", "b", "c")] == [None, None, "a"]
    assert books.arrived("d", "10.0.0.2", places) is None
    assert books.began("b", "CT", "10.0.0.1", places)
    assert books.arrived("e", "10.0.0.1", places) is None
    assert books.waiting == 3


def test_the_oldest_of_all_goes_where_many_addresses_have_few_each() -> None:
    places = Places(waiting=3, waiting_per_address=2)
    books: Admission[int] = Admission()
    gone = [books.arrived(n, f"10.0.0.{n}", places) for n in range(6)]
    assert gone == [None, None, None, 0, 1, 2]


def test_room_by_title_address_and_in_all() -> None:
    places = Places(associations=4, per_title=2, per_address=3, of_title={"CT": 1})
    books: Admission[int] = Admission()
    assert books.has_room("CT", "a", places)
    assert books.began(1, "CT", "a", places)
    assert not books.has_room("CT", "b", places)
    assert books.has_room("MR", "a", places)
    assert books.began(2, "MR", "a", places)
    assert books.began(3, "MR", "a", places)
    assert not books.has_room("MR", "b", places)
    assert not books.has_room("XA", "a", places)
    assert books.began(4, "XA", "b", places)
    assert not books.began(5, "XA", "b", places)
    assert not books.has_room("US", "b", places)
    books.ended("CT", "a")
    assert books.has_room("CT", "b", places)


def test_users_being_verified_are_counted_by_address() -> None:
    places = Places(verifying_per_address=2)
    books: Admission[int] = Admission()
    assert [books.verifying("a", places) for _ in range(3)] == [True, True, False]
    assert books.verifying("b", places)
    books.verified("a")
    assert books.verifying("a", places)
    assert not books.verifying("a", places)
    for address in ("a", "a", "b"):
        books.verified(address)
    assert books.verifying("a", places)


def test_the_books_are_empty_in_the_end() -> None:
    rng = random.Random(3)
    places = Places(waiting=20, waiting_per_address=5)
    own = OwnBooks()
    books: Admission[int] = Admission(own)
    waiting: dict[int, str] = {}
    associated: dict[int, tuple[str, str]] = {}
    for number in range(5000):
        choice = rng.random()
        if choice < 0.5:
            address = f"10.0.0.{rng.randrange(30)}"
            waiting[number] = address
            sent_away = books.arrived(number, address, places)
            if sent_away is not None:
                del waiting[sent_away]
                books.left(sent_away)  # it hears of its end later
        elif choice < 0.7 and waiting:
            link = rng.choice(list(waiting))
            associated[link] = (f"AE{rng.randrange(9)}", waiting.pop(link))
            assert books.began(link, *associated[link], places)
        elif choice < 0.8 and waiting:
            link = rng.choice(list(waiting))
            del waiting[link]
            books.left(link)
        elif associated:
            books.ended(*associated.pop(rng.choice(list(associated))))
        assert (books.waiting, books.associations) == (len(waiting), len(associated))
    for link in waiting:
        books.left(link)
    for title, address in associated.values():
        books.ended(title, address)
    everything = (*vars(books).values(), *vars(own).values())
    assert [len(book) for book in everything if isinstance(book, dict)] == [0, 0, 0, 0, 0]
    assert vars(own)["_total"] == 0
