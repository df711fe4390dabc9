"""The seam of the index: what is known about instances, and what making it known answers.

All methods block and are for threads. Writing methods may be called from several threads; they take turns. Readers
see whole transactions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from isocenter.index.jobs import Wanted
from isocenter.index.keys import Keys
from isocenter.model import Change, Found, InstanceRef, Origin, Query, Scope

Policy = Literal["keep-first", "replace", "reject"]
Kind = Literal["stored", "already-there", "kept-first", "replaced", "rejected"]


class Entry(NamedTuple):
    """One instance whose row is wanted, to be committed when its bytes are durable. `digest`: SHA-256 of the data set's
    bytes."""

    keys: Keys
    transfer_syntax: str
    blob: str
    size: int
    data_set_offset: int
    digest: bytes
    header_digest: bytes
    origin: Origin
    stored_at: str


More = Callable[[], Sequence[Entry]]
"""Called with rows written and not committed; gives entries for the same transaction, none when it may be committed."""


class Applied(NamedTuple):
    """What became of an entry. `leftover`: nothing refers to its blob, which can go. `ref` is the visible instance.

    `warnings` are of "patient-differs", "series-in-another-study", "other-bytes-kept-aside".
    """

    kind: Kind
    ref: InstanceRef
    warnings: tuple[str, ...] = ()
    leftover: bool = False


class Routing(Protocol):
    """Which jobs stored instances ask for."""

    def wanted(self, entries: Sequence[Entry], applied: Sequence[Applied]) -> Sequence[Wanted]:
        """Called inside the transaction of the entries, which writes the jobs as well; so it has to be quick."""
        ...

    def committed(self) -> None:
        """Called when that transaction is durable."""
        ...


class BlobRow(NamedTuple):
    """One blob the index refers to. `visible` is false for superseded ones, whose SOP class is not kept."""

    blob: str
    size: int
    data_set_offset: int
    digest: bytes
    header_digest: bytes
    scope: Scope
    visible: bool
    sop_class: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of what is visible; `bytes` is the size of the Part 10 files. `modalities`: series of each modality.

    `non_patient` of the instances are in no study.
    """

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    modalities: dict[str, int]
    non_patient: int = 0


class MetadataRun(NamedTuple):
    """Compressed metadata of consecutive instances of a series, up to the one with `last_instance`."""

    series_id: int
    last_instance: int
    instance_count: int
    token: str
    body: bytes


class NumberedRef(NamedTuple):
    """An instance with its place in the order, for metadata runs; `series_id` is 0 for one of no patient."""

    series_id: int
    instance_id: int
    ref: InstanceRef


class Index(Protocol):
    """What is known about instances."""

    def apply(self, entries: Sequence[Entry], on_conflict: Policy, more: More | None = None) -> list[Applied]:
        """Make the entries, and what `more` gives, visible, durably, in one transaction; ArchiveBusy, OutOfResources,
        or whatever `more` raises: none of them."""
        ...

    def delete(self, scope: Scope, reason: str, by: str = "") -> list[str]:
        """Make instances invisible, durably; the blobs to remove. They stay in `doomed` until `forget`. The change feed
        keeps the reason, and who it was."""
        ...

    def find(self, query: Query) -> Iterator[Found]:
        """Answers in the stable order; the iterator holds a connection until it ends or is closed."""
        ...

    def count(self, query: Query) -> int: ...

    def tally(self, query: Query) -> dict[str, int]:
        """How many of the studies that are found have each modality."""
        ...

    def select(self, scope: Scope) -> list[InstanceRef]:
        """The instances of a scope in order; [] if there are none."""
        ...

    def changes(self, since: int, limit: int) -> list[Change]: ...

    def last_change(self) -> int:
        """The highest number of an entry of the change feed; 0 without any."""
        ...

    def counts(self) -> Counts: ...

    def blobs(self, instances: Sequence[str] | None = None) -> Iterator[BlobRow]:
        """Every blob referred to, superseded ones included; or all that came under these SOP Instance UIDs."""
        ...

    def close(self) -> None: ...


class Housekeeping(Protocol):
    """What the archive keeps beside the instances: how far it is, what is about to go, and prepared metadata."""

    def fact(self, name: str) -> str | None: ...

    def set_fact(self, name: str, value: str) -> None: ...

    def doomed(self) -> list[str]: ...

    def forget(self, blobs: Sequence[str]) -> None: ...

    def last_instance(self) -> int:
        """The number of the newest instance; 0 without any."""
        ...

    def known_blobs(self, after_instance: int) -> set[str]:
        """The blobs of instances with a higher number, and all superseded and doomed ones."""
        ...

    def numbered(self, scope: Scope) -> list[NumberedRef]: ...

    def metadata_runs(self, series_id: int) -> list[MetadataRun]: ...

    def add_metadata_run(self, run: MetadataRun) -> None:
        """Keep a run unless the series changed meanwhile in another way than by growing."""
        ...
