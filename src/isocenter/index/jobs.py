"""What a job is: work towards a peer that has to be done although the peer, or we, may be down meanwhile.

Rows of the index, so that a job can be written in the same transaction as the instance that asks for it. They are the
one thing in the index that the files do not tell; `isocenter check --rebuild` therefore carries them over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed", "cancelled")
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")

ASKED = "asked"
"""The key of a job that waits for what a peer is to report (SqlJobs.asked): nothing joins it, and that another job got
through is no reason to ask again."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to be written.

    `kind` says who performs it, `target` is the name of a peer (known_peers.py). `payload` is JSON, small and without
    patient data; `items` are UIDs, however many, of which the job remembers what became of each. It is begun `delay`
    seconds from now at the earliest.

    With `gather` the items join a job of the same kind, target and `key` that waits already, if there is one that was
    made, or achieved something, in the last `gather` seconds: what joins an older one might be given up with it. As
    long as it was never tried, its beginning is put off to `delay` seconds from now. The payload stays the first one's.
    """

    kind: str
    target: str
    payload: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    items: Sequence[str] = ()
    key: str = ""
    gather: float = 0.0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """One row. Times are seconds since 1970, UTC: they are compared with a clock and added to.

    `attempts` counts the tries since something was last achieved, `progressed_at` says when that was (or when the job
    was made, or asked for again by an operator). Of `total` items, `done` are done and `failed` will not be tried
    again. `last_error` never holds patient data.
    """

    id: int
    kind: str
    target: str
    key: str
    payload: Mapping[str, Any] = field(repr=False)
    state: State
    attempts: int
    next_at: float
    created_at: float
    updated_at: float
    progressed_at: float
    last_error: str
    total: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """Items that are still to be done."""
        return self.total - self.done - self.failed

    def told(self) -> dict[str, Any]:
        """As the command line and the web tell it, for JSON: times by ISO 8601."""
        return {
            "id": self.id,
            "kind": self.kind,
            "target": self.target,
            "key": self.key,
            "payload": dict(self.payload),
            "state": self.state,
            "attempts": self.attempts,
            "next_at": _moment(self.next_at) if self.state == "waiting" else None,
            "created_at": _moment(self.created_at),
            "updated_at": _moment(self.updated_at),
            "last_error": self.last_error,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
        }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
