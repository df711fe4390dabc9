"""Who may stay: how many connections wait for their association, and how many associations there are, and whose.

A connection that has not asked for an association yet costs its sender nothing, so these are not kept for long: where
there are too many, of one address or of all, the one that has waited longest goes. Somebody who opens hundreds of them
and says nothing only pushes out his own, and whoever has something to ask does so within its first round trip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

L = TypeVar("L")


@dataclass(frozen=True)
class Places:
    """The `dimse.max_...` rows of the settings, and what [[peer]] tables say for their titles."""

    associations: int = 1000
    per_title: int = 1000
    per_address: int = 500
    waiting: int = 2000
    waiting_per_address: int = 1500
    verifying_per_address: int = 32
    of_title: Mapping[str, int] = field(default_factory=dict)


def fits(places: Places, title: str, total: int, of_title: int, of_address: int) -> bool:
    """Whether one more association of a title is within the limits, beside so many."""
    return (
        total < places.associations
        and of_title < places.of_title.get(title, places.per_title)
        and of_address < places.per_address
    )


class Books(Protocol):
    """Whose associations there are; of one process, or of several (net.shared_books)."""

    def has_room(self, title: str, address: str, places: Places) -> bool:
        """Whether one more is within the limits."""

    def enter(self, title: str, address: str, places: Places) -> bool:
        """Count one more, if it is within the limits."""

    def leave(self, title: str, address: str) -> None:
        """One is over."""


class OwnBooks:
    """Books of one process."""

    def __init__(self) -> None:
        self._total = 0
        self._by_title: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()

    def has_room(self, title: str, address: str, places: Places) -> bool:
        return fits(places, title, self._total, self._by_title[title], self._by_address[address])

    def enter(self, title: str, address: str, places: Places) -> bool:
        if not self.has_room(title, address, places):
            return False
        self._total += 1
        self._by_title[title] += 1
        self._by_address[address] += 1
        return True

    def leave(self, title: str, address: str) -> None:
        self._total -= 1
        _down(self._by_title, title)
        _down(self._by_address, address)


class Admission(Generic[L]):
    """Who waits and who is in. `L` is a connection; `address` the host it came from, `title` the AE title it calls
    itself."""

    def __init__(self, books: Books | None = None) -> None:
        self.associations = 0  # of this process
        self._books = books or OwnBooks()
        self._waiting: dict[L, str] = {}  # oldest first, with their addresses
        self._waiting_of: dict[str, dict[L, None]] = {}
        self._verifying: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Connections that have not asked for an association yet, or whose user is being verified."""
        return len(self._waiting)

    def arrived(self, link: L, address: str, places: Places) -> L | None:
        """A connection; gives another one that has to go for it."""
        self._waiting[link] = address
        own = self._waiting_of.setdefault(address, {})
        own[link] = None
        if len(own) > places.waiting_per_address:
            oldest = next(iter(own))
        elif len(self._waiting) > places.waiting:
            oldest = next(iter(self._waiting))
        else:
            return None
        self._no_longer_waits(oldest)
        return oldest

    def has_room(self, title: str, address: str, places: Places) -> bool:
        """Whether one more association is within the limits."""
        return self._books.has_room(title, address, places)

    def began(self, link: L, title: str, address: str, places: Places) -> bool:
        """The association of `link` is to be accepted; False where another process took the last place meanwhile."""
        if not self._books.enter(title, address, places):
            return False
        self._no_longer_waits(link)
        self.associations += 1
        return True

    def left(self, link: L) -> None:
        """A connection without an association is gone."""
        self._no_longer_waits(link)

    def verifying(self, address: str, places: Places) -> bool:
        """Whether one more user from this address can be verified now; if so, it counts until verified()."""
        if self._verifying[address] >= places.verifying_per_address:
            return False
        self._verifying[address] += 1
        return True

    def verified(self, address: str) -> None:
        """The verification that began is over, whatever came of it."""
        _down(self._verifying, address)

    def ended(self, title: str, address: str) -> None:
        """An association is over."""
        self.associations -= 1
        self._books.leave(title, address)

    def _no_longer_waits(self, link: L) -> None:
        address = self._waiting.pop(link, None)
        if address is not None:
            own = self._waiting_of[address]
            del own[link]
            if not own:
                del self._waiting_of[address]


def _down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # or it would grow with every one ever seen
