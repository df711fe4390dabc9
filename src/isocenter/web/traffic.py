"""How much one client may ask: token buckets, in tables that do not grow with the number of those who ask.

A client is an identity where there is one, else a network address; of IPv6 the network of 64 bits, which one customer
has for himself and could take any number of addresses from.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from functools import lru_cache

_MOST = 10_000  # clients that are remembered; who is forgotten begins with a full bucket


class Buckets:
    """Token buckets of `burst` tokens, into which `rate` tokens fall a second."""

    def __init__(self, rate: float, burst: float, most: int = _MOST) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at what time

    def __len__(self) -> int:
        return len(self._levels)

    def wait(self, key: str, now: float) -> float:
        """Seconds until there is a token for `key`; 0: there is one now."""
        level = self._level(key, now)
        return 0.0 if level >= 1 else (1 - level) / self._rate

    def take(self, key: str, now: float) -> float:
        """As wait(), and takes the token if there is one."""
        level = self._level(key, now)
        if level < 1:
            return (1 - level) / self._rate
        self._levels[key] = (level - 1, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return 0.0

    def give(self, key: str, now: float) -> None:
        """Put a token back."""
        if key in self._levels:
            self._levels[key] = (min(self._burst, self._level(key, now) + 1), now)

    def _level(self, key: str, now: float) -> float:
        known = self._levels.get(key)
        return self._burst if known is None else min(self._burst, known[0] + (now - known[1]) * self._rate)


class Crowd:
    """How many requests of each client are being answered."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._present: Counter[str] = Counter()

    def enter(self, key: str) -> bool:
        """Whether one more has room; if so, leave() has to follow."""
        if self._present[key] >= self._most:
            return False
        self._present[key] += 1
        return True

    def leave(self, key: str) -> None:
        self._present[key] -= 1
        if not self._present[key]:
            del self._present[key]

    def __len__(self) -> int:
        return len(self._present)


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The address of a client, or the network that is one's own where he has one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
