"""C-FIND over the archive: what the query service asks, the archive answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from isocenter.archive.archive import Archive
from isocenter.dimse.view_find import ViewFinder
from isocenter.dimse.views import Views
from isocenter.index.keys import known_tags
from isocenter.model import Found, Level, Query
from isocenter.views.view import View


class ArchiveFinder:
    """The archive as the query service sees it; hand it to QueryService."""

    def __init__(self, archive: Archive, views: Views) -> None:
        self._archive = archive
        self._in_view = ViewFinder(archive, views)

    def known(self, level: Level, sop_classes: tuple[str, ...] = ()) -> frozenset[int]:
        return known_tags(level, sop_classes)

    def find(self, query: Query) -> AsyncGenerator[list[Found], None]:
        return self._archive.find_stream(query)

    def find_in_view(self, query: Query, view: str) -> AsyncGenerator[Sequence[Found], None]:
        return self._in_view.find(query, View(view))
