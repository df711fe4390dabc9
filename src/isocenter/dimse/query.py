"""C-FIND over the archive: what the query service asks, the archive answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from isocenter.archive.archive import Archive
from isocenter.index.keys import known_tags
from isocenter.model import Found, Level, Query


class ArchiveFinder:
    """The archive as the query service sees it; hand it to QueryService."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def known(self, level: Level, sop_classes: tuple[str, ...] = ()) -> frozenset[int]:
        return known_tags(level, sop_classes)

    def find(self, query: Query) -> AsyncGenerator[list[Found], None]:
        return self._archive.find_stream(query)
