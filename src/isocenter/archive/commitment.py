"""What the archive answers for: objects whose bytes are read from the disk again, and are what was stored.

An index row alone proves nothing about the disk, and neither do pages that are still in memory; whoever asks is going
to delete its own copy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from isocenter.archive import audit
from isocenter.archive.check import verify
from isocenter.errors import NotFound
from isocenter.index.base import BlobRow, Index
from isocenter.services.storage_commitment import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_OBJECT,
    PROCESSING_FAILURE,
    CommitmentReport,
    Reference,
)
from isocenter.store.base import BlobStore

Doubt = Literal["not-stored", "other-class", "damaged"]
Object = tuple[str, str]
"""SOP Class and SOP Instance UID."""

LOOKED_UP = 500  # objects in one question to the index
AT_ONCE = 16  # objects that one thread reads before another has its turn

_REASONS: Mapping[Doubt, int] = {
    "not-stored": NO_SUCH_OBJECT,
    "other-class": CLASS_INSTANCE_CONFLICT,
    "damaged": PROCESSING_FAILURE,
}

Kept = dict[str, list[BlobRow]]


def portions(objects: Sequence[Object], most: int) -> Iterator[Sequence[Object]]:
    """`objects` in their order, at most so many at a time."""
    for at in range(0, len(objects), most):
        yield objects[at : at + most]


def kept(index: Index, objects: Sequence[Object]) -> Kept:
    """All that came under the SOP Instance UIDs of `objects`, by UID; blocking. Raises ArchiveBusy."""
    rows: Kept = {}
    for row in index.blobs([instance for _, instance in objects]):
        rows.setdefault(row.scope.instance or "", []).append(row)
    return rows


def doubts(store: BlobStore, rows: Kept, objects: Sequence[Object]) -> dict[Object, Doubt]:
    """Of `objects`, those that the archive does not answer for; blocking, reads every byte of the others.

    Where other bytes came under the same UID, all that are kept have to be sound: any of them may be the asker's.
    Raises OutOfResources: nothing can be said now.
    """
    found: dict[Object, Doubt] = {}
    for one in objects:
        doubt = _doubt(store, rows.get(one[1], ()), one[0])
        if doubt is not None:
            found[one] = doubt
    return found


def _doubt(store: BlobStore, rows: Iterable[BlobRow], sop_class: str) -> Doubt | None:
    visible = next((row for row in rows if row.visible), None)
    if visible is None:
        return "not-stored"
    if visible.sop_class != sop_class:
        return "other-class"
    for row in rows:
        _drop_from_memory(store, row.blob)
        finding = verify(store, row)
        if finding is not None:
            audit.not_committed(finding.kind, finding.scope, finding.blob)
            return "damaged"
    return None


def _drop_from_memory(store: BlobStore, name: str) -> None:
    with contextlib.suppress(NotFound), store.open(name) as blob:  # verify() says what is not there
        os.posix_fadvise(blob.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# --- requests as jobs


def item_of(reference: Reference) -> str:
    """A reference as an item of a job, which may be about objects that are not stored here."""
    return f"{reference.instance} {reference.sop_class}"


def reference_of(item: str) -> Reference:
    """The reference that an item is."""
    instance, _, sop_class = item.partition(" ")
    return Reference(sop_class, instance)


def report_of(transaction: str, references: Sequence[Reference], found: Mapping[Object, Doubt]) -> CommitmentReport:
    """What is to be told of a transaction's objects of which `found` is in doubt."""
    failed = {Reference(*one): _REASONS[doubt] for one, doubt in found.items()}
    return CommitmentReport(transaction, frozenset(references) - failed.keys(), failed)
