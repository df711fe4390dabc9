"""Studies of the archive as they are in a Query/Retrieve View (PS3.4 section C.3.5); what is asked of them is found by
view_find.py and sent by view_retrieve.py.

Nothing of a view is stored. It is made anew from the headers of a study, and as those who search in a view retrieve
from it next, the last few are kept in memory, for as long as the study has the same instances.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Final, TypeVar

from isocenter.archive.archive import Archive
from isocenter.errors import IntegrityError, IsocenterError
from isocenter.model import InstanceRef
from isocenter.views.classes import CLASSIC, MULTI_FRAME
from isocenter.views.view import Source, View, Viewed
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.elements import Buffer
from isocenter.wire.limits import Limits

log = logging.getLogger("isocenter.dimse")

KEPT: Final = 3000
"""Instances whose views are in memory when nobody needs them: about a hundred megabytes of CT headers."""

Convert = Callable[[Sequence[Source], View, Limits], list[Viewed]]
_T = TypeVar("_T")


def concerns(view: View, sop_classes: Iterable[str]) -> bool:
    """Whether of instances of these classes anything can look other in `view` than as received."""
    changed = MULTI_FRAME if view is View.CLASSIC else CLASSIC
    return any(uid in changed for uid in sop_classes)


def ref_of(viewed: Viewed) -> InstanceRef:
    """How an instance of a view is spoken of; without `make` it is the stored one."""
    if viewed.make is None:
        return viewed.source
    return replace(
        viewed.source,
        series=viewed.series,
        instance=viewed.instance,
        sop_class=viewed.sop_class,
        transfer_syntax=viewed.transfer_syntax,
    )


class Views:
    """Views of an archive's studies."""

    def __init__(self, archive: Archive, limits: Limits, convert: Convert | None = None) -> None:
        """`convert` does what isocenter.views.study.viewed() does."""
        self._archive = archive
        self._limits = limits
        self._convert = convert
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[View, bytes], tuple[int, list[Viewed]]] = OrderedDict()
        self._left = KEPT

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        # One for all, as it is the processor that is waited for, and what it works on is in memory
        return ThreadPoolExecutor(1, "isocenter-views")

    async def run(self, work: Callable[[], _T]) -> _T:
        """What `work` gives, in the thread that is there for views."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def of(self, refs: Sequence[InstanceRef], view: View) -> list[Viewed]:
        """The view of the study that consists of these stored instances; blocking."""
        if not concerns(view, {ref.sop_class for ref in refs}):
            return [_as_received(ref) for ref in refs]
        name = view, _digest(refs)
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
                return self._known[name][1]
        made = self._made(refs, view)
        weight = max(len(refs), len(made))  # what is made holds the headers of what it is made of
        with self._lock:
            if name not in self._known and weight <= KEPT:
                self._known[name] = weight, made
                self._left -= weight
            while self._left < 0:
                self._left += self._known.popitem(last=False)[1][0]
        return made

    def _made(self, refs: Sequence[InstanceRef], view: View) -> list[Viewed]:
        sources: list[Source] = []
        unread: list[Viewed] = []
        for ref in refs:
            try:
                sources.append(self._source(ref))
            except (IsocenterError, OSError) as error:
                log.warning("%s: as received in every view: %s", ref.instance, error)
                unread.append(_as_received(ref))
        return self._converter(sources, view, self._limits) + unread

    @cached_property
    def _converter(self) -> Convert:
        if self._convert is not None:
            return self._convert
        # It takes long to import, and few servers are ever asked for a view
        from isocenter.views.study import viewed

        return viewed

    def _source(self, ref: InstanceRef) -> Source:
        # Bulk data are left where they are, under an address that nobody follows
        header = dataset_json(self._data_set(ref), ref.transfer_syntax, bulk_uri="bulk", limits=self._limits)
        return Source(ref, header, partial(self._data_set, ref))

    def _data_set(self, ref: InstanceRef) -> Buffer:
        with self._archive.blob(ref) as blob:
            if blob.size != ref.size:
                raise IntegrityError("the object's file is not as long as its index row says")
            return blob.view()[ref.data_set_offset :]


def _as_received(ref: InstanceRef) -> Viewed:
    return Viewed(ref.study, ref.series, ref.instance, ref.sop_class, ref.transfer_syntax, {}, ref)


def _digest(refs: Sequence[InstanceRef]) -> bytes:
    """The same as long as the instances are the same."""
    digest = sha256()
    for ref in refs:
        digest.update(f"{ref.instance} {ref.digest} {ref.blob}\n".encode())
    return digest.digest()
