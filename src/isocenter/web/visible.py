"""The archive as it is for somebody for whom only some studies are there: those of his patients, or of his devices.

What one may not see does not exist: it is not found, not counted, not retrieved, not deleted, and 404 is the answer as
for anything that was never there. The unit is the study, as the archive knows it: its Patient ID is that of its first
object. Objects of no patient are not there, since an inventory among them would tell of everybody. Whatever else the
archive can do is refused here, until somebody decides what it means.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from isocenter.errors import Forbidden, NotFound
from isocenter.index.keys import SOP_CLASS
from isocenter.model import Equal, Found, InstanceRef, Level, Origin, Query, Scope
from isocenter.std.non_patient import NON_PATIENT_KEYS
from isocenter.store.base import Blob
from isocenter.web.heads import INSTANCE_UID, PATIENT_ID, STUDY_HEAD, STUDY_UID, named_in
from isocenter.web.identity import Identity

if TYPE_CHECKING:
    from isocenter.archive.archive import Archive
    from isocenter.archive.commitment import Doubt, Object
    from isocenter.archive.ingest import Incoming, Outcome
    from isocenter.archive.metadata import Metadata
    from isocenter.pixels.image import Image
    from isocenter.pixels.volume import Volumes


class VisibleArchive:
    """The verbs of Archive, over what is there for an identity."""

    def __init__(self, archive: Archive, identity: Identity) -> None:
        self.settings = archive.settings
        self._archive = archive
        self._patients = None if identity.patients is None else tuple(sorted(filter(str.strip, identity.patients)))
        self._aets = None if identity.aets is None else tuple(sorted(identity.aets))

    def __getattr__(self, name: str) -> Any:
        raise Forbidden("this is not there for those who may see some studies only")

    def _narrowed(self, query: Query) -> Query | None:
        """The same over what is there; None if nothing can be."""
        if query.sop_classes or self._patients == () or self._aets == ():
            return None
        matches = query.matches
        if self._patients is not None:
            matches = (*matches, Equal(PATIENT_ID, self._patients))
        return replace(query, matches=matches, senders=self._aets)

    async def find(self, query: Query) -> list[Found]:
        narrowed = self._narrowed(query)
        return [] if narrowed is None else await self._archive.find(narrowed)

    async def find_stream(self, query: Query) -> AsyncGenerator[list[Found], None]:
        narrowed = self._narrowed(query)
        if narrowed is not None:
            async for group in self._archive.find_stream(narrowed):
                yield group

    async def count(self, query: Query) -> int:
        narrowed = self._narrowed(query)
        return 0 if narrowed is None else await self._archive.count(narrowed)

    async def tally(self, query: Query) -> dict[str, int]:
        narrowed = self._narrowed(query)
        return {} if narrowed is None else await self._archive.tally(narrowed)

    async def select(self, scope: Scope) -> list[InstanceRef]:
        await self._require(scope)
        return await self._archive.select(scope)

    def blob(self, ref: InstanceRef) -> Blob:
        """Of an instance that `select` gave."""
        return self._archive.blob(ref)

    def image(self, ref: InstanceRef) -> AbstractContextManager[Image]:
        """Of an instance that `select` gave."""
        return self._archive.image(ref)

    async def volumes(self, scope: Scope) -> Volumes:
        await self._require(scope)
        return await self._archive.volumes(scope)

    async def metadata(self, scope: Scope) -> Metadata:
        await self._require(scope)
        return await self._archive.metadata(scope)

    async def delete(self, scope: Scope, reason: str, by: str = "", *, unless_wanted: bool = False) -> int:
        await self._require(scope)
        return await self._archive.delete(scope, reason, by, unless_wanted=unless_wanted)

    async def commit(self, objects: Sequence[Object]) -> dict[Object, Doubt]:
        """As of the archive; what is not there for whoever asks is not stored for him."""
        absent: dict[Object, Doubt] = {}
        for one in objects:
            if not await self._there(Equal(INSTANCE_UID, (one[1],)), Level.IMAGE):
                absent[one] = "not-stored"
        return absent | await self._archive.commit([one for one in objects if one not in absent])

    def begin(self, origin: Origin) -> VisibleIncoming:
        return VisibleIncoming(self._archive.begin(origin), self)

    def scratch(self) -> IO[bytes]:
        return self._archive.scratch()

    async def _require(self, scope: Scope) -> None:
        if scope.non_patient or not await self._there(Equal(STUDY_UID, (scope.study,)), Level.STUDY):
            raise NotFound("nothing is stored there")

    async def _there(self, which: Equal, level: Level) -> bool:
        return bool(await self.find(Query(level, (which,), limit=1, bare=True)))

    async def refusal(self, head: bytes) -> Forbidden | None:
        """Why an object that begins with `head` may not be stored: it is of another patient, or it would come into a
        study, or in place of an object, that is not there for whoever sends it."""
        named = named_in(head)
        study, instance = named.get(STUDY_UID), named.get(INSTANCE_UID)
        if not study or not instance or named.get(SOP_CLASS) in NON_PATIENT_KEYS:
            return Forbidden("it is not to be seen whose the object is")
        if self._patients is not None and named.get(PATIENT_ID) not in self._patients:
            return Forbidden("objects of this patient may not be stored")
        for which, level in (
            (Equal(STUDY_UID, (study,)), Level.STUDY),
            (Equal(INSTANCE_UID, (instance,)), Level.IMAGE),
        ):
            known = await self._archive.find(Query(level, (which,), limit=1, bare=True))
            if known and not await self._there(Equal(STUDY_UID, (known[0].study,)), Level.STUDY):
                return Forbidden("the object belongs to what may not be changed")
            if not known and level is Level.STUDY and self._aets is not None:
                return Forbidden("a new study can only come from one of the AE titles")
        return None


class VisibleIncoming:
    """One object on its way in, which is looked at before it is kept."""

    def __init__(self, incoming: Incoming, archive: VisibleArchive) -> None:
        self._incoming = incoming
        self._archive = archive
        self._head = bytearray()

    @property
    def size(self) -> int:
        return self._incoming.size

    def write(self, chunks: Sequence[Any]) -> None:
        for chunk in chunks:
            if len(self._head) < STUDY_HEAD:
                self._head += memoryview(chunk)[: STUDY_HEAD - len(self._head)]
        self._incoming.write(chunks)

    def abandon(self) -> None:
        self._incoming.abandon()

    async def commit(self) -> Outcome:
        """Raises Forbidden beside what the archive raises."""
        try:
            refusal = await self._archive.refusal(bytes(self._head))
        except BaseException:
            self._incoming.abandon()
            raise
        if refusal is not None:
            self._incoming.abandon()
            raise refusal
        return await self._incoming.commit()
