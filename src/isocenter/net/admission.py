"""Who may stay: how many connections wait for their association, and how many associations there are, and whose.

A connection that has not asked for an association yet costs its sender nothing, so these are not kept for long: where
there are too many, of one address or of all, the one that has waited longest goes. Somebody who opens hundreds of them
and says nothing only pushes out his own, and whoever has something to ask does so within its first round trip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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


class Admission(Generic[L]):
    """The books. `L` is a connection; `address` the host it came from, `title` the AE title it calls itself."""

    def __init__(self) -> None:
        self.associations = 0
        self._waiting: dict[L, str] = {}  # oldest first, with their addresses
        self._waiting_of: dict[str, dict[L, None]] = {}
        self._by_title: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()
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
        return (
            self.associations < places.associations
            and self._by_title[title] < places.of_title.get(title, places.per_title)
            and self._by_address[address] < places.per_address
        )

    def began(self, link: L, title: str, address: str) -> None:
        """The association of `link` was accepted."""
        self._no_longer_waits(link)
        self.associations += 1
        self._by_title[title] += 1
        self._by_address[address] += 1

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
        _down(self._by_title, title)
        _down(self._by_address, address)

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
