"""C-STORE into the archive: the sink that translates between the Storage service class and Archive.begin()."""

from __future__ import annotations

from collections.abc import Sequence

from isocenter.archive.archive import Archive
from isocenter.archive.ingest import Incoming
from isocenter.model import Origin
from isocenter.services.base import Reply, Request, Sink

_COERCED = 0xB000  # PS3.4 B.2.3: a warning; the sender sees that its object and what is kept differ


class ArchiveSink:
    """One object on its way into the archive; the reply waits until bytes and index row are durable."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def write(self, views: Sequence[memoryview]) -> None:
        self._incoming.write(views)

    async def finish(self) -> Reply:
        outcome = await self._incoming.commit()
        if outcome.kind == "kept-first":
            return Reply(_COERCED, "stored before with other content; that version is kept")
        return Reply()

    def abandon(self) -> None:
        self._incoming.abandon()


class ArchiveStorage:
    """Opens a sink for each C-STORE request; hand it to StorageService."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def __call__(self, request: Request) -> Sink:
        peer, command = request.peer, request.command
        return ArchiveSink(
            self._archive.begin(
                Origin("dimse", peer.address, peer.calling, peer.called),
                transfer_syntax=request.context.transfer_syntax,
                sop_class=command["AffectedSOPClassUID"],
                sop_instance=command["AffectedSOPInstanceUID"],
            )
        )
