"""C-MOVE and C-GET of instances in a Query/Retrieve View (PS3.4 sections C.3.5, C.4.2): which, and their bytes.

What is converted is made whole before its first byte is sent, in a thread and into an unnamed file: what turns out to
be impossible costs one sub-operation and not the association.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial

from isocenter.archive.archive import Archive
from isocenter.dimse.content import Content, Made, Prepared
from isocenter.dimse.selecting import Selector
from isocenter.dimse.transcode import kept
from isocenter.dimse.view_find import ViewFinder
from isocenter.dimse.views import Views, ref_of
from isocenter.errors import NoPresentationContext, NotFound
from isocenter.model import UNIQUE_KEY, Equal, InstanceRef, Level, Match, Query, Scope
from isocenter.services.retrieve import Selection
from isocenter.ul.negotiation import Agreed
from isocenter.views.view import View, Viewed
from isocenter.wire.limits import Limits


class ViewSelector:
    """Selects from views; `stored` has the bytes of what is as received."""

    def __init__(self, archive: Archive, views: Views, stored: Content, limits: Limits) -> None:
        self._archive = archive
        self._views = views
        self._stored = stored
        self._limits = limits
        self._selector = Selector(archive)
        self._finder = ViewFinder(archive, views)

    async def select(self, selection: Selection) -> tuple[list[InstanceRef], Content]:
        """The instances of a selection with a view, each once, and where their bytes come from."""
        view = View(selection.view)
        found: dict[str, InstanceRef] = {}
        studies: dict[str, list[InstanceRef]] = {}  # as received, of which something is to be made
        first: tuple[str, dict[str, Viewed]] | None = None
        for study in await self._studies(selection, view):
            try:
                refs = await self._archive.select(Scope(study))
            except NotFound:
                continue
            shown = await self._views.run(partial(self._views.of, refs, view))
            for one in shown:
                if selection.series and one.series not in selection.series:
                    continue
                if selection.instances and one.instance not in selection.instances:
                    continue
                found.setdefault(one.instance, ref_of(one))
                if one.make is not None:
                    studies[study] = refs
            if study in studies and first is None:
                first = study, _by_instance(shown)
        return list(found.values()), _InView(self._views, view, studies, first, self._stored, self._limits)

    async def _studies(self, selection: Selection, view: View) -> Sequence[str]:
        if selection.studies and not selection.patient:
            return selection.studies
        if selection.studies or selection.level <= Level.STUDY:
            return await self._selector.studies_of(selection.patient, selection.studies)
        return await self._searched(selection, view)

    async def _searched(self, selection: Selection, view: View) -> list[str]:
        """The studies of series or images where none was named: relational retrieval. Nobody knows of what is yet to be
        made where it is, so that studies are gone through, the patient's if one is named, until all are found."""
        at_image = selection.level == Level.IMAGE
        wanted = set(selection.instances if at_image else selection.series)
        matches: list[Match] = [Equal(UNIQUE_KEY[selection.level], tuple(wanted))]
        if selection.patient:
            matches.append(Equal(UNIQUE_KEY[Level.PATIENT], (selection.patient,)))
        if at_image and selection.series:
            matches.append(Equal(UNIQUE_KEY[Level.SERIES], selection.series))
        studies: dict[str, None] = {}
        async with aclosing(self._finder.find(Query(selection.level, tuple(matches), bare=True), view)) as groups:
            async for group in groups:
                for one in group:
                    studies[one.study] = None
                    wanted.discard((one.instance if at_image else one.series) or "")
                if not wanted:
                    break
        return list(studies)


class _InView:
    """Content: what is made of studies, and for the rest the stored bytes."""

    def __init__(
        self,
        views: Views,
        view: View,
        studies: Mapping[str, Sequence[InstanceRef]],
        first: tuple[str, dict[str, Viewed]] | None,
        stored: Content,
        limits: Limits,
    ) -> None:
        """`studies` are those of which something is made, with all their instances, and `first` what of one of them."""
        self._views = views
        self._view = view
        self._studies = studies
        self._stored = stored
        self._limits = limits
        self._latest = first or ("", {})  # of one study alone, as they may be many

    def __call__(self, ref: InstanceRef, accepted: Sequence[Agreed]) -> Prepared:
        one = self._made(ref)
        if one is None or one.make is None:
            return self._stored(ref, accepted)
        if not accepted:
            raise NoPresentationContext("no presentation context that it could be sent in was accepted")
        return Made(kept(one.make()), (ref.transfer_syntax,), self._limits)(ref, accepted)

    def at_once(self, ref: InstanceRef, accepted: Sequence[Agreed], *, as_file: bool) -> Prepared | None:
        """Only what is as received: something has to be made of a study before it is known which that is."""
        if ref.study in self._studies:
            return None
        return self._stored.at_once(ref, accepted, as_file=as_file)

    def _made(self, ref: InstanceRef) -> Viewed | None:
        """What the instance is of; None if it is as received. Several threads may ask."""
        if ref.study not in self._studies:
            return None
        study, made = self._latest
        if study != ref.study:
            # Of what was there when it was selected, whatever has come since
            made = _by_instance(self._views.of(self._studies[ref.study], self._view))
            self._latest = ref.study, made
        return made.get(ref.instance)


def _by_instance(shown: Sequence[Viewed]) -> dict[str, Viewed]:
    """What is made."""
    return {one.instance: one for one in shown if one.make is not None}
